//! weir's own answers: small and complete.
//!
//! Here: their bytes, and the reason phrases. Not here: which status, and what the text says
//! (`exchange`). There is no `Date`: this room has no clock, and RFC 9110 §6.6.1 lets go without where
//! there is none.

use super::fields::Fields;
use super::request::RequestHead;
use super::rewrite::write_field;

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

/// Appends to `out` a whole answer with `body` as its text.
///
/// `close` adds `Connection: close`. `head_only`, for a request with method HEAD, leaves the body out and
/// its length in.
pub fn write_error(status: u16, reason: &str, body: &str, close: bool, head_only: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_decimal(usize::from(status), out);
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\nContent-Type: text/plain\r\nContent-Length: ");
    write_decimal(body.len(), out);
    out.extend_from_slice(if close { b"\r\nConnection: close\r\n\r\n" } else { b"\r\n\r\n" });
    if !head_only {
        out.extend_from_slice(body.as_bytes());
    }
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
