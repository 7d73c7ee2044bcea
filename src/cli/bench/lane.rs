//! One of a thread's connections, from request to request, and what it notes down.
//!
//! Not here: the connection itself (`link`), when requests are due (`worker`).

use super::link::{Answer, Door, Failed, Link, exchange};
use super::queue::Queue;
use super::tally::{Failure, Tally, Times};
use crate::sys::clock;
use crate::time::Instant;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::select;
use tokio::time::timeout;

/// Where a thread's figures go, without those of the warm-up.
pub(super) struct Notes {
    pub(super) tally: Arc<Mutex<Tally>>,
    /// What was due before this is not counted.
    pub(super) from: Instant,
}

impl Notes {
    /// Counts something about a request.
    pub(super) fn on(&self, due: Instant, count: impl FnOnce(&mut Tally)) {
        if due >= self.from {
            // Only the main thread wants it too, once a second and for a moment.
            count(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// What the connections of a thread have in common.
pub(super) struct Lanes {
    pub(super) queue: Queue,
    pub(super) notes: Notes,
    pub(super) door: Door,
    pub(super) request: Request<Full<Bytes>>,
    /// How long an answer may take.
    pub(super) patience: Duration,
}

/// Serves as the connection `number` until it is dropped.
pub(super) async fn serve(lanes: Rc<Lanes>, number: usize, link: Link) {
    let mut link = Some(link);
    loop {
        let due = match lanes.queue.next(number) {
            Some(due) => due,
            None => {
                let due = idle(&lanes.queue, number, &mut link).await;
                // It was free: what is lost until now is this program's doing.
                let late = clock::now() - due;
                lanes.notes.on(due, |tally| tally.lateness(late));
                due
            }
        };
        let sent = clock::now();
        lanes.queue.sent(number, due, sent);
        let asked = exchange(&mut link, &lanes.door, &lanes.request);
        let outcome = timeout(lanes.patience, asked).await.unwrap_or_else(|_| {
            Err(Failed { failure: Failure::Timeout, cause: format!("after {:?}", lanes.patience) })
        });
        let times = Times { due, sent: Some(sent), over: clock::now() };
        lanes.queue.over(number);
        lanes.notes.on(due, |tally| match outcome {
            Ok(Answer { status, body_bytes }) => tally.answer(status, body_bytes, times),
            Err(Failed { failure, cause }) => tally.failure(failure, Some(cause), times),
        });
    }
}

/// Waits for something to do, and sees meanwhile if the target ends the connection.
async fn idle(queue: &Queue, number: usize, link: &mut Option<Link>) -> Instant {
    loop {
        let Some(open) = link else { return queue.given(number).await };
        select! {
            biased;
            due = queue.given(number) => return due,
            () = open.ended() => *link = None,
        }
    }
}
