//! Columns: which of them a width has room for, and rows of cells under their headings.

use super::text::{left, right};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) heading: &'static str,
    /// The cells that it needs.
    pub(super) cells: usize,
    /// To which side its cells go.
    pub(super) to_right: bool,
    /// The higher, the sooner it is left out; 0 is always there.
    pub(super) leave_out: u8,
    /// How many cells it takes at most where there is room; the columns at the end come first.
    pub(super) cells_max: usize,
}

/// A column of words.
pub(super) const fn words(heading: &'static str, cells: usize, leave_out: u8) -> Column {
    Column { heading, cells, to_right: false, leave_out, cells_max: cells }
}

/// A column of numbers.
pub(super) const fn numbers(heading: &'static str, cells: usize, leave_out: u8) -> Column {
    Column { heading, cells, to_right: true, leave_out, cells_max: cells }
}

impl Column {
    /// The same, which takes up to so many cells.
    pub(super) const fn up_to(self, cells_max: usize) -> Self {
        Self { cells_max, ..self }
    }
}

/// The columns that are there, by their place, with their cells.
#[derive(Clone, Debug)]
pub(super) struct Grid<'a> {
    columns: &'a [Column],
    pub(super) chosen: Vec<(usize, usize)>,
}

impl<'a> Grid<'a> {
    /// As many of them as fit into so many cells, one blank between two.
    pub(super) fn new(columns: &'a [Column], cells: usize) -> Self {
        let mut chosen: Vec<(usize, usize)> =
            columns.iter().enumerate().map(|(place, column)| (place, column.cells)).collect();
        let taken = |chosen: &[(usize, usize)]| {
            chosen.iter().map(|(_, cells)| cells + 1).sum::<usize>().saturating_sub(1)
        };
        while taken(&chosen) > cells {
            let first = chosen.iter().map(|(place, _)| columns[*place].leave_out).max().unwrap_or(0);
            if first == 0 {
                break;
            }
            chosen.retain(|(place, _)| columns[*place].leave_out != first);
        }
        let mut left = cells.saturating_sub(taken(&chosen));
        for (place, cells) in chosen.iter_mut().rev() {
            let more = columns[*place].cells_max.saturating_sub(*cells).min(left);
            *cells += more;
            left -= more;
        }
        Self { columns, chosen }
    }

    /// The headings.
    pub(super) fn headings(&self) -> Line<'static> {
        let style = Style::new().add_modifier(Modifier::DIM);
        self.row(|place, _| (self.columns[place].heading.to_owned(), style))
    }

    /// A row: what stands in the column of this place and these cells, and how.
    pub(super) fn row(&self, cell: impl Fn(usize, usize) -> (String, Style)) -> Line<'static> {
        let mut spans = Vec::new();
        for (at, (place, cells)) in self.chosen.iter().enumerate() {
            if at > 0 {
                spans.push(Span::raw(" "));
            }
            let (text, style) = cell(*place, *cells);
            let text = if self.columns[*place].to_right { right(&text, *cells) } else { left(&text, *cells) };
            spans.push(Span::styled(text, style));
        }
        Line::from(spans)
    }

    /// How many cells the columns before this place take, the blank behind them included.
    pub(super) fn before(&self, place: usize) -> usize {
        self.chosen.iter().take_while(|(other, _)| *other < place).map(|(_, cells)| cells + 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        words("NAME", 6, 0).up_to(8),
        numbers("N", 4, 1),
        numbers("P99", 5, 3),
        words("WHY", 5, 2).up_to(20),
    ];

    #[test]
    fn what_matters_least_is_left_out_first_and_the_rest_fills_the_width() {
        for (cells, expected) in [
            (60, vec![(0, 8), (1, 4), (2, 5), (3, 20)]),
            (30, vec![(0, 6), (1, 4), (2, 5), (3, 12)]),
            (23, vec![(0, 6), (1, 4), (2, 5), (3, 5)]),
            (22, vec![(0, 6), (1, 4), (3, 10)]),
            (16, vec![(0, 8), (1, 4)]),
            (3, vec![(0, 6)]),
        ] {
            assert_eq!(Grid::new(&COLUMNS, cells).chosen, expected, "{cells}");
        }
    }

    #[test]
    fn cells_stand_under_their_headings() {
        let grid = Grid::new(&COLUMNS, 18);
        let row = grid.row(|place, _| (["a long name", "7", "", "because"][place].to_owned(), Style::new()));
        assert_eq!(grid.headings().to_string(), "NAME      N WHY   ");
        assert_eq!(row.to_string(), "a lon…    7 becau…");
        assert_eq!(grid.before(3), 12);
    }
}
