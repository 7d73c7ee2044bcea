//! Control as a whole: real threads as shards, real servers as backends, the real loop.

use super::rig::*;
use super::*;
use crate::balance::{BackendId, Traffic};
use crate::config::Destination;
use crate::config::{BackendAddress, Check};
use crate::fleet::status::BackendState;
use crate::metrics::Phase;
use std::sync::Mutex;
use tracing_subscriber::fmt::MakeWriter;

const A: BackendId = BackendId(0);
const B: BackendId = BackendId(1);

#[test]
fn a_backend_serves_after_its_first_pass_falls_after_fall_rises_after_rise_and_every_shard_is_told() {
    let backend = FakeBackend::start(Answer::status(200, "ok"));
    let config = config(vec![pool("app", &[backend.address], Some(health(Check::Http(http_check()))))]);
    with_control(config, 3, |rig| async move {
        let told =
            |usable| rig.shards.iter().all(|shard| shard.told(|told| told.usable.get(&A) == Some(&usable)));
        until("first pass", || told(true)).await;
        assert_eq!(rig.standing(A).state.label(), "up");
        backend.set(Answer::status(500, ""));
        until("down", || told(false)).await;
        let why = rig.standing(A).why;
        assert!(why.contains("3 checks") && why.ends_with("status 500, expected 200-299"), "{why}");
        backend.set(Answer::status(204, ""));
        until("up again", || told(true)).await;
        assert!(rig.standing(A).why.contains("2 checks"));
        assert_eq!(rig.standing(A).transitions, 3);
        for shard in &rig.shards {
            assert_eq!(shard.told(|told| told.transitions.clone()), [(A, true), (A, false), (A, true)]);
        }
    });
}

#[test]
fn backends_of_one_address_and_rule_share_their_checks_and_others_do_not() {
    let (one, two) =
        (FakeBackend::start(Answer::status(200, "")), FakeBackend::start(Answer::status(200, "")));
    let check = || Some(health(Check::Http(http_check())));
    let mut odd = health(Check::Http(http_check()));
    odd.fall = 7;
    let config = config(vec![
        pool("a", &[one.address, two.address], check()),
        pool("b", &[one.address], check()),
        pool("c", &[one.address], Some(odd)),
    ]);
    with_control(config, 1, |rig| async move {
        let passed = |id| rig.standing(BackendId(id)).probes_passed;
        until("checks of all", || (0..4).all(|id| passed(id) >= 5)).await;
        assert_eq!(passed(0), passed(2), "the pools a and b share their checks");
        // Those under way are not counted by us yet.
        let seen = one.heads().len() as u64;
        let counted = passed(0) + passed(3);
        assert!((counted..=counted + 2).contains(&seen), "{seen} seen, {counted} counted");
    });
}

#[test]
fn a_transition_is_logged_once_for_each_member_with_pool_backend_and_reason() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }
    let lines = Lines::default();
    // With a single subscriber in the process, tracing asks only the thread that comes to an event first
    // whether anybody listens, and another test's thread would say no for all. With two it asks both.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(io::sink).finish());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let closed = closed_port();
    let check = || Some(health(Check::Tcp));
    with_control(
        config(vec![pool("a", &[closed], check()), pool("b", &[closed], check())]),
        2,
        |rig| async move {
            until("many failures", || rig.standing(A).probes_failed >= 8).await;
        },
    );
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let down: Vec<&str> = text.lines().filter(|line| line.contains("backend is down")).collect();
    assert_eq!(down.len(), 2, "{text}");
    for (line, pool) in down.iter().zip(["pool=a", "pool=b"]) {
        assert!(line.contains(pool) && line.contains("WARN") && line.contains("connect refused"), "{line}");
    }
}

#[test]
fn a_backend_without_a_check_is_usable_and_nobody_is_told_anything() {
    let backend = FakeBackend::start(Answer::status(200, ""));
    let config = config(vec![
        pool("plain", &[closed_port()], None),
        pool("checked", &[backend.address], Some(health(Check::Tcp))),
    ]);
    with_control(config, 2, |rig| async move {
        until("the checked one is up", || rig.shards[1].told(|told| told.usable.contains_key(&B))).await;
        assert!(rig.shards.iter().all(|shard| shard.told(|told| !told.usable.contains_key(&A))));
        let standing = rig.standing(A);
        assert_eq!((standing.state, standing.usable), (BackendState::NoCheck, true));
    });
}

#[test]
fn a_shard_whose_mailbox_is_full_is_told_what_holds_once_it_reads_again() {
    let backend = FakeBackend::start(Answer::status(200, ""));
    let mut rule = health(Check::Http(http_check()));
    (rule.fall, rule.rise) = (1, 1);
    with_control(config(vec![pool("app", &[backend.address], Some(rule))]), 2, |rig| async move {
        until("up", || rig.shards[0].told(|told| told.usable.get(&A) == Some(&true))).await;
        rig.shards[0].set(Manner::Stuck);
        // Six transitions: more than its mailbox of four holds.
        for round in 0..3 {
            for (status, usable) in [(500, false), (200, true)] {
                backend.set(Answer::status(status, ""));
                until("the other shard hears of it", || {
                    let transitions = 1 + 2 * round + if usable { 2 } else { 1 };
                    rig.shards[1].told(|told| told.transitions.len() == transitions)
                })
                .await;
            }
        }
        backend.set(Answer::status(500, ""));
        until("down", || rig.shards[1].told(|told| told.usable.get(&A) == Some(&false))).await;
        rig.shards[0].set(Manner::Good);
        until("the shard that was stuck knows too", || {
            rig.shards[0].told(|told| told.usable.get(&A) == Some(&false))
        })
        .await;
    });
}

#[test]
fn reports_become_snapshots_made_out_for_each_shard_and_an_unchanged_count_sends_nothing() {
    let backend = FakeBackend::start(Answer::status(200, ""));
    let mut config = config(vec![pool("app", &[backend.address], Some(health(Check::Tcp)))]);
    let twin = config.pools[0].backends[0].clone();
    config.pools[0].backends.push(twin);
    with_control(config, 2, |rig| async move {
        rig.report(0, 1, &[3, 0]);
        rig.report(1, 1, &[4, 1]);
        let last = |shard: usize| rig.shards[shard].told(|told| told.snapshots.last().cloned());
        until("the sum at both", || {
            [0, 1].iter().all(|shard| last(*shard).is_some_and(|last| *last.totals == [7, 1]))
        })
        .await;
        assert_eq!((&*last(0).unwrap().own, &*last(1).unwrap().own), (&[3, 0][..], &[4, 1][..]));
        assert_eq!(rig.desk.in_flight_per_shard(A), [3, 4]);
        // The same counts again, an older report: nothing to tell. Checks are the clock here.
        let before = rig.shards[0].told(|told| told.snapshots.len());
        rig.report(0, 2, &[3, 0]);
        rig.report(1, 1, &[9, 9]);
        let passed = rig.standing(A).probes_passed;
        until("ten more checks", || rig.standing(A).probes_passed >= passed + 10).await;
        assert_eq!(rig.shards[0].told(|told| told.snapshots.len()), before);
    });
}

#[test]
fn snapshots_come_at_most_every_sync_and_one_that_a_full_mailbox_missed_comes_later() {
    let mut config = config(vec![pool("app", &[closed_port()], None)]);
    config.runtime.sync = Micros::from_ms(5);
    with_control(config, 2, |rig| async move {
        for sequence in 1..=200 {
            rig.report(0, sequence, &[sequence as u32]);
            tokio::task::yield_now().await;
        }
        until("the last count", || {
            rig.shards[1].told(|told| told.snapshots.last().is_some_and(|last| *last.totals == [200]))
        })
        .await;
        rig.shards[1].told(|told| {
            for pair in told.snapshots.windows(2) {
                assert!(pair[1].at - pair[0].at >= Micros::from_ms(5), "{pair:?}");
            }
        });
        rig.shards[1].set(Manner::Stuck);
        for sequence in 201..=210 {
            rig.report(0, sequence, &[sequence as u32]);
            let count = sequence as u32;
            until("the shard that reads", || {
                rig.shards[0].told(|told| told.snapshots.last().is_some_and(|last| *last.totals == [count]))
            })
            .await;
        }
        rig.shards[1].set(Manner::Good);
        until("the last count after all", || {
            rig.shards[1].told(|told| told.snapshots.last().is_some_and(|last| *last.totals == [210]))
        })
        .await;
    });
}

#[test]
fn collecting_merges_all_shards_and_a_silent_one_holds_it_up_for_a_quarter_second_only() {
    with_control(config(vec![pool("app", &[closed_port()], None)]), 6, |rig| async move {
        rig.desk.collect().await;
        assert!(rig.desk.totals().shards().iter().all(|shard| shard.accepted == 1));
        assert_eq!(rig.desk.totals().backend(A).unwrap().phase(Phase::Whole).count(), 6);
        assert_eq!(rig.desk.totals().imbalance(), Some(6.0 / 3.5));
        rig.shards[2].set(Manner::Silent);
        let began = clock();
        rig.desk.collect().await;
        let took = clock() - began;
        assert!(took >= Micros::from_ms(240) && took < Micros::from_s(5), "{took}");
        let accepted: Vec<u64> = rig.desk.totals().shards().iter().map(|shard| shard.accepted).collect();
        assert_eq!(accepted, [2, 2, 1, 2, 2, 2]);
    });
}

#[test]
fn ready_only_once_every_shard_knows_what_the_first_checks_have_found() {
    let backend = FakeBackend::start(Answer::status(200, ""));
    let app = pool("app", &[backend.address], Some(health(Check::Http(http_check()))));
    with_control(config(vec![app]), 2, |rig| async move {
        rig.shards[1].set(Manner::Stuck);
        until("the other shard hears of it", || {
            rig.shards[0].told(|told| told.usable.get(&A) == Some(&true))
        })
        .await;
        assert_eq!(rig.desk.ready(), Err(NotReady::Unheard));
        rig.shards[1].set(Manner::Good);
        until("ready", || rig.desk.ready().is_ok()).await;
    });
}

#[test]
fn ready_only_after_the_first_checks_and_not_after_a_signal() {
    let backend = FakeBackend::start(Answer::Hang);
    let mut rule = health(Check::Http(http_check()));
    rule.timeout = Micros::from_s(2);
    let config = config(vec![
        pool("app", &[backend.address], Some(rule)),
        // Known to be down: that is no reason to keep the traffic of the other pool away.
        pool("gone", &[closed_port()], Some(health(Check::Tcp))),
    ]);
    with_control(config, 1, |rig| async move {
        until("a check is under way", || !backend.heads().is_empty()).await;
        assert_eq!(rig.desk.ready(), Err(NotReady::Unchecked("app".into())));
        backend.set(Answer::status(200, ""));
        until("ready", || rig.desk.ready().is_ok()).await;
        assert_eq!(rig.standing(B).state.label(), "down");
        rig.shards[0].set(Manner::Busy);
        rig.signals.send(Signal::Leave).unwrap();
        until("not ready", || rig.desk.ready() == Err(NotReady::ShuttingDown)).await;
    });
}

#[test]
fn a_signal_leads_through_last_requests_and_drain_to_a_clean_end() {
    let mut config = config(vec![pool("app", &[closed_port()], None)]);
    config.runtime.shutdown_delay = Micros::from_ms(30);
    with_control(config, 2, |rig| async move {
        let began = clock();
        rig.signals.send(Signal::Leave).unwrap();
        until("last requests", || rig.shards.iter().all(|shard| shard.told(|told| !told.orders.is_empty())))
            .await;
        until("all orders", || rig.shards.iter().all(|shard| shard.told(|told| told.orders.len() == 3)))
            .await;
        assert!(clock() - began >= Micros::from_ms(30));
        for shard in &rig.shards {
            assert_eq!(shard.told(|told| told.orders.clone()), ["last requests", "drain", "stop"]);
        }
        let reason = rig.exit().await;
        assert_eq!((reason, reason.code()), (ExitReason::Drained, 0));
    });
}

#[test]
fn grace_and_a_second_signal_each_end_a_shard_that_does_not_drain() {
    for (grace, signals, expected) in [
        (Micros::from_ms(30), 1, (ExitReason::GraceOver, 0)),
        (Micros::from_s(60), 2, (ExitReason::SecondSignal, 1)),
    ] {
        let mut config = config(vec![pool("app", &[closed_port()], None)]);
        config.runtime.grace = grace;
        with_control(config, 2, |rig| async move {
            rig.shards[1].set(Manner::Busy);
            (0..signals).for_each(|_| rig.signals.send(Signal::Leave).unwrap());
            let reason = rig.exit().await;
            assert_eq!((reason, reason.code()), expected);
        });
    }
}

#[test]
fn a_shard_that_ends_leaves_the_rest_ready_without_its_counts_and_the_last_one_ends_the_process() {
    with_control(config(vec![pool("app", &[closed_port()], None)]), 3, |rig| async move {
        rig.report(0, 1, &[2]);
        rig.report(1, 1, &[5]);
        rig.desk.collect().await;
        let ended = |shard| ToControl::Ended { shard, error: Some("the ring broke".into()) };
        rig.to_control.send(ended(0)).unwrap();
        until("its counts are gone", || {
            rig.shards[2].told(|told| told.snapshots.last().is_some_and(|last| *last.totals == [5]))
        })
        .await;
        assert_eq!((rig.desk.serving(), rig.desk.ready()), (2, Ok(())));
        assert_eq!(rig.desk.totals().shards()[0].connections, 0);
        rig.to_control.send(ended(1)).unwrap();
        rig.to_control.send(ended(2)).unwrap();
        let reason = rig.exit().await;
        assert_eq!((reason, reason.code()), (ExitReason::NoShardLeft, 1));
    });
}

#[test]
fn sigterm_drains_a_process_that_runs_control() {
    let config = config(vec![pool("app", &[closed_port()], None)]);
    let (to_shard, shard) = crate::mesh::mailbox(8).unwrap();
    let (to_control, mail) = crate::mesh::mailbox(8).unwrap();
    let control = std::thread::spawn(move || {
        // Made here, since control keeps to one thread.
        let (mut setup, pulses) = setup(config, None, 1);
        setup.links.push(ShardLink { to_shard, pulse: pulses[0].clone() });
        run(setup, mail, |_| {
            // Inside the runtime, after the signals were taken over: safe to send one to ourselves.
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
        })
    });
    let mut orders = Vec::new();
    while !control.is_finished() {
        match shard.try_recv() {
            Some(ToShard::Drain) => {
                orders.push("drain");
                to_control.send(ToControl::Drained { shard: 0 }).unwrap();
            }
            Some(ToShard::Stop) => {
                orders.push("stop");
                to_control.send(ToControl::Ended { shard: 0, error: None }).unwrap();
            }
            other => {
                assert!(other.is_none(), "{other:?}");
                std::thread::yield_now();
            }
        }
    }
    assert_eq!(control.join().unwrap().unwrap(), ExitReason::Drained);
    assert_eq!(orders, ["drain", "stop"]);
}

#[test]
fn names_are_looked_up_and_all_that_hinders_the_start_is_said_at_once() {
    let mut good = pool("app", &[closed_port()], None);
    good.backends[0].address = BackendAddress::Name("localhost".into(), 8080);
    let found = look_up(&config(vec![good.clone()]), None).unwrap();
    let Destination::Tcp(address) = &found[&good.backends[0].address][0].address else { panic!("{found:?}") };
    assert!(address.ip().is_loopback() && address.port() == 8080, "{address}");

    let mut bad = pool("bad", &[closed_port(), closed_port()], None);
    bad.backends[1].address = BackendAddress::Name("no-such-host.invalid".into(), 80);
    let mut check = http_check();
    check.path = "/not a path".into();
    bad.health = Some(health(Check::Http(check)));
    let text = look_up(&config(vec![good, bad]), None).unwrap_err().to_string();
    assert_eq!(text.lines().count(), 2, "{text}");
    for part in
        ["pool.bad: backend \"1\"", "\"no-such-host.invalid\"", "pool.bad.health: path = \"/not a path\""]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn control_sleeps_while_nothing_happens_also_after_its_doorbell_was_rung() {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let used_us = || {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
    };
    with_control(config(vec![pool("app", &[closed_port()], None)]), 2, |rig| async move {
        rig.report(0, 1, &[1]);
        until("a snapshot", || rig.shards[1].told(|told| !told.snapshots.is_empty())).await;
        let before = used_us();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await; // its CPU over a time is the subject
        let used = used_us() - before;
        assert!(used < 20_000, "{used} us of CPU in 200 ms");
    });
}

#[test]
fn a_pool_with_a_fallback_panics_only_while_somebody_in_it_is_healthy() {
    let servers = [FakeBackend::start(Answer::status(200, "")), FakeBackend::start(Answer::status(500, ""))];
    let addresses = [servers[0].address, servers[1].address];
    let mut app = pool("app", &addresses, Some(health(Check::Http(http_check()))));
    (app.panic_below, app.fallback) = (0.9, Some(1));
    let spare = pool("spare", &[closed_port()], None);
    with_control(config(vec![app, spare]), 1, |rig| async move {
        let in_panic = || rig.desk.pools()[0].panic;
        let told = |id| rig.shards[0].told(|told| told.traffic.get(&BackendId(id)).copied());
        until("panic", || in_panic() && told(1) == Some(Traffic::ALL)).await;
        servers[0].set(Answer::status(500, ""));
        until("calm", || !in_panic() && [told(0), told(1)] == [Some(Traffic::NOTHING); 2]).await;
    });
}
