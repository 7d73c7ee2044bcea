//! Parking and waking: whatever makes work for a sleeping shard wakes it, at once.
//!
//! A lost wake shows as a wait until the next deadline or heartbeat (100 ms), if there is one at all.
//! Endurance is in `rounds.rs`.

use crate::harness::{
    Plan, SMALL, heard, on_ring, pair, pause, read_to_end, receive_all, run, settled, soon, until,
};
use glommio::executor;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use weir::ring::{Fault, HEARTBEAT, Payload};
use weir::sys::clock;
use weir::time::{Instant, Micros};

/// Of several tries, the quickest must be quicker than this: a wake is not a heartbeat. (The slowest may
/// have been held up by whatever else the machine does.)
const AT_ONCE: Micros = Micros::from_ms(30);

#[test]
fn a_doorbell_rung_by_another_thread_wakes_a_parked_shard() {
    on_ring(SMALL, |ring| async move {
        let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC).unwrap());
        let mut quickest = Micros::from_s(10);
        for _ in 0..10 {
            let (rung_at, ringer) = (Arc::new(AtomicU64::new(0)), bell.clone());
            let told = rung_at.clone();
            let parks = ring.counts().parks;
            let ringer = thread::spawn(move || {
                // Long enough that the shard is asleep by now.
                thread::sleep(std::time::Duration::from_millis(10));
                told.store(clock::now().as_us(), Ordering::SeqCst);
                ringer.write(1).unwrap();
            });
            heard(&ring, &bell).await;
            let woken = clock::now();
            ringer.join().unwrap();
            assert!(ring.counts().parks > parks, "it was not even parked");
            let rung = Instant::from_us(rung_at.load(Ordering::SeqCst));
            quickest = quickest.min(woken.since(rung));
        }
        assert!(quickest < AT_ONCE, "woken after {quickest}");
    });
}

#[test]
fn a_doorbell_rung_early_or_twice_is_heard_once() {
    on_ring(SMALL, |ring| async move {
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC).unwrap();
        bell.write(1).unwrap();
        bell.write(1).unwrap();
        heard(&ring, &bell).await;
        let rung = Rc::new(Cell::new(false));
        let (told, ring_too) = (rung.clone(), ring.clone());
        let bell = Rc::new(bell);
        let bell_too = bell.clone();
        ring.spawn(async move {
            heard(&ring_too, &bell_too).await;
            told.set(true);
        });
        pause(&ring, 20).await;
        assert!(!rung.get(), "nobody rang again");
        bell.write(1).unwrap();
        until(&ring, "the ring is heard", || rung.get()).await;
    });
}

#[test]
fn a_deadline_wakes_a_parked_shard_before_its_heartbeat() {
    on_ring(SMALL, |ring| async move {
        let (stream, _peer) = pair(&ring).await;
        let (mut slept_late, mut received_late) = (Micros::from_s(10), Micros::from_s(10));
        let parks = ring.counts().parks;
        for _ in 0..10 {
            let due = clock::now() + Micros::from_ms(15);
            ring.sleep_until(due).await;
            assert!(clock::now() >= due);
            slept_late = slept_late.min(clock::now().since(due));
            let due = clock::now() + Micros::from_ms(15);
            assert!(matches!(stream.receive(due).await, Err(Fault::TimedOut)));
            received_late = received_late.min(clock::now().since(due));
        }
        assert!(ring.counts().parks >= parks + 20, "it did not even park");
        assert!(slept_late < AT_ONCE && received_late < AT_ONCE, "{slept_late}, {received_late} late");
    });
}

#[test]
fn a_parked_shard_shows_its_heartbeat_and_no_more() {
    on_ring(SMALL, |ring| async move {
        let (parks, began) = (ring.counts().parks, clock::now());
        ring.sleep_until(began + Micros::from_ms(1_000)).await;
        let parks = ring.counts().parks - parks;
        assert!((5..=15).contains(&parks), "{parks} parks in ten heartbeats of {HEARTBEAT}");
    });
}

/// A place where one task waits for another, without the ring.
#[derive(Default)]
struct Baton {
    here: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Baton {
    fn pass(&self) {
        self.here.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn take(&self) -> impl Future<Output = ()> + '_ {
        poll_fn(|cx: &mut Context<'_>| {
            if self.here.take() {
                return Poll::Ready(());
            }
            self.waker.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
    }
}

/// Each task makes the next one runnable as the last thing before it waits: whichever of them does so in
/// the driver's last yield before it sleeps, nobody may be slept over.
#[test]
fn a_task_made_runnable_by_another_just_before_parking_runs_before_the_shard_sleeps() {
    on_ring(SMALL, |ring| async move {
        for length in 1..=24 {
            let mut quickest = Micros::from_s(10);
            for _ in 0..5 {
                let batons: Rc<Vec<Baton>> = Rc::new((0..=length).map(|_| Baton::default()).collect());
                for at in 0..length {
                    let batons = batons.clone();
                    ring.spawn(async move {
                        batons[at].take().await;
                        batons[at + 1].pass();
                    });
                }
                pause(&ring, 1).await;
                let began = clock::now();
                batons[0].pass();
                batons[length].take().await;
                quickest = quickest.min(clock::now().since(began));
            }
            assert!(quickest < AT_ONCE, "a chain of {length} took {quickest}");
        }
    });
}

#[test]
fn a_task_spawned_by_another_just_before_parking_runs_before_the_shard_sleeps() {
    on_ring(SMALL, |ring| async move {
        let mut quickest = Micros::from_s(10);
        for _ in 0..10 {
            let done = Rc::new(Baton::default());
            let (ring_too, told) = (ring.clone(), done.clone());
            let began = clock::now();
            ring.spawn(async move {
                executor().yield_now().await;
                let ring_three = ring_too.clone();
                ring_too.spawn(async move {
                    executor().yield_now().await;
                    ring_three.spawn(async move { told.pass() });
                });
            });
            done.take().await;
            quickest = quickest.min(clock::now().since(began));
        }
        assert!(quickest < AT_ONCE, "it was slept over for {quickest}");
    });
}

/// What a shift does in its turn may make tasks runnable: a drain ends the waits for next requests.
#[test]
fn an_interrupt_from_the_shift_is_not_slept_over() {
    let plan = Plan::of(SMALL);
    let armed = Arc::new(AtomicU64::new(0));
    let due = armed.clone();
    let each_turn = move |ring: &weir::ring::Ring| -> Box<dyn Fn()> {
        let ring = ring.clone();
        Box::new(move || {
            let at = due.load(Ordering::SeqCst);
            if at != 0 && clock::now().as_us() >= at {
                due.store(0, Ordering::SeqCst);
                ring.interrupt();
            }
        })
    };
    run(plan, each_turn, |ring| async move {
        let (stream, _peer) = pair(&ring).await;
        let mut quickest = Micros::from_s(10);
        for _ in 0..10 {
            let at = clock::now() + Micros::from_ms(5);
            armed.store(at.as_us(), Ordering::SeqCst);
            // Polled again by nothing but the interrupt: the other task only makes the ring turn.
            let ring_too = ring.clone();
            ring.spawn(async move { ring_too.sleep_until(at).await });
            let next = poll_fn(|cx| stream.poll_receive_next(cx, soon())).await;
            assert!(matches!(next, Err(Fault::TimedOut)));
            quickest = quickest.min(clock::now().since(at));
        }
        assert!(quickest < AT_ONCE, "the interrupt was slept over for {quickest}");
    });
}

#[test]
fn tasks_that_never_wait_do_not_starve_the_ring() {
    on_ring(SMALL, |ring| async move {
        let stop = Rc::new(Cell::new(false));
        for _ in 0..3 {
            let stop = stop.clone();
            ring.spawn(async move {
                while !stop.get() {
                    executor().yield_now().await;
                }
            });
        }
        let (stream, mut peer) = pair(&ring).await;
        let echo = thread::spawn(move || {
            let mut byte = [0];
            while peer.read_exact(&mut byte).is_ok() {
                peer.write_all(&byte).unwrap();
            }
        });
        let began = clock::now();
        for _ in 0..100 {
            stream.send(Payload::Static(b"x"), soon()).await.outcome.unwrap();
            assert_eq!(receive_all(&stream, 1).await, b"x");
        }
        ring.sleep_until(clock::now() + Micros::from_ms(10)).await;
        let took = clock::now().since(began);
        assert!(took < Micros::from_s(20), "100 echoes took {took}");
        stop.set(true);
        drop(stream);
        until(&ring, "the peer sees the end", || echo.is_finished()).await;
    });
}

#[test]
fn a_panic_in_a_task_ends_that_task_only_and_lets_go_of_what_it_held() {
    on_ring(SMALL, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        let (other, mut other_peer) = pair(&ring).await;
        peer.write_all(b"bad").unwrap();
        ring.spawn(async move {
            let _chunk = stream.receive(soon()).await.unwrap();
            std::panic::resume_unwind(Box::new("a fault of its own"));
        });
        let reader = thread::spawn(move || read_to_end(&mut peer));
        until(&ring, "its stream is closed", || reader.is_finished()).await;
        other_peer.write_all(b"good").unwrap();
        assert_eq!(receive_all(&other, 4).await, b"good");
        drop(other);
        settled(&ring).await;
    });
}

#[test]
fn a_spinning_shard_does_not_sleep_and_a_quiet_one_does_in_the_end() {
    let plan = Plan { spin: Micros::from_ms(20), ..Plan::of(SMALL) };
    run(
        plan,
        |_| Box::new(|| {}),
        |ring| async move {
            let mut best = u64::MAX;
            for _ in 0..5 {
                let parks = ring.counts().parks;
                ring.sleep_until(clock::now() + Micros::from_ms(10)).await;
                best = best.min(ring.counts().parks - parks);
            }
            assert_eq!(best, 0, "it slept within its spin");
            let parks = ring.counts().parks;
            ring.sleep_until(clock::now() + Micros::from_ms(200)).await;
            assert!(ring.counts().parks > parks, "it never slept");
        },
    );
}
