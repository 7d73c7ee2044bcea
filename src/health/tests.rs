//! Check states by tables, and what holds after any run of outcomes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::State::{Down, Unchecked, Up};
use super::*;
use crate::time::{Instant, Micros};
use proptest::prelude::*;

const RULE: Rule =
    Rule { rise: 2, fall: 3, interval: Micros::from_s(2), interval_down: Micros::from_s(1), jitter: 0.1 };

fn at(second: usize) -> Instant {
    Instant::from_us(1_000_000 * second as u64)
}

#[test]
fn a_backend_changes_at_the_deciding_check_and_says_why() {
    for (case, outcomes, expected) in [
        ("serves after its first pass", "+", &[(1, Unchecked, Up, "first check passed")][..]),
        ("is down at its first failure", "-", &[(1, Unchecked, Down, "first check failed: connect refused")]),
        (
            "falls at the third failure",
            "+---",
            &[
                (1, Unchecked, Up, "first check passed"),
                (4, Up, Down, "3 checks failed in a row: connect refused"),
            ],
        ),
        ("forgets failures at a pass", "+--+--+", &[(1, Unchecked, Up, "first check passed")]),
        (
            "rises at the second pass",
            "-++",
            &[
                (1, Unchecked, Down, "first check failed: connect refused"),
                (3, Down, Up, "2 checks passed in a row"),
            ],
        ),
        (
            "forgets passes at a failure",
            "-+-+-",
            &[(1, Unchecked, Down, "first check failed: connect refused")],
        ),
        (
            "starts each run anew",
            "+---++---",
            &[
                (1, Unchecked, Up, "first check passed"),
                (4, Up, Down, "3 checks failed in a row: connect refused"),
                (6, Down, Up, "2 checks passed in a row"),
                (9, Up, Down, "3 checks failed in a row: connect refused"),
            ],
        ),
    ] {
        let mut backend = Checked::new(RULE, at(0));
        assert_eq!((backend.state(), backend.since(), backend.why()), (Unchecked, at(0), "not checked yet"));
        let mut seen = vec![];
        for (n, outcome) in outcomes.bytes().enumerate() {
            let outcome = if outcome == b'+' { Ok(()) } else { Err(ProbeFailure::ConnectRefused) };
            if let Some(change) = backend.observe(&outcome, at(n + 1)) {
                let now = (backend.state(), backend.since(), backend.why());
                assert_eq!(now, (change.to, change.at, &*change.why), "{case}");
                seen.push(change);
            }
        }
        let expected: Vec<_> = expected
            .iter()
            .map(|&(second, from, to, why)| {
                let run = why.chars().next().and_then(|first| first.to_digit(10)).unwrap_or(1);
                let began = at(second + 1 - run as usize);
                Transition { from, to, why: why.into(), began, at: at(second) }
            })
            .collect();
        assert_eq!(seen, expected, "{case}");
    }
}

#[test]
fn a_rule_of_one_or_zero_decides_at_once() {
    for count in [0, 1] {
        let mut backend = Checked::new(Rule { rise: count, fall: count, ..RULE }, at(0));
        assert!(backend.observe(&Ok(()), at(1)).is_some());
        let down = backend.observe(&Err(ProbeFailure::Reset), at(2)).unwrap();
        assert_eq!(down.why, "a check failed: connection reset");
        assert_eq!(backend.observe(&Ok(()), at(3)).unwrap().why, "a check passed");
    }
}

#[test]
fn the_next_check_comes_after_the_states_interval_within_the_jitter() {
    let mut backend = Checked::new(RULE, at(0));
    for (case, outcome, middle_us) in [
        ("unchecked", None, 2_000_000),
        ("up", Some(Ok(())), 2_000_000),
        ("not down yet", Some(Err(ProbeFailure::Reset)), 2_000_000),
    ] {
        outcome.and_then(|outcome| backend.observe(&outcome, at(1)));
        let us = [0, u64::MAX / 2, u64::MAX].map(|draw| backend.next_in(draw).as_us());
        assert_eq!(us, [middle_us * 9 / 10, middle_us, middle_us * 11 / 10], "{case}");
    }
    (0..2).for_each(|_| drop(backend.observe(&Err(ProbeFailure::Reset), at(2))));
    assert_eq!(backend.next_in(u64::MAX / 2), Micros::from_s(1), "down");
    assert_eq!(backend.next_in(0), Micros::from_ms(900), "down");
}

#[test]
fn a_failure_reads_like_a_sentence_of_the_log() {
    for (failure, expected) in [
        (ProbeFailure::ConnectRefused, "connect refused"),
        (ProbeFailure::ConnectFailed("no route to host".into()), "connect failed: no route to host"),
        (ProbeFailure::Timeout(Micros::from_s(1)), "timed out after 1s"),
        (ProbeFailure::Reset, "connection reset"),
        (ProbeFailure::Closed, "connection closed before the response was complete"),
        (ProbeFailure::status(503, &[(200, 399)]), "status 503, expected 200-399"),
        (ProbeFailure::status(301, &[(200, 200), (204, 206)]), "status 301, expected 200,204-206"),
        (ProbeFailure::BodyMismatch("ok".into()), "body does not contain \"ok\""),
        (ProbeFailure::BadResponse("no status line".into()), "bad response: no status line"),
    ] {
        assert_eq!(failure.to_string(), expected);
    }
}

#[test]
fn a_status_passes_within_a_range_ends_included() {
    let expect = [(200, 204), (300, 300)];
    for (status, passes) in [(199, false), (200, true), (204, true), (205, false), (300, true), (301, false)]
    {
        assert_eq!(status_matches(&expect, status), passes, "{status}");
    }
    assert!(!status_matches(&[], 200));
}

#[test]
fn a_body_passes_if_the_text_stands_anywhere_in_it() {
    for (body, needle, passes) in
        [("all ok", "ok", true), ("ok", "ok", true), ("o k", "ok", false), ("", "ok", false), ("", "", true)]
    {
        assert_eq!(body_contains(body.as_bytes(), needle.as_bytes()), passes, "{body:?} {needle:?}");
    }
}

#[test]
fn first_probes_are_spread_but_soon() {
    for (interval, within) in [(Micros::from_s(10), 500_000), (Micros::from_ms(100), 100_000)] {
        let starts: Vec<_> = (0..20).map(|n| first_probe_after(n, 20, interval, 7).as_us()).collect();
        // One in each twentieth.
        for (n, &start) in (0..).zip(&starts) {
            assert!((n * within / 20..(n + 1) * within / 20).contains(&start), "{starts:?}");
        }
    }
    let by_seed = |seed| first_probe_after(0, 1, Micros::from_s(1), seed);
    assert_ne!(by_seed(1), by_seed(2));
    assert!(first_probe_after(0, 0, Micros::from_s(1), 1) <= Micros::from_ms(500));
}

proptest! {
    #[test]
    fn a_backend_never_changes_without_its_run_and_always_with_it(
        rise in 1..5_u32,
        fall in 1..5_u32,
        outcomes in prop::collection::vec(any::<bool>(), 0..60),
    ) {
        let mut backend = Checked::new(Rule { rise, fall, ..RULE }, at(0));
        // The last outcomes, all alike.
        let (mut run, mut last) = (0, None);
        for (n, pass) in outcomes.into_iter().enumerate() {
            run = if last == Some(pass) { run + 1 } else { 1 };
            last = Some(pass);
            let before = backend.state();
            let outcome = if pass { Ok(()) } else { Err(ProbeFailure::Closed) };
            let change = backend.observe(&outcome, at(n));
            let expected = match (before, pass) {
                (Unchecked, true) => Some(Up),
                (Unchecked, false) => Some(Down),
                (Up, false) => (run >= fall).then_some(Down),
                (Down, true) => (run >= rise).then_some(Up),
                (Up, true) | (Down, false) => None,
            };
            prop_assert_eq!(change.map(|change| change.to), expected);
            prop_assert_eq!(backend.state(), expected.unwrap_or(before));
        }
    }

    #[test]
    fn jitter_stays_within_its_share(jitter in 0.0..1.0_f64, draw: u64) {
        let backend = Checked::new(Rule { jitter, ..RULE }, at(0));
        let off = backend.next_in(draw).as_us().abs_diff(2_000_000) as f64;
        prop_assert!(off <= 2_000_000.0 * jitter + 1.0);
    }
}
