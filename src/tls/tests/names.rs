//! Which certificate a client gets, and what is agreed on.

use super::*;
use rustls::SignatureScheme;
use rustls::{AlertDescription, ProtocolVersion};

#[test]
fn the_exact_name_wins_over_a_wildcard_of_one_label_and_both_over_the_first() {
    let (folder, authority) = (Folder::new("names"), Authority::new("root"));
    let first = authority.issue(&["first.test", "198.51.100.1"]);
    let wild = authority.issue(&["*.example.test"]);
    let exact = authority.issue(&["WWW.example.test", "example.test"]);
    let entries =
        [("first", &first), ("wild", &wild), ("exact", &exact)].map(|(name, it)| it.put(&folder, name));
    let loaded = load(&listening(&format!("certificates = [{}]", entries.join(", "))));
    assert_eq!(loaded.warnings, []);
    // Which one is shown, not whether the client takes it.
    let client = Arc::new(upstream(&load(&pooled("verify = false"))).as_ref().clone());
    for (name, expected) in [
        ("www.example.test", &exact),
        ("example.test", &exact),
        ("a.example.test", &wild),
        ("A.EXAMPLE.TEST", &wild),
        ("a.b.example.test", &first),
        ("first.test", &first),
        ("elsewhere.test", &first),
        ("localhost", &first),
        ("198.51.100.7", &first),
    ] {
        let pair = shake(&client, &server(&loaded), name).unwrap();
        assert_eq!(pair.shown(), expected.der(), "{name}");
    }
}

/// A provider that can check signatures of these kinds only.
fn checking(schemes: &[SignatureScheme]) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    let all = provider.signature_verification_algorithms;
    let kept: Vec<_> = all.mapping.iter().filter(|(scheme, _)| schemes.contains(scheme)).copied().collect();
    provider.signature_verification_algorithms.mapping = Box::leak(kept.into_boxed_slice());
    Arc::new(provider)
}

#[test]
fn who_can_check_only_rsa_gets_rsa_and_all_others_get_the_cheaper_ecdsa() {
    let (folder, authority) = (Folder::new("kinds"), Authority::new("root"));
    let (rsa, ecdsa) = (authority.issue_rsa(&["a.test", "b.test"]), authority.issue(&["b.test", "a.test"]));
    let entries = [rsa.put(&folder, "rsa"), ecdsa.put(&folder, "ecdsa")];
    let loaded = load(&listening(&format!("certificates = [{}]", entries.join(", "))));
    let facts: Vec<_> = loaded.certificates[0].iter().map(|facts| facts.key.as_str()).collect();
    assert_eq!(facts, ["RSA 2048", "ECDSA P-256"]);
    let only_rsa = checking(&[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256]);
    // The chain above the certificate is signed by the authority's own key, whatever the server's is: who cannot
    // check that either is told nothing here, so the client does not look.
    let mut client = client_of(&authority, only_rsa.clone(), None);
    client.dangerous().set_certificate_verifier(Arc::new(super::super::trust::Anybody(only_rsa)));
    for (name, all, few) in [("a.test", &ecdsa, &rsa), ("unknown.test", &ecdsa, &rsa)] {
        let every = upstream(&load(&pooled("verify = false")));
        assert_eq!(shake(&every, &server(&loaded), name).unwrap().shown(), all.der(), "{name}");
        let pair = shake(&Arc::new(client.clone()), &server(&loaded), name).unwrap();
        assert_eq!(pair.shown(), few.der(), "{name}");
    }
}

#[test]
fn what_is_spoken_inside_and_in_which_version_is_as_configured() {
    let (folder, authority) = (Folder::new("alpn"), Authority::new("root"));
    let entry = authority.issue(&["a.test"]).put(&folder, "a");
    for (keys, offered, expected) in [
        ("", &["http/1.1", "h2"][..], Ok(Some("h2"))),
        ("", &["http/1.1"], Ok(Some("http/1.1"))),
        ("alpn = [\"http/1.1\", \"h2\"]", &["h2", "http/1.1"], Ok(Some("http/1.1"))),
        ("alpn = [\"h2\"]", &["http/1.1"], Err(AlertDescription::NoApplicationProtocol)),
        ("alpn = []", &["h2"], Ok(None)),
        ("", &[], Ok(None)),
    ] {
        let loaded = load(&listening(&format!("certificates = [{entry}]\n{keys}")));
        let mut client = client(&authority);
        client.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let made = shake(&Arc::new(client), &server(&loaded), "a.test");
        let agreed = match &made {
            Ok(pair) => Ok(pair.server.alpn_protocol().map(|name| std::str::from_utf8(name).unwrap())),
            Err(Error::NoApplicationProtocol) => Err(AlertDescription::NoApplicationProtocol),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(agreed, expected, "{keys} {offered:?}");
    }
    let old = |keys: &str| {
        let loaded = load(&listening(&format!("certificates = [{entry}]\n{keys}")));
        let client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        shake(&Arc::new(client), &server(&loaded), "a.test").map(|pair| pair.server.protocol_version())
    };
    assert_eq!(old("").unwrap(), Some(ProtocolVersion::TLSv1_2));
    assert!(matches!(old("min_version = \"1.3\""), Err(Error::PeerIncompatible(_))));
}

#[test]
fn nothing_goes_before_the_handshake() {
    let (folder, authority) = (Folder::new("early"), Authority::new("root"));
    let entry = authority.issue(&["a.test"]).put(&folder, "a");
    let loaded = load(&listening(&format!("certificates = [{entry}]")));
    let mut client = client(&authority);
    client.enable_early_data = true;
    let client = Arc::new(client);
    shake(&client, &server(&loaded), "a.test").unwrap();
    let name = ServerName::try_from("a.test").unwrap();
    let mut again = ClientConnection::new(client, name).unwrap();
    assert!(again.early_data().is_none(), "the ticket allows none");
    assert_eq!(server(&loaded).max_early_data_size, 0);
}

#[test]
fn a_certificate_that_no_client_ever_gets_is_a_warning() {
    let (folder, authority) = (Folder::new("never"), Authority::new("root"));
    let entries = [
        authority.issue(&["a.test", "b.test"]).put(&folder, "a"),
        authority.issue(&["b.test"]).put(&folder, "b"),
        authority.issue(&["b.test", "c.test"]).put(&folder, "c"),
    ];
    let loaded = load(&listening(&format!("certificates = [{}]", entries.join(",\n"))));
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert_eq!(warning.key, "listener[0].tls.certificates[1].cert");
    assert!(warning.wrong.contains("no client ever gets it"), "{warning}");
}
