//! What recording costs a shard: one histogram, and all that one exchange records.
//!
//! Run by `cargo bench --bench histogram`. Lengths come from a fixed sequence that spreads over the
//! buckets as a real mix does (50 µs to 50 ms), so that it is not one hot cache line that is measured.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use weir::balance::BackendId;
use weir::metrics::{Phase, ShardStats};
use weir::time::Micros;

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

criterion_group!(benches, record);
criterion_main!(benches);
