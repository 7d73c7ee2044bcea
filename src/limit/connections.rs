//! Exact counts of a listener's connections, in all and for each client, over all shards.
//!
//! One table a listener, shared by its shards through the topology: a count by messages would be exceeded
//! by what is on its way. It is touched when a connection is accepted and when it closes, and only where a
//! limit is set; no request comes near it. Clients stand in stripes with a lock each, so that shards that
//! accept at once seldom meet. A client that has no connection has no entry: there are never more entries
//! than connections. Ordered maps, not hashed ones, since the keys are what an attacker chooses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks of a table; a power of two.
const STRIPES: usize = 64;

/// A client, as limits count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientKey {
    /// An IPv4 address.
    V4(u32),
    /// The first 64 bits of an IPv6 address: what one customer is given, who is free to use any address in it.
    V6(u64),
}

impl ClientKey {
    /// Whose address it is; an IPv4 address in the clothes of IPv6 is IPv4.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 64) as u64),
        }
    }

    fn stripe(self) -> usize {
        let bits = match self {
            Self::V4(bits) => u64::from(bits),
            Self::V6(bits) => bits,
        };
        // The high bits of the product depend on all bits of the key.
        (bits.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize % STRIPES
    }
}

/// How many connections there may be at once; 0: any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Of the listener, over all shards.
    pub all: usize,
    /// Of one client of the listener, over all shards.
    pub per_client: usize,
}

/// The limit for which a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// [`ConnectionLimits::all`]
    Listener,
    /// [`ConnectionLimits::per_client`]
    Client,
    /// TLS handshakes under way on one shard.
    Handshakes,
}

impl Exceeded {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Listener, Self::Client, Self::Handshakes];

    /// The key that says how many there may be: its word in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Listener => "max_connections",
            Self::Client => "max_connections_per_client",
            Self::Handshakes => "max_handshakes",
        }
    }
}

/// The connections of one listener. A limit that is set while it runs counts those that come from then on.
#[derive(Debug)]
pub struct ConnectionCounts {
    all: AtomicUsize,
    clients: [Mutex<BTreeMap<ClientKey, usize>>; STRIPES],
    /// By [`Exceeded`].
    refused: [AtomicU64; Exceeded::ALL.len()],
}

impl Default for ConnectionCounts {
    fn default() -> Self {
        Self {
            all: AtomicUsize::new(0),
            clients: std::array::from_fn(|_| Mutex::default()),
            refused: Default::default(),
        }
    }
}

impl ConnectionCounts {
    /// Counts one more connection, under these limits. `client`: whose it is; `None`: nobody's whose
    /// connections are counted. The place is to be kept as long as the connection; `None`: there is no limit.
    ///
    /// # Errors
    /// The limit that leaves no place for it; nothing is counted but that it was refused.
    pub fn admit(
        self: &Arc<Self>,
        limits: ConnectionLimits,
        client: Option<ClientKey>,
    ) -> Result<Option<Box<Place>>, Exceeded> {
        if limits == ConnectionLimits::default() {
            return Ok(None);
        }
        let mut place = Box::new(Place { counts: self.clone(), of_all: false, client: None });
        if let Some(client) = client.filter(|_| limits.per_client > 0) {
            let mut clients = self.stripe(client);
            let count = clients.get(&client).copied().unwrap_or(0);
            if count >= limits.per_client {
                return Err(self.refuse(Exceeded::Client));
            }
            clients.insert(client, count + 1);
            place.client = Some(client);
        }
        if limits.all > 0 {
            let one_more = |count: usize| (count < limits.all).then_some(count + 1);
            // If there is none, the client is counted down with `place`.
            let counted = self.all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
            counted.map_err(|_| self.refuse(Exceeded::Listener))?;
            place.of_all = true;
        }
        Ok(Some(place))
    }

    /// Connections that were refused for this limit.
    pub fn refused(&self, exceeded: Exceeded) -> u64 {
        self.refused[exceeded as usize].load(Ordering::Relaxed)
    }

    /// A connection is refused for this limit: it is counted.
    pub fn refuse(&self, exceeded: Exceeded) -> Exceeded {
        self.refused[exceeded as usize].fetch_add(1, Ordering::Relaxed);
        exceeded
    }

    fn stripe(&self, client: ClientKey) -> MutexGuard<'_, BTreeMap<ClientKey, usize>> {
        // Who panicked with it held had not begun to change it, or was done: a map's insert is whole.
        self.clients[client.stripe()].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among those of its listener and its client. Dropping it counts down.
#[derive(Debug)]
#[must_use = "the connection counts only while its place lives"]
pub struct Place {
    counts: Arc<ConnectionCounts>,
    of_all: bool,
    client: Option<ClientKey>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.of_all {
            self.counts.all.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(client) = self.client {
            let mut clients = self.counts.stripe(client);
            match clients.get_mut(&client) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) | None => drop(clients.remove(&client)),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(address: &str) -> ClientKey {
        ClientKey::of(address.parse().unwrap())
    }

    fn entries(counts: &ConnectionCounts) -> usize {
        counts.clients.iter().map(|stripe| stripe.lock().unwrap().len()).sum()
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network_of_64_bits() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("::", "0.0.0.0", false),
        ] {
            assert_eq!(key(one) == key(other), same, "{one} and {other}");
        }
    }

    #[test]
    fn the_limit_that_is_hit_is_named_and_counted_and_takes_no_place() {
        let counts = Arc::new(ConnectionCounts::default());
        let limits = ConnectionLimits { all: 3, per_client: 2 };
        let (one, other) = (Some(key("192.0.2.1")), Some(key("192.0.2.2")));
        let first = counts.admit(limits, one).unwrap();
        let second = counts.admit(limits, one).unwrap();
        assert_eq!(counts.admit(limits, one).unwrap_err(), Exceeded::Client);
        let third = counts.admit(limits, other).unwrap();
        assert_eq!(counts.admit(limits, other).unwrap_err(), Exceeded::Listener);
        assert_eq!(counts.admit(limits, None).unwrap_err(), Exceeded::Listener);
        assert_eq!(Exceeded::ALL.map(|exceeded| counts.refused(exceeded)), [2, 1, 0]);
        drop(second);
        let exempt = counts.admit(limits, None).unwrap();
        drop((first, third, exempt));
        assert_eq!((counts.all.load(Ordering::Relaxed), entries(&counts)), (0, 0));
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let counts = Arc::new(ConnectionCounts::default());
        assert!(counts.admit(ConnectionLimits::default(), Some(key("192.0.2.1"))).unwrap().is_none());
        assert_eq!((counts.all.load(Ordering::Relaxed), entries(&counts)), (0, 0));
    }

    /// Someone connects under the limits of that moment, or the connection at this place closes.
    #[derive(Clone, Debug)]
    enum Step {
        Connect(u32, usize, usize),
        Close(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0u32..6, 0usize..12, 0usize..4).prop_map(|(client, all, each)| Step::Connect(client, all, each)),
            2 => (0usize..20).prop_map(Step::Close),
        ]
    }

    proptest! {
        #[test]
        fn counts_are_exact_after_any_history_and_entries_leave_with_the_last_connection(
            steps in prop::collection::vec(step(), 0..200)
        ) {
            let counts = Arc::new(ConnectionCounts::default());
            let mut open: Vec<Option<Box<Place>>> = Vec::new();
            for step in steps {
                match step {
                    Step::Close(at) if at < open.len() => drop(open.swap_remove(at)),
                    Step::Close(_) => {}
                    Step::Connect(client, all, per_client) => {
                        let client = ClientKey::V4(client);
                        let places = || open.iter().flatten();
                        let of_all = places().filter(|place| place.of_all).count();
                        let of_client = places().filter(|place| place.client == Some(client)).count();
                        let expected = if per_client > 0 && of_client >= per_client {
                            Some(Exceeded::Client)
                        } else if all > 0 && of_all >= all {
                            Some(Exceeded::Listener)
                        } else {
                            None
                        };
                        let admitted = counts.admit(ConnectionLimits { all, per_client }, Some(client));
                        prop_assert_eq!(admitted.as_ref().err().copied(), expected);
                        open.extend(admitted);
                    }
                }
                let places = || open.iter().flatten();
                let of_all = places().filter(|place| place.of_all).count();
                prop_assert_eq!(counts.all.load(Ordering::Relaxed), of_all);
                let mut clients: Vec<_> = places().filter_map(|place| place.client).collect();
                clients.sort_unstable();
                clients.dedup();
                prop_assert_eq!(entries(&counts), clients.len());
            }
        }
    }
}
