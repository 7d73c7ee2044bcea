//! The idle connections to one backend: newest first, dead ones found before use.

use super::Connection;
use crate::time::Instant;
use std::collections::VecDeque;

struct Idle {
    connection: Connection,
    until: Instant,
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

    /// The one used last that is neither over its time nor closed by the backend. What was found dead on
    /// the way is closed.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Connection> {
        while let Some(idle) = self.idle.pop_back() {
            if idle.until > now && idle.connection.stream.is_quiet() {
                return Some(idle.connection.reused());
            }
        }
        None
    }

    /// Puts one in. Returns the one that is too many, the oldest.
    pub(super) fn push(&mut self, connection: Connection, until: Instant) -> Option<Connection> {
        self.idle.push_back(Idle { connection, until });
        if self.idle.len() <= self.max {
            return None;
        }
        self.idle.pop_front().map(|idle| idle.connection)
    }

    /// Takes out those that are over their time or closed by the backend.
    pub(super) fn take_dead(&mut self, now: Instant) -> Vec<Connection> {
        let dead = |idle: &Idle| idle.until <= now || !idle.connection.stream.is_quiet();
        if !self.idle.iter().any(dead) {
            return Vec::new();
        }
        let (dead, alive): (VecDeque<Idle>, _) = std::mem::take(&mut self.idle).into_iter().partition(dead);
        self.idle = alive;
        dead.into_iter().map(|idle| idle.connection).collect()
    }

    /// Takes out all.
    pub(super) fn take_all(&mut self) -> VecDeque<Connection> {
        self.idle.drain(..).map(|idle| idle.connection).collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.idle.len()
    }
}
