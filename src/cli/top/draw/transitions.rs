//! The page of the last transitions: who changed its state, when, why, and what clients noticed of it.

use super::super::state::State;
use super::grid::{Column, Grid, numbers, words};
use super::look::Look;
use super::text::{NONE, micros, wrapped};
use super::{first_row, put, put_lines};
use crate::admin::live::model::{Live, Transition};
use crate::cli::table::{age, count};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

const COLUMNS: [Column; 7] = [
    numbers("AGO", 7, 0),
    words("POOL", 8, 3).up_to(20),
    words("BACKEND", 12, 0).up_to(28),
    words("FROM → TO", 18, 0).up_to(23),
    numbers("FAILOVER", 8, 2),
    numbers("LOST", 5, 2),
    words("WHY", 22, 1).up_to(100),
];

/// The blank or the mark before a row.
const MARGIN: usize = 2;

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

/// Rows of the whole of what one transition says.
const DETAILS: u16 = 4;

/// Draws it.
pub(super) fn draw(state: &State, live: &Live, look: Look, area: Rect, buffer: &mut Buffer) {
    let grid = Grid::new(&COLUMNS, usize::from(area.width).saturating_sub(MARGIN));
    let inner = Rect { x: area.x + MARGIN as u16, width: area.width.saturating_sub(MARGIN as u16), ..area };
    put(grid.headings(), inner, buffer);
    let last = live.transitions.len().saturating_sub(1);
    let chosen = state.row.min(last);
    let Some(transition) = live.transitions.get(chosen) else {
        return put(Line::raw("no backend has changed its state"), Rect { y: area.y + 1, ..inner }, buffer);
    };
    let details = if area.height >= 3 * DETAILS { DETAILS } else { 0 };
    let room = usize::from(area.height.saturating_sub(1 + details)).max(1);
    let first = first_row(chosen, live.transitions.len(), room);
    let shown = (first..).zip(&live.transitions[first..]).take(room);
    for ((at, transition), y) in shown.zip(area.y + 1..) {
        put(row(live, transition, &grid, look), Rect { y, height: 1, ..inner }, buffer);
        if at == chosen {
            let whole = Rect { y, height: 1, ..area };
            put(Line::styled("▸", look.strong()), whole, buffer);
            buffer.set_style(whole, look.selected());
        }
    }
    let below = Rect { y: area.bottom() - details, height: details, ..area };
    let Transition { pool, backend, why, .. } = transition;
    let text =
        format!("{backend} of pool {pool}, {} ago: {}: {why}", ago(live, transition), step(transition));
    put_lines(
        &wrapped(&text, area.width.into(), details.saturating_sub(1).into()),
        Rect { y: below.y + 1, ..below }.intersection(below),
        buffer,
    );
}

fn row(live: &Live, transition: &Transition, grid: &Grid<'_>, look: Look) -> Line<'static> {
    let plain = Style::new();
    grid.row(|place, _| match place {
        0 => (ago(live, transition), plain),
        1 => (transition.pool.clone(), plain),
        2 => (transition.backend.clone(), plain),
        3 => (step(transition), look.state(&transition.to)),
        4 => (micros(transition.failover_us), plain),
        5 => (lost(transition), look.errors(transition.lost as f64)),
        _ => (transition.why.clone(), plain),
    })
}
