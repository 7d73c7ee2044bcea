//! The `weir` program: hands over to the command line, and its answer to the system.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir::cli::main()
}
