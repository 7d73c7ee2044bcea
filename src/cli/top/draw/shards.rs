//! The page of the shards, and what weir has refused.

use super::super::state::State;
use super::grid::{Column, Grid, numbers, words};
use super::look::Look;
use super::marks::bar;
use super::text::{micros, rate, wrapped};
use super::{first_row, put, put_lines};
use crate::admin::live::model::Live;
use crate::cli::table::{count, percent};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

const COLUMNS: [Column; 12] = [
    numbers("SHARD", 5, 0),
    words("STATE", 7, 0),
    numbers("CLIENTS", 7, 0),
    numbers("IN-FL", 5, 3),
    numbers("LOAD", 6, 0),
    words("", 6, 4).up_to(20),
    numbers("TURNS/S", 7, 6),
    numbers("PER TURN", 8, 9),
    numbers("STALL P50", 9, 8),
    numbers("STALL P99", 9, 1),
    numbers("VIEW P99", 8, 2),
    numbers("BUFFERS", 7, 7),
];

/// What is below the table: a blank, the words, the refusals.
const BELOW: u16 = 6;

/// Draws it.
pub(super) fn draw(state: &State, live: &Live, look: Look, area: Rect, buffer: &mut Buffer) {
    let grid = Grid::new(&COLUMNS, area.width.into());
    put(grid.headings(), area, buffer);
    let plain = Style::new();
    let room = usize::from(area.height.saturating_sub(1 + BELOW)).max(1);
    let first = first_row(state.row, live.shards.len(), room);
    let shown = live.shards.iter().skip(first).take(room);
    let rows = area.rows().skip(1);
    for ((at, shard), row) in (first..).zip(shown).zip(rows) {
        let line = grid.row(|place, cells| match place {
            0 => (shard.number.to_string(), plain),
            1 => (shard.state.clone(), look.state(&shard.state)),
            2 => (count(shard.connections.into()), plain),
            3 => (shard.in_flight.to_string(), plain),
            4 => (percent(shard.load), plain),
            5 => (bar(shard.load, cells), look.picture()),
            6 => (rate(shard.turns_per_s), plain),
            7 => (format!("{:.1}", shard.completions_per_turn), plain),
            8 => (micros(shard.stall_p50_us), plain),
            9 => (micros(shard.stall_p99_us), plain),
            10 => (micros(shard.view_age_p99_us), plain),
            _ => (count(shard.buffers_in_use), plain),
        });
        put(line, row, buffer);
        if live.shards.len() > room && at == state.row {
            buffer.set_style(row, look.selected());
        }
    }
    let taken = 2 + live.shards.len().min(room) as u16;
    if taken >= area.height {
        return;
    }
    let below = Rect { y: area.y + taken, height: area.height - taken, ..area };
    let text = "stall: how long what completed may have waited for the loop; view: how old a shard's picture of \
                the others was at a pick; load: the share of time in which it did not sleep";
    let lines = wrapped(text, below.width.into(), 3);
    let used = lines.len() as u16;
    put_lines(&lines, below, buffer);
    buffer.set_style(Rect { height: used.min(below.height), ..below }, look.faint());
    if used + 1 < below.height {
        let rest = Rect { y: below.y + used, height: below.height - used, ..below };
        put(Line::raw(""), rest, buffer);
        put_lines(&wrapped(&refusals(live), rest.width.into(), rest.height.into()), rest, buffer);
    }
}

/// What weir refused, the most frequent cause first.
fn refusals(live: &Live) -> String {
    let mut all: Vec<_> = live.refusals.iter().filter(|refused| refused.count > 0).collect();
    all.sort_by_key(|refused| std::cmp::Reverse(refused.count));
    if all.is_empty() {
        return "refused since the start: nothing".to_owned();
    }
    let one = |refused: &&crate::admin::live::model::Refused| match refused.status {
        0 => format!("{} {}", refused.cause, count(refused.count)),
        status => format!("{} ({status}) {}", refused.cause, count(refused.count)),
    };
    format!("refused since the start: {}", all.iter().map(one).collect::<Vec<_>>().join(", "))
}
