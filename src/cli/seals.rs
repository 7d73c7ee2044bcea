//! What `weir check` says of TLS: which certificates there are, for whom and for how long, and who is believed.
//!
//! Here: rows for its summary. Not here: the summary (`check`), and reading the files (`tls`).

use crate::config::{ClientAuth, Config, Listener, ListenerTls, Pool, PoolTls, Protocol, TlsVersion};
use crate::time::Utc;
use crate::tls::{CertificateFacts, Loaded};

/// Certificates of one listener that are told one by one: there may be thousands.
const TOLD: usize = 20;

/// Names of one certificate that are told.
const NAMES: usize = 4;

/// What is sealed and how, in rows.
pub(super) fn rules(config: &Config) -> Vec<Vec<String>> {
    let listener = |listener: &Listener| {
        let tls = listener.tls.as_ref()?;
        Some(vec![listener.name.clone(), of_listener(tls)])
    };
    let pool = |pool: &Pool| {
        let tls = pool.tls.as_ref()?;
        Some(vec![pool.name.clone(), of_pool(tls)])
    };
    config.listeners.iter().filter_map(listener).chain(config.pools.iter().filter_map(pool)).collect()
}

fn of_listener(tls: &ListenerTls) -> String {
    let versions = match tls.min_version {
        TlsVersion::Tls12 => "TLS 1.2 and 1.3",
        TlsVersion::Tls13 => "TLS 1.3",
    };
    let spoken = match tls.alpn.as_slice() {
        [] => "whatever is spoken".to_owned(),
        all => all.iter().map(|protocol| Protocol::alpn(*protocol)).collect::<Vec<_>>().join(" before "),
    };
    let clients = match (tls.client_auth, &tls.client_ca) {
        (ClientAuth::Off, _) | (_, None) => String::new(),
        (auth, Some(ca)) => format!(", clients' certificates {} ({})", auth.word(), ca.path.display()),
    };
    let revoked = match (tls.client_auth, &tls.client_crl) {
        (ClientAuth::Off, _) | (_, None) => String::new(),
        (_, Some(list)) => format!(", but those revoked in {}", list.path.display()),
    };
    let subject = tls.client_subject.as_ref().map_or(String::new(), |field| format!(", subject in {field}"));
    let most = match tls.max_handshakes {
        0 => String::new(),
        most => format!(", {most} handshakes at once on a shard"),
    };
    format!("{versions}, {spoken}{clients}{revoked}{subject}{most}")
}

fn of_pool(tls: &PoolTls) -> String {
    let who = tls.server_name.as_deref().unwrap_or("the host of its address");
    let by = tls.ca.as_ref().map_or("the system's authorities".to_owned(), |ca| {
        format!("the authorities in {}", ca.path.display())
    });
    let own = tls
        .certificate
        .as_ref()
        .map_or(String::new(), |own| format!(", and is shown {}", own.cert.path.display()));
    match tls.verify {
        true => format!("each backend must be {who}, by {by}{own}"),
        false => format!("each backend is asked for {who}, and believed whoever it is{own}"),
    }
}

/// The certificates, in rows.
pub(super) fn certificates(config: &Config, loaded: &Loaded, now_unix_s: i64) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (listener, certificates) in config.listeners.iter().zip(&loaded.certificates) {
        let row = |facts: &CertificateFacts| certificate(&listener.name, facts, now_unix_s);
        rows.extend(certificates.iter().take(TOLD).map(|facts| row(facts)));
        let beyond = certificates.get(TOLD..).unwrap_or_default();
        if let Some(first) = beyond.iter().min_by_key(|facts| facts.not_after_unix_s) {
            let mut row = row(first);
            row[1] = format!("and {} more, of which the first to expire is {}", beyond.len(), row[1]);
            rows.push(row);
        }
    }
    rows.extend(loaded.shown.iter().map(|(pool, facts)| certificate(pool, facts, now_unix_s)));
    rows
}

/// Whole paths: those who issue certificates give all files the same name.
fn certificate(whose: &str, facts: &CertificateFacts, now_unix_s: i64) -> Vec<String> {
    let days = facts.days_left(now_unix_s);
    let until = Utc::of_unix_s(facts.not_after_unix_s.max(0).unsigned_abs());
    let until = format!("until {:04}-{:02}-{:02}", until.year, until.month, until.day);
    let left = if days < 0.0 { "expired".to_owned() } else { format!("{days:.0} days left") };
    let file = facts.file.display().to_string();
    vec![whose.to_owned(), file, names(&facts.names), facts.key.clone(), format!("{until}, {left}")]
}

fn names(names: &[String]) -> String {
    if names.is_empty() {
        return "no name".to_owned();
    }
    match names.split_at_checked(NAMES) {
        Some((first, more)) if !more.is_empty() => format!("{} and {} more", first.join(" "), more.len()),
        Some(_) | None => names.join(" "),
    }
}
