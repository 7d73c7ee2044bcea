//! weir's own answers: small, complete, plain text.
//!
//! Here: their bytes, and the reason phrases. Not here: which status, and what the text says
//! (`exchange`). There is no `Date`: this room has no clock, and RFC 9110 §6.6.1 lets go without where
//! there is none.

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
