//! Accepting: what is accepted too late is closed, stop and resume lose nobody.
//!
//! `EMFILE` needs a process of its own: `process.rs`.

use crate::harness::{SMALL, on_ring, pause, poll_once, read_to_end, receive_all, settled, soon, until};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use weir::config::Destination;
use weir::config::ListenAddress;
use weir::ring::Payload;
use weir::sys::socket::{Sharing, listening, local_address};

pub(crate) fn listener() -> (OwnedFd, SocketAddr) {
    let any = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
    let listener = listening(&any, 4096, Sharing::Alone).unwrap();
    let at = local_address(listener.as_fd()).unwrap();
    (listener, at)
}

/// Connects as a client with a bounded patience.
fn client(at: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(at).unwrap();
    client.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    client
}

#[test]
fn connections_are_handed_out_in_the_order_of_their_coming() {
    on_ring(SMALL, |ring| async move {
        let (listener, at) = listener();
        let mut acceptor = ring.acceptor(listener.as_fd());
        let clients: Vec<_> = (0..50).map(|_| client(at)).collect();
        for (number, mut client) in clients.into_iter().enumerate() {
            let stream = acceptor.next().await.unwrap().unwrap();
            assert_eq!(stream.peer(), Some("127.0.0.1".parse().unwrap()));
            client.write_all(&[number as u8]).unwrap();
            assert_eq!(receive_all(&stream, 1).await, [number as u8]);
        }
        drop(acceptor);
        settled(&ring).await;
    });
}

#[test]
fn a_connection_that_leaves_its_ring_before_a_byte_is_read_is_anothers() {
    let (listener, at) = listener();
    let mut client = client(at);
    client.write_all(b"sent before").unwrap();
    let socket = on_ring(SMALL, move |ring| async move {
        let mut acceptor = ring.acceptor(listener.as_fd());
        let socket = acceptor.next().await.unwrap().unwrap().detach();
        drop(acceptor);
        // Nothing of it is left there, and nothing closes it.
        settled(&ring).await;
        socket
    });
    on_ring(SMALL, |ring| async move {
        let stream = ring.adopt(socket);
        assert_eq!(stream.peer(), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(receive_all(&stream, 11).await, b"sent before");
        drop(stream);
        settled(&ring).await;
    });
    assert_eq!(read_to_end(&mut client), b"");
}

#[test]
fn a_connection_accepted_after_its_acceptor_was_dropped_is_closed() {
    on_ring(SMALL, |ring| async move {
        let (listener, at) = listener();
        // The client waits in the queue: the accept and its cancel go out together, and the accept wins.
        let mut late = client(at);
        let mut acceptor = ring.acceptor(listener.as_fd());
        assert!(poll_once(&mut Box::pin(acceptor.next())).await.is_pending());
        drop(acceptor);
        settled(&ring).await;
        assert_eq!(read_to_end(&mut late), b"");
        // Armed when the client comes, and dropped before the ring is turned: the cancel wins, and the
        // connection is the next acceptor's.
        let mut acceptor = ring.acceptor(listener.as_fd());
        assert!(poll_once(&mut Box::pin(acceptor.next())).await.is_pending());
        pause(&ring, 1).await;
        let mut early = client(at);
        drop(acceptor);
        settled(&ring).await;
        let stream = ring.acceptor(listener.as_fd()).next().await.unwrap().unwrap();
        early.write_all(b"kept").unwrap();
        assert_eq!(receive_all(&stream, 4).await, b"kept");
        drop(stream);
        // The same with connections that the ring has seen and nobody has fetched.
        let mut acceptor = ring.acceptor(listener.as_fd());
        assert!(poll_once(&mut Box::pin(acceptor.next())).await.is_pending());
        let mut clients: Vec<_> = (0..10).map(|_| client(at)).collect();
        pause(&ring, 5).await;
        drop(acceptor);
        settled(&ring).await;
        // Whom the busy machine has not let in by now ends with the queue.
        drop(listener);
        for client in &mut clients {
            assert_eq!(read_to_end(client), b"");
        }
    });
}

#[test]
fn a_stopped_acceptor_hands_out_what_it_has_and_leaves_the_rest_in_the_queue() {
    on_ring(SMALL, |ring| async move {
        let (listener, at) = listener();
        let mut acceptor = ring.acceptor(listener.as_fd());
        assert!(poll_once(&mut Box::pin(acceptor.next())).await.is_pending());
        let early: Vec<_> = (0..3).map(|_| client(at)).collect();
        pause(&ring, 5).await;
        acceptor.stop();
        for _ in 0..early.len() {
            assert!(acceptor.next().await.unwrap().is_some());
        }
        assert!(acceptor.next().await.unwrap().is_none());
        assert!(acceptor.next().await.unwrap().is_none(), "stopped stays stopped");
        let mut late = client(at);
        assert!(acceptor.next().await.unwrap().is_none());
        acceptor.resume();
        let stream = acceptor.next().await.unwrap().unwrap();
        late.write_all(b"hello").unwrap();
        assert_eq!(receive_all(&stream, 5).await, b"hello");
    });
}

#[test]
fn stop_wakes_who_waits_and_resume_before_the_cancel_is_through_loses_nobody() {
    on_ring(SMALL, |ring| async move {
        let (listener, at) = listener();
        let acceptor = Rc::new(std::cell::RefCell::new(ring.acceptor(listener.as_fd())));
        let (waiting, stopped) = (acceptor.clone(), Rc::new(Cell::new(false)));
        let told = stopped.clone();
        ring.spawn(async move {
            let next = std::future::poll_fn(|cx| waiting.borrow_mut().poll_next(cx)).await;
            drop(waiting);
            told.set(next.unwrap().is_none());
        });
        pause(&ring, 2).await;
        acceptor.borrow_mut().stop();
        until(&ring, "the waiting task is told", || stopped.get()).await;
        let mut acceptor = Rc::into_inner(acceptor).expect("the task has ended").into_inner();
        for _ in 0..100 {
            acceptor.resume();
            assert!(poll_once(&mut Box::pin(acceptor.next())).await.is_pending());
            acceptor.stop();
            acceptor.resume();
            let mut client = client(at);
            let stream = acceptor.next().await.unwrap().expect("it was resumed");
            client.write_all(b"x").unwrap();
            assert_eq!(receive_all(&stream, 1).await, b"x");
        }
    });
}

#[test]
fn a_unix_listener_accepts_and_its_connections_have_no_address() {
    on_ring(SMALL, |ring| async move {
        let folder = std::env::temp_dir().join(format!("weir-ring-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("accept.sock");
        let listener = listening(&ListenAddress::Unix(path.clone()), 16, Sharing::Alone).unwrap();
        let mut acceptor = ring.acceptor(listener.as_fd());
        let mut client = UnixStream::connect(&path).unwrap();
        let stream = acceptor.next().await.unwrap().unwrap();
        assert_eq!(stream.peer(), None);
        client.write_all(b"ping").unwrap();
        assert_eq!(receive_all(&stream, 4).await, b"ping");
        let ours = ring.connect(&Destination::Unix(path), soon()).await.unwrap();
        let theirs = acceptor.next().await.unwrap().unwrap();
        theirs.send(Payload::Static(b"pong"), soon()).await.outcome.unwrap();
        assert_eq!(receive_all(&ours, 4).await, b"pong");
        stream.send(Payload::Static(b"pong"), soon()).await.outcome.unwrap();
        let mut four = [0; 4];
        client.read_exact(&mut four).unwrap();
        assert_eq!(&four, b"pong");
        std::fs::remove_dir_all(folder).unwrap();
    });
}
