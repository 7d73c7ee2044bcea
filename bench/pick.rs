//! What a pick costs: each policy with 2, 16 and 256 backends, and a client's hash beside it.
//!
//! Backends are busy, each at its own count and weight 1 or 2, as of a snapshot; each pick is followed
//! by the admit and the release of an exchange 64 picks back, so that the counts that the policies
//! read move as in service. `cargo bench --bench pick`.
#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::IpAddr;
use weir::balance::{Asked, BackendId, Member, Picker, Snapshot, Traffic, View, client_hash, name_hash};
use weir::config::Policy;
use weir::time::Instant;

const POLICIES: [Policy; 4] = [Policy::RoundRobin, Policy::LeastConn, Policy::IpHash, Policy::RandomTwo];
const IN_FLIGHT: usize = 64;

/// A pool's members, and a shard's view in which the others keep about eight exchanges on each.
fn pool(backends: u32) -> (Vec<Member>, View) {
    let weight = |n: u32| 1 + (n % 2) as u16;
    let members = (0..backends)
        .map(|n| Member {
            id: BackendId(n),
            weight: weight(n),
            backup: false,
            key: name_hash(&n.to_string()),
            traffic: Traffic::ALL,
        })
        .collect();
    let view = View::new(0, backends as usize);
    let totals = (0..backends).map(|n| 7 * u32::from(weight(n)) + n % 3).collect();
    let own = vec![0; backends as usize].into();
    view.apply(&Snapshot { sequence: 1, at: Instant::default(), totals, own });
    (members, view)
}

fn picks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    for policy in POLICIES {
        for backends in [2, 16, 256] {
            let (members, view) = pool(backends);
            let mut picker = Picker::new(policy, &members, 1);
            let (mut n, mut in_flight) = (0_usize, [None; IN_FLIGHT]);
            group.bench_function(BenchmarkId::new(format!("{policy:?}"), backends), |bencher| {
                bencher.iter(|| {
                    n += 1;
                    let client = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    let now = Instant::default();
                    let asked = black_box(Asked { client, tried: &[], may_retry: true, now });
                    let picked = picker.pick(&view, &asked);
                    let id = picked.map(|member| members[member].id);
                    id.inspect(|&id| view.admit(id));
                    std::mem::replace(&mut in_flight[n % IN_FLIGHT], id).inspect(|&id| view.release(id));
                });
            });
        }
    }
    group.finish();
}

fn hashes(criterion: &mut Criterion) {
    for (name, ip) in [("v4", "192.0.2.7"), ("v6", "2001:db8::7")] {
        if let Ok(ip) = ip.parse::<IpAddr>() {
            criterion.bench_function(&format!("client_hash/{name}"), |bencher| {
                bencher.iter(|| client_hash(black_box(&ip)))
            });
        }
    }
}

criterion_group!(benches, picks, hashes);
criterion_main!(benches);
