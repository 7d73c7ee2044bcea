//! Which connections make room in a full shard: those that have waited for their client longest.
//!
//! Who has never sent a whole request goes before everybody who has: that is what an attacker's look
//! like that cost it nothing. A connection with an exchange or a tunnel is never among them, and none that
//! began to wait just now: its client may be sending.

use crate::time::{Instant, Micros};
use std::collections::BinaryHeap;

/// A connection that has waited for less than this stays.
pub const WAIT_MIN: Micros = Micros::from_s(1);

/// A connection that waits for a request, or for the rest of one's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait {
    /// It has had an exchange.
    pub served: bool,
    /// Since when it waits: since it was accepted, or since its last exchange.
    pub since: Instant,
}

/// The numbers of the `count` connections of `waits` that have waited longest, as far as there are so many.
pub fn longest_waiting(waits: impl Iterator<Item = (u32, Wait)>, now: Instant, count: usize) -> Vec<u32> {
    // Those chosen so far; the first to be given up for a better one on top.
    let mut chosen = BinaryHeap::with_capacity(count + 1);
    for (number, wait) in waits.filter(|(_, wait)| now.since(wait.since) >= WAIT_MIN) {
        if chosen.len() < count || chosen.peek().is_some_and(|worst| (wait, number) < *worst) {
            chosen.push((wait, number));
        }
        if chosen.len() > count {
            chosen.pop();
        }
    }
    chosen.into_iter().map(|(_, number)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Instant = Instant::from_us(100_000_000);

    fn wait(served: bool, ms_ago: u64) -> Wait {
        Wait { served, since: Instant::from_us(NOW.as_us() - ms_ago * 1_000) }
    }

    #[test]
    fn those_without_a_request_go_first_then_the_oldest_and_none_that_began_just_now() {
        let waits = [wait(true, 60_000), wait(false, 2_000), wait(false, 999), wait(true, 3_000)];
        for (count, expected) in [(0, vec![]), (1, vec![1]), (2, vec![0, 1]), (9, vec![0, 1, 3])] {
            let mut chosen = longest_waiting((0..).zip(waits), NOW, count);
            chosen.sort_unstable();
            assert_eq!(chosen, expected, "{count}");
        }
    }

    proptest! {
        #[test]
        fn nobody_who_stays_would_have_gone_before_who_goes(
            waits in prop::collection::vec((any::<bool>(), 0u64..5_000), 0..60), count in 0usize..20,
        ) {
            let waits: Vec<Wait> = waits.into_iter().map(|(served, ms)| wait(served, ms)).collect();
            let chosen = longest_waiting((0..).zip(waits.iter().copied()), NOW, count);
            let may = |wait: &&Wait| NOW.since(wait.since) >= WAIT_MIN;
            prop_assert_eq!(chosen.len(), count.min(waits.iter().filter(may).count()));
            let goes = |number: usize| chosen.contains(&(number as u32));
            let last_to_go = (0..waits.len()).filter(|number| goes(*number)).map(|number| waits[number]).max();
            let first_to_stay =
                (0..waits.len()).filter(|number| !goes(*number)).map(|number| waits[number]).filter(|wait| may(&wait)).min();
            if let (Some(goes), Some(stays)) = (last_to_go, first_to_stay) {
                prop_assert!(goes <= stays);
            }
        }
    }
}
