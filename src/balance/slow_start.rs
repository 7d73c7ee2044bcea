//! Slow start on one shard: which members ramp, what share each has now, and the allowance that bounds
//! its picks.
//!
//! A ramp scales a member's weight, and for policies that look at weights alone that would do. But an idle
//! newcomer looks best of all to `least_conn` and `random_two`, and with views that are late every shard
//! finds it idle at the same time. So there is a **bound** besides, which needs no view and is the same for
//! every policy, `ip_hash` among them: each pick pays into the allowance of each member that ramps
//! [`EARNED`] times what its weight is of its tier's, a pick of it costs one, and without one in hand it is
//! no candidate unless nobody else is. No more than [`SAVED_MAX`] are saved up, so over `n` picks of a
//! shard it gets `EARNED × share × n + SAVED_MAX` of those where there was a choice. It begins with a random
//! part of one: shards that hear of it at the same moment do not all send their first exchange together,
//! and over many shards the bound is exact from the first pick on.
//!
//! Shares change slowly, so they are worked out every [`REFRESH`] and not at each pick. Used by `Picker`.

use crate::health::Ramp;
use crate::time::{Instant, Micros};

/// Half as much again as its share: a policy whose picks come irregularly would otherwise fall short of
/// the share itself, and the ramp promises no more than twice.
const EARNED: f64 = 1.5;
/// Picks that can be saved up.
const SAVED_MAX: f64 = 2.0;
/// How old a share may be: of the shortest sensible ramp, a second, a hundredth.
const REFRESH: Micros = Micros::from_ms(10);

struct Open {
    member: usize,
    ramp: Ramp,
    /// Picks that it may have, 0 to [`SAVED_MAX`].
    allowance: f64,
    /// What each pick of the pool adds.
    earns: f64,
}

/// The ramps of a pool.
pub(super) struct SlowStart {
    open: Vec<Open>,
    refresh_at: Instant,
    /// By member: it ramps and has no allowance.
    held: Box<[bool]>,
}

impl SlowStart {
    /// Of a pool of `members`, none of which ramps.
    pub(super) fn new(members: usize) -> Self {
        Self { open: Vec::new(), refresh_at: Instant::default(), held: vec![false; members].into() }
    }

    /// Whether no member ramps.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// A member begins its ramp, with `allowance` (0 to 1) of a pick in hand.
    pub(super) fn begin(&mut self, member: usize, ramp: Ramp, allowance: f64) {
        self.end(member);
        self.open.push(Open { member, ramp, allowance, earns: 0.0 });
        self.refresh_at = Instant::default();
    }

    /// A member has its whole share, or gets no traffic any more.
    pub(super) fn end(&mut self, member: usize) {
        self.open.retain(|open| open.member != member);
        self.held[member] = false;
    }

    /// The ramp that `member` of `earlier` is in goes on here as that of `here`.
    pub(super) fn take_over(&mut self, earlier: &Self, member: usize, here: usize) {
        if let Some(open) = earlier.open.iter().find(|open| open.member == member) {
            self.begin(here, open.ramp, open.allowance);
        }
    }

    /// If shares are due to be worked out again: each member that ramps with its share. Those whose ramp is
    /// over are told a last time, with their whole share.
    pub(super) fn due(&mut self, now: Instant) -> Option<Vec<(usize, f64)>> {
        if now < self.refresh_at {
            return None;
        }
        self.refresh_at = now + REFRESH;
        let shares = self.open.iter().map(|open| (open.member, open.ramp.share(now))).collect();
        self.open.retain(|open| {
            let over = open.ramp.is_over(now);
            self.held[open.member] &= !over;
            !over
        });
        Some(shares)
    }

    /// Says anew what each pick adds; `share_of` is a member's share of its tier's weight.
    pub(super) fn set_earnings(&mut self, share_of: impl Fn(usize) -> f64) {
        self.open.iter_mut().for_each(|open| open.earns = EARNED * share_of(open.member));
    }

    /// A pick pays in.
    pub(super) fn pay_in(&mut self) {
        for open in &mut self.open {
            open.allowance = (open.allowance + open.earns).min(SAVED_MAX);
            self.held[open.member] = open.allowance < 1.0;
        }
    }

    /// Whether `member` ramps and has no allowance.
    pub(super) fn holds(&self, member: usize) -> bool {
        self.held[member]
    }

    /// `member` was picked. For want of another it may have been without an allowance: that leaves no debt,
    /// or it would stand idle when the others are back.
    pub(super) fn spend(&mut self, member: usize) {
        if let Some(open) = self.open.iter_mut().find(|open| open.member == member) {
            open.allowance = (open.allowance - 1.0).max(0.0);
        }
    }
}
