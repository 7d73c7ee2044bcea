//! What each admin path answers.
//!
//! `/healthz` says that the process lives, `/readyz` whether traffic should come, `/metrics` is for
//! Prometheus and `/backends` for people and scripts. Reads the desk; collects from the shards first
//! where it shows what they recorded.

use super::utc::rfc3339;
use crate::control::Desk;
use crate::control::status::BackendStatus;
use crate::metrics::{BackendFacts, Facts, Phase, Series, page};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use std::time::SystemTime;

const TEXT: &str = "text/plain; charset=utf-8";

const INDEX: &str = "weir\n\n\
    /healthz   200 while the process lives\n\
    /readyz    200 while traffic should come here, else 503 and why\n\
    /metrics   Prometheus text\n\
    /backends  JSON: state, since when, why, in-flight, latency\n";

/// Answers a request; its body, if any, is not read.
pub(super) async fn answer(request: &Request<Incoming>, desk: &Desk) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(path, "/" | "/healthz" | "/readyz" | "/metrics" | "/backends") {
        return text(StatusCode::NOT_FOUND, TEXT, format!("there is no {path}; see /\n"));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".into());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/healthz" => text(StatusCode::OK, TEXT, "ok\n".into()),
        "/readyz" => match desk.ready() {
            Ok(()) => text(StatusCode::OK, TEXT, "ready\n".into()),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {why}\n")),
        },
        "/metrics" => {
            desk.collect().await;
            text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics(desk))
        }
        "/backends" => {
            desk.collect().await;
            backends(desk)
        }
        _ => text(StatusCode::OK, TEXT, INDEX.into()),
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn metrics(desk: &Desk) -> String {
    // The page goes by the backends' numbers.
    let mut backends = desk.backends();
    backends.sort_by_key(|backend| backend.id);
    let facts = backends.iter().map(|backend| BackendFacts {
        pool: &backend.pool,
        name: &backend.name,
        state: backend.state.label(),
        usable: backend.usable,
        in_flight: backend.in_flight,
        probes_passed: backend.probes_passed,
        probes_failed: backend.probes_failed,
        probe_took: backend.probe_took,
        transitions: backend.transitions,
    });
    let facts = Facts {
        backends: facts.collect(),
        uptime: desk.now() - desk.started(),
        ready: desk.ready().is_ok(),
        serving: desk.serving(),
    };
    page(&desk.totals(), &facts)
}

/// The page `/backends`.
#[derive(Serialize)]
struct Backends {
    backends: Vec<BackendPage>,
}

/// One backend on it.
#[derive(Serialize)]
struct BackendPage {
    pool: String,
    name: String,
    address: String,
    state: &'static str,
    usable: bool,
    /// When it entered its state, and how long ago that is.
    since: String,
    since_seconds: f64,
    why: String,
    weight: u16,
    backup: bool,
    in_flight: u32,
    in_flight_per_shard: Vec<u32>,
    /// Answers passed on since the process began.
    requests: u64,
    /// Whole exchanges since the process began, to 1 %.
    whole: Quantiles,
}

/// A distribution's usual marks; `null` before anything was recorded.
#[derive(Serialize)]
struct Quantiles {
    p50_us: Option<u64>,
    p90_us: Option<u64>,
    p99_us: Option<u64>,
    p99_9_us: Option<u64>,
}

impl Quantiles {
    fn of(series: Option<&Series<u64>>) -> Self {
        let at = |quantile| {
            series.filter(|series| series.count() > 0).map(|series| series.quantile(quantile).as_us())
        };
        Self { p50_us: at(0.5), p90_us: at(0.9), p99_us: at(0.99), p99_9_us: at(0.999) }
    }
}

fn backends(desk: &Desk) -> Response<Full<Bytes>> {
    let backends = desk.backends().into_iter().map(|backend| backend_page(desk, backend)).collect();
    match serde_json::to_string_pretty(&Backends { backends }) {
        Ok(json) => text(StatusCode::OK, "application/json", json + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
    }
}

fn backend_page(desk: &Desk, backend: BackendStatus) -> BackendPage {
    let since = (desk.now() - backend.since).as_duration();
    let in_flight_per_shard = desk.in_flight_per_shard(backend.id);
    let totals = desk.totals();
    let recorded = totals.backend(backend.id);
    BackendPage {
        pool: backend.pool,
        name: backend.name,
        address: backend.address.to_string(),
        state: backend.state.label(),
        usable: backend.usable,
        since: rfc3339(wall_clock() - since),
        since_seconds: since.as_secs_f64(),
        why: backend.why,
        weight: backend.weight,
        backup: backend.backup,
        in_flight: in_flight_per_shard.iter().sum(),
        in_flight_per_shard,
        requests: recorded.map_or(0, |totals| totals.requests()),
        whole: Quantiles::of(recorded.map(|totals| totals.phase(Phase::Whole))),
    }
}

#[allow(clippy::disallowed_methods, reason = "people read dates; nothing is decided by this")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
