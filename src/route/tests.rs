//! The router, by tables: which pool a host and a path lead to, and which paths lead to none.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::{Ambiguous, Router};
use crate::config::{HostPattern, Route};
use proptest::prelude::*;

/// A route as the file writes it: host ("" for any), path ("" for any), pool.
fn route(&(host, path, pool): &(&str, &str, usize)) -> Route {
    let host = match host.strip_prefix('*') {
        _ if host.is_empty() => None,
        Some(suffix) => Some(HostPattern::Suffix(suffix.into())),
        None => Some(HostPattern::Exact(host.into())),
    };
    Route { listener: 0, host, path: (!path.is_empty()).then(|| path.into()), pool }
}

fn router(routes: &[(&str, &str, usize)], default: Option<usize>) -> Router {
    Router::from_routes(&routes.iter().map(route).collect::<Vec<_>>(), default)
}

#[test]
fn the_most_specific_host_wins_and_then_the_longest_path() {
    let router = router(
        &[
            ("", "/api", 1),
            ("", "/api/v2", 2),
            ("*.example.org", "", 3),
            ("*.eu.example.org", "", 4),
            ("app.example.org", "/api", 5),
            ("app.example.org", "/api/v2/", 6),
            ("www.eu.example.org", "", 7),
            ("[2001:db8::1]", "", 8),
        ],
        Some(0),
    );
    for (host, path, expected) in [
        ("", "/", 0),
        ("", "/api", 1),
        ("", "/api/", 1),
        ("", "/api?x=/api/v2", 1),
        ("", "/api/x", 1),
        ("", "/apix", 0),
        ("", "/ap", 0),
        ("", "/API", 0),
        ("", "/x/api", 0),
        ("", "/api/v2", 2),
        ("", "/api/v20", 1),
        ("", "/api/v2?q", 2),
        ("", "/api#f", 1),
        ("", "*", 0),
        ("", "", 0),
        ("elsewhere.test", "/api", 1),
        ("a.example.org", "/api", 3),
        ("a.b.example.org", "/", 3),
        ("a.eu.example.org", "/", 4),
        ("example.org", "/", 0),
        (".example.org", "/", 0),
        ("notexample.org", "/", 0),
        ("app.example.org", "/api", 5),
        ("app.example.org", "/api/v1", 5),
        ("app.example.org", "/api/v2/x", 6),
        ("app.example.org", "/api/v2", 6),
        ("APP.Example.ORG:8080", "/api/v2", 6),
        ("app.example.org.", "/api", 5),
        ("app.example.org.:80", "/api", 5),
        // None of the host's paths fits, so its suffix takes it.
        ("app.example.org", "/", 3),
        ("www.eu.example.org", "/api", 7),
        ("[2001:DB8::1]:80", "/", 8),
        ("[2001:db8::1]", "/api", 8),
        ("[2001:db8::2]", "/api", 1),
        ("[", "/api", 1),
        (":80", "/api", 1),
    ] {
        let given = (!host.is_empty()).then_some(host.as_bytes());
        assert_eq!(router.find(given, path.as_bytes()), Ok(Some(expected)), "{host} {path}");
    }
}

#[test]
fn without_routes_the_listeners_pool_takes_everything() {
    let only = router(&[], Some(4));
    assert_eq!(only.only(), Some(4));
    assert_eq!(only.find(None, b"/a/../b//c%2F"), Ok(Some(4)));
    assert_eq!(router(&[("", "/a", 1)], Some(4)).only(), None);
    assert_eq!(router(&[("a.test", "", 1)], Some(4)).only(), None);
    assert_eq!(router(&[("*.test", "", 1)], Some(4)).only(), None);
}

#[test]
fn what_no_route_takes_has_no_pool() {
    let router = router(&[("a.test", "/x", 1)], None);
    assert_eq!(router.only(), None);
    for (host, path) in [(Some("b.test"), "/x"), (Some("a.test"), "/y"), (None, "/x")] {
        assert_eq!(router.find(host.map(str::as_bytes), path.as_bytes()), Ok(None), "{host:?} {path}");
    }
}

#[test]
fn of_two_equal_routes_the_first_wins() {
    let router = router(&[("", "/a", 1), ("", "/a/", 2), ("", "/b", 3), ("", "/a", 4)], None);
    assert_eq!(router.find(None, b"/a"), Ok(Some(1)));
}

#[test]
fn a_path_that_may_be_read_in_two_ways_is_refused_where_that_changes_the_pool() {
    // 1 is a guarded pool, 2 a public one beside it, 0 takes the rest.
    let router = router(&[("", "/admin", 1), ("", "/static", 2)], Some(0));
    for (path, expected) in [
        // The same whichever way: equivalent encodings, and peculiarities below or beside the prefixes.
        ("/admin/x", Ok(1)),
        ("/%61dmin", Ok(1)),
        ("/%61%64%6D%69%6e/x", Ok(1)),
        ("/adm%69n?x=%2F..%2F", Ok(1)),
        ("/admin%20x", Ok(0)),
        ("/admin%zz", Ok(0)),
        ("/admin%", Ok(0)),
        ("/admin%2", Ok(0)),
        ("/%2561dmin", Ok(0)),
        ("/static/a//b", Ok(2)),
        ("/static/./a", Ok(2)),
        ("/static/a/../b", Ok(2)),
        ("/static/a%2Fb", Ok(2)),
        ("/static/a%5Cb\\c", Ok(2)),
        ("/static/", Ok(2)),
        ("/static//", Ok(2)),
        ("/other/%2F/..//x", Ok(0)),
        ("/x/%2e%2e/y", Ok(0)),
        ("/.well-known/admin", Ok(0)),
        ("/..admin", Ok(0)),
        ("/admin/..x", Ok(1)),
        ("/admin/...", Ok(1)),
        ("/other?a=/../admin", Ok(0)),
        ("//other", Ok(0)),
        ("/../../other", Ok(0)),
        // Another pool by how the backend reads it.
        ("/static/../admin", Err(Ambiguous)),
        ("/static/%2e%2E/admin", Err(Ambiguous)),
        ("/static/.%2e/admin", Err(Ambiguous)),
        ("/static/..%2Fadmin", Err(Ambiguous)),
        ("/static%2f..%2fadmin", Err(Ambiguous)),
        ("/static/..\\admin", Err(Ambiguous)),
        ("/static/..%5Cadmin", Err(Ambiguous)),
        ("/static/..;/admin", Err(Ambiguous)),
        ("/static/..;x=1/admin", Err(Ambiguous)),
        ("/static/x/..//../admin", Err(Ambiguous)),
        ("/admin/..", Err(Ambiguous)),
        ("/admin/../other", Err(Ambiguous)),
        ("/admin/../admin/x", Ok(1)),
        ("/other/../admin", Err(Ambiguous)),
        ("/./admin", Err(Ambiguous)),
        ("//admin", Err(Ambiguous)),
        ("/%2Fadmin", Err(Ambiguous)),
        ("/%2fadmin", Err(Ambiguous)),
        ("/\\admin", Err(Ambiguous)),
        ("\\admin", Err(Ambiguous)),
        ("/admin%2Fx", Err(Ambiguous)),
        ("/admin%5Cx", Err(Ambiguous)),
        ("/admin\\x", Err(Ambiguous)),
        ("/admin%2F", Err(Ambiguous)),
        ("/../admin", Err(Ambiguous)),
        // Plain and fully resolved agree, and a server that resolves dots but merges nothing does not.
        ("/static/../other//../static/x", Err(Ambiguous)),
        ("/other/a%2F../../static", Err(Ambiguous)),
    ] {
        let expected = expected.map(Some);
        assert_eq!(router.find(None, path.as_bytes()), expected, "{path}");
    }
}

#[test]
fn two_paths_to_the_same_pool_are_no_reason_to_refuse() {
    let router = router(&[("", "/a", 1), ("", "/b", 1)], Some(0));
    assert_eq!(router.find(None, b"/a/../b"), Ok(Some(1)));
    assert_eq!(router.find(None, b"/a/../c"), Err(Ambiguous));
}

#[test]
fn a_routes_own_path_may_be_encoded() {
    let router = router(&[("", "/a%20b", 1), ("", "/x%2fy", 2)], Some(0));
    assert_eq!(router.find(None, b"/a%20b/c"), Ok(Some(1)));
    assert_eq!(router.find(None, b"/x%2Fy"), Err(Ambiguous));
    assert_eq!(router.find(None, b"/x%252Fy"), Ok(Some(0)));
}

/// Paths made of what matters, and of anything.
fn peculiar_path() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(&[
        "/", "//", "a", "b", "%61", ".", "..", "%2e", "%2F", "%5c", "\\", "%25", "%", ";", "?", "c",
    ]);
    prop_oneof![
        9 => prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()).into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

/// The plain rule, written another way: segments of the path, decoded, against those of the prefix.
fn plainly(path: &[u8], prefix: &[&[u8]]) -> bool {
    let path = path.split(|&byte| byte == b'?' || byte == b'#').next().unwrap();
    let mut segments = path
        .split(|&byte| byte == b'/')
        .map(|segment| String::from_utf8_lossy(segment).replace("%61", "a").replace("%2e", ".").into_bytes());
    segments.next().is_some_and(|first| first.is_empty())
        && prefix.iter().all(|&wanted| segments.next().is_some_and(|segment| segment == wanted))
}

proptest! {
    #[test]
    fn any_host_and_path_are_routed_or_refused(
        host in prop::option::of(prop::collection::vec(any::<u8>(), 0..30)),
        path in peculiar_path(),
    ) {
        let router = router(&[("*.a", "/a", 1), ("a.a", "/b", 2), ("", "/a/b", 3)], Some(0));
        let _ = router.find(host.as_deref(), &path);
    }

    #[test]
    fn a_path_that_is_not_refused_goes_by_its_plain_segments(path in peculiar_path()) {
        let router = router(&[("", "/a", 1), ("", "/a/b", 2), ("", "/b", 3)], Some(0));
        if let Ok(pool) = router.find(None, &path) {
            let expected = match () {
                () if plainly(&path, &[b"a", b"b"]) => 2,
                () if plainly(&path, &[b"a"]) => 1,
                () if plainly(&path, &[b"b"]) => 3,
                () => 0,
            };
            prop_assert_eq!(pool, Some(expected), "{}", String::from_utf8_lossy(&path));
        }
    }

    #[test]
    fn a_path_that_is_not_refused_is_routed_like_what_a_resolving_server_makes_of_it(path in peculiar_path()) {
        let router = router(&[("", "/a", 1), ("", "/b", 3)], Some(0));
        let resolved = resolved(&path);
        prop_assume!(path.starts_with(b"/"));
        if let Ok(pool) = router.find(None, &path) {
            prop_assert_eq!(router.find(None, &resolved), Ok(pool), "{} {}",
                String::from_utf8_lossy(&path), String::from_utf8_lossy(&resolved));
        }
    }

    #[test]
    fn a_longer_path_under_a_prefix_keeps_its_route(rest in "[a-z0-9/_-]{0,20}") {
        let router = router(&[("", "/a", 1)], Some(0));
        prop_assume!(!rest.contains("//") && !rest.starts_with('/'));
        prop_assert_eq!(router.find(None, format!("/a/{rest}").as_bytes()), Ok(Some(1)));
        let beside = format!("/a{rest}");
        let fits = rest.is_empty() || rest.starts_with('/');
        prop_assert_eq!(router.find(None, beside.as_bytes()), Ok(Some(usize::from(fits))));
    }
}

/// A path as a server reads it that decodes everything once, takes backslashes for slashes, merges
/// and resolves; written apart from the code under test.
fn resolved(path: &[u8]) -> Vec<u8> {
    let path = path.split(|&byte| byte == b'?' || byte == b'#').next().unwrap();
    let mut decoded = vec![];
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let digits = digits.filter(|two| two.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.filter(|_| byte == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(value) => (decoded.push(value), rest = &after[2..]).0,
            None => (decoded.push(byte), rest = after).0,
        }
    }
    let mut segments: Vec<&[u8]> = vec![];
    for segment in decoded.split(|&byte| byte == b'/' || byte == b'\\') {
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let encode = |segment: &&[u8]| segment.iter().map(|byte| format!("%{byte:02X}")).collect::<String>();
    segments.iter().map(|segment| format!("/{}", encode(segment))).collect::<String>().into_bytes()
}
