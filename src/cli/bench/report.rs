//! The result as people read it: what was asked, what came back, the percentiles, and what to make of them.
//!
//! Not here: the same as JSON (`json`), whether a difference is one (`compare`). Pure.

use super::compare::{Compared, Verdict, compare, doubts, is_known};
use super::plan::Plan;
use super::round::{Round, merged};
use super::tally::{Failure, Tally};
use crate::cli::table::{Paint, count, length, numbers, percent, size, table, words};
use hdrhistogram::Histogram;
use std::fmt::Write;

/// Percentiles of the table, and their names.
pub(super) const QUANTILES: [(f64, &str); 8] = [
    (0.5, "p50"),
    (0.75, "p75"),
    (0.9, "p90"),
    (0.95, "p95"),
    (0.99, "p99"),
    (0.999, "p99.9"),
    (0.9999, "p99.99"),
    (0.99999, "p99.999"),
];

/// The load in words: "2,000 requests/s, evenly spaced, for 10s after 1s of warm-up; 64 connections, 1 thread".
pub(super) fn load(plan: &Plan) -> String {
    let plural =
        |n: usize, what: &str| format!("{} {what}{}", count(n as u64), if n == 1 { "" } else { "s" });
    let rounds = match plan.rounds {
        1 => format!("for {}", plan.duration),
        rounds => format!("for {} in {rounds} rounds", plan.duration),
    };
    let warmup =
        if plan.warmup.is_zero() { String::new() } else { format!(" after {} of warm-up", plan.warmup) };
    let each = if plan.rounds > 1 && !plan.warmup.is_zero() { " each" } else { "" };
    format!(
        "{} requests/s, {}, {rounds}{warmup}{each}; {}, {}",
        rate(plan.load.rate),
        plan.load.arrivals,
        plural(plan.connections, "connection"),
        plural(plan.threads, "thread"),
    )
}

/// A rate without needless digits: "2,000", "0.5".
pub(super) fn rate(rate: f64) -> String {
    if rate >= 100.0 || rate.fract() == 0.0 { count(rate.round() as u64) } else { format!("{rate:.2}") }
}

/// The result of one target.
pub(super) fn one(plan: &Plan, round: &Round) -> String {
    let mut text = format!("Target    {}\nLoad      {}\n", plan.target.url, load(plan));
    text.push_str(&outcome(round));
    text.push('\n');
    text.push_str(&percentiles(&round.tally));
    text.push_str(&noted(&notes(plan, "", round)));
    text
}

/// The result of two targets, whose rounds took turns.
pub(super) fn two(plan: &Plan, a: &[Round], b: &[Round]) -> String {
    let mut text = format!("Load      {}\n", load(plan));
    let mut remarks = Vec::new();
    let against = plan.against.as_ref().unwrap_or(&plan.target);
    for (name, target, rounds) in [("A", &plan.target, a), ("B", against, b)] {
        let whole = merged(rounds);
        // Into a String: cannot fail.
        let _ = write!(text, "\n{name}         {}\n{}", target.url, outcome(&whole));
        remarks.extend(notes(plan, name, &whole));
    }
    text.push('\n');
    text.push_str(&comparison(&compare(a, b)));
    text.push_str(
        "\nFrom due, the median over the rounds; B/A of rounds side by side, the least and the greatest.\n",
    );
    remarks.extend(doubts(a, b));
    text.push_str(&noted(&remarks));
    text
}

fn comparison(rows: &[Compared]) -> String {
    let columns =
        [words("LATENCY"), numbers("A"), numbers("B"), numbers("B/A"), numbers("OF ROUNDS"), words("")];
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.name.to_owned(),
                length(row.a_us),
                length(row.b_us),
                format!("{:.2}", row.ratio),
                format!("{:.2} to {:.2}", row.between.0, row.between.1),
                row.verdict.words().to_owned(),
            ]
        })
        .collect();
    let told = rows.iter().any(|row| row[5] != Verdict::Unclear.words());
    let mut text = table(&columns, &rows, Paint::Plain);
    if !told && !rows.is_empty() {
        text.push_str("\nNo difference can be told from these rounds.\n");
    }
    text
}

/// Answers, errors and rates.
fn outcome(round: &Round) -> String {
    let tally = &round.tally;
    let classes: Vec<String> = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"]
        .into_iter()
        .zip(tally.answered)
        .filter(|(_, answers)| *answers > 0)
        .map(|(class, answers)| format!("{class} {}", count(answers)))
        .collect();
    let classes = if classes.is_empty() { String::new() } else { format!(": {}", classes.join(", ")) };
    let errors = if tally.errors() == 0 { "none".to_owned() } else { count(tally.errors()) };
    let mut text = format!(
        "Answers   {} of {} requests{classes}\nErrors    {errors}\n",
        count(tally.answers()),
        count(tally.requests()),
    );
    for failure in Failure::ALL.into_iter().filter(|failure| tally.failed(*failure) > 0) {
        let cause = tally.cause(failure).map(|cause| format!(" (first: {cause})")).unwrap_or_default();
        let (word, sentence) = (failure.word(), failure.sentence());
        let _ = writeln!(text, "          {word} {}: {sentence}{cause}", count(tally.failed(failure)));
    }
    let per_second = tally.body_bytes as f64 * 1e6 / round.took.as_us().max(1) as f64;
    let _ = writeln!(
        text,
        "Rate      {} answers/s, {}/s of bodies",
        rate(round.answered_rate()),
        size(per_second as u64)
    );
    text
}

fn percentiles(tally: &Tally) -> String {
    let measured = [&tally.corrected, &tally.service, &tally.late];
    let cell = |histogram: &Histogram<u64>, us: u64| {
        if histogram.is_empty() { "-".to_owned() } else { length(us) }
    };
    let row = |name: &str, of: &dyn Fn(&Histogram<u64>) -> u64| -> Vec<String> {
        let cells = measured.iter().map(|histogram| cell(histogram, of(histogram)));
        std::iter::once(name.to_owned()).chain(cells).collect()
    };
    let mut rows: Vec<Vec<String>> = QUANTILES
        .into_iter()
        .filter(|(quantile, _)| is_known(tally.corrected.len(), *quantile))
        .map(|(quantile, name)| row(name, &|histogram| histogram.value_at_quantile(quantile)))
        .collect();
    rows.push(row("max", &Histogram::max));
    rows.push(row("mean", &|histogram| histogram.mean().round() as u64));
    let columns = [words("LATENCY"), numbers("FROM DUE"), numbers("FROM SENT"), numbers("GENERATOR LATE")];
    table(&columns, &rows, Paint::Plain)
}

/// What should be known of a target's figures before they are believed; `name` if there are two targets.
pub(super) fn notes(plan: &Plan, name: &str, round: &Round) -> Vec<String> {
    let tally = &round.tally;
    let of = if name.is_empty() { String::new() } else { format!("{name}: ") };
    let mut notes = Vec::new();
    if tally.requests() == 0 {
        notes.push(format!("{of}nothing was measured: it ended before the first request that counts."));
        return notes;
    }
    if tally.is_generators_own() {
        notes.push(format!(
            "{of}the generator could not keep up: one request in a hundred was sent {} late though a connection was \
             free (GENERATOR LATE). These figures show the limits of the generator, or of its busy host, and not \
             the target's. Lower --rate, raise --threads, or give it a host of its own.",
            length(tally.late.value_at_quantile(0.99))
        ));
    }
    if !tally.all_well() {
        let refused = tally.requests() - tally.errors() - tally.answered[1..=3].iter().sum::<u64>();
        notes.push(format!(
            "{of}this run had errors: {} without a whole answer, {} answered with a status from 400 up. What \
             failed at once is not in the latencies; what was given up is, with the time it waited.",
            count(tally.errors()),
            count(refused)
        ));
    }
    let queued = tally.queued as f64 / tally.requests() as f64;
    if queued >= 0.01 {
        notes.push(format!(
            "{of}{} of the requests found all {} connections busy and waited, which FROM DUE counts and FROM SENT \
             does not. The target stalls, or is slower than the rate, or --connections is too low.",
            percent(queued),
            count(plan.connections as u64)
        ));
    }
    notes
}

/// Notes in paragraphs that a terminal need not break.
fn noted(notes: &[String]) -> String {
    const WIDTH: usize = 80;
    let mut text = String::new();
    for note in notes {
        text.push_str("\nNote:");
        let mut column = "Note:".len();
        for word in note.split(' ') {
            let letters = word.chars().count();
            if column + 1 + letters > WIDTH {
                text.push_str("\n     ");
                column = "     ".len();
            }
            text.push(' ');
            text.push_str(word);
            column += 1 + letters;
        }
        text.push('\n');
    }
    text
}
