//! What is wrong with a configuration, and where.
//!
//! Here: [`Fault`] and [`Faults`], which the operator sees, and the report that the readers of this room
//! fill: it knows the text, so it turns byte offsets into lines. Not here: what counts as a fault.
//!
//! A fault is text, not an enum: nothing but a reader's eyes ever reacts to one, and all get the same
//! reaction.

use super::ReadFile;
use super::model::Written;
use std::cell::RefCell;
use std::fmt;
use std::path::Path;
use toml::de::Error as SyntaxError;

/// One thing that is wrong, where, and what to write instead.
///
/// Prints as one line: `weir.toml:12: pool.app.backend[2].weight: 300 is more than 256; use 1 to 256`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, as [`parse`](super::parse) was given it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1; only for faults in TOML's syntax, where no key leads to the place.
    pub column: Option<usize>,
    /// The dotted path of the key, entries of lists counted from 0; empty for faults in TOML's syntax.
    pub key: String,
    /// What is wrong.
    pub wrong: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.wrong, self.remedy)
    }
}

/// Everything that is wrong with a configuration, in line order; prints one fault a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// A fault before anybody knows where: what is wrong, and the remedy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// Where something stands: a byte offset into the text and the dotted path of its key.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) offset: usize,
    pub(super) key: String,
}

/// The text being read, and the faults found in it so far.
///
/// The lists are in cells because sections are read while their parent section is still being read, and
/// each of them reports.
pub(super) struct Report<'a> {
    text: &'a str,
    file: &'a str,
    read: ReadFile<'a>,
    /// The offset at which each line begins, for a binary search.
    line_starts: Vec<usize>,
    /// With their offsets, by which they are sorted at the end.
    errors: RefCell<Vec<(usize, Fault)>>,
    warnings: RefCell<Vec<(usize, Fault)>>,
}

impl<'a> Report<'a> {
    pub(super) fn new(text: &'a str, file: &'a str, read: ReadFile<'a>) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self {
            text,
            file,
            read,
            line_starts: std::iter::once(0).chain(newlines.map(|(offset, _)| offset + 1)).collect(),
            errors: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// What is in a file that the text names; beyond `max` bytes one more and no others.
    pub(super) fn read_file(&self, path: &Path, max: usize) -> Result<Vec<u8>, String> {
        (self.read)(path, max)
    }

    /// Records what makes the configuration unusable.
    pub(super) fn error(&self, place: &Place, wrong: Wrong) {
        self.errors.borrow_mut().push((place.offset, self.fault(place, wrong)));
    }

    /// Records what is probably not meant.
    pub(super) fn warn(&self, place: &Place, wrong: Wrong) {
        self.warnings.borrow_mut().push((place.offset, self.fault(place, wrong)));
    }

    /// A place, for what is found wrong with it later.
    pub(super) fn written(&self, place: &Place) -> Written {
        Written { file: self.file.into(), line: self.line(place.offset), key: place.key.as_str().into() }
    }

    /// The line of an offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// The first of the faults that the TOML parser found. It goes on after a fault and may report what
    /// follows from the first one before that one, so the order is made here.
    pub(super) fn syntax(&self, errors: &[SyntaxError]) -> Faults {
        let offset_of = |error: &SyntaxError| error.span().map_or(0, |span| span.start);
        let first = errors.iter().min_by_key(|error| offset_of(error));
        Faults(first.map(|error| self.syntax_fault(error, offset_of(error))).into_iter().collect())
    }

    fn syntax_fault(&self, error: &SyntaxError, offset: usize) -> Fault {
        let what = error.message().lines().next().unwrap_or("not TOML").to_owned();
        let word: String = self
            .text
            .get(offset..)
            .unwrap_or("")
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || ".-_:/".contains(*c))
            .take(60)
            .collect();
        let remedy = if what.contains("duplicate key") {
            format!("\"{word}\" stands here for the second time: keep one")
        } else if what.contains("must be quoted") && !word.is_empty() {
            format!("write \"{word}\", with the quotes")
        } else {
            "correct the TOML from here on (see https://toml.io)".to_owned()
        };
        let line = self.line(offset);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(1, |before| before.chars().count() + 1);
        let place = Place { offset, key: String::new() };
        Fault { column: Some(column), ..self.fault(&place, Wrong::new(what, remedy)) }
    }

    fn fault(&self, place: &Place, wrong: Wrong) -> Fault {
        Fault {
            file: self.file.to_owned(),
            line: self.line(place.offset),
            column: None,
            key: place.key.clone(),
            wrong: wrong.what,
            remedy: wrong.remedy,
        }
    }

    /// All that was found, in the text's order: what makes it unusable, and the warnings.
    pub(super) fn finish(self) -> (Faults, Vec<Fault>) {
        let sorted = |mut found: Vec<(usize, Fault)>| {
            found.sort_by_key(|(offset, _)| *offset);
            found.into_iter().map(|(_, fault)| fault).collect()
        };
        (Faults(sorted(self.errors.into_inner())), sorted(self.warnings.into_inner()))
    }
}
