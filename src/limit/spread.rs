//! Whether a connection that was just accepted is better served by another shard, which has fewer.
//!
//! The kernel spreads connections over the shards by a hash: many come out even, few do not. Of 24 on 8 shards one
//! usually has 6 or more, and a connection that carries a client's whole HTTP/2 traffic stays for hours. So the
//! shard that accepts hands it to the one with fewest, if the gap is more than a share of what it has itself. Where
//! there are many the gap hardly ever is, and looking would only cost; where connections do not last, handing
//! them over would cost more than it evens out. Asked by `shard`, at accepts alone.

use crate::time::{Instant, Micros};

/// A shard with more connections than this does not look: those that a hash spreads are even enough.
const ENOUGH: usize = 256;

/// Of its own connections, how large a part the gap must exceed.
const GAP_SHARE: usize = 8;

/// Whatever the turnover, of so many accepts each is looked at in each window: what that costs is next to nothing.
const LOOKS_MIN: usize = 16;

/// For how long accepts are counted.
const WINDOW: Micros = Micros::from_s(1);

/// Whether a shard with `own` connections, one of them new, hands that to a shard that has `other`.
pub fn is_lighter(own: usize, other: usize) -> bool {
    let before = own.saturating_sub(1);
    other + before / GAP_SHARE < before
}

/// How fast a shard's connections come and go.
#[derive(Debug, Default)]
pub struct Turnover {
    since: Instant,
    accepted: usize,
}

impl Turnover {
    /// One more was accepted; there are `own` now, with it. Whether to look for a shard that has fewer: there are
    /// not too many, and they last, since at least half of those that came within about a second are still there;
    /// or only a few have come.
    pub fn accepted(&mut self, own: usize, now: Instant) -> bool {
        if now.since(self.since) >= WINDOW {
            *self = Self { since: now, accepted: 0 };
        }
        self.accepted += 1;
        own <= ENOUGH && self.accepted <= LOOKS_MIN.max(2 * own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_connection_is_handed_over_when_the_gap_exceeds_an_eighth() {
        for (own, other, expected) in [
            // The one that is there is the new one.
            (1, 0, false),
            (2, 0, true),
            (2, 1, false),
            (4, 2, true),
            (4, 3, false),
            // Eight and the new one: a gap of one is an eighth.
            (9, 7, false),
            (9, 6, true),
            (81, 70, false),
            (81, 69, true),
        ] {
            assert_eq!(is_lighter(own, other), expected, "{own} and {other}");
        }
    }

    #[test]
    fn connections_that_do_not_last_are_not_looked_at_and_many_neither() {
        let mut turnover = Turnover::default();
        let at = |ms: u64| Instant::from_us(10_000_000 + ms * 1_000);
        // Three at a time that last 10 ms: a few a second are looked at.
        let looked = (0..1_000).filter(|ms| turnover.accepted(3, at(*ms))).count();
        assert_eq!(looked, LOOKS_MIN);
        // All of these stay.
        let mut turnover = Turnover::default();
        assert_eq!((1..=1_000).filter(|own| turnover.accepted(*own, at(0))).count(), ENOUGH);
        // They came long ago.
        assert!(turnover.accepted(20, at(1_000)));
    }

    proptest! {
        #[test]
        fn connections_that_stay_end_up_even(accepted in prop::collection::vec(0usize..8, 1..400)) {
            let mut shards = [0usize; 8];
            for by in accepted {
                let own = shards[by] + 1;
                let fewest = (0..8).min_by_key(|shard| (*shard == by, shards[*shard])).unwrap_or(by);
                let to = if is_lighter(own, shards[fewest]) { fewest } else { by };
                shards[to] += 1;
                let (least, most) = (shards.iter().min(), shards.iter().max());
                let (least, most) = (*least.unwrap_or(&0), *most.unwrap_or(&0));
                prop_assert!(most <= least + 1 + most / GAP_SHARE, "{:?}", shards);
            }
        }
    }
}
