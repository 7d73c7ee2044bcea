//! What the old process and the new one say to each other, and how it is written.
//!
//! A message is four bytes with its length, most significant first, and JSON. Descriptors follow the offer,
//! [`IN_ONE_MESSAGE`](crate::sys::handoff::IN_ONE_MESSAGE) at most a message of their own. The new process
//! connects and the old one speaks first:
//!
//! | from | message | what it means |
//! |---|---|---|
//! | old | `hello` | who I am, where I listen; or `refused`, and why |
//! | new | `take` | hand it over; who only looks around hangs up instead |
//! | old | `offer` | these sockets, this state; nothing has changed yet |
//! | new | `serving` | I accept on these; before it the old process just goes on if I die |
//! | old | `leaving` | I accept no more there |
//!
//! A process of another [`PROTOCOL`] can still read a `hello` as far as [`Hello::protocol`] and
//! [`Hello::weir`], so it can say what is wrong. Pure: bytes in and out; [`super::give`] and
//! [`super::take`] read and write them.

use crate::fleet::Carried;
use crate::tls::HandedKeys;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Grows when a process of an earlier version would misunderstand.
pub(super) const PROTOCOL: u32 = 1;

/// The longest message, in bytes: some ten times what 10,000 backends come to.
pub(super) const LEN_MAX: usize = 32 << 20;

/// Most descriptors that are handed over.
pub(super) const DESCRIPTORS_MAX: usize = 16_384;

/// The bytes of a message's length.
pub(super) const PREFIX: usize = 4;

/// What the old process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromOld {
    Hello(Hello),
    Refused { why: String },
    Offer(Offer),
    Leaving,
}

/// What the new process says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromNew {
    Take {
        protocol: u32,
    },
    /// The addresses of the offer on which it accepts, listeners and admin alike, as the offer wrote them.
    Serving {
        taken: Vec<String>,
    },
}

/// Who the old process is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) protocol: u32,
    /// Its version, for people.
    pub(super) weir: String,
    /// Where it listens, admin addresses too.
    #[serde(default)]
    pub(super) addresses: Vec<String>,
}

/// What is handed over.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// In the order in which the descriptors follow.
    pub(crate) listeners: Vec<Offered>,
    /// After those.
    pub(crate) admin: Vec<Offered>,
    pub(crate) carried: Carried,
    /// The keys of session tickets.
    #[serde(default)]
    pub(crate) ticket_keys: HandedKeys,
}

/// The sockets of one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offered {
    /// As the configuration writes it, with the real port.
    pub(crate) address: String,
    /// How many: a group of SO_REUSEPORT has one a shard and more after takeovers.
    pub(crate) sockets: usize,
    /// They are the supervisor's, which goes on with them when no weir runs any more.
    #[serde(default)]
    pub(crate) lent: bool,
}

impl Offer {
    /// How many descriptors follow; `None` for more than [`DESCRIPTORS_MAX`].
    pub(super) fn descriptors(&self) -> Option<usize> {
        let mut all = self.listeners.iter().chain(&self.admin);
        let sum = all.try_fold(0usize, |sum, offered| sum.checked_add(offered.sockets))?;
        (sum <= DESCRIPTORS_MAX).then_some(sum)
    }
}

/// What cannot be read as a message.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a message of {0} bytes, more than any has")]
    TooLong(usize),
    #[error("a message that is none: {0}")]
    NoMessage(#[from] serde_json::Error),
}

/// A message as it is sent.
pub(super) fn frame(message: &impl Serialize) -> Result<Vec<u8>, Malformed> {
    let mut bytes = vec![0; PREFIX];
    serde_json::to_writer(&mut bytes, message)?;
    let len = bytes.len() - PREFIX;
    let prefix = u32::try_from(len).ok().filter(|_| len <= LEN_MAX).ok_or(Malformed::TooLong(len))?;
    bytes[..PREFIX].copy_from_slice(&prefix.to_be_bytes());
    Ok(bytes)
}

/// How long the message behind `prefix` is.
pub(super) fn len(prefix: [u8; PREFIX]) -> Result<usize, Malformed> {
    let len = u32::from_be_bytes(prefix) as usize;
    if len <= LEN_MAX { Ok(len) } else { Err(Malformed::TooLong(len)) }
}

/// A message without its prefix.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    Ok(serde_json::from_slice(bytes)?)
}

/// The protocol and the version that a hello of any protocol names.
pub(super) fn version_of(hello: &[u8]) -> Option<(u32, String)> {
    #[derive(Deserialize)]
    struct AnyHello {
        hello: Version,
    }
    #[derive(Deserialize)]
    struct Version {
        protocol: u32,
        weir: String,
    }
    let Version { protocol, weir } = serde_json::from_slice::<AnyHello>(hello).ok()?.hello;
    Some((protocol, weir))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let taken = FromNew::Serving { taken: vec!["127.0.0.1:80".into(), "unix:/a".into()] };
        let framed = frame(&taken).unwrap();
        let prefix = framed[..PREFIX].try_into().unwrap();
        assert_eq!(len(prefix).unwrap(), framed.len() - PREFIX);
        assert_eq!(read::<FromNew>(&framed[PREFIX..]).unwrap(), taken);
    }

    #[test]
    fn a_hello_of_another_protocol_tells_its_version() {
        let later = br#"{"hello":{"protocol":7,"weir":"3.1.0","places":{"new":[1]}}}"#;
        assert_eq!(version_of(later), Some((7, "3.1.0".to_owned())));
        assert_eq!(version_of(br#"{"refused":{"why":"leaving"}}"#), None);
    }

    #[test]
    fn an_offer_of_more_descriptors_than_anybody_has_is_none() {
        let offered = |sockets| Offered { address: "a".into(), sockets, lent: false };
        let offer = |counts: &[usize]| Offer {
            listeners: counts.iter().copied().map(offered).collect(),
            ..Offer::default()
        };
        assert_eq!(offer(&[3, 4]).descriptors(), Some(7));
        assert_eq!(offer(&[DESCRIPTORS_MAX, 1]).descriptors(), None);
        assert_eq!(offer(&[usize::MAX, usize::MAX]).descriptors(), None);
        assert!(matches!(len(u32::MAX.to_be_bytes()), Err(Malformed::TooLong(_))));
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_message_are_an_error_not_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (read::<FromOld>(&bytes).is_ok(), read::<FromNew>(&bytes).is_ok(), version_of(&bytes));
        }
    }
}
