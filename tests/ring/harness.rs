//! A shard's thread for one test: an executor, a ring, the loop that turns it; sockets to play with.
//!
//! Used by every test here. A test is a future that runs as a task of the ring, as a connection does; when
//! it has ended, the shard ends. Waits are for conditions, and bounded.

use glommio::{LocalExecutorBuilder, Placement};
use nix::sys::eventfd::EventFd;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;
use weir::config::Destination;
use weir::ring::{Chunk, Ring, RingSettings, Shift, Stream};
use weir::sys::clock;
use weir::time::{Instant, Micros};

/// Enough for most tests, and small enough that its ends are near.
pub(crate) const SMALL: RingSettings = RingSettings { entries: 64, buffers: 16, buffer_size: 4096 };

/// After this a test is stuck.
pub(crate) const STUCK: Micros = Micros::from_s(180);

/// How long anything may take that nothing hinders: the machine may be busy.
pub(crate) const SOON: Micros = Micros::from_s(30);

/// A shift with nothing to do but what the test says.
pub(crate) struct TestShift {
    pub(crate) each_turn: Box<dyn Fn()>,
}

impl Shift for TestShift {
    fn each_turn(&self, _now: Instant) {
        (self.each_turn)();
    }
    fn may_sleep(&self) -> bool {
        true
    }
    fn sleep_until(&self) -> Instant {
        Instant::NEVER
    }
    fn awake(&self) {}
    fn handled(&self, _completions: u64, _at_most: Micros) {}
}

/// How a test's shard is run.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) ring: RingSettings,
    pub(crate) preempt: Duration,
    pub(crate) spin: Micros,
}

impl Plan {
    /// As a shard of weir runs, on a ring of `ring`.
    pub(crate) fn of(ring: RingSettings) -> Self {
        Self { ring, preempt: Duration::from_millis(10), spin: Micros::ZERO }
    }
}

/// Runs `test` as a task of a shard on its own thread and returns what it returns.
pub(crate) fn on_ring<T, F>(ring: RingSettings, test: impl FnOnce(Ring) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    run(Plan::of(ring), |_| Box::new(|| {}), test)
}

/// [`on_ring`] by a plan, with something to do each turn.
pub(crate) fn run<T, F>(
    plan: Plan,
    each_turn: impl FnOnce(&Ring) -> Box<dyn Fn()> + Send + 'static,
    test: impl FnOnce(Ring) -> F + Send + 'static,
) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let (tell, told) = mpsc::channel();
    let name = thread::current().name().unwrap_or("test").to_owned();
    let shard = move || {
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(64 << 10)
            .preempt_timer(plan.preempt)
            .make()
            .unwrap();
        let ring = Ring::new(&plan.ring).unwrap();
        let _ = tell.send(executor.run(async move {
            let shift = TestShift { each_turn: each_turn(&ring) };
            let stop = Rc::new(Cell::new(false));
            let result = Rc::new(RefCell::new(None));
            let (end, slot) = (StopOnDrop(stop.clone()), result.clone());
            let test = test(ring.clone());
            ring.spawn(async move {
                let _end = end;
                let returned = test.await;
                *slot.borrow_mut() = Some(returned);
            });
            ring.drive(plan.spin, &shift, &stop).await;
            ring.wind_up(Micros::from_ms(500));
            result.take()
        }));
    };
    let thread = thread::Builder::new().name(name).spawn(shard).unwrap();
    match told.recv_timeout(STUCK.as_duration()) {
        Ok(result) => {
            thread.join().unwrap();
            result.expect("the test's task panicked, see above")
        }
        Err(RecvTimeoutError::Timeout) => panic!("stuck for {STUCK}"),
        Err(RecvTimeoutError::Disconnected) => panic!("the shard's thread panicked, see above"),
    }
}

/// Ends the shard with the test's task, even if that panicked.
struct StopOnDrop(Rc<Cell<bool>>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// The deadline of a wait that should be over long before it.
pub(crate) fn soon() -> Instant {
    clock::now() + SOON
}

/// Waits, with the ring turning, until `holds`.
pub(crate) async fn until(ring: &Ring, what: &str, holds: impl Fn() -> bool) {
    let end = soon();
    while !holds() {
        assert!(clock::now() < end, "waited {SOON} for: {what}");
        pause(ring, 1).await;
    }
}

/// Lets the ring turn for `ms`.
pub(crate) async fn pause(ring: &Ring, ms: u64) {
    ring.sleep_until(clock::now() + Micros::from_ms(ms)).await;
}

/// Waits until the ring has let go of everything: nothing that was begun is left.
pub(crate) async fn settled(ring: &Ring) {
    let end = soon();
    // What was just dropped is only queued. The pause is an operation itself, so look between two.
    pause(ring, 1).await;
    while ring.operations() != 0 || ring.buffers_in_use() != 0 {
        let (operations, buffers) = (ring.operations(), ring.buffers_in_use());
        assert!(clock::now() < end, "{operations} operations and {buffers} buffers are left");
        pause(ring, 1).await;
    }
    // The last to end have queued their closes.
    pause(ring, 1).await;
}

/// A listener of the standard library on a free port, and where it is.
pub(crate) fn peer_listener() -> (TcpListener, Destination) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = Destination::Tcp(listener.local_addr().unwrap());
    (listener, at)
}

/// A connection: weir's end and the peer's, which blocks for `SOON` at most.
pub(crate) async fn pair(ring: &Ring) -> (Stream, TcpStream) {
    let (listener, at) = peer_listener();
    let stream = ring.connect(&at, soon()).await.unwrap();
    let peer = listener.accept().unwrap().0;
    peer.set_read_timeout(Some(SOON.as_duration())).unwrap();
    peer.set_write_timeout(Some(SOON.as_duration())).unwrap();
    peer.set_nodelay(true).unwrap();
    (stream, peer)
}

/// Many of them.
pub(crate) async fn pairs(ring: &Ring, count: usize) -> Vec<(Stream, TcpStream)> {
    let mut pairs = Vec::new();
    for _ in 0..count {
        pairs.push(pair(ring).await);
    }
    pairs
}

/// Arms the receive of `stream` without waiting for it: polls once, and lets the ring turn.
pub(crate) async fn arm(ring: &Ring, stream: &Stream) {
    let pending = poll_fn(|cx| Poll::Ready(stream.poll_receive(cx, Instant::NEVER).is_pending())).await;
    assert!(pending, "nothing was sent yet");
    pause(ring, 1).await;
}

/// The next bytes, of which there must be some.
pub(crate) async fn some(stream: &Stream) -> Chunk {
    stream.receive(soon()).await.unwrap().expect("the stream has ended")
}

/// Receives until `len` bytes have come.
pub(crate) async fn receive_all(stream: &Stream, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        bytes.extend_from_slice(&some(stream).await);
    }
    bytes
}

/// Polls `future` once.
pub(crate) async fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    poll_fn(|cx: &mut Context<'_>| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Reads `peer` to its end; an error counts as one, since a reset is one too.
pub(crate) fn read_to_end(peer: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = peer.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    bytes
}

/// `len` bytes that differ from place to place, and from `seed` to `seed`.
pub(crate) fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| pattern_at(seed, at)).collect()
}

/// The byte of [`pattern`] at one place. Never the poison of returned buffers (0xDB).
pub(crate) fn pattern_at(seed: usize, at: usize) -> u8 {
    ((seed.wrapping_mul(131) + at.wrapping_mul(7) + at / 251) % 199) as u8
}

/// Waits for a doorbell as a shard does: until it can be read, then takes its counter.
pub(crate) async fn heard(ring: &Ring, bell: &EventFd) {
    ring.readable(bell.as_fd()).await.unwrap();
    bell.read().unwrap();
}
