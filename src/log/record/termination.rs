//! How an exchange ended, in the two letters that HAProxy's users know.
//!
//! The first letter says who ended it: `C` the client, `S` the server, `P` weir itself by a rule, `R` weir for
//! want of a resource, `K` weir that stopped; small when it was a time limit that ran out. The second says
//! in which part: `R` the request, `C` connecting, `H` waiting for the answer's head, `D` the bodies, `L` the last part of
//! weir's own life. `--`: nothing ended it but its end. Used by the access log and explained by `weir explain`.

use super::entry::{Ending, Entry, Text};
use crate::metrics::{Refusal, UpstreamFailure};

/// An exchange's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Termination {
    /// The answer went down whole, or the tunnel is over.
    Normal,
    /// The client went away while it was sending its request, or sent one that breaks off.
    ClientRequest,
    /// The client did not send its request in time.
    ClientRequestTimeout,
    /// The client went away before its answer had begun.
    ClientHead,
    /// The client went away before its answer was whole.
    ClientData,
    /// The client read its answer too slowly.
    ClientDataTimeout,
    /// No connection to a backend could be made.
    ServerConnect,
    /// No connection to a backend was made in time.
    ServerConnectTimeout,
    /// The backend ended the connection before its answer's head was whole, or answered what is no HTTP.
    ServerHead,
    /// The backend did not begin to answer in time.
    ServerHeadTimeout,
    /// The backend's answer broke off.
    ServerData,
    /// The backend's answer stopped coming.
    ServerDataTimeout,
    /// weir refused the request.
    ProxyRequest,
    /// weir answered in the place of a backend, as it was asked to.
    ProxyAnswered,
    /// No backend was usable.
    NoServer,
    /// weir had no memory or no place left for it.
    Resource,
    /// weir stopped, and its grace was over.
    Stopped,
}

impl Termination {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Normal,
        Self::ClientRequest,
        Self::ClientRequestTimeout,
        Self::ClientHead,
        Self::ClientData,
        Self::ClientDataTimeout,
        Self::ServerConnect,
        Self::ServerConnectTimeout,
        Self::ServerHead,
        Self::ServerHeadTimeout,
        Self::ServerData,
        Self::ServerDataTimeout,
        Self::ProxyRequest,
        Self::ProxyAnswered,
        Self::NoServer,
        Self::Resource,
        Self::Stopped,
    ];

    /// Its two letters.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Normal => "--",
            Self::ClientRequest => "CR",
            Self::ClientRequestTimeout => "cR",
            Self::ClientHead => "CH",
            Self::ClientData => "CD",
            Self::ClientDataTimeout => "cD",
            Self::ServerConnect => "SC",
            Self::ServerConnectTimeout => "sC",
            Self::ServerHead => "SH",
            Self::ServerHeadTimeout => "sH",
            Self::ServerData => "SD",
            Self::ServerDataTimeout => "sD",
            Self::ProxyRequest => "PR",
            Self::ProxyAnswered => "PH",
            Self::NoServer => "PC",
            Self::Resource => "RR",
            Self::Stopped => "KL",
        }
    }

    /// What happened, in a sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Normal => "The answer went down whole, or the tunnel is over.",
            Self::ClientRequest => "The client went away before its request was whole.",
            Self::ClientRequestTimeout => {
                "The client did not send its request within head_timeout, or its body more slowly than body_min_rate_per_s."
            }
            Self::ClientHead => "The client went away before its answer had begun.",
            Self::ClientData => "The client went away before its answer was whole.",
            Self::ClientDataTimeout => "The client read its answer more slowly than body_min_rate_per_s.",
            Self::ServerConnect => "No connection to a backend could be made.",
            Self::ServerConnectTimeout => "No connection to a backend was made within timeouts.connect.",
            Self::ServerHead => {
                "The backend ended the connection before its answer's head was whole, or sent what is no HTTP."
            }
            Self::ServerHeadTimeout => "The backend did not begin to answer within timeouts.response.",
            Self::ServerData => "The backend's answer broke off, or is framed wrongly.",
            Self::ServerDataTimeout => {
                "The backend's answer stopped for timeouts.between_bytes, or was not whole within timeouts.total."
            }
            Self::ProxyRequest => {
                "weir refused the request by a rule: it is no HTTP, too large, or has no route."
            }
            Self::ProxyAnswered => "weir answered in the place of a backend: the request was meant for it.",
            Self::NoServer => "No backend was usable.",
            Self::Resource => {
                "weir had no memory or no place left for it, or every place at the backends was taken."
            }
            Self::Stopped => "weir stopped, and grace was over.",
        }
    }

    /// How this exchange ended.
    pub fn of(entry: &Entry) -> Self {
        match entry.ending {
            Ending::Answered | Ending::Tunnelled => Self::Normal,
            Ending::Cut(failure) => Self::of_failure(failure),
            Ending::Refused(Refusal::UpstreamFailed, Some(failure)) => Self::of_failure(failure),
            Ending::Lost(Refusal::ClientGone) if entry.uploading || !entry.has(Text::Backend) => {
                Self::ClientRequest
            }
            Ending::Lost(Refusal::ClientGone) if entry.first_byte.is_none() => Self::ClientHead,
            Ending::Refused(refusal, _) | Ending::Lost(refusal) => Self::of_refusal(refusal),
        }
    }

    fn of_failure(failure: UpstreamFailure) -> Self {
        match failure {
            UpstreamFailure::Connect | UpstreamFailure::Tls => Self::ServerConnect,
            UpstreamFailure::ConnectTimeout => Self::ServerConnectTimeout,
            UpstreamFailure::NoResponse | UpstreamFailure::BadResponse | UpstreamFailure::Status => {
                Self::ServerHead
            }
            UpstreamFailure::ResponseTimeout => Self::ServerHeadTimeout,
            UpstreamFailure::Truncated => Self::ServerData,
            UpstreamFailure::BodyTimeout => Self::ServerDataTimeout,
        }
    }

    fn of_refusal(refusal: Refusal) -> Self {
        match refusal {
            Refusal::BadHead
            | Refusal::HeadTooLarge
            | Refusal::BodyTooLarge
            | Refusal::BadBody
            | Refusal::Unsupported
            | Refusal::NoRoute => Self::ProxyRequest,
            Refusal::LastHop => Self::ProxyAnswered,
            Refusal::NoBackend => Self::NoServer,
            // Every place at the backends was taken.
            Refusal::UpstreamFailed => Self::Resource,
            Refusal::HeadTimeout | Refusal::BodyTimeout => Self::ClientRequestTimeout,
            Refusal::HeadMemory | Refusal::RequestMemory | Refusal::TooManyConnections => Self::Resource,
            Refusal::SlowReader => Self::ClientDataTimeout,
            Refusal::ClientGone | Refusal::Flood => Self::ClientData,
            Refusal::Stopped => Self::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Draft;
    use super::*;
    use crate::time::Micros;

    #[test]
    fn codes_are_two_letters_and_each_is_one_ends_alone() {
        let mut codes: Vec<&str> = Termination::ALL.iter().map(|end| end.code()).collect();
        assert!(codes.iter().all(|code| code.len() == 2));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Termination::ALL.len());
        assert_eq!(Termination::Stopped as usize + 1, Termination::ALL.len());
        assert!(Termination::ALL.iter().all(|end| end.meaning().ends_with('.')));
    }

    #[test]
    fn an_exchange_is_told_by_who_ended_it_and_where() {
        use Ending::{Answered, Cut, Lost, Refused, Tunnelled};
        let of = |ending, backend: bool, first_byte: bool, uploading: bool| {
            let mut draft = Draft::default();
            if backend {
                draft.set(Text::Backend, b"b");
            }
            let first_byte = first_byte.then_some(Micros::from_us(5));
            let mut entry = draft.entry;
            (entry.ending, entry.first_byte, entry.uploading) = (ending, first_byte, uploading);
            (Termination::of(&entry).code(), entry.cause(), entry.failed())
        };
        let gone = Lost(Refusal::ClientGone);
        for (case, found, expected) in [
            ("answered", of(Answered, true, true, false), ("--", None, false)),
            ("tunnel", of(Tunnelled, true, true, false), ("--", None, false)),
            ("gone in its head", of(gone, false, false, false), ("CR", Some("client_gone"), true)),
            ("gone in its body", of(gone, true, false, true), ("CR", Some("client_gone"), true)),
            ("gone before the answer", of(gone, true, false, false), ("CH", Some("client_gone"), true)),
            ("gone in the answer", of(gone, true, true, false), ("CD", Some("client_gone"), true)),
            ("slow", of(Lost(Refusal::SlowReader), true, true, false), ("cD", Some("slow_reader"), true)),
            ("stopped", of(Lost(Refusal::Stopped), true, false, false), ("KL", Some("stopped"), true)),
            ("cut", of(Cut(UpstreamFailure::Truncated), true, true, false), ("SD", Some("truncated"), true)),
            (
                "no backend answered",
                of(
                    Refused(Refusal::UpstreamFailed, Some(UpstreamFailure::ConnectTimeout)),
                    true,
                    false,
                    false,
                ),
                ("sC", Some("connect_timeout"), true),
            ),
            (
                "all places were taken",
                of(Refused(Refusal::UpstreamFailed, None), true, false, false),
                ("RR", Some("upstream_failed"), true),
            ),
            (
                "no route",
                of(Refused(Refusal::NoRoute, None), false, false, false),
                ("PR", Some("no_route"), true),
            ),
            (
                "meant for weir",
                of(Refused(Refusal::LastHop, None), false, false, false),
                ("PH", Some("last_hop"), false),
            ),
        ] {
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn every_refusal_has_a_code() {
        for refusal in Refusal::ALL {
            let mut entry = Entry::default();
            entry.ending = Ending::Refused(*refusal, None);
            assert_ne!(Termination::of(&entry), Termination::Normal, "{refusal:?}");
        }
    }
}
