//! The two letters with which a line of the access log says how its exchange ended: each explained.
//!
//! The match has no `_`, so that an end that is new does not build before it is explained.

use super::explanation::{Explanation, Kind};
use crate::log::record::Termination;

/// What the letters mean, one by one.
const LETTERS: (&str, &str) = (
    "the letters",
    "first who ended it: C client, S server (the backend), P weir by a rule, R weir for want of a resource, K weir \
     that stopped; small if a time limit did. Then where: R request, C connecting, H waiting for the answer's head, D \
     bodies, L the end of weir's life",
);

/// An exchange's end.
pub(super) fn termination(termination: Termination) -> Explanation {
    let of =
        |title, text| Explanation::new(Kind::Termination, termination.code(), title, text).look(&[LETTERS]);
    match termination {
        Termination::Normal => of(
            "the answer went down whole",
            "Nothing ended the exchange but its own end, whatever the status: a backend's 500 is --, too. A tunnel \
             (WebSocket) that is over is --. (To ask for this one: weir explain -- --.)",
        ),
        Termination::ClientRequest => of(
            "the client went away while it was sending its request",
            "The connection ended before the request's head was whole, or before a backend was picked for it. Users \
             who press stop, clients that die, port scanners.",
        )
        .causes(&[("client_gone", "the cause in the log and in weir_refusals_total")]),
        Termination::ClientRequestTimeout => of(
            "the client did not send its request in time",
            "Its head or its body came too slowly; it got 408.",
        )
        .causes(&[
            ("head_timeout", "the head, by listener.head_timeout (10s)"),
            ("body_timeout", "the body, by listener.body_min_rate_per_s (1KiB)"),
        ]),
        Termination::ClientHead => of(
            "the client went away before its answer had begun",
            "A backend had the request, and the client did not wait for it: users who press stop, or clients whose own \
             timeout is shorter than what the backend takes. nginx writes 499.",
        )
        .causes(&[
            ("client_gone", "the cause in the log and in weir_refusals_total"),
            ("first_byte", "how long backends take to begin: near the clients' timeout?"),
        ]),
        Termination::ClientData => of(
            "the client went away before its answer was whole",
            "It closed or reset its connection while the answer went down: a download that was stopped, a page that \
             was left.",
        )
        .causes(&[("client_gone", "the cause in the log and in weir_refusals_total")]),
        Termination::ClientDataTimeout => of(
            "the client read its answer too slowly",
            "It took less than listener.body_min_rate_per_s, and its connection was reset.",
        )
        .causes(&[("slow_reader", "the cause in the log and in weir_refusals_total")]),
        Termination::ServerConnect => of(
            "no connection to a backend could be made",
            "The last backend that was tried refused, reset or was unreachable; the client got 502.",
        )
        .causes(&[("connect", "what to do about it")]),
        Termination::ServerConnectTimeout => of(
            "no connection to a backend was made in time",
            "The last backend that was tried did not answer within pool.NAME.timeouts.connect; the client got 504.",
        )
        .causes(&[("connect_timeout", "what to do about it")]),
        Termination::ServerHead => of(
            "the backend did not answer, or what it said is no HTTP",
            "It closed the connection before its answer's head was whole, or sent what is not valid; the client got \
             502.",
        )
        .causes(&[
            ("no_response", "it closed instead of answering"),
            ("bad_response", "it does not speak HTTP/1.1 there"),
        ]),
        Termination::ServerHeadTimeout => of(
            "the backend did not begin to answer in time",
            "No answer within pool.NAME.timeouts.response, or total; the client got 504.",
        )
        .causes(&[("response_timeout", "what to do about it")]),
        Termination::ServerData => of(
            "the backend's answer broke off",
            "The client has seen its beginning, and its connection was closed; or, if nothing had gone down, it got \
             502.",
        )
        .causes(&[("truncated", "what to do about it")]),
        Termination::ServerDataTimeout => of(
            "the backend's answer stopped coming",
            "Nothing came for pool.NAME.timeouts.between_bytes, or it was not whole within total. The client's \
             connection was closed; or, if nothing had gone down, it got 504.",
        )
        .causes(&[("body_timeout", "what to do about it")]),
        Termination::ProxyRequest => of(
            "weir refused the request",
            "By a rule or a limit, before a backend had it or while its body went up. The line's status says more.",
        )
        .causes(&[
            ("bad_head", "400, 417, 505: not HTTP, or to be read in two ways"),
            ("no_route", "404: no route takes it"),
            ("body_too_large", "413: over listener.max_body"),
            ("head_too_large", "414, 431: over listener.max_head or max_headers"),
            ("bad_body", "400: the chunks of its body"),
            ("unsupported", "501, 400: CONNECT, codings, upgrades with a body"),
        ]),
        Termination::ProxyAnswered => of(
            "weir answered itself, as it was asked to",
            "A TRACE or OPTIONS with Max-Forwards: 0. Nobody's fault.",
        )
        .causes(&[("last_hop", "the cause in weir_refusals_total")]),
        Termination::NoServer => of(
            "no backend was usable",
            "The pool had none that may be picked; the client got 503 at once.",
        )
        .causes(&[("no_backend", "what to do about it")]),
        Termination::Resource => of(
            "weir had no memory or no place left for it",
            "The client got 503.",
        )
        .causes(&[
            ("upstream_failed", "all connections that upstream.max_connections allows were in use"),
            ("request_memory", "too many large requests were on their way"),
            ("head_memory", "too many incomplete heads"),
        ]),
        Termination::Stopped => of(
            "weir stopped, and its grace was over",
            "The exchange was cut off when the process ended.",
        )
        .causes(&[("stopped", "what to do about it")]),
    }
}
