//! What needs a process of its own: kill -9, running out of descriptors, thousands of connections, the end
//! of a ring.

use crate::accept::listener;
use crate::child::{alone, descriptors, is_child, line_after, start, wait_for_descriptors};
use crate::harness::{
    SMALL, SOON, STUCK, arm, on_ring, pairs, pause, read_to_end, receive_all, settled, soon, until,
};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::rc::Rc;
use std::time::Duration;
use weir::config::Destination;
use weir::config::ListenAddress;
use weir::ring::{Fault, Payload, RingSettings, Stream};
use weir::sys::socket::{Sharing, listening};
use weir::sys::{clock, limits};
use weir::time::Instant;

/// Sends back what comes, until the end.
async fn echo(stream: Stream) {
    while let Ok(Some(chunk)) = stream.receive(Instant::NEVER).await {
        if stream.send(Payload::Chunk(chunk), soon()).await.outcome.is_err() {
            return;
        }
    }
}

/// A process that listens alone on its port through the ring, with its accept pending and a connection open.
fn serve_until_killed() {
    on_ring(SMALL, |ring| async move {
        let (socket, at) = listener();
        let mut acceptor = ring.acceptor(socket.as_fd());
        println!("listens on {at}");
        let end = clock::now() + STUCK;
        while clock::now() < end {
            if let Some(stream) = acceptor.next().await.unwrap() {
                ring.spawn(echo(stream));
            }
        }
    });
}

#[test]
fn after_kill_9_the_same_port_is_bound_again_within_a_second() {
    const NAME: &str = "process::after_kill_9_the_same_port_is_bound_again_within_a_second";
    if is_child() {
        return serve_until_killed();
    }
    for _ in 0..5 {
        let (mut server, mut output) = start(NAME);
        let at: SocketAddr = line_after(&mut output, "listens on ").parse().unwrap();
        // A connection under way, and others in the queue.
        let mut client = TcpStream::connect(at).unwrap();
        client.set_read_timeout(Some(SOON.as_duration())).unwrap();
        client.write_all(b"alive").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        kill(Pid::from_raw(server.0.id() as i32), Signal::SIGKILL).unwrap();
        let killed = clock::now();
        let waited = server.0.wait().unwrap();
        assert_eq!(waited.signal(), Some(libc::SIGKILL));
        let mut tries = 1;
        // As a shard that is started again does: the kernel may take the dead one's ring down a little later.
        let socket = loop {
            match listening(&ListenAddress::Tcp(at), 128, Sharing::Alone) {
                Ok(socket) => break socket,
                Err(error) => {
                    assert_eq!(error.source.raw_os_error(), Some(libc::EADDRINUSE), "{error}");
                    let since = clock::now().since(killed);
                    assert!(since < SOON, "still taken {since} after the kill");
                    tries += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        };
        println!("bound again {} after the kill, by try {tries}", clock::now().since(killed));
        // And it serves: a new ring accepts there.
        on_ring(SMALL, move |ring| async move {
            let mut acceptor = ring.acceptor(socket.as_fd());
            let mut next = TcpStream::connect(at).unwrap();
            let stream = acceptor.next().await.unwrap().unwrap();
            next.write_all(b"again").unwrap();
            assert_eq!(receive_all(&stream, 5).await, b"again");
        });
        assert_eq!(read_to_end(&mut client), b"");
    }
}

#[test]
fn without_descriptors_accepting_fails_pauses_and_recovers_and_nobody_is_lost() {
    alone("process::without_descriptors_accepting_fails_pauses_and_recovers_and_nobody_is_lost", || {
        on_ring(SMALL, |ring| async move {
            let (socket, at) = listener();
            let mut clients: Vec<_> = (0..20).map(|_| TcpStream::connect(at).unwrap()).collect();
            // Room for five: the limit is on numbers, so every free one below it is taken first.
            let hard = limits::raise_descriptors().unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
            let mut fillers: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            fillers.truncate(fillers.len() - 5);
            let mut acceptor = ring.acceptor(socket.as_fd());
            let (mut streams, mut refused) = (Vec::new(), 0);
            while streams.len() < 5 {
                streams.push(acceptor.next().await.unwrap().unwrap());
            }
            let enters = ring.counts().enters;
            // As weir's accept loop does: an error, a pause, another try.
            for _ in 0..5 {
                assert_eq!(acceptor.next().await.err(), Some(Fault::Os(libc::EMFILE)));
                refused += 1;
                pause(&ring, 10).await;
            }
            let enters = ring.counts().enters - enters;
            assert!(enters < 10 * refused, "{enters} enters in {refused} tries: it spins");
            assert!(
                ring.connect(&Destination::Tcp(at), soon())
                    .await
                    .is_err_and(|f| f == Fault::Os(libc::EMFILE))
            );
            // Connections end, and the others are served in their order, each as room comes.
            let mut streams: VecDeque<Stream> = streams.into();
            for (number, client) in clients.iter_mut().enumerate() {
                client.write_all(&[number as u8]).unwrap();
                let oldest = streams.pop_front().unwrap();
                assert_eq!(receive_all(&oldest, 1).await, [number as u8]);
                drop(oldest);
                while number + 5 < 20 && streams.len() < 5 {
                    match acceptor.next().await {
                        Ok(stream) => streams.push_back(stream.unwrap()),
                        // The close may be on its way still, and the failure is from before it.
                        Err(fault) => assert_eq!(fault, Fault::Os(libc::EMFILE)),
                    }
                }
            }
            drop(acceptor);
            settled(&ring).await;
        });
    });
}

/// Connections of one ring, in thousands: weir's side and the clients' are in this process.
const MANY: usize = 4_000;

#[test]
fn thousands_of_connections_are_served_and_idle_ones_hold_no_buffer() {
    alone("process::thousands_of_connections_are_served_and_idle_ones_hold_no_buffer", || {
        let limit = limits::raise_descriptors().unwrap() as usize;
        let many = MANY.min((limit - 200) / 2);
        assert!(many >= 400, "the limit of {limit} descriptors is too low to show anything");
        let settings = RingSettings { entries: 256, buffers: 256, buffer_size: 1024 };
        on_ring(settings, move |ring| async move {
            let before = descriptors();
            let (socket, at) = listener();
            let accepted = Rc::new(Cell::new(0));
            let (ring_too, count) = (ring.clone(), accepted.clone());
            let mut acceptor = ring.acceptor(socket.as_fd());
            ring.spawn(async move {
                while count.get() < many {
                    ring_too.spawn(echo(acceptor.next().await.unwrap().unwrap()));
                    count.set(count.get() + 1);
                }
            });
            let clients = std::thread::spawn(move || {
                (0..many).map(|_| TcpStream::connect(at).unwrap()).collect::<Vec<_>>()
            });
            until(&ring, "all are connected", || clients.is_finished() && accepted.get() == many).await;
            let clients = clients.join().unwrap();
            assert_eq!(ring.buffers_in_use(), 0, "idle connections hold buffers");
            // All speak at once, more than there are buffers, and each hears its own.
            let talk = std::thread::spawn(move || {
                for round in 0..3usize {
                    for (number, mut client) in clients.iter().enumerate() {
                        client.write_all(&(number * 3 + round).to_le_bytes()).unwrap();
                    }
                    for (number, mut client) in clients.iter().enumerate() {
                        client.set_read_timeout(Some(SOON.as_duration())).unwrap();
                        let mut heard = [0; 8];
                        client.read_exact(&mut heard).unwrap();
                        assert_eq!(usize::from_le_bytes(heard), number * 3 + round);
                    }
                }
            });
            until(&ring, "all have been heard", || talk.is_finished()).await;
            talk.join().unwrap();
            drop(socket);
            settled(&ring).await;
            until(&ring, "their sockets are closed", || descriptors() <= before).await;
        });
    });
}

/// A ring that ends takes its sockets with it, whatever was under way: a receive that was armed, a connect,
/// a send, a connection that nobody has fetched.
#[test]
fn a_ring_that_has_ended_leaves_no_descriptor_and_no_open_connection() {
    alone("process::a_ring_that_has_ended_leaves_no_descriptor_and_no_open_connection", || {
        // What a first executor opens for the whole process.
        on_ring(SMALL, |_| async {});
        let before = descriptors();
        let mut peers = on_ring(SMALL, |ring| async move {
            let pairs = pairs(&ring, 10).await;
            for (stream, _) in &pairs {
                arm(&ring, stream).await;
            }
            let (streams, peers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let send = streams[0].send(Payload::Bytes(vec![b's'; 32 << 20]), Instant::NEVER);
            pause(&ring, 5).await;
            // Dropped in the last turn: the closes are queued at most when the loop ends.
            drop((streams, send));
            peers
        });
        for peer in &mut peers {
            read_to_end(peer);
        }
        drop(peers);
        wait_for_descriptors(before + ENDED_EXECUTOR);
    });
}

/// Descriptors that an ended glommio executor leaves open, a known fault of its: see DESIGN.md.
const ENDED_EXECUTOR: usize = 1;
