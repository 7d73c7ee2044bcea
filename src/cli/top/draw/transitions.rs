//! The page of the last transitions: who changed its state, when, why, and what clients noticed of it.

use super::super::state::State;
use super::grid::{Column, Grid, numbers, words};
use super::look::Look;
use super::put;
use super::text::{NONE, micros};
use crate::admin::live::model::{Live, Transition};
use crate::cli::table::{age, count};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

const COLUMNS: [Column; 7] = [
    numbers("AGO", 7, 0),
    words("POOL", 8, 3).up_to(20),
    words("BACKEND", 14, 0).up_to(28),
    words("FROM → TO", 18, 0).up_to(25),
    numbers("FAILOVER", 8, 2),
    numbers("LOST", 5, 2),
    words("WHY", 14, 1).up_to(100),
];

/// How long ago it was.
pub(in crate::cli::top) fn ago(live: &Live, transition: &Transition) -> String {
    age(live.at_ms.saturating_sub(transition.at_ms) as f64 / 1e3)
}

/// From what to what.
pub(in crate::cli::top) fn step(transition: &Transition) -> String {
    let from = if transition.from.is_empty() { "new" } else { &transition.from };
    format!("{from} → {}", transition.to)
}

/// Exchanges that clients saw fail; `None`: it was no failover.
pub(in crate::cli::top) fn lost(transition: &Transition) -> String {
    let counted = transition.failover_us.is_some() || transition.lost > 0;
    if counted { count(transition.lost) } else { NONE.to_owned() }
}

/// Draws it.
pub(super) fn draw(state: &State, live: &Live, look: Look, area: Rect, buffer: &mut Buffer) {
    let grid = Grid::new(&COLUMNS, area.width.into());
    put(grid.headings(), area, buffer);
    if live.transitions.is_empty() {
        let below = Rect { y: area.y + 1, ..area };
        return put(Line::raw("no backend has changed its state"), below, buffer);
    }
    let plain = Style::new();
    let room = usize::from(area.height.saturating_sub(1)).max(1);
    let first = state.scroll.min(live.transitions.len().saturating_sub(room));
    for (transition, row) in live.transitions.iter().skip(first).zip(area.rows().skip(1)) {
        let line = grid.row(|place, _| match place {
            0 => (ago(live, transition), plain),
            1 => (transition.pool.clone(), plain),
            2 => (transition.backend.clone(), plain),
            3 => (step(transition), look.state(&transition.to)),
            4 => (micros(transition.failover_us), plain),
            5 => (lost(transition), look.errors(transition.lost as f64)),
            _ => (transition.why.clone(), plain),
        });
        put(line, row, buffer);
    }
}
