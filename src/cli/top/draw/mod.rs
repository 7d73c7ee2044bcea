//! The picture of a state, as cells of a terminal: a pure function.
//!
//! | file | what |
//! |---|---|
//! | `backends`, `latency`, `shards`, `transitions` | the pages |
//! | `dialog` | what lies over them |
//! | `grid` | columns, and which there is room for |
//! | `text`, `marks`, `look` | text in cells, quantities as characters, styles |
//!
//! 80 by 24 is enough for all of it; what needs more room (P99.9, lines of the past in the table, why beside the
//! figures) is left out there and stands in the details of who is selected. Below 40 by 12 it says so.

mod backends;
mod dialog;
mod grid;
mod latency;
mod look;
mod marks;
mod shards;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod text;
mod transitions;

pub(super) use text::{rate, share};
pub(super) use transitions::{ago, lost, step};

use super::state::{Link, Page, State};
use crate::admin::live::model::Live;
use crate::cli::table::{age, printable};
use crate::time::{Instant, Micros};
use look::Look;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use text::{micros, width, wrapped};

/// The smallest terminal that is drawn in.
const WIDTH_MIN: u16 = 40;
const HEIGHT_MIN: u16 = 12;

/// News come each second; from this age on they are not what holds now.
const OLD: Micros = Micros::from_s(3);

/// Draws all of it.
pub(super) fn draw(state: &State, now: Instant, area: Rect, buffer: &mut Buffer) {
    let look = Look(state.paint);
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        let text = format!(
            "This terminal has {}x{} cells; weir top needs {WIDTH_MIN}x{HEIGHT_MIN}. q: quit",
            area.width, area.height
        );
        return put_lines(&wrapped(&text, area.width.into(), area.height.into()), area, buffer);
    }
    let row = |y: u16| Rect { y: area.y + y, height: 1, ..area };
    put(title(state, look, now, area.width), row(0), buffer);
    put(totals(state, look, area.width), row(1), buffer);
    put(tabs(state, look), row(2), buffer);
    let page = Rect { y: area.y + 3, height: area.height - 5, ..area };
    match &state.picture().live {
        None => {
            let text = format!("waiting for news from {}", state.admin);
            put(Line::styled(printable(&text), look.faint()), row(4), buffer);
        }
        Some(live) => match state.page {
            Page::Backends => backends::draw(state, look, page, buffer),
            Page::Latency => latency::draw(state, live, look, page, buffer),
            Page::Shards => shards::draw(state, live, look, page, buffer),
            Page::Transitions => transitions::draw(state, live, look, page, buffer),
        },
    }
    put(said(state, look, now), row(area.height - 2), buffer);
    put(keys(state, look, area.width.into()), row(area.height - 1), buffer);
    dialog::draw(state, look, page, buffer);
}

/// Writes a line at an area's head; what is beyond its right edge is left out.
fn put(line: Line<'_>, area: Rect, buffer: &mut Buffer) {
    let area = area.intersection(buffer.area);
    if !area.is_empty() {
        buffer.set_line(area.x, area.y, &line, area.width);
    }
}

/// Writes lines from an area's head on; what is below it is left out.
fn put_lines(lines: &[String], area: Rect, buffer: &mut Buffer) {
    for (line, row) in lines.iter().zip(area.rows()) {
        put(Line::raw(line.as_str()), row, buffer);
    }
}

/// The first row that is shown of so many, where there is room for fewer: the one that is looked at stays in the
/// middle, as long as there are rows above and below.
fn first_row(at: usize, rows: usize, room: usize) -> usize {
    at.saturating_sub(room / 2).min(rows.saturating_sub(room))
}

/// Which weir, where, how it is, and whether this is now.
fn title(state: &State, look: Look, now: Instant, cells: u16) -> Line<'static> {
    let (word, style) = match (&state.link, state.paused()) {
        (Link::Lost(..), _) => (" NOT CONNECTED ".to_owned(), look.alarm()),
        (_, true) => (" PAUSED ".to_owned(), look.selected()),
        (Link::Waiting, _) => (" connecting ".to_owned(), look.faint()),
        (Link::Following, false) => match now.since(state.heard) {
            old if old >= OLD => (format!(" {} s OLD ", old.as_us() / 1_000_000), look.alarm()),
            _ => (" live ".to_owned(), look.good()),
        },
    };
    let (mut text, mut ready) = ("weir".to_owned(), Span::raw(""));
    if let Some(live) = &state.picture().live {
        text = format!("weir {}  {}  up {}  ", printable(&live.version), state.admin, age(live.uptime_s));
        ready = match (&live.why, live.ready) {
            (_, true) => Span::styled("ready", look.good()),
            (why, false) => {
                let why = why.as_deref().unwrap_or("no reason is told");
                Span::styled(format!("NOT READY: {}", printable(why)), look.bad())
            }
        };
    }
    let room = usize::from(cells).saturating_sub(width(&word));
    let head = text::left(&text, width(&text).min(room));
    let rest = text::left(&ready.content, room - width(&head));
    Line::from(vec![
        Span::styled(head, look.strong()),
        Span::styled(rest, ready.style),
        Span::styled(word, style),
    ])
}

/// All pools together. What does not fit is left out: the quantiles that say least, then what was refused.
fn totals(state: &State, look: Look, cells: u16) -> Line<'static> {
    let Some(live) = &state.picture().live else { return Line::default() };
    let Live { total, refusals_per_s, .. } = live;
    let plain = Style::new();
    let mut parts = vec![
        (0, format!("{} req/s", rate(total.requests_per_s)), look.strong()),
        (0, format!("errors {}", share(total.error_share)), look.errors(total.error_share)),
        (1, format!("refused {}/s", rate(*refusals_per_s)), look.errors(*refusals_per_s)),
        (0, format!("in flight {}", total.in_flight), look.strong()),
        (2, format!("p50 {}", micros(total.p50_us)), plain),
        (4, format!("p90 {}", micros(total.p90_us)), plain),
        (0, format!("p99 {}", micros(total.p99_us)), plain),
        (3, format!("p99.9 {}", micros(total.p99_9_us)), plain),
    ];
    for leave_out in (1..=4).rev() {
        let taken: usize = parts.iter().map(|(_, text, _)| width(text) + 2).sum();
        if taken > usize::from(cells) + 2 {
            parts.retain(|(rank, ..)| *rank != leave_out);
        }
    }
    Line::from_iter(
        parts.into_iter().flat_map(|(_, text, style)| [Span::styled(text, style), Span::raw("  ")]),
    )
}

fn tabs(state: &State, look: Look) -> Line<'static> {
    let tab = |(place, page): (usize, &Page)| {
        let text = format!("{} {}", place + 1, page.word());
        let here = *page == state.page;
        // Brackets, for who sees no difference in the writing.
        let text = if here { format!("[{text}]") } else { format!(" {text} ") };
        [Span::styled(text, if here { look.selected() } else { look.faint() }), Span::raw(" ")]
    };
    Line::from_iter(Page::ALL.iter().enumerate().flat_map(tab))
}

/// What there is to say: of the last change, of the connection.
fn said(state: &State, look: Look, now: Instant) -> Line<'static> {
    if let Some(notice) = &state.notice {
        let (mark, style) = if notice.good { ("done: ", look.good()) } else { ("not done: ", look.bad()) };
        return Line::styled(format!("{mark}{}", printable(&notice.text)), style);
    }
    match &state.link {
        Link::Lost(why, again) => {
            let left = again.since(now).as_us().div_ceil(1_000_000);
            let when = if left == 0 { "trying again now".to_owned() } else { format!("again in {left} s") };
            Line::styled(format!("{when}: {}", printable(why)), look.bad())
        }
        Link::Waiting | Link::Following if state.paused() => Line::raw("paused; p goes on"),
        Link::Waiting | Link::Following => Line::default(),
    }
}

/// What can be pressed; who has little room looks at the help.
fn keys(state: &State, look: Look, cells: usize) -> Line<'static> {
    let mut keys = vec![("?", "help"), ("q", "quit"), ("Tab", "page")];
    match state.page {
        Page::Backends => {
            keys.extend([("↑↓", "row"), ("d", "drain"), ("r", "ready"), ("m", "maint."), ("w", "weight")]);
        }
        Page::Latency => keys.push(("←→", "phase")),
        Page::Shards | Page::Transitions => keys.push(("↑↓", "row")),
    }
    keys.push(("p", "pause"));
    let (mut spans, mut taken) = (Vec::new(), 0);
    for (key, what) in keys {
        let wide = width(key) + width(what) + 3;
        if taken + wide > cells + 2 {
            break;
        }
        taken += wide;
        spans.extend([Span::styled(key, look.strong()), Span::styled(format!(" {what}  "), look.faint())]);
    }
    Line::from(spans)
}
