//! The process's life as a state machine: serving, last requests, draining, stopping, over.
//!
//! Signals, shards' words and time go in, orders to the shards come out. Pure: `now` is an argument.
//! The desk beside it broadcasts the orders. After a first signal nothing is hurried before `grace` is
//! over; a second one ends everything, since whoever sends it does not want to wait.

use crate::time::{Instant, Micros};

/// How long shards have to end once they were told to stop, before the process leaves without them.
const STOP_WITHIN: Micros = Micros::from_s(1);

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Told to, and everything in flight was finished.
    Drained,
    /// Told to, and `grace` was over before everything was finished.
    GraceOver,
    /// Told to twice: what was in flight was cut off.
    SecondSignal,
    /// No shard is left that serves.
    NoShardLeft,
    /// A shard died, and the configuration says that the supervisor is to start the process again.
    ShardLost,
}

impl ExitReason {
    /// The process's exit status: 0 after a shutdown that kept its word (within `grace`, which the
    /// operator chose), 1 if work was cut off or nobody is left to serve.
    pub fn code(self) -> u8 {
        match self {
            Self::Drained | Self::GraceOver => 0,
            Self::SecondSignal | Self::NoShardLeft | Self::ShardLost => 1,
        }
    }
}

/// What all shards are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    LastRequests,
    Drain,
    Stop,
}

/// How far a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Serving,
    Drained,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    /// Not ready any more, still accepting.
    Leaving {
        until: Instant,
    },
    Draining {
        until: Instant,
    },
    Stopping {
        until: Instant,
        reason: ExitReason,
    },
}

/// Where the process is in its life.
pub(crate) struct Life {
    shutdown_delay: Micros,
    grace: Micros,
    stage: Stage,
    /// It leaves because a shard died, whatever else comes.
    shard_lost: bool,
    shards: Vec<Standing>,
}

impl Life {
    pub(crate) fn new(shards: usize, shutdown_delay: Micros, grace: Micros) -> Self {
        Self {
            shutdown_delay,
            grace,
            stage: Stage::Serving,
            shard_lost: false,
            shards: vec![Standing::Serving; shards],
        }
    }

    /// SIGTERM or SIGINT came.
    pub(crate) fn signal(&mut self, now: Instant) -> Option<Order> {
        match self.stage {
            Stage::Serving if self.shutdown_delay.is_zero() => self.drain(now),
            Stage::Serving => {
                self.stage = Stage::Leaving { until: now + self.shutdown_delay };
                Some(Order::LastRequests)
            }
            Stage::Leaving { .. } | Stage::Draining { .. } => self.stop(now, ExitReason::SecondSignal),
            Stage::Stopping { .. } => None,
        }
    }

    /// A successor process accepts in this one's place: nobody has to be told before.
    pub(crate) fn succeeded(&mut self, now: Instant) -> Option<Order> {
        match self.stage {
            Stage::Serving | Stage::Leaving { .. } => self.drain(now),
            Stage::Draining { .. } | Stage::Stopping { .. } => None,
        }
    }

    /// Other lengths hold for what has not begun yet.
    pub(crate) fn set_lengths(&mut self, shutdown_delay: Micros, grace: Micros) {
        (self.shutdown_delay, self.grace) = (shutdown_delay, grace);
    }

    /// A shard died, and the process is to leave for it: it drains, and says so by its exit status.
    pub(crate) fn shard_lost(&mut self, now: Instant) -> Option<Order> {
        self.shard_lost = true;
        self.succeeded(now)
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Order> {
        match self.stage {
            Stage::Leaving { until } if now >= until => self.drain(now),
            Stage::Draining { until } if now >= until => self.stop(now, ExitReason::GraceOver),
            Stage::Serving | Stage::Leaving { .. } | Stage::Draining { .. } | Stage::Stopping { .. } => None,
        }
    }

    /// A shard has no connection left.
    pub(crate) fn drained(&mut self, shard: u16, now: Instant) -> Option<Order> {
        if let Some(standing @ Standing::Serving) = self.shards.get_mut(usize::from(shard)) {
            *standing = Standing::Drained;
        }
        self.look(now)
    }

    /// A shard's thread is over.
    pub(crate) fn ended(&mut self, shard: u16, now: Instant) -> Option<Order> {
        if let Some(standing) = self.shards.get_mut(usize::from(shard)) {
            *standing = Standing::Ended;
        }
        self.look(now)
    }

    /// When [`tick`](Self::tick) and [`over`](Self::over) must be asked again at the latest.
    pub(crate) fn next(&self) -> Instant {
        match self.stage {
            Stage::Serving => Instant::NEVER,
            Stage::Leaving { until } | Stage::Draining { until } | Stage::Stopping { until, .. } => until,
        }
    }

    /// Why the process ends, once it does.
    pub(crate) fn over(&self, now: Instant) -> Option<ExitReason> {
        match self.stage {
            Stage::Stopping { until, reason } if now >= until || self.serving() == 0 => Some(reason),
            Stage::Serving | Stage::Leaving { .. } | Stage::Draining { .. } | Stage::Stopping { .. } => None,
        }
    }

    /// Whether no signal came yet.
    pub(crate) fn is_serving(&self) -> bool {
        self.stage == Stage::Serving
    }

    /// Shards whose thread is not over.
    pub(crate) fn serving(&self) -> usize {
        self.shards.iter().filter(|standing| **standing != Standing::Ended).count()
    }

    /// Whether this shard's thread is not over.
    pub(crate) fn is_alive(&self, shard: u16) -> bool {
        self.shards.get(usize::from(shard)).is_some_and(|standing| *standing != Standing::Ended)
    }

    /// What the shards' standings come to.
    fn look(&mut self, now: Instant) -> Option<Order> {
        match self.stage {
            Stage::Serving | Stage::Leaving { .. } if self.serving() == 0 => {
                self.stop(now, ExitReason::NoShardLeft)
            }
            Stage::Draining { .. } if !self.shards.contains(&Standing::Serving) => {
                self.stop(now, ExitReason::Drained)
            }
            Stage::Serving | Stage::Leaving { .. } | Stage::Draining { .. } | Stage::Stopping { .. } => None,
        }
    }

    fn drain(&mut self, now: Instant) -> Option<Order> {
        self.stage = Stage::Draining { until: now.deadline(self.grace) };
        Some(Order::Drain)
    }

    fn stop(&mut self, now: Instant, reason: ExitReason) -> Option<Order> {
        let reason = if self.shard_lost { ExitReason::ShardLost } else { reason };
        self.stage = Stage::Stopping { until: now + STOP_WITHIN, reason };
        Some(Order::Stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_us(1_000 * ms)
    }

    fn life(shards: usize) -> Life {
        Life::new(shards, Micros::from_ms(100), Micros::from_ms(1_000))
    }

    #[test]
    fn a_successor_drains_it_without_delay_and_once() {
        let mut life = life(1);
        assert_eq!(life.succeeded(at(10)), Some(Order::Drain));
        assert_eq!((life.succeeded(at(11)), life.next()), (None, at(1_010)));
        assert_eq!(life.signal(at(12)), Some(Order::Stop));
    }

    #[test]
    fn a_signal_asks_for_last_requests_then_drains_and_stops_once_all_are_drained() {
        let mut life = life(2);
        assert_eq!(life.signal(at(0)), Some(Order::LastRequests));
        assert!(!life.is_serving());
        assert_eq!((life.tick(at(99)), life.next()), (None, at(100)));
        assert_eq!(life.tick(at(100)), Some(Order::Drain));
        assert_eq!(life.drained(1, at(200)), None);
        assert_eq!(life.drained(1, at(201)), None, "the same one twice is not all");
        assert_eq!(life.drained(0, at(300)), Some(Order::Stop));
        assert_eq!((life.ended(0, at(301)), life.over(at(301))), (None, None));
        assert_eq!(life.ended(1, at(302)), None);
        assert_eq!(life.over(at(302)), Some(ExitReason::Drained));
    }

    #[test]
    fn without_a_delay_draining_begins_at_once_and_grace_bounds_it() {
        let mut life = Life::new(1, Micros::ZERO, Micros::from_ms(50));
        assert_eq!(life.signal(at(0)), Some(Order::Drain));
        assert_eq!(life.tick(at(49)), None);
        assert_eq!(life.tick(at(50)), Some(Order::Stop));
        assert_eq!(life.over(at(50)), None, "the shard may still end by itself");
        assert_eq!(life.over(at(50) + STOP_WITHIN), Some(ExitReason::GraceOver));
    }

    #[test]
    fn a_second_signal_stops_at_any_stage_and_a_third_changes_nothing() {
        for ticked in [at(1), at(100)] {
            let mut life = life(1);
            life.signal(at(0));
            life.tick(ticked);
            assert_eq!(life.signal(ticked), Some(Order::Stop));
            assert_eq!(life.signal(ticked), None);
            life.ended(0, ticked);
            assert_eq!(life.over(ticked), Some(ExitReason::SecondSignal));
        }
    }

    #[test]
    fn a_shard_that_ended_is_waited_for_no_longer_and_the_last_one_ends_the_process() {
        let mut draining = Life::new(2, Micros::ZERO, Micros::ZERO);
        draining.ended(0, at(0));
        assert_eq!(draining.signal(at(1)), Some(Order::Drain));
        assert_eq!(draining.next(), Instant::NEVER, "a grace of 0 has no limit");
        assert_eq!(draining.drained(1, at(2)), Some(Order::Stop));

        let mut serving = life(2);
        assert_eq!(serving.ended(0, at(0)), None);
        assert!(serving.is_serving() && serving.over(at(0)).is_none());
        serving.ended(1, at(1));
        assert_eq!(serving.over(at(1)), Some(ExitReason::NoShardLeft));
    }
}
