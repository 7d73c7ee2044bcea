//! Who is at the other end of a downstream connection, and who the client of a request is.
//!
//! The peer's address is looked up and written as text once a connection; whether it is a trusted proxy
//! once for each edition of the listener's rules, which change while connections live. For who is not
//! trusted a request costs one comparison more. Who is may speak for another client with each request
//! (`http1::client_named`). Kept by `connection.rs`, asked by `request.rs`.

use super::service::ListenerRules;
use crate::http1::{Fields, client_named};
use std::cell::Cell;
use std::fmt::Write;
use std::net::IpAddr;

/// An address as text.
pub(super) struct AddressText {
    /// "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" is the longest.
    bytes: [u8; 39],
    len: u8,
}

impl AddressText {
    /// `address` as it is written; nothing for `None`.
    fn of(address: Option<IpAddr>) -> Self {
        let mut text = Self { bytes: [0; 39], len: 0 };
        if let Some(address) = address {
            // There is room for the longest address that is no IPv4 in IPv6: writing cannot fail.
            let _ = write!(text, "{}", address.to_canonical());
        }
        text
    }

    fn get(&self) -> Option<&[u8]> {
        let text = &self.bytes[..usize::from(self.len)];
        (!text.is_empty()).then_some(text)
    }
}

impl Write for AddressText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let from = usize::from(self.len);
        let to = from + text.len();
        self.bytes.get_mut(from..to).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = to as u8;
        Ok(())
    }
}

/// The other end of a downstream connection.
pub(super) struct Peer {
    /// `None`: a Unix socket.
    address: Option<IpAddr>,
    text: AddressText,
    trusted: Cell<bool>,
    /// The edition of the rules that `trusted` is of.
    edition: Cell<u32>,
}

/// The client of one request.
pub(super) struct RequestClient {
    /// Whether the peer is a trusted proxy.
    pub(super) trusted: bool,
    /// `None`: nobody said, behind a Unix socket.
    pub(super) address: Option<IpAddr>,
    /// Its text, where it is not the peer.
    other: Option<AddressText>,
}

impl Peer {
    /// The peer with this address; `None`: on a Unix socket.
    pub(super) fn new(address: Option<IpAddr>) -> Self {
        let address = address.map(|address| address.to_canonical());
        // No rules have edition 0.
        Self { address, text: AddressText::of(address), trusted: Cell::new(false), edition: Cell::new(0) }
    }

    /// Its address as text; `None`: it has none.
    pub(super) fn text(&self) -> Option<&[u8]> {
        self.text.get()
    }

    /// Whose request this is, whose head has these `fields`, parsed from `bytes`.
    #[inline]
    pub(super) fn client(&self, rules: &ListenerRules, bytes: &[u8], fields: &Fields) -> RequestClient {
        if self.edition.get() != rules.edition {
            self.trusted.set(rules.trusted_proxies.trusts(self.address));
            self.edition.set(rules.edition);
        }
        if self.trusted.get() {
            self.client_behind(rules, bytes, fields)
        } else {
            RequestClient { trusted: false, address: self.address, other: None }
        }
    }

    #[inline(never)]
    fn client_behind(&self, rules: &ListenerRules, bytes: &[u8], fields: &Fields) -> RequestClient {
        let named = client_named(bytes, fields, &rules.trusted_proxies);
        let other = named.is_some_and(|named| Some(named) != self.address);
        RequestClient {
            trusted: true,
            address: named.or(self.address),
            other: other.then(|| AddressText::of(named)),
        }
    }
}

impl RequestClient {
    /// Its address as text, if it is behind `peer` or is `peer`.
    pub(super) fn text<'a>(&'a self, peer: &'a Peer) -> Option<&'a [u8]> {
        match &self.other {
            Some(text) => text.get(),
            None => peer.text(),
        }
    }
}
