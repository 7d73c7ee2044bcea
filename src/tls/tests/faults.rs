//! Files that are of no use: each a fault with file, line, key and what to do, or a warning where it is served.

use super::*;
use rcgen::date_time_ymd;

/// The entry's files as the test's folder has them.
fn entry(folder: &Folder, cert: &str, key: &str) -> String {
    format!("{{ cert = {:?}, key = {:?} }}", folder.path(cert), folder.path(key))
}

#[test]
fn a_file_that_is_of_no_use_is_a_fault_at_its_line_and_key_with_a_remedy() {
    let (folder, authority) = (Folder::new("faults"), Authority::new("root"));
    let middle = authority.below("middle");
    let lower = middle.below("lower");
    let (good, other) = (lower.issue(&["a.test"]), lower.issue(&["a.test"]));
    folder.write("good.pem", &good.cert);
    folder.write("good.key", &good.key);
    folder.write("other.key", &other.key);
    folder.write("empty.pem", "");
    folder.write("text.pem", "certificates are kept elsewhere\n");
    folder.write("cut.pem", &good.cert[..good.cert.len() / 2]);
    folder.write("torn.pem", good.cert.replacen("MII", "MI!", 1));
    folder.write("der.pem", good.der());
    let marked = [0xFEFF].into_iter().chain(good.cert.encode_utf16()).flat_map(u16::to_le_bytes);
    folder.write("wide.pem", marked.collect::<Vec<_>>());
    folder.write("pfx.pem", [0x30, 0x82, 1, 0, 2, 1, 3, 0x30, 0x82, 0, 0xf0]);
    folder.write("odd.key", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n");
    let encrypted = good.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    folder.write("encrypted.key", encrypted);
    let old = good.key.replace(
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n",
    );
    folder.write("old.key", old.replace("-----END PRIVATE", "-----END RSA PRIVATE"));
    folder.write("last.pem", format!("{}{}{}", lower.pem(), middle.pem(), good.cert));
    folder.write("mixed.pem", format!("{}{}{}", good.cert, middle.pem(), lower.pem()));
    for (cert, key, at, wrong, remedy) in [
        (
            "none.pem",
            "good.key",
            "cert",
            "cannot be read: No such file",
            "create it, readable to weir's user",
        ),
        ("good.pem", "none.key", "key", "cannot be read: No such file", "create it, readable to weir's user"),
        ("", "good.key", "cert", "no regular file", "name a file"),
        ("empty.pem", "good.key", "cert", "has no certificate", "-----BEGIN CERTIFICATE-----"),
        ("text.pem", "good.key", "cert", "has no certificate", "-----BEGIN CERTIFICATE-----"),
        ("cut.pem", "good.key", "cert", "the line -----END CERTIFICATE----- is missing", "copy it anew"),
        ("torn.pem", "good.key", "cert", "is not whole", "copy it anew"),
        ("der.pem", "good.key", "cert", "is DER, not PEM", "openssl x509 -inform der"),
        ("wide.pem", "good.key", "cert", "is text in UTF-16", "save it as plain text"),
        ("pfx.pem", "good.key", "cert", "is PKCS #12, not PEM", "openssl pkcs12 -in"),
        ("good.pem", "pfx.pem", "key", "is PKCS #12, not PEM", "-nocerts"),
        ("good.pem", "odd.key", "key", "of a kind or size that weir cannot use", "RSA key of 2048 bits"),
        ("good.key", "good.pem", "cert", "a private key and no certificate", "swapped"),
        ("good.pem", "good.pem", "key", "a certificate and no private key", "swapped"),
        ("good.pem", "text.pem", "key", "has no private key", "-----BEGIN PRIVATE KEY-----"),
        ("good.pem", "encrypted.key", "key", "has an encrypted key", "openssl pkey -in"),
        ("good.pem", "old.key", "key", "has an encrypted key", "openssl pkey -in"),
        ("good.pem", "other.key", "key", "is not the key of", "issued for"),
        ("last.pem", "good.key", "cert", "wrong order: the key's own is the third", "put it first"),
        ("mixed.pem", "good.key", "cert", "wrong order: the first was issued by the third", "right before"),
    ] {
        let cert = if cert.is_empty() { ".." } else { cert };
        let lines = format!("certificates = [\n{}\n]", entry(&folder, cert, key).replace("/..", ""));
        let found = faults(&listening(&lines));
        let [fault] = found.as_slice() else { panic!("{cert} {key}: {found:?}") };
        assert_eq!((fault.file.as_str(), fault.line), ("weir.toml", 6), "{fault}");
        assert_eq!(fault.key, format!("listener[0].tls.certificates[0].{at}"), "{fault}");
        assert!(fault.wrong.contains(wrong) && fault.remedy.contains(remedy), "{fault}");
        assert!(!fault.to_string().contains("MII"), "nothing of a key is shown: {fault}");
    }
}

#[test]
fn what_an_editor_puts_before_the_first_line_is_overlooked() {
    let (folder, authority) = (Folder::new("marked"), Authority::new("root"));
    let middle = authority.below("middle");
    let issued = middle.issue(&["a.test"]);
    folder.write("marked.pem", format!("\u{feff}{}{}", issued.cert, middle.pem()));
    folder.write("marked.key", format!("\u{feff}{}", issued.key));
    let entry = entry(&folder, "marked.pem", "marked.key");
    let loaded = load(&listening(&format!("certificates = [{entry}]")));
    let pair = shake(&Arc::new(client(&authority)), &server(&loaded), "a.test").unwrap();
    assert_eq!(pair.shown(), issued.der());
}

/// As `openssl ca -gencrl` writes one whose configuration has no crl_extensions.
const LIST_OF_VERSION_1: &str = "-----BEGIN X509 CRL-----
MIGrMFQwCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwHUGxheSBDQRcNMjYxMTI5MTY0
NzAwWhcNMjYxMjI5MTY0NzAwWjAUMBICAQQXDTI2MTEyOTE2MzQ0OFowCgYIKoZI
zj0EAwIDRwAwRAIgEA2IMiZkW3jKbF3QEPZXLhzayi1t1jp7mzYuRtd3QW0CIG+X
DWDCSkjRnwlE460ZfXVppV6OoUsr8DdSp7S814lf
-----END X509 CRL-----
";

#[test]
fn all_faults_come_at_once() {
    let (folder, authority) = (Folder::new("all"), Authority::new("root"));
    let good = authority.issue(&["a.test"]).put(&folder, "good");
    let (bad, ca) = (entry(&folder, "x.pem", "x.key"), folder.path("ca.pem"));
    let lines =
        format!("certificates = [\n{bad},\n{good},\n{bad}]\nclient_auth = \"optional\"\nclient_ca = {ca:?}");
    let lines: Vec<usize> = faults(&listening(&lines)).iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [6, 8, 10]);
}

#[test]
fn authorities_lists_and_staples_that_are_none_are_faults_too() {
    let (folder, authority) = (Folder::new("others"), Authority::new("root"));
    let good = authority.issue(&["a.test"]);
    let cert = good.put(&folder, "good");
    folder.write("text", "nothing\n");
    folder.write("refused.ocsp", [0x30, 3, 0x0a, 1, 6]);
    folder.write("v1.crl", LIST_OF_VERSION_1);
    let v1 = folder.path("v1.crl");
    let (text, pem, refused) = (folder.path("text"), folder.path("good.pem"), folder.path("refused.ocsp"));
    let clients = |ca: &str, crl: &str| {
        format!(
            "client_auth = \"required\"\nclient_ca = {ca:?}\nclient_crl = {crl:?}\ncertificates = [{cert}]"
        )
    };
    let stapled =
        |ocsp: &str| format!("certificates = [{}]", cert.replace(" }", &format!(", ocsp = {ocsp:?} }}")));
    for (keys, at, wrong) in [
        (clients(&text, &text), "client_ca", "has no certificate"),
        (clients(&pem, &text), "client_crl", "has no list of revoked certificates"),
        (clients(&pem, &v1), "client_crl", "has a list of version 1"),
        (stapled(&text), "ocsp", "is no OCSP response in DER"),
        (stapled(&refused), "ocsp", "says nothing (status 6)"),
    ] {
        let found = faults(&listening(&keys));
        let fault = &found[0];
        assert!(fault.key.ends_with(at) && fault.wrong.contains(wrong), "{fault}");
    }
    let found = faults(&pooled(&format!("ca = {text:?}")));
    assert_eq!((found.len(), found[0].key.as_str(), found[0].line), (1, "pool.app.tls.ca", 5));
}

#[test]
fn a_certificate_whose_time_is_over_or_has_not_come_is_served_and_is_a_warning() {
    let (folder, authority) = (Folder::new("time"), Authority::new("root"));
    let with = |name: &str, from: i32, to: i32| {
        let issued = authority.issue_with(&[name], &PKCS_ECDSA_P256_SHA256, |params| {
            (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        });
        issued.put(&folder, name)
    };
    let entries =
        [with("over.test", 2019, 2020), with("later.test", 2090, 2100), with("now.test", 2019, 2100)];
    let loaded = load(&listening(&format!("certificates = [\n{}\n]", entries.join(",\n"))));
    let said: Vec<_> = loaded.warnings.iter().map(|warning| (warning.line, warning.wrong.as_str())).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].0 == 6 && said[0].1.contains("expired on 2020-01-01"), "{said:?}");
    assert!(said[1].0 == 7 && said[1].1.contains("holds from 2090-01-01 only"), "{said:?}");
    let facts = &loaded.certificates[0][0];
    assert_eq!(facts.days_left(facts.not_after_unix_s - 86_400 * 3), 3.0);
    assert!(loaded.sealing.listeners[0].is_some());
}

#[test]
fn a_certificate_that_belongs_to_none_before_it_is_a_warning_and_a_root_at_the_end_is_not() {
    let (folder, authority) = (Folder::new("stray"), Authority::new("root"));
    let middle = authority.below("middle");
    let good = middle.issue(&["a.test"]);
    folder.write("a.key", &good.key);
    let stranger = Authority::new("stranger").pem();
    for (case, chain, warnings) in [
        ("whole", format!("{}{}", good.cert, middle.pem()), 0),
        ("with its root", format!("{}{}{}", good.cert, middle.pem(), authority.pem()), 0),
        ("with another's", format!("{}{}{stranger}", good.cert, middle.pem()), 1),
        ("alone", good.cert.clone(), 0),
    ] {
        folder.write("a.pem", chain);
        let loaded = load(&listening(&format!("certificates = [{}]", entry(&folder, "a.pem", "a.key"))));
        assert_eq!(loaded.warnings.len(), warnings, "{case}: {:?}", loaded.warnings);
    }
}
