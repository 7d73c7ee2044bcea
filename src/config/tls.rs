//! `[listener.tls]` and `[pool.NAME.tls]`: which files there are, and what is asked of whom.
//!
//! Here: reading both, and the checks between their keys. Not here: what is in the files (`tls` reads them when the
//! configuration is taken, and again only where they have changed).

use super::address;
use super::fault::Wrong;
use super::model::{
    Backend, CertificateFiles, ClientAuth, Listener, ListenerTls, NamedFile, PoolTls, Protocol, TlsVersion,
};
use super::section::{Entry, Section};
use super::values::{self, Other, quoted};

/// Reads `[listener.tls]`; `request_id` is a field that weir writes too.
pub(super) fn listener(mut s: Section<'_>, request_id: Option<&str>) -> Option<ListenerTls> {
    const VERSIONS: &[(&str, TlsVersion)] = &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    const OLD: Option<&str> = Some("write \"1.2\" or \"1.3\": what is older is broken (RFC 8996)");
    const OTHERS: &[Other] = &[
        ("1.0", OLD),
        ("1.1", OLD),
        ("TLSv1", OLD),
        ("TLSv1.1", OLD),
        ("TLSv1.2", Some("write \"1.2\"")),
        ("TLSv1.3", Some("write \"1.3\"")),
    ];
    const AUTH: &[(&str, ClientAuth)] =
        &[("off", ClientAuth::Off), ("optional", ClientAuth::Optional), ("required", ClientAuth::Required)];
    let certificates = certificates(&mut s);
    let min_version = s.choice("min_version", VERSIONS, OTHERS, TlsVersion::default());
    let alpn = alpn(&mut s);
    let client_auth = s.choice("client_auth", AUTH, &[], ClientAuth::default());
    let tls = ListenerTls {
        certificates,
        min_version,
        alpn,
        client_auth,
        client_ca: file(&mut s, "client_ca"),
        client_crl: file(&mut s, "client_crl"),
        client_subject: s.text("client_subject", address::subject_field).flatten(),
        max_handshakes: s.integer("max_handshakes", 0..=1 << 22, 0) as usize,
    };
    clients(&s, &tls, request_id);
    s.finish(&[]);
    Some(tls)
}

/// The certificates; one that is missing is a fault, and is reported.
fn certificates(s: &mut Section<'_>) -> Vec<CertificateFiles> {
    const EXAMPLE: &str = "certificates = [{ cert = \"/etc/weir/site.pem\", key = \"/etc/weir/site.key\" }]";
    let mut certificates = Vec::new();
    for Entry { value, place, .. } in s.list("certificates", EXAMPLE) {
        if value.get_ref().as_table().is_none() {
            let what = format!("{} is not a certificate with its key", values::shown(value.get_ref()));
            s.report.error(&place, Wrong::new(what, format!("write {EXAMPLE}")));
        } else if let Some(mut certificate) = Section::open(s.report, value, place, EXAMPLE) {
            certificates.extend(certificate_files(&mut certificate, true));
            certificate.finish(&[]);
        }
    }
    if s.lacks("certificates") {
        let what = "there is none, so no handshake can succeed";
        s.error("certificates", Wrong::new(what, format!("write {EXAMPLE}")));
    }
    certificates
}

/// What the keys about clients' certificates say of each other.
fn clients(s: &Section<'_>, tls: &ListenerTls, request_id: Option<&str>) {
    let is_asked = tls.client_auth != ClientAuth::Off;
    if is_asked && !s.has("client_ca") {
        let what =
            format!("clients' certificates are {}, and nothing says whose are good", tls.client_auth.word());
        s.error("client_ca", Wrong::new(what, "name the file with the authorities' certificates (PEM)"));
    }
    for key in ["client_ca", "client_crl"].into_iter().filter(|key| !is_asked && s.has(key)) {
        let what = "clients are not asked for certificates, so nothing is held against it";
        let remedy = "write client_auth = \"required\" or \"optional\", or remove it";
        s.report.warn(&s.place_of(key), Wrong::new(what, remedy));
    }
    if let (Some(subject), Some(id)) = (&tls.client_subject, request_id)
        && subject.eq_ignore_ascii_case(id)
    {
        let what = format!("{} has the request's id in it (request_id)", quoted(subject));
        s.error("client_subject", Wrong::new(what, "give each a field of its own"));
    }
}

/// The fields that say whose certificate a client has, each once.
pub(super) fn subject_fields(listeners: &[Listener]) -> Vec<String> {
    let all = listeners.iter().filter_map(|listener| listener.tls.as_ref()?.client_subject.clone());
    let mut fields: Vec<String> = all.collect();
    fields.sort();
    fields.dedup();
    fields
}

fn alpn(s: &mut Section<'_>) -> Vec<Protocol> {
    const PROTOCOLS: &[(&str, Protocol)] = &[("h2", Protocol::Http2), ("http/1.1", Protocol::Http1)];
    let entries = s.list("alpn", "a list: alpn = [\"h2\", \"http/1.1\"]");
    if !s.has("alpn") {
        return PROTOCOLS.iter().map(|(_, protocol)| *protocol).collect();
    }
    let mut protocols = Vec::new();
    for Entry { value, place, .. } in entries {
        match values::choice(value.get_ref(), PROTOCOLS, &[]) {
            Ok(protocol) if protocols.contains(&protocol) => {
                let what = format!("{} stands here twice", quoted(protocol.alpn()));
                s.report.error(&place, Wrong::new(what, "remove one"));
            }
            Ok(protocol) => protocols.push(protocol),
            Err(wrong) => s.report.error(&place, wrong),
        }
    }
    protocols
}

/// Reads `[pool.NAME.tls]`; `backends` are those that it is for.
pub(super) fn pool(mut s: Section<'_>, backends: &[Backend]) -> Option<PoolTls> {
    let server_name = s.text("server_name", address::server_name);
    let certificate =
        if s.has("cert") || s.has("key") { certificate_files(&mut s, false) } else { neither(&mut s) };
    let tls = PoolTls {
        server_name,
        ca: file(&mut s, "ca"),
        verify: s.read("verify", values::flag).unwrap_or(true),
        certificate,
        written: s.report.written(&s.place),
    };
    let nameless = backends.iter().find(|backend| tls.name_of(&backend.address).is_none());
    if let (Some(backend), false) = (nameless, s.has("server_name")) {
        let what = format!("the address of backend {} says nobody's name", quoted(&backend.name));
        s.error("server_name", Wrong::new(what, "write the name that its certificate has"));
    }
    if !tls.verify {
        let (key, what) = match tls.ca {
            Some(_) => ("ca", "backends need not prove who they are, so nothing is held against it"),
            None => {
                ("verify", "whoever can get between weir and the backends can read and change everything")
            }
        };
        let remedy = "remove verify = false; where the certificates are your own, name their authority in ca";
        s.report.warn(&s.place_of(key), Wrong::new(what, remedy));
    }
    s.finish(&[]);
    Some(tls)
}

/// The keys are known, and neither is there.
fn neither(s: &mut Section<'_>) -> Option<CertificateFiles> {
    file(s, "cert");
    file(s, "key");
    None
}

/// A certificate and its key; with `stapled`, what its authority says of it too.
fn certificate_files(s: &mut Section<'_>, stapled: bool) -> Option<CertificateFiles> {
    s.require("cert", "\"/etc/weir/site.pem\"");
    s.require("key", "\"/etc/weir/site.key\"");
    let (cert, key) = (file(s, "cert"), file(s, "key"));
    let ocsp = if stapled { file(s, "ocsp") } else { None };
    Some(CertificateFiles { cert: cert?, key: key?, ocsp })
}

fn file(s: &mut Section<'_>, key: &'static str) -> Option<NamedFile> {
    let example = match key {
        "key" => "/etc/weir/site.key",
        "ocsp" => "/etc/weir/site.ocsp",
        "client_crl" => "/etc/weir/clients.crl",
        "ca" | "client_ca" => "/etc/weir/authorities.pem",
        _ => "/etc/weir/site.pem",
    };
    let path = s.text(key, |text| address::file(text, example))?;
    Some(NamedFile { path, written: s.report.written(&s.place_of(key)) })
}
