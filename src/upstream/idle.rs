//! The idle connections to one backend: newest first, dead ones found before use.

use super::Connection;
use crate::limit::{LifeLimits, LifeOver};
use crate::time::Instant;
use std::collections::VecDeque;

struct Idle {
    connection: Connection,
    until: Instant,
    /// The turn in which its receive was armed: until the next, what the backend has sent unasked is not seen.
    unheard: Option<Instant>,
}

/// Idle connections, the one used last at the back.
pub(super) struct IdleConnections {
    max: usize,
    idle: VecDeque<Idle>,
}

impl IdleConnections {
    /// At most `max` of them.
    pub(super) fn new(max: usize) -> Self {
        Self { max, idle: VecDeque::new() }
    }

    /// At most `max` of them from now on.
    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max;
        while self.idle.len() > max {
            self.idle.pop_front();
        }
    }

    /// The one used last that is neither over its time nor closed by the backend, and on which nothing has
    /// come: that would be taken for the next answer. What was found dead on the way is closed.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Connection> {
        let mut heard = self.idle.len();
        while let Some(at) = heard.checked_sub(1) {
            heard = at;
            if self.idle[at].unheard == Some(now) {
                continue;
            }
            let idle = self.idle.remove(at)?;
            if idle.until > now && idle.connection.stream.is_quiet() {
                return Some(idle.connection);
            }
        }
        None
    }

    /// Puts one in. If that is one too many, the oldest is closed. `unheard`: now, if its receive was not
    /// armed before.
    pub(super) fn push(&mut self, connection: Connection, until: Instant, unheard: Option<Instant>) {
        self.idle.push_back(Idle { connection, until, unheard });
        if self.idle.len() > self.max {
            self.idle.pop_front();
        }
    }

    /// Closes those that are over their time, closed by the backend, or have lived long enough, of which `over`
    /// hears.
    pub(super) fn close_dead(&mut self, now: Instant, limits: &LifeLimits, mut over: impl FnMut(LifeOver)) {
        self.idle.retain(|idle| {
            if idle.until <= now || !idle.connection.stream.is_quiet() {
                return false;
            }
            let lived = idle.connection.life().and_then(|life| life.over(limits, now));
            lived.inspect(|limit| over(*limit)).is_none()
        });
    }

    /// Closes the one that was used least recently, if there is any.
    pub(super) fn close_oldest(&mut self) {
        self.idle.pop_front();
    }

    /// Closes all.
    pub(super) fn close_all(&mut self) {
        self.idle.clear();
    }

    /// At most so many are kept.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.idle.len()
    }
}
