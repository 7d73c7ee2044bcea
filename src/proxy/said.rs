//! What the log says of requests that are refused: each cause at most once a second on each shard, with how
//! often it was since the last time.
//!
//! Here: at which level, and the line. Not here: the counters, which count every one (`metrics`). What an
//! operator can act on is a warning; what a limit of the configuration brought about is worth knowing; what
//! clients do of themselves, all day long, is for who looks for it. Called by `service.rs`.

use super::service::ListenerService;
use crate::limit::OncePerSecond;
use crate::metrics::Refusal;
use crate::time::Instant;
use crate::upstream::Pool;
use tracing::Level;

/// A line at this level.
macro_rules! line {
    ($level:ident, $refusal:expr, $times:expr, $about:expr) => {
        tracing::$level!(
            cause = $refusal.label(),
            status = Some($about.status).filter(|status| *status > 0),
            times = $times,
            listener = $about.listener.map(ListenerService::name),
            pool = $about.pool.map(|pool| pool.name().to_owned()),
            last = $about.what,
            request_id = $about.id,
            "requests refused; `weir explain {}` says why, and what to do",
            $refusal.label()
        )
    };
}

/// What is known of a refusal beyond its cause.
#[derive(Clone, Copy, Default)]
pub(super) struct About<'a> {
    /// The answer's status; 0: there was no answer.
    pub(super) status: u16,
    /// Whose client it was.
    pub(super) listener: Option<&'a ListenerService>,
    /// The pool that was to answer.
    pub(super) pool: Option<&'a Pool>,
    /// What was wrong. Nothing of what a client sent.
    pub(super) what: Option<&'a str>,
    /// The request's id, if it has one.
    pub(super) id: Option<&'a str>,
}

/// When what was said.
#[derive(Default)]
pub(super) struct Said([OncePerSecond; Refusal::ALL.len()]);

impl Said {
    /// It has happened once more.
    pub(super) fn refused(&self, refusal: Refusal, now: Instant, about: &About<'_>) {
        let Some(times) = self.0[refusal as usize].count(now) else { return };
        let level = level(refusal);
        // The level of a line is part of it.
        if level == Level::WARN {
            line!(warn, refusal, times, about);
        } else if level == Level::INFO {
            line!(info, refusal, times, about);
        } else {
            line!(debug, refusal, times, about);
        }
    }
}

const fn level(refusal: Refusal) -> Level {
    match refusal {
        Refusal::NoBackend
        | Refusal::UpstreamFailed
        | Refusal::HeadMemory
        | Refusal::RequestMemory
        | Refusal::TooManyConnections
        | Refusal::Stopped => Level::WARN,
        Refusal::HeadTooLarge
        | Refusal::BodyTooLarge
        | Refusal::Unsupported
        | Refusal::NoRoute
        | Refusal::Flood => Level::INFO,
        Refusal::BadHead
        | Refusal::BadBody
        | Refusal::LastHop
        | Refusal::HeadTimeout
        | Refusal::BodyTimeout
        | Refusal::SlowReader
        | Refusal::ClientGone => Level::DEBUG,
    }
}
