//! What lies over the page: the help, and a change on its way.

use super::super::state::{Dialog, State};
use super::look::Look;
use super::put;
use super::text::wrapped;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Widget};

const HELP: &str = "\
Tab, 1 to 4   another page
up, down, j, k, PgUp, PgDn, Home, End   select, or scroll
left, right   another phase, on the page of latency
d   drain: nothing new goes there
r   ready: traffic again, as its check says
m   maintenance: nothing new, and no checks
w   another weight
p   hold the picture, and go on
q, Esc   quit

A change is shown as a dry run first and made only after y. Figures are those of the last second, lines and \
heat maps those of the last ten minutes; where several fall together the largest is drawn.";

/// Draws it, if there is one.
pub(super) fn draw(state: &State, look: Look, area: Rect, buffer: &mut Buffer) {
    let (title, text, keys) = match &state.dialog {
        Dialog::Closed => return,
        Dialog::Help => (" weir top ", HELP.to_owned(), "any key: back"),
        Dialog::Weighing { pool, backend, typed, has } => (
            " weight ",
            format!("{backend} of pool {pool} has the weight {has}.\nAnother one, 1 to 256: {typed}_"),
            "Enter: what would it come to?   Esc: leave it",
        ),
        Dialog::Asking(change) => {
            (" asking ", format!("{}: asking weir what it would come to", change.words()), "Esc: leave it")
        }
        Dialog::Confirm(change, told) => {
            (" sure? ", format!("{}?\n\n{}", change.words(), told.trim_end()), "y: do it   n, Esc: leave it")
        }
        Dialog::Doing(change) => (
            " under way ",
            format!("{}: waiting until every shard has confirmed", change.words()),
            "Esc: back",
        ),
    };
    let width = area.width.saturating_sub(4).min(74);
    let room = area.height.saturating_sub(4).into();
    let lines = wrapped(&text, usize::from(width.saturating_sub(4)), room);
    let height = (lines.len() as u16 + 4).min(area.height);
    let (x, y) = (area.x + (area.width - width) / 2, area.y + (area.height - height) / 2);
    let outer = Rect { x, y, width, height };
    // A wide character half below the edge would hide it.
    for y in outer.y..outer.bottom() {
        if let Some(cell) =
            buffer.cell_mut((x.saturating_sub(1), y)).filter(|cell| super::width(cell.symbol()) > 1)
        {
            cell.reset();
        }
    }
    Clear.render(outer, buffer);
    Block::bordered().title(title).title_style(look.strong()).render(outer, buffer);
    let inner = Rect { x: x + 2, y: y + 1, width: width.saturating_sub(4), height: height.saturating_sub(2) };
    super::put_lines(&lines, Rect { height: inner.height.saturating_sub(1), ..inner }, buffer);
    let last = Rect { y: inner.y + inner.height.saturating_sub(1), height: 1, ..inner };
    put(Line::styled(keys, look.strong()), last, buffer);
}
