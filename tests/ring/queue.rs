//! A full submission queue: what does not fit waits, in order, and nothing is lost.

use crate::harness::{SMALL, on_ring, pair, pairs, pause, poll_once, read_to_end, settled, soon};
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::task::Poll;
use weir::ring::{Payload, RingSettings};
use weir::time::Instant;

/// Far fewer entries than the operations below queue at once.
const TINY: RingSettings = RingSettings { entries: 4, buffers: 64, buffer_size: 512 };

#[test]
fn many_more_operations_than_entries_are_all_done() {
    on_ring(TINY, |ring| async move {
        let mut pairs = pairs(&ring, 300).await;
        // All in one poll of this task: no turn in between.
        let mut sends: Vec<_> = pairs
            .iter()
            .map(|(stream, _)| Box::pin(stream.send(Payload::Bytes(vec![b'a'; 100]), soon())))
            .collect();
        for (_, peer) in &mut pairs {
            peer.write_all(b"answer").unwrap();
        }
        let mut got = vec![false; pairs.len()];
        poll_fn(|cx| {
            for ((stream, _), got) in pairs.iter().zip(&mut got) {
                if *got {
                    continue;
                }
                if let Poll::Ready(chunk) = stream.poll_receive(cx, soon()) {
                    assert_eq!(&*chunk.unwrap().unwrap(), b"answer");
                    *got = true;
                }
            }
            if got.iter().all(|got| *got) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        for send in &mut sends {
            assert_eq!(send.await.outcome, Ok(()));
        }
        for (_, peer) in &mut pairs {
            let mut bytes = [0; 100];
            peer.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, [b'a'; 100]);
        }
        drop(sends);
        drop(pairs);
        settled(&ring).await;
    });
}

#[test]
fn order_holds_across_a_full_queue() {
    on_ring(TINY, |ring| async move {
        let (stream, mut peer) = pair(&ring).await;
        let sends: Vec<_> =
            (0..=255u8).map(|number| stream.send(Payload::Bytes(vec![number]), soon())).collect();
        for send in sends {
            assert_eq!(send.await.outcome, Ok(()));
        }
        let mut bytes = [0; 256];
        peer.read_exact(&mut bytes).unwrap();
        assert!(bytes.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at), "{bytes:?}");
    });
}

/// The cancels and closes of many drops find the queue full as well.
#[test]
fn dropping_many_at_once_cancels_and_closes_all() {
    on_ring(TINY, |ring| async move {
        let mut pairs = pairs(&ring, 200).await;
        poll_fn(|cx| {
            let all = pairs.iter().all(|(stream, _)| stream.poll_receive(cx, Instant::NEVER).is_pending());
            assert!(all);
            Poll::Ready(())
        })
        .await;
        pause(&ring, 2).await;
        let (streams, mut peers): (Vec<_>, Vec<_>) = pairs.drain(..).unzip();
        drop(streams);
        settled(&ring).await;
        // The last closes stand behind what has settled; reading below would keep them from being submitted.
        pause(&ring, 5).await;
        for peer in &mut peers {
            assert_eq!(read_to_end(peer), b"");
        }
    });
}

#[test]
fn operations_begun_and_dropped_in_one_poll_leave_nothing() {
    on_ring(TINY, |ring| async move {
        let (stream, _peer) = pair(&ring).await;
        for _ in 0..50 {
            let mut sends: Vec<_> = (0..20)
                .map(|_| Box::pin(stream.send(Payload::Bytes(vec![b'z'; 1 << 20]), Instant::NEVER)))
                .collect();
            for send in &mut sends {
                assert!(poll_once(send).await.is_pending());
            }
        }
        drop(stream);
        settled(&ring).await;
    });
    // The same where all fit into the queue.
    on_ring(SMALL, |ring| async move {
        let (stream, _peer) = pair(&ring).await;
        let send = poll_fn(|cx| {
            let mut send = Box::pin(stream.send(Payload::Static(b"x"), soon()));
            assert!(send.as_mut().poll(cx).is_pending());
            Poll::Ready(send)
        });
        drop(send.await);
        drop(stream);
        settled(&ring).await;
    });
}
