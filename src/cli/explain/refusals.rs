//! Why weir itself answered a request, gave it up, or closed a connection at once: each cause explained.
//!
//! The matches have no `_`, so that a cause that is new does not build before it is explained.

use super::explanation::{Explanation, Kind};
use crate::limit::Exceeded;
use crate::metrics::Refusal;

/// A cause of the counter `weir_refusals_total`.
pub(super) fn refusal(refusal: Refusal) -> Explanation {
    let of = |title, text| Explanation::new(Kind::Refusal, refusal.label(), title, text);
    match refusal {
        Refusal::BadHead => of(
            "the request's head is not HTTP, or can be read in two ways",
            "What came is no HTTP/1.1 request, or one that two servers could read differently: two lengths, a \
             blank before a colon, a bare line feed, no Host, a path with %2F or /../ that would change its \
             route. The client's fault, or somebody probes. TLS or HTTP/2 sent to this port looks like it too. \
             Status 400; 417 for an Expect that nobody knows, 505 for a version that is not 1.x. The connection \
             ends, and nothing of the request was forwarded.",
        )
        .look(&[
            ("the answer's text", "says what is wrong, and at which byte"),
            ("weir_refusals_total{cause=\"bad_head\"}", "how many there are"),
            ("log.level = \"debug\"", "the log says it once a second, with the last reason in its field `last`"),
        ])
        .act(&[
            "Mend the client. No key makes weir lenient: what is read in two ways is how requests are smuggled.",
            "If it begins at byte 0 and many clients see it, they speak TLS: have something in front end it, \
             weir does not do so yet.",
        ]),
        Refusal::HeadTooLarge => of(
            "the request's head is over max_head or max_headers",
            "The head has more bytes than listener.max_head (32KiB), or more fields than listener.max_headers \
             (100). Mostly cookies that have grown, or a token with a user's whole life in it. Status 414 if \
             the request line alone is too long, else 431. The client's fault, or too low a limit.",
        )
        .look(&[
            ("weir_refusals_total{cause=\"head_too_large\"}", "how many, by status"),
            ("the answer's text", "says which of the two limits it was"),
        ])
        .act(&[
            "Have the application set fewer or smaller cookies.",
            "Or raise listener.max_head (up to 1MiB) or listener.max_headers (up to 4096), and weir ctl reload. \
             The backends must take such heads as well.",
        ]),
        Refusal::BodyTooLarge => of(
            "the request's body is over max_body",
            "The body is longer than listener.max_body (1GiB), by its Content-Length or on the way. Status 413. \
             What of it was forwarded ends with a closed connection to the backend, so that no backend takes it \
             for whole.",
        )
        .look(&[("weir_refusals_total{cause=\"body_too_large\"}", "how many there are")])
        .act(&[
            "If clients may send so much, raise listener.max_body, or set it to \"0B\" for no limit, and weir ctl \
             reload.",
        ]),
        Refusal::BadBody => of(
            "the request's chunked body is malformed",
            "A chunk's length, its end or a trailer is not what RFC 9112 has. The client's fault, or somebody \
             probes. Status 400; the connection ends. The backend's connection is \
             closed, so that it does not take the body for whole.",
        )
        .look(&[
            ("the answer's text", "says what is wrong"),
            ("log.level = \"debug\"", "the log says it once a second"),
        ])
        .act(&["Mend the client. No key makes weir lenient here."]),
        Refusal::Unsupported => of(
            "the request asks for what weir does not pass on",
            "CONNECT, a Transfer-Encoding other than chunked (both 501), or an Upgrade together with a body (400). \
             The client takes weir for a forward proxy, or asks for something rare.",
        )
        .look(&[("the answer's text", "says which of the three it is")])
        .act(&["Nothing in weir: have the client not ask for it."]),
        Refusal::LastHop => of(
            "a TRACE or OPTIONS with Max-Forwards: 0, which weir answers",
            "The client asked whoever is the last to get it, and that is weir (RFC 9110, 7.6.2). Status 200 with \
             the request's head without its secrets, or 204. Nobody's fault.",
        )
        .act(&["Nothing."]),
        Refusal::NoRoute => of(
            "no route takes this host and path",
            "No [[route]] of the listener matches the request's Host and path, and the listener has no `pool` for \
             the rest. Status 404. Either the configuration lacks a route, or the client asks for a host or path \
             that is not there: scanners do so all day.",
        )
        .look(&[
            ("weir check --config FILE", "lists each listener's routes, in a table"),
            ("curl -v http://ADDRESS/PATH -H 'Host: NAME'", "asks as the client did"),
            ("weir_refusals_total{cause=\"no_route\"}", "how many there are"),
        ])
        .act(&[
            "Add a [[route]] with the host and the path (a prefix on whole segments: /api takes /api/x, not /apix).",
            "Or give the listener a `pool`, which gets all that no route takes.",
        ]),
        Refusal::NoBackend => of(
            "the pool has no backend that may be picked",
            "Every backend of the pool is down, ejected, draining, in maintenance or not checked yet, and so are \
             those of its fallback, if it has one. Status 503 at once: no backend was asked. Usually the backends' \
             fault, or that of a health check which asks for something that they do not answer.",
        )
        .causes(&[
            ("down", "the check fails: the column WHY of weir ctl backends says how"),
            ("unchecked", "weir has just started, or the backend was just added"),
            ("draining", "an operator drained them, or took them out (maintenance)"),
            ("ejected", "their exchanges failed; the last usable one is never ejected"),
        ])
        .look(&[
            ("weir ctl backends", "state of each backend, since when, and why"),
            ("weir_pool_usable{pool=\"NAME\"}", "0 while there is none"),
            ("the log", "\"backend is down\" and the like, with the reason in `why`"),
        ])
        .act(&[
            "Start the backends, or mend what the check asks for: pool.NAME.health (path, expect, host, timeout).",
            "weir ctl ready POOL NAME takes back a drain or a maintenance.",
            "For the next time: pool.NAME.panic_below = 0.3 sends traffic to all if most seem down; \
             pool.NAME.fallback names a pool that steps in.",
        ]),
        Refusal::UpstreamFailed => of(
            "no attempt at a backend came to an answer",
            "A backend was picked and failed; where that was allowed, others were tried and failed too. The status \
             is the last failure's: 502, 504 for one of time, 503 if all connections that \
             upstream.max_connections allows were in use. The answer's text has the finer word after a slash. \
             Usually the backends' fault.",
        )
        .causes(&[
            ("connect", "nothing listens there, or it cannot be reached"),
            ("response_timeout", "the application is slow or stuck"),
            ("no_response", "it closed the connection instead of answering"),
            ("connect_timeout", "its host is down, or its queue is full"),
            ("truncated", "it ended in the middle of its answer"),
            ("bad_response", "what it speaks is not HTTP/1.1"),
        ])
        .look(&[
            ("weir_upstream_failures_total", "how many, by pool, backend and cause"),
            ("weir ctl stats", "the same in sum, in the lines failures and retries"),
            ("weir_retries_denied_total", "grows when the retry budget had nothing left"),
        ])
        .act(&[
            "Ask weir explain for the finer word.",
            "If retries would have helped: pool.NAME.retry (attempts, on, budget). A POST is sent again only if \
             not a byte of it had been taken.",
        ]),
        Refusal::HeadTimeout => of(
            "the request's head did not come within head_timeout",
            "From a request's first byte to the end of its head it took longer than listener.head_timeout (10s). A \
             very slow client, a client that died, or an attack with slow heads. Status 408. A connection on which \
             no byte came is not counted: idle_timeout ends it without a word.",
        )
        .look(&[
            ("weir_refusals_total{cause=\"head_timeout\"}", "how many there are"),
            ("log.level = \"debug\"", "the log says it once a second"),
        ])
        .act(&[
            "Few of them are normal. For clients on bad lines raise listener.head_timeout.",
            "Against an attack lower it, and set listener.max_connections_per_client.",
        ]),
        Refusal::HeadMemory => of(
            "incomplete heads took all the memory that there is for them",
            "Heads that come in pieces may take runtime.buffers x runtime.buffer_size on each shard (16MiB). Beyond \
             half of it, the head that has been incomplete longest is given up for a new one. Status 503. Thousands \
             of clients that send slowly: mostly an attack.",
        )
        .look(&[
            ("weir_refusals_total{cause=\"head_memory\"}", "how many there are"),
            ("weir_connections", "connections by shard"),
        ])
        .act(&[
            "Lower listener.head_timeout or listener.max_head, set listener.max_connections_per_client.",
            "If they are honest, raise runtime.buffers (a restart or --takeover brings it).",
        ]),
        Refusal::RequestMemory => of(
            "large requests on their way to backends took all their memory",
            "Requests with large heads, or with bodies that came along with them, may take runtime.buffers x \
             runtime.buffer_size on each shard (16MiB) until the backends have taken them. Status 503. Usually the \
             backends are slow, and the requests wait.",
        )
        .look(&[
            ("weir ctl backends", "IN-FLIGHT and P99 of each"),
            ("weir_phase_seconds{phase=\"first_byte\"}", "how long backends take to answer"),
        ])
        .act(&[
            "Make the backends faster, or add some.",
            "Or raise runtime.buffers (a restart or --takeover brings it).",
        ]),
        Refusal::BodyTimeout => of(
            "the request's body came more slowly than body_min_rate_per_s",
            "After five seconds of grace the client must send listener.body_min_rate_per_s (1KiB a second) on \
             average; the time that the backend took does not count. Status 408. A client on a very bad line, one \
             that died, or an attack with slow bodies.",
        )
        .look(&[("weir_refusals_total{cause=\"body_timeout\"}", "how many there are")])
        .act(&[
            "Few of them are normal. For clients that pause for longer, lower listener.body_min_rate_per_s; \"0B\" \
             lets any pace through, for ever.",
        ]),
        Refusal::SlowReader => of(
            "the client read its answer more slowly than body_min_rate_per_s",
            "After five seconds of grace the client must take listener.body_min_rate_per_s (1KiB a second) on \
             average. It did not, and its connection was reset in the middle of the answer: there is no status. A \
             client on a very bad line, one that is stopped or stuck, or an attack. The same happens while a shard has \
             no receive buffer left: then those that have taken nothing for a second make room, longest first.",
        )
        .look(&[
            ("weir_refusals_total{cause=\"slow_reader\"}", "how many there are"),
            ("weir_ring_no_buffers_total", "whether buffers ran out"),
        ])
        .act(&[
            "If buffers run out: raise runtime.buffers, or bound clients by listener.max_connections_per_client.",
            "Few of them are normal. For clients that pause while they read (players, downloads on hold), lower \
             listener.body_min_rate_per_s; \"0B\" waits for ever.",
        ]),
        Refusal::ClientGone => of(
            "the client went away before its answer was whole",
            "The client closed or reset its connection while it sent its request, waited or read. There is no \
             status; nginx logs 499 for it. Users who press stop, and clients whose own timeout is shorter than \
             what the backend takes. weir closes the backend's connection and tries nothing again.",
        )
        .look(&[
            ("weir_refusals_total{cause=\"client_gone\"}", "how many there are"),
            ("weir_phase_seconds{phase=\"whole\"}", "how long exchanges take: near the clients' timeout?"),
        ])
        .act(&[
            "Few of them are normal. If they grow with the latency, make the backends faster.",
            "If clients only end their side after the request (half-close) and are cut off, leave \
             listener.on_half_close at \"answer\".",
        ]),
        Refusal::TooManyConnections => of(
            "the shard has runtime.max_connections already",
            "Nothing is refused for this in this version, so the counter stays away. A full shard ends \
             connections that wait for their client longest, and if there are none, new clients wait in the \
             kernel's queue.",
        )
        .look(&[
            ("weir_connections_evicted_total", "connections that made room"),
            ("weir_accept_pauses_total", "times that new ones had to wait"),
            ("weir ctl shards", "connections of each shard"),
        ])
        .act(&[
            "Raise runtime.max_connections (a restart or --takeover brings it); weir doctor says whether the \
             limit of descriptors lets it.",
        ]),
        Refusal::Flood => of(
            "an HTTP/2 connection's frames or resets were a flood",
            "Frames that move nothing (SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA, CONTINUATION), and streams \
             that the client cancels or has weir reset, are paid from budgets that grow with time and with the \
             answers that the connection takes. This one had spent its own: it was told GOAWAY with \
             ENHANCE_YOUR_CALM and closed. An attack (rapid reset, MadeYouReset, a flood of settings), or a client \
             that is broken.",
        )
        .look(&[
            ("weir_refusals_total{cause=\"flood\"}", "connections that were closed for it"),
            ("the log", "says it once a second, and which of the two it was in its field `last`"),
        ])
        .act(&[
            "Against an attack: listener.max_connections_per_client bounds how often somebody may come back.",
            "No key widens the budgets; [listener.http2] max_streams is what resets are counted against.",
        ]),
        Refusal::Stopped => of(
            "weir stopped before the exchange was over",
            "After SIGTERM weir finishes what is under way for runtime.grace (30s); what takes longer is cut off, \
             as it is by a second signal. The process ends with it, so the counter stays away; the access log has KL.",
        )
        .look(&[
            ("the log", "\"grace is over: stopping with work in flight\""),
            ("the access log", "KL (weir explain KL): what was cut off"),
        ])
        .act(&[
            "Raise runtime.grace, and TimeoutStopSec= in the unit above shutdown_delay and grace together.",
            "For an upgrade, weir run --takeover cuts nobody off who ends within the old process's grace.",
        ]),
    }
}

/// A limit for which connections are closed as soon as they are accepted.
pub(super) fn limit(exceeded: Exceeded) -> Explanation {
    let of = |title, text| Explanation::new(Kind::Limit, exceeded.label(), title, text);
    match exceeded {
        Exceeded::Listener => of(
            "the listener has as many connections as it may",
            "listener.max_connections counts the clients' connections of a listener over all shards. One more is \
             accepted and reset at once, without an answer: a flood must cost nothing. (runtime.max_connections, \
             which is a shard's, resets nobody: weir explain too_many_connections.)",
        )
        .look(&[
            ("weir_connections_refused_total", "how many, by listener and cause"),
            ("the log", "\"connections over the limit\", with the last peer"),
        ])
        .act(&["Raise listener.max_connections, or set it to 0 for no limit, and weir ctl reload."]),
        Exceeded::Client => of(
            "the client has as many connections as it may",
            "listener.max_connections_per_client counts the connections of an IPv4 address, or of an IPv6 /64. One \
             more is accepted and reset at once, without an answer. Somebody floods, or many people share an \
             address: an office, a mobile network, a proxy.",
        )
        .look(&[
            ("weir_connections_refused_total", "how many, by listener and cause"),
            ("the log", "\"connections over the limit\", with the last peer"),
        ])
        .act(&[
            "If the peer is a proxy of yours, name it in listener.trusted_proxies: it is not counted then.",
            "Else raise listener.max_connections_per_client, and weir ctl reload.",
        ]),
        Exceeded::Handshakes => of(
            "as many clients shake hands as may at once",
            "listener.tls.max_handshakes counts the TLS handshakes that are under way on a shard. When one more begins, \
             some that have waited for their client for a second or longer are closed, the oldest first; where there \
             are none, the new one is reset at once. Handshakes are taken one after the other, a little in each turn of the loop, so that \
             those who are connected are served on; but each that waits has memory. A flood, or everybody \
             connecting anew after an interruption.",
        )
        .look(&[
            ("weir_connections_refused_total", "how many, by listener and cause"),
            ("weir_tls_handshakes_total", "what handshakes came to; outcome=\"evicted\": they made room"),
            ("weir_tls_handshake_seconds", "how long they take, the wait for their turn included"),
        ])
        .act(&[
            "If it is everybody coming back: they will, a second later. More shards take more at once.",
            "Else raise listener.tls.max_handshakes, and weir ctl reload; limit each client by \
             listener.max_connections_per_client.",
        ]),
    }
}
