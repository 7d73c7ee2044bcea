//! Who is at the other end of a downstream connection, and whether its word about the client is believed.
//!
//! The address is looked up and written as text once a connection; whether it is a trusted proxy's once
//! for each edition of the listener's rules, which change while connections live. So a request costs those
//! who are not trusted one comparison. Whom a trusted proxy names is found with the request (`exchange`).
//! Kept by `connection.rs`, asked by `request.rs`.

use super::service::ListenerRules;
use crate::config::TrustedProxies;
use crate::http1::AddressText;
use std::cell::Cell;
use std::net::{IpAddr, Ipv6Addr};

/// The other end of a downstream connection; each stream of an HTTP/2 connection has that connection's.
#[derive(Clone)]
pub(super) struct Peer {
    address: ClientAddress,
    /// Of an address that is none: nothing.
    text: AddressText,
    /// The edition of the rules that were asked last, and in the lowest bit whether they trust it: sixty bytes in
    /// all, which every idle connection has.
    believed: Cell<u32>,
}

impl Peer {
    /// The peer with this address; `None`: on a Unix socket.
    pub(super) fn new(address: Option<IpAddr>) -> Self {
        let address = ClientAddress::new(address);
        let text = address.get().map_or(AddressText::NONE, AddressText::of);
        // No rules have edition 0.
        Self { address, text, believed: Cell::new(0) }
    }

    /// Its address; `None`: a Unix socket.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address.get()
    }

    /// The same, as exchanges keep it.
    pub(super) fn as_client(&self) -> ClientAddress {
        self.address
    }

    /// The address as text.
    pub(super) fn text(&self) -> Option<&[u8]> {
        let text = self.text.bytes();
        (!text.is_empty()).then_some(text)
    }

    /// The trusted proxies of these rules, if it is one.
    #[inline]
    pub(super) fn believed<'a>(&self, rules: &'a ListenerRules) -> Option<&'a TrustedProxies> {
        let mut believed = self.believed.get();
        if believed >> 1 != rules.edition {
            believed = rules.edition << 1 | u32::from(rules.trusted_proxies.trusts(self.address()));
            self.believed.set(believed);
        }
        (believed & 1 == 1).then_some(&rules.trusted_proxies)
    }
}

/// A client's address, or that it has none, in sixteen bytes instead of seventeen, which an exchange would
/// make twenty-four of: it is kept by each that waits.
#[derive(Clone, Copy)]
pub(super) struct ClientAddress(Ipv6Addr);

impl ClientAddress {
    /// This address; one that means none (`::`) is none.
    pub(super) fn new(address: Option<IpAddr>) -> Self {
        Self(match address {
            Some(IpAddr::V4(v4)) => v4.to_ipv6_mapped(),
            Some(IpAddr::V6(v6)) => v6,
            None => Ipv6Addr::UNSPECIFIED,
        })
    }

    /// The address, if it has one.
    pub(super) fn get(self) -> Option<IpAddr> {
        (!self.0.is_unspecified()).then(|| IpAddr::V6(self.0).to_canonical())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_address_is_kept_as_it_is() {
        for text in ["192.0.2.7", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::1"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(ClientAddress::new(Some(address)).get(), Some(address));
        }
        assert_eq!(ClientAddress::new(None).get(), None);
    }
}
