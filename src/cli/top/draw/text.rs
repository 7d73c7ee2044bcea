//! Text in cells: cut, padded and wrapped by how wide a terminal shows it, and numbers in little room.
//!
//! Names come from configurations and operators: control characters in them, marks that turn the direction of
//! writing among them, become a sign that takes one cell; wide characters count two.

use crate::cli::table::{count, length, percent, printable};
use ratatui::style::Style;
use ratatui::text::Span;

/// What stands where something was cut off.
const CUT: &str = "…";

/// What stands for what is not known.
pub(super) const NONE: &str = "-";

/// How many cells a text takes.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The beginning of a text that takes at most so many cells, and how many it takes.
fn beginning(text: &str, cells: usize) -> (String, usize) {
    let (mut kept, mut taken) = (String::new(), 0);
    for grapheme in Span::raw(text).styled_graphemes(Style::default()) {
        let wide = width(grapheme.symbol);
        if taken + wide > cells {
            break;
        }
        kept.push_str(grapheme.symbol);
        taken += wide;
    }
    (kept, taken)
}

/// A text in at most so many cells, and how many it takes.
fn cut(text: &str, cells: usize) -> (String, usize) {
    let text = printable(text);
    let (kept, taken) = beginning(&text, cells);
    if kept.len() == text.len() {
        return (kept, taken);
    }
    let (mut kept, taken) = beginning(&text, cells.saturating_sub(1));
    if cells > 0 {
        kept.push_str(CUT);
    }
    (kept, taken + cells.min(1))
}

/// A text in exactly so many cells, at their left end.
pub(super) fn left(text: &str, cells: usize) -> String {
    let (text, taken) = cut(text, cells);
    text + &" ".repeat(cells - taken)
}

/// A text in exactly so many cells, at their right end.
pub(super) fn right(text: &str, cells: usize) -> String {
    let (text, taken) = cut(text, cells);
    " ".repeat(cells - taken) + &text
}

/// A text in lines of at most so many cells, broken between words where that is possible; what is beyond
/// `lines_max` is cut off.
pub(super) fn wrapped(text: &str, cells: usize, lines_max: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    if cells == 0 {
        return lines;
    }
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in printable(paragraph).split(' ') {
            let mut word = word.to_owned();
            let joined = width(&line) + usize::from(!line.is_empty()) + width(&word);
            if !line.is_empty() && joined > cells {
                lines.push(std::mem::take(&mut line));
            }
            while width(&word) > cells {
                let (piece, _) = beginning(&word, cells);
                if piece.is_empty() {
                    // A character wider than the whole line.
                    word.clear();
                    break;
                }
                word.drain(..piece.len());
                lines.push(piece);
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
        lines.push(line);
    }
    if lines.len() > lines_max {
        lines.truncate(lines_max);
        if let Some(last) = lines.last_mut() {
            let (kept, _) = beginning(last, cells - 1);
            *last = kept + CUT;
        }
    }
    lines
}

/// A length of time, if there is one.
pub(super) fn micros(us: Option<u64>) -> String {
    us.map_or(NONE.to_owned(), length)
}

/// How often something comes, in at most seven cells: "0", "3.4", "1,235", "12.3 M".
pub(in crate::cli::top) fn rate(per_s: f64) -> String {
    match per_s {
        rate if rate <= 0.0 => "0".to_owned(),
        rate if rate < 9.95 => format!("{rate:.1}"),
        rate if rate < 999_999.5 => count(rate.round() as u64),
        rate => format!("{:.1} M", rate / 1e6),
    }
}

/// A share in at most six cells; one that is there is never shown as none.
pub(in crate::cli::top) fn share(share: f64) -> String {
    if share > 0.0 && share < 0.0005 { "<0.1 %".to_owned() } else { percent(share) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_takes_the_cells_that_it_is_given_whatever_is_in_it() {
        for (case, text, at_left, at_right) in [
            ("short", "abc", "abc   ", "   abc"),
            ("full", "abcdef", "abcdef", "abcdef"),
            ("long", "abcdefg", "abcde…", "abcde…"),
            ("wide", "漢字", "漢字  ", "  漢字"),
            ("wide, cut in the middle", "a漢字漢", "a漢字…", "a漢字…"),
            ("wide, no half", "漢字漢字", "漢字… ", " 漢字…"),
            ("control", "a\x1b[2Jb", "a\u{fffd}[2Jb", "a\u{fffd}[2Jb"),
            ("turned around", "a\u{202e}b", "a\u{fffd}b   ", "   a\u{fffd}b"),
            ("line feed", "a\nb", "a\u{fffd}b   ", "   a\u{fffd}b"),
        ] {
            assert_eq!(left(text, 6), at_left, "{case}");
            assert_eq!(right(text, 6), at_right, "{case}");
            assert_eq!((width(&left(text, 6)), width(&right(text, 6))), (6, 6), "{case}");
        }
        assert_eq!((left("ab", 0), left("ab", 1)), (String::new(), "…".to_owned()));
        assert_eq!(left("漢", 1), "…");
    }

    #[test]
    fn long_text_is_broken_between_words_or_where_it_must() {
        for (text, expected) in [
            ("one two three", vec!["one two", "three"]),
            ("one\ntwo", vec!["one", "two"]),
            ("abcdefghijkl mn", vec!["abcdefgh", "ijkl mn"]),
            ("", vec![]),
        ] {
            assert_eq!(wrapped(text, 8, 9), expected, "{text:?}");
        }
        assert_eq!(wrapped("one two three four five", 8, 2), ["one two", "three…"]);
        assert!(wrapped("漢", 1, 3).len() <= 1 && wrapped("a", 0, 3).is_empty());
    }

    #[test]
    fn numbers_fit() {
        let rates = [0.0, 0.04, 3.44, 9.96, 1234.5, 999_999.4, 12_345_678.0].map(rate);
        assert_eq!(rates, ["0", "0.0", "3.4", "10", "1,235", "999,999", "12.3 M"]);
        assert_eq!(
            [0.0, 0.0001, 0.001, 0.125, 1.0].map(share),
            ["0 %", "<0.1 %", "0.1 %", "12.5 %", "100 %"]
        );
    }
}
