//! Endurance: very many rounds of parking and waking without a stall, and glommio's lost wake bounded.
//!
//! `WEIR_TESTS=all` runs a million rounds each; otherwise a tenth, which is some seconds in a debug build.

use crate::harness::{Plan, SMALL, on_ring, pair, run};
use glommio::executor;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::cell::Cell;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use weir::ring::{HEARTBEAT, Payload};
use weir::sys::clock;
use weir::time::{Instant, Micros};

fn rounds() -> u64 {
    if std::env::var("WEIR_TESTS").is_ok_and(|tests| tests == "all") { 1_000_000 } else { 100_000 }
}

/// What a lost wake looks like: it lasts until the heartbeat, or for ever.
const STALL: Micros = Micros::from_ms(95);

/// Rounds that lasted as long as a stall. A busy machine may hold a thread up as long, now and then; a
/// wake that is lost in one of ten thousand rounds is a fault.
struct Stalls {
    rounds: u64,
    stalled: u64,
    longest: Micros,
}

impl Stalls {
    fn none() -> Self {
        Self { rounds: 0, stalled: 0, longest: Micros::ZERO }
    }

    fn round(&mut self, took: Micros) {
        self.rounds += 1;
        self.stalled += u64::from(took >= STALL);
        self.longest = self.longest.max(took);
    }

    fn judge(&self) {
        println!("{} rounds, longest {}, {} stalled", self.rounds, self.longest, self.stalled);
        assert!(self.stalled <= self.rounds / 20_000, "{} of {} rounds stalled", self.stalled, self.rounds);
    }
}

#[test]
fn a_message_and_its_answer_never_stall_however_often() {
    on_ring(SMALL, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        let echo = thread::spawn(move || {
            let mut byte = [0];
            while peer.read_exact(&mut byte).is_ok() {
                peer.write_all(&byte).unwrap();
            }
        });
        let (mut stalls, before) = (Stalls::none(), ring.counts());
        let mut at = clock::now();
        for _ in 0..rounds() {
            // As weir asks a backend: a send that wakes nobody, and a wait for the answer.
            let mut send = stream.send(Payload::Static(b"x"), at + Micros::from_s(30)).quiet();
            let answer = stream.receive(at + Micros::from_s(30)).await.unwrap().unwrap();
            assert_eq!(&*answer, b"x");
            assert_eq!((&mut send).await.outcome, Ok(()));
            let now = clock::now();
            stalls.round(now.since(at));
            at = now;
        }
        let parks = ring.counts().parks - before.parks;
        println!("{parks} parks");
        assert!(parks > rounds() / 4, "{parks} parks are too few to show anything");
        drop(stream);
        while !echo.is_finished() {
            crate::harness::pause(&ring, 1).await;
        }
        stalls.judge();
    });
}

#[test]
fn a_doorbell_never_stalls_however_often() {
    on_ring(SMALL, |ring| async move {
        let bell = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC).unwrap();
        let (here, there) = (Arc::new(bell()), Arc::new(bell()));
        let (ours, theirs, count) = (here.clone(), there.clone(), rounds());
        let ringer = thread::spawn(move || {
            for _ in 0..count {
                theirs.read().unwrap();
                ours.write(1).unwrap();
            }
        });
        let mut stalls = Stalls::none();
        let mut at = clock::now();
        for _ in 0..count {
            there.write(1).unwrap();
            ring.doorbell(here.as_fd()).await.unwrap();
            let now = clock::now();
            stalls.round(now.since(at));
            at = now;
        }
        ringer.join().unwrap();
        stalls.judge();
    });
}

/// glommio takes a round for idle if its preempt timer fires between its poll and the first task, and then
/// sleeps over a runnable task. The timer is made short here, so that this happens often: without the
/// safety net the shard hangs within seconds.
#[test]
fn glommios_lost_wake_lasts_no_longer_than_the_safety_net() {
    let plan = Plan { preempt: Duration::from_micros(30), ..Plan::of(SMALL) };
    let (longest, stalls) = run(
        plan,
        |_| Box::new(|| {}),
        |ring| async move {
            let stop = Rc::new(Cell::new(false));
            let longest = Rc::new(Cell::new(Micros::ZERO));
            let stalls = Rc::new(AtomicU64::new(0));
            let (stopped, noted, counted) = (stop.clone(), longest.clone(), stalls.clone());
            ring.spawn(async move {
                let mut last = clock::now();
                while !stopped.get() {
                    executor().yield_now().await;
                    let now = clock::now();
                    let took = now.since(last);
                    noted.set(noted.get().max(took));
                    counted.fetch_add(u64::from(took > Micros::from_ms(60)), Ordering::Relaxed);
                    last = now;
                }
            });
            let end: Instant = clock::now() + Micros::from_s(5);
            while clock::now() < end {
                executor().yield_now().await;
            }
            stop.set(true);
            (longest.get(), stalls.load(Ordering::Relaxed))
        },
    );
    println!("longest stall {longest}, {stalls} of more than 60 ms");
    // The net's length, and what a busy machine adds.
    assert!(longest.as_us() < HEARTBEAT.as_us() + 400_000, "slept for {longest}");
}
