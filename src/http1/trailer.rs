//! Which names a trailer may not have (RFC 9110 §6.5.1).
//!
//! A recipient that merges trailers into the fields would believe one that frames, routes, modifies the
//! request, authenticates, says who the client is, or says what the content is; and what `Connection` named
//! in the head was for us alone (§7.6.1). A name is taken for whatever it may be taken for
//! ([`in_variables`]). Called by `chunked.rs` for each
//! trailer.

use super::connection::nominations;
use super::fields::{CLIENT_NAMES, Fields};
use super::scan::in_variables;

/// Bytes of a name that are kept; no name below is longer. Of a nominated one that is, no more is compared,
/// and its length.
const KEPT: usize = 40;

/// Names, in order, besides [`CLIENT_NAMES`].
const FORBIDDEN: [&[u8]; 30] = [
    b"age",
    b"authorization",
    b"cache-control",
    b"connection",
    b"cookie",
    b"date",
    b"early-data",
    b"expect",
    b"expires",
    b"forwarded",
    b"host",
    b"keep-alive",
    b"location",
    b"max-forwards",
    b"origin",
    b"pragma",
    b"proxy-connection",
    b"range",
    b"retry-after",
    b"set-cookie",
    b"status",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"vary",
    b"via",
    b"warning",
    b"www-authenticate",
    b"x-real-ip",
];

/// Beginnings of names.
const FAMILIES: [&[u8]; 6] =
    [b"content-", b"if-", b"proxy-auth", b"x-forwarded-", b"x-original-", b"x-rewrite-"];

/// Of those families, what is made to be a trailer (RFC 9530 §2).
const ALLOWED: &[u8] = b"content-digest";

/// Names that a head's `Connection` gave, or that weir writes itself: no trailer of the body may have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nominations(Box<[Box<[u8]>]>);

impl Nominations {
    /// Those of the head that `fields` was filled from, options apart, and `more`; `None` if there are none.
    pub fn of<'a>(
        bytes: &'a [u8],
        fields: &'a Fields,
        more: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Box<Self>> {
        let names = nominations(bytes, fields).chain(more);
        let names: Box<[Box<[u8]>]> =
            names.map(|name| name.iter().map(|&b| in_variables(b)).collect()).collect();
        if names.is_empty() { None } else { Some(Box::new(Self(names))) }
    }
}

/// Whether no trailer may have this name.
pub fn is_forbidden_trailer(name: &[u8]) -> bool {
    let mut whole = Name::EMPTY;
    name.iter().for_each(|&byte| whole.push(byte));
    whole.is_forbidden(None)
}

/// The name of a trailer, as far as it has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    kept: [u8; KEPT],
    len: usize,
}

impl Name {
    pub(super) const EMPTY: Self = Self { kept: [0; KEPT], len: 0 };

    pub(super) fn push(&mut self, byte: u8) {
        if let Some(kept) = self.kept.get_mut(self.len) {
            *kept = in_variables(byte);
        }
        self.len += 1;
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Whether no trailer may have it.
    pub(super) fn is_forbidden(&self, nominated: Option<&Nominations>) -> bool {
        let kept = &self.kept[..self.len.min(KEPT)];
        let known =
            self.len <= KEPT && (FORBIDDEN.binary_search(&kept).is_ok() || CLIENT_NAMES.contains(&kept));
        let family = FAMILIES.iter().any(|family| kept.starts_with(family)) && kept != ALLOWED;
        let is_nominated = |name: &[u8]| name.len() == self.len && name.starts_with(kept);
        known || family || nominated.is_some_and(|names| names.0.iter().any(|name| is_nominated(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_in_order_and_fit() {
        assert!(FORBIDDEN.is_sorted());
        assert!(FORBIDDEN.iter().chain(&CLIENT_NAMES).all(|name| name.len() <= KEPT));
    }
}
