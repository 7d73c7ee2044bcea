//! What the path and the query of an admin request name.
//!
//! Pools and backends stand in paths by their names, percent-encoded (RFC 3986, section 2.1): a backend's
//! is often its address, and that of a Unix socket has slashes. So a path is split first and decoded
//! then. Pure; whether there is such a pool is control's to say.

use super::inject;
use super::problem::Problem;
use crate::mesh::Injected;
use hyper::Method;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Something to read.
    Page(Page),
    /// `/live`: a stream of what happens.
    Live,
    /// `/pools/POOL/backends`: POST adds one.
    Backends { pool: String },
    /// `/pools/POOL/backends/NAME`: DELETE removes it.
    Backend { pool: String, name: String },
    /// `/pools/POOL/backends/NAME/VERB`
    Verb { pool: String, name: String, verb: Verb },
    /// `/inject/shards/N/FAULT`: POST has a shard fail, in tests.
    Inject { shard: u16, fault: Injected },
    /// `/inject/control/panic`: POST has control fail, in tests.
    InjectIntoControl,
    /// `/reload`: POST reads the configuration again.
    Reload,
    /// `/reopen-logs`: POST opens the logs' files again.
    ReopenLogs,
}

/// The pages, which change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Index,
    Dashboard,
    Healthz,
    Readyz,
    Metrics,
    Backends,
    Shards,
    Stats,
}

/// What is done to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Drain,
    Ready,
    Maintenance,
    Weight,
}

impl Target {
    /// Reads a request's path.
    ///
    /// # Errors
    /// Nothing has this path, or its encoding is broken.
    pub(super) fn of(path: &str) -> Result<Self, Problem> {
        let page = match path {
            "/" => Page::Index,
            "/dashboard" => Page::Dashboard,
            "/healthz" => Page::Healthz,
            "/readyz" => Page::Readyz,
            "/metrics" => Page::Metrics,
            "/backends" => Page::Backends,
            "/shards" => Page::Shards,
            "/stats" => Page::Stats,
            "/live" => return Ok(Self::Live),
            "/reload" => return Ok(Self::Reload),
            "/reopen-logs" => return Ok(Self::ReopenLogs),
            _ => return Self::in_pools(path),
        };
        Ok(Self::Page(page))
    }

    /// Whether anybody may ask for it: what stands in front of weir, or runs it, looks there and has no token;
    /// and a browser must have the page that asks for one.
    pub(super) fn is_open(path: &str) -> bool {
        matches!(path, "/healthz" | "/readyz" | "/dashboard")
    }

    fn in_pools(path: &str) -> Result<Self, Problem> {
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            ["", "pools", pool, "backends"] => Ok(Self::Backends { pool: decoded(pool)? }),
            ["", "pools", pool, "backends", name] => {
                Ok(Self::Backend { pool: decoded(pool)?, name: decoded(name)? })
            }
            ["", "pools", pool, "backends", name, verb] => {
                let verb = match verb {
                    "drain" => Verb::Drain,
                    "ready" => Verb::Ready,
                    "maintenance" => Verb::Maintenance,
                    "weight" => Verb::Weight,
                    _ => {
                        return Err(Problem::no_such_path(
                            path,
                            "end it in drain, ready, maintenance or weight; a slash in a name is written %2F",
                        ));
                    }
                };
                Ok(Self::Verb { pool: decoded(pool)?, name: decoded(name)?, verb })
            }
            ["", "inject", "shards", shard, ref rest @ ..] => match (shard.parse(), inject::fault(rest)) {
                (Ok(shard), Some(fault)) => Ok(Self::Inject { shard, fault }),
                _ => Err(Problem::no_such_path(path, "see /, which names all paths")),
            },
            ["", "inject", "control", "panic"] if inject::is_on() => Ok(Self::InjectIntoControl),
            ["", "pools", ..] => Err(Problem::no_such_path(
                path,
                "write /pools/POOL/backends/NAME; a slash in a name is written %2F",
            )),
            _ => Err(Problem::no_such_path(path, "see /, which names all paths")),
        }
    }

    /// The methods that it has.
    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Page(_) | Self::Live => "GET, HEAD",
            Self::Backend { .. } => "DELETE",
            Self::Verb { verb: Verb::Weight, .. } => "PUT",
            Self::Backends { .. }
            | Self::Verb { .. }
            | Self::Inject { .. }
            | Self::InjectIntoControl
            | Self::Reload
            | Self::ReopenLogs => "POST",
        }
    }

    /// Whether it has this method.
    pub(super) fn takes(&self, method: &Method) -> bool {
        self.methods().split(", ").any(|taken| taken == method.as_str())
    }
}

/// How a change is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Manner {
    /// Say what it would do, and do not do it.
    pub(super) dry_run: bool,
    /// Answer once nothing is in flight any more.
    pub(super) wait: bool,
}

impl Manner {
    /// Reads a query. Strict, since a misread `dry_run` would do what was only to be tried.
    ///
    /// # Errors
    /// A parameter that this target does not have, or that is neither true nor false.
    pub(super) fn of(query: Option<&str>, target: &Target) -> Result<Self, Problem> {
        let waits = matches!(target, Target::Verb { verb: Verb::Drain, .. });
        let mut manner = Self::default();
        for part in query.unwrap_or("").split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let set = match name {
                "dry_run" => &mut manner.dry_run,
                "wait" if waits => &mut manner.wait,
                _ => {
                    let known = if waits { "dry_run and wait" } else { "dry_run" };
                    return Err(Problem::bad_request(
                        format!("there is no parameter {name:?} here"),
                        format!("remove it, or use {known}"),
                    ));
                }
            };
            *set = match value {
                "true" => true,
                "false" => false,
                _ => {
                    return Err(Problem::bad_request(
                        format!("{name} is {value:?}"),
                        format!("write {name}=true or {name}=false"),
                    ));
                }
            };
        }
        Ok(manner)
    }
}

/// A path's segment, decoded.
fn decoded(segment: &str) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(undecodable(segment));
        };
        bytes.push((high << 4 | low) as u8);
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.is_empty() => Ok(text),
        _ => Err(undecodable(segment)),
    }
}

fn undecodable(segment: &str) -> Problem {
    Problem::bad_request(
        format!("{segment:?} in the path is no name"),
        "percent-encode the name's UTF-8, such as 127.0.0.1%3A8080",
    )
}

/// A name as it stands in a path: what is not unreserved (RFC 3986, section 2.3) is encoded.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// The path of a pool's backends, to which one is added.
pub fn backends_path(pool: &str) -> String {
    format!("/pools/{}/backends", encoded(pool))
}

/// The path of a backend.
pub fn backend_path(pool: &str, name: &str) -> String {
    format!("{}/{}", backends_path(pool), encoded(name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn verb(name: &str, verb: Verb) -> Target {
        Target::Verb { pool: "app".to_owned(), name: name.to_owned(), verb }
    }

    #[test]
    fn each_path_names_its_target() {
        let (pool, name) = ("app".to_owned(), "one".to_owned());
        for (path, expected) in [
            ("/", Target::Page(Page::Index)),
            ("/stats", Target::Page(Page::Stats)),
            ("/reload", Target::Reload),
            ("/reopen-logs", Target::ReopenLogs),
            ("/pools/app/backends", Target::Backends { pool: pool.clone() }),
            ("/pools/app/backends/one", Target::Backend { pool, name }),
            ("/pools/app/backends/one/drain", verb("one", Verb::Drain)),
            ("/pools/app/backends/127.0.0.1:80/ready", verb("127.0.0.1:80", Verb::Ready)),
            ("/pools/app/backends/127.0.0.1%3a80/weight", verb("127.0.0.1:80", Verb::Weight)),
            ("/pools/app/backends/unix:%2Frun%2Fa.sock/drain", verb("unix:/run/a.sock", Verb::Drain)),
            ("/pools/app/backends/drain/maintenance", verb("drain", Verb::Maintenance)),
            ("/pools/app/backends/a+b/drain", verb("a+b", Verb::Drain)),
        ] {
            assert_eq!(Target::of(path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn other_paths_are_not_found_and_broken_ones_are_bad() {
        for (path, status) in [
            ("/healthz/", 404),
            ("/pools", 404),
            ("/pools/app", 404),
            ("/pools/app/backends/one/kill", 404),
            ("/pools/app/backends/unix:/run/a.sock/drain", 404),
            ("//reload", 404),
            ("/pools//backends/one", 400),
            ("/pools/app/backends/", 400),
            ("/pools/app/backends/%", 400),
            ("/pools/app/backends/%4/drain", 400),
            ("/pools/app/backends/%zz", 400),
            ("/pools/app/backends/%+4", 400),
            ("/pools/app/backends/%ff", 400),
        ] {
            assert_eq!(Target::of(path).map_err(|problem| problem.status.as_u16()), Err(status), "{path}");
        }
    }

    #[test]
    fn a_query_is_read_strictly() {
        let (drain, add) = (verb("one", Verb::Drain), Target::Backends { pool: "app".to_owned() });
        for (query, target, expected) in [
            (None, &add, Some((false, false))),
            (Some(""), &add, Some((false, false))),
            (Some("dry_run=true"), &add, Some((true, false))),
            (Some("dry_run=false&wait=true"), &drain, Some((false, true))),
            (Some("wait=true"), &add, None),
            (Some("dry_run"), &add, None),
            (Some("dry_run=1"), &add, None),
            (Some("dryrun=true"), &add, None),
            (Some("dry_run=true&force=true"), &drain, None),
        ] {
            let manner = Manner::of(query, target).ok();
            assert_eq!(manner.map(|manner| (manner.dry_run, manner.wait)), expected, "{query:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_backend_is_called_its_path_leads_back_to_it(name in "\\PC{1,40}") {
            let path = backend_path(&name, &name) + "/ready";
            prop_assert!(path.parse::<hyper::Uri>().is_ok());
            let expected = Target::Verb { pool: name.clone(), name, verb: Verb::Ready };
            prop_assert_eq!(Target::of(&path).unwrap(), expected);
        }
    }
}
