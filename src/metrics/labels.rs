//! The words by which counters are told apart: parts of an exchange, failures, outcomes, refusals.
//!
//! Each is an enum whose place in its list is its index in a counter's array. Not here: the counters (`stats`), and what
//! the words mean to an operator (`cli/explain`).

/// Makes an enum of causes that are counters' labels: its list and its words in one place.
macro_rules! labelled {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its word in metrics and logs.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
        }
    };
}

labelled! {
    /// A part of an exchange whose length is recorded.
    Phase {
        /// From the pick to an upstream connection that can be written to.
        Connect = "connect",
        /// From the request's last byte to the backend to the first byte of its response.
        FirstByte = "first_byte",
        /// From the request's first byte to the response's last.
        Whole = "whole",
        /// The whole without waiting for the backend and the client: what weir itself costs.
        Own = "own",
    }
}

labelled! {
    /// How a backend failed an attempt.
    UpstreamFailure {
        /// The connection was refused, reset or unreachable.
        Connect = "connect",
        /// No connection within `timeouts.connect`.
        ConnectTimeout = "connect_timeout",
        /// The connection stood, and the TLS handshake over it failed.
        Tls = "tls",
        /// The connection ended before a byte of the response.
        NoResponse = "no_response",
        /// No response within `timeouts.response`.
        ResponseTimeout = "response_timeout",
        /// A head or a framing that is not HTTP.
        BadResponse = "bad_response",
        /// The connection ended before the response did.
        Truncated = "truncated",
        /// Nothing of the response for `timeouts.between_bytes`, or not whole within `timeouts.total`.
        BodyTimeout = "body_timeout",
        /// A status of `retry.on`, for which the request was sent elsewhere.
        Status = "status",
    }
}

labelled! {
    /// With whom a TLS handshake is done.
    Side {
        /// A client.
        Client = "client",
        /// A backend.
        Backend = "backend",
    }
}

labelled! {
    /// What a TLS handshake came to.
    Handshake {
        /// Done, from the beginning.
        Full = "full",
        /// Done, by resuming an earlier session.
        Resumed = "resumed",
        /// Not done within `head_timeout` (clients) or `timeouts.connect` (backends).
        Timeout = "timeout",
        /// The peer ended the connection before it was done.
        Gone = "gone",
        /// It waited for its client and had to make room for others.
        Evicted = "evicted",
        /// The client spoke plain HTTP.
        NotTls = "not_tls",
        /// The peer's certificate is not good, or it has none.
        Certificate = "certificate",
        /// Both sides have no version, cipher or protocol in common.
        NothingInCommon = "nothing_in_common",
        /// The peer refused, by an alert.
        Refused = "refused",
        /// What the peer said is not TLS, or against its rules.
        Protocol = "protocol",
    }
}

labelled! {
    /// The version of TLS that was agreed on with a client.
    TlsVersion {
        /// TLS 1.2.
        Tls12 = "TLSv1.2",
        /// TLS 1.3.
        Tls13 = "TLSv1.3",
    }
}

labelled! {
    /// Why weir itself answered a request, or gave it up, instead of passing on a backend's answer.
    Refusal {
        /// A request head that is not HTTP, or is framed in two ways.
        BadHead = "bad_head",
        /// The head is over `max_head` or has more than `max_headers` fields.
        HeadTooLarge = "head_too_large",
        /// The body is over `max_body`.
        BodyTooLarge = "body_too_large",
        /// A chunked body that is not one.
        BadBody = "bad_body",
        /// A feature that weir does not pass on.
        Unsupported = "unsupported",
        /// A TRACE or OPTIONS whose `Max-Forwards` was 0: it was meant for weir.
        LastHop = "last_hop",
        /// No route for this host and path.
        NoRoute = "no_route",
        /// The pool has no usable backend.
        NoBackend = "no_backend",
        /// No attempt at a backend succeeded.
        UpstreamFailed = "upstream_failed",
        /// No whole head within `head_timeout`.
        HeadTimeout = "head_timeout",
        /// Incomplete heads took all the memory that there is for them.
        HeadMemory = "head_memory",
        /// Large requests on their way to backends took all the memory that there is for them.
        RequestMemory = "request_memory",
        /// The body came more slowly than `body_min_rate_per_s`.
        BodyTimeout = "body_timeout",
        /// The client read the response more slowly than `body_min_rate_per_s`.
        SlowReader = "slow_reader",
        /// The client went away before its answer was whole.
        ClientGone = "client_gone",
        /// The shard has `max_connections` already.
        TooManyConnections = "too_many_connections",
        /// An HTTP/2 connection's frames or resets were a flood.
        Flood = "flood",
        /// `grace` was over before the exchange was.
        Stopped = "stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_labels_number_is_its_place_in_the_list_so_counters_are_told_apart() {
        assert!(Phase::ALL.iter().enumerate().all(|(at, phase)| *phase as usize == at));
        assert!(UpstreamFailure::ALL.iter().enumerate().all(|(at, failure)| *failure as usize == at));
        assert_eq!(Refusal::Stopped as usize + 1, Refusal::ALL.len());
    }
}
