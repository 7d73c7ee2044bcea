//! Connections without requests, and requests without clients.

use crate::harness::wait_until;
use crate::scene::Scene;
use crate::swarm::{Leaves, Tactic};
use crate::watch::attacked;
use std::time::Duration;

fn ms(length: u64) -> Duration {
    Duration::from_millis(length)
}

/// Two thousand connections that say nothing are closed when `idle_timeout` is over.
#[test]
fn idle_connections_are_bounded_by_idle_timeout() {
    let scene = Scene::new("", "idle_timeout = \"800ms\"\n", "");
    let tactic = Tactic { connections: 2_000, opens_per_s: 4_000, ..Tactic::default() };
    let seen = attacked(&scene, &[tactic], &|seen| seen[0].ended > 100);
    assert!(seen[0].statuses.is_empty(), "without a word: {seen:?}");
    wait_until("all are gone", || scene.connections() == 0);
}

/// Opened, and closed or reset at once, over and over.
#[test]
fn connections_that_are_opened_and_closed_at_once_leave_nothing() {
    let scene = Scene::new("", "", "");
    let flood = |leaves| Tactic { connections: 100, opens_per_s: 400, leaves, ..Tactic::default() };
    let tactics = [flood(Leaves::Closing(ms(0))), flood(Leaves::Resetting(ms(0)))];
    let seen = attacked(&scene, &tactics, &|seen| seen.iter().all(|seen| seen.opened > 40));
    seen.iter().for_each(|seen| assert_eq!(seen.unconnected, 0));
    wait_until("all are gone", || scene.connections() == 0);
}

/// Clients that ask for what takes long and go away: whether they close or reset, nothing of them stays.
#[test]
fn requests_whose_clients_vanish_leave_nothing() {
    let scene = Scene::new("", "", "");
    let flood = |path: &str, opens_per_s, leaves| Tactic {
        connections: 100,
        opens_per_s,
        opening: format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes(),
        leaves,
        reads: false,
        ..Tactic::default()
    };
    let tactics = [
        flood("/", 100, Leaves::Resetting(ms(0))),
        flood("/", 100, Leaves::Closing(ms(0))),
        flood("/big", 10, Leaves::Resetting(ms(30))),
        flood("/big", 10, Leaves::Closing(ms(30))),
    ];
    attacked(&scene, &tactics, &|seen| seen.iter().all(|seen| seen.opened > 5));
    wait_until("all are gone", || scene.connections() == 0);
    wait_until("no exchange is in flight", || scene.weir.metric("weir_in_flight", &[]) == 0.0);
}

/// More connections than a shard may have, all held: who waits longest without a request makes room.
#[test]
fn connections_that_are_held_are_bounded_by_max_connections() {
    let scene = Scene::new("max_connections = 300\n", "", "");
    // Nobody makes room before it has waited for a second, so 300 places serve no more than 300 of them a second.
    let tactic = Tactic { connections: 1_000, opens_per_s: 150, ..Tactic::default() };
    let seen = attacked(&scene, &[tactic], &|seen| seen[0].ended > 50);
    assert!(seen[0].statuses.is_empty(), "without a word: {seen:?}");
    let evicted = scene.weir.metric("weir_connections_evicted_total", &[]) as u64;
    assert!(evicted >= seen[0].ended, "{evicted}");
}
