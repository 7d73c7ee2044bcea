//! weir's own answers: small and complete.
//!
//! Here: their bytes, and the reason phrases. Not here: which status, and what the text says
//! (`exchange`). There is no `Date`: this room has no clock, and RFC 9110 §6.6.1 lets go without where
//! there is none.

use super::fields::Fields;
use super::proxy_status::ProxyStatus;
use super::request::RequestHead;
use super::rewrite::write_field;
use crate::config::GrpcStatus;

/// What names of fields with credentials have in them: no TRACE shows such a field (RFC 9110 §9.3.8).
const SECRET: [&[u8]; 7] = [b"auth", b"cookie", b"credential", b"key", b"secret", b"session", b"token"];

/// Appends to `out` the whole answer to a TRACE that goes no further: its head as it came, but for what may
/// carry credentials. The connection ends with it.
pub fn write_trace(bytes: &[u8], head: &RequestHead, fields: &Fields, out: &mut Vec<u8>) {
    let list = fields.list();
    let line_end = list.first().map_or(head.len - 2, |first| first.name.start as usize);
    let mut echo = bytes[head.method_span.start as usize..line_end].to_vec();
    for (name, value) in fields.iter(bytes) {
        let lower = name.to_ascii_lowercase();
        if !SECRET.iter().any(|secret| lower.windows(secret.len()).any(|part| part == *secret)) {
            write_field(name, value, &mut echo);
        }
    }
    echo.extend_from_slice(b"\r\n");
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nContent-Length: ");
    write_decimal(echo.len(), out);
    out.extend_from_slice(b"\r\nConnection: close\r\n\r\n");
    out.extend_from_slice(&echo);
}

/// Appends to `out` the whole answer to an OPTIONS that goes no further. The connection ends with it.
pub fn write_no_content(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
}

/// The head of one of weir's own answers.
#[derive(Clone, Copy, Debug)]
pub struct AnswerHead<'a> {
    /// Its status.
    pub status: u16,
    /// What its body is.
    pub content_type: &'a str,
    /// Bytes of its body, whether it is sent or not: to a HEAD it is not.
    pub body_len: usize,
    /// Why it is weir's own; `None`: weir does not name itself.
    pub proxy_status: Option<ProxyStatus<'a>>,
    /// The connection ends with it.
    pub close: bool,
}

/// Appends to `out` the head of an answer, to which its body is to be added unless the request was a HEAD.
pub fn write_answer_head(head: &AnswerHead<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_decimal(usize::from(head.status), out);
    out.push(b' ');
    out.extend_from_slice(reason_phrase(head.status).as_bytes());
    out.extend_from_slice(b"\r\nContent-Type: ");
    out.extend_from_slice(head.content_type.as_bytes());
    out.extend_from_slice(b"\r\nContent-Length: ");
    write_decimal(head.body_len, out);
    out.extend_from_slice(b"\r\n");
    if let Some(proxy_status) = &head.proxy_status {
        proxy_status.write(out);
    }
    out.extend_from_slice(if head.close { b"Connection: close\r\n\r\n" } else { b"\r\n" });
}

/// An answer of weir's own to a call of gRPC.
#[derive(Clone, Copy, Debug)]
pub struct GrpcAnswer<'a> {
    /// How the call has ended.
    pub status: GrpcStatus,
    /// Why.
    pub message: &'a str,
    /// Why it is weir's own; `None`: weir does not name itself.
    pub proxy_status: Option<ProxyStatus<'a>>,
    /// The connection ends with it.
    pub close: bool,
}

/// Appends to `out` the whole of an answer to a call of gRPC, "trailers only": a head that says how it has ended.
pub fn write_grpc_answer(answer: &GrpcAnswer<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\nGrpc-Status: ",
    );
    write_decimal(usize::from(answer.status.number()), out);
    out.extend_from_slice(b"\r\nGrpc-Message: ");
    for byte in answer.message.bytes() {
        match byte {
            // What gRPC has stand as it is.
            b' '..=b'~' if byte != b'%' => out.push(byte),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    out.extend_from_slice(b"\r\n");
    if let Some(proxy_status) = &answer.proxy_status {
        proxy_status.write(out);
    }
    out.extend_from_slice(if answer.close { b"Connection: close\r\n\r\n" } else { b"\r\n" });
}

fn write_decimal(mut number: usize, out: &mut Vec<u8>) {
    let from = out.len();
    loop {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out[from..].reverse();
}

/// What a status means, as its status line says it (RFC 9110 §15, RFC 6585); empty where nothing is
/// registered.
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
