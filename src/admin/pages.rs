//! The pages: what each path that changes nothing answers.
//!
//! `/healthz` says that the process lives, `/readyz` whether traffic should come, `/metrics` is for
//! Prometheus, and the rest, in JSON, for people and scripts. Reads the desk; collects from the shards
//! first where it shows what they recorded. What `/shards` and `/stats` say is in files of their own.

use super::answer::{json, text};
use super::problem::Problem;
use super::target::Page;
use super::utc::rfc3339;
use super::{dashboard, exported, shards, stats};
use crate::control::Desk;
use crate::fleet::status::BackendStatus;
use crate::metrics::{Phase, Series};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use std::time::SystemTime;

pub(super) const TEXT: &str = "text/plain; charset=utf-8";

const INDEX: &str = "weir\n\n\
    GET     /dashboard the page for browsers, which get it here too\n\
    GET     /healthz   200 while the process lives\n\
    GET     /readyz    200 while traffic should come here, else 503 and why\n\
    GET     /metrics   Prometheus text, or OpenMetrics by Accept; ?level=pool for less\n\
    GET     /backends  JSON: state, since when, why, weight, in-flight, latency\n\
    GET     /shards    JSON: connections, in-flight, heartbeat, stalls\n\
    GET     /stats     JSON: requests, failures, retries, refusals, latency, all backends together\n\
    GET     /live      server-sent events: ten minutes of history, then all of it each second\n\
    \n\
    POST    /pools/POOL/backends                   add {\"address\", \"name\", \"weight\"}\n\
    DELETE  /pools/POOL/backends/NAME              remove, once what it has is finished\n\
    POST    /pools/POOL/backends/NAME/drain        nothing new; ?wait=true answers when it is idle\n\
    POST    /pools/POOL/backends/NAME/maintenance  nothing new, and no checks\n\
    POST    /pools/POOL/backends/NAME/ready        traffic again, as its check says\n\
    PUT     /pools/POOL/backends/NAME/weight       {\"weight\": 1 to 256}\n\
    POST    /reload                                the configuration file again\n\
    POST    /reopen-logs                           the access log's file again, after it was moved\n\
    \n\
    ?dry_run=true says what a change of a backend would do; /live?once=true is one JSON object. Or use `weir ctl`.\n";

/// Answers with a page.
///
/// # Errors
/// The query names something that the page does not have.
pub(super) async fn answer(
    page: Page,
    request: &Request<Incoming>,
    desk: &Desk,
) -> Result<Response<Full<Bytes>>, Problem> {
    if matches!(page, Page::Metrics | Page::Backends | Page::Shards | Page::Stats) {
        desk.collect().await;
    }
    Ok(match page {
        Page::Dashboard => dashboard::page(),
        Page::Index => text(StatusCode::OK, TEXT, INDEX.into()),
        Page::Healthz => text(StatusCode::OK, TEXT, "ok\n".into()),
        Page::Readyz => match desk.ready() {
            Ok(()) => text(StatusCode::OK, TEXT, "ready\n".into()),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {why}\n")),
        },
        Page::Metrics => {
            let (format, level) =
                (exported::format(request.headers()), exported::level(request.uri().query())?);
            text(StatusCode::OK, exported::content_type(format), exported::metrics(desk, format, level))
        }
        Page::Backends => {
            let backends = desk.backends().iter().map(|backend| backend_page(desk, backend)).collect();
            json(StatusCode::OK, &Backends { backends })
        }
        Page::Shards => json(StatusCode::OK, &shards::page(desk)),
        Page::Stats => json(StatusCode::OK, &stats::page(desk)),
    })
}

/// The page `/backends`.
#[derive(Serialize)]
struct Backends {
    backends: Vec<BackendPage>,
}

/// One backend on it.
#[derive(Serialize)]
pub(super) struct BackendPage {
    pool: String,
    name: String,
    address: String,
    /// "configured", "added", or "resolved".
    origin: &'static str,
    state: &'static str,
    usable: bool,
    /// When it entered its state, and how long ago that is.
    since: String,
    since_seconds: f64,
    why: String,
    weight: u16,
    /// What the configuration says, where an operator has changed it.
    configured_weight: Option<u16>,
    /// Share of its weight that it has, below 1 during slow start.
    share: f64,
    backup: bool,
    in_flight: u32,
    in_flight_per_shard: Vec<u32>,
    /// Answers passed on since the process began.
    requests: u64,
    ejections: u64,
    /// Whole exchanges since the process began, to 1 %.
    whole: Quantiles,
}

/// A distribution's usual marks; `null` before anything was recorded.
#[derive(Serialize)]
pub(super) struct Quantiles {
    p50_us: Option<u64>,
    p90_us: Option<u64>,
    p99_us: Option<u64>,
    p99_9_us: Option<u64>,
}

impl Quantiles {
    pub(super) fn of(series: Option<&Series<u64>>) -> Self {
        let at = |quantile| {
            series.filter(|series| series.count() > 0).map(|series| series.quantile(quantile).as_us())
        };
        Self { p50_us: at(0.5), p90_us: at(0.9), p99_us: at(0.99), p99_9_us: at(0.999) }
    }
}

/// How long what came waited for its shard, at most.
#[derive(Serialize)]
pub(super) struct Waiting {
    /// From a completion to its handling.
    r#loop: Quantiles,
    /// From a client's handshake to its accept.
    accept: Quantiles,
}

impl Waiting {
    pub(super) fn of(stall: &Series<u64>, accept_delay: &Series<u64>) -> Self {
        Self { r#loop: Quantiles::of(Some(stall)), accept: Quantiles::of(Some(accept_delay)) }
    }
}

/// A backend as `/backends` and the answers to changes show it.
pub(super) fn backend_page(desk: &Desk, backend: &BackendStatus) -> BackendPage {
    let since = (desk.now() - backend.since).as_duration();
    let in_flight_per_shard = desk.in_flight_per_shard(backend.id);
    let totals = desk.totals();
    let recorded = totals.backend(backend.id);
    BackendPage {
        pool: backend.pool.clone(),
        name: backend.name.clone(),
        address: backend.address.to_string(),
        origin: backend.origin.label(),
        state: backend.state.label(),
        usable: backend.usable,
        since: rfc3339(wall_clock() - since),
        since_seconds: since.as_secs_f64(),
        why: backend.why.clone(),
        weight: backend.weight,
        configured_weight: backend.configured_weight,
        share: backend.share,
        backup: backend.backup,
        in_flight: in_flight_per_shard.iter().sum(),
        in_flight_per_shard,
        requests: recorded.map_or(0, |totals| totals.requests()),
        ejections: backend.ejections,
        whole: Quantiles::of(recorded.map(|totals| totals.phase(Phase::Whole))),
    }
}

#[allow(clippy::disallowed_methods, reason = "people read dates; nothing is decided by this")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
