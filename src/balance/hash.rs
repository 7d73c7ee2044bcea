//! The numbers that `ip_hash` and `random_two` work with: a client's address and a backend's name as
//! well mixed 64 bits, and a generator that a seed repeats.
//!
//! Not SipHash: a client's choice must be the same in every shard, process and version, and a client
//! who steers itself to one backend by its address gains nothing that a plain request would not give.
//! The functions are therefore part of what an operator sees: changing one moves every client.

use std::net::IpAddr;

/// Odd constants without pattern (digits of π, as in wyhash's family).
const K0: u64 = 0x243f_6a88_85a3_08d3;
const K1: u64 = 0x1319_8a2e_0370_7345;

/// A client's address as 64 well mixed bits. An IPv4 client is the same client whether it came over
/// an IPv4 socket or as `::ffff:a.b.c.d` over a dual-stack one.
pub fn client_hash(ip: &IpAddr) -> u64 {
    let bits = match ip {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(*v6),
    };
    let (high, low) = ((bits >> 64) as u64, bits as u64);
    mixed(fold(high ^ K0, low ^ K1) ^ low)
}

/// A backend's name as 64 well mixed bits: its identity for `ip_hash`, which must not depend on where
/// it stands in the file (FNV-1a, then mixed, since FNV's high bits are weak for short names).
pub fn name_hash(name: &str) -> u64 {
    let fnv = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mixed(fnv)
}

/// The hash of a client and a backend together. One multiplication: both halves are mixed already.
#[inline]
pub(super) fn pair(client: u64, key: u64) -> u64 {
    fold(client ^ key, K0)
}

/// The 128-bit product's halves, xored.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

/// splitmix64's finaliser: every bit of `x` reaches every bit of the answer.
#[inline]
pub(super) fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// splitmix64: small, fast, and good from any seed, also from seeds 0, 1, 2 of neighbouring shards.
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    /// The sequence that `seed` names.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number from 0 up to 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `limit`, which must not be 0 (Lemire's product; its bias, limit / 2⁶⁴, shows
    /// in no test).
    #[inline]
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(limit)) >> 64) as u64
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_v4_client_is_the_same_client_on_a_dual_stack_socket() {
        let (v4, v6): (IpAddr, IpAddr) = ("192.0.2.7".parse().unwrap(), "::ffff:192.0.2.7".parse().unwrap());
        assert_eq!(client_hash(&v4), client_hash(&v6));
        assert_ne!(client_hash(&v4), client_hash(&"192.0.2.8".parse().unwrap()));
        // Not mapped, so another address although it ends alike (RFC 4291 section 2.5.5.1).
        assert_ne!(client_hash(&v4), client_hash(&"::192.0.2.7".parse().unwrap()));
    }

    #[test]
    fn hashes_do_not_change_between_versions() {
        // Whoever changes these moves every client of every ip_hash pool at an upgrade.
        assert_eq!(client_hash(&"192.0.2.7".parse().unwrap()), 14_677_129_597_098_783_095);
        assert_eq!(name_hash("a"), 198_367_012_849_983_736);
    }

    #[test]
    fn neighbouring_addresses_differ_in_half_of_all_bits() {
        let hash = |n: u32| client_hash(&IpAddr::from((0x0a00_0000_u32 + n).to_be_bytes()));
        let flips: u32 = (0..4096).map(|n| (hash(n) ^ hash(n + 1)).count_ones()).sum();
        let mean = f64::from(flips) / 4096.0;
        assert!((31.0..33.0).contains(&mean), "{mean}");
    }
}
