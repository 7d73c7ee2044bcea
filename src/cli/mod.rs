//! The command line: what can be asked of weir, its help texts, its exit codes.
//!
//! Here: the arguments, and reading the configuration file for the commands that have one. Not here:
//! what a configuration may say (`config`), and running one (`serve`). Called by `main.rs`; nothing
//! calls this room.
//!
//! What was asked for goes to stdout, what went wrong to stderr with "weir: " before each line, so that
//! a log in which several programs write shows whose it is.

mod bench;
mod check;
mod client;
mod ctl;
mod demo;
mod doctor;
mod explain;
mod records;
mod run;
mod seals;
mod table;
mod top;

use crate::config::{self, Checked, Fault};
use crate::serve::Begin;
use crate::sys;
use clap::{Parser, Subcommand};
use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;

/// The host refused: a taken port, no io_uring.
const FAILED: u8 = 1;
/// The arguments or the configuration are wrong, or something is missing; clap too exits with 2.
const WRONG: u8 = 2;
/// The admin surface cannot be reached.
const UNREACHABLE: u8 = 3;

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    format!("{} ({arch}-{os})", env!("CARGO_PKG_VERSION"))
});

/// A thread-per-core HTTP/1.1 load balancer on io_uring.
#[derive(Parser)]
#[command(name = "weir", version = VERSION.as_str(), about, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 all is well, 1 the host refused (a taken port, no io_uring), 2 the arguments or the \
configuration are wrong, `weir doctor` found something missing, or `weir explain` does not know the word, \
3 `weir ctl` or `weir top` found no weir to ask.

weir needs Linux 6.1 or newer (6.12.21 or newer is recommended) with io_uring allowed. Docker's default \
seccomp profile forbids io_uring: run with --security-opt seccomp=config/seccomp.json.";

#[derive(Subcommand)]
enum Command {
    #[command(about = "Balance traffic as FILE says, until SIGTERM or SIGINT", long_about = RUN_HELP)]
    Run {
        /// The configuration, in TOML; config/minimal.toml is a beginning
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Take the sockets and the state over from the weir that runs, which then leaves
        #[arg(long)]
        takeover: bool,
    },
    #[command(about = "Check FILE and show what it comes to; exits 0 or 2", long_about = CHECK_HELP)]
    Check {
        /// The configuration, in TOML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    #[command(about = "Look at this host: what is missing for weir, or slow; exits 0 or 2", long_about = doctor::HELP)]
    Doctor {
        /// The configuration to measure the host against
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    #[command(about = "Ask a running weir, or change what it serves", long_about = ctl::HELP)]
    Ctl(ctl::Ctl),
    #[command(about = "Show a running weir in this terminal, live", long_about = top::HELP)]
    Top(top::Top),
    #[command(about = "Explain a status, a cause or a state: what it means, and what to do", long_about = explain::HELP)]
    Explain {
        /// A status, a cause, a state, a metric's name; left out: all are listed
        #[arg(allow_hyphen_values = true)]
        word: Option<String>,
    },
    #[command(about = "Try weir: three small backends and a balancer in front of them", long_about = DEMO_HELP)]
    Demo,
    #[command(about = "Measure a target's latency under an open load; exits 0, 1 or 2", long_about = bench::HELP)]
    Bench(Box<bench::Arguments>),
}

// A paragraph is one line, which clap breaks to the terminal's width; tables keep within 80 columns.
const RUN_HELP: &str = "\
Balance traffic as FILE says, until SIGTERM or SIGINT.

On the first signal /readyz fails at once; weir goes on accepting for runtime.shutdown_delay (default \
0s) and then finishes what is in flight for at most runtime.grace (default 30s). A second signal ends it \
at once. The log goes to stderr, at log.level (default info).

With --takeover it gets the listening sockets and what is known of the backends from the weir that runs on one of FILE's addresses; that one then finishes what it has, for at most its runtime.grace, and leaves. No connection is refused or reset, also with other runtime.cores. If FILE is wrong or anything fails before the new one serves, the old one just goes on. The two meet at a socket under /run/weir, $XDG_RUNTIME_DIR/weir or /tmp/weir-UID, whichever this user may write.

In FILE, lengths of time are strings with a unit (\"250us\", \"500ms\", \"2s\", \"1m\", \"1h\"), sizes too \
(\"16KiB\", \"64MiB\"), and 0 means no limit. All keys but three have defaults: a listener's address, a \
route's pool, a backend's address. Those most asked for, with their defaults:

  runtime.cores = \"auto\"            or 2, or \"0-3,8\": one shard a core
  runtime.spin = \"0us\"              how long an idle shard looks for work
  runtime.max_connections = 65536   clients' connections, per shard
  admin.listen = [\"127.0.0.1:9900\"]
  pool.NAME.policy = \"least_conn\"   or round_robin, ip_hash, random_two
  pool.NAME.health                  no check without this section; with it:
    interval = \"2s\", timeout = \"1s\", rise = 2, fall = 3

The descriptor limit is raised to the hard limit at start (ulimit -Hn; LimitNOFILE= in systemd).";

const CHECK_HELP: &str = "\
Check FILE and show what it comes to: listeners, routes, pools, backends, cores, the memory and the \
connections to each backend that it may take at worst, and whether this kernel's io_uring is good.

Every fault is reported at once, with its file, line, key and remedy. Nothing is bound and no backend is \
asked, so a running weir is not disturbed. Exits 0 if FILE is right and its cores are there, else 2; the \
kernel does not count, so that a file can be checked on a host that will not run it.";

const DEMO_HELP: &str = "\
Try weir: starts three small backends on loopback (ports 9101 to 9103), each answering with its name, \
and the balancer in front of them (port 8080, admin 9900), checking their health every 500ms. Prints a \
curl line to try, and how to kill and revive a backend. A port that is taken is replaced by a free one. \
Ctrl-C ends it all.";

/// Parses the process's arguments and does what they ask.
pub fn main() -> ExitCode {
    ExitCode::from(match Arguments::parse().command {
        Command::Run { config, takeover } => {
            run::run(&config, if takeover { Begin::Takeover } else { Begin::Afresh })
        }
        Command::Check { config } => check::check(&config),
        Command::Doctor { config, json } => doctor::doctor(config.as_deref(), json),
        Command::Ctl(ctl) => ctl::ctl(&ctl),
        Command::Top(top) => top::top(top),
        Command::Explain { word } => explain::explain(word.as_deref()),
        Command::Demo => demo::demo(),
        Command::Bench(arguments) => bench::bench(&arguments),
    })
}

/// Reads and checks a configuration file; warnings come with it, untold.
///
/// # Errors
/// The exit code, when what is wrong has been told to stderr.
fn load(file: &Path) -> Result<Checked, u8> {
    load_with_text(file).map(|(checked, _)| checked)
}

/// As [`load`], with the text.
fn load_with_text(file: &Path) -> Result<(Checked, String), u8> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|error| {
        tell(format_args!("{name}: cannot be read: {error}; name a readable file with --config"));
        WRONG
    })?;
    let read = |path: &Path, max| sys::file::read(path, max).map_err(|error| error.to_string());
    let checked = config::parse_with(&text, &name, &read).map_err(|faults| {
        tell(faults);
        WRONG
    })?;
    Ok((checked, text))
}

/// Writes a line to stdout. Whoever stopped reading (`weir check … | head`) does not want the rest, and
/// `println!` would panic over it.
fn say(what: impl Display) {
    let _ = writeln!(io::stdout(), "{what}");
}

/// Writes to stderr, every line with "weir: " before it.
fn tell(what: impl Display) {
    for line in what.to_string().lines() {
        eprintln!("weir: {line}");
    }
}

fn warn(warnings: &[Fault]) {
    for warning in warnings {
        tell(format_args!("warning: {warning}"));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent_and_every_command_has_a_help_text() {
        Arguments::command().debug_assert();
        for command in Arguments::command().get_subcommands() {
            assert!(command.get_long_about().is_some(), "{}", command.get_name());
        }
    }

    #[test]
    fn a_command_that_needs_a_file_says_so() {
        for arguments in [&["weir"][..], &["weir", "run"], &["weir", "check"], &["weir", "stop"]] {
            assert_eq!(Arguments::try_parse_from(arguments).err().unwrap().exit_code(), 2, "{arguments:?}");
        }
        assert!(Arguments::try_parse_from(["weir", "check", "--config", "weir.toml"]).is_ok());
    }

    #[test]
    fn the_version_names_the_target() {
        assert!(Arguments::command().render_version().contains(std::env::consts::ARCH));
    }

    #[test]
    fn a_file_that_is_not_there_is_wrong_not_failed() {
        assert_eq!(load(Path::new("/nonexistent/weir.toml")).unwrap_err(), WRONG);
    }
}
