//! Host and port, as `Host`, an absolute target and CONNECT have them (RFC 3986 §3.2.2, RFC 9110 §7.2).
//!
//! Here: whether bytes are one. Not here: which route a host has (`route`), lower case, default ports.
//! User information (`user@host`) is refused: in a request it deceives (RFC 9110 §4.2.4).

use super::scan;
use std::net::Ipv6Addr;

/// What was found to be an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authority {
    /// Nothing at all.
    Empty,
    /// A host alone, or with a colon and no port after it.
    Host,
    /// A host and a port.
    HostAndPort,
}

/// What `bytes` are, if they are an authority at all.
#[inline]
pub(super) fn authority(bytes: &[u8]) -> Option<Authority> {
    if bytes.is_empty() {
        return Some(Authority::Empty);
    }
    let host_len = if bytes[0] == b'[' { ip_literal_len(bytes)? } else { reg_name_len(bytes) };
    if host_len == 0 {
        return None;
    }
    match &bytes[host_len..] {
        [] | [b':'] => Some(Authority::Host),
        [b':', port @ ..] => is_port(port).then_some(Authority::HostAndPort),
        _ => None,
    }
}

fn reg_name_len(bytes: &[u8]) -> usize {
    let mut len = 0;
    loop {
        len += bytes[len..].iter().take_while(|&&b| scan::is_reg_name(b)).count();
        match bytes.get(len..len + 3) {
            Some([b'%', high, low]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => len += 3,
            _ => return len,
        }
    }
}

/// The length of the IPv6 address in brackets that `bytes` begin with. (The form for addresses yet to be
/// invented, RFC 3986's IPvFuture, is not taken.)
fn ip_literal_len(bytes: &[u8]) -> Option<usize> {
    let close = memchr::memchr(b']', bytes)?;
    let address = std::str::from_utf8(bytes.get(1..close)?).ok()?;
    address.parse::<Ipv6Addr>().ok()?;
    Some(close + 1)
}

fn is_port(digits: &[u8]) -> bool {
    digits.len() <= 5
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().fold(0u32, |n, d| n * 10 + u32::from(d - b'0')) <= 65_535
}
