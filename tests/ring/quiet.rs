//! Quiet sends: nobody is woken when all goes well, and somebody is when it does not.

use crate::harness::{SMALL, on_ring, pair, pause, poll_once, settled, some, soon, until};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::rc::Rc;
use weir::ring::{Fault, Payload, Ring, Send, Sent};
use weir::sys::clock;
use weir::time::{Instant, Micros};

const MUCH: usize = 16 << 20;

/// Awaits `send` in a task of its own, counting polls.
fn watch(ring: &Ring, send: Send) -> (Rc<Cell<u32>>, Rc<Cell<Option<Sent>>>) {
    let (polls, end) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
    let (counted, told) = (polls.clone(), end.clone());
    ring.spawn(async move {
        let mut send = Box::pin(send);
        let sent = poll_fn(|cx| {
            counted.set(counted.get() + 1);
            send.as_mut().poll(cx)
        });
        told.set(Some(sent.await));
    });
    (polls, end)
}

#[test]
fn a_quiet_send_that_goes_well_wakes_nobody_and_a_loud_one_does() {
    on_ring(SMALL, |ring| async move {
        for quiet in [true, false] {
            let (stream, mut peer) = pair(&ring).await;
            let send = stream.send(Payload::Bytes(vec![b'q'; MUCH]), soon());
            let (polls, end) = watch(&ring, if quiet { send.quiet() } else { send });
            pause(&ring, 20).await;
            assert_eq!(polls.get(), 1, "the peer does not read, so it is not over");
            let reader = std::thread::spawn(move || {
                peer.read_exact(&mut vec![0; MUCH]).unwrap();
                peer
            });
            until(&ring, "all is read", || reader.is_finished()).await;
            pause(&ring, 20).await;
            assert_eq!(polls.get(), if quiet { 1 } else { 2 });
            assert_eq!(end.take().is_some(), !quiet);
            reader.join().unwrap();
        }
    });
}

#[test]
fn a_quiet_send_tells_how_it_went_when_asked_and_a_done_one_has_given_its_memory_back() {
    on_ring(SMALL, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        peer.write_all(b"quiet").unwrap();
        let quiet = some(&stream).await;
        peer.write_all(b"doner").unwrap();
        let done = some(&stream).await;
        let mut quiet = Box::pin(stream.send(Payload::Chunk(quiet), soon()).quiet());
        let mut done = Box::pin(stream.send(Payload::Chunk(done), soon()).quiet_and_done());
        assert!(poll_once(&mut quiet).await.is_pending() && poll_once(&mut done).await.is_pending());
        assert_eq!(ring.buffers_in_use(), 2);
        until(&ring, "the done one gives its buffer back unasked", || ring.buffers_in_use() == 1).await;
        let mut ten = [0; 10];
        peer.read_exact(&mut ten).unwrap();
        assert_eq!(&ten, b"quietdoner");
        let (quiet, done) = (quiet.await, done.await);
        assert_eq!((quiet.outcome, done.outcome), (Ok(()), Ok(())));
        assert!(quiet.payload.is_some_and(|payload| payload.as_slice() == b"quiet"));
        assert!(done.payload.is_none());
        assert_eq!(ring.buffers_in_use(), 0);
    });
}

#[test]
fn a_quiet_send_that_fails_wakes_its_task() {
    on_ring(SMALL, |ring| async move {
        for done in [true, false] {
            let (stream, peer) = pair(&ring).await;
            // No deadline: nothing but the failure itself may wake it.
            let send = stream.send(Payload::Bytes(vec![b'q'; MUCH]), Instant::NEVER);
            let (polls, end) = watch(&ring, if done { send.quiet_and_done() } else { send.quiet() });
            pause(&ring, 20).await;
            assert_eq!(polls.get(), 1);
            // With bytes unread the peer's close is a reset.
            drop(peer);
            until(&ring, "the failure is told", || polls.get() == 2).await;
            let sent = end.take().expect("the send has ended");
            assert!(matches!(sent.outcome, Err(Fault::Os(_))), "{:?}", sent.outcome);
            assert_eq!(sent.payload.is_none(), done, "whose payload is it");
            drop(stream);
            settled(&ring).await;
        }
    });
}

#[test]
fn a_quiet_send_that_gets_stuck_wakes_its_task_at_the_deadline() {
    on_ring(SMALL, |ring| async move {
        let (stream, _peer) = pair(&ring).await;
        let due = clock::now() + Micros::from_ms(30);
        let (_, end) = watch(&ring, stream.send(Payload::Bytes(vec![b'q'; MUCH]), due).quiet());
        pause(&ring, 200).await;
        assert_eq!(end.take().expect("it was woken").outcome, Err(Fault::TimedOut));
    });
}
