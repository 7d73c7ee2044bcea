//! Names that lead from one part of the file to another: finding them, and that none is taken twice.
//!
//! Here: look-up by name with the nearest name as the remedy, and [`Claims`] for whatever must be unique.
//! Used by the readers of listeners, routes and pools.

use super::fault::{Place, Report, Wrong};
use super::values::quoted;
use std::collections::HashMap;
use std::hash::Hash;

/// The candidate that `name` was probably meant to be: at most a third of it mistyped, and at least one
/// letter may be, so that "sta" finds "start" no more than it must.
pub fn nearest<'n>(name: &str, candidates: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // A name of a book's length is no slip of the keyboard, and the distance costs time by its square.
    if name.len() > 128 {
        return None;
    }
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The index of `name` in `names`; `what` is the kind of thing, for the fault.
pub(super) fn find(what: &str, name: &str, names: &[String]) -> Result<usize, Wrong> {
    if let Some(index) = names.iter().position(|known| known == name) {
        return Ok(index);
    }
    let remedy = match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {}?", quoted(near)),
        None if names.is_empty() => format!("the file defines no {what}: add one"),
        None => {
            let known: Vec<_> = names.iter().take(12).map(|name| quoted(name)).collect();
            let more = if names.len() > known.len() { ", …" } else { "" };
            format!("use one that the file defines: {}{more}", known.join(", "))
        }
    };
    Err(Wrong::new(format!("there is no {what} {}", quoted(name)), remedy))
}

/// What is taken, and on which line.
pub(super) struct Claims<K> {
    lines: HashMap<K, usize>,
}

impl<K: Eq + Hash> Claims<K> {
    pub(super) fn new() -> Self {
        Self { lines: HashMap::new() }
    }

    /// Takes `key` for the thing at `place`; says on which line it was taken before, if it was.
    pub(super) fn take(&mut self, report: &Report<'_>, key: K, place: &Place) -> Option<usize> {
        let line = report.line(place.offset);
        match self.lines.entry(key) {
            std::collections::hash_map::Entry::Occupied(taken) => Some(*taken.get()),
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(line);
                None
            }
        }
    }
}
