//! What may become of a request.
//!
//! Each ends rightly, but those that the test excuses by a rule: a POST that may have run is not sent again,
//! what broke off in the middle of an answer too large to be held cannot be taken back. No POST runs twice,
//! one that was answered rightly ran once, and what weir refused or passed on stands in its counters.

use crate::harness::{End, Ended, Ledger, Record, Weir};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Asserts that all ended rightly.
pub(crate) fn nothing_noticed(what: &str, ended: &Ended, ledger: &Ledger) {
    excusing(what, ended, ledger, |_| false);
}

/// Asserts that all ended rightly but those that are excused; says how many these were.
pub(crate) fn excusing(
    what: &str,
    ended: &Ended,
    ledger: &Ledger,
    excused: impl Fn(&Record) -> bool,
) -> usize {
    println!(
        "{what}: {:?}; p50 {:?}, p99 {:?}, longest {:?}",
        ended.words(),
        ended.latency(0.5),
        ended.latency(0.99),
        ended.latency(1.0)
    );
    let wrong = ended.only(|record| record.end != End::Right && !excused(record));
    let first = ended.records.first().map(|record| record.due);
    let shown = |record: &Record| {
        let at = record.due.saturating_duration_since(first.unwrap());
        let method = if record.ticket.post { "POST" } else { "GET" };
        let fresh = if record.fresh { ", fresh" } else { "" };
        format!("at {at:?} {method} {}{fresh}, after {:?}: {:?}", record.ticket.id, record.took, record.end)
    };
    let few: Vec<String> = wrong.records.iter().take(12).map(shown).collect();
    assert!(
        few.is_empty(),
        "{what}: {} of {} not excused: {few:#?}",
        wrong.records.len(),
        ended.records.len()
    );
    assert!(!ended.records.is_empty(), "{what}: nothing was sent");
    assert_at_most_once(what, ended, ledger);
    ended.count(|record| record.end != End::Right)
}

/// Asserts that no POST ran twice, and that those answered rightly ran.
fn assert_at_most_once(what: &str, ended: &Ended, ledger: &Ledger) {
    let runs = ledger.runs();
    let twice: BTreeMap<_, _> = runs.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{what}: ran more than once: {twice:?}");
    for record in &ended.records {
        let ran = runs.contains_key(&record.ticket.id);
        let answered = record.ticket.post && record.end == End::Right;
        assert!(ran || !answered, "{what}: {} was answered and has not run", record.ticket.id);
    }
}

/// Asserts that weir has counted what the clients saw, where nobody but this load has asked.
pub(crate) fn counters_match(what: &str, ended: &Ended, weir: &Weir) {
    let seen = |which: fn(&End) -> bool| ended.count(|record| which(&record.end));
    let mut refused: BTreeMap<u16, usize> = BTreeMap::new();
    for record in &ended.records {
        if let End::Refused(status, _) = record.end {
            *refused.entry(status).or_default() += 1;
        }
    }
    let refusals = |status: &str| weir.metric("weir_refusals_total", &[("status", status)]) as usize;
    for status in [408, 429, 500, 502, 503, 504] {
        let seen = refused.get(&status).copied().unwrap_or_default();
        assert_eq!(refusals(&status.to_string()), seen, "{what}: refusals with {status} in /metrics");
    }
    let class = |class: &str| weir.metric("weir_requests_total", &[("class", class)]) as usize;
    let (right, cut) = (seen(|end| *end == End::Right), seen(|end| matches!(end, End::Cut(_))));
    let passed = class("2xx");
    assert!((right..=right + cut).contains(&passed), "{what}: {passed} of {right} right, {cut} cut");
    assert_eq!(
        class("5xx"),
        seen(|end| matches!(end, End::Failed(_))),
        "{what}: backends' errors in /metrics"
    );
}

/// Asserts that weir has counted what this backend answered, where it was there all the time: who is removed
/// takes its counters along.
pub(crate) fn counters_of(what: &str, backend: &str, ended: &Ended, weir: &Weir) {
    let right = |record: &Record| record.end == End::Right && record.backend.as_deref() == Some(backend);
    let counted = weir.metric("weir_requests_total", &[("backend", backend), ("class", "2xx")]) as usize;
    assert_eq!(counted, ended.count(right), "{what}: answers of {backend} in /metrics");
}

/// Asserts that `/stats` has every answer, those of backends that are no more too.
pub(crate) fn totals_match(what: &str, ended: &Ended, weir: &Weir) {
    let page: serde_json::Value = serde_json::from_str(&weir.admin("/stats").text()).unwrap();
    let right = ended.count(|record| record.end == End::Right);
    assert_eq!(page["requests"].as_u64(), Some(right as u64), "{what}: answers in /stats");
}

/// Asserts that of those in `later` hardly any took as long as a time-out, of which the shortest (a connect's) is
/// 500 ms, or all much longer when it was quiet: this machine may be others' as well.
pub(crate) fn as_prompt_as(what: &str, quiet: &Ended, later: &Ended) {
    let (before, after) = (quiet.latency(0.99), later.latency(0.99));
    println!("{what}: p99 {before:?} when it was quiet, {after:?} later");
    assert!(!later.records.is_empty() && !quiet.records.is_empty());
    assert!(
        after < (before * 5).max(Duration::from_millis(450)),
        "{what}: {before:?} before, {after:?} after"
    );
}

/// A POST that was not answered and may have run: no rule allows to send it again. `from`, `to`: when such
/// may happen.
pub(crate) fn post_between(from: Instant, to: Instant) -> impl Fn(&Record) -> bool {
    move |record| {
        let refused = matches!(record.end, End::Refused(502..=504, _) | End::Failed(_));
        record.ticket.post && refused && record.ended() >= from && record.due < to
    }
}
