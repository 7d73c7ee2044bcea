//! What recording costs a shard: one histogram, and all that one exchange records; and what a round of
//! statistics costs control, with a thousand backends that all have traffic.
//!
//! Run by `cargo bench --bench histogram`. Lengths come from a fixed sequence that spreads over the
//! buckets as a real mix does (50 µs to 50 ms), so that it is not one hot cache line that is measured.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use weir::balance::BackendId;
use weir::metrics::{History, Phase, ShardStats, Totals};
use weir::time::{Instant, Micros};

fn lengths() -> impl Iterator<Item = Micros> {
    (0u64..).map(|n| Micros::from_us(50 << (n % 10)))
}

fn record(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("histogram");
    let mut stats = ShardStats::new(16);
    let mut length = lengths();
    group.bench_function("record", |bencher| {
        bencher
            .iter(|| stats.record(black_box(BackendId(3)), Phase::Whole, length.next().unwrap_or_default()));
    });
    let mut backend = (0u32..).map(|n| BackendId(n % 16));
    group.bench_function("one exchange", |bencher| {
        bencher.iter(|| {
            let (id, whole) = (backend.next().unwrap_or(BackendId(0)), length.next().unwrap_or_default());
            for phase in Phase::ALL {
                stats.record(id, *phase, whole);
            }
            stats.answered(id, black_box(200));
            stats.view_age(whole);
        });
    });
    group.finish();
    black_box(&stats);
}

/// A box in which every backend has a hundred exchanges of 60 µs to 30 ms.
fn busy(backends: u32) -> ShardStats {
    let mut stats = ShardStats::new(backends as usize);
    for n in 0..100 * u64::from(backends) {
        let (id, whole) =
            (BackendId((n % u64::from(backends)) as u32), Micros::from_us(60 + n * 7_919 % 30_000));
        for phase in Phase::ALL {
            stats.record(id, *phase, whole);
        }
        stats.answered(id, 200);
    }
    stats
}

fn round(criterion: &mut Criterion) {
    const BACKENDS: u32 = 1_000;
    let mut group = criterion.benchmark_group("round of 1000 backends");
    group.sample_size(20);
    let stats = busy(BACKENDS);
    let mut totals = Totals::new(BACKENDS as usize, 1);
    group.bench_function("take in a shard's box", |bencher| {
        bencher.iter(|| totals.absorb(0, black_box(&stats)))
    });
    group.bench_function("make figures of it", |bencher| {
        bencher.iter(|| black_box(totals.recent().recent(Instant::from_us(2), Micros::from_s(1), &[])));
    });
    let (mut history, mut now) = (History::default(), Instant::from_us(1));
    (0..BACKENDS).for_each(|id| history.name(BackendId(id), "app", &id.to_string()));
    group.bench_function("add it to the slot", |bencher| {
        bencher.iter(|| history.add(totals.recent(), now, 0, now, &[]));
    });
    group.bench_function("add it and end the slot", |bencher| {
        bencher.iter(|| {
            now = now + Micros::from_s(6);
            history.add(totals.recent(), now, 0, now, &[])
        });
    });
    group.bench_function("clear, and take in the next", |bencher| {
        bencher.iter(|| {
            totals.recent_mut().clear(now);
            totals.absorb(0, black_box(&stats));
        });
    });
    group.bench_function("clear a shard's box, and fill it", |bencher| {
        let mut stats = busy(BACKENDS);
        bencher.iter(|| {
            stats.clear();
            (0..BACKENDS).for_each(|id| stats.record(BackendId(id), Phase::Whole, Micros::from_us(70)));
        });
    });
    group.finish();
}

criterion_group!(benches, record, round);
criterion_main!(benches);
