//! Who is let in by a certificate, and which backends are believed.

use super::super::reason::reason;
use super::*;
use crate::metrics::Side;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber, date_time_ymd};

/// A listener that asks, and its certificate's authority.
fn asking(folder: &Folder, keys: &str) -> (Authority, Arc<ServerConfig>) {
    let authority = Authority::new("root");
    let entry = authority.issue(&["a.test"]).put(folder, "a");
    let loaded = load(&listening(&format!("certificates = [{entry}]\n{keys}")));
    (authority, server(&loaded))
}

fn revoking(by: &Authority, serials: &[&SerialNumber], until: i32) -> String {
    let revoked = |serial: &&SerialNumber| RevokedCertParams {
        serial_number: (*serial).clone(),
        revocation_time: date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&by.0).unwrap().pem().unwrap()
}

#[test]
fn required_lets_in_whom_the_authority_vouches_for_and_optional_whoever_shows_none_too() {
    let folder = Folder::new("auth");
    let clients = Authority::new("clients");
    let ca = folder.write("clients.pem", clients.pem()).display().to_string();
    let (good, stranger) = (clients.issue(&[]), Authority::new("else").issue(&[]));
    for (auth, none, known) in [("required", false, true), ("optional", true, true)] {
        let (authority, server) = asking(&folder, &format!("client_auth = \"{auth}\"\nclient_ca = {ca:?}"));
        let with = |own: Option<&Issued>| {
            shake(&Arc::new(client_of(&authority, provider(), own)), &server, "a.test")
        };
        assert_eq!(with(None).is_ok(), none, "{auth}");
        let pair = with(Some(&good));
        assert_eq!(pair.is_ok(), known, "{auth}");
        assert_eq!(pair.unwrap().server.peer_certificates().unwrap()[0], good.der());
        assert!(with(Some(&stranger)).is_err(), "{auth}: a bad one is worse than none");
    }
}

#[test]
fn who_is_revoked_stays_out_and_a_session_of_before_does_not_help() {
    let folder = Folder::new("crl");
    let clients = Authority::new("clients");
    let ca = folder.write("clients.pem", clients.pem()).display().to_string();
    let (good, gone) = (clients.issue(&[]), clients.issue(&[]));
    let authority = Authority::new("root");
    let entry = authority.issue(&["a.test"]).put(&folder, "a");
    let tickets = Arc::new(Tickets::new(Instant::from_us(1)));
    let mut loader = Loader::new(tickets);
    let crl = folder.write("clients.crl", revoking(&clients, &[], 2100)).display().to_string();
    let config = listening(&format!(
        "certificates = [{entry}]\nclient_auth = \"required\"\nclient_ca = {ca:?}\nclient_crl = {crl:?}"
    ));
    let before = server(&loader.load(&config).unwrap());
    let of = |own: &Issued| Arc::new(client_of(&authority, provider(), Some(own)));
    let (good_client, gone_client) = (of(&good), of(&gone));
    for client in [&good_client, &gone_client] {
        shake(client, &before, "a.test").unwrap();
        assert!(shake(client, &before, "a.test").unwrap().resumed());
    }
    folder.write("clients.crl", revoking(&clients, &[&gone.serial], 2100));
    let loaded = loader.load(&config).unwrap();
    assert_eq!(loaded.read, [PathBuf::from(crl)]);
    let after = server(&loaded);
    assert!(!shake(&good_client, &after, "a.test").unwrap().resumed(), "it shows its certificate again");
    assert!(shake(&gone_client, &after, "a.test").is_err(), "its session is of no use either");
    assert!(shake(&of(&gone), &after, "a.test").is_err());
}

#[test]
fn a_list_that_is_out_of_date_holds_on_and_is_a_warning() {
    let folder = Folder::new("stale");
    let clients = Authority::new("clients");
    let ca = folder.write("clients.pem", clients.pem()).display().to_string();
    let (good, gone) = (clients.issue(&[]), clients.issue(&[]));
    let crl = folder.write("c.crl", revoking(&clients, &[&gone.serial], 2025)).display().to_string();
    let authority = Authority::new("root");
    let entry = authority.issue(&["a.test"]).put(&folder, "a");
    let keys = format!("client_auth = \"required\"\nclient_ca = {ca:?}\nclient_crl = {crl:?}");
    let loaded = load(&listening(&format!("certificates = [{entry}]\n{keys}")));
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert!(warning.wrong.contains("out of date") && warning.key.ends_with("client_crl"), "{warning}");
    let with =
        |own| shake(&Arc::new(client_of(&authority, provider(), Some(own))), &server(&loaded), "a.test");
    assert!(with(&good).is_ok() && with(&gone).is_err());
}

/// A server that shows this, and asks whoever comes for a certificate of `clients`.
fn backend(shows: &Issued, clients: Option<&Authority>) -> Arc<ServerConfig> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(clients) => {
            let roots = Arc::new(clients.roots());
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::from_pem_slice(shows.key.as_bytes()).unwrap();
    Arc::new(builder.with_single_cert(vec![shows.der()], key).unwrap())
}

#[test]
fn a_backend_must_be_who_it_is_asked_to_be_unless_told_otherwise() {
    let folder = Folder::new("backends");
    let authority = Authority::new("internal");
    let ca = folder.write("ca.pem", authority.pem()).display().to_string();
    let right = backend(&authority.issue(&["app.internal"]), None);
    let other = backend(&authority.issue(&["other.internal"]), None);
    let forged = backend(&Authority::new("internal").issue(&["app.internal"]), None);
    let address = backend(&authority.issue(&["10.0.0.1"]), None);
    let old = backend(
        &authority.issue_with(&["app.internal"], &PKCS_ECDSA_P256_SHA256, |params| {
            params.not_after = date_time_ymd(2020, 1, 1);
        }),
        None,
    );
    let verified = upstream(&load(&pooled(&format!("ca = {ca:?}"))));
    let unverified = load(&pooled("verify = false"));
    let system = upstream(&load(&pooled("")));
    assert!(unverified.warnings.is_empty(), "the configuration's own warning is enough");
    for (case, server, name, good) in [
        ("right", &right, "app.internal", true),
        ("another name", &other, "app.internal", false),
        ("an authority of the same name", &forged, "app.internal", false),
        ("an address", &address, "10.0.0.1", true),
        ("another address", &address, "10.0.0.2", false),
        ("expired", &old, "app.internal", false),
    ] {
        assert_eq!(shake(&verified, server, name).is_ok(), good, "{case}");
        assert!(shake(&system, server, name).is_err(), "{case}: the system's authorities do not know it");
        assert!(shake(&upstream(&unverified), server, name).is_ok(), "{case}: verify = false");
    }
}

/// As `openssl req -x509` makes one.
#[test]
fn a_backend_with_a_certificate_of_its_own_making_is_told_what_is_wrong_with_it() {
    let folder = Folder::new("own");
    let own = Authority::new("app.internal");
    let ca = folder.write("ca.pem", own.pem()).display().to_string();
    let shown = Issued { cert: own.pem(), key: own.0.key().serialize_pem(), serial: vec![1].into() };
    let verified = upstream(&load(&pooled(&format!("ca = {ca:?}"))));
    let Err(error) = shake(&verified, &backend(&shown, None), "app.internal") else { panic!("believed") };
    let told = reason(&error, Side::Backend);
    assert!(told.contains("is an authority's own (CA:TRUE)"), "{told}");
}

#[test]
fn a_backend_that_asks_gets_weirs_own_certificate() {
    let folder = Folder::new("mutual");
    let (authority, clients) = (Authority::new("internal"), Authority::new("balancers"));
    let ca = folder.write("ca.pem", authority.pem()).display().to_string();
    let server = backend(&authority.issue(&["app.internal"]), Some(&clients));
    let own = clients.issue(&[]);
    let entry = own.put(&folder, "own");
    let keys = entry.trim_matches(['{', '}', ' ']).replace(", ", "\n");
    let with = upstream(&load(&pooled(&format!("ca = {ca:?}\n{keys}"))));
    let without = upstream(&load(&pooled(&format!("ca = {ca:?}"))));
    let pair = shake(&with, &server, "app.internal").unwrap();
    assert_eq!(pair.server.peer_certificates().unwrap()[0], own.der());
    assert!(shake(&without, &server, "app.internal").is_err());
}
