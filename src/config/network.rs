//! `trusted_proxies`: networks in CIDR notation, and which peers are in them.
//!
//! Here: [`Network`] and [`TrustedProxies`], what is read of them and whether an address is in one. Not
//! here: what a trusted peer is believed (`http1`, `proxy`).

use super::fault::Wrong;
use super::values::quoted;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A block of addresses: a prefix, and how many bits of it count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first address: all bits beyond the prefix are 0.
    first: IpAddr,
    /// Bits of the prefix: up to 32 for IPv4, 128 for IPv6.
    bits: u8,
}

impl Network {
    /// Whether `address` is in it. An IPv4 address that came mapped into IPv6 counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                (first.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                (first.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// "10.0.0.0/8", "fd00::/8", or one address.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let no_network = || {
            let what = format!("{} is not a network", quoted(text));
            Wrong::new(what, "use an address, or a network such as \"10.0.0.0/8\" or \"fd00::/8\"")
        };
        let first: IpAddr = address.parse().map_err(|_| no_network())?;
        let max = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => max,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|&bits| bits <= max).ok_or_else(no_network)?
            }
            Some(_) => return Err(no_network()),
        };
        let whole = Self { first: masked(first, bits), bits };
        if whole.first != first {
            let what = format!("{} has bits beyond its prefix", quoted(text));
            return Err(Wrong::new(what, format!("did you mean \"{whole}\"?")));
        }
        match first {
            IpAddr::V6(mapped) if mapped.to_ipv4_mapped().is_some() && bits >= 96 => {
                let v4 = Self { first: first.to_canonical(), bits: bits - 96 };
                let what = format!("{} is IPv4 in the clothes of IPv6", quoted(text));
                Err(Wrong::new(what, format!("write \"{v4}\", which means both")))
            }
            IpAddr::V4(_) | IpAddr::V6(_) => Ok(whole),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

/// Whose word about the client is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Peers with these addresses.
    pub networks: Vec<Network>,
    /// Peers on a Unix socket, which have no address.
    pub unix: bool,
}

impl TrustedProxies {
    /// Whether the peer with this address is one of them; `None`: it came through a Unix socket.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            Some(address) => self.networks.iter().any(|network| network.contains(address)),
            None => self.unix,
        }
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Takes one entry of the list: a network, or "unix:".
    pub(super) fn add(&mut self, text: &str) -> Result<(), Wrong> {
        if text == "unix:" {
            self.unix = true;
        } else {
            self.networks.push(Network::parse(text)?);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network(text: &str) -> Network {
        Network::parse(text).map_err(|wrong| wrong.what).unwrap()
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_with_its_prefix() {
        for (text, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "a00::", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.6", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "127.0.0.1", false),
            ("::1", "::1", true),
        ] {
            assert_eq!(network(text).contains(address.parse().unwrap()), expected, "{address} in {text}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_to_write() {
        for (text, what, remedy) in [
            ("10.0.0.0/33", "is not a network", "such as"),
            ("10.0.0.0/", "is not a network", "such as"),
            ("10.0.0.0/+8", "is not a network", "such as"),
            ("10.0.0/8", "is not a network", "such as"),
            ("proxy.internal", "is not a network", "such as"),
            ("::/129", "is not a network", "such as"),
            ("10.0.0.1/8", "has bits beyond its prefix", "did you mean \"10.0.0.0/8\"?"),
            ("fd00::1/8", "has bits beyond its prefix", "did you mean \"fd00::/8\"?"),
            ("::ffff:10.0.0.0/104", "IPv4 in the clothes of IPv6", "write \"10.0.0.0/8\""),
        ] {
            let wrong = Network::parse(text).unwrap_err();
            assert!(wrong.what.contains(what) && wrong.remedy.contains(remedy), "{text}: {}", wrong.what);
        }
    }

    #[test]
    fn a_peer_without_an_address_is_trusted_only_if_the_list_says_so() {
        let mut trusted = TrustedProxies::default();
        assert!(trusted.is_empty() && !trusted.trusts(None));
        trusted.add("10.0.0.0/8").map_err(|wrong| wrong.what).unwrap();
        assert!(!trusted.trusts(None) && trusted.trusts(Some("10.0.0.1".parse().unwrap())));
        trusted.add("unix:").map_err(|wrong| wrong.what).unwrap();
        assert!(trusted.trusts(None));
    }

    proptest! {
        #[test]
        fn a_network_contains_its_first_address_and_prints_as_it_is_read(bits: u128, length in 0u8..=128, v4: bool) {
            let (address, length) = match v4 {
                true => (IpAddr::V4((bits as u32).into()), length % 33),
                false => (IpAddr::V6(bits.into()), length),
            };
            prop_assume!(address.to_canonical() == address);
            let first = masked(address, length);
            prop_assume!(first.to_canonical() == first);
            let read = network(&format!("{first}/{length}"));
            prop_assert_eq!(read.to_string(), format!("{first}/{length}"));
            prop_assert!(read.contains(first) && read.contains(address));
        }
    }
}
