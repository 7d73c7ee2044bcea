//! What an explanation is made of.

/// Where a word is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A status of an answer.
    Status,
    /// Why weir itself answered, or gave up.
    Refusal,
    /// How a backend failed an attempt.
    Failure,
    /// What a backend is.
    State,
    /// Why `/readyz` says no.
    NotReady,
    /// A limit for which connections are closed at once.
    Limit,
    /// What a TLS handshake came to.
    Handshake,
    /// A part of an exchange whose length is measured.
    Phase,
    /// How an exchange ended, in the access log.
    Termination,
    /// How the process ends.
    Exit,
}

impl Kind {
    /// All, in the order in which they are listed.
    pub(super) const ALL: [Self; 10] = [
        Self::Status,
        Self::Refusal,
        Self::Failure,
        Self::State,
        Self::NotReady,
        Self::Limit,
        Self::Handshake,
        Self::Phase,
        Self::Termination,
        Self::Exit,
    ];

    /// What one is called.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Status => "a status that weir itself may answer",
            Self::Refusal => "why weir itself answered a request, or gave it up",
            Self::Failure => "how a backend failed an attempt",
            Self::State => "a state of a backend",
            Self::NotReady => "why /readyz says no",
            Self::Limit => "why a connection was closed at once",
            Self::Handshake => "what a TLS handshake came to",
            Self::Phase => "a part of an exchange whose length is measured",
            Self::Termination => "how an exchange ended, in the access log",
            Self::Exit => "how weir ends",
        }
    }

    /// What all of them are called, and where they are met.
    pub(super) const fn heading(self) -> &'static str {
        match self {
            Self::Status => "statuses that weir itself may answer",
            Self::Refusal => "refusals: the log's cause, weir_refusals_total, Proxy-Status",
            Self::Failure => "failures of backends: weir_upstream_failures_total, Proxy-Status",
            Self::State => "states of backends: weir ctl backends, weir_backend_state",
            Self::NotReady => "why weir is not ready: /readyz, weir ctl stats",
            Self::Limit => "limits of connections: the log, weir_connections_refused_total",
            Self::Handshake => "outcomes of TLS handshakes: the log, weir_tls_handshakes_total",
            Self::Phase => "parts of an exchange: weir_phase_seconds, weir ctl stats",
            Self::Termination => "ends of exchanges: the access log",
            Self::Exit => "exit codes",
        }
    }
}

/// A word, explained. Texts are sentences; what is to be typed or looked for stands alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Explanation {
    pub(super) kind: Kind,
    /// The word.
    pub(super) word: &'static str,
    /// A few words, for the list and the first line.
    pub(super) title: &'static str,
    /// What happened, and whose fault that usually is.
    pub(super) text: &'static str,
    /// What it may be, the likeliest first: other words, and what speaks for each.
    pub(super) causes: &'static [(&'static str, &'static str)],
    /// Where to look: a command, a metric or a field, and what it tells.
    pub(super) look: &'static [(&'static str, &'static str)],
    /// What to do.
    pub(super) act: &'static [&'static str],
}

impl Explanation {
    /// With these three it is complete, but of little help yet.
    pub(super) const fn new(kind: Kind, word: &'static str, title: &'static str, text: &'static str) -> Self {
        Self { kind, word, title, text, causes: &[], look: &[], act: &[] }
    }

    pub(super) const fn causes(self, causes: &'static [(&'static str, &'static str)]) -> Self {
        Self { causes, ..self }
    }

    pub(super) const fn look(self, look: &'static [(&'static str, &'static str)]) -> Self {
        Self { look, ..self }
    }

    pub(super) const fn act(self, act: &'static [&'static str]) -> Self {
        Self { act, ..self }
    }
}
