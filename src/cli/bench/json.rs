//! The result as programs read it. Latencies are in µs.
//!
//! Not here: the same for people (`report`). Pure.

use super::compare::{Compared, Verdict, compare, doubts};
use super::plan::{Plan, Target};
use super::report::{QUANTILES, notes};
use super::round::{Round, merged};
use super::schedule::Arrivals;
use super::tally::Failure;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// One object: the load, the targets, and how they compare if there are two.
pub(super) fn json(plan: &Plan, a: &[Round], b: &[Round], interrupted: bool) -> Value {
    let mut targets = vec![target(plan, "", &plan.target, a)];
    let mut page = json!({
        "rate": plan.load.rate,
        "arrivals": match plan.load.arrivals { Arrivals::Even => "even", Arrivals::Poisson => "poisson" },
        "seed": plan.load.seed,
        "duration_seconds": seconds(plan.duration.as_us()),
        "warmup_seconds": seconds(plan.warmup.as_us()),
        "connections": plan.connections,
        "threads": plan.threads,
        "interrupted": interrupted,
    });
    if let Some(against) = &plan.against {
        targets = vec![target(plan, "A", &plan.target, a), target(plan, "B", against, b)];
        page["comparison"] = compare(a, b).iter().map(compared).collect();
        page["doubts"] = json!(doubts(a, b));
    }
    page["targets"] = Value::Array(targets);
    page
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn target(plan: &Plan, name: &str, target: &Target, rounds: &[Round]) -> Value {
    let whole = merged(rounds);
    let mut page = figures(&whole);
    page["url"] = json!(target.url);
    page["notes"] = json!(notes(plan, name, &whole));
    if plan.against.is_some() {
        page["rounds"] = rounds.iter().map(figures).collect();
    }
    page
}

fn figures(round: &Round) -> Value {
    let tally = &round.tally;
    let classes = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(tally.answered);
    let status: Map<String, Value> = classes.map(|(class, count)| (class.to_owned(), json!(count))).collect();
    let errors: Map<String, Value> = Failure::ALL
        .iter()
        .map(|failure| (failure.word().to_owned(), json!(tally.failed(*failure))))
        .collect();
    json!({
        "requests": tally.requests(),
        "answers": tally.answers(),
        "status": status,
        "errors": errors,
        "answers_per_second": round.answered_rate(),
        "seconds": seconds(round.took.as_us()),
        "body_bytes": tally.body_bytes,
        "queued": tally.queued,
        "generator_kept_up": !tally.is_generators_own(),
        "from_due_us": distribution(&tally.corrected),
        "from_sent_us": distribution(&tally.service),
        "generator_late_us": distribution(&tally.late),
    })
}

fn distribution(histogram: &Histogram<u64>) -> Value {
    let quantiles = QUANTILES
        .iter()
        .map(|(quantile, name)| (String::from(*name), json!(histogram.value_at_quantile(*quantile))));
    let rest = [
        ("min", json!(histogram.min())),
        ("max", json!(histogram.max())),
        ("mean", json!(histogram.mean())),
        ("stddev", json!(histogram.stdev())),
        ("count", json!(histogram.len())),
    ];
    Value::Object(quantiles.chain(rest.map(|(name, value)| (name.to_owned(), value))).collect())
}

fn compared(row: &Compared) -> Value {
    json!({
        "quantile": row.name,
        "a_us": row.a_us,
        "b_us": row.b_us,
        "ratio": row.ratio,
        "ratio_min": row.between.0,
        "ratio_max": row.between.1,
        "verdict": match row.verdict {
            Verdict::Slower => "slower",
            Verdict::Faster => "faster",
            Verdict::Unclear => "unclear",
        },
    })
}
