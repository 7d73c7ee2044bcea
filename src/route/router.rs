//! One listener's routes, and which of them a request takes.
//!
//! The exact host comes first, then the suffixes that fit from the longest to the shortest, then the
//! routes for any host, then the listener's own pool. Within a host the longest path wins. A host none
//! of whose paths fits passes the request on to the less specific ones: a route says what it takes,
//! and a new one for `app.example.org` and `/api` must not take the rest of that host away from
//! `*.example.org`. (nginx settles on the host first; who wants that here adds a route for the host
//! without a path.)
//!
//! Where a path can be read in two ways and they lead to different pools, there is no answer but
//! [`Ambiguous`]: what guards one pool must not be passed by on the way to another.

use super::path::{self, Path};
use crate::config::{Config, HostPattern, Route};
use std::cmp::Ordering;

/// The path's encoded or repeated slashes, backslashes or dot segments would change the route, by how
/// the backend reads them. Answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the path can be read in two ways that lead to different pools; send it without %2F, %5C, \\, // and dot segments"
)]
pub struct Ambiguous;

/// One listener's routes.
#[derive(Clone, Debug)]
pub struct Router {
    /// By host, in order of the host.
    exact: Vec<Host>,
    /// By suffix, which begins with a dot, in order of the suffix.
    suffixes: Vec<Host>,
    any: Paths,
    default: Option<usize>,
    /// Whether any route asks for a path; if none does, no path is looked at.
    by_path: bool,
}

#[derive(Clone, Debug)]
struct Host {
    name: Vec<u8>,
    paths: Paths,
}

/// Prefixes and their pools, the longest prefix first.
#[derive(Clone, Debug, Default)]
struct Paths(Vec<(Vec<u8>, usize)>);

impl Router {
    /// Of the listener at `listener` in `config`.
    pub fn new(config: &Config, listener: usize) -> Self {
        let routes = config.routes.iter().filter(|route| route.listener == listener);
        Self::from_routes(routes, config.listeners.get(listener).and_then(|listener| listener.pool))
    }

    /// Of one listener's `routes`, and `default`, the listener's own pool. Of two routes for the same
    /// host and path the first wins.
    pub fn from_routes<'a>(routes: impl IntoIterator<Item = &'a Route>, default: Option<usize>) -> Self {
        let mut router =
            Self { exact: vec![], suffixes: vec![], any: Paths::default(), default, by_path: false };
        for route in routes {
            let paths = match &route.host {
                None => &mut router.any,
                Some(HostPattern::Exact(name)) => paths_of(&mut router.exact, name),
                Some(HostPattern::Suffix(name)) => paths_of(&mut router.suffixes, name),
            };
            let prefix = route.path.as_deref().map(path::prefix).unwrap_or_default();
            router.by_path |= !prefix.is_empty();
            // Behind those of its length: the first of two equal ones stays the first.
            let at = paths.0.partition_point(|(other, _)| other.len() >= prefix.len());
            paths.0.insert(at, (prefix, route.pool));
        }
        router
    }

    /// The pool of every request, where there are no routes but the listener's own: the caller need
    /// not look at host or path.
    pub fn only(&self) -> Option<usize> {
        let routed = !(self.exact.is_empty() && self.suffixes.is_empty() && self.any.0.is_empty());
        if routed { None } else { self.default }
    }

    /// The pool for a request. `host` is its authority, in any case, with or without a port; `path`
    /// its target in origin form, query included, as it came. `None`: no route takes it.
    ///
    /// # Errors
    /// [`Ambiguous`]: by how a backend reads the path, another pool would be the right one.
    pub fn find(&self, host: Option<&[u8]>, path: &[u8]) -> Result<Option<usize>, Ambiguous> {
        if let Some(only) = self.only() {
            return Ok(Some(only));
        }
        let host = host.map(host_name);
        if !self.by_path {
            return Ok(self.choose(host, |_| true));
        }
        let path = Path::of_target(path);
        let plain = self.choose(host, |prefix| path.fits(prefix));
        for reading in path.other_readings() {
            let read = path.read_as(reading);
            if self.choose(host, |prefix| path::fits(&read, prefix)) != plain {
                return Err(Ambiguous);
            }
        }
        Ok(plain)
    }

    /// The first pool in the order of the head doc whose host fits and whose prefix `fits`.
    fn choose(&self, host: Option<&[u8]>, fits: impl Fn(&[u8]) -> bool) -> Option<usize> {
        let longest = |paths: &Paths| paths.0.iter().find(|(prefix, _)| fits(prefix)).map(|&(_, pool)| pool);
        let by_host = host.and_then(|host| {
            let exact = named(&self.exact, host).into_iter();
            exact.chain(self.suffixes_of(host)).find_map(|host| longest(&host.paths))
        });
        by_host.or_else(|| longest(&self.any)).or(self.default)
    }

    /// The suffixes that `host` ends in, the longest first.
    fn suffixes_of(&self, host: &[u8]) -> impl Iterator<Item = &Host> {
        // From 1 on: "*.example.org" asks for something in the place of its star.
        let dots = (1..host.len()).filter(move |&at| !self.suffixes.is_empty() && host[at] == b'.');
        dots.filter_map(move |at| named(&self.suffixes, &host[at..]))
    }
}

/// The paths of `name`, which is entered in its place if it is new.
fn paths_of<'a>(hosts: &'a mut Vec<Host>, name: &str) -> &'a mut Paths {
    let name = name.as_bytes().to_ascii_lowercase();
    let at = match hosts.binary_search_by(|host| host.name.cmp(&name)) {
        Ok(at) => at,
        Err(at) => {
            hosts.insert(at, Host { name, paths: Paths::default() });
            at
        }
    };
    &mut hosts[at].paths
}

/// The entry of `name`, which may be in any case.
fn named<'a>(hosts: &'a [Host], name: &[u8]) -> Option<&'a Host> {
    let in_order =
        |host: &Host| -> Ordering { host.name.iter().copied().cmp(name.iter().map(u8::to_ascii_lowercase)) };
    hosts.binary_search_by(in_order).ok().map(|at| &hosts[at])
}

/// An authority without its port and without the dot at the end of a fully qualified name. An IPv6
/// address keeps its brackets.
fn host_name(authority: &[u8]) -> &[u8] {
    let end = match authority.first() {
        Some(b'[') => authority.iter().position(|&byte| byte == b']').map(|bracket| bracket + 1),
        _ => authority.iter().position(|&byte| byte == b':'),
    };
    let name = &authority[..end.unwrap_or(authority.len())];
    name.strip_suffix(b".").unwrap_or(name)
}
