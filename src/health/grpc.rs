//! gRPC's health protocol (`grpc.health.v1.Health/Check`): the question's bytes, and what an answer means.
//!
//! The two messages have one field each, so they are read and written here by hand rather than by a library for
//! protocol buffers. Pure. Not here: the HTTP/2 that carries them (`control`'s probe).

use super::probe::ProbeFailure;
use crate::config::GrpcStatus;

/// Where the question goes.
pub const GRPC_HEALTH_PATH: &str = "/grpc.health.v1.Health/Check";

/// Bytes of an answer's body that are looked at: the message has two, and may get further fields one day.
pub const GRPC_ANSWER_MAX: usize = 4 << 10;

/// Characters of a backend's own words that are told.
const MESSAGE_MAX: usize = 120;

/// Before each message of gRPC: whether it is compressed, and its length in four bytes.
const PREFIX: usize = 5;

/// The field numbers of `service` and of `status`, with the types that follow in the same byte.
const SERVICE_FIELD: u8 = 1 << 3 | LENGTH_DELIMITED;
const VARINT: u8 = 0;
const LENGTH_DELIMITED: u8 = 2;

/// What an answer consists of, as far as it matters.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcAnswer<'a> {
    /// HTTP's status.
    pub http_status: u16,
    /// `content-type`
    pub content_type: Option<&'a [u8]>,
    /// `grpc-status`, of the trailers, or of the head where there is nothing else.
    pub status: Option<&'a [u8]>,
    /// `grpc-message`, percent-encoded.
    pub message: Option<&'a [u8]>,
    /// The body.
    pub body: &'a [u8],
}

/// The body of the question whether `service` serves; empty: the server as a whole.
pub fn grpc_question(service: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(service.len() + 3);
    // A field that has its default is left out.
    if !service.is_empty() {
        message.push(SERVICE_FIELD);
        write_varint(service.len() as u64, &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let mut body = vec![0];
    body.extend_from_slice(&(message.len() as u32).to_be_bytes());
    body.extend_from_slice(&message);
    body
}

/// What `answer` says of the service.
///
/// # Errors
/// Why it does not count as serving.
pub fn judge_grpc(answer: &GrpcAnswer<'_>) -> Result<(), ProbeFailure> {
    let not_grpc = |what: String| Err(ProbeFailure::NotGrpc(what));
    let Some(status) = answer.status else {
        let kind = answer.content_type.map_or_else(|| "none".into(), String::from_utf8_lossy);
        let status = answer.http_status;
        return match answer.content_type {
            Some(kind) if kind.starts_with(b"application/grpc") && status == 200 => {
                not_grpc("it ended without a grpc-status".to_owned())
            }
            Some(_) | None => not_grpc(format!("status {status}, content-type {}", told(kind.as_bytes()))),
        };
    };
    match GrpcStatus::of(status) {
        GrpcStatus::Ok => {}
        status => {
            let message = told(&percent_decoded(answer.message.unwrap_or_default()));
            return Err(ProbeFailure::Grpc { status, message });
        }
    }
    match serving_status(answer.body) {
        Some(1) => Ok(()),
        Some(0) => Err(ProbeFailure::NotServing("UNKNOWN")),
        Some(2) => Err(ProbeFailure::NotServing("NOT_SERVING")),
        Some(3) => Err(ProbeFailure::NotServing("SERVICE_UNKNOWN")),
        Some(_) => Err(ProbeFailure::NotServing("a state that the protocol does not have")),
        None => not_grpc("its message is no HealthCheckResponse".to_owned()),
    }
}

/// The field `status` of the one message in `body`; `None` if it is not that.
fn serving_status(body: &[u8]) -> Option<u64> {
    let (prefix, message) = body.split_first_chunk::<PREFIX>()?;
    let [compressed, length @ ..] = *prefix;
    // No compression was offered.
    if compressed != 0 || u32::from_be_bytes(length) as usize != message.len() {
        return None;
    }
    let (mut rest, mut status) = (message, 0);
    while !rest.is_empty() {
        let key = read_varint(&mut rest)?;
        let value = match (key & 7) as u8 {
            VARINT => read_varint(&mut rest)?,
            kind => {
                let length = match kind {
                    1 => 8,
                    LENGTH_DELIMITED => usize::try_from(read_varint(&mut rest)?).ok()?,
                    5 => 4,
                    _ => return None,
                };
                rest = rest.get(length..)?;
                continue;
            }
        };
        if key == 1 << 3 {
            status = value;
        }
    }
    Some(status)
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// A backend's words for a line of the log: shortened, and without what is not shown.
fn told(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_MAX).collect()
}

/// What `grpc-message` stands for.
fn percent_decoded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let coded = digits.filter(|_| byte == b'%').and_then(|two| u8::from_str_radix(two, 16).ok());
        out.push(coded.unwrap_or(byte));
        rest = if coded.is_some() { &after[2..] } else { after };
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
    }

    #[test]
    fn the_question_is_what_protocol_buffers_would_make_of_it() {
        assert_eq!(grpc_question(""), [0, 0, 0, 0, 0]);
        assert_eq!(grpc_question("a.B"), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = grpc_question(&"x".repeat(200));
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1]);
        assert_eq!(long.len(), 5 + 203);
    }

    #[test]
    fn only_a_service_that_says_that_it_serves_passes() {
        let serving = framed(&[8, 1]);
        let ok = GrpcAnswer {
            http_status: 200,
            content_type: Some(b"application/grpc"),
            status: Some(b"0"),
            message: None,
            body: &serving,
        };
        assert_eq!(judge_grpc(&ok), Ok(()));
        let unknown_fields = framed(&[0x12, 2, 9, 9, 8, 1, 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(judge_grpc(&GrpcAnswer { body: &unknown_fields, ..ok }), Ok(()));
        for (message, said) in [
            (&[8, 2][..], "it says NOT_SERVING"),
            (&[8, 3], "it says SERVICE_UNKNOWN"),
            (&[], "it says UNKNOWN"),
            (&[8, 9], "it says a state that the protocol does not have"),
            (&[8], "not gRPC's health protocol: its message is no HealthCheckResponse"),
            (&[0x0a, 9, 1], "not gRPC's health protocol: its message is no HealthCheckResponse"),
        ] {
            let found = judge_grpc(&GrpcAnswer { body: &framed(message), ..ok });
            assert_eq!(found.unwrap_err().to_string(), said);
        }
        for body in [&b""[..], &[1, 0, 0, 0, 2, 8, 1], &[0, 0, 0, 0, 3, 8, 1]] {
            assert!(matches!(judge_grpc(&GrpcAnswer { body, ..ok }), Err(ProbeFailure::NotGrpc(_))));
        }
    }

    #[test]
    fn a_failure_says_what_the_server_said() {
        let none =
            GrpcAnswer { http_status: 200, content_type: Some(b"application/grpc"), ..GrpcAnswer::default() };
        for (case, answer, said) in [
            (
                "no such method",
                GrpcAnswer { status: Some(b"12"), message: Some(b"Method%20not%20found!"), ..none },
                "gRPC status unimplemented: Method not found!",
            ),
            ("no such service", GrpcAnswer { status: Some(b"5"), ..none }, "gRPC status not-found"),
            (
                "no more than a line of it",
                GrpcAnswer { status: Some(b"14"), message: Some(b"a%0Ab%zz%"), ..none },
                "gRPC status unavailable: ab%zz%",
            ),
            ("no trailers", none, "not gRPC's health protocol: it ended without a grpc-status"),
            (
                "a web server",
                GrpcAnswer { http_status: 404, content_type: Some(b"text/html"), ..none },
                "not gRPC's health protocol: status 404, content-type text/html",
            ),
            (
                "a web server without words",
                GrpcAnswer { http_status: 405, content_type: None, ..none },
                "not gRPC's health protocol: status 405, content-type none",
            ),
        ] {
            assert_eq!(judge_grpc(&answer).unwrap_err().to_string(), said, "{case}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(body: Vec<u8>, message: Vec<u8>, status: Vec<u8>) {
            let answer = GrpcAnswer {
                http_status: 200, content_type: None, status: Some(&status), message: Some(&message), body: &body,
            };
            let _ = judge_grpc(&answer);
            let _ = judge_grpc(&GrpcAnswer { status: Some(b"0"), ..answer });
        }
    }
}
