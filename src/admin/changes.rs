//! Requests that change something: read, handed to control, answered once the last shard has confirmed.
//!
//! Here: from a request to a [`Change`] or a reload, and from what came of it to JSON. Not here: whether it
//! may be asked at all (`guard`), and whether it can be done (`control`).

use super::answer::json;
use super::guard::Door;
use super::inject::{inject, inject_into_control};
use super::pages::{BackendPage, backend_page};
use super::problem::Problem;
use super::target::{Manner, Target, Verb};
use super::{Life, Surface};
use crate::control::Desk;
use crate::fleet::status::BackendStatus;
use crate::fleet::{Change, ChangeRefused, Changed, ReloadRefused, Reloaded};
use crate::time::Micros;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

/// What a body may hold; the largest that means something has a few hundred bytes.
const BODY_MAX: usize = 16 << 10;

/// What a backend's name may hold: it stands in every metric of the backend and in every line about it.
const NAME_MAX: usize = 256;

/// How long shards may take to confirm before control says that they have not, with room for a reload's
/// look-ups of names. Beyond it the connection is ended.
const CHANGE_WITHIN: Micros = Micros::from_s(60);

/// The longest that `?wait=true` keeps a request. Whoever wants to wait longer asks again: what is between
/// may end a connection on which nothing happens.
const WAIT_MAX: Micros = Micros::from_s(30);

/// `POST /pools/POOL/backends`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Addition {
    address: String,
    name: Option<String>,
    weight: Option<u64>,
}

/// `PUT …/weight`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weighing {
    weight: u64,
}

/// What a change came to.
#[derive(Serialize)]
struct ChangedPage<'a> {
    /// What holds now, in words.
    done: &'a str,
    dry_run: bool,
    unchanged: bool,
    /// Shards that confirmed, and how long the last one took.
    shards: usize,
    confirmed_us: u64,
    /// Share of clients that go elsewhere, 0 to 1; `null` where no hash decides.
    moved: Option<f64>,
    /// With `wait`: whether nothing is in flight any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    drained: Option<bool>,
    backend: Option<BackendPage>,
}

/// What a reload came to.
#[derive(Serialize)]
struct ReloadedPage<'a> {
    changes: &'a [String],
    needs_restart: &'a [String],
    warnings: &'a [String],
    hash: &'a str,
    generation: u64,
    took_us: u64,
    confirmed_us: u64,
}

/// What opening the logs again came to.
#[derive(Serialize)]
struct ReopenedPage<'a> {
    /// In words.
    done: &'a str,
}

/// Does what a request asks for.
///
/// # Errors
/// Why it was not done, or not confirmed.
pub(super) async fn make(
    target: Target,
    request: Request<Incoming>,
    surface: &Surface,
    life: &Life,
) -> Result<Response<Full<Bytes>>, Problem> {
    surface.door.may_change(request.headers())?;
    let manner = Manner::of(request.uri().query(), &target)?;
    let takes_body = matches!(target, Target::Backends { .. } | Target::Verb { verb: Verb::Weight, .. });
    let body = read(request, &surface.door).await?;
    if !takes_body && !body.is_empty() {
        return Err(Problem::bad_request("this takes no body", "leave the body out"));
    }
    life.extend(CHANGE_WITHIN);
    let desk = &surface.desk;
    let change = match target {
        Target::Backends { pool } => addition(pool, &body)?,
        Target::Backend { pool, name } => Change::Remove { pool, name },
        Target::Verb { pool, name, verb } => match verb {
            Verb::Drain => Change::Drain { pool, name },
            Verb::Ready => Change::Ready { pool, name },
            Verb::Maintenance => Change::Maintenance { pool, name },
            Verb::Weight => {
                let Weighing { weight: given } = parsed(&body, "{\"weight\": 1 to 256}")?;
                Change::Weight { pool, name, weight: weight(given)? }
            }
        },
        Target::Reload => return reload(desk, manner).await,
        Target::ReopenLogs => return reopen_logs(desk, manner).await,
        Target::Inject { shard, fault } => return inject(desk, shard, fault),
        Target::InjectIntoControl => return Ok(inject_into_control(desk)),
        Target::Page(_) | Target::Live => {
            return Err(Problem::bad_request("a page changes nothing", "use GET"));
        }
    };
    let changed = desk.change(&change, manner.dry_run).await.map_err(refused)?;
    match change {
        Change::Drain { pool, name } if manner.wait && !manner.dry_run => {
            let drained = drained(&pool, &name, surface, life).await?;
            let status = if drained { StatusCode::OK } else { StatusCode::ACCEPTED };
            // What is in flight has changed meanwhile.
            let same = |now: &BackendStatus| {
                changed.backend.as_ref().is_some_and(|was| was.pool == now.pool && was.name == now.name)
            };
            let backend = desk.backends().into_iter().find(same);
            Ok(told(desk, status, &Changed { backend, ..changed }, Some(drained)))
        }
        Change::Add { pool, .. } if !manner.dry_run && !changed.unchanged => {
            let mut response = told(desk, StatusCode::CREATED, &changed, None);
            if let Some(backend) = &changed.backend {
                let path = super::target::backend_path(&pool, &backend.name);
                // Percent-encoded, so it is one; without it the answer says as much.
                if let Ok(path) = HeaderValue::try_from(path) {
                    response.headers_mut().insert(LOCATION, path);
                }
            }
            Ok(response)
        }
        _ => Ok(told(desk, StatusCode::OK, &changed, None)),
    }
}

fn told(desk: &Desk, status: StatusCode, changed: &Changed, drained: Option<bool>) -> Response<Full<Bytes>> {
    let page = ChangedPage {
        done: &changed.words,
        dry_run: changed.dry_run,
        unchanged: changed.unchanged,
        shards: changed.shards,
        confirmed_us: changed.confirmed_in.as_us(),
        moved: changed.moved,
        drained,
        backend: changed.backend.as_ref().map(|backend| backend_page(desk, backend)),
    };
    json(status, &page)
}

/// Waits until a backend has nothing in flight, [`WAIT_MAX`] at most; whether it has come to that. Only a
/// part of the connections may wait, so that waiting never keeps the operator out.
async fn drained(pool: &str, name: &str, surface: &Surface, life: &Life) -> Result<bool, Problem> {
    let Ok(_place) = surface.waits.try_acquire() else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_wait",
            "the backend is draining, but too many requests wait already for backends to be drained",
            "ask again without wait and look at /backends",
        ));
    };
    life.extend(WAIT_MAX);
    match timeout(WAIT_MAX.as_duration(), surface.desk.drained(pool, name)).await {
        Ok(drained) => drained.map(|()| true).map_err(refused),
        Err(_) => Ok(false),
    }
}

async fn reload(desk: &Desk, manner: Manner) -> Result<Response<Full<Bytes>>, Problem> {
    if manner.dry_run {
        return Err(Problem::bad_request(
            "a reload has no dry run",
            "`weir check --config FILE` says whether the file is right, without loading it",
        ));
    }
    let reloaded: Reloaded = desk.reload().await.map_err(reload_refused)?;
    Ok(json(
        StatusCode::OK,
        &ReloadedPage {
            changes: &reloaded.changes,
            needs_restart: &reloaded.needs_restart,
            warnings: &reloaded.warnings,
            hash: &reloaded.hash,
            generation: reloaded.generation,
            took_us: reloaded.took.as_us(),
            confirmed_us: reloaded.confirmed_in.as_us(),
        },
    ))
}

async fn reopen_logs(desk: &Desk, manner: Manner) -> Result<Response<Full<Bytes>>, Problem> {
    if manner.dry_run {
        return Err(Problem::bad_request("this has no dry run", "leave dry_run out"));
    }
    let done = desk.reopen_logs().await.map_err(|refused| {
        let remedy = "see to that and ask again; lines go where they went before";
        Problem::new(StatusCode::CONFLICT, "not_reopened", refused.to_string(), remedy)
    })?;
    Ok(json(StatusCode::OK, &ReopenedPage { done: &done }))
}

/// A request's whole body; empty if it has none.
async fn read(request: Request<Incoming>, door: &Door) -> Result<Bytes, Problem> {
    if !request.body().is_end_stream() {
        door.is_json(request.headers())?;
    }
    match Limited::new(request.into_body(), BODY_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the body is over {BODY_MAX} bytes"),
            "send only the fields that the path takes",
        )),
        Err(error) => {
            Err(Problem::bad_request(format!("the body did not come whole: {error}"), "send it again"))
        }
    }
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8], form: &str) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let error = if body.is_empty() { "there is no body".to_owned() } else { error.to_string() };
        Problem::bad_request(error, format!("send {form}"))
    })
}

fn addition(pool: String, body: &[u8]) -> Result<Change, Problem> {
    const FORM: &str =
        "{\"address\": \"10.0.0.11:8080\"}, with \"name\" and \"weight\" (1 to 256) if you like";
    let Addition { address, name, weight: given } = parsed(body, FORM)?;
    if let Some(name) = &name
        && (name.is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control))
    {
        return Err(Problem::bad_request(
            format!("{name:?} is no name of a backend"),
            format!("use 1 to {NAME_MAX} bytes without control characters, or leave name out"),
        ));
    }
    Ok(Change::Add { pool, address, name, weight: given.map(weight).transpose()? })
}

fn weight(given: u64) -> Result<u16, Problem> {
    u16::try_from(given).ok().filter(|weight| (1..=256).contains(weight)).ok_or_else(|| no_weight(given))
}

fn no_weight(weight: u64) -> Problem {
    let remedy = if weight == 0 { "drain it instead, or use 1 to 256" } else { "use 1 to 256" };
    Problem::bad_request(format!("a weight of {weight} is not possible"), remedy)
}

fn refused(refused: ChangeRefused) -> Problem {
    match refused {
        ChangeRefused::NoPool { pool, known } => {
            Problem::no_such_name("no_pool", "there is no pool", &pool, &known)
        }
        ChangeRefused::NoBackend { pool, name, known } => {
            Problem::no_such_name("no_backend", &format!("pool {pool:?} has no backend"), &name, &known)
        }
        ChangeRefused::Taken { pool, name } => Problem::new(
            StatusCode::CONFLICT,
            "name_taken",
            format!("pool {pool:?} has a backend {name:?} already"),
            "choose another name, or remove that one first",
        ),
        ChangeRefused::Address { address, wrong, remedy } => {
            Problem::bad_request(format!("{address:?} is no address of a backend: {wrong}"), remedy)
        }
        ChangeRefused::Weight { weight } => no_weight(weight.into()),
        ChangeRefused::Unconfirmed(unconfirmed) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "unconfirmed",
            format!("done, but {unconfirmed}"),
            "it holds on the other shards, and on these as soon as they go on",
        ),
        ChangeRefused::ShuttingDown => shutting_down(),
    }
}

fn reload_refused(refused: ReloadRefused) -> Problem {
    match &refused {
        ReloadRefused::NoFile => Problem::new(
            StatusCode::CONFLICT,
            "no_file",
            refused.to_string(),
            "start weir with `weir run --config FILE`",
        ),
        ReloadRefused::Unreadable { .. } => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "wrong_file",
            refused.to_string(),
            "put the file back where it was and let weir's user read it",
        ),
        ReloadRefused::Wrong(faults) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "wrong_file",
            "the configuration is wrong; nothing was changed",
            "correct what `faults` lists and reload again",
        )
        .with_faults(faults),
        ReloadRefused::Impossible(faults) => Problem::new(
            StatusCode::CONFLICT,
            "impossible",
            "the configuration is right, but this host cannot do what it says; nothing was changed",
            "see to what `faults` lists and reload again",
        )
        .with_faults(faults),
        ReloadRefused::Unconfirmed(unconfirmed) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "unconfirmed",
            format!("loaded, but {unconfirmed}"),
            "it holds on the other shards, and on these as soon as they go on",
        ),
        ReloadRefused::ShuttingDown => shutting_down(),
    }
}

fn shutting_down() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "shutting_down",
        "weir is shutting down",
        "ask its successor",
    )
}
