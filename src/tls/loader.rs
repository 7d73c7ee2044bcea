//! Everything of TLS that a configuration names, read, checked and made into what shards use.
//!
//! The loader remembers what it has read: a file that has not changed is not read again, and what is made of the
//! same parts is the same, so that a reload that changes one certificate of thousands costs one. It blocks and it
//! computes: control has it on a thread of its own, which gives way to the shards. A fault leaves all that runs as
//! it is: what is loaded holds only once control says so.

use super::certificate::{Certificate, CertificateFacts};
use super::choice::Certificates;
use super::tickets::{Ticketer, Tickets};
use super::trust::{self, Authorities, Revoked};
use crate::config::{
    CertificateFiles, ClientAuth, Config, Fault, Faults, ListenerTls, NamedFile, Pool, PoolTls, TlsVersion,
};
use crate::sys::clock::unix_s;
use crate::sys::file::Stamp;
use crate::topology::Sealing;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why what a configuration names is of no use.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TlsRefused(#[from] pub Faults);

/// What a configuration comes to.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What listeners and pools use.
    pub sealing: Sealing,
    /// The certificates of each listener, by place, in its order.
    pub certificates: Vec<Vec<Arc<CertificateFacts>>>,
    /// What backends that ask are shown, with the name of the pool.
    pub shown: Vec<(String, Arc<CertificateFacts>)>,
    /// What is allowed but is probably not meant, in line order.
    pub warnings: Vec<Fault>,
    /// The files in which something else was found than before.
    pub read: Vec<PathBuf>,
    /// How many things files were opened for: those that had not changed for some seconds were not.
    pub opened: usize,
}

/// How something was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Got {
    /// Its files have not changed, so they were not opened.
    Kept,
    /// There is the same in them.
    Same,
    /// It is new.
    New,
}

/// Something made of files.
struct Kept<T> {
    /// By file.
    stamps: Vec<Stamp>,
    value: Arc<T>,
}

/// What was made of files, by their paths.
struct Shelf<K, T>(HashMap<K, Kept<T>>);

/// The paths of a certificate's files.
type CertificatePaths = (PathBuf, PathBuf, Option<PathBuf>);

/// A listener's rules, made of these parts.
struct BuiltListener {
    rules: ListenerTls,
    certificates: Vec<Arc<Certificate>>,
    authorities: Option<Arc<Authorities>>,
    revoked: Option<Arc<Revoked>>,
    config: Arc<ServerConfig>,
    /// The places of certificates that no client ever gets.
    never_chosen: Vec<usize>,
}

/// A pool's rules, made of these parts.
struct BuiltPool {
    rules: PoolTls,
    protocol: Vec<Vec<u8>>,
    authorities: Option<Arc<Authorities>>,
    certificate: Option<Arc<Certificate>>,
    config: Arc<ClientConfig>,
}

/// Reads what configurations name, one after the other.
pub struct Loader {
    provider: Arc<CryptoProvider>,
    tickets: Arc<Tickets>,
    certificates: Shelf<CertificatePaths, Certificate>,
    authorities: Shelf<PathBuf, Authorities>,
    revoked: Shelf<PathBuf, Revoked>,
    system: Option<Arc<Authorities>>,
    listeners: Vec<BuiltListener>,
    pools: Vec<BuiltPool>,
    /// What held before, until nobody uses it any more: taking thousands of certificates apart takes long, and is
    /// not to happen on the shard that has them last.
    retired: Vec<Arc<ServerConfig>>,
}

impl<K: Hash + Eq + Clone, T> Shelf<K, T> {
    /// What is made of the files at these paths: as before, if none of them has changed.
    fn get(
        &mut self,
        key: K,
        paths: &[&Path],
        read: impl FnOnce() -> Result<(T, Vec<Stamp>), Fault>,
        is_same: impl FnOnce(&T, &T) -> bool,
    ) -> Result<(Arc<T>, Got), Fault> {
        if let Some(kept) = self.0.get(&key)
            && kept.is_fresh(paths)
        {
            return Ok((kept.value.clone(), Got::Kept));
        }
        let (value, stamps) = read()?;
        // Written again with the same in it, it is no other.
        let held = self.0.remove(&key).map(|kept| kept.value).filter(|held| is_same(held, &value));
        let got = if held.is_some() { Got::Same } else { Got::New };
        let value = held.unwrap_or_else(|| Arc::new(value));
        self.0.insert(key, Kept { stamps, value: value.clone() });
        Ok((value, got))
    }
}

impl<T> Kept<T> {
    fn is_fresh(&self, paths: &[&Path]) -> bool {
        self.stamps.len() == paths.len()
            && self
                .stamps
                .iter()
                .zip(paths)
                .all(|(was, path)| Stamp::of(path).is_ok_and(|now| was.is_same(&now)))
    }
}

/// What one load has used and found.
#[derive(Default)]
struct Run {
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
    read: Vec<PathBuf>,
    opened: usize,
    certificates: HashSet<CertificatePaths>,
    authorities: HashSet<PathBuf>,
    revoked: HashSet<PathBuf>,
    now_unix_s: i64,
}

impl Run {
    /// How something of this file was come by.
    fn count(&mut self, got: Got, file: &NamedFile) {
        self.opened += usize::from(got != Got::Kept);
        if got == Got::New {
            self.read.push(file.path.clone());
        }
    }

    /// What went well.
    fn note<T>(&mut self, found: Result<T, Fault>) -> Option<T> {
        found.map_err(|fault| self.faults.push(fault)).ok()
    }
}

impl Loader {
    /// One that has read nothing. All listeners' tickets are made with these keys.
    pub fn new(tickets: Arc<Tickets>) -> Self {
        Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            tickets,
            certificates: Shelf(HashMap::new()),
            authorities: Shelf(HashMap::new()),
            revoked: Shelf(HashMap::new()),
            system: None,
            listeners: Vec::new(),
            pools: Vec::new(),
            retired: Vec::new(),
        }
    }

    /// Reads what `config` names, as far as it has changed, and makes of it what shards use.
    ///
    /// # Errors
    /// All that is wrong, in line order, each with its place and remedy. What was loaded before holds on.
    pub fn load(&mut self, config: &Config) -> Result<Loaded, TlsRefused> {
        let mut run = Run { now_unix_s: unix_s(), ..Run::default() };
        let listeners: Vec<_> = config
            .listeners
            .iter()
            .map(|listener| listener.tls.as_ref().and_then(|tls| self.listener(tls, &mut run)))
            .collect();
        let pools: Vec<_> = config
            .pools
            .iter()
            .map(|pool| pool.tls.as_ref().and_then(|tls| self.pool(pool, tls, &mut run)))
            .collect();
        let in_line_order = |faults: &mut Vec<Fault>| {
            faults.sort_by_key(|fault| fault.line);
            // Two listeners may name the same file.
            faults.dedup();
        };
        in_line_order(&mut run.faults);
        in_line_order(&mut run.warnings);
        if !run.faults.is_empty() {
            return Err(TlsRefused(Faults(run.faults)));
        }
        let facts = |built: &Option<BuiltListener>| {
            let all = built.iter().flat_map(|built| &built.certificates);
            all.map(|certificate| certificate.facts.clone()).collect()
        };
        let shown = config.pools.iter().zip(&pools).filter_map(|(pool, built)| {
            let certificate = built.as_ref()?.certificate.as_ref()?;
            Some((pool.name.clone(), certificate.facts.clone()))
        });
        let loaded = Loaded {
            certificates: listeners.iter().map(facts).collect(),
            shown: shown.collect(),
            sealing: Sealing {
                listeners: listeners.iter().map(|built| Some(built.as_ref()?.config.clone())).collect(),
                pools: pools.iter().map(|built| Some(built.as_ref()?.config.clone())).collect(),
            },
            warnings: run.warnings,
            read: run.read,
            opened: run.opened,
        };
        self.certificates.0.retain(|paths, _| run.certificates.contains(paths));
        self.authorities.0.retain(|path, _| run.authorities.contains(path));
        self.revoked.0.retain(|path, _| run.revoked.contains(path));
        let before = std::mem::replace(&mut self.listeners, listeners.into_iter().flatten().collect());
        let stays =
            |old: &BuiltListener| self.listeners.iter().any(|new| Arc::ptr_eq(&new.config, &old.config));
        self.retired.extend(before.into_iter().filter(|old| !stays(old)).map(|old| old.config));
        self.pools = pools.into_iter().flatten().collect();
        Ok(loaded)
    }

    /// Whether a file has changed since it was read, or is not there any more; a number for what is there now, so
    /// that it is seen whether it changes still.
    pub fn outdated(&self) -> Option<u64> {
        let (mut hash, mut changed) = (DefaultHasher::new(), false);
        let mut look = |stamps: &[Stamp], paths: &mut dyn Iterator<Item = &PathBuf>| {
            for (was, path) in stamps.iter().zip(paths) {
                let now = Stamp::of(path).ok();
                now.hash(&mut hash);
                changed |= now.is_none_or(|now| now != *was);
            }
        };
        for ((cert, key, ocsp), kept) in &self.certificates.0 {
            look(&kept.stamps, &mut [cert, key].into_iter().chain(ocsp));
        }
        self.authorities.0.iter().for_each(|(path, kept)| look(&kept.stamps, &mut [path].into_iter()));
        self.revoked.0.iter().for_each(|(path, kept)| look(&kept.stamps, &mut [path].into_iter()));
        changed.then(|| hash.finish())
    }

    /// Lets go of what held before, as far as nobody uses it any more. Whether that was all.
    pub fn bury(&mut self) -> bool {
        self.retired.retain(|config| Arc::strong_count(config) > 1);
        self.retired.is_empty()
    }

    fn listener(&mut self, tls: &ListenerTls, run: &mut Run) -> Option<BuiltListener> {
        let faults = run.faults.len();
        let mut certificates = Vec::with_capacity(tls.certificates.len());
        for files in &tls.certificates {
            let found = self.certificate(files, run);
            let found = run.note(found);
            run.warnings.extend(found.as_ref().and_then(|found| found.nameless(files)));
            certificates.extend(found);
        }
        let asked = tls.client_auth != ClientAuth::Off;
        let authorities = match tls.client_ca.as_ref().filter(|_| asked) {
            Some(file) => {
                let found = self.authorities(file, run);
                Some(run.note(found)?)
            }
            None => None,
        };
        let revoked = match tls.client_crl.as_ref().filter(|_| asked) {
            Some(file) => {
                let found = self.revoked(file, run);
                Some(run.note(found)?)
            }
            None => None,
        };
        if run.faults.len() > faults {
            return None;
        }
        let built = match self.built_listener(tls, &certificates, &authorities, &revoked) {
            Some(before) => before,
            None => {
                let made = self.make_listener(tls, certificates, authorities, revoked);
                run.note(made)?
            }
        };
        for place in &built.never_chosen {
            let files = &tls.certificates[*place];
            let what = "no client ever gets it: others for the same names and kind of key stand before it";
            run.warnings.push(files.cert.written.fault(what, "remove it, or put it first"));
        }
        Some(built)
    }

    /// The listener's rules as they were, if none of their parts has changed.
    fn built_listener(
        &self,
        tls: &ListenerTls,
        certificates: &[Arc<Certificate>],
        authorities: &Option<Arc<Authorities>>,
        revoked: &Option<Arc<Revoked>>,
    ) -> Option<BuiltListener> {
        let same = |built: &&BuiltListener| {
            built.rules == *tls
                && built.certificates.len() == certificates.len()
                && built.certificates.iter().zip(certificates).all(|(a, b)| Arc::ptr_eq(a, b))
                && is_same(&built.authorities, authorities)
                && is_same(&built.revoked, revoked)
        };
        let built = self.listeners.iter().find(same)?;
        Some(BuiltListener {
            rules: built.rules.clone(),
            certificates: certificates.to_vec(),
            authorities: authorities.clone(),
            revoked: revoked.clone(),
            config: built.config.clone(),
            never_chosen: built.never_chosen.clone(),
        })
    }

    fn make_listener(
        &self,
        tls: &ListenerTls,
        certificates: Vec<Arc<Certificate>>,
        authorities: Option<Arc<Authorities>>,
        revoked: Option<Arc<Revoked>>,
    ) -> Result<BuiltListener, Fault> {
        const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
        let versions = match tls.min_version {
            TlsVersion::Tls12 => BOTH,
            TlsVersion::Tls13 => &BOTH[..1],
        };
        let choice = Certificates::of(&certificates);
        let never_chosen = choice.never_chosen(&certificates);
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(versions)
            .map_err(|error| {
                let what = format!("these versions of TLS cannot be spoken: {error}");
                tls.certificates[0].cert.written.fault(what, "write another min_version")
            })?;
        let clients = trust::clients(tls, authorities.as_deref(), revoked.as_deref(), &self.provider)?;
        let builder = match clients {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(choice));
        config.alpn_protocols = tls.alpn.iter().map(|protocol| protocol.alpn().as_bytes().to_vec()).collect();
        // Sessions are in their tickets and nowhere else: any shard resumes them, and none locks a store.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let binding = trust::binding(tls.client_auth, authorities.as_deref(), revoked.as_deref());
        config.ticketer = Arc::new(Ticketer { tickets: self.tickets.clone(), binding });
        // What comes before the handshake is over can be played again by whoever has seen it (RFC 8446 §8).
        config.max_early_data_size = 0;
        let (rules, config) = (tls.clone(), Arc::new(config));
        Ok(BuiltListener { rules, certificates, authorities, revoked, config, never_chosen })
    }

    fn pool(&mut self, pool: &Pool, tls: &PoolTls, run: &mut Run) -> Option<BuiltPool> {
        let authorities = match (&tls.ca, tls.verify) {
            (_, false) => None,
            (Some(file), true) => {
                let found = self.authorities(file, run);
                Some(run.note(found)?)
            }
            (None, true) => {
                let found = self.system(tls);
                Some(run.note(found)?)
            }
        };
        let certificate = match &tls.certificate {
            Some(files) => {
                let found = self.certificate(files, run);
                Some(run.note(found)?)
            }
            None => None,
        };
        let made = trust::backends(pool, tls, authorities.as_deref(), certificate.as_deref(), &self.provider);
        let config = run.note(made)?;
        let same = |built: &&BuiltPool| {
            built.rules == *tls
                && built.protocol == config.alpn_protocols
                && is_same(&built.authorities, &authorities)
                && is_same(&built.certificate, &certificate)
        };
        // Sessions are kept by the rules: two pools have their own.
        let protocol = config.alpn_protocols.clone();
        let config = match self.pools.iter().find(same) {
            Some(before) => before.config.clone(),
            None => Arc::new(config),
        };
        Some(BuiltPool { rules: tls.clone(), protocol, authorities, certificate, config })
    }

    fn certificate(&mut self, files: &CertificateFiles, run: &mut Run) -> Result<Arc<Certificate>, Fault> {
        let ocsp = files.ocsp.as_ref().map(|file| &file.path);
        let paths: Vec<&Path> =
            [&files.cert.path, &files.key.path].into_iter().chain(ocsp).map(PathBuf::as_path).collect();
        let key = (files.cert.path.clone(), files.key.path.clone(), ocsp.cloned());
        run.certificates.insert(key.clone());
        let provider = &self.provider;
        let (found, got) = self.certificates.get(
            key,
            &paths,
            || Certificate::read(files, provider),
            Certificate::is_same,
        )?;
        run.count(got, &files.cert);
        run.warnings.extend(found.warnings(files, run.now_unix_s));
        Ok(found)
    }

    fn authorities(&mut self, file: &NamedFile, run: &mut Run) -> Result<Arc<Authorities>, Fault> {
        run.authorities.insert(file.path.clone());
        let read = || Authorities::read(file);
        let (found, got) =
            self.authorities.get(file.path.clone(), &[&file.path], read, Authorities::is_same)?;
        run.count(got, file);
        Ok(found)
    }

    fn revoked(&mut self, file: &NamedFile, run: &mut Run) -> Result<Arc<Revoked>, Fault> {
        run.revoked.insert(file.path.clone());
        let read = || Revoked::read(file);
        let (found, got) = self.revoked.get(file.path.clone(), &[&file.path], read, Revoked::is_same)?;
        run.count(got, file);
        run.warnings.extend(found.warning(file, run.now_unix_s));
        Ok(found)
    }

    /// The system's authorities, which are in so many places that they are read each time.
    fn system(&mut self, tls: &PoolTls) -> Result<Arc<Authorities>, Fault> {
        let found = Authorities::of_system().map_err(|what| {
            tls.written.fault(what, "install them (ca-certificates), or name a file in ca")
        })?;
        let held = self.system.take().filter(|held| held.is_same(&found));
        Ok(self.system.insert(held.unwrap_or_else(|| Arc::new(found))).clone())
    }
}

fn is_same<T>(a: &Option<Arc<T>>, b: &Option<Arc<T>>) -> bool {
    a.as_ref().map(Arc::as_ptr) == b.as_ref().map(Arc::as_ptr)
}
