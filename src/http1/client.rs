//! The client behind trusted proxies, as they name it: `X-Forwarded-For`, `Forwarded` (RFC 7239).
//!
//! Each proxy appends whom it was spoken to by. So the list is read from its end, where the peer wrote:
//! as long as an entry is a trusted proxy, the one before it was written by that proxy and is believed.
//! The first that is not trusted is the client; whatever stands before it is the client's own word, which
//! may say anything. What cannot be read ends the search at the last that could. Here: the search. Not
//! here: whether the peer is trusted (`proxy`, which asks only then), what is said upstream
//! (`write_request.rs`).

use super::fields::{Fields, Kind};
use super::scan;
use crate::config::TrustedProxies;
use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The client that a trusted peer's request names: in `X-Forwarded-For`, or, where there is none, in
/// `Forwarded`. `None`: nobody who could be read, so it is the peer itself. IPv4 mapped into IPv6 comes as
/// IPv4. `bytes` are those that `fields` were parsed from.
pub fn client_named(bytes: &[u8], fields: &Fields, trusted: &TrustedProxies) -> Option<IpAddr> {
    if fields.seen().has(Kind::XForwardedFor) {
        in_x_forwarded_for(bytes, fields, trusted)
    } else if fields.seen().has(Kind::Forwarded) {
        in_forwarded(bytes, fields, trusted)
    } else {
        None
    }
}

/// An address as text: what it is called upstream. IPv4 mapped into IPv6 is IPv4.
#[derive(Clone, Copy, Debug)]
pub struct AddressText {
    /// "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" is the longest.
    bytes: [u8; 39],
    len: u8,
}

impl AddressText {
    /// Of who has no address: nothing.
    pub const NONE: Self = Self { bytes: [0; 39], len: 0 };

    /// This address as text.
    pub fn of(address: IpAddr) -> Self {
        let mut text = Self::NONE;
        match address.to_canonical() {
            // By hand: each connection and each stream has one, and `write!` takes five times as long.
            IpAddr::V4(v4) => text.push_dotted(v4),
            // There is room for the longest: writing cannot fail.
            IpAddr::V6(v6) => _ = write!(text, "{v6}"),
        }
        text
    }

    fn push_dotted(&mut self, address: Ipv4Addr) {
        for (nth, octet) in address.octets().into_iter().enumerate() {
            let digits = [b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10];
            let leading = usize::from(octet < 100) + usize::from(octet < 10);
            let dot = if nth > 0 { &b"."[..] } else { b"" };
            for &byte in dot.iter().chain(&digits[leading..]) {
                self.bytes[usize::from(self.len)] = byte;
                self.len += 1;
            }
        }
    }

    /// Its bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Write for AddressText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let from = usize::from(self.len);
        let to = from + text.len();
        self.bytes.get_mut(from..to).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = to as u8;
        Ok(())
    }
}

/// From the last entry of the last line backwards: what the client wrote before is mostly not even read.
/// (A quoted entry has no comma in it, or is no address.) An empty entry cannot be read: it may stand for
/// somebody without an address.
fn in_x_forwarded_for(bytes: &[u8], fields: &Fields, trusted: &TrustedProxies) -> Option<IpAddr> {
    let mut client = None;
    let lines = fields.list().iter().rev().filter(|field| field.kind == Kind::XForwardedFor);
    for entry in lines.flat_map(|field| field.value.of(bytes).rsplit(|&b| b == b',')) {
        let entry = entry.trim_ascii();
        let unquoted = entry.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        let Some(address) = address(unquoted.unwrap_or(entry)) else { return client };
        client = Some(address);
        if !trusted.trusts(client) {
            return client;
        }
    }
    client
}

/// From the first element on, because only so it is known what is quoted; the answer is the same as from
/// the end. A line that is not as RFC 7239 §4 has it cannot be read, none of it.
fn in_forwarded(bytes: &[u8], fields: &Fields, trusted: &TrustedProxies) -> Option<IpAddr> {
    let mut client = None;
    for field in fields.all(Kind::Forwarded) {
        client = in_elements(field.value.of(bytes), client, trusted).unwrap_or(None);
    }
    client
}

/// The client after the elements of one line, if it was `client` before them; `Err` if they are none.
fn in_elements(
    line: &[u8],
    mut client: Option<IpAddr>,
    trusted: &TrustedProxies,
) -> Result<Option<IpAddr>, Malformed> {
    let mut rest = line;
    let mut element = Element::default();
    loop {
        rest = rest.trim_ascii_start();
        match rest.first() {
            None | Some(b',') => {
                if !element.is_empty {
                    let hop = element.node.and_then(address);
                    client = match (client, hop) {
                        (Some(client), Some(hop)) if trusted.trusts(Some(hop)) => Some(client),
                        // The client; or a proxy, with nobody behind it who could be read; or nobody.
                        (_, hop) => hop,
                    };
                }
                let Some(after) = rest.get(1..) else { return Ok(client) };
                rest = after;
                element = Element::default();
            }
            Some(b';') => rest = &rest[1..],
            Some(_) => rest = element.take_pair(rest)?,
        }
    }
}

/// A `Forwarded` that is none.
struct Malformed;

/// What of one element of `Forwarded` has been read.
struct Element<'a> {
    /// No pair so far. RFC 9110 §5.6.1.2 has empty elements ignored.
    is_empty: bool,
    /// What `for` says, without quotes.
    node: Option<&'a [u8]>,
}

impl Default for Element<'_> {
    fn default() -> Self {
        Self { is_empty: true, node: None }
    }
}

impl<'a> Element<'a> {
    /// Takes `name=value` off `rest`, and returns what follows: nothing, or a separator.
    fn take_pair(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let (name, rest) = rest.split_at(scan::token_len(rest));
        let Some((b'=', rest)) = rest.split_first() else { return Err(Malformed) };
        let (value, rest) = match rest.split_first() {
            Some((b'"', quoted)) => {
                let (value, after) = quoted.split_at(quoted_len(quoted).ok_or(Malformed)?);
                (value, &after[1..])
            }
            Some(_) | None => rest.split_at(scan::token_len(rest)),
        };
        let rest = rest.trim_ascii_start();
        let is_for = name.eq_ignore_ascii_case(b"for");
        // RFC 7239 §4: a parameter occurs once.
        if name.is_empty()
            || is_for && self.node.is_some()
            || !matches!(rest.first(), None | Some(b',' | b';'))
        {
            return Err(Malformed);
        }
        self.is_empty = false;
        if is_for {
            self.node = Some(value);
        }
        Ok(rest)
    }
}

/// How many bytes there are before the quote that ends a quoted string; `None` if nothing ends it.
fn quoted_len(quoted: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', quoted.get(at..)?)?;
        if quoted[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// The address of a node: `192.0.2.7`, `192.0.2.7:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
/// `unknown` and names that hide one (RFC 7239 §6) have none.
fn address(node: &[u8]) -> Option<IpAddr> {
    let node = std::str::from_utf8(node).ok()?;
    if let Some(bracketed) = node.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return (port.is_empty() || is_port(port)).then(|| IpAddr::V6(address).to_canonical());
    }
    if let Ok(address) = node.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = node.split_at(node.find(':')?);
    let address: Ipv4Addr = address.parse().ok()?;
    is_port(port).then_some(IpAddr::V4(address))
}

/// `:80`, or a port that is hidden: `:_a1` (RFC 7239 §6.3).
fn is_port(text: &str) -> bool {
    match text.as_bytes() {
        [b':', b'_', hidden @ ..] => !hidden.is_empty() && hidden.iter().all(|&b| scan::is_token(b)),
        [b':', digits @ ..] => matches!(digits.len(), 1..=5) && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}
