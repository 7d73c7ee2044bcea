//! Buffer exhaustion: more receives than buffers. They wait, without spinning, and all get their turn.

use crate::harness::{arm, on_ring, pair, pairs, pattern, pause, read_to_end, settled, some, soon, until};
use std::cell::Cell;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::task::Poll;
use weir::ring::{Chunk, Fault, Payload, Ring, RingSettings, SPILLED_FACTOR, Stream};
use weir::sys::clock;
use weir::time::{Instant, Micros};

const FOUR: RingSettings = RingSettings { entries: 64, buffers: 4, buffer_size: 1024 };

/// Chunks that take all buffers of [`FOUR`]: once half are in use, what comes is copied out, and its buffer
/// goes back, until there is too much of that as well.
const ALL: usize = 4 + SPILLED_FACTOR * 4;

/// A stream with a chunk for every buffer of the ring, so that none is left.
async fn hold_all(ring: &Ring, count: usize) -> (Vec<(Stream, TcpStream)>, Vec<Chunk>) {
    let mut holders = pairs(ring, count).await;
    let mut chunks = Vec::new();
    for (stream, peer) in &mut holders {
        peer.write_all(b"held").unwrap();
        chunks.push(some(stream).await);
    }
    (holders, chunks)
}

#[test]
fn receives_without_a_buffer_wait_without_spinning_and_each_gets_its_turn() {
    on_ring(FOUR, |ring| async move {
        let (_holders, mut chunks) = hold_all(&ring, ALL).await;
        let done = Rc::new(Cell::new(0));
        let mut peers = Vec::new();
        for number in 0..40 {
            let (stream, mut peer) = pair(&ring).await;
            peer.write_all(&pattern(number, 300)).unwrap();
            peers.push(peer);
            let (done, pausing) = (done.clone(), ring.clone());
            ring.spawn(async move {
                let mut got = Vec::new();
                while got.len() < 300 {
                    let chunk = some(&stream).await;
                    // Holds its buffer for a while, so that others must wait for it.
                    pause(&pausing, 1).await;
                    got.extend_from_slice(&chunk);
                }
                assert!(got == pattern(number, 300));
                done.set(done.get() + 1);
            });
        }
        until(&ring, "somebody found no buffer", || ring.counts().no_buffers > 0).await;
        pause(&ring, 5).await;
        let before = ring.counts();
        pause(&ring, 100).await;
        let after = ring.counts();
        assert_eq!(done.get(), 0, "there is no buffer");
        assert!(
            after.enters - before.enters < 20,
            "{} enters while nothing could happen",
            after.enters - before.enters
        );
        // One buffer is enough for all, one after the other.
        chunks.pop();
        until(&ring, "all have their bytes", || done.get() == 40).await;
    });
}

#[test]
fn sends_that_get_nowhere_are_given_up_when_they_keep_buffers_that_others_wait_for() {
    on_ring(FOUR, |ring| async move {
        let given_up = Rc::new(Cell::new(0));
        let mut peers = Vec::new();
        for _ in 0..ALL {
            let (stream, mut peer) = pair(&ring).await;
            peer.write_all(b"held").unwrap();
            peers.push(peer);
            let chunk = some(&stream).await;
            let given_up = given_up.clone();
            ring.spawn(async move {
                // More than the kernel takes for a peer that does not read.
                let sent = stream.send(Payload::Bytes(vec![0; 32 << 20]), Instant::NEVER).await;
                assert_eq!(sent.outcome, Err(Fault::TimedOut));
                drop((stream, chunk));
                given_up.set(given_up.get() + 1);
            });
        }
        pause(&ring, 1_500).await;
        assert_eq!(given_up.get(), 0, "nobody waits for a buffer");
        let (newcomer, mut peer) = pair(&ring).await;
        peer.write_all(b"hello").unwrap();
        assert_eq!(&some(&newcomer).await[..], b"hello");
        assert!(given_up.get() < ALL / 2, "{} of {ALL} were given up for one", given_up.get());
    });
}

#[test]
fn a_deadline_holds_for_a_receive_that_waits_for_a_buffer() {
    on_ring(FOUR, |ring| async move {
        let (_holders, chunks) = hold_all(&ring, ALL).await;
        let (stream, mut peer) = pair(&ring).await;
        peer.write_all(b"waiting").unwrap();
        for _ in 0..3 {
            let due = clock::now() + Micros::from_ms(20);
            assert!(matches!(stream.receive(due).await, Err(Fault::TimedOut)));
            let late = clock::now().since(due);
            assert!(late < Micros::from_ms(500), "{late} late");
        }
        assert_eq!(ring.counts().no_buffers, 1, "tried again without a buffer");
        drop(chunks);
        assert_eq!(&*some(&stream).await, b"waiting");
    });
}

#[test]
fn a_stream_that_waits_for_a_buffer_can_be_dropped() {
    on_ring(FOUR, |ring| async move {
        let (holders, chunks) = hold_all(&ring, ALL).await;
        let (first, mut first_peer) = pair(&ring).await;
        let (second, mut second_peer) = pair(&ring).await;
        for (stream, peer) in [(&first, &mut first_peer), (&second, &mut second_peer)] {
            arm(&ring, stream).await;
            peer.write_all(b"bytes").unwrap();
        }
        until(&ring, "both found no buffer", || ring.counts().no_buffers == 2).await;
        drop(first);
        pause(&ring, 2).await;
        assert_eq!(read_to_end(&mut first_peer), b"", "closed at once");
        drop(chunks);
        // The turn of the one that is gone is not lost on the other.
        assert_eq!(&*some(&second).await, b"bytes");
        drop((holders, second));
        settled(&ring).await;
    });
}

/// What comes back without any task being polled must wake who waits for it: here the buffer of a quiet
/// send, which wakes nobody when it ends.
#[test]
fn a_buffer_that_a_quiet_send_gives_back_wakes_who_waits_for_it() {
    on_ring(FOUR, |ring| async move {
        let (sender, mut sender_peer) = pair(&ring).await;
        let (waiting, mut waiting_peer) = pair(&ring).await;
        sender_peer.write_all(b"chunk").unwrap();
        let chunk = some(&sender).await;
        // Fill the socket, so that the chunk's send takes until the peer reads. What a busy machine has not done in
        // the time of one, the next does.
        for _ in 0..4 {
            let due = clock::now() + Micros::from_ms(60);
            let full = sender.send(Payload::Bytes(vec![b'x'; 32 << 20]), due).await;
            assert!(full.outcome.is_err());
        }
        let mut send = sender.send(Payload::Chunk(chunk), soon()).quiet_and_done();
        assert!(poll_fn(|cx| Poll::Ready(send.poll_failed(cx).is_pending())).await);
        // Buffers were not scarce when it was sent, so it was not copied out; now they are all taken.
        let (_holders, _chunks) = hold_all(&ring, ALL - 1).await;
        arm(&ring, &waiting).await;
        waiting_peer.write_all(b"starved").unwrap();
        until(&ring, "it found no buffer", || ring.counts().no_buffers == 1).await;
        let got = Rc::new(Cell::new(None));
        let told = got.clone();
        ring.spawn(async move {
            let chunk = some(&waiting).await;
            assert_eq!(&*chunk, b"starved");
            told.set(Some(clock::now()));
        });
        pause(&ring, 5).await;
        assert_eq!(got.get(), None);
        let began = clock::now();
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![0; 1 << 16];
            while !bytes.starts_with(b"chunk") && !bytes.ends_with(b"chunk") {
                let len = sender_peer.read(&mut bytes).unwrap();
                bytes.truncate(len);
                if bytes.ends_with(b"chunk") {
                    return;
                }
                bytes.resize(1 << 16, 0);
            }
        });
        // Nothing else may wake the shard: the only other deadline lies far ahead.
        ring.sleep_until(began + Micros::from_s(4)).await;
        let took = got.get().expect("it waits although there is a buffer").since(began);
        assert!(took < Micros::from_s(3), "woken only after {took}");
        reader.join().unwrap();
    });
}
