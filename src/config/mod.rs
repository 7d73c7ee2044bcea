//! TOML text to a checked [`Config`].
//!
//! Here: what a configuration is and its defaults (`model.rs`), reading it with the line and the dotted
//! key of every fault, the checks between its parts, and what it may cost at worst. All faults come at
//! once, so that an operator mends a file in one go; only a fault in the TOML itself stops at the first,
//! since nothing after it can be trusted. A walker over the spanned tree does this, not serde's derive:
//! serde stops at the first fault and does not say on which line. Pure: the text comes in as an argument.
//! Files that the text names come in by a reader that is an argument too. Not here: reading the file, and
//! whether this host has the cores and ports that it names (`control`).
//!
//! Used by `cli` (`weir check`, `weir run`); every other room reads the [`Config`].

mod address;
mod budget;
mod cores;
mod error_pages;
mod failure;
mod fault;
mod health;
mod listener;
mod model;
mod network;
mod pool;
mod read;
mod records;
mod reference;
mod section;
mod template;
mod tls;
mod values;

#[cfg(test)]
mod tests;

pub use budget::{
    HTTP2_EXCHANGE_BYTES, http2_connection_bytes, kept_max_bytes, worst_case_connections,
    worst_case_memory_bytes,
};
pub use cores::{CoresRefused, expand};
pub use error_pages::{OWN_STATUSES, PAGE_BYTES_MAX};
pub use fault::{Fault, Faults};
pub use model::*;
pub use network::{Network, TrustedProxies};
pub use reference::nearest;
pub use template::{Piece, Template, Variable};

use crate::time::Micros;
use fault::Report;
use std::ops::RangeInclusive;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// A configuration that can be run, and what its author should know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// What the text says, defaults filled in.
    pub config: Config,
    /// What is allowed but is probably not meant, in line order.
    pub warnings: Vec<Fault>,
}

/// Reads a file that a configuration names: so many bytes of it at most, and one more if it has more. What is
/// wrong with it, if it cannot.
pub type ReadFile<'a> = &'a dyn Fn(&Path, usize) -> Result<Vec<u8>, String>;

/// [`parse_with`] of a text that names no file whose contents matter, since none can be read.
///
/// # Errors
/// As there.
pub fn parse(text: &str, file: &str) -> Result<Checked, Faults> {
    parse_with(text, file, &|_, _| Err("no files are read here".to_owned()))
}

/// Reads and checks a configuration; `file` is what faults call the text. `read` reads what it names.
///
/// # Errors
/// Every fault of the text and of what it names in line order, or its first fault in TOML's own syntax.
pub fn parse_with(text: &str, file: &str, read: ReadFile<'_>) -> Result<Checked, Faults> {
    let report = Report::new(text, file, read);
    let (root, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        return Err(report.syntax(&syntax));
    }
    let config = read::config(&report, root.get_ref());
    let (faults, warnings) = report.finish();
    if faults.0.is_empty() { Ok(Checked { config, warnings }) } else { Err(faults) }
}

/// A length of time within `range`, such as "250us" or "1.5s", for those who read one from elsewhere than a
/// file.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub fn length_of_time(text: &str, range: RangeInclusive<Micros>) -> Result<Micros, String> {
    let value = DeValue::String(text.into());
    values::length(&value, range).map_err(|wrong| format!("{}; {}", wrong.what, wrong.remedy))
}
