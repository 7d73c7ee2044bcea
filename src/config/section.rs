//! One table of the file: its keys read by type, everything else in it reported.
//!
//! Here: [`Section`], the walker that all readers of this room use. A key becomes known by being read, so
//! the list of known keys cannot differ from what is read; [`Section::finish`] then reports the rest: keys
//! that the contract has and this version of weir does not, and unknown ones. Not here: how a value of
//! each type is read (`values.rs`).

use super::fault::{Place, Report, Wrong};
use super::reference::nearest;
use super::values::{self, Other, shown};
use crate::time::Micros;
use std::ops::RangeInclusive;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The value with which a key that is not built yet changes nothing, so that it may stand in a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Off {
    /// There is none.
    Never,
    /// This number.
    Number(f64),
    /// This length of time.
    Length(Micros),
    /// This text.
    Text(&'static str),
}

impl Off {
    fn is(self, value: &DeValue<'_>) -> bool {
        match self {
            Self::Never => false,
            Self::Number(off) => values::number(value) == Some(off),
            Self::Length(off) => values::length(value, off..=off).is_ok(),
            Self::Text(off) => value.as_str() == Some(off),
        }
    }

    fn remedy(self) -> String {
        let off = match self {
            Self::Never => return "remove it".to_owned(),
            Self::Number(off) => off.to_string(),
            Self::Length(off) => format!("\"{off}\""),
            Self::Text(off) => format!("\"{off}\""),
        };
        format!("remove it, or write {off}")
    }
}

/// A key of the contract that is not built yet, and the value that may stand there all the same.
pub(super) type Later = (&'static str, Off);

/// One table of the file, while it is read.
#[must_use = "unknown keys are reported by `finish`"]
pub(super) struct Section<'a> {
    pub(super) report: &'a Report<'a>,
    table: &'a DeTable<'a>,
    /// The header's place, where what is missing is reported.
    pub(super) place: Place,
    /// The keys that somebody has asked for so far: the known ones.
    known: Vec<&'static str>,
}

/// An entry of a table whose keys the user chooses, or an element of a list.
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a Spanned<DeValue<'a>>,
    pub(super) place: Place,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(report: &'a Report<'a>, table: &'a DeTable<'a>) -> Self {
        Self { report, table, place: Place { offset: 0, key: String::new() }, known: Vec::new() }
    }

    /// A table at a known place; reports what is no table, with the header that makes one.
    pub(super) fn open(
        report: &'a Report<'a>,
        value: &'a Spanned<DeValue<'a>>,
        place: Place,
        header: &str,
    ) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else {
            let what = format!("{} is not a section", shown(value.get_ref()));
            report.error(&place, Wrong::new(what, format!("write {header} and its keys below")));
            return None;
        };
        Some(Self { report, table, place, known: Vec::new() })
    }

    /// Whether the file sets this key, rightly or wrongly.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the file leaves a list out, or leaves it empty.
    pub(super) fn lacks(&self, key: &str) -> bool {
        self.table.get(key).is_none_or(|value| value.get_ref().as_array().is_some_and(|list| list.is_empty()))
    }

    /// Where a key stands; the section's header if it is left out.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let offset = self.table.get(key).map_or(self.place.offset, |value| value.span().start);
        Place { offset, key: dotted(&self.place.key, key) }
    }

    /// Reports a fault at a key.
    pub(super) fn error(&self, key: &str, wrong: Wrong) {
        self.report.error(&self.place_of(key), wrong);
    }

    fn ask(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// A key's value as `parse` reads it; `None` if it is left out or wrong, and then reported.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&'a DeValue<'a>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let value = self.ask(key)?;
        parse(value.get_ref()).map_err(|wrong| self.error(key, wrong)).ok()
    }

    /// As [`Self::read`], of a string.
    pub(super) fn text<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&'a str) -> Result<T, Wrong>,
    ) -> Option<T> {
        self.read(key, |value| parse(values::text(value)?))
    }

    /// Reports a key without which the section means nothing.
    pub(super) fn require(&self, key: &str, example: &str) {
        if !self.has(key) {
            self.error(key, Wrong::new("missing", format!("write {key} = {example}")));
        }
    }

    /// A whole number.
    pub(super) fn integer(&mut self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> u64 {
        self.read(key, |value| values::integer(value, range)).unwrap_or(default)
    }

    /// A length of time.
    pub(super) fn length(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Micros>,
        default: Micros,
    ) -> Micros {
        self.read(key, |value| values::length(value, range)).unwrap_or(default)
    }

    /// A size in bytes.
    pub(super) fn size(&mut self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> u64 {
        self.read(key, |value| values::size(value, range)).unwrap_or(default)
    }

    /// One of a few words; `others` are words that cannot stand here, with what to write for them.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        built: &[(&str, T)],
        others: &[Other],
        default: T,
    ) -> T {
        self.read(key, |value| values::choice(value, built, others)).unwrap_or(default)
    }

    /// A section within this one.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Self> {
        let value = self.ask(key)?;
        let place = Place { offset: value.span().start, key: dotted(&self.place.key, key) };
        let header = format!("[{}]", header(&place.key));
        Section::open(self.report, value, place, &header)
    }

    /// The sections of a list of them, in the file's order.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Self> {
        let header = format!("[[{}]]", header(&dotted(&self.place.key, key)));
        let entries = self.list(key, &header);
        entries.into_iter().filter_map(|e| Self::open(self.report, e.value, e.place, &header)).collect()
    }

    /// The elements of a list, in the file's order; `example` says how one is written.
    pub(super) fn list(&mut self, key: &'static str, example: &str) -> Vec<Entry<'a>> {
        let Some(value) = self.ask(key) else { return Vec::new() };
        let path = dotted(&self.place.key, key);
        let Some(list) = value.get_ref().as_array() else {
            let what = format!("{} is not a list", shown(value.get_ref()));
            self.error(key, Wrong::new(what, format!("write {example}")));
            return Vec::new();
        };
        let entry = |(index, value): (usize, &'a Spanned<DeValue<'a>>)| {
            let place = Place { offset: value.span().start, key: format!("{path}[{index}]") };
            Entry { name: "", value, place }
        };
        list.iter().enumerate().map(entry).collect()
    }

    /// The entries of a section whose keys the user chooses, in the file's order.
    pub(super) fn entries(self) -> Vec<Entry<'a>> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let name: &'a std::borrow::Cow<'a, str> = key.get_ref();
            let place = Place { offset: key.span().start, key: dotted(&self.place.key, name) };
            Entry { name, value, place }
        };
        entries.into_iter().map(entry).collect()
    }

    /// Reports the keys that nobody has asked for.
    pub(super) fn finish(self, later: &[Later]) {
        for (key, value) in self.table {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let place = Place { offset: key.span().start, key: dotted(&self.place.key, name) };
            match later.iter().find(|(later, _)| *later == name) {
                Some((_, off)) if off.is(value.get_ref()) => {}
                Some((_, off)) => {
                    self.report.error(&place, Wrong::new(values::NOT_BUILT_YET, off.remedy()));
                }
                None => self.report.error(&place, self.unknown(name, later)),
            }
        }
    }

    fn unknown(&self, name: &str, later: &[Later]) -> Wrong {
        let all = self.known.iter().copied().chain(later.iter().map(|(key, _)| *key));
        let remedy = match nearest(name, all) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("known here: {}", self.known.join(", ")),
        };
        Wrong::new("unknown key", remedy)
    }
}

/// A dotted path as a header has it: without the places of lists' entries, since a header means the last one.
fn header(path: &str) -> String {
    let mut header = String::with_capacity(path.len());
    let (mut is_quoted, mut is_place) = (false, false);
    for c in path.chars() {
        is_quoted ^= c == '"';
        is_place |= c == '[' && !is_quoted;
        if !is_place {
            header.push(c);
        }
        is_place &= c != ']';
    }
    header
}

/// The dotted path of a key, quoted where TOML would have to.
pub(super) fn dotted(path: &str, key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let dot = if path.is_empty() { "" } else { "." };
    if !key.is_empty() && key.chars().all(bare) {
        format!("{path}{dot}{key}")
    } else {
        format!("{path}{dot}{}", values::quoted(key))
    }
}
