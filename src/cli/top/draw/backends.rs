//! The page of the backends: a row each under its pool, and the details of who is selected.

use super::super::state::State;
use super::grid::{Column, Grid, numbers, words};
use super::look::Look;
use super::marks::{blocks, past, peak};
use super::text::{left, micros, rate, share, wrapped};
use super::{first_row, put, put_lines};
use crate::admin::live::model::{Figures, LiveBackend, LivePool};
use crate::cli::table::{age, length, percent};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Rows of the details; they are there if as many are left for the table.
const DETAILS: u16 = 8;

/// One of the lengths below which so many exchanges were.
type Quantile = fn(&Figures) -> Option<u64>;

const QUANTILES: [(&str, Quantile); 4] = [
    ("p50", |figures| figures.p50_us),
    ("p90", |figures| figures.p90_us),
    ("p99", |figures| figures.p99_us),
    ("p99.9", |figures| figures.p99_9_us),
];

/// What a backup is.
const BACKUP: &str = "backup: gets traffic when no other is usable";

/// The blank or the mark before a row.
const MARGIN: usize = 2;

const NAME: usize = 0;
const STATE: usize = 1;
const SINCE: usize = 2;
const WEIGHT: usize = 3;
const IN_FLIGHT: usize = 4;
const PER_SHARD: usize = 5;
const RATE: usize = 6;
const ERRORS: usize = 7;
const P50: usize = 8;
const P90: usize = 9;
const P99: usize = 10;
const P99_9: usize = 11;
const PAST: usize = 12;
const WHY: usize = 13;

/// Draws it.
pub(super) fn draw(state: &State, look: Look, area: Rect, buffer: &mut Buffer) {
    let details = if area.height >= 2 * DETAILS { DETAILS } else { 0 };
    let table = Rect { height: area.height - details, ..area };
    draw_table(state, look, table, buffer);
    if let (Some((pool, backend)), 1..) = (state.selected(), details) {
        let below = Rect { y: area.y + table.height, height: details, ..area };
        draw_details(state, pool, backend, look, below, buffer);
    }
}

/// The columns, for names and shards as they are.
fn columns(state: &State) -> [Column; 14] {
    let backends = || state.picture().backends().map(|(_, backend)| backend);
    let name = backends().map(|backend| super::width(&backend.name)).max().unwrap_or(0).clamp(8, 14);
    let shards = backends().map(|backend| backend.in_flight_per_shard.len()).max().unwrap_or(1);
    [
        words("BACKEND", name, 0).up_to(28),
        words("STATE", 11, 0),
        words("SINCE", 7, 5),
        numbers("WEIGHT", 6, 9),
        numbers("IN-FL", 5, 1),
        words("SHARDS", 6, 6).up_to(shards.clamp(6, 16)),
        numbers("REQ/S", 7, 2),
        numbers("ERRORS", 6, 4),
        numbers("P50", 7, 7),
        numbers("P90", 7, 10),
        numbers("P99", 7, 3),
        numbers("P99.9", 7, 8),
        words("P99, 10 MIN", 11, 11).up_to(30),
        words("WHY", 16, 12).up_to(60),
    ]
}

/// A row of the table.
enum Row<'a> {
    Pool(&'a LivePool),
    Backend(&'a LivePool, &'a LiveBackend),
}

fn draw_table(state: &State, look: Look, area: Rect, buffer: &mut Buffer) {
    let columns = columns(state);
    let grid = Grid::new(&columns, usize::from(area.width).saturating_sub(MARGIN));
    let inner = Rect { x: area.x + MARGIN as u16, width: area.width.saturating_sub(MARGIN as u16), ..area };
    put(grid.headings(), inner, buffer);
    let rows: Vec<Row<'_>> = state
        .picture()
        .pools()
        .iter()
        .flat_map(|pool| {
            let backends = pool.backends.iter().map(move |backend| Row::Backend(pool, backend));
            std::iter::once(Row::Pool(pool)).chain(backends)
        })
        .collect();
    if rows.is_empty() {
        let below = Rect { y: area.y + 1, ..inner };
        return put(Line::raw("there are no pools"), below, buffer);
    }
    let selected = state.selected_place();
    let backend_rows = rows.iter().enumerate().filter(|(_, row)| matches!(row, Row::Backend(..)));
    let marked = backend_rows.map(|(place, _)| place).nth(selected).unwrap_or(0);
    let room = usize::from(area.height.saturating_sub(1));
    let first = first_row(marked, rows.len(), room);
    for (at, row) in rows.iter().enumerate().skip(first).take(room) {
        let y = area.y + 1 + (at - first) as u16;
        let whole = Rect { y, height: 1, ..area };
        match row {
            Row::Pool(pool) => put(pool_line(pool, look), whole, buffer),
            Row::Backend(pool, backend) => {
                put(backend_line(state, pool, backend, look, &grid), Rect { y, ..inner }, buffer);
                if at == marked {
                    put(Line::styled("▸", look.strong()), whole, buffer);
                    buffer.set_style(whole, look.selected());
                }
            }
        }
    }
}

fn pool_line(pool: &LivePool, look: Look) -> Line<'static> {
    let (usable, all) = (pool.usable, pool.backends.len());
    let name = left(&pool.name, super::width(&pool.name).min(30));
    let mut spans = vec![
        Span::styled(name, look.strong()),
        Span::styled(format!("  {}  ", left(&pool.policy, super::width(&pool.policy).min(16))), look.faint()),
    ];
    let style = if usable < all { look.strong() } else { look.faint() };
    spans.push(Span::styled(format!("{usable} of {all} usable"), style));
    if pool.panic {
        spans.push(Span::raw("  "));
        spans.push(Span::styled(" PANIC: too few are healthy, so all get traffic ", look.alarm()));
    }
    Line::from(spans)
}

fn backend_line(
    state: &State,
    pool: &LivePool,
    backend: &LiveBackend,
    look: Look,
    grid: &Grid<'_>,
) -> Line<'static> {
    let figures = &backend.figures;
    let plain = Style::new();
    let line = grid.row(|place, cells| match place {
        NAME => (backend.name.clone(), plain),
        STATE => (backend.state.clone(), look.state(&backend.state)),
        SINCE => (age(backend.since_s), plain),
        WEIGHT => (backend.weight.to_string(), plain),
        IN_FLIGHT => (figures.in_flight.to_string(), plain),
        PER_SHARD => {
            let most = state.picture().in_flight_max();
            (blocks(&backend.in_flight_per_shard, most, cells), look.picture())
        }
        RATE => (rate(figures.requests_per_s), plain),
        ERRORS => (share(figures.error_share), look.errors(figures.error_share)),
        P50 => (micros(figures.p50_us), plain),
        P90 => (micros(figures.p90_us), plain),
        P99 => (micros(figures.p99_us), plain),
        P99_9 => (micros(figures.p99_9_us), plain),
        PAST => {
            let values = state.picture().past(&pool.name, backend, cells, p99);
            (past(&values), look.picture())
        }
        WHY => (backend.why.clone(), plain),
        _ => (String::new(), plain),
    });
    let told = grid.chosen.iter().any(|(place, _)| *place == WHY);
    let idle = figures.requests_per_s <= 0.0 && figures.error_share <= 0.0;
    let why = match (backend.usable, backend.backup) {
        (false, _) => backend.why.as_str(),
        (true, true) => BACKUP,
        (true, false) => "",
    };
    if told || !idle || why.is_empty() {
        return line;
    }
    // Nothing goes there: why says more than a row of zeroes.
    let kept = grid.chosen.iter().position(|(place, _)| *place >= RATE).unwrap_or(grid.chosen.len());
    let cells: usize = grid.chosen.iter().map(|(_, cells)| cells + 1).sum();
    let room = cells.saturating_sub(1 + grid.before(RATE));
    let mut spans: Vec<Span<'static>> = line.spans.into_iter().take(2 * kept).collect();
    spans.push(Span::raw(left(why, room)));
    Line::from(spans)
}

fn p99(figures: &Figures) -> Option<f64> {
    figures.p99_us.map(|us| us as f64)
}

fn draw_details(
    state: &State,
    pool: &str,
    backend: &LiveBackend,
    look: Look,
    area: Rect,
    buffer: &mut Buffer,
) {
    let row = |y: u16| Rect { y: area.y + y, height: 1, ..area };
    let name = left(&backend.name, super::width(&backend.name).min(40));
    let head = format!("── {name} of pool {} ", left(pool, super::width(pool).min(30)));
    let rule = "─".repeat(usize::from(area.width).saturating_sub(super::width(&head)));
    put(Line::styled(head + &rule, look.strong()), row(0), buffer);
    let why = format!("{} for {}: {}", backend.state, age(backend.since_s), backend.why);
    let why = wrapped(&why, area.width.into(), 2);
    put_lines(&why, Rect { y: area.y + 1, height: 2, ..area }, buffer);
    buffer.set_style(Rect { y: area.y + 1, height: 2, ..area }, look.state(&backend.state));
    put(Line::raw(left(&standing(backend), area.width.into())), row(3), buffer);

    let half = area.width / 2;
    let trace = Trace { state, pool, backend, look };
    for (y, (word, value)) in (4..).zip(QUANTILES) {
        let show = |value: f64| length(value as u64);
        let at = Rect { width: half.saturating_sub(1), ..row(y) };
        trace.draw(word, |figures| value(figures).map(|us| us as f64), show, at, buffer);
    }
    let right = |y: u16| Rect { x: area.x + half, width: area.width - half, ..row(y) };
    trace.draw("req/s", |figures| Some(figures.requests_per_s), rate, right(4), buffer);
    trace.draw("errors", |figures| Some(figures.error_share), share, right(5), buffer);
    let in_flight = |figures: &Figures| Some(f64::from(figures.in_flight));
    trace.draw("flight", in_flight, |count| format!("{count:.0}"), right(6), buffer);
    let per_shard: Vec<String> = backend.in_flight_per_shard.iter().map(u32::to_string).collect();
    let per_shard = format!("by shard  {}", per_shard.join(" "));
    put(Line::raw(left(&per_shard, right(7).width.into())), right(7), buffer);
}

/// Where it is, and what it gets beside the others.
fn standing(backend: &LiveBackend) -> String {
    let mut text = format!("{}  weight {}", backend.address, backend.weight);
    if backend.share < 1.0 {
        text.push_str(&format!(" at {} (slow start)", percent(backend.share)));
    }
    if backend.backup {
        text.push_str("  ");
        text.push_str(BACKUP);
    }
    if !backend.usable {
        text.push_str("  gets nothing new");
    }
    text
}

/// A figure of one backend: its word, its value now, the line of its last ten minutes.
struct Trace<'a> {
    state: &'a State,
    pool: &'a str,
    backend: &'a LiveBackend,
    look: Look,
}

impl Trace<'_> {
    fn draw(
        &self,
        word: &str,
        value: impl Fn(&Figures) -> Option<f64>,
        show: impl Fn(f64) -> String,
        area: Rect,
        buffer: &mut Buffer,
    ) {
        const WORD: usize = 6;
        const VALUE: usize = 8;
        const PEAK: usize = 14;
        let now = value(&self.backend.figures).map_or(super::text::NONE.to_owned(), &show);
        let room = usize::from(area.width).saturating_sub(WORD + VALUE + 1);
        let peak_room = if room >= 10 + PEAK { PEAK } else { 0 };
        let values = self.state.picture().past(self.pool, self.backend, room - peak_room, value);
        let mut spans = vec![
            Span::styled(left(word, WORD), self.look.faint()),
            Span::raw(super::text::right(&now, VALUE)),
            Span::raw(" "),
            Span::styled(past(&values), self.look.picture()),
        ];
        if let (Some(peak), 1..) = (peak(&values), peak_room) {
            spans.push(Span::styled(format!(" peak {}", show(peak)), self.look.faint()));
        }
        put(Line::from(spans), area, buffer);
    }
}
