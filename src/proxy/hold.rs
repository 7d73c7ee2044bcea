//! A small answer leaves whole: while the exchange may be made again, it is sent on only when it is complete.
//!
//! So a backend that dies, stalls or resets in the middle of a small answer costs nobody anything. Only an
//! answer of known length is held, up to `retry.hold`, and never a stream of events. What is held, and what
//! is kept of a request's body for another attempt (`upload.rs`), is copied out of the receive buffers,
//! into memory that is bounded for the shard: beyond it nothing is kept, and exchanges go on without. An
//! answer that is held takes its room until the client has read it, or as many as are read slowly would have
//! no bound. And what comes in drops for longer than a backend may pause is no small answer: it is let go.

use super::download::Down;
use super::response::FirstPart;
use super::service::{SPARE_BYTES_MAX, Service};
use super::vanished::{Missed, WATCH_AFTER};
use crate::exchange::{AttemptFailure, ResponseLeft};
use crate::ring::{Counted, Fault, Payload};
use crate::time::Micros;
use crate::wire::Wire;
use std::cell::Cell;
use std::rc::Rc;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeps {
    /// An answer. It may have all of the room.
    Answer,
    /// A request's body. Half of the room is for answers alone, so that slow uploads do not take it all.
    Body,
}

/// Bytes of the shard's memory for what is kept. Given back when dropped.
pub(super) struct Room {
    service: Rc<Service>,
    keeps: Keeps,
    taken: Taken,
}

/// `bytes` of weir's own making, to go down: counted if they are many. `None`: too many wait for clients that
/// do not read.
pub(super) fn counted(service: &Service, bytes: Vec<u8>) -> Option<Payload> {
    if bytes.capacity() <= SPARE_BYTES_MAX {
        return Some(Payload::Bytes(bytes));
    }
    let taken = Taken::take(&service.written, bytes.capacity(), service.kept_max)?;
    Some(Payload::Counted(Counted::new(bytes, taken)))
}

/// What has been taken of a shard's memory. It can go with the bytes to the kernel, since it holds on to
/// nothing else.
pub(super) struct Taken {
    kept: Rc<Cell<usize>>,
    bytes: usize,
}

impl Taken {
    /// `bytes` of what `kept` counts; `None` if that would be more than `max`.
    pub(super) fn take(kept: &Rc<Cell<usize>>, bytes: usize, max: usize) -> Option<Self> {
        let sum = kept.get().saturating_add(bytes);
        (sum <= max).then(|| {
            kept.set(sum);
            Self { kept: kept.clone(), bytes }
        })
    }
}

impl Room {
    /// Room for `bytes`; `None` if there is not so much.
    pub(super) fn take(service: &Rc<Service>, keeps: Keeps, bytes: usize) -> Option<Self> {
        let taken = Taken { kept: service.kept.clone(), bytes: 0 };
        let mut room = Self { service: service.clone(), keeps, taken };
        room.grow(bytes).then_some(room)
    }

    /// Room for `bytes` more; `false` if there is not so much.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let kept = self.service.kept.get().saturating_add(bytes);
        let max = match self.keeps {
            Keeps::Answer => self.service.kept_max,
            Keeps::Body => self.service.kept_max / 2,
        };
        if kept > max {
            self.service.stats.borrow_mut().not_kept();
            return false;
        }
        self.service.kept.set(kept);
        self.taken.bytes += bytes;
        true
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.kept.set(self.kept.get() - self.bytes);
    }
}

/// Room for `part` until it is whole; `None`: it goes down as it comes. `hold`: bytes of its body at most.
pub(super) fn room_for(service: &Rc<Service>, part: &FirstPart, hold: usize) -> Option<Room> {
    let ResponseLeft::Length(left) = part.body else { return None };
    if !part.holdable || left.saturating_add(part.body_bytes) > hold as u64 {
        return None;
    }
    let bytes = usize::try_from(left).ok()?.checked_add(part.payload.as_slice().len())?;
    Room::take(service, Keeps::Answer, bytes)
}

/// Collects the rest of `part`'s body, so that it is whole; or as much of it as comes within `between_bytes`,
/// if it never pauses for so long.
///
/// # Errors
/// It does not come. Nothing has gone down.
pub(super) async fn hold(
    room: Room,
    down: Down<'_>,
    up: &Wire,
    part: &mut FirstPart,
    between_bytes: Micros,
) -> Result<(), AttemptFailure> {
    let let_go = room.service.now().deadline(between_bytes);
    let watched = room.service.now() + WATCH_AFTER;
    let mut whole = Vec::with_capacity(room.taken.bytes);
    let first = std::mem::replace(&mut part.payload, Payload::Static(b""));
    whole.extend_from_slice(first.as_slice());
    // Its receive buffer is free again.
    drop(first);
    while !part.body.is_done() && room.service.now() < let_go {
        let now = room.service.now();
        let due = now.deadline(between_bytes).min(down.ends);
        // What comes drop by drop is never waited for long, and its client may vanish all the same.
        let received =
            if now < watched { down.receive(up, due).await } else { Box::pin(down.hear_out(up, due)).await };
        let chunk = match received {
            Ok(Some(chunk)) => chunk,
            Ok(None) | Err(Missed::Backend(Fault::Os(_))) => return Err(AttemptFailure::Truncated),
            Err(Missed::Backend(Fault::TimedOut)) => return Err(AttemptFailure::Stalled),
            Err(Missed::ClientGone) => return Err(AttemptFailure::ClientGone),
        };
        let count = part.body.transform(&chunk, &mut whole).map_err(|_| AttemptFailure::BadResponse)?;
        part.body_bytes += count as u64;
        // Bytes behind a response are never the next client's.
        part.pool &= count == chunk.len();
    }
    part.payload = Payload::Counted(Counted::new(whole, room.taken));
    Ok(())
}
