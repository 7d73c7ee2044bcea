//! `openssl s_client`: versions, ALPN, names, kinds of keys, resumption, early data, stapling.

use crate::harness::{Authority, Key, Weir, one_pool};
use crate::scene::{BODY, Scene, listener, shell};

/// What a cipher suite that is as old as TLS 1.1 needs from a new OpenSSL.
const OLD: &str = "-cipher ALL@SECLEVEL=0";

#[test]
fn openssl_gets_tls_1_2_and_1_3_and_nothing_older() {
    let scene = Scene::start("");
    for (arguments, version) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2"), ("", "TLSv1.3")] {
        let Some(said) = scene.s_client(arguments) else { return };
        assert!(said.contains(&format!("New, {version}, ")) && said.contains(BODY), "{arguments}");
        assert!(said.contains("Verification: OK") && !said.contains("Compression: zlib"), "{arguments}");
    }
    for arguments in ["-tls1_1", "-tls1"] {
        let said = scene.s_client(&format!("{arguments} {OLD}")).unwrap();
        // Of the version, or of the signatures that such a client cannot make.
        assert!(said.contains("SSL alert number") && !said.contains(BODY), "{arguments}");
    }
}

#[test]
fn openssl_gets_no_tls_1_2_where_1_3_is_the_least() {
    let scene = Scene::start("min_version = \"1.3\"");
    let Some(said) = scene.s_client("-tls1_2") else { return };
    assert!(said.contains("alert protocol version") && !said.contains(BODY));
    assert!(scene.s_client("").unwrap().contains(BODY));
}

#[test]
fn openssl_agrees_on_a_protocol_of_the_listeners_or_on_none() {
    let scene = Scene::start("");
    for (offered, chosen) in [
        ("-alpn http/1.1", "ALPN protocol: http/1.1"),
        ("-alpn h2,http/1.1", "ALPN protocol: h2"),
        ("-alpn http/1.1,h2", "ALPN protocol: h2"),
        ("-alpn nonsense,http/1.1", "ALPN protocol: http/1.1"),
        ("", "No ALPN negotiated"),
        ("-alpn nonsense", "alert no application protocol"),
    ] {
        let Some(said) = scene.s_client(offered) else { return };
        assert!(said.contains(chosen), "{offered}");
    }
    let scene = Scene::start("alpn = [\"http/1.1\"]");
    assert!(scene.s_client("-alpn h2,http/1.1").unwrap().contains("ALPN protocol: http/1.1"));
}

#[test]
fn openssl_gets_the_certificate_of_the_name_that_it_asks_for() {
    let authority = Authority::new();
    let [first, exact, wild] = [
        ("first", &["localhost", "127.0.0.1"][..]),
        ("exact", &["a.example.org"]),
        ("wild", &["*.example.org", "example.org"]),
    ]
    .map(|(file, names)| authority.server(file, names, Key::Ecdsa));
    let scene = Scene::with(authority, &[&first, &exact, &wild], "");
    for (asked, subject) in [
        ("-servername a.example.org", "a.example.org"),
        ("-servername A.Example.ORG", "a.example.org"),
        ("-servername b.example.org", "*.example.org"),
        ("-servername example.org", "*.example.org"),
        ("-servername a.b.example.org", "localhost"),
        ("-servername other.example", "localhost"),
        ("-noservername", "localhost"),
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            let Some(said) = scene.s_client(&format!("{asked} {version}")) else { return };
            assert!(said.contains(&format!("subject=CN = {subject}\n")), "{asked} {version}");
        }
    }
}

#[test]
fn openssl_gets_the_kind_of_key_that_it_can_verify() {
    let authority = Authority::new();
    let [one, two] = [("ecdsa", Key::Ecdsa), ("rsa", Key::Rsa)]
        .map(|(file, kind)| authority.server(file, &["localhost"], kind));
    let scene = Scene::with(authority, &[&one, &two], "");
    for (arguments, signed) in [
        ("-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", "Peer signature type: RSA-PSS"),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", "Peer signature type: ECDSA"),
        ("-tls1_3 -sigalgs rsa_pss_rsae_sha256:ecdsa_secp384r1_sha384", "Peer signature type: RSA-PSS"),
        ("-tls1_3 -sigalgs ecdsa_secp256r1_sha256", "Peer signature type: ECDSA"),
        ("", "Peer signature type: ECDSA"),
    ] {
        let Some(said) = scene.s_client(&format!("{arguments} -servername localhost")) else { return };
        assert!(said.contains(signed) && said.contains(BODY), "{arguments}");
    }
}

#[test]
fn openssl_resumes_a_session_on_whatever_shard() {
    let authority = Authority::new();
    let site = authority.server("site", &["localhost", "127.0.0.1"], Key::Ecdsa);
    let backend = crate::harness::Backend::http(crate::harness::answers::text(BODY));
    let config = one_pool(&[&backend], &listener(&[&site], ""), "");
    let weir = Weir::start(&config.replace("cores = 1", "cores = \"0,0,0,0\""));
    let scene = Scene { authority, backend, weir };
    for version in ["-tls1_3", "-tls1_2"] {
        let file = scene.authority.dir().join(format!("session{version}"));
        let Some(said) = scene.s_client(&format!("{version} -sess_out {}", file.display())) else { return };
        assert!(said.contains("New, TLSv1."), "{version}");
        for _ in 0..12 {
            let said = scene.s_client(&format!("{version} -sess_in {}", file.display())).unwrap();
            assert!(said.contains("Reused, TLSv1.") && said.contains(BODY), "{version}");
        }
    }
    let shards = (0..4).filter(|shard| {
        scene.weir.metric("weir_connections_accepted_total", &[("shard", &shard.to_string())]) > 0.0
    });
    assert!(shards.count() > 1, "all connections were one shard's");
}

#[test]
fn openssl_is_allowed_no_early_data() {
    let scene = Scene::start("");
    let dir = scene.authority.dir().display().to_string();
    let Some(said) = scene.s_client(&format!("-tls1_3 -sess_out {dir}/session")) else { return };
    assert!(said.contains("Max Early Data: 0"));
    std::fs::write(format!("{dir}/early"), "GET /early HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let said = scene.s_client(&format!("-tls1_3 -sess_in {dir}/session -early_data {dir}/early")).unwrap();
    assert!(said.contains("Early data was not sent") || said.contains("Early data was rejected"));
    assert!(scene.backend.received().iter().all(|received| !received.line().contains("early")));
}

#[test]
fn openssl_gets_the_staple_that_is_in_the_file() {
    let authority = Authority::new();
    let site = authority.server("site", &["localhost"], Key::Ecdsa);
    let dir = authority.dir().display().to_string();
    if crate::harness::require("openssl").is_none() {
        return;
    }
    // A responder of one certificate, in the format of openssl-ca(1).
    shell(&format!(
        "cd {dir} && serial=$(openssl x509 -in site.pem -noout -serial | cut -d= -f2) && \
         printf 'V\\t400101000000Z\\t\\t%s\\tunknown\\t/CN=localhost\\n' \"$serial\" > index && \
         openssl ocsp -index index -CA ca.pem -rsigner ca.pem -rkey ca.key -issuer ca.pem -cert site.pem \
         -respout site.ocsp -ndays 7"
    ));
    let entry = site.entry().replace(" }", &format!(", ocsp = \"{dir}/site.ocsp\" }}"));
    let backend = crate::harness::Backend::http(crate::harness::answers::text(BODY));
    let tls = format!("[listener.tls]\ncertificates = [{entry}]\n");
    let weir = Weir::start(&one_pool(&[&backend], &tls, ""));
    let scene = Scene { authority, backend, weir };
    for version in ["-tls1_2", "-tls1_3"] {
        let said = scene.s_client(&format!("-status {version}")).unwrap();
        assert!(
            said.contains("OCSP Response Status: successful") && said.contains("Cert Status: good"),
            "{version}"
        );
    }
}
