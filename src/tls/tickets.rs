//! Session tickets that any shard, and the process that takes over, can resume (RFC 8446 §4.6.1, RFC 5077).
//!
//! A ticket is the session itself, sealed with a key that only weir has: nothing is kept for it. All shards have the
//! same keys; a successor gets them. Control makes a new key now and then, and the one before still opens for as
//! long as its last ticket may live: the keys are what an attacker would need to read recorded resumptions, so none
//! is kept longer, or written anywhere. AES-256-GCM-SIV, for which two tickets with one nonce, which chance may
//! bring at millions an hour, are no calamity.
//!
//! A ticket is bound to what its listener asks of clients: elsewhere it does not open. And it says until when the
//! client's proof of who it is holds (`proof`): afterwards it does not open either.

use super::proof::Proof;
use crate::sys::clock;
use crate::time::{Instant, Micros};
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use data_encoding::BASE64;
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// How long a ticket may be used, and how long a key makes new ones.
pub const TICKET_LIFE: Micros = Micros::from_s(12 * 3600);

/// Bytes of a key's name, by which a ticket says what opens it.
const NAME: usize = 16;

/// Bytes of a key.
const SECRET: usize = 32;

/// Bytes that sealing adds.
const TAG: usize = 16;

/// The keys, for all listeners and shards.
pub struct Tickets {
    keys: RwLock<Keys>,
}

struct Keys {
    /// The first makes tickets, all open them.
    keys: Vec<Arc<Key>>,
    /// When the first began to.
    since: Instant,
}

struct Key {
    name: [u8; NAME],
    secret: [u8; SECRET],
    sealing: LessSafeKey,
}

/// The keys as they go to a successor, over a socket that only weir's user and root can reach.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedKeys {
    /// Name and secret of each in base64, the one that makes tickets first.
    keys: Vec<(String, String)>,
    /// How long the first has made tickets.
    age_us: u64,
}

impl fmt::Debug for HandedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.keys.len())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl Key {
    fn new() -> Option<Arc<Self>> {
        let (mut name, mut secret) = ([0; NAME], [0; SECRET]);
        rand::fill(&mut name).ok()?;
        rand::fill(&mut secret).ok()?;
        Self::of(name, secret)
    }

    fn of(name: [u8; NAME], secret: [u8; SECRET]) -> Option<Arc<Self>> {
        let sealing = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &secret).ok()?);
        Some(Arc::new(Self { name, secret, sealing }))
    }

    fn read((name, secret): &(String, String)) -> Option<Arc<Self>> {
        let name = BASE64.decode(name.as_bytes()).ok()?.try_into().ok()?;
        let secret = BASE64.decode(secret.as_bytes()).ok()?.try_into().ok()?;
        Self::of(name, secret)
    }
}

impl Tickets {
    /// A new key; were there no randomness, none, and no tickets.
    pub fn new(now: Instant) -> Self {
        Self { keys: RwLock::new(Keys { keys: Key::new().into_iter().collect(), since: now }) }
    }

    /// Another key makes tickets, if it is time. The one before opens its own for as long as another.
    pub fn rotate(&self, now: Instant) {
        let mut held = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if now < held.since + TICKET_LIFE {
            return;
        }
        // Without randomness the old one goes on.
        let Some(next) = Key::new() else { return };
        // After a long sleep the last ticket of the one before is over, too.
        let keep = if now < held.since + TICKET_LIFE + TICKET_LIFE { 1 } else { 0 };
        held.keys.truncate(keep);
        held.keys.insert(0, next);
        held.since = now;
    }

    /// When it is time for another key.
    pub fn rotates_at(&self) -> Instant {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).since + TICKET_LIFE
    }

    /// The keys for a successor.
    pub fn hand_on(&self, now: Instant) -> HandedKeys {
        let held = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let encode = |key: &Arc<Key>| (BASE64.encode(&key.name), BASE64.encode(&key.secret));
        HandedKeys { keys: held.keys.iter().map(encode).collect(), age_us: (now - held.since).as_us() }
    }

    /// Goes on with the keys of a predecessor, if it had any.
    pub fn take_over(&self, handed: &HandedKeys, now: Instant) {
        let keys: Option<Vec<_>> = handed.keys.iter().map(Key::read).collect();
        if let Some(keys) = keys.filter(|keys| !keys.is_empty()) {
            let since = Instant::from_us(now.as_us().saturating_sub(handed.age_us));
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Keys { keys, since };
        }
    }

    fn current(&self) -> Option<Arc<Key>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).keys.first().cloned()
    }

    fn named(&self, name: &[u8]) -> Option<Arc<Key>> {
        let held = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        held.keys.iter().find(|key| key.name == name).cloned()
    }
}

/// The tickets of listeners that ask the same of clients.
pub(super) struct Ticketer {
    pub(super) tickets: Arc<Tickets>,
    pub(super) binding: [u8; 32],
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer")
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        self.tickets.current().is_some()
    }

    fn lifetime(&self) -> u32 {
        (TICKET_LIFE.as_us() / 1_000_000) as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.tickets.current()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE_LEN + Proof::LEN + plain.len() + TAG);
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(&nonce);
        let mut sealed = Vec::with_capacity(Proof::LEN + plain.len() + TAG);
        sealed.extend_from_slice(&Proof::current().to_bytes());
        sealed.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.sealing.seal_in_place_append_tag(nonce, Aad::from(self.binding), &mut sealed).ok()?;
        ticket.append(&mut sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let key = self.tickets.named(name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut opened = sealed.to_vec();
        let opened = key.sealing.open_in_place(nonce, Aad::from(self.binding), &mut opened).ok()?;
        let (proof, plain) = opened.split_first_chunk()?;
        let proof = Proof::of_bytes(*proof);
        proof.holds(clock::unix_ms() / 1_000).then(|| {
            proof.hold();
            plain.to_vec()
        })
    }
}

impl Default for Tickets {
    fn default() -> Self {
        Self::new(clock::now())
    }
}
