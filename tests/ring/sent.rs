//! What a failed send says of what its peer may have seen.

use crate::harness::{SMALL, on_ring, pair, pause, settled, soon};
use weir::ring::{Fault, Payload};
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
