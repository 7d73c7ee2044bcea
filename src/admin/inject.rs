//! Faults that tests of weir itself ask for: `POST /inject/shards/N/panic`, `…/stall/MS`, and
//! `POST /inject/control/panic`.
//!
//! They are there only in a process that was started with `WEIR_FAULT_INJECTION=1`.

use super::answer::json;
use super::problem::Problem;
use crate::control::Desk;
use crate::mesh::Injected;
use crate::time::Micros;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Response, StatusCode};

/// The longest stall.
const STALL_MAX_MS: u64 = 60_000;

/// Whether this process has such paths.
pub(super) fn is_on() -> bool {
    std::env::var_os("WEIR_FAULT_INJECTION").is_some_and(|value| value == "1")
}

/// Reads `panic` or `stall/MS`; `None`: it is neither, or this process has no such paths.
pub(super) fn fault(parts: &[&str]) -> Option<Injected> {
    if !is_on() {
        return None;
    }
    match parts {
        ["panic"] => Some(Injected::Panic),
        ["stall", ms] => {
            ms.parse().ok().filter(|ms| *ms <= STALL_MAX_MS).map(|ms| Injected::Stall(Micros::from_ms(ms)))
        }
        _ => None,
    }
}

/// Has a shard fail.
pub(super) fn inject(desk: &Desk, shard: u16, fault: Injected) -> Result<Response<Full<Bytes>>, Problem> {
    if usize::from(shard) >= desk.shards().len() {
        return Err(Problem::no_such_path(&format!("shard {shard}"), "see /shards"));
    }
    desk.inject(shard, fault);
    Ok(json(StatusCode::OK, &serde_json::json!({ "shard": shard, "fault": format!("{fault:?}") })))
}

/// Has control fail.
pub(super) fn inject_into_control(desk: &Desk) -> Response<Full<Bytes>> {
    desk.inject_panic();
    json(StatusCode::OK, &serde_json::json!({ "control": true, "fault": "Panic" }))
}
