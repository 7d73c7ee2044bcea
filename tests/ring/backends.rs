//! A shard's backends while the topology changes: nothing of one that has left becomes another's.

use crate::harness::{SMALL, on_ring, peer_listener, soon, until};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use weir::balance::{Admitted, BackendId, Traffic};
use weir::config::{Destination, Policy, Retry, Timeouts, Upstream};
use weir::exchange::Budget;
use weir::ring::{Fault, Ring};
use weir::sys::clock;
use weir::time::Micros;
use weir::topology::{BackendPlan, PoolPlan, Topology};
use weir::upstream::{Asking, FULL, Picked, Pool, Upstreams};

const ASKING: Asking<'_> = Asking { client: None, tried: &[], may_retry: false };
const TRIALS: Traffic = Traffic { admitted: Admitted::Trials { gap: Micros::ZERO }, ramp: None };

fn backend(id: u32, at: &Destination, initial: Traffic) -> Arc<BackendPlan> {
    let name = format!("{at:?}");
    Arc::new(BackendPlan {
        id: BackendId(id),
        name,
        address: at.clone(),
        weight: 1,
        backup: false,
        initial,
        tls: None,
    })
}

fn pool(name: &str, fallback: Option<usize>, backends: Vec<Arc<BackendPlan>>) -> PoolPlan {
    PoolPlan {
        name: name.to_owned(),
        policy: Policy::RoundRobin,
        timeouts: Timeouts::default(),
        upstream: Upstream::default(),
        retry: Retry::default(),
        budget: Arc::new(Budget::new(1.0, 0)),
        ejects: true,
        fallback,
        tls: None,
        backends,
    }
}

fn topology(pools: Vec<PoolPlan>) -> Topology {
    let pools = pools.into_iter().map(Arc::new).collect();
    Topology { generation: 1, pools, backends_end: 8, ..Topology::default() }
}

fn upstreams(ring: &Ring, pools: Vec<PoolPlan>) -> Rc<Upstreams> {
    let upstreams = Upstreams::new(ring, 0, 1);
    upstreams.apply(&topology(pools));
    upstreams
}

fn first(upstreams: &Upstreams) -> Rc<Pool> {
    upstreams.pool(0).unwrap()
}

fn pick(upstreams: &Upstreams) -> Picked {
    upstreams.pick(&first(upstreams), &ASKING).unwrap()
}

/// Where nobody listens.
fn nowhere() -> Destination {
    peer_listener().1
}

#[test]
fn a_backend_that_left_while_a_connect_failed_takes_nothing_from_the_next_with_its_number() {
    on_ring(SMALL, async |ring| {
        let upstreams = upstreams(&ring, vec![pool("app", None, vec![backend(0, &nowhere(), Traffic::ALL)])]);
        let picked = pick(&upstreams);
        upstreams.apply(&topology(vec![pool("app", None, Vec::new())]));
        assert!(upstreams.connect(&picked, soon()).await.is_err());
        assert_eq!(upstreams.gone(), [BackendId(0)]);
        let (_listener, at) = peer_listener();
        upstreams.apply(&topology(vec![pool("app", None, vec![backend(0, &at, Traffic::ALL)])]));
        // That one would be over by then.
        upstreams.sweep(clock::now() + Micros::from_s(60));
        assert!(upstreams.connect(&pick(&upstreams), soon()).await.is_ok());
    });
}

#[test]
fn a_backend_that_cannot_be_reached_is_left_alone_for_a_second_however_many_connects_fail_at_once() {
    on_ring(SMALL, async |ring| {
        let (_listener, at) = peer_listener();
        let members = vec![backend(0, &nowhere(), Traffic::ALL), backend(1, &at, Traffic::ALL)];
        let upstreams = upstreams(&ring, vec![pool("app", None, members)]);
        let ids = || (0..4).map(|_| pick(&upstreams).id().0).collect::<Vec<_>>();
        let sick = std::iter::repeat_with(|| pick(&upstreams)).find(|picked| picked.id().0 == 0).unwrap();
        let mut now = clock::now();
        for seconds in [1, 2] {
            for _ in 0..5 {
                assert!(upstreams.connect(&sick, soon()).await.is_err());
            }
            assert_eq!(ids(), [1, 1, 1, 1]);
            let began = std::mem::replace(&mut now, clock::now());
            upstreams.sweep(began + Micros::from_ms(seconds * 1000 - 100));
            assert_eq!(ids(), [1, 1, 1, 1], "{seconds}");
            now = clock::now();
            upstreams.sweep(now + Micros::from_ms(seconds * 1000));
            assert!(ids().contains(&0), "{seconds}");
        }
    });
}

#[test]
fn a_connect_that_had_not_its_own_time_says_nothing_of_the_backend() {
    on_ring(SMALL, async |ring| {
        // Connects to a full accept queue are not answered.
        let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
        nix::sys::socket::listen(&deaf, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let address = deaf.local_addr().unwrap();
        let queued: Vec<_> = (0..4)
            .filter_map(|_| {
                std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(100)).ok()
            })
            .collect();
        let (_listener, at) = peer_listener();
        let deaf = Destination::Tcp(address);
        let members = vec![backend(0, &deaf, Traffic::ALL), backend(1, &at, Traffic::ALL)];
        let upstreams = upstreams(&ring, vec![pool("app", None, members)]);
        let slow = std::iter::repeat_with(|| pick(&upstreams)).find(|picked| picked.id().0 == 0).unwrap();
        let late = upstreams.connect(&slow, clock::now() + Micros::from_ms(20)).await;
        assert!(matches!(late, Err(Fault::TimedOut)));
        assert!((0..4).any(|_| pick(&upstreams).id().0 == 0));
        drop(queued);
    });
}

#[test]
fn nobody_is_picked_from_a_pool_that_is_no_more_nor_from_where_its_fallback_was() {
    on_ring(SMALL, async |ring| {
        let of = |id| vec![backend(id, &nowhere(), Traffic::ALL)];
        let upstreams = upstreams(&ring, vec![pool("a", Some(1), of(0)), pool("b", None, of(1))]);
        let held = first(&upstreams);
        assert_eq!(upstreams.pick(&held, &ASKING).unwrap().id(), BackendId(0));
        upstreams.apply(&topology(vec![pool("c", None, of(2)), pool("d", None, of(3))]));
        assert!(upstreams.pick(&held, &ASKING).is_none());
    });
}

#[test]
fn an_exchange_is_a_trial_by_its_own_pick_and_not_by_its_connections_first() {
    on_ring(SMALL, async |ring| {
        let (_listener, at) = peer_listener();
        let upstreams = upstreams(&ring, vec![pool("app", None, vec![backend(0, &at, TRIALS)])]);
        let asking = Asking { may_retry: true, ..ASKING };
        for (traffic, trial) in [(TRIALS, true), (Traffic::ALL, false), (TRIALS, true)] {
            upstreams.set_traffic(BackendId(0), traffic);
            let picked = upstreams.pick(&first(&upstreams), &asking).unwrap();
            let in_flight = upstreams.admit(&picked, true);
            let connection = match upstreams.idle(&picked) {
                Some(connection) => connection,
                None => upstreams.connect(&picked, soon()).await.unwrap(),
            };
            assert_eq!((picked.is_trial(), connection.picked().is_trial()), (trial, trial));
            upstreams.keep(connection, None);
            // Its receive is armed.
            ring.sleep_until(clock::now() + Micros::from_ms(5)).await;
            assert_eq!(upstreams.idle_count(), 1);
            in_flight.passed(Micros::from_ms(1));
        }
    });
}

#[test]
fn a_new_connection_takes_the_place_of_an_idle_one_and_of_no_other() {
    on_ring(SMALL, async |ring| {
        let (_listener, at) = peer_listener();
        let one = Upstream { max_connections: 1, ..Upstream::default() };
        let app = PoolPlan { upstream: one, ..pool("app", None, vec![backend(0, &at, Traffic::ALL)]) };
        let upstreams = upstreams(&ring, vec![app]);
        let picked = pick(&upstreams);
        let idle = upstreams.connect(&picked, soon()).await.unwrap();
        upstreams.keep(idle, None);
        let used = upstreams.connect(&picked, soon()).await.unwrap();
        assert_eq!(upstreams.idle_count(), 0);
        assert!(matches!(upstreams.connect(&picked, soon()).await, Err(Fault::Os(FULL))));
        drop(used);
        let mut last = upstreams.connect(&picked, soon()).await.unwrap();
        last.end_with_this();
        upstreams.keep(last, None);
        assert_eq!(upstreams.idle_count(), 0, "it is not kept");
    });
}

#[test]
fn a_number_is_given_up_only_when_what_its_exchanges_came_to_has_been_told() {
    on_ring(SMALL, async |ring| {
        let upstreams = upstreams(&ring, vec![pool("app", None, vec![backend(0, &nowhere(), Traffic::ALL)])]);
        let in_flight = upstreams.admit(&pick(&upstreams), true);
        upstreams.apply(&topology(vec![pool("app", None, Vec::new())]));
        in_flight.failed("truncated", true);
        let lingers = || upstreams.release_lingering(clock::now() + Micros::from_s(60));
        until(&ring, "its place is free", || lingers() == weir::time::Instant::NEVER).await;
        assert_eq!(upstreams.gone(), []);
        assert_eq!(upstreams.outcomes().len(), 1);
        assert_eq!(upstreams.gone(), [BackendId(0)]);
    });
}
