//! Why a head is refused, where in it, and which status says so to a client.
//!
//! One enum for both directions: a backend's bad head has the same reasons, though its client gets 502
//! whatever they are. Not here: the answer itself (`answer.rs`).

/// A head that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why} (byte {at} of the head)")]
pub struct BadHead {
    /// What is wrong.
    pub why: Why,
    /// Where it was noticed: an offset into the bytes that were parsed.
    pub at: usize,
}

impl BadHead {
    /// The status that a client gets for such a request head. (For a response head: 502, always.)
    pub const fn status(&self) -> u16 {
        match self.why {
            Why::LineTooLong => 414,
            Why::HeadTooLarge | Why::TooManyFields => 431,
            Why::UnknownExpectation => 417,
            Why::UnknownCoding => 501,
            Why::UnsupportedVersion => 505,
            Why::EmptyLines
            | Why::BareLf
            | Why::BareCr
            | Why::BadMethod
            | Why::BadTarget
            | Why::TargetFormNotForMethod
            | Why::BadVersion
            | Why::BadStatus
            | Why::BadReason
            | Why::EmptyName
            | Why::BadName
            | Why::SpaceBeforeColon
            | Why::Folded
            | Why::BadValue
            | Why::HostMissing
            | Why::HostRepeated
            | Why::HostEmpty
            | Why::BadHost
            | Why::FramingLookAlike
            | Why::BadMaxForwards
            | Why::MaxForwardsRepeated
            | Why::FramedInterim
            | Why::BadLength
            | Why::LengthTooLarge
            | Why::LengthRepeated
            | Why::LengthAndCoding
            | Why::BadCoding
            | Why::CodingInHttp10
            | Why::TooManyNominations => 400,
        }
    }
}

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The request or status line alone fills the limit.
    #[error("the request line is longer than max_head allows")]
    LineTooLong,
    /// The limit is full before the blank line.
    #[error("the head is longer than max_head allows")]
    HeadTooLarge,
    /// More field lines than allowed.
    #[error("the head has more fields than max_headers allows")]
    TooManyFields,
    /// RFC 9112 §2.2 has us skip one; a few are skipped.
    #[error("too many empty lines before the request line")]
    EmptyLines,
    /// RFC 9112 §2.2 lets a recipient take it for a line's end; what does not, would be smuggled past.
    #[error("a line ends in LF alone, without CR")]
    BareLf,
    /// RFC 9112 §2.2.
    #[error("a CR is not followed by LF")]
    BareCr,
    /// Not a token followed by one space.
    #[error("the method is not a token followed by one space")]
    BadMethod,
    /// A byte that no target has, or a host that is none.
    #[error("the request target is malformed")]
    BadTarget,
    /// "*" but for OPTIONS, `host:port` but for CONNECT (RFC 9112 §3.2).
    #[error("the request target's form is not one for this method")]
    TargetFormNotForMethod,
    /// Not `HTTP/x.y` and the line's end.
    #[error("the version is not HTTP/1.x followed by CRLF")]
    BadVersion,
    /// Well-formed, but not 1.x.
    #[error("the HTTP version is not supported; HTTP/1.1 and HTTP/1.0 are")]
    UnsupportedVersion,
    /// Not three digits, or none that HTTP has (RFC 9110 §15).
    #[error("the status is not three digits from 100 to 599")]
    BadStatus,
    /// A control byte in it.
    #[error("the reason phrase has a control byte")]
    BadReason,
    /// A colon and nothing before it.
    #[error("a field has no name")]
    EmptyName,
    /// A byte that no token has.
    #[error("a field name has a byte that is not allowed in one")]
    BadName,
    /// RFC 9112 §5.1.
    #[error("there is white space between a field name and its colon")]
    SpaceBeforeColon,
    /// RFC 9112 §5.2, and §2.2 for the first field.
    #[error("a field line begins with white space (obsolete folding)")]
    Folded,
    /// NUL, another control byte, DEL.
    #[error("a field value has a control byte")]
    BadValue,
    /// RFC 9112 §3.2.
    #[error("an HTTP/1.1 request has no Host")]
    HostMissing,
    /// RFC 9112 §3.2.
    #[error("Host is given more than once")]
    HostRepeated,
    /// RFC 9112 §3.2 has it for targets without an authority; `http` has none such (RFC 9110 §4.2.1).
    #[error("Host is empty")]
    HostEmpty,
    /// RFC 9112 §3.2.
    #[error("Host is not a host, or not a host and a port")]
    BadHost,
    /// Anything but digits; a list of equal lengths too, which RFC 9110 §8.6 lets us refuse.
    #[error("Content-Length is not a number")]
    BadLength,
    /// More than a signed 64-bit number holds.
    #[error("Content-Length is too large")]
    LengthTooLarge,
    /// Equal or not.
    #[error("Content-Length is given more than once")]
    LengthRepeated,
    /// RFC 9112 §6.3 calls it smuggling.
    #[error("there are both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    /// `chunked` twice, not last, with parameters, or an empty list.
    #[error("Transfer-Encoding is not exactly \"chunked\"")]
    BadCoding,
    /// A coding other than `chunked`.
    #[error("Transfer-Encoding names a coding other than chunked")]
    UnknownCoding,
    /// RFC 9112 §6.1.
    #[error("an HTTP/1.0 message has Transfer-Encoding")]
    CodingInHttp10,
    /// `Content_Length`, `Transfer_Encoding` and the like.
    #[error("a field name would be Content-Length or Transfer-Encoding with \"-\" in it")]
    FramingLookAlike,
    /// RFC 9110 §7.6.2, for TRACE and OPTIONS.
    #[error("Max-Forwards is not a number")]
    BadMaxForwards,
    /// Equal or not.
    #[error("Max-Forwards is given more than once")]
    MaxForwardsRepeated,
    /// RFC 9110 §8.6, RFC 9112 §6.1: it has no body, and who reads one would take the final response for it.
    #[error("an interim response (1xx) has Content-Length or Transfer-Encoding")]
    FramedInterim,
    /// Other than `100-continue` (RFC 9110 §10.1.1).
    #[error("Expect is not 100-continue")]
    UnknownExpectation,
    /// Each is looked up among all fields, so their number is bounded.
    #[error("Connection names too many fields")]
    TooManyNominations,
}
