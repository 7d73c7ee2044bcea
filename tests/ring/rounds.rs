//! Endurance: very many rounds of parking and waking without a stall, and glommio's lost wake bounded.
//!
//! `WEIR_TESTS=all` parks a million times for each; otherwise a hundred thousand times, which is some
//! seconds in a debug build.

use crate::harness::{Plan, SMALL, heard, on_ring, pair, run, until};
use glommio::executor;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{Pid, gettid};
use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use weir::ring::{Payload, Ring};
use weir::sys::{clock, cpu};
use weir::time::Micros;

/// Parks to make, and how long to try: a slow machine makes fewer.
fn rounds() -> (u64, Micros) {
    if std::env::var("WEIR_TESTS").is_ok_and(|tests| tests == "all") {
        (1_000_000, Micros::from_s(150))
    } else {
        (100_000, Micros::from_s(15))
    }
}

/// A wait that is this long has lost its wake for ever.
const LOST: Micros = Micros::from_s(5);

/// What a lost wake looks like: it lasts until the heartbeat, or for ever.
const STALL: Micros = Micros::from_ms(95);

/// Rounds that lasted as long as a stall, though neither thread was kept waiting for a core so long.
struct Stalls {
    rounds: u64,
    stalled: u64,
    longest: Micros,
    threads: [Pid; 2],
    /// How long the two threads had waited for a core at the last look.
    waited: Micros,
}

impl Stalls {
    /// Between this thread and `peer`.
    fn with(peer: Pid) -> Self {
        let threads = [gettid(), peer];
        Self { rounds: 0, stalled: 0, longest: Micros::ZERO, threads, waited: waited_for_a_core(threads) }
    }

    fn round(&mut self, took: Micros) {
        self.rounds += 1;
        self.longest = self.longest.max(took);
        if took >= STALL {
            let waited = waited_for_a_core(self.threads).as_us() - self.waited.as_us();
            println!("a round of {took}, of which {waited}us without a core");
            self.stalled += u64::from(took.as_us().saturating_sub(waited) >= STALL.as_us());
        }
        if took >= STALL || self.rounds.is_multiple_of(256) {
            self.waited = waited_for_a_core(self.threads);
        }
    }

    fn judge(&self, parks: u64) {
        let Self { rounds, stalled, longest, .. } = self;
        println!("{rounds} rounds, {parks} parks, longest {longest}, {stalled} stalled");
        // What a hypervisor takes is in no statistics: a few are forgiven. A lost wake comes again.
        assert!(*stalled <= rounds / 50_000, "{stalled} of {rounds} rounds stalled, the longest {longest}");
        assert!(parks > rounds / 100 && parks > 1_000, "{parks} parks in {rounds} rounds show nothing");
    }
}

/// What the scheduler says: how long these threads were ready to run, and others ran.
fn waited_for_a_core(threads: [Pid; 2]) -> Micros {
    let waited_ns = |thread: Pid| -> u64 {
        let said = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
        said.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    Micros::from_us(threads.into_iter().map(waited_ns).sum::<u64>() / 1_000)
}

/// The peer gets a core of its own if there is one: on the shard's it would run only once the shard sleeps.
fn pin_to(last: bool) {
    let cores = cpu::available();
    if let Some(core) = if last { cores.last() } else { cores.first() } {
        cpu::pin(*core);
    }
}

/// How the other side takes its time: from nothing to more than the shard needs to fall asleep, so that its
/// answers come before, while and after it does.
fn dawdle(round: u64) {
    let end = clock::now() + Micros::from_us(round * 7 % 25);
    while clock::now() < end {
        std::hint::spin_loop();
    }
}

#[test]
fn a_message_and_its_answer_never_stall_however_often() {
    on_ring(SMALL, |ring| async move {
        pin_to(false);
        let (stream, mut peer) = pair(&ring).await;
        let (tell, told) = mpsc::channel();
        let echo = thread::spawn(move || {
            pin_to(true);
            tell.send(gettid()).unwrap();
            let (mut byte, mut rounds) = ([0], 0..);
            while peer.read_exact(&mut byte).is_ok() {
                dawdle(rounds.next().unwrap_or_default());
                peer.write_all(&byte).unwrap();
            }
        });
        let mut stalls = Stalls::with(told.recv().unwrap());
        let ((rounds, enough), parks_before) = (rounds(), ring.counts().parks);
        let (mut at, end) = (clock::now(), clock::now() + enough);
        while ring.counts().parks - parks_before < rounds && at < end {
            // As weir asks a backend: a send that wakes nobody, and a wait for the answer.
            let mut send = stream.send(Payload::Static(b"x"), at + LOST).quiet();
            let answer = stream.receive(at + LOST).await.unwrap().unwrap();
            assert_eq!(&*answer, b"x");
            assert_eq!((&mut send).await.outcome, Ok(()));
            let now = clock::now();
            stalls.round(now.since(at));
            at = now;
        }
        drop(stream);
        until(&ring, "the peer sees the end", || echo.is_finished()).await;
        stalls.judge(ring.counts().parks - parks_before);
    });
}

#[test]
fn a_doorbell_never_stalls_however_often() {
    on_ring(SMALL, |ring| async move {
        pin_to(false);
        let here = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC).unwrap();
        let there = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).unwrap();
        let (here, there) = (Arc::new(here), Arc::new(there));
        let (ours, theirs, stop) = (here.clone(), there.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let (tell, told) = mpsc::channel();
        let ringer = thread::spawn(move || {
            pin_to(true);
            tell.send(gettid()).unwrap();
            let mut rounds = 0..;
            while !stopped.load(Ordering::SeqCst) {
                theirs.read().unwrap();
                dawdle(rounds.next().unwrap_or_default());
                ours.write(1).unwrap();
            }
        });
        let mut stalls = Stalls::with(told.recv().unwrap());
        let ((rounds, enough), parks_before) = (rounds(), ring.counts().parks);
        let (mut at, end) = (clock::now(), clock::now() + enough);
        while ring.counts().parks - parks_before < rounds && at < end {
            there.write(1).unwrap();
            heard(&ring, &here).await;
            let now = clock::now();
            stalls.round(now.since(at));
            at = now;
        }
        stop.store(true, Ordering::SeqCst);
        there.write(1).unwrap();
        until(&ring, "the ringer has ended", || ringer.is_finished()).await;
        stalls.judge(ring.counts().parks - parks_before);
    });
}

/// glommio takes a round for idle if its preempt timer fires between its poll and the first task, and then
/// sleeps over a runnable task. The timer is made short here, so that this happens often: without the
/// safety net the shard hangs within seconds.
#[test]
fn glommios_lost_wake_lasts_no_longer_than_the_safety_net() {
    let plan = Plan { preempt: Duration::from_micros(30), ..Plan::of(SMALL) };
    let attempt = || {
        let (begin, begun) = mpsc::channel();
        let each_turn = move |_: &Ring| -> Box<dyn Fn()> {
            begin.send(()).unwrap();
            Box::new(|| {})
        };
        let attempt = thread::spawn(move || run(plan, each_turn, yield_for_a_while));
        begun.recv_timeout(Duration::from_secs(2)).ok().map(|()| attempt.join().unwrap())
    };
    // In its very first round glommio may sleep over the ring's loop itself: no net can be there yet.
    let (longest, stalls) = (0..10).find_map(|_| attempt()).expect("the executor does not begin");
    println!("longest stall {longest}, {stalls} of more than 60 ms");
    // A sleep lasts a heartbeat at most. On a busy machine several may follow one another: each has its
    // own timer of the net.
    assert!(longest < Micros::from_s(1), "slept for {longest}");
}

/// A task that only yields, beside another. The longest time between two of its polls, and how many were
/// longer than 60 ms.
async fn yield_for_a_while(ring: Ring) -> (Micros, u64) {
    let stop = Rc::new(Cell::new(false));
    let stopped = stop.clone();
    ring.spawn(async move {
        while !stopped.get() {
            executor().yield_now().await;
        }
    });
    let (mut longest, mut stalls) = (Micros::ZERO, 0);
    let mut last = clock::now();
    let end = last + Micros::from_s(5);
    while last < end {
        executor().yield_now().await;
        let now = clock::now();
        longest = longest.max(now.since(last));
        stalls += u64::from(now.since(last) > Micros::from_ms(60));
        last = now;
    }
    stop.set(true);
    (longest, stalls)
}
