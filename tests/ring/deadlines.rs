//! Deadlines: they end the wait that they were set for, and no other.

use crate::harness::{SMALL, on_ring, pair, pause, poll_once, receive_all, some, soon, until};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::cell::Cell;
use std::future::poll_fn;
use std::io::Write;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::Poll;
use weir::ring::{Fault, Ring, Stream};
use weir::sys::clock;
use weir::time::{Instant, Micros};

/// Holds the shard up, as a long computation does, until `until`: deadlines and bytes come together.
fn busy_until(until: Instant) {
    while clock::now() < until {
        std::hint::spin_loop();
    }
}

#[test]
fn sleeps_end_in_the_order_of_their_deadlines_and_never_early() {
    on_ring(SMALL, |ring| async move {
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let start = clock::now();
        for ms in [30, 10, 120, 20, 0, 250] {
            let (order, ring_too, due) = (order.clone(), ring.clone(), start + Micros::from_ms(ms));
            ring.spawn(async move {
                ring_too.sleep_until(due).await;
                assert!(clock::now() >= due, "{ms} ms were too short");
                order.borrow_mut().push(ms);
            });
        }
        until(&ring, "all have slept", || order.borrow().len() == 6).await;
        assert_eq!(*order.borrow(), [0, 10, 20, 30, 120, 250]);
    });
}

#[test]
fn bytes_that_come_with_the_deadline_win_and_the_next_wait_has_its_own_deadline() {
    on_ring(SMALL, |ring| async move {
        loop {
            let (stream, mut peer) = pair(&ring).await;
            let due = clock::now() + Micros::from_ms(20);
            let mut receive = Box::pin(stream.receive(due));
            assert!(poll_once(&mut receive).await.is_pending());
            pause(&ring, 1).await;
            // On a busy machine the deadline may have come before the bytes: once more.
            if clock::now() >= due {
                continue;
            }
            // From here to the end of the wait the ring does not turn.
            peer.write_all(b"first").unwrap();
            busy_until(due + Micros::from_ms(1));
            assert_eq!(&*receive.await.unwrap().unwrap(), b"first");
            answer_later(&ring, peer);
            assert_eq!(&*some(&stream).await, b"second");
            break;
        }
    });
}

/// Writes "second" after a few milliseconds.
fn answer_later(ring: &Ring, mut peer: std::net::TcpStream) {
    let ring_too = ring.clone();
    ring.spawn(async move {
        pause(&ring_too, 10).await;
        peer.write_all(b"second").unwrap();
        // Stays open until the test is over.
        ring_too.sleep_until(soon()).await;
    });
}

#[test]
fn the_deadline_of_a_wait_that_was_given_up_does_not_end_the_next() {
    on_ring(SMALL, |ring| async move {
        let (stream, peer) = pair(&ring).await;
        let mut receive = Box::pin(stream.receive(clock::now() + Micros::from_ms(5)));
        assert!(poll_once(&mut receive).await.is_pending());
        drop(receive);
        pause(&ring, 20).await;
        answer_later(&ring, peer);
        assert_eq!(&*some(&stream).await, b"second");
    });
}

#[test]
fn bytes_taken_without_waiting_end_the_wait_with_its_deadline() {
    on_ring(SMALL, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        let mut receive = Box::pin(stream.receive(clock::now() + Micros::from_ms(10)));
        assert!(poll_once(&mut receive).await.is_pending());
        pause(&ring, 1).await;
        peer.write_all(b"first").unwrap();
        until(&ring, "the bytes came", || !stream.is_quiet()).await;
        assert_eq!(&*stream.received().unwrap(), b"first");
        assert!(stream.received().is_none());
        drop(receive);
        pause(&ring, 20).await;
        answer_later(&ring, peer);
        assert_eq!(&*some(&stream).await, b"second");
    });
}

#[test]
fn a_later_deadline_replaces_an_earlier_one_and_a_passed_one_ends_the_wait_at_once() {
    on_ring(SMALL, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        let mut early = Box::pin(stream.receive(clock::now() + Micros::from_ms(5)));
        assert!(poll_once(&mut early).await.is_pending());
        drop(early);
        let due = clock::now() + Micros::from_ms(50);
        assert!(matches!(stream.receive(due).await, Err(Fault::TimedOut)));
        assert!(clock::now() >= due);
        // At once: the quickest of several is quicker than a heartbeat.
        let mut quickest = Micros::from_s(10);
        for _ in 0..10 {
            let passed = clock::now();
            assert!(matches!(stream.receive(passed).await, Err(Fault::TimedOut)));
            quickest = quickest.min(clock::now().since(passed));
        }
        assert!(quickest < Micros::from_ms(90), "waited for the heartbeat: {quickest}");
        peer.write_all(b"fine").unwrap();
        assert_eq!(receive_all(&stream, 4).await, b"fine");
    });
}

/// Waits for the next request as a connection does; tells whether it was cut short.
fn wait_for_next(ring: &Ring, stream: Rc<Stream>, cut: Rc<Cell<u32>>) {
    ring.spawn(async move {
        let next = poll_fn(|cx| stream.poll_receive_next(cx, soon())).await;
        if matches!(next, Err(Fault::TimedOut)) {
            cut.set(cut.get() + 1);
        }
    });
}

#[test]
fn an_interrupt_ends_the_waits_for_a_next_request_and_no_others() {
    on_ring(SMALL, |ring| async move {
        let (next, _next_peer) = pair(&ring).await;
        let (body, body_peer) = pair(&ring).await;
        let (next, cut) = (Rc::new(next), Rc::new(Cell::new(0)));
        wait_for_next(&ring, next.clone(), cut.clone());
        let mut receive = Box::pin(body.receive(soon()));
        assert!(poll_once(&mut receive).await.is_pending());
        pause(&ring, 1).await;
        ring.interrupt();
        until(&ring, "the wait is cut short", || cut.get() == 1).await;
        answer_later(&ring, body_peer);
        assert_eq!(&*receive.await.unwrap().unwrap(), b"second");
    });
}

#[test]
fn an_interrupt_that_comes_with_the_request_does_not_cut_its_body() {
    on_ring(SMALL, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        let waiting = poll_fn(|cx| Poll::Ready(stream.poll_receive_next(cx, soon()).is_pending())).await;
        assert!(waiting);
        peer.write_all(b"head").unwrap();
        until(&ring, "the head came", || !stream.is_quiet()).await;
        ring.interrupt();
        assert_eq!(&*some(&stream).await, b"head");
        answer_later(&ring, peer);
        assert_eq!(&*some(&stream).await, b"second");
    });
}

#[test]
fn an_interrupt_does_not_cut_what_follows_a_head_that_was_taken_without_waiting() {
    on_ring(SMALL, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        let waiting = poll_fn(|cx| Poll::Ready(stream.poll_receive_next(cx, soon()).is_pending())).await;
        assert!(waiting);
        peer.write_all(b"head").unwrap();
        until(&ring, "the head came", || !stream.is_quiet()).await;
        assert_eq!(&*stream.received().unwrap(), b"head");
        let mut body = Box::pin(stream.receive(soon()));
        assert!(poll_once(&mut body).await.is_pending());
        ring.interrupt();
        answer_later(&ring, peer);
        assert_eq!(&*body.await.unwrap().unwrap(), b"second");
    });
}

/// The slot of a stream that was waiting for its next request is used again, by a doorbell or a sleep.
#[test]
fn an_interrupt_does_not_cut_operations_in_a_slot_that_once_waited_for_a_request() {
    on_ring(SMALL, |ring| async move {
        let (stream, peer) = pair(&ring).await;
        let waiting = poll_fn(|cx| Poll::Ready(stream.poll_receive_next(cx, soon()).is_pending())).await;
        assert!(waiting);
        drop((stream, peer));
        pause(&ring, 5).await;
        let due = clock::now() + Micros::from_ms(40);
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC).unwrap();
        let mut rung = Box::pin(ring.readable(bell.as_fd()));
        assert!(poll_once(&mut rung).await.is_pending());
        let mut sleeps = vec![Box::pin(ring.sleep_until(due)), Box::pin(ring.sleep_until(due))];
        for sleep in &mut sleeps {
            assert!(poll_once(sleep).await.is_pending());
        }
        ring.interrupt();
        for sleep in sleeps {
            sleep.await;
            assert!(clock::now() >= due, "a sleep was cut short");
        }
        assert!(poll_once(&mut rung).await.is_pending(), "a doorbell nobody rang");
        bell.write(1).unwrap();
        rung.await.unwrap();
    });
}
