//! The statuses that weir itself may answer, explained by their causes; and what is true of all others.

use super::explanation::{Explanation, Kind};

/// How weir's own answers are known.
const WHOSE: (&str, &str) = (
    "Proxy-Status",
    "a field that only weir's own answers have, with the cause in `details` (unless listener.via is \"\"); a \
     backend's answer passes as it is",
);

/// weir's own; `None`: only backends answer with it.
pub(super) fn status(status: u16) -> Option<Explanation> {
    let of = |word, title, text| Explanation::new(Kind::Status, word, title, text);
    Some(match status {
        400 => of(
            "400",
            "Bad Request",
            "The request is malformed, or can be read in two ways; nothing of it was forwarded. The client's fault, \
             unless it comes from a backend.",
        )
        .causes(&[
            ("bad_head", "the head: the answer's text says what is wrong, and at which byte"),
            ("bad_body", "the chunks of its body"),
            ("unsupported", "an upgrade with a body"),
        ])
        .look(&[WHOSE, ("weir_refusals_total{status=\"400\"}", "weir's own, by cause")]),
        404 => of(
            "404",
            "Not Found",
            "Mostly a backend's: the application has no such page. weir's own only if no route takes the request.",
        )
        .causes(&[("no_route", "weir's own: no route for this host and path")])
        .look(&[
            WHOSE,
            ("weir_refusals_total{cause=\"no_route\"}", "weir's own"),
            ("weir_requests_total{class=\"4xx\"}", "backends', by pool and backend"),
        ]),
        408 => of(
            "408",
            "Request Timeout",
            "The client sent its request too slowly, or not to its end.",
        )
        .causes(&[
            ("head_timeout", "the head was not there within listener.head_timeout (10s)"),
            ("body_timeout", "the body came more slowly than listener.body_min_rate_per_s (1KiB)"),
        ])
        .look(&[WHOSE, ("weir_refusals_total{status=\"408\"}", "weir's own, by cause")]),
        413 => of("413", "Content Too Large", "The request's body is larger than somebody allows.")
            .causes(&[("body_too_large", "weir's own: over listener.max_body (1GiB)")])
            .look(&[WHOSE])
            .act(&["If it is a backend's, its own limit is lower than weir's: raise it there (nginx: \
                    client_max_body_size)."]),
        414 => of("414", "URI Too Long", "The request line alone is longer than somebody allows.")
            .causes(&[("head_too_large", "weir's own: over listener.max_head (32KiB)")])
            .look(&[WHOSE]),
        417 => of(
            "417",
            "Expectation Failed",
            "The request has an Expect that is not 100-continue, which nobody knows.",
        )
        .causes(&[("bad_head", "weir's own")])
        .look(&[WHOSE])
        .act(&["Have the client leave the field out."]),
        431 => of(
            "431",
            "Request Header Fields Too Large",
            "The request's head is larger than somebody allows: mostly cookies that have grown.",
        )
        .causes(&[("head_too_large", "weir's own: over listener.max_head (32KiB) or max_headers (100)")])
        .look(&[WHOSE]),
        501 => of(
            "501",
            "Not Implemented",
            "The request asks for what weir does not do: CONNECT, or a Transfer-Encoding other than chunked.",
        )
        .causes(&[("unsupported", "weir's own")])
        .look(&[WHOSE]),
        502 => of(
            "502",
            "Bad Gateway",
            "A backend was asked, and no whole answer came of it. The answer's text and its Proxy-Status say which of \
             these it was (upstream_failed/WORD); the likeliest first:",
        )
        .causes(&[
            ("connect", "nothing listens there: is the backend running, is its address right?"),
            ("no_response", "it closed instead of answering: a crash, a restart"),
            ("truncated", "it ended in the middle of its answer"),
            ("bad_response", "it does not speak HTTP/1.1 there: TLS, HTTP/2"),
        ])
        .look(&[
            WHOSE,
            ("weir_upstream_failures_total", "which backend, and which of these: by pool, backend and cause"),
            ("weir ctl backends", "is it down, since when, and why?"),
            ("curl -v http://ADDRESS/PATH", "from weir's host, around weir"),
        ])
        .act(&[
            "weir explain connect, and so on, says what to do about each.",
            "Backends that are down cost no 502 once they are checked: [pool.NAME.health].",
        ]),
        503 => of(
            "503",
            "Service Unavailable",
            "There is no room, or nobody to ask. Where it is weir's own it came at once; the likeliest first:",
        )
        .causes(&[
            ("no_backend", "every backend of the pool is down, ejected, drained or unchecked"),
            ("upstream_failed", "all connections that pool.NAME.upstream.max_connections allows are in use"),
            ("request_memory", "too many large requests are on their way to backends"),
            ("head_memory", "too many incomplete heads: slow clients, or an attack"),
        ])
        .look(&[
            WHOSE,
            ("weir_refusals_total{status=\"503\"}", "weir's own, by cause"),
            ("weir ctl backends", "the state of each backend, and why"),
            ("weir_requests_total{class=\"5xx\"}", "backends' own, by pool and backend"),
        ])
        .act(&["If backends answer 503 themselves, \"503\" in pool.NAME.retry.on has another one asked."]),
        504 => of(
            "504",
            "Gateway Timeout",
            "A backend was asked, and took too long. The answer's text and its Proxy-Status say which of these it was \
             (upstream_failed/WORD); the likeliest first:",
        )
        .causes(&[
            ("response_timeout", "no answer within pool.NAME.timeouts.response (30s), or total"),
            ("connect_timeout", "no connection within pool.NAME.timeouts.connect (1s)"),
            ("body_timeout", "it stopped in the middle of a small answer (between_bytes, 30s)"),
        ])
        .look(&[
            WHOSE,
            ("weir_upstream_failures_total", "which backend, and which of these: by pool, backend and cause"),
            ("weir ctl backends", "IN-FLIGHT and P99: one backend, or all of them?"),
        ])
        .act(&["weir explain response_timeout, and so on, says what to do about each."]),
        505 => of(
            "505",
            "HTTP Version Not Supported",
            "The request's version is not HTTP/1.1 or HTTP/1.0: an HTTP/2 client without TLS, or none at all.",
        )
        .causes(&[("bad_head", "weir's own")])
        .look(&[WHOSE])
        .act(&["Have the client speak HTTP/1.1: curl --http1.1."]),
        _ => return None,
    })
}
