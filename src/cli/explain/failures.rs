//! How a backend failed an attempt, and which parts of an exchange are measured: each explained.
//!
//! The matches have no `_`, so that a word that is new does not build before it is explained.

use super::explanation::{Explanation, Kind};
use crate::metrics::{Phase, UpstreamFailure};

/// A cause of the counter `weir_upstream_failures_total`.
pub(super) fn failure(failure: UpstreamFailure) -> Explanation {
    const BY_BACKEND: (&str, &str) = ("weir_upstream_failures_total", "how many, by pool, backend and cause");
    let of = |title, text| Explanation::new(Kind::Failure, failure.label(), title, text);
    match failure {
        UpstreamFailure::Connect => of(
            "the backend cannot be connected to",
            "The connection was refused, reset or the address unreachable. The backend does not run, listens on \
             another address or port, or a firewall rejects; seldom, this host has no local port left. Tried again \
             on another backend by default; if none is left the client gets 502.",
        )
        .look(&[
            BY_BACKEND,
            ("curl -v http://ADDRESS/", "from weir's host: refused, no route, or it works"),
            ("ss -ltn", "on the backend's host: does it listen, and on which address?"),
            ("weir doctor --config FILE", "its line local_ports says whether ports run out"),
        ])
        .act(&[
            "Start the backend, or mend pool.NAME.backend's address.",
            "Give the pool a check, so that it is not tried in vain: [pool.NAME.health].",
        ]),
        UpstreamFailure::Tls => of(
            "the TLS handshake with the backend failed",
            "The connection stood, but the pool has [pool.NAME.tls] and no handshake succeeded: the backend's \
             certificate is not from an authority in ca, has expired or does not name server_name; the backend speaks \
             no TLS on this port, or no version and cipher that weir does; or it wants a client certificate. Nothing \
             of the request was sent, so it is tried again on another backend; if none is left the client gets 502.",
        )
        .look(&[
            BY_BACKEND,
            ("weir_tls_handshakes_total{side=\"backend\"}", "what handshakes came to, by cause"),
            ("the log", "\"no TLS handshake with a backend\", with the reason"),
            ("openssl s_client -connect ADDRESS -servername NAME", "shows the certificate, and what is wrong"),
        ])
        .act(&[
            "Certificate: name its authority in pool.NAME.tls.ca, or the name that it has in server_name.",
            "No TLS there: remove [pool.NAME.tls], or give the port that speaks it.",
        ]),
        UpstreamFailure::ConnectTimeout => of(
            "no connection to the backend within timeouts.connect",
            "Nobody answered for pool.NAME.timeouts.connect (1s). Its host is down, a firewall drops packets, or \
             the backend is so busy that its accept queue is full. Tried again by default; if none is left the \
             client gets 504.",
        )
        .look(&[
            BY_BACKEND,
            ("nstat -az TcpExtListenOverflows", "on the backend's host: grows if its queue is full"),
            ("weir_upstream_connect_seconds_total", "over weir_upstream_connects_total: time of a connect"),
        ])
        .act(&[
            "If the queue is full: give the backend more workers or a longer backlog.",
            "If the way is long: raise pool.NAME.timeouts.connect.",
        ]),
        UpstreamFailure::NoResponse => of(
            "the backend closed the connection instead of answering",
            "It took the request, or a part of it, and ended before a byte of an answer: a worker crashed or was \
             restarted, or it has a limit of its own. Tried again if the method is idempotent; a POST is not, since \
             it may have run. An idle connection that turns out to be dead is replaced without being counted here. A \
             backend that wants a certificate of weir's and gets none, or one that it does not believe, ends so too: \
             with TLS 1.3 it says so only after the handshake. The client gets 502.",
        )
        .look(&[BY_BACKEND, ("the backend's own log", "a crash, an out-of-memory kill, a restart")])
        .act(&[
            "Mend the backend.",
            "If it wants a certificate: name one in pool.NAME.tls.cert and key.",
            "If it closes idle connections: keep pool.NAME.upstream.idle_timeout (4s) below its keep-alive timeout.",
        ]),
        UpstreamFailure::ResponseTimeout => of(
            "no answer began within timeouts.response",
            "From the request's end to the answer's first byte it took longer than pool.NAME.timeouts.response \
             (30s), or what was left of timeouts.total; or the backend did not read the request in that time. A slow \
             or stuck application, mostly behind a database. Not tried again by default. The client gets 504.",
        )
        .look(&[
            BY_BACKEND,
            ("weir_phase_seconds{phase=\"first_byte\"}", "how long answers take, by backend"),
            ("weir ctl backends", "IN-FLIGHT: is one backend stuck, or are all?"),
        ])
        .act(&[
            "Make it faster, or raise pool.NAME.timeouts.response for what may take so long.",
            "If one backend is stuck: [pool.NAME.eject] takes it out, and \"response_timeout\" in \
             pool.NAME.retry.on asks another (idempotent methods only).",
        ]),
        UpstreamFailure::BadResponse => of(
            "what the backend sent is not valid HTTP/1.1",
            "A malformed head, two lengths, a 101 that nobody asked for, a head over 64KiB or 256 fields, more than \
             eight interim responses. Often the port speaks something else: TLS, HTTP/2, another protocol. The \
             client gets 502, and that connection is never used again.",
        )
        .look(&[BY_BACKEND, ("curl -v --http1.1 http://ADDRESS/", "shows what it says, to the byte with --raw")])
        .act(&["Mend the backend, or name its plain HTTP/1.1 port. No key makes weir lenient."]),
        UpstreamFailure::Truncated => of(
            "the backend ended in the middle of its answer",
            "The connection closed before the length that the answer promised, or before its last chunk: a crash, \
             an out-of-memory kill, a worker's own timeout. An answer of known length up to pool.NAME.retry.hold \
             (16KiB) is held until it is whole, so it is tried again, or is a 502; of a larger one the client has \
             seen the beginning, and its connection is closed.",
        )
        .look(&[BY_BACKEND, ("the backend's own log", "what ended it")])
        .act(&[
            "Mend the backend.",
            "If its answers are a little larger than 16KiB: raise pool.NAME.retry.hold (up to 16MiB).",
        ]),
        UpstreamFailure::BodyTimeout => of(
            "the backend stopped in the middle of its answer",
            "Nothing of the answer came for pool.NAME.timeouts.between_bytes (30s), or it was not whole within \
             timeouts.total. The application is stuck, or streams with long pauses. If nothing had gone to the \
             client it gets 504, or another backend is asked; else its connection is closed.",
        )
        .look(&[BY_BACKEND, ("weir_phase_seconds{phase=\"whole\"}", "how long exchanges take, by backend")])
        .act(&[
            "For streams that may pause (events, long polls): raise pool.NAME.timeouts.between_bytes, and leave \
             timeouts.total at \"0s\".",
            "Else mend the backend.",
        ]),
        UpstreamFailure::Status => of(
            "the backend answered with a status of retry.on",
            "pool.NAME.retry.on lists this status, of HTTP or of gRPC, so its answer was thrown away and the request \
             sent to another backend. The client has seen nothing of it. (When no retry is left, the answer is passed \
             on and not counted here.)",
        )
        .look(&[BY_BACKEND, ("the backend's own log", "why it answered so")])
        .act(&["Mend the backend; or take the status out of pool.NAME.retry.on if it means no failure."]),
    }
}

/// A phase of the histogram `weir_phase_seconds`.
pub(super) fn phase(phase: Phase) -> Explanation {
    let of = |title, text| Explanation::new(Kind::Phase, phase.label(), title, text);
    match phase {
        Phase::Connect => of(
            "from the pick to a connection that can be written to",
            "Zero where an idle connection was there. Long ones say that the backend's host is far or busy, or that \
             its accept queue is full.",
        )
        .look(&[("weir_upstream_connects_total", "beside weir_requests_total: how often a new one was needed")])
        .act(&[
            "If most exchanges need a new one: raise pool.NAME.upstream.idle_per_backend, or the backend's \
             keep-alive timeout and with it upstream.idle_timeout.",
        ]),
        Phase::FirstByte => of(
            "from the request's last byte to the answer's first",
            "What the backend takes to begin its answer: its own time, and one round trip.",
        )
        .look(&[("weir ctl backends", "one slow backend, or all of them?")])
        .act(&["[pool.NAME.eject] latency_factor takes one out that is slower than the others."]),
        Phase::Whole => of(
            "from the request's first byte to the answer's last",
            "What the exchange took, the client's and the backend's time included.",
        )
        .look(&[("weir_phase_seconds{phase=\"own\"}", "what of it is weir's")])
        .act(&["Compare it with first_byte: what is beyond that is bodies, and who reads or sends them slowly."]),
        Phase::Own => of(
            "weir's own share of an exchange",
            "The whole without waiting for the backend and the client. Some tens of microseconds; more says that the \
             shard is busy.",
        )
        .look(&[
            ("weir ctl shards", "connections, heartbeat and stalls of each shard"),
            ("weir doctor", "what makes this host slow"),
        ])
        .act(&["Give it more cores (runtime.cores), or more hosts."]),
    }
}
