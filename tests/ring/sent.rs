//! What a failed send says of what its peer may have seen, and until when bytes count that are sent.

use crate::harness::{SMALL, on_ring, pair, pause, settled, soon, until};
use std::io::Read;
use std::rc::Rc;
use weir::ring::{Counted, Fault, Payload};
use weir::time::Instant;

#[test]
fn a_send_that_failed_says_whether_any_of_it_was_taken() {
    on_ring(SMALL, |ring| async move {
        let (stream, peer) = pair(&ring).await;
        let much = stream.send(Payload::Bytes(vec![b's'; 16 << 20]), Instant::NEVER);
        pause(&ring, 20).await;
        // With bytes unread the peer's close is a reset.
        drop(peer);
        let sent = much.await;
        assert!(matches!(sent.outcome, Err(Fault::Os(_))), "{:?}", sent.outcome);
        assert!(!sent.untouched, "the peer's kernel has some of it");
        let sent = stream.send(Payload::Static(b"more"), soon()).await;
        assert!(matches!(sent.outcome, Err(Fault::Os(_))), "{:?}", sent.outcome);
        assert!(sent.untouched, "nobody can have seen any of it");
        assert_eq!(sent.payload.as_ref().map(Payload::as_slice), Some(&b"more"[..]));
        drop((sent, stream));
        settled(&ring).await;
    });
}

#[test]
fn counted_bytes_count_until_they_have_left() {
    on_ring(SMALL, async |ring| {
        let (stream, mut peer) = pair(&ring).await;
        let count = Rc::new(());
        let much = Counted::new(vec![b's'; 16 << 20], count.clone());
        let send = stream.send(Payload::Counted(much), Instant::NEVER).quiet_and_done();
        pause(&ring, 20).await;
        assert_eq!(Rc::strong_count(&count), 2);
        let reading = std::thread::spawn(move || {
            let mut bytes = vec![0; 16 << 20];
            peer.read_exact(&mut bytes).unwrap();
            bytes.iter().all(|&byte| byte == b's')
        });
        until(&ring, "it has left", || send.went_well()).await;
        assert_eq!(Rc::strong_count(&count), 1);
        assert!(reading.join().unwrap());
    });
}
