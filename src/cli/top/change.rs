//! A change of a backend on its way: what it is, the requests that it becomes, what was answered.
//!
//! The same requests as `weir ctl` makes, first as a dry run. Pure.

use crate::admin::backend_path;
use crate::cli::client::{Answer, Asked, Unreachable};
use crate::cli::ctl;
use hyper::Method;
use serde_json::json;

/// What is done to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Drain,
    Ready,
    Maintenance,
    Weight(u16),
}

/// A backend, and what is done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) pool: String,
    pub(super) backend: String,
    pub(super) verb: Verb,
}

/// What came of asking for a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) change: Change,
    pub(super) dry_run: bool,
    /// In words, a line each; `Err`: it was not done.
    pub(super) told: Result<String, String>,
}

impl Change {
    /// What is asked for, in words.
    pub(super) fn words(&self) -> String {
        let Self { pool, backend, verb } = self;
        match verb {
            Verb::Drain => format!("drain {backend} of pool {pool}"),
            Verb::Ready => format!("make {backend} of pool {pool} ready"),
            Verb::Maintenance => format!("put {backend} of pool {pool} into maintenance"),
            Verb::Weight(weight) => format!("give {backend} of pool {pool} the weight {weight}"),
        }
    }

    /// The request.
    pub(super) fn asked(&self, dry_run: bool) -> Asked {
        let (method, verb, body) = match self.verb {
            Verb::Drain => (Method::POST, "/drain", None),
            Verb::Ready => (Method::POST, "/ready", None),
            Verb::Maintenance => (Method::POST, "/maintenance", None),
            Verb::Weight(weight) => (Method::PUT, "/weight", Some(json!({ "weight": weight }))),
        };
        let query = if dry_run { "?dry_run=true" } else { "" };
        Asked { method, path: format!("{}{verb}{query}", backend_path(&self.pool, &self.backend)), body }
    }

    /// What an answer to it says.
    pub(super) fn outcome(self, dry_run: bool, answer: Result<Answer, Unreachable>) -> Outcome {
        let told = match answer {
            Ok(answer) if answer.status < 400 => Ok(ctl::changed(&answer.page)),
            Ok(answer) => Err(ctl::refused(&answer.page)),
            Err(unreachable) => Err(unreachable.to_string()),
        };
        Outcome { change: self, dry_run, told }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_the_request_that_weir_ctl_makes() {
        for (verb, method, path) in [
            (Verb::Drain, Method::POST, "/pools/app/backends/a%2Fb/drain?dry_run=true"),
            (Verb::Ready, Method::POST, "/pools/app/backends/a%2Fb/ready?dry_run=true"),
            (Verb::Maintenance, Method::POST, "/pools/app/backends/a%2Fb/maintenance?dry_run=true"),
            (Verb::Weight(7), Method::PUT, "/pools/app/backends/a%2Fb/weight?dry_run=true"),
        ] {
            let change = Change { pool: "app".to_owned(), backend: "a/b".to_owned(), verb };
            let (tried, done) = (change.asked(true), change.asked(false));
            assert_eq!((tried.method, tried.path.as_str()), (method, path));
            assert_eq!(done.path, path.trim_end_matches("?dry_run=true"));
            assert_eq!(done.body, (verb == Verb::Weight(7)).then(|| json!({ "weight": 7 })));
        }
    }

    #[test]
    fn an_answer_is_told_as_weir_ctl_tells_it() {
        let change = Change { pool: "app".to_owned(), backend: "a".to_owned(), verb: Verb::Drain };
        let answer = |status, page: serde_json::Value| Ok(Answer { status, text: String::new(), page });
        let done = answer(200, json!({"done": "backend a drains", "dry_run": true, "moved": 0.5}));
        let told = change.clone().outcome(true, done).told;
        assert!(told.is_ok_and(|told| told.contains("backend a drains") && told.contains("50 %")));
        let refused = answer(404, json!({"error": "there is no a", "remedy": "ask for b"}));
        assert_eq!(change.outcome(false, refused).told, Err("there is no a; ask for b\n".to_owned()));
    }
}
