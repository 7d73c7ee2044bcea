//! Which certificate a client gets: by the name that it asks for (SNI), and by the signatures that it can check.
//!
//! The exact name wins over a wildcard, which stands for one label, and both over the default, which is the first
//! certificate of the configuration. For each of them there may be several keys: ECDSA before RSA, which costs the
//! shard ten times as much, if the client takes it. Made when the configuration is taken, read on the shards.

use super::certificate::Certificate;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The certificates for one name, the cheapest to sign with first.
#[derive(Clone, Debug, Default)]
struct Keys(Vec<Arc<Certificate>>);

/// A listener's certificates.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    exact: HashMap<Box<str>, Keys>,
    /// By what follows the first label, with its dot: ".example.org".
    wildcards: HashMap<Box<str>, Keys>,
    default: Keys,
}

impl Certificates {
    /// Of these, in the configuration's order.
    pub(super) fn of(all: &[Arc<Certificate>]) -> Self {
        let mut certificates = Self::default();
        for certificate in all {
            for name in &certificate.facts.names {
                let keys = match name.strip_prefix('*') {
                    Some(suffix) => certificates.wildcards.entry(suffix.into()).or_default(),
                    None => certificates.exact.entry(name.as_str().into()).or_default(),
                };
                keys.add(certificate);
            }
        }
        // With the first one its like of another kind of key.
        if let Some(first) = all.first() {
            // Authorities list names in any order.
            let names = |of: &Certificate| of.facts.names.iter().cloned().collect::<BTreeSet<_>>();
            let firsts = names(first);
            let same = |other: &&Arc<Certificate>| names(other) == firsts;
            all.iter().filter(same).for_each(|other| certificates.default.add(other));
        }
        certificates
    }

    /// Of these, the places of those that no client ever gets, since others stand before them, or the same.
    pub(super) fn never_chosen(&self, all: &[Arc<Certificate>]) -> Vec<usize> {
        let keys = self.exact.values().chain(self.wildcards.values()).chain([&self.default]);
        let reachable: HashSet<_> = keys.flat_map(|keys| keys.0.iter().map(Arc::as_ptr)).collect();
        let mut seen = HashSet::new();
        let lost = |(_, one): &(usize, &Arc<Certificate>)| {
            let it = Arc::as_ptr(one);
            !reachable.contains(&it) || !seen.insert(it)
        };
        all.iter().enumerate().filter(lost).map(|(place, _)| place).collect()
    }

    /// The certificates for a name in lower case; `None`: the client has asked for none.
    fn for_name(&self, name: Option<&str>) -> &Keys {
        let Some(name) = name else { return &self.default };
        let wildcard = || self.wildcards.get(&name[name.find('.')?..]);
        self.exact.get(name).or_else(wildcard).unwrap_or(&self.default)
    }
}

impl Keys {
    /// The first of each kind stays.
    fn add(&mut self, certificate: &Arc<Certificate>) {
        let kind = |one: &Certificate| one.certified.key.algorithm();
        if self.0.iter().all(|held| kind(held) != kind(certificate)) {
            self.0.push(certificate.clone());
            self.0.sort_by_key(|held| cost(kind(held)));
        }
    }

    /// The first that the client can check; if it can check none, the first: the handshake fails, and says why.
    fn choose(&self, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fits = |held: &&Arc<Certificate>| held.certified.key.choose_scheme(schemes).is_some();
        self.0.iter().find(fits).or(self.0.first()).map(|chosen| chosen.shown())
    }
}

fn cost(kind: SignatureAlgorithm) -> u8 {
    match kind {
        SignatureAlgorithm::ECDSA => 0,
        SignatureAlgorithm::ED25519 => 1,
        _ => 2,
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.for_name(hello.server_name()).choose(hello.signature_schemes())
    }
}
