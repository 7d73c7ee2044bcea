//! `weir run`: a configuration file, balanced until a signal ends it.

use super::{FAILED, load, tell, warn};
use crate::serve::{self, Begin};
use std::path::Path;

/// Runs what `file` says; the exit code.
pub(super) fn run(file: &Path, begin: Begin) -> u8 {
    let checked = match load(file) {
        Ok(checked) => checked,
        Err(code) => return code,
    };
    warn(&checked.warnings);
    // Where it listens stands in its log already.
    serve::run(checked.config, begin, |_| {}).unwrap_or_else(|error| {
        tell(error);
        FAILED
    })
}
