//! TOML text to a checked [`Config`].
//!
//! Here: what a configuration is and its defaults (`model.rs`), reading it with the line and the dotted
//! key of every fault, the checks between its parts, and what it may cost at worst. All faults come at
//! once, so that an operator mends a file in one go; only a fault in the TOML itself stops at the first,
//! since nothing after it can be trusted. A walker over the spanned tree does this, not serde's derive:
//! serde stops at the first fault and does not say on which line. Pure: the text comes in as an argument.
//! Not here: reading the file, and whether this host has the cores and ports that it names (`control`).
//!
//! Used by `cli` (`weir check`, `weir run`); every other room reads the [`Config`].

mod address;
mod budget;
mod cores;
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
mod values;

#[cfg(test)]
mod tests;

pub use budget::{kept_max_bytes, worst_case_connections, worst_case_memory_bytes};
pub use cores::{CoresRefused, expand};
pub use fault::{Fault, Faults};
pub use model::*;
pub use network::{Network, TrustedProxies};
pub use reference::nearest;
pub use template::{Piece, Template, Variable};

use fault::Report;
use toml::de::DeTable;

/// A configuration that can be run, and what its author should know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// What the text says, defaults filled in.
    pub config: Config,
    /// What is allowed but is probably not meant, in line order.
    pub warnings: Vec<Fault>,
}

/// Reads and checks a configuration; `file` is what faults call the text.
///
/// # Errors
/// Every fault of the text in line order, or its first fault in TOML's own syntax.
pub fn parse(text: &str, file: &str) -> Result<Checked, Faults> {
    let report = Report::new(text, file);
    let (root, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        return Err(report.syntax(&syntax));
    }
    let config = read::config(&report, root.get_ref());
    let (faults, warnings) = report.finish();
    if faults.0.is_empty() { Ok(Checked { config, warnings }) } else { Err(faults) }
}
