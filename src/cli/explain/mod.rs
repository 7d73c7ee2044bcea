//! `weir explain`: what a status, a cause or a state means, whose fault it usually is, and what to do.
//!
//! | file | what is explained |
//! |---|---|
//! | `statuses.rs` | statuses of answers |
//! | `refusals.rs` | why weir itself answered, or closed a connection |
//! | `failures.rs` | how backends fail; phases |
//! | `terminations.rs` | how exchanges end, in the access log |
//! | `handshakes.rs` | what TLS handshakes come to |
//! | `states.rs` | backends, readiness, the process's end |
//! | `explanation.rs`, `show.rs` | what an explanation is, and how it looks |
//!
//! The words are those of the enums that produce them, and every match is whole: a word that weir says and does
//! not explain does not build. Asks nobody and reads no file, so it works on any host.

mod explanation;
mod failures;
mod handshakes;
mod refusals;
mod show;
mod states;
mod statuses;
mod terminations;

use super::{WRONG, say, tell};
use crate::config::{OWN_STATUSES, nearest};
use crate::health::Condition;
use crate::http1::reason_phrase;
use crate::limit::Exceeded;
use crate::log::record::Termination;
use crate::metrics::declared::{ALL as METRICS, Metric};
use crate::metrics::{Handshake, Phase, Refusal, UpstreamFailure};
use explanation::{Explanation, Kind};

pub(super) const HELP: &str = "\
Explain a status, a cause or a state: what it means, whose fault it usually is, where to look and what to change.

WORD is a status (502), the cause of a refusal or a failure as it stands in the log, in metrics, in an answer's text or in its Proxy-Status (no_backend, upstream_failed/connect), a backend's state (ejected), what a TLS handshake came to (certificate), why weir is not ready, two letters of the access log (sH), \"exit\" for the exit codes, or a metric's name. Without WORD all are listed. Asks nobody: it works on any host.

Exits 0, or 2 if WORD is unknown.";

/// Explains `word`, or lists all; the exit code.
pub(super) fn explain(word: Option<&str>) -> u8 {
    let Some(word) = word else {
        say(list().trim_end());
        return 0;
    };
    let found = found(word);
    if found.is_empty() {
        let words = words();
        let remedy = match nearest(&normal(word), words.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => "`weir explain` alone lists all words".to_owned(),
        };
        tell(format_args!("weir does not say {word:?}; {remedy}"));
        return WRONG;
    }
    say(found.join("\n").trim_end());
    0
}

/// Everything that is explained, in the order of the list.
fn all() -> Vec<Explanation> {
    let statuses = OWN_STATUSES.into_iter().filter_map(statuses::status);
    statuses
        .chain(Refusal::ALL.iter().map(|cause| refusals::refusal(*cause)))
        .chain(UpstreamFailure::ALL.iter().map(|cause| failures::failure(*cause)))
        .chain(Condition::ALL.into_iter().map(states::condition))
        .chain(states::reasons().iter().map(states::not_ready))
        .chain(Exceeded::ALL.into_iter().map(refusals::limit))
        .chain(Handshake::ALL.iter().map(|came_to| handshakes::handshake(*came_to)))
        .chain(Phase::ALL.iter().map(|phase| failures::phase(*phase)))
        .chain(Termination::ALL.iter().map(|end| terminations::termination(*end)))
        .chain([states::EXIT])
        .collect()
}

/// All words that can be asked for.
fn words() -> Vec<String> {
    let metrics = METRICS.iter().map(|metric| metric.name.to_owned());
    all().iter().map(|explanation| explanation.word.to_owned()).chain(metrics).collect()
}

/// What is left of a word that was pasted with a quote, a bracket, or a sample's labels.
fn bare(word: &str) -> &str {
    let bare = word.trim().trim_matches(['"', '\'', '(', ')', '`']);
    bare.split('{').next().unwrap_or(bare)
}

/// A word as most explanations have it: people write "No backend", or "not-ready".
fn normal(word: &str) -> String {
    bare(word).to_ascii_lowercase().replace([' ', '-'], "_")
}

/// What is known of `word`: each meaning that it has.
fn found(word: &str) -> Vec<String> {
    let (bare, word) = (bare(word), normal(word));
    // "upstream_failed/connect": the finer one explains it.
    let finer = word.rsplit('/').next().unwrap_or(&word);
    // The letters of ends are told apart by their size.
    let is_it = |explanation: &&Explanation| [bare, finer].contains(&explanation.word);
    let mut found: Vec<String> = all().iter().filter(is_it).map(shown).collect();
    found.extend(METRICS.iter().filter(|metric| is_series(metric, finer)).map(|metric| show::metric(metric)));
    match finer.parse::<u16>() {
        Ok(status @ 100..=599) if found.is_empty() && finer.len() == 3 => found.push(foreign(status)),
        _ => {}
    }
    found
}

fn is_series(metric: &Metric, name: &str) -> bool {
    let of = |suffix: &str| name.strip_suffix(suffix) == Some(metric.name);
    metric.name == name || ["_bucket", "_sum", "_count"].into_iter().any(of)
}

fn shown(explanation: &Explanation) -> String {
    let mut text = show::explanation(explanation);
    if explanation.kind == Kind::Exit {
        text.push_str("\n  weir run ends with\n");
        for reason in states::EXIT_REASONS {
            text.push_str(&format!("    {}  {}\n", reason.code(), states::exit_reason(reason)));
        }
    }
    text
}

/// A status that only backends answer.
fn foreign(status: u16) -> String {
    let reason = reason_phrase(status);
    let title = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let mut text = format!("{status}{title}\n  (a status that weir itself never answers)\n\n");
    text.push_str(&show::wrapped(
        "  ",
        "  ",
        "weir passes it on as a backend answered it, so the backend's own log says why. weir_requests_total counts \
         it by pool, backend and class.",
    ));
    if status >= 400 {
        text.push_str(&show::wrapped(
            "  ",
            "  ",
            &format!(
                "If another backend would do better, \"{status}\" in pool.NAME.retry.on has it asked (idempotent \
                 methods only)."
            ),
        ));
    }
    if status >= 500 {
        text.push_str(&show::wrapped(
            "  ",
            "  ",
            "[pool.NAME.eject] takes out a backend that answers so often.",
        ));
    }
    text
}

/// All words, by kind.
fn list() -> String {
    let mut out = String::from("weir explain WORD says what a word means, and what to do. It knows\n");
    let all = all();
    for kind in Kind::ALL {
        out.push_str(&format!("\n{}\n", kind.heading()));
        for explanation in all.iter().filter(|explanation| explanation.kind == kind) {
            out.push_str(&show::entry(explanation.word, explanation.title));
        }
    }
    out.push_str("\nand every metric by its name, such as ");
    out.push_str(METRICS.first().map_or("", |metric| metric.name));
    out.push_str(".\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_word_that_weir_says_is_explained_with_what_to_do_and_fits_80_columns() {
        for explanation in all() {
            let word = explanation.word;
            let text = found(word).join("\n");
            assert!(text.starts_with(word) || text.contains(&format!("\n{word}: ")), "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= show::COLUMNS), "{text}");
            assert!(text.contains(explanation.title.split(' ').next().unwrap_or("")), "{text}");
            let helps =
                !explanation.act.is_empty() || !explanation.causes.is_empty() || !explanation.look.is_empty();
            assert!(helps && explanation.text.ends_with(['.', ':', ')']), "{text}");
        }
        assert!(list().lines().all(|line| line.chars().count() <= show::COLUMNS), "{}", list());
    }

    #[test]
    fn every_status_of_weirs_own_is_explained_by_causes_that_are() {
        let known: BTreeSet<&str> = all().iter().map(|explanation| explanation.word).collect();
        for status in OWN_STATUSES {
            let Some(explanation) = statuses::status(status) else { panic!("{status} has no explanation") };
            assert_eq!(explanation.word, status.to_string());
            assert_eq!(explanation.title, reason_phrase(status));
            assert!(!explanation.causes.is_empty(), "{status}");
        }
        for explanation in all() {
            for (cause, _) in explanation.causes {
                assert!(known.contains(cause), "{}: {cause}", explanation.word);
            }
        }
    }

    /// What is named as a metric is one: a reader types it into a dashboard.
    #[test]
    fn every_metric_that_an_explanation_names_is_declared() {
        for explanation in all() {
            let Explanation { text, look, act, causes, .. } = explanation;
            let told = look.iter().chain(causes).flat_map(|(what, tells)| [*what, *tells]);
            for part in told.chain(act.iter().copied()).chain([text]) {
                let names = part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                for name in names.filter(|name| name.starts_with("weir_")) {
                    assert!(METRICS.iter().any(|metric| metric.name == name), "{}: {name}", explanation.word);
                }
            }
        }
    }

    #[test]
    fn a_word_is_found_as_people_write_or_paste_it() {
        for (written, expected) in [
            ("503", "503: Service Unavailable"),
            (" No backend ", "no_backend: "),
            ("no-backend", "no_backend: "),
            ("\"upstream_failed/connect_timeout\"", "connect_timeout: "),
            ("shutting down", "shutting_down: "),
            ("weir_refusals_total{cause=\"x\"}", "weir_refusals_total\n"),
            ("weir_phase_seconds_bucket", "weir_phase_seconds\n"),
            ("cR", "cR: the client did not"),
            ("CR", "CR: the client went"),
            ("--", "--: the answer"),
            ("418", "418\n  (a status that weir itself never answers)"),
            ("500", "500: Internal Server Error"),
        ] {
            let found = found(written);
            assert!(found.first().is_some_and(|text| text.starts_with(expected)), "{written}: {found:?}");
        }
        // A word with two meanings has both.
        assert_eq!(
            (found("body_timeout").len(), found("connect").len(), found("unchecked").len()),
            (2, 2, 2)
        );
        for unknown in ["", "99", "600", "5030", "no_such_word"] {
            assert_eq!(found(unknown), [""; 0], "{unknown}");
        }
    }
}
