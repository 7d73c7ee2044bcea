//! Heads that come in pieces: memory of their own, which all of a shard share.
//!
//! An incomplete head holds no receive buffer, so that slow peers leave those to the others; it is copied
//! out. What is copied out must be bounded as well: 65,536 connections with 32 KiB each would be 2 GiB. So
//! all of them share as much memory as the receive buffers take. Once half of it is taken, the head that has
//! been incomplete for longest is given up for the newcomer: an honest one is whole within a round trip, an
//! attacker's is not. What a client sends ahead of an answer lies here too, and cannot be given up while that
//! is awaited: it may have a quarter, and beyond that is dropped. Clients and backends have a [`Shelf`] each,
//! so that neither can crowd the other out. Called by `request.rs`, for `connection.rs` and `download.rs`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Waker};

/// The least that is taken for a head, in bytes: its memory doubles from there.
const LEAST: usize = 256;

/// There is no memory for more of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// The memory of a shard for incomplete heads of one side.
pub(super) struct Shelf {
    max: usize,
    /// Bytes of those that are there.
    taken: Cell<usize>,
    /// Of these, bytes of those that were given up, and are to go in this turn or the next.
    going: Cell<usize>,
    /// Of these, bytes of those that are set aside.
    aside: Cell<usize>,
    next: Cell<u64>,
    /// Those that can be given up, in the order in which they came.
    waiting: RefCell<BTreeMap<u64, Rc<Place>>>,
}

/// One head's place.
struct Place {
    number: u64,
    bytes: Cell<usize>,
    given_up: Cell<bool>,
    aside: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// The memory of one head. Given back when dropped.
pub(super) struct Share {
    shelf: Rc<Shelf>,
    place: Rc<Place>,
}

impl Shelf {
    /// For at most `max` bytes.
    pub(super) fn new(max: usize) -> Rc<Self> {
        Rc::new(Self {
            max,
            taken: Cell::new(0),
            going: Cell::new(0),
            aside: Cell::new(0),
            next: Cell::new(0),
            waiting: RefCell::default(),
        })
    }

    /// A place without memory yet.
    pub(super) fn share(self: &Rc<Self>) -> Share {
        let number = self.next.replace(self.next.get() + 1);
        let place = Rc::new(Place {
            number,
            bytes: Cell::new(0),
            given_up: Cell::new(false),
            aside: Cell::new(false),
            waker: RefCell::new(None),
        });
        self.waiting.borrow_mut().insert(number, place.clone());
        Share { shelf: self.clone(), place }
    }

    /// Gives up those that came first until there is room for `more` bytes beside what is left, or nobody
    /// else is left.
    fn give_up_for(&self, number: u64, more: usize) {
        let mut waiting = self.waiting.borrow_mut();
        while self.taken.get() - self.going.get() + more > self.max / 2 {
            let Some(oldest) = waiting.keys().find(|other| **other != number).copied() else { return };
            let Some(place) = waiting.remove(&oldest) else { return };
            self.going.set(self.going.get() + place.bytes.get());
            place.given_up.set(true);
            if let Some(waker) = place.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
        }
    }
}

impl Share {
    /// Makes room in `memory` for `more` bytes.
    ///
    /// # Errors
    /// There is none, although others were given up; or this one was.
    pub(super) fn make_room(&self, memory: &mut Vec<u8>, more: usize) -> Result<(), NoRoom> {
        if self.place.given_up.get() {
            return Err(NoRoom);
        }
        let needed = memory.len() + more;
        if needed <= memory.capacity() {
            return Ok(());
        }
        let capacity = needed.next_power_of_two().max(LEAST);
        let growth = capacity - self.place.bytes.get();
        self.shelf.give_up_for(self.place.number, growth);
        if self.shelf.taken.get() + growth > self.shelf.max {
            return Err(NoRoom);
        }
        if self.place.aside.get() {
            self.shelf.aside.set(self.shelf.aside.get() + growth);
        }
        self.shelf.taken.set(self.shelf.taken.get() + growth);
        self.place.bytes.set(capacity);
        memory.reserve_exact(capacity - memory.len());
        Ok(())
    }

    /// It is not an incomplete head, but waits for its turn: it is not given up any more.
    ///
    /// # Errors
    /// It was already, or too much is set aside.
    pub(super) fn set_aside(&self) -> Result<(), NoRoom> {
        let (shelf, place) = (&self.shelf, &self.place);
        let aside = shelf.aside.get() + if place.aside.get() { 0 } else { place.bytes.get() };
        if place.given_up.get() || aside > shelf.max / 4 {
            return Err(NoRoom);
        }
        shelf.aside.set(aside);
        place.aside.set(true);
        shelf.waiting.borrow_mut().remove(&place.number);
        Ok(())
    }

    /// Whether it was given up. If not, whoever asks is woken when it is.
    pub(super) fn is_given_up(&self, cx: &Context<'_>) -> bool {
        if !self.place.given_up.get() {
            let mut waker = self.place.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        self.place.given_up.get()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let bytes = self.place.bytes.get();
        self.shelf.taken.set(self.shelf.taken.get() - bytes);
        if self.place.given_up.get() {
            self.shelf.going.set(self.shelf.going.get() - bytes);
        }
        if self.place.aside.get() {
            self.shelf.aside.set(self.shelf.aside.get() - bytes);
        }
        self.shelf.waiting.borrow_mut().remove(&self.place.number);
        // Dropped where nothing is borrowed.
        drop(self.place.waker.take());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::task::Waker;

    fn given_up(share: &Share) -> bool {
        share.is_given_up(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_head_that_came_first_is_given_up_for_one_that_comes_later() {
        let shelf = Shelf::new(4096);
        let mut heads: Vec<(Share, Vec<u8>)> = (0..3).map(|_| (shelf.share(), Vec::new())).collect();
        for (share, memory) in &mut heads {
            share.make_room(memory, 1000).unwrap();
        }
        // Two of a kibibyte are half of it: the third takes the first's place.
        let gone: Vec<bool> = heads.iter().map(|(share, _)| given_up(share)).collect();
        assert_eq!(gone, [true, false, false]);
        let (first, memory) = &mut heads[0];
        assert_eq!(first.make_room(memory, 2000), Err(NoRoom), "it gets no more");
        heads.clear();
        assert_eq!((shelf.taken.get(), shelf.going.get()), (0, 0));
        assert!(shelf.waiting.borrow().is_empty());
    }

    #[test]
    fn a_head_that_is_alone_may_have_all_of_it_and_no_more() {
        let shelf = Shelf::new(4096);
        let (share, mut memory) = (shelf.share(), Vec::new());
        share.make_room(&mut memory, 4096).unwrap();
        memory.extend_from_slice(&[0; 4096]);
        assert_eq!(share.make_room(&mut memory, 1), Err(NoRoom));
        assert!(!given_up(&share));
    }

    #[test]
    fn what_is_set_aside_is_never_given_up_and_has_a_quarter_at_most() {
        let shelf = Shelf::new(8192);
        let mut ahead: Vec<(Share, Vec<u8>)> = (0..3).map(|_| (shelf.share(), Vec::new())).collect();
        let set: Vec<_> = ahead
            .iter_mut()
            .map(|(share, memory)| share.make_room(memory, 1000).and_then(|()| share.set_aside()))
            .collect();
        assert_eq!(set, [Ok(()), Ok(()), Err(NoRoom)]);
        let (head, mut memory) = (shelf.share(), Vec::new());
        head.make_room(&mut memory, 4000).unwrap();
        let gone: Vec<bool> = ahead.iter().map(|(share, _)| given_up(share)).collect();
        assert_eq!(gone, [false, false, true]);
        drop((ahead, head));
        assert_eq!((shelf.taken.get(), shelf.going.get(), shelf.aside.get()), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn never_more_is_taken_than_there_is(steps in prop::collection::vec((0usize..20, 0usize..3000), 0..200)) {
            let shelf = Shelf::new(10_000);
            let mut heads: Vec<Option<(Share, Vec<u8>)>> = (0..20).map(|_| None).collect();
            for (at, more) in steps {
                if more < 300 {
                    heads[at] = None;
                    continue;
                }
                let (share, memory) = heads[at].get_or_insert_with(|| (shelf.share(), Vec::new()));
                if share.make_room(memory, more).is_ok() {
                    memory.extend_from_slice(&vec![0; more]);
                }
                let held: usize = heads.iter().flatten().map(|(_, memory)| memory.capacity()).sum();
                prop_assert_eq!(held, shelf.taken.get());
                prop_assert!(held <= 10_000);
            }
            heads.clear();
            prop_assert_eq!(shelf.taken.get(), 0);
        }
    }
}
