//! The page of lengths: percentiles by phase, and how each phase lay over the last ten minutes.

use super::super::state::State;
use super::grid::{Column, Grid, numbers, words};
use super::look::Look;
use super::marks::{SHADES, shade};
use super::put;
use super::text::{left, micros, right};
use crate::admin::live::model::Live;
use crate::cli::table::length;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

const COLUMNS: [Column; 6] = [
    words("PHASE", 10, 0),
    numbers("P50", 8, 0),
    numbers("P90", 8, 3),
    numbers("P99", 8, 0),
    numbers("P99.9", 8, 2),
    words("WHAT IT IS", 24, 9).up_to(70),
];

/// Cells of a bound and the blank behind it.
const BOUND: u16 = 11;

/// From here on all four phases have a picture at once.
const ALL_WIDTH: u16 = 100;
const ALL_HEIGHT: u16 = 30;

/// What a phase is, for who does not know weir's words.
fn meaning(phase: &str) -> &'static str {
    match phase {
        "connect" => "until a new connection to a backend stands",
        "first_byte" => "from the request's way to the backend until its answer begins",
        "whole" => "from the request's head until the answer's end",
        "own" => "weir's own share of it",
        _ => "",
    }
}

/// Draws it.
pub(super) fn draw(state: &State, live: &Live, look: Look, area: Rect, buffer: &mut Buffer) {
    let grid = Grid::new(&COLUMNS, area.width.into());
    put(grid.headings(), area, buffer);
    let chosen = state.phase_place();
    let all = area.width >= ALL_WIDTH && area.height >= ALL_HEIGHT;
    for ((at, phase), row) in live.phases.iter().enumerate().zip(area.rows().skip(1)) {
        let style = if at == chosen && !all { look.strong() } else { Style::new() };
        let line = grid.row(|place, _| match place {
            0 => (phase.phase.replace('_', " "), style),
            1 => (micros(phase.p50_us), style),
            2 => (micros(phase.p90_us), style),
            3 => (micros(phase.p99_us), style),
            4 => (micros(phase.p99_9_us), style),
            _ => (meaning(&phase.phase).to_owned(), look.faint()),
        });
        put(line, row, buffer);
    }
    let taken = (live.phases.len() as u16 + 2).min(area.height);
    let rest = Rect { y: area.y + taken, height: area.height - taken, ..area };
    if !all {
        if let Some(phase) = live.phases.get(chosen) {
            draw_heat(state, &phase.phase, look, rest, buffer);
        }
        return;
    }
    let (width, height) = (rest.width / 2, rest.height / 2);
    for (at, phase) in (0..4).zip(&live.phases) {
        let (x, y) = (rest.x + at % 2 * width, rest.y + at / 2 * height);
        let quarter = Rect { x, y, width: width - 1, height: height - u16::from(at < 2) };
        draw_heat(state, &phase.phase, look, quarter, buffer);
    }
}

/// One phase: time from left to right, lengths from below to above, shades for how many.
fn draw_heat(state: &State, phase: &str, look: Look, area: Rect, buffer: &mut Buffer) {
    if area.height < 4 || area.width < BOUND + 10 {
        return;
    }
    let row = |y: u16| Rect { y: area.y + y, height: 1, ..area };
    put(legend(phase, look, area.width.into()), row(0), buffer);
    let columns = usize::from(area.width - BOUND);
    let heat = state.picture().heat(phase, columns, usize::from(area.height - 2));
    if heat.rows.is_empty() {
        return put(Line::styled("nothing in the last ten minutes", look.faint()), row(1), buffer);
    }
    let rows = heat.rows.len() as u16;
    for (y, range) in (1..).zip(&heat.rows) {
        let bound = match range.up_to_us {
            Some(us) => format!("≤ {}", length(us)),
            None => "longer".to_owned(),
        };
        let mut spans = vec![Span::styled(right(&bound, usize::from(BOUND) - 1) + " ", look.faint())];
        spans.extend(range.shares.iter().map(|share| match shade(*share) {
            Some(step) => Span::styled(SHADES[step].1.to_string(), look.shade(step)),
            None => Span::raw(" "),
        }));
        put(Line::from(spans), row(y), buffer);
    }
    let axis = Rect { x: area.x + BOUND, width: area.width - BOUND, ..row(rows + 1) };
    let (from, to) = ("10 min ago", "now");
    let between = columns.saturating_sub(from.len() + to.len());
    let text = if columns > 20 { format!("{from}{}{to}", " ".repeat(between)) } else { right(to, columns) };
    put(Line::styled(text, look.faint()), axis, buffer);
}

/// The phase, and what the shades stand for.
fn legend(phase: &str, look: Look, cells: usize) -> Line<'static> {
    let mut spans = vec![Span::styled(left(&phase.replace('_', " "), 10) + " ", look.strong())];
    if cells >= 60 {
        spans.push(Span::styled("share of what came then:", look.faint()));
    }
    for (step, (from, mark)) in SHADES.iter().enumerate() {
        let from = if step == 0 { "some".to_owned() } else { format!("{:.0} %", from * 100.0) };
        spans.push(Span::styled(format!(" {mark}"), look.shade(step)));
        spans.push(Span::styled(format!(" {from}"), look.faint()));
    }
    Line::from(spans)
}
