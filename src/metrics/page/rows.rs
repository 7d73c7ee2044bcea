//! What the page has a row for: each backend, or each pool with all its backends added up.
//!
//! A pool's counters must not shrink when a backend leaves it, or Prometheus takes that for a restart and
//! counts what is left once more. So what those that left came to is in its sums: as the totals kept it, and
//! as control told it.

use super::facts::{BackendFacts, Facts, Past};
use crate::metrics::exposition::Level;
use crate::metrics::totals::{BackendTotals, Totals};

/// One backend, or all of a pool.
pub(super) struct Row<'a> {
    pub(super) pool: &'a str,
    /// Its name; empty for a pool.
    pub(super) backend: &'a str,
    /// What the shards recorded; `None`: nothing yet.
    pub(super) recorded: Option<Recorded<'a>>,
    /// States, and how many backends are in each.
    pub(super) states: Vec<(&'a str, u64)>,
    pub(super) usable: u64,
    pub(super) in_flight: u64,
    pub(super) weight: u64,
    pub(super) past: Past,
}

/// Totals as they stand, or a sum that was made for the page.
pub(super) enum Recorded<'a> {
    One(&'a BackendTotals),
    Sum(Box<BackendTotals>),
}

impl std::ops::Deref for Recorded<'_> {
    type Target = BackendTotals;
    fn deref(&self) -> &BackendTotals {
        match self {
            Self::One(totals) => totals,
            Self::Sum(totals) => totals,
        }
    }
}

/// The rows, in the order in which they are shown.
pub(super) fn rows<'a>(totals: &'a Totals, facts: &'a Facts<'a>, level: Level) -> Vec<Row<'a>> {
    match level {
        Level::Backend => facts.backends.iter().map(|backend| of_backend(totals, backend)).collect(),
        Level::Pool => facts.pools.iter().map(|pool| of_pool(totals, facts, pool.name, pool.left)).collect(),
    }
}

fn of_backend<'a>(totals: &'a Totals, backend: &BackendFacts<'a>) -> Row<'a> {
    Row {
        pool: backend.pool,
        backend: backend.name,
        recorded: totals.backend(backend.id).map(Recorded::One),
        states: vec![(backend.state, 1)],
        usable: backend.usable.into(),
        in_flight: backend.in_flight.into(),
        weight: backend.weight.into(),
        past: backend.past,
    }
}

fn of_pool<'a>(totals: &'a Totals, facts: &'a Facts<'a>, pool: &'a str, left: Past) -> Row<'a> {
    let mut sum = Box::new(BackendTotals::default());
    totals.former_of(pool).into_iter().for_each(|former| sum.add(former));
    let leaving = facts.leaving.iter().filter(|(_, of)| *of == pool).map(|(id, _)| *id);
    let own = || facts.backends.iter().filter(|backend| backend.pool == pool);
    for id in own().map(|backend| backend.id).chain(leaving) {
        totals.backend(id).into_iter().for_each(|backend| sum.add(backend));
    }
    let mut row = Row {
        pool,
        backend: "",
        recorded: Some(Recorded::Sum(sum)),
        states: Vec::new(),
        usable: 0,
        in_flight: 0,
        weight: 0,
        past: left,
    };
    for backend in own() {
        match row.states.iter_mut().find(|(state, _)| *state == backend.state) {
            Some((_, count)) => *count += 1,
            None => row.states.push((backend.state, 1)),
        }
        row.usable += u64::from(backend.usable);
        row.in_flight += u64::from(backend.in_flight);
        row.weight += u64::from(backend.weight);
        row.past.add(&backend.past);
    }
    row
}
