//! Operations that are given up: futures dropped at every await point, cancelled connects and sends.
//!
//! What must hold after any of them: the kernel has let go, no buffer is lost, the socket is closed, and
//! what the kernel still read was not touched meanwhile.

use crate::child;
use crate::harness::{
    SMALL, SOON, arm, on_ring, pair, pattern, pause, peer_listener, poll_once, read_to_end, receive_all,
    settled, some, soon, until,
};
use std::cell::Cell;
use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver};
use std::task::Poll;
use std::thread;
use std::time::Duration;
use weir::config::Destination;
use weir::config::ListenAddress;
use weir::ring::{Chunk, Fault, Payload, Ring};
use weir::sys::clock;
use weir::sys::socket::{Sharing, listening, local_address};
use weir::time::{Instant, Micros};

/// A whole life: connect, send, receive, send what came, send much, receive in vain, sleep, close.
async fn life(ring: Ring, to: Destination, greeted: Rc<Cell<bool>>) {
    let stream = ring.connect(&to, soon()).await.unwrap();
    stream.send(Payload::Static(b"hello"), soon()).await.outcome.unwrap();
    let first = some(&stream).await;
    greeted.set(true);
    stream.send(Payload::Chunk(first), soon()).await.outcome.unwrap();
    let mut more = Vec::new();
    while more.iter().map(|chunk: &Chunk| chunk.len()).sum::<usize>() < 10 {
        more.push(some(&stream).await);
    }
    stream.send_gathered(more, soon()).await.unwrap();
    let held = some(&stream).await;
    // More than the socket takes: the peer does not read it.
    let much = stream.send(Payload::Bytes(vec![b'x'; 32 << 20]), clock::now() + Micros::from_ms(20)).await;
    assert_eq!(much.outcome, Err(Fault::TimedOut));
    let none = stream.receive(clock::now() + Micros::from_ms(5)).await;
    assert!(matches!(none, Err(Fault::TimedOut)));
    ring.sleep_until(clock::now() + Micros::from_ms(5)).await;
    drop(held);
}

/// Polls `future` each time it is woken, and drops it when it has been polled `polls` times. Whether it
/// ended before.
async fn drop_after<F: Future<Output = ()>>(future: F, polls: usize) -> bool {
    let mut future = Box::pin(future);
    let mut polled = 0;
    std::future::poll_fn(move |cx| {
        if polled == polls {
            return Poll::Ready(false);
        }
        polled += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending if polled == polls => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[test]
fn a_future_dropped_at_any_await_point_leaves_nothing_behind() {
    child::alone("given_up::a_future_dropped_at_any_await_point_leaves_nothing_behind", || {
        on_ring(SMALL, |ring| async move {
            let (listener, to) = peer_listener();
            let before = child::descriptors();
            let mut polls = 0;
            loop {
                let greeted = Rc::new(Cell::new(false));
                let (tell, told) = mpsc::channel();
                let peer = {
                    let listener = listener.try_clone().unwrap();
                    thread::spawn(move || answer(&mut listener.accept().unwrap().0, &told))
                };
                let ended = drop_after(life(ring.clone(), to.clone(), greeted.clone()), polls).await;
                if polls == 0 {
                    // Nothing was begun, so nobody connected.
                    TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                }
                settled(&ring).await;
                tell.send(()).unwrap();
                until(&ring, "the peer sees the end", || peer.is_finished()).await;
                peer.join().unwrap();
                until(&ring, "its socket is closed", || child::descriptors() <= before).await;
                if ended {
                    assert!(greeted.get() && polls > 6, "only {polls} await points");
                    return;
                }
                polls += 1;
            }
        });
    });
}

/// The peer of [`life`]: answers as it expects, then reads nothing until the other end has given up.
fn answer(peer: &mut TcpStream, given_up: &Receiver<()>) {
    peer.set_read_timeout(Some(SOON.as_duration())).unwrap();
    peer.set_nodelay(true).unwrap();
    for (read, write) in [(5, &["first"][..]), (5, &["chunk", "other"]), (10, &["held!"])] {
        // A peer that was hung up on may be told so in any of these.
        let _ = peer.read_exact(&mut vec![0; read]);
        for message in write {
            let _ = peer.write_all(message.as_bytes());
            thread::sleep(Duration::from_millis(2));
        }
    }
    // It sends 32 MiB now, and waits because nobody reads them.
    let _ = given_up.recv_timeout(SOON.as_duration());
    read_to_end(peer);
}

#[test]
fn a_receive_given_up_leaves_its_bytes_to_the_next() {
    on_ring(SMALL, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        let mut receive = Box::pin(stream.receive(soon()));
        assert!(poll_once(&mut receive).await.is_pending());
        pause(&ring, 1).await;
        drop(receive);
        peer.write_all(b"late").unwrap();
        until(&ring, "the bytes came", || !stream.is_quiet()).await;
        assert_eq!(&*some(&stream).await, b"late");
    });
}

#[test]
fn a_connect_given_up_that_succeeds_after_all_is_closed() {
    on_ring(SMALL, |ring| async move {
        for turn_between in [false, true] {
            let (listener, to) = peer_listener();
            let mut connect: Pin<Box<dyn Future<Output = _>>> = Box::pin(ring.connect(&to, soon()));
            assert!(poll_once(&mut connect).await.is_pending());
            if turn_between {
                // It has succeeded by now, and nobody has asked.
                pause(&ring, 2).await;
            }
            drop(connect);
            settled(&ring).await;
            // Cancelled before it began, the connection does not even exist; so there is a second one.
            let mut second = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut peer = listener.accept().unwrap().0;
            if peer.peer_addr().unwrap() != second.local_addr().unwrap() {
                assert_eq!(read_to_end(&mut peer), b"");
            } else {
                assert!(!turn_between, "the connect had time to succeed");
                second.write_all(b"!").unwrap();
            }
        }
    });
}

#[test]
fn a_connect_that_nobody_answers_ends_at_its_deadline_and_is_closed() {
    child::alone("given_up::a_connect_that_nobody_answers_ends_at_its_deadline_and_is_closed", || {
        on_ring(SMALL, |ring| async move {
            let any = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
            let listener = listening(&any, 1, Sharing::Alone).unwrap();
            let at = local_address(listener.as_fd()).unwrap();
            // Nobody accepts: once the queue is full, the kernel does not answer.
            let mut held = Vec::new();
            let before = loop {
                let before = child::descriptors();
                let due = clock::now() + Micros::from_ms(100);
                match ring.connect(&Destination::Tcp(at), due).await {
                    Ok(stream) => held.push(stream),
                    Err(fault) => {
                        assert_eq!(fault, Fault::TimedOut);
                        let late = clock::now().since(due);
                        assert!(late < Micros::from_ms(500), "{late} late");
                        break before;
                    }
                }
                assert!(held.len() < 100, "the queue takes everything");
            };
            until(&ring, "its socket is closed", || child::descriptors() == before).await;
            drop(held);
            settled(&ring).await;
        });
    });
}

#[test]
fn a_refused_connect_says_so_and_leaves_nothing() {
    on_ring(SMALL, |ring| async move {
        let (listener, to) = peer_listener();
        drop(listener);
        assert_eq!(ring.connect(&to, soon()).await.err(), Some(Fault::Os(libc::ECONNREFUSED)));
        let nowhere = Destination::Unix("/nonexistent/socket".into());
        assert_eq!(ring.connect(&nowhere, soon()).await.err(), Some(Fault::Os(libc::ENOENT)));
        settled(&ring).await;
    });
}

#[test]
fn a_send_past_its_deadline_keeps_its_payload_until_the_kernel_has_let_go() {
    on_ring(SMALL, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        let much = pattern(1, 32 << 20);
        let sent = stream.send(Payload::Bytes(much), clock::now() + Micros::from_ms(30)).await;
        assert_eq!(sent.outcome, Err(Fault::TimedOut));
        assert!(sent.payload.is_none(), "the kernel may still read it");
        drop(stream);
        settled(&ring).await;
        let got = read_to_end(&mut peer);
        assert!(got == pattern(1, got.len()), "what was sent is not what was lent");
    });
}

/// The buffer of a chunk that is being sent must not go back, and be poisoned and filled by a receive,
/// while the kernel may still read it.
#[test]
fn a_chunk_whose_send_was_dropped_is_not_used_again_before_the_kernel_has_let_go() {
    on_ring(SMALL, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        peer.write_all(&pattern(2, 4096)).unwrap();
        let chunk = some(&stream).await;
        let len = chunk.len();
        // Fill the socket, so that the chunk's send must wait. What a busy machine has not done in the time of one,
        // the next does.
        for _ in 0..4 {
            let due = clock::now() + Micros::from_ms(60);
            let full = stream.send(Payload::Bytes(vec![b'x'; 32 << 20]), due).await;
            assert_eq!(full.outcome, Err(Fault::TimedOut));
        }
        settled_but(&ring, 1).await;
        let mut send = Box::pin(stream.send(Payload::Chunk(chunk), Instant::NEVER));
        assert!(poll_once(&mut send).await.is_pending());
        pause(&ring, 5).await;
        assert!(poll_once(&mut send).await.is_pending(), "the socket is full");
        drop(send);
        assert_eq!(ring.buffers_in_use(), 1, "given back while the kernel may read it");
        until(&ring, "the cancel is through", || ring.buffers_in_use() == 0).await;
        drop(stream);
        settled(&ring).await;
        let got = read_to_end(&mut peer);
        let tail = got.iter().skip_while(|byte| **byte == b'x').copied().collect::<Vec<_>>();
        assert!(tail == pattern(2, len)[..tail.len()], "the peer got what was not sent");
    });
}

/// Waits until only `stream` and one buffer are left.
async fn settled_but(ring: &Ring, operations: usize) {
    until(ring, "the send is cancelled", || ring.operations() <= operations + 1).await;
}

/// The number of a closed socket is used again at once: a late shutdown or close must not hit the next one.
#[test]
fn ends_reach_their_own_socket_although_its_number_is_used_again() {
    on_ring(SMALL, |ring| async move {
        for round in 0..500 {
            let (stream, mut peer) = pair(&ring).await;
            stream.send(Payload::Static(b"bye"), soon()).await.outcome.unwrap();
            stream.shutdown_write();
            drop(stream);
            let (next, mut next_peer) = pair(&ring).await;
            let sent = next.send(Payload::Static(b"still open"), soon()).await;
            assert_eq!(sent.outcome, Ok(()), "round {round}");
            next_peer.write_all(b"both ways").unwrap();
            assert_eq!(receive_all(&next, 9).await, b"both ways");
            let mut ten = [0; 10];
            next_peer.read_exact(&mut ten).unwrap();
            assert_eq!(read_to_end(&mut peer), b"bye");
            next.send(Payload::Static(b"still open"), soon()).await.outcome.unwrap();
        }
        settled(&ring).await;
    });
}

#[test]
fn a_half_closed_stream_still_receives() {
    on_ring(SMALL, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        stream.send(Payload::Static(b"question"), soon()).await.outcome.unwrap();
        stream.shutdown_write();
        until(&ring, "the shutdown is submitted", || true).await;
        pause(&ring, 1).await;
        assert_eq!(read_to_end(&mut peer), b"question");
        peer.write_all(b"answer").unwrap();
        drop(peer);
        assert_eq!(receive_all(&stream, 6).await, b"answer");
        assert!(stream.receive(soon()).await.unwrap().is_none());
        assert!(stream.receive(soon()).await.unwrap().is_none(), "the end stays the end");
        assert!(!stream.is_quiet());
    });
}

#[test]
fn a_stream_dropped_while_its_receive_is_armed_closes_the_socket() {
    on_ring(SMALL, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        arm(&ring, &stream).await;
        drop(stream);
        settled(&ring).await;
        assert_eq!(read_to_end(&mut peer), b"");
        // With bytes that came and were not read: the buffers go back.
        let (stream, mut peer) = pair(&ring).await;
        arm(&ring, &stream).await;
        peer.write_all(b"unread").unwrap();
        until(&ring, "the bytes came", || !stream.is_quiet()).await;
        assert_eq!(ring.buffers_in_use(), 1);
        drop(stream);
        assert_eq!(ring.buffers_in_use(), 0);
        // With bytes that the kernel has put into a buffer and weir has not looked at.
        let (stream, mut peer) = pair(&ring).await;
        arm(&ring, &stream).await;
        peer.write_all(b"unseen").unwrap();
        drop(stream);
        settled(&ring).await;
        assert_eq!(read_to_end(&mut peer), b"");
    });
}
