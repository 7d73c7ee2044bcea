//! Text for people: tables that line up, lengths of time, counts and sizes.
//!
//! Pure but for [`Paint::of_terminal`]. Used by `ctl`, `top` and `bench`.

use std::io::{self, IsTerminal};

/// A column's heading, and to which side its cells go.
#[derive(Clone, Copy)]
pub(super) struct Column {
    heading: &'static str,
    right: bool,
}

/// A column of words.
pub(super) const fn words(heading: &'static str) -> Column {
    Column { heading, right: false }
}

/// A column of numbers, whose digits stand under each other.
pub(super) const fn numbers(heading: &'static str) -> Column {
    Column { heading, right: true }
}

/// Whether states have colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Coloured,
}

impl Paint {
    /// Colours for a terminal whose user did not forbid them (no-color.org).
    pub(super) fn of_terminal() -> Self {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if io::stdout().is_terminal() && !forbidden { Self::Coloured } else { Self::Plain }
    }

    /// A cell's text with the colour of the state that it names, if it names one.
    fn paint(self, padded: &str) -> String {
        let colour = match padded.trim() {
            "up" | "serving" => 32,
            "down" | "ejected" | "ended" | "stalled" => 31,
            "draining" | "maintenance" | "trial" | "unchecked" => 33,
            _ => return padded.to_owned(),
        };
        match self {
            Self::Plain => padded.to_owned(),
            Self::Coloured => format!("\x1b[{colour}m{padded}\x1b[0m"),
        }
    }
}

/// Rows under their headings, two blanks between columns, none at the end of a line. Names come from
/// configurations and operators: control characters in them do not reach the terminal.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>], paint: Paint) -> String {
    let headings: Vec<String> = columns.iter().map(|column| column.heading.to_owned()).collect();
    let clean = |row: &Vec<String>| -> Vec<String> { row.iter().map(|cell| printable(cell)).collect() };
    let rows: Vec<Vec<String>> = std::iter::once(headings).chain(rows.iter().map(clean)).collect();
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns.len()).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (at, ((cell, column), width)) in row.iter().zip(columns).zip(&widths).enumerate() {
            let gap = if at == 0 { "" } else { "  " };
            let last = at + 1 == columns.len();
            let padded = match (column.right, last) {
                (true, _) => format!("{cell:>width$}"),
                (false, true) => cell.clone(),
                (false, false) => format!("{cell:<width$}"),
            };
            line.push_str(gap);
            line.push_str(&paint.paint(&padded));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Without control characters, which a terminal would obey, and without marks that turn the direction of
/// writing or take no room, which would make one name look like another.
pub(super) fn printable(text: &str) -> String {
    let hidden = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    text.chars().map(|c| if c.is_control() || hidden(c) { '\u{fffd}' } else { c }).collect()
}

/// A short length of time to three digits: "840 µs", "1.25 ms", "3.40 s".
pub(super) fn length(us: u64) -> String {
    let (value, unit) = match us {
        0..1_000 => return format!("{us} µs"),
        1_000..1_000_000 => (us as f64 / 1e3, "ms"),
        _ => (us as f64 / 1e6, "s"),
    };
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {unit}")
}

/// A long length of time in its two largest units: "45s", "2m 10s", "3h 5m", "12d 4h".
pub(super) fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m {}s", seconds % 60),
        3_600..86_400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// A count with a comma between thousands.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in the unit that suits it: "512 B", "1.5 MiB".
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1 << 10 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A share in per cent: "25 %", "12.5 %".
pub(super) fn percent(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_numbers_to_the_right_and_no_blanks_at_the_end() {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let rows = [row(["app", "7", "up"]), row(["a\x1b[31mb", "1,200", ""])];
        let columns = [words("POOL"), numbers("N"), words("STATE")];
        let text = table(&columns, &rows, Paint::Plain);
        assert_eq!(text, "POOL         N  STATE\napp          7  up\na\u{fffd}[31mb  1,200\n");
        let coloured = table(&columns, &rows, Paint::Coloured);
        assert!(coloured.contains("7  \x1b[32mup\x1b[0m\n"), "{coloured:?}");
    }

    #[test]
    fn quantities_read_as_people_write_them() {
        for (found, expected) in [
            (length(0), "0 µs"),
            (length(840), "840 µs"),
            (length(1_250), "1.25 ms"),
            (length(9_999), "10.0 ms"),
            (length(45_600), "45.6 ms"),
            (length(999_400), "999 ms"),
            (length(3_400_000), "3.40 s"),
            (age(0.4), "0s"),
            (age(130.0), "2m 10s"),
            (age(11_100.0), "3h 5m"),
            (age(1_051_200.0), "12d 4h"),
            (count(999), "999"),
            (count(1_234_567), "1,234,567"),
            (size(512), "512 B"),
            (size(1_572_864), "1.5 MiB"),
            (size((1 << 20) - 1), "1.0 MiB"),
            (percent(0.25), "25 %"),
            (percent(0.125), "12.5 %"),
            (percent(0.0), "0 %"),
        ] {
            assert_eq!(found, expected);
        }
    }
}
