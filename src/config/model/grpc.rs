//! gRPC's statuses: their numbers, and the names that the configuration and the log have for them.
//!
//! Here: [`GrpcStatus`]. Not here: where a status stands in a response, and what follows from it (`exchange`,
//! `health`).

/// A status of gRPC (<https://grpc.io/docs/guides/status-codes>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs, reason = "they are gRPC's own words")]
pub enum GrpcStatus {
    Ok,
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl GrpcStatus {
    /// All of them; each stands at its number.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// Its name, in the way of `retry.on`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::InvalidArgument => "invalid-argument",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::NotFound => "not-found",
            Self::AlreadyExists => "already-exists",
            Self::PermissionDenied => "permission-denied",
            Self::ResourceExhausted => "resource-exhausted",
            Self::FailedPrecondition => "failed-precondition",
            Self::Aborted => "aborted",
            Self::OutOfRange => "out-of-range",
            Self::Unimplemented => "unimplemented",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::DataLoss => "data-loss",
            Self::Unauthenticated => "unauthenticated",
        }
    }

    /// The one of this name.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// Its number, as `grpc-status` has it.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// What the value of a `grpc-status` field means: what is no number, or none of gRPC's, is "unknown".
    pub fn of(value: &[u8]) -> Self {
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<usize>().ok());
        number.and_then(|number| Self::ALL.get(number)).copied().unwrap_or(Self::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::GrpcStatus::{self, *};

    #[test]
    fn each_status_stands_at_its_number_and_has_a_name_of_its_own() {
        for (number, status) in GrpcStatus::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(status.number()), number);
            assert_eq!(GrpcStatus::of(number.to_string().as_bytes()), status);
            assert_eq!(GrpcStatus::named(status.word()), Some(status));
        }
        for (value, status) in
            [("0", Ok), ("14", Unavailable), ("17", Unknown), ("", Unknown), ("-1", Unknown), ("x", Unknown)]
        {
            assert_eq!(GrpcStatus::of(value.as_bytes()), status, "{value:?}");
        }
    }
}
