//! `weir ctl`: asks a running weir, over its admin surface, and shows what it answers.
//!
//! Here: the arguments, which request each becomes, the exit code. Not here: the request itself (`client`, one
//! floor up) and how answers look (`show`, `table`). Whatever this can do, curl can do too: the surface is the one
//! place where changes are decided.

mod show;

pub(super) use show::{changed, refused};

use super::client::{Answer, Asked, Reach, Unreachable, Where, ask};
use super::table::Paint;
use super::{FAILED, UNREACHABLE, WRONG, tell};
use crate::admin::{backend_path, backends_path};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};
use std::io::{self, Write};

pub(super) const HELP: &str = "\
Ask a running weir what it does and change what it serves, through its admin surface.

A change is answered once the last shard acts on it. It holds until the configuration of that backend \
changes, or weir is started again (unless runtime.state_file keeps it). --dry-run says what a change would \
come to, such as the share of clients that would go elsewhere under ip_hash, and does nothing.

Exit codes: 0 it is done, 1 weir refused or could not, 2 the arguments are wrong or, for reload, the \
configuration file is; its faults are listed and nothing was changed, 3 weir's admin surface cannot be \
reached.";

/// The arguments of `weir ctl`.
#[derive(Args)]
pub(super) struct Ctl {
    #[command(flatten)]
    reach: Reach,
    /// Print the answer as it came, in JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// A backend, by its pool and its name.
#[derive(Args)]
struct Named {
    /// The pool's name
    pool: String,
    /// The backend's name; by default its address
    name: String,
}

/// Whether a change is made.
#[derive(Args, Clone, Copy)]
struct Trial {
    /// Say what it would come to, and do nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Show every backend: state, since when, weight, in-flight, latency, why
    Backends,
    /// Add a backend to a pool; if the pool is checked, it gets traffic once it has passed
    Add {
        /// The pool's name
        pool: String,
        /// Where it is: 10.0.0.11:8080 or unix:/run/app.sock
        #[arg(value_name = "BACKEND")]
        address: String,
        /// Its share beside the others, 1 to 256
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
        weight: Option<u16>,
        /// Its name in logs and metrics; by default its address
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        trial: Trial,
    },
    /// Remove a backend: nothing new goes there, and what it has is finished
    Remove {
        #[command(flatten)]
        backend: Named,
        #[command(flatten)]
        trial: Trial,
    },
    /// Send a backend nothing new; it stays listed and is checked on
    Drain {
        #[command(flatten)]
        backend: Named,
        /// Come back once nothing is in flight there any more, however long that takes
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        trial: Trial,
    },
    /// Send a backend traffic again, as its check says
    Ready {
        #[command(flatten)]
        backend: Named,
        #[command(flatten)]
        trial: Trial,
    },
    /// Send a backend nothing new and do not check it
    Maintenance {
        #[command(flatten)]
        backend: Named,
        #[command(flatten)]
        trial: Trial,
    },
    /// Give a backend another weight
    Weight {
        #[command(flatten)]
        backend: Named,
        /// Its share beside the others, 1 to 256
        #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
        weight: u16,
        #[command(flatten)]
        trial: Trial,
    },
    /// Load the configuration file again; a faulty one changes nothing and exits with 2
    Reload,
    /// Open the access log's file again, after it was moved away; back once nothing goes to the old one
    ReopenLogs,
    /// Show every shard: connections, in-flight, heartbeat, stalls
    Shards,
    /// Show what happened since weir began: requests, failures, retries, refusals, latency
    Stats,
}

/// How an answer is shown.
#[derive(Clone, Copy)]
enum Show {
    Backends,
    Shards,
    Stats,
    Changed,
    Reloaded,
    Reopened,
}

/// Does what was asked for; the exit code.
pub(super) fn ctl(ctl: &Ctl) -> u8 {
    let (asked, show) = asked(&ctl.command);
    let token = match ctl.reach.token() {
        Ok(token) => token,
        Err(code) => return code,
    };
    match answered(&ctl.reach.admin, token.as_deref(), &asked) {
        Ok(answer) if answer.status < 400 => {
            if ctl.json {
                print(&answer.text);
            } else {
                print(&shown(show, &answer.page));
            }
            if answer.page["drained"] == false {
                tell("it is not draining any more: somebody has changed it meanwhile");
                return FAILED;
            }
            0
        }
        Ok(answer) => {
            if ctl.json {
                print(&answer.text);
            }
            refusal(&answer)
        }
        Err(unreachable) => {
            tell(unreachable);
            UNREACHABLE
        }
    }
}

/// Asks, and goes on asking while a backend is to be waited for and is still out. If somebody has made it
/// ready meanwhile it is not taken out again.
fn answered(admin: &Where, token: Option<&str>, asked: &Asked) -> Result<Answer, Unreachable> {
    loop {
        let answer = ask(admin, token, asked)?;
        let backend = &answer.page["backend"];
        let out = backend.is_null() || backend["state"] == "draining";
        if answer.page["drained"] != false || !out {
            return Ok(answer);
        }
        let left = backend["in_flight"].as_u64().unwrap_or(0);
        tell(format_args!("in flight there: {left}; waiting on"));
    }
}

fn refusal(answer: &Answer) -> u8 {
    tell(refused(&answer.page));
    if answer.page["code"] == "wrong_file" { WRONG } else { FAILED }
}

fn shown(show: Show, page: &Value) -> String {
    let paint = Paint::of_terminal();
    match show {
        Show::Backends => show::backends(page, paint),
        Show::Shards => show::shards(page, paint),
        Show::Stats => show::stats(page, paint),
        Show::Changed => changed(page),
        Show::Reloaded => show::reloaded(page),
        Show::Reopened => show::reopened(page),
    }
}

/// Whoever stopped reading (`weir ctl backends | head`) does not want the rest.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// The request that a command becomes, and how its answer is shown.
fn asked(command: &Command) -> (Asked, Show) {
    let page = |path: &str, show| (Asked { method: Method::GET, path: path.to_owned(), body: None }, show);
    match command {
        Command::Backends => page("/backends", Show::Backends),
        Command::Shards => page("/shards", Show::Shards),
        Command::Stats => page("/stats", Show::Stats),
        Command::Reload => {
            let asked = Asked { method: Method::POST, path: "/reload".to_owned(), body: None };
            (asked, Show::Reloaded)
        }
        Command::ReopenLogs => {
            let asked = Asked { method: Method::POST, path: "/reopen-logs".to_owned(), body: None };
            (asked, Show::Reopened)
        }
        Command::Add { pool, address, weight, name, trial } => {
            let mut body = json!({ "address": address });
            if let Some(weight) = weight {
                body["weight"] = (*weight).into();
            }
            if let Some(name) = name {
                body["name"] = name.as_str().into();
            }
            change(Method::POST, backends_path(pool), Some(body), &[("dry_run", trial.dry_run)])
        }
        Command::Remove { backend, trial } => {
            change(Method::DELETE, backend.path(""), None, &[("dry_run", trial.dry_run)])
        }
        Command::Drain { backend, wait, trial } => {
            let query = [("wait", *wait), ("dry_run", trial.dry_run)];
            change(Method::POST, backend.path("/drain"), None, &query)
        }
        Command::Ready { backend, trial } => {
            change(Method::POST, backend.path("/ready"), None, &[("dry_run", trial.dry_run)])
        }
        Command::Maintenance { backend, trial } => {
            change(Method::POST, backend.path("/maintenance"), None, &[("dry_run", trial.dry_run)])
        }
        Command::Weight { backend, weight, trial } => {
            let body = json!({ "weight": weight });
            change(Method::PUT, backend.path("/weight"), Some(body), &[("dry_run", trial.dry_run)])
        }
    }
}

impl Named {
    fn path(&self, verb: &str) -> String {
        backend_path(&self.pool, &self.name) + verb
    }
}

fn change(method: Method, path: String, body: Option<Value>, query: &[(&str, bool)]) -> (Asked, Show) {
    let set: Vec<String> =
        query.iter().filter(|(_, set)| *set).map(|(name, _)| format!("{name}=true")).collect();
    let path = if set.is_empty() { path } else { format!("{path}?{}", set.join("&")) };
    (Asked { method, path, body }, Show::Changed)
}
