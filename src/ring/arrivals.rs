//! The completions of one operation that nobody has fetched yet, in order.
//!
//! Almost always there is none or one: that one stands in the slot. Only a receive whose reader is behind,
//! or a burst of accepts, has more, and then memory of its own.

use std::collections::VecDeque;

/// A completion that nobody has fetched yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The operation's result: a count, a descriptor, or a negated errno.
    pub(super) result: i32,
    /// The buffer that holds the bytes, for a receive.
    pub(super) buffer: Option<u16>,
}

/// Completions, oldest first.
#[derive(Default)]
pub(super) struct Arrivals {
    /// The oldest; `None` only while there is none at all.
    first: Option<Arrival>,
    /// The others. Kept when empty: who was behind once will be again. Boxed, since almost nobody has any.
    #[allow(clippy::box_collection)]
    others: Option<Box<VecDeque<Arrival>>>,
}

impl Arrivals {
    pub(super) fn push(&mut self, arrival: Arrival) {
        if self.first.is_none() {
            self.first = Some(arrival);
        } else {
            self.others.get_or_insert_default().push_back(arrival);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Arrival> {
        let next = self.others.as_mut().and_then(|others| others.pop_front());
        std::mem::replace(&mut self.first, next)
    }

    pub(super) fn first(&self) -> Option<Arrival> {
        self.first
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.as_ref().map_or(0, |others| others.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_come_out_in_the_order_in_which_they_went_in() {
        let mut arrivals = Arrivals::default();
        let arrival = |result| Arrival { result, buffer: None };
        (1..=3).for_each(|result| arrivals.push(arrival(result)));
        assert_eq!(arrivals.pop(), Some(arrival(1)));
        arrivals.push(arrival(4));
        assert_eq!(arrivals.len(), 3);
        let rest: Vec<i32> = std::iter::from_fn(|| arrivals.pop()).map(|arrival| arrival.result).collect();
        assert_eq!(rest, [2, 3, 4]);
        assert!(arrivals.is_empty());
    }
}
