//! Receive buffers: poisoned when they come back, bounded for each stream, whole under load.
//!
//! Running out of them is in `starved.rs`.

use crate::harness::{
    SMALL, arm, on_ring, pair, pairs, pattern, pattern_at, pause, receive_all, settled, some, soon, until,
};
use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::FileExt;
use weir::ring::{HEADROOM, Payload, RingSettings};

const POISON: u8 = 0xDB;

#[test]
fn a_buffer_that_was_given_back_is_poisoned() {
    on_ring(RingSettings { buffers: 2, ..SMALL }, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        peer.write_all(b"secret").unwrap();
        let chunk = some(&stream).await;
        let at = chunk.as_ptr() as u64;
        assert_eq!(&*chunk, b"secret");
        drop(stream);
        drop(chunk);
        settled(&ring).await;
        // Through the process's memory file, since nothing in Rust may look there any more.
        let mut left = [0; 6];
        File::open("/proc/self/mem").unwrap().read_exact_at(&mut left, at).unwrap();
        assert_eq!(left, [POISON; 6], "whoever reads on must read poison");
    });
}

/// A receive that was given up may still complete: into a buffer that the kernel held, never into one that
/// somebody reads. So chunks that are held stay as they are, whatever else ends around them.
#[test]
fn completions_after_a_drop_do_not_write_into_buffers_that_others_hold() {
    on_ring(RingSettings { entries: 256, buffers: 64, buffer_size: 512 }, |ring| async move {
        let (keeper, mut keeper_peer) = pair(&ring).await;
        for round in 0..200 {
            keeper_peer.write_all(&pattern(round, 400)).unwrap();
            let held = some(&keeper).await;
            let mut others = pairs(&ring, 4).await;
            for (stream, peer) in &mut others {
                arm(&ring, stream).await;
                peer.write_all(&[0xEE; 500]).unwrap();
            }
            // Their receives have completed or will; nobody waits for them any more.
            drop(others);
            let expected = pattern(round, held.len());
            assert!(*held == *expected, "round {round}, at once");
            pause(&ring, 1).await;
            assert!(*held == *expected, "round {round}, after the late completions");
            let mut rest = 400 - held.len();
            drop(held);
            while rest > 0 {
                rest -= some(&keeper).await.len();
            }
        }
        drop(keeper);
        settled(&ring).await;
    });
}

#[test]
fn what_nobody_reads_holds_a_few_buffers_and_stops_the_peer() {
    on_ring(RingSettings { entries: 64, buffers: 64, buffer_size: 1024 }, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        const ALL: usize = 16 << 20;
        let writer = std::thread::spawn(move || {
            let bytes = pattern(7, ALL);
            // In small pieces, so that each would fill a completion of its own.
            bytes.chunks(700).for_each(|piece| peer.write_all(piece).unwrap());
            peer.shutdown(Shutdown::Write).unwrap();
            peer
        });
        arm(&ring, &stream).await;
        until(&ring, "the first bytes", || !stream.is_quiet()).await;
        let mut most = 0;
        for _ in 0..50 {
            pause(&ring, 2).await;
            most = most.max(ring.buffers_in_use());
        }
        assert!(!writer.is_finished(), "the peer was not stopped");
        assert!((1..=36).contains(&most), "{most} buffers for one unread stream");
        // Others go on meanwhile.
        let (other, mut other_peer) = pair(&ring).await;
        other_peer.write_all(b"me too").unwrap();
        assert_eq!(receive_all(&other, 6).await, b"me too");
        // And all of it comes, in order, once it is read.
        let mut at = 0;
        while let Some(chunk) = stream.receive(soon()).await.unwrap() {
            for byte in &*chunk {
                assert_eq!(*byte, pattern_at(7, at), "at {at}");
                at += 1;
            }
        }
        assert_eq!(at, ALL);
        drop((writer.join().unwrap(), stream, other));
        settled(&ring).await;
    });
}

#[test]
fn a_chunk_is_cut_and_prefixed_within_its_bounds() {
    on_ring(SMALL, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        peer.write_all(b"0123456789").unwrap();
        let mut chunk = some(&stream).await;
        assert_eq!(&*chunk, b"0123456789");
        chunk.advance(2);
        chunk.truncate(7);
        assert_eq!(&*chunk, b"2345678");
        assert!(chunk.prepend(b"ab"));
        assert_eq!(&*chunk, b"ab2345678");
        assert!(chunk.prepend(&vec![b'h'; HEADROOM]));
        assert_eq!(chunk.len(), HEADROOM + 9);
        assert!(!chunk.prepend(b"!"), "the room in front is used up");
        assert_eq!(chunk.len(), HEADROOM + 9);
        chunk.advance(HEADROOM);
        chunk[0] = b'A';
        stream.send(Payload::Chunk(chunk), soon()).await.outcome.unwrap();
        let mut nine = [0; 9];
        peer.read_exact(&mut nine).unwrap();
        assert_eq!(&nine, b"Ab2345678");
        peer.write_all(b"xyz").unwrap();
        let mut chunk = some(&stream).await;
        chunk.truncate(usize::MAX);
        assert_eq!(&*chunk, b"xyz", "there is no more than there is");
        chunk.advance(usize::MAX);
        assert_eq!(&*chunk, b"");
    });
}

#[test]
fn a_gathered_send_keeps_order_and_gives_every_buffer_back() {
    on_ring(SMALL, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        let mut got = Vec::new();
        let mut list = Vec::new();
        for round in 0..50 {
            for part in 0..3 {
                peer.write_all(&pattern(round * 3 + part, 100)).unwrap();
                list.push(some(&stream).await);
            }
            list = stream.send_gathered(list, soon()).await.unwrap();
            assert!(list.is_empty(), "the list comes back emptied");
            assert_eq!(ring.buffers_in_use(), 0);
            let mut bytes = [0; 300];
            peer.read_exact(&mut bytes).unwrap();
            got.extend_from_slice(&bytes);
        }
        let expected: Vec<u8> = (0..150).flat_map(|seed| pattern(seed, 100)).collect();
        assert!(got == expected);
    });
}
