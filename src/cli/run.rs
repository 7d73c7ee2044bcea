//! `weir run`: a configuration file, balanced until a signal ends it.

use super::{FAILED, load_with_text, tell, warn};
use crate::control::ConfigFile;
use crate::serve::{self, Begin, Program};
use std::path::Path;

/// Runs what `file` says; the exit code.
pub(super) fn run(file: &Path, begin: Begin) -> u8 {
    let (checked, text) = match load_with_text(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    warn(&checked.warnings);
    let source = ConfigFile { path: file.to_owned(), hash: ConfigFile::hash(&text) };
    let program = Program { config: checked.config, source: Some(source), begin };
    // Where it listens stands in its log already.
    serve::run(program, |_| {}).unwrap_or_else(|error| {
        tell(error);
        FAILED
    })
}
