//! A thread that makes load: its connections, its part of the schedule, and its end.
//!
//! Here: [`Worker`], what it is told and what it tells. Not here: what happens on a connection (`lane`), and
//! what becomes of the figures (`round`).

use super::lane::{Lanes, Notes, serve};
use super::link::{Door, Failed};
use super::queue::Queue;
use super::schedule::Schedule;
use super::tally::{Failure, Tally, Times};
use crate::sys::{Alarm, clock};
use crate::time::{Instant, Micros};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use nix::sys::signal::SigSet;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, yield_now};
use tokio::time::timeout;

/// How long answers are awaited after somebody wanted the end.
const LINGER: Duration = Duration::from_secs(1);

/// After so many requests in a row that were due already, the connections get a turn.
const BURST: usize = 64;

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// Connections are still being made.
    Wait,
    /// Requests are due from this point on.
    Go(Instant),
    /// No more of them; what is under way has [`LINGER`].
    End,
    /// Nothing more at all.
    EndNow,
}

/// What a thread is to do.
pub(super) struct Orders {
    pub(super) schedule: Schedule,
    pub(super) connections: usize,
    pub(super) door: Door,
    pub(super) request: Request<Full<Bytes>>,
    pub(super) warmup: Micros,
    /// How long an answer may take, and how long answers are awaited after the last request was due.
    pub(super) patience: Duration,
}

/// What a thread says.
#[derive(Debug)]
pub(super) enum Word {
    /// Its connections are made.
    Ready,
    /// It could not begin or go on.
    Failed(Trouble),
}

/// Why a thread could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The target is not there, or does not take so many connections.
    #[error(
        "connection {number} was not made: {cause}; see what the target and this host (ulimit -n) allow, or lower --connections"
    )]
    Connect { number: usize, cause: String },
    /// This host has no thread, descriptor or timer to give.
    #[error("{0}")]
    Host(#[from] io::Error),
}

/// Starts a thread. It says when it is ready, and lets go of `words` at its end.
///
/// # Errors
/// No thread could be started.
pub(super) fn start(
    orders: Orders,
    tally: Arc<Mutex<Tally>>,
    words: mpsc::UnboundedSender<Word>,
    wanted: watch::Receiver<Wanted>,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("bench-load".into()).spawn(move || {
        // Signals are for the main thread.
        let _ = SigSet::all().thread_block();
        let run = || -> Result<(), Trouble> {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, run(orders, tally, &words, wanted))
        };
        if let Err(trouble) = run() {
            // If nobody listens any more, the end has come anyhow.
            let _ = words.send(Word::Failed(trouble));
        }
    })
}

async fn run(
    orders: Orders,
    tally: Arc<Mutex<Tally>>,
    words: &mpsc::UnboundedSender<Word>,
    mut wanted: watch::Receiver<Wanted>,
) -> Result<(), Trouble> {
    let alarm = Alarm::new()?;
    let mut links = Vec::new();
    for number in 1..=orders.connections {
        let link = orders.door.connect().await;
        links.push(link.map_err(|Failed { cause, .. }| Trouble::Connect { number, cause })?);
    }
    let _ = words.send(Word::Ready);
    let start = match wanted.wait_for(|wanted| *wanted != Wanted::Wait).await.as_deref() {
        Ok(Wanted::Go(start)) => *start,
        Ok(Wanted::Wait | Wanted::End | Wanted::EndNow) | Err(_) => return Ok(()),
    };
    let lanes = Rc::new(Lanes {
        queue: Queue::new(orders.connections),
        notes: Notes { tally, from: start + orders.warmup },
        door: orders.door,
        request: orders.request,
        patience: orders.patience,
    });
    for (number, link) in links.into_iter().enumerate() {
        tokio::task::spawn_local(serve(lanes.clone(), number, link));
    }
    let patience = select! {
        paced = pace(&lanes, &alarm, orders.schedule, start) => paced.map(|()| orders.patience)?,
        _ = wanted.wait_for(|wanted| *wanted >= Wanted::End) => LINGER,
    };
    settle(&lanes, patience, wanted).await;
    Ok(())
}

/// Hands every request out when it is due.
async fn pace(lanes: &Lanes, alarm: &Alarm, schedule: Schedule, start: Instant) -> io::Result<()> {
    for (number, offset) in schedule.enumerate() {
        let due = start + offset;
        if number % BURST == BURST - 1 {
            yield_now().await;
        }
        alarm.until(due).await?;
        if !lanes.queue.issue(due) {
            // One that was free would have noticed as late as this.
            let late = clock::now() - due;
            lanes.notes.on(due, |tally| {
                tally.queued += 1;
                tally.lateness(late);
            });
        }
    }
    Ok(())
}

/// Waits for what is under way; what then is not over has waited in vain, and counts as that.
async fn settle(lanes: &Lanes, patience: Duration, mut wanted: watch::Receiver<Wanted>) {
    let hurried = async {
        // Who wanted the end earlier has chosen `patience` by it.
        let already = *wanted.borrow() >= Wanted::End;
        if !already && wanted.wait_for(|wanted| *wanted >= Wanted::End).await.is_ok() {
            let _ = timeout(LINGER, wanted.wait_for(|wanted| *wanted == Wanted::EndNow)).await;
        } else {
            let _ = wanted.wait_for(|wanted| *wanted == Wanted::EndNow).await;
        }
    };
    select! {
        _ = timeout(patience, lanes.queue.settled()) => {}
        () = hurried => {}
    }
    let over = clock::now();
    for pending in lanes.queue.pending() {
        let times = Times { due: pending.due, sent: pending.sent, over };
        lanes.notes.on(pending.due, |tally| tally.failure(Failure::Unanswered, None, times));
    }
}
