//! What TLS handshakes come to: each explained.
//!
//! The match has no `_`, so that an outcome that is new does not build before it is explained.

use super::explanation::{Explanation, Kind};
use crate::metrics::Handshake;

/// What a handshake came to.
pub(super) fn handshake(came_to: Handshake) -> Explanation {
    const COUNTED: (&str, &str) =
        ("weir_tls_handshakes_total", "how many, by side (client, backend) and outcome");
    const LOG: (&str, &str) = (
        "the log",
        "for backends a warning with the reason; for clients once a second, at the level \"debug\"",
    );
    let of = |title, text| Explanation::new(Kind::Handshake, came_to.label(), title, text);
    match came_to {
        Handshake::Full => of(
            "done, from the beginning",
            "The costly kind: a signature and a key exchange. Clients that come back within a day mostly resume; where \
             nearly all are full, they are new, or forget their sessions, or weir was restarted (a takeover keeps the \
             keys, a restart does not).",
        )
        .look(&[COUNTED, ("weir_tls_handshake_seconds", "how long they take, the wait for their turn included")]),
        Handshake::Resumed => of(
            "done, by resuming an earlier session",
            "The client had a ticket from here, or weir one from the backend: no signature was needed, and no \
             certificate was shown.",
        )
        .look(&[COUNTED]),
        Handshake::Timeout => of(
            "it was not done in time",
            "A client has listener.head_timeout (10s) for it, a backend pool.NAME.timeouts.connect (1s). A peer that \
             says nothing, packets that are lost, or a host that is overloaded.",
        )
        .look(&[COUNTED, ("weir_tls_handshake_seconds", "whether those that are done are slow too")])
        .act(&["Few are what the network does. If all are slow, give weir more cores."]),
        Handshake::Gone => of(
            "the connection ended in the middle of it",
            "Scanners, health checks that only connect, and clients that do not believe the certificate and say no \
             more. A backend that does so restarts, or wants no connection from here.",
        )
        .look(&[COUNTED, LOG]),
        Handshake::Evicted => of(
            "the client kept it waiting, and it made room for others",
            "The shard was full, or had as many handshakes under way as listener.tls.max_handshakes allows, and this one \
             had waited for its client longest, for a second at least. That is how clients that begin handshakes and \
             say no more lock nobody out.",
        )
        .look(&[COUNTED, LOG, ("weir_connections_evicted_total", "connections that made room in a full shard")])
        .act(&["If these are no attack, raise max_handshakes, or runtime.max_connections."]),
        Handshake::NotTls => of(
            "the client spoke plain HTTP",
            "It asked for http:// at a port with TLS, and was told so with a 400.",
        )
        .look(&[COUNTED])
        .act(&["Mend the link or the client; for people who type no https://, add a listener on port 80."]),
        Handshake::Certificate => of(
            "the peer's certificate is not believed, or it has none",
            "A client's, where listener.tls.client_auth asks for one: none was shown with \"required\", it is from no \
             authority in client_ca, has expired, is not one for clients, stands in client_crl, or its authority has \
             no list there. A backend's: see `weir explain tls`.",
        )
        .look(&[
            COUNTED,
            ("the log", "once a second, with the reason and the last address"),
            ("openssl verify -purpose sslclient -CAfile CLIENT_CA CERT", "says it of a client's file"),
        ])
        .act(&[
            "Mend what the reason says. With client_crl there must be a list of each authority of the chain.",
        ]),
        Handshake::NothingInCommon => of(
            "no version, cipher suite or protocol in common",
            "A client that speaks neither TLS 1.2 nor 1.3 (or only 1.2, with min_version = \"1.3\"), that has only \
             ciphers that are broken, or that wants another protocol than alpn has. Old devices, and scanners that \
             try old versions.",
        )
        .look(&[
            COUNTED,
            ("weir_tls_versions_total", "which versions those have that are let in"),
            LOG,
        ])
        .act(&["Look whether min_version or alpn is narrower than it must be. Older versions and ciphers there are none."]),
        Handshake::Refused => of(
            "the peer ended it with an alert",
            "A client does not believe weir's certificate: it has expired, is for another name, its file lacks the \
             certificates between it and the authority, or the client does not know that one. A backend does not \
             believe the one of pool.NAME.tls.cert, or wants one.",
        )
        .look(&[
            COUNTED,
            ("weir_tls_certificate_days_left", "whether one has expired"),
            ("openssl s_client -connect ADDRESS -servername NAME", "shows the chain that clients get"),
            LOG,
        ])
        .act(&["Put the whole chain into cert (certbot: fullchain.pem, not cert.pem), then weir ctl reload."]),
        Handshake::Protocol => of(
            "what the peer said is not TLS, or against its rules",
            "Another protocol on this port, a scanner, or a broken implementation. Of a backend: it speaks no TLS \
             there.",
        )
        .look(&[COUNTED, LOG])
        .act(&["A backend without TLS: remove [pool.NAME.tls], or give the port that speaks it."]),
    }
}
