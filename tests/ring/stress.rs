//! Random histories: streams that come and go, futures dropped at any await point, deadlines of any length,
//! too few buffers, a queue that overflows. In the end nothing may be left, and what arrived must be what
//! was sent.
//!
//! The history's chances come from a seed, which is printed with the line that repeats it. (Its timing is
//! the machine's.)

use crate::child::{alone, descriptors};
use crate::harness::{STUCK, on_ring, pattern, pattern_at, pause, settled, soon, until};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::task::Poll;
use std::thread;
use std::time::Duration;
use weir::config::Destination;
use weir::ring::{Chunk, Fault, Payload, Ring, RingSettings, Stream};
use weir::sys::clock;
use weir::time::{Instant, Micros};

/// Few of everything: all the ends are met often.
const TIGHT: RingSettings = RingSettings { entries: 8, buffers: 8, buffer_size: 512 };

/// Tasks at a time, and lives in all.
const TASKS: usize = 24;
const LIVES: usize = 1_200;

/// SplitMix64.
#[derive(Clone)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// A few milliseconds at most.
    fn moment(&mut self) -> Micros {
        Micros::from_us(self.below(5_000) as u64)
    }

    /// A deadline that may be anything: passed, soon, or late enough never to matter.
    fn due(&mut self) -> Instant {
        match self.below(4) {
            0 => clock::now() + Micros::from_us(self.below(3_000) as u64),
            1 => clock::now() + Micros::from_ms(self.below(20) as u64),
            _ => soon(),
        }
    }
}

/// Awaits `future`, or drops it after a few polls: which await point that is, chance decides.
async fn perhaps<F: Future>(chance: &mut Chance, future: F) -> Option<F::Output> {
    let mut polls = if chance.one_in(3) { chance.below(4) } else { usize::MAX };
    let mut future = Box::pin(future);
    poll_fn(|cx| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// The peer of every life: sends the pattern of the seed that it is told, echoes nothing, reads what comes,
/// and hangs up in one of several ways.
fn peer(mut stream: TcpStream, mut chance: Chance) {
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut seed = [0];
    if stream.read_exact(&mut seed).is_err() {
        return;
    }
    let bytes = pattern(seed[0].into(), 1 + chance.below(20_000));
    let mut at = 0;
    while at < bytes.len() {
        let len = (1 + chance.below(3_000)).min(bytes.len() - at);
        // The other side may have gone, or not read: then this one goes.
        if stream.write_all(&bytes[at..at + len]).is_err() {
            return;
        }
        at += len;
        if chance.one_in(4) {
            thread::sleep(Duration::from_micros(chance.below(500) as u64));
        }
    }
    if chance.one_in(3) {
        return;
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut sink = vec![0; 1 << 14];
    while stream.read(&mut sink).is_ok_and(|len| len > 0) {
        if chance.one_in(50) {
            return;
        }
    }
}

/// One life of a connection on the ring.
async fn life(ring: Ring, to: Destination, seed: u8, mut chance: Chance) {
    let due = chance.due();
    let Some(Ok(stream)) = perhaps(&mut chance, ring.connect(&to, due)).await else { return };
    if stream.send(Payload::Bytes(vec![seed]), soon()).await.outcome.is_err() {
        return;
    }
    let mut at = 0;
    let mut held: Vec<(Chunk, usize)> = Vec::new();
    for _ in 0..chance.below(60) {
        match chance.below(8) {
            0 => {
                let until = clock::now() + chance.moment();
                let _ = perhaps(&mut chance, ring.sleep_until(until)).await;
            }
            1 => send_some(&stream, &mut chance).await,
            2 if !held.is_empty() => {
                // Before they go back to the kernel they must be what they were.
                held.drain(..).for_each(|(chunk, from)| check(&chunk, seed, from));
            }
            _ => {
                // Who holds a buffer must not wait long for another: all would wait for each other.
                let due = if held.is_empty() { chance.due() } else { clock::now() + chance.moment() };
                match perhaps(&mut chance, stream.receive(due)).await {
                    Some(Ok(Some(chunk))) => {
                        check(&chunk, seed, at);
                        let from = at;
                        at += chunk.len();
                        if held.is_empty() && chance.one_in(4) {
                            held.push((chunk, from));
                        } else if chance.one_in(4) {
                            let due = clock::now() + chance.moment();
                            let send = stream.send(Payload::Chunk(chunk), due).quiet_and_done();
                            let _ = perhaps(&mut chance, send).await;
                        }
                    }
                    Some(Ok(None)) => break,
                    Some(Err(Fault::TimedOut)) | None => {}
                    Some(Err(Fault::Os(errno))) => {
                        assert!([libc::ECONNRESET, libc::EPIPE].contains(&errno), "errno {errno}");
                        break;
                    }
                }
            }
        }
    }
    held.iter().for_each(|(chunk, from)| check(chunk, seed, *from));
    if chance.one_in(3) {
        stream.shutdown_write();
    }
}

async fn send_some(stream: &Stream, chance: &mut Chance) {
    let len = if chance.one_in(10) { 4 << 20 } else { 1 + chance.below(5_000) };
    // A quiet send that goes well wakes nobody: its deadline does.
    let due = clock::now() + chance.moment();
    let send = stream.send(Payload::Bytes(vec![b's'; len]), due);
    let _ = perhaps(chance, if chance.clone().one_in(2) { send.quiet() } else { send }).await;
}

fn check(chunk: &[u8], seed: u8, from: usize) {
    for (place, byte) in chunk.iter().enumerate() {
        let expected = pattern_at(seed.into(), from + place);
        assert_eq!(*byte, expected, "stream {seed}, at {} of it", from + place);
    }
}

/// A listener whose connections each have a peer in a thread of its own.
fn peers(mut chance: Chance) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let chance = Chance(chance.next());
                    thread::spawn(move || peer(stream, chance));
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{error}"),
            }
        }
    });
    at
}

#[test]
fn after_any_history_nothing_is_left() {
    const NAME: &str = "stress::after_any_history_nothing_is_left";
    alone(NAME, || {
        let given = std::env::var("WEIR_SEED").ok().map(|seed| seed.parse().expect("WEIR_SEED is a number"));
        let seed: u64 = given.unwrap_or_else(|| clock::now().as_us());
        println!("again: WEIR_SEED={seed} cargo test --test ring -- --exact {NAME}");
        let lived = on_ring(TIGHT, move |ring| async move {
            let mut chance = Chance(seed);
            let at = peers(Chance(chance.next()));
            let before = descriptors();
            let (alive, lived) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let end = clock::now() + Micros::from_us(STUCK.as_us() / 2);
            for number in 0..LIVES {
                while alive.get() >= TASKS {
                    assert!(clock::now() < end, "{} lives are stuck, seed {seed}", alive.get());
                    pause(&ring, 1).await;
                }
                alive.set(alive.get() + 1);
                let (alive, lived) = (Guard(alive.clone()), lived.clone());
                let life = life(ring.clone(), Destination::Tcp(at), number as u8, Chance(chance.next()));
                ring.spawn(async move {
                    let _alive = alive;
                    life.await;
                    lived.set(lived.get() + 1);
                });
            }
            until(&ring, "all lives have ended", || alive.get() == 0).await;
            settled(&ring).await;
            until(&ring, "all sockets are closed", || descriptors() <= before).await;
            let counts = ring.counts();
            println!("{counts:?}");
            assert!(counts.no_buffers > 0, "too few buffers were enough: the history is too tame");
            lived.get()
        });
        assert_eq!(lived, LIVES, "a life panicked, see above; seed {seed}");
    });
}

/// Counts a life out, even one that panicked.
struct Guard(Rc<Cell<usize>>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
