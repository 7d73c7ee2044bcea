//! `weir bench`: an open-loop load generator that does not let a slow target decide when it is asked.
//!
//! Here: the arguments, the order of rounds, where the result goes, the exit code.
//!
//! | file | what |
//! |---|---|
//! | `plan` | from the arguments to what is to be done |
//! | `schedule` | when each request is due |
//! | `queue` | free connections, and requests that wait for one |
//! | `link`, `lane` | a connection; what happens on it from request to request |
//! | `worker` | a thread of connections |
//! | `round` | all threads against one target, once |
//! | `tally` | what was counted |
//! | `progress` | what is said meanwhile |
//! | `report`, `compare`, `json` | the result; two targets' difference |
//! | `svg`, `hgrm` | the files |
//!
//! The HTTP is hyper's and the sockets are tokio's, nothing is of weir's own data path: what measures weir
//! must not share its errors.

mod compare;
mod hgrm;
mod json;
mod lane;
mod link;
mod plan;
mod progress;
mod queue;
mod report;
mod round;
mod schedule;
mod svg;
mod tally;
mod worker;

use super::{FAILED, WRONG, say, tell};
use crate::sys;
use crate::time::Micros;
use clap::Args;
use hyper::Method;
use plan::{Field, Plan, Target};
use progress::Progress;
use round::{Interrupts, Round, merged};
use schedule::{Arrivals, Load};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{fs, io};
use tokio::runtime::Builder;

pub(super) const HELP: &str = "\
Measure a target's latency under a load that does not wait for it.

Requests become due at --rate whatever the target does, and the latency of each counts from when it was due (FROM DUE), not from when a connection was free to send it (FROM SENT). Most generators only know the latter: while the target stalls they send nothing, and so hardly notice that it stalled (\"coordinated omission\"). The two columns side by side show how much that would have hidden.

  weir bench --target http://127.0.0.1:8080/ --rate 2k --duration 30s
  weir bench --target http://127.0.0.1:8080/ --rate 500 --out results
  weir bench --target http://a:8080/ --against http://b:8080/ --rate 1k

GENERATOR LATE is by how much this program itself was late: a request was due, a connection free, and still it was not sent. If that is a good part of what was measured, a note says that the figures show the generator's limits and not the target's. It is best run on a host of its own; on the target's host it takes cores from it.

With --against the two targets take turns in --rounds rounds of --duration / --rounds each: A B B A A B and so on, so that what disturbs the machine for a while disturbs both. Ratios are of the medians over the rounds, and a difference is only called one if every round agrees.

Errors by kind: connect, timeout, reset, closed (no answer), cut (half an answer), not_http, unanswered (when the run ended). Requests that were given up count in the latencies with the time they waited; those that failed at once do not count there.

With --out DIR it writes latency.svg, a picture of the percentiles, and .hgrm files (values in ms) for HdrHistogram's plotters: a.hgrm from due, a-sent.hgrm from sent; with --against b.hgrm too, and each round's as a-1.hgrm and so on.

Ctrl-C ends it early with the result so far; a second one does not wait for answers that are under way. Progress goes to stderr, the result to stdout.

Exit codes: 0 every request was answered with a status below 400, 1 some were not, or the target is not there, 2 the arguments are wrong.";

/// The arguments of `weir bench`.
#[derive(Args)]
pub(super) struct Arguments {
    /// What to measure, over HTTP/1.1 without TLS: http://HOST[:PORT][/PATH]
    #[arg(long, value_name = "URL", value_parser = plan::target)]
    target: Target,
    /// Requests per second: 500, 2000/s, 10k
    #[arg(long, value_parser = plan::rate)]
    rate: f64,
    /// How long to measure: 30s, 5m
    #[arg(long, value_name = "LENGTH", default_value = "10s", value_parser = plan::duration)]
    duration: Micros,
    /// How long to make load before that, without measuring
    #[arg(long, value_name = "LENGTH", default_value = "1s", value_parser = plan::warmup)]
    warmup: Micros,
    /// A second target to compare with, in turns
    #[arg(long, value_name = "URL", value_parser = plan::target)]
    against: Option<Target>,
    /// How many rounds of each target, with --against
    #[arg(long, value_name = "N", default_value_t = 6, requires = "against",
          value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Connections to the target, kept open; a request that finds all busy waits for one
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Threads that make the load [default: one for each 20,000 requests/s, at most one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    threads: Option<u8>,
    /// How requests are spaced
    #[arg(long, value_enum, default_value_t = Arrivals::Even)]
    arrivals: Arrivals,
    /// With --arrivals poisson: the same number gives the same arrivals
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long an answer may take once its request was sent; and how long answers are awaited at the end
    #[arg(long, value_name = "LENGTH", default_value = "10s", value_parser = plan::patience)]
    timeout: Micros,
    /// The method [default: GET, or POST with --body]
    #[arg(long, value_parser = plan::method)]
    method: Option<Method>,
    /// A field to send, 'Name: value'; may be repeated
    #[arg(long = "header", value_name = "FIELD", value_parser = plan::field)]
    headers: Vec<Field>,
    /// A file to send as the body; - is stdin
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// A folder for latency.svg and the .hgrm files; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The rounds of both targets; of B none, if there is only one target.
struct Measured {
    a: Vec<Round>,
    b: Vec<Round>,
    interrupted: bool,
}

/// Does what was asked for; the exit code.
pub(super) fn bench(arguments: &Arguments) -> u8 {
    let plan = match Plan::new(arguments) {
        Ok(plan) => plan,
        Err(wrong) => {
            tell(wrong);
            return WRONG;
        }
    };
    if let Some(out) = &plan.out
        && let Err(error) = fs::create_dir_all(out)
    {
        tell(format_args!("--out {}: {error}; name a folder that can be written", out.display()));
        return WRONG;
    }
    // Whatever the limit is: if it is too low, a connection will say so.
    let _ = sys::limits::raise_descriptors();
    match measure(&plan) {
        Ok(measured) => conclude(&plan, &measured),
        Err(refused) => {
            tell(refused);
            FAILED
        }
    }
}

/// Shows the result, and writes its files; the exit code.
fn conclude(plan: &Plan, measured: &Measured) -> u8 {
    let Measured { a, b, interrupted } = measured;
    let (whole_a, whole_b) = (merged(a), merged(b));
    if plan.json {
        say(format_args!("{:#}", json::json(plan, a, b, *interrupted)));
    } else if plan.against.is_some() {
        say(report::two(plan, a, b).trim_end());
    } else {
        say(report::one(plan, &whole_a).trim_end());
    }
    if *interrupted {
        tell("it was ended early: these are the figures so far");
    }
    if let Some(out) = &plan.out
        && let Err((file, error)) = write(plan, out, measured)
    {
        tell(format_args!("{}: {error}", file.display()));
        return FAILED;
    }
    if whole_a.tally.all_well() && whole_b.tally.all_well() { 0 } else { FAILED }
}

fn measure(plan: &Plan) -> Result<Measured, String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no descriptors are left: {error}; raise ulimit -n"))?;
    let a = (&plan.target, round::find(&plan.target, plan.timeout)?);
    let b = match &plan.against {
        Some(target) => Some((target, round::find(target, plan.timeout)?)),
        None => None,
    };
    runtime.block_on(async {
        let interrupts = Interrupts::new().map_err(|error| format!("signals cannot be awaited: {error}"))?;
        rounds(plan, a, b, interrupts).await
    })
}

/// A B B A A B …: neither comes first more often, and each round of A has one of B right beside it.
async fn rounds(
    plan: &Plan,
    a: (&Target, SocketAddr),
    b: Option<(&Target, SocketAddr)>,
    mut interrupts: Interrupts,
) -> Result<Measured, String> {
    let mut measured = Measured { a: Vec::new(), b: Vec::new(), interrupted: false };
    for number in 0..plan.rounds {
        // Both of a pair get the same arrivals, each pair gets others.
        let load = Load { seed: plan.load.seed.wrapping_add(number.into()), ..plan.load };
        let order: &[(&str, (&Target, SocketAddr))] = match b {
            None => &[("", a)],
            Some(b) if number % 2 == 0 => &[("A", a), ("B", b)],
            Some(b) => &[("B", b), ("A", a)],
        };
        for (name, to) in order {
            if interrupts.came {
                break;
            }
            let label = match *name {
                "" => String::new(),
                name => format!("round {}/{} {name}", number + 1, plan.rounds),
            };
            let mut progress = Progress::new(label, plan.warmup, load.length);
            let round = round::run(plan, &load, *to, &mut interrupts, &mut progress).await;
            let round = round.map_err(|trouble| format!("{}: {trouble}", to.0.url))?;
            if *name == "B" { measured.b.push(round) } else { measured.a.push(round) }
        }
    }
    measured.interrupted = interrupts.came;
    Ok(measured)
}

/// Writes the picture and the distributions.
fn write(plan: &Plan, out: &Path, measured: &Measured) -> Result<(), (PathBuf, io::Error)> {
    let put = |name: String, text: String| {
        let file = out.join(name);
        fs::write(&file, text).map_err(|error| (file, error))
    };
    let (a, b) = (merged(&measured.a).tally, merged(&measured.b).tally);
    put("a.hgrm".into(), hgrm::hgrm(&a.corrected))?;
    put("a-sent.hgrm".into(), hgrm::hgrm(&a.service))?;
    let title = format!("Latency at {} requests/s", report::rate(plan.load.rate));
    let Some(against) = &plan.against else {
        let lines = [("from due (corrected)", &a.corrected), ("from sent", &a.service)];
        return put("latency.svg".into(), svg::svg(&title, &plan.target.url, &lines));
    };
    put("b.hgrm".into(), hgrm::hgrm(&b.corrected))?;
    put("b-sent.hgrm".into(), hgrm::hgrm(&b.service))?;
    for (name, rounds) in [("a", &measured.a), ("b", &measured.b)] {
        for (number, round) in (1..).zip(rounds) {
            put(format!("{name}-{number}.hgrm"), hgrm::hgrm(&round.tally.corrected))?;
        }
    }
    let (first, second) = (format!("A: {}", plan.target.url), format!("B: {}", against.url));
    let lines = [(first.as_str(), &a.corrected), (second.as_str(), &b.corrected)];
    put("latency.svg".into(), svg::svg(&title, "counted from when each request was due", &lines))
}
