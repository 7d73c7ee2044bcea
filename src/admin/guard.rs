//! Who may ask, and who may change something.
//!
//! Through a port whoever shows the token, if there is one. Without one: people and scripts on this host, and
//! our own dashboard, but no other web page in somebody's browser.
//!
//! A browser on this host reaches the loopback port, and any page in it can send requests there: across
//! origins without reading the answer, and with reading it if the page's own name was made to resolve to
//! loopback (DNS rebinding). Such requests carry marks that a page cannot leave out: `Origin` on all that
//! are not GET or HEAD, `Sec-Fetch-Site`, and the page's name in `Host`. And a page cannot send JSON across
//! origins without being asked for leave first (Fetch, section 4.8), which this surface never gives. On a
//! Unix socket, which no browser reaches, the file's rights decide. A token proves more than any of this.
//!
//! The dashboard carries the same marks, and they say that it is ours: an origin that is the address which is
//! asked. Only we serve pages there, the dashboard is the only one, and its policy keeps others' scripts out
//! of it and itself out of others' frames. The address must be one that no name of somebody else's leads to,
//! or a page that was rebound to it could call itself ours too.

use super::problem::Problem;
use super::token::Token;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Through a port that everybody on this host reaches, browsers too.
    Tcp,
    /// Through a Unix socket.
    Unix,
}

/// What is asked of whoever comes through one listener.
pub(super) struct Door {
    pub(super) way: Way,
    /// What a request through a port must show.
    pub(super) token: Option<Rc<Token>>,
}

impl Door {
    /// Whether a request with these fields may ask for anything.
    ///
    /// # Errors
    /// It has not the token.
    pub(super) fn may_ask(&self, fields: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = self.token() else { return Ok(()) };
        let mut shown = fields.get_all(AUTHORIZATION).iter();
        match (shown.next().map(HeaderValue::as_bytes), shown.next()) {
            (Some(shown), None) if bearer(shown).is_some_and(|shown| token.is(shown)) => Ok(()),
            (None, _) => Err(Problem::unauthorized("the request shows no token")),
            (Some(_), _) => Err(Problem::unauthorized("the request does not show the right token")),
        }
    }

    /// Whether a request with these fields, which may ask, may change something.
    ///
    /// # Errors
    /// The mark of a browser that it carries, or a `Host` that no tool of ours sends.
    pub(super) fn may_change(&self, fields: &HeaderMap) -> Result<(), Problem> {
        if self.way == Way::Unix || self.token.is_some() { Ok(()) } else { from_no_other_page(fields) }
    }

    /// Whether a request with these fields may watch. What it sees is kept from pages of other sites by the
    /// browser, but their streams would take the places of those who may.
    ///
    /// # Errors
    /// The page of another site asks.
    pub(super) fn may_watch(&self, fields: &HeaderMap) -> Result<(), Problem> {
        let site = fields.get("sec-fetch-site").map(HeaderValue::as_bytes);
        match site {
            None | Some(b"same-origin" | b"none") => Ok(()),
            Some(_) if self.way == Way::Unix || self.token.is_some() => Ok(()),
            Some(_) => Err(Problem::forbidden(
                "a page of another site may not watch",
                "open the dashboard at weir's own admin address",
            )),
        }
    }

    /// Whether a request with these fields may change something without a token.
    pub(super) fn may_change_without_token(&self, fields: &HeaderMap) -> bool {
        self.token().is_none() && self.may_change(fields).is_ok()
    }

    /// Whether a body of this type may be read. On a port it must say that it is JSON, which no form does.
    ///
    /// # Errors
    /// It says something else, or nothing.
    pub(super) fn is_json(&self, fields: &HeaderMap) -> Result<(), Problem> {
        is_json(fields, self.way)
    }

    fn token(&self) -> Option<&Token> {
        match self.way {
            Way::Tcp => self.token.as_deref(),
            Way::Unix => None,
        }
    }
}

/// What an `Authorization` of the Bearer scheme shows (RFC 6750 §2.1); the scheme's case does not matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, shown) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| shown.trim_ascii())
}

fn from_no_other_page(fields: &HeaderMap) -> Result<(), Problem> {
    let Some(host) = only(fields, "host").flatten().filter(|host| is_of_this_host(host)) else {
        return Err(Problem::forbidden(
            "the request's Host is not an IP address or localhost, so it may come from a web page",
            "ask 127.0.0.1, [::1] or localhost, or the Unix socket",
        ));
    };
    let own = |origin: &str| origin.strip_prefix("http://").is_some_and(|of| of.eq_ignore_ascii_case(host));
    if only(fields, "origin").is_some_and(|origin| !origin.is_some_and(own)) {
        return Err(another_page("origin"));
    }
    if only(fields, "sec-fetch-site").is_some_and(|site| site != Some("same-origin")) {
        return Err(another_page("sec-fetch-site"));
    }
    Ok(())
}

fn another_page(mark: &str) -> Problem {
    Problem::forbidden(
        format!(
            "the request's {mark} says that it comes from another web page, which may not change anything"
        ),
        "use the dashboard, `weir ctl` or curl",
    )
}

/// A field's value: `None` if there is none, `Some(None)` if there are several or it is no text.
fn only<'a>(fields: &'a HeaderMap, name: &str) -> Option<Option<&'a str>> {
    let mut values = fields.get_all(name).iter();
    let first = values.next()?;
    Some(first.to_str().ok().filter(|_| values.next().is_none()))
}

fn is_json(fields: &HeaderMap, way: Way) -> Result<(), Problem> {
    let kind = fields.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let essence = kind.split(';').next().unwrap_or("").trim();
    if way == Way::Unix || essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(
        hyper::StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "not_json",
        "the request has a body and does not say that it is JSON",
        "send JSON, with the field content-type: application/json",
    ))
}

/// A name can be made to resolve to loopback by whoever owns it; an IP address and "localhost" cannot.
fn is_of_this_host(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            return address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port));
        }
        None => match host.split_once(':') {
            Some((name, port)) if is_port(&format!(":{port}")) => name,
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        fields
    }

    fn door(way: Way) -> Door {
        Door { way, token: None }
    }

    #[test]
    fn only_the_bearer_scheme_shows_a_token() {
        for (value, shown) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("BEARER  abc ", Some("abc")),
            ("Bearer", None),
            ("Basic abc", None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(bearer(value.as_bytes()), shown.map(str::as_bytes), "{value:?}");
        }
    }

    #[test]
    fn what_may_come_from_another_web_page_changes_nothing_over_tcp() {
        let allowed: &[&[(&str, &str)]] = &[
            &[("host", "127.0.0.1:9900")],
            &[("host", "127.0.0.1")],
            &[("host", "localhost:9900")],
            &[("host", "LocalHost")],
            &[("host", "[::1]:9900")],
            &[("host", "[::1]")],
            &[("host", "10.0.0.7:80"), ("user-agent", "curl/8")],
            &[("host", "127.0.0.1:9900"), ("origin", "http://127.0.0.1:9900")],
            &[
                ("host", "127.0.0.1:9900"),
                ("origin", "http://127.0.0.1:9900"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[("host", "LOCALHOST:9900"), ("origin", "http://localhost:9900")],
            &[("host", "[::1]:9900"), ("sec-fetch-site", "same-origin")],
        ];
        for lines in allowed {
            assert!(door(Way::Tcp).may_change(&fields(lines)).is_ok(), "{lines:?}");
        }
        let refused: &[&[(&str, &str)]] = &[
            &[],
            &[("host", "")],
            &[("host", "evil.example:9900")],
            &[("host", "localhost.evil.example")],
            &[("host", "127.0.0.1.evil.example:9900")],
            &[("host", "[::1].evil.example")],
            &[("host", "[::1]evil:9900")],
            &[("host", "localhost:x")],
            &[("host", "127.0.0.1"), ("host", "evil.example")],
            &[("host", "127.0.0.1:9900"), ("origin", "http://evil.example")],
            &[("host", "127.0.0.1:9900"), ("origin", "null")],
            &[("host", "127.0.0.1:9900"), ("origin", "")],
            &[("host", "127.0.0.1:9900"), ("origin", "http://127.0.0.1:9901")],
            &[("host", "127.0.0.1:9900"), ("origin", "http://127.0.0.1")],
            &[("host", "127.0.0.1:9900"), ("origin", "http://127.0.0.1:9900.evil.example")],
            &[("host", "127.0.0.1:9900"), ("origin", "https://127.0.0.1:9900")],
            &[("host", "localhost:9900"), ("origin", "http://127.0.0.1:9900")],
            // A name of the page's own that was made to lead here: its origin is what it asks.
            &[
                ("host", "evil.example:9900"),
                ("origin", "http://evil.example:9900"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[
                ("host", "127.0.0.1:9900"),
                ("origin", "http://127.0.0.1:9900"),
                ("origin", "http://evil.example"),
            ],
            &[
                ("host", "127.0.0.1:9900"),
                ("origin", "http://127.0.0.1:9900"),
                ("sec-fetch-site", "same-site"),
            ],
            &[("host", "127.0.0.1:9900"), ("sec-fetch-site", "cross-site")],
            &[("host", "127.0.0.1:9900"), ("sec-fetch-site", "same-site")],
            &[("host", "127.0.0.1:9900"), ("sec-fetch-site", "none")],
        ];
        for lines in refused {
            let status = door(Way::Tcp).may_change(&fields(lines)).map_err(|problem| problem.status.as_u16());
            assert_eq!(status, Err(403), "{lines:?}");
            assert!(door(Way::Unix).may_change(&fields(lines)).is_ok(), "no browser reaches it: {lines:?}");
        }
    }

    #[test]
    fn a_page_of_another_site_takes_no_place_of_those_who_watch() {
        let may =
            |door: &Door, lines: &[(&'static str, &'static str)]| door.may_watch(&fields(lines)).is_ok();
        let (tcp, unix) = (door(Way::Tcp), door(Way::Unix));
        for (site, allowed) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false), ("x", false)]
        {
            assert_eq!(may(&tcp, &[("sec-fetch-site", site)]), allowed, "{site}");
            assert!(may(&unix, &[("sec-fetch-site", site)]), "no browser reaches it: {site}");
        }
        assert!(may(&tcp, &[]), "curl");
        assert!(tcp.may_change_without_token(&fields(&[("host", "127.0.0.1")])));
        assert!(!tcp.may_change_without_token(&fields(&[("host", "127.0.0.1"), ("origin", "null")])));
        assert!(unix.may_change_without_token(&fields(&[])));
    }

    #[test]
    fn a_body_over_tcp_says_that_it_is_json() {
        for (kind, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("multipart/form-data; boundary=application/json", false),
            ("application/jsonp", false),
        ] {
            let fields = fields(&[("content-type", kind)]);
            assert_eq!(is_json(&fields, Way::Tcp).is_ok(), json, "{kind}");
            assert!(is_json(&fields, Way::Unix).is_ok(), "{kind}");
        }
        assert!(is_json(&HeaderMap::new(), Way::Tcp).is_err());
    }
}
