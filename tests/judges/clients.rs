//! Certificates of clients: who gets in, and what the backend is told of them.

use crate::harness::{Authority, Issued, Key};
use crate::scene::{BODY, Scene};

/// weir that asks for certificates of the authority "clients", with one of them revoked.
struct Asked {
    scene: Scene,
    _clients: Authority,
    good: Issued,
    revoked: Issued,
    stranger: Issued,
}

fn asked(client_auth: &str) -> Asked {
    let (servers, clients) = (Authority::new(), Authority::new());
    let site = servers.server("site", &["localhost", "127.0.0.1"], Key::Ecdsa);
    let [good, revoked] = ["alice", "mallory"].map(|name| clients.client(name, name));
    let stranger = servers.client("stranger", "stranger");
    let crl = clients.crl("clients", &[&revoked]);
    let tls = format!(
        "client_auth = \"{client_auth}\"\nclient_ca = \"{}\"\nclient_crl = \"{}\"\nclient_subject = \"X-Client\"",
        clients.cert().display(),
        crl.display()
    );
    let scene = Scene::with(servers, &[&site], &tls);
    Asked { scene, _clients: clients, good, revoked, stranger }
}

fn with(issued: &Issued) -> String {
    format!("-cert {} -key {}", issued.cert.display(), issued.key.display())
}

/// What the backend was told of the last request's client.
fn told(scene: &Scene) -> Vec<String> {
    scene.backend.last().fields.all("X-Client").map(str::to_owned).collect()
}

#[test]
fn openssl_needs_a_good_certificate_where_one_is_required() {
    let asked = asked("required");
    let scene = &asked.scene;
    for version in ["-tls1_2", "-tls1_3"] {
        let Some(said) = scene.s_client(&format!("{version} {}", with(&asked.good))) else { return };
        assert!(said.contains(BODY), "{version}");
        let subject = told(scene);
        assert!(subject.len() == 1 && subject[0].contains("alice"), "{version}: {subject:?}");
        let before = scene.backend.requests();
        let refused = [String::new(), with(&asked.revoked), with(&asked.stranger)];
        for (arguments, alert) in
            refused.iter().zip(["certificate required", "certificate revoked", "unknown ca"])
        {
            let said = scene.s_client(&format!("{version} {arguments}")).unwrap();
            assert!(!said.contains(BODY) && said.contains("alert"), "{version} {arguments} is refused");
            // TLS 1.2 has no alert of its own for a missing certificate.
            let alert = if version == "-tls1_2" && arguments.is_empty() { "alert" } else { alert };
            assert!(said.contains(alert), "{version} {arguments} is told: {alert}");
        }
        assert_eq!(scene.backend.requests(), before, "the backend sees none of them");
    }
}

#[test]
fn openssl_may_show_a_certificate_where_one_is_optional_but_none_that_is_bad() {
    let asked = asked("optional");
    let scene = &asked.scene;
    let Some(said) = scene.s_client("") else { return };
    assert!(said.contains(BODY) && told(scene).is_empty());
    assert!(scene.s_client(&with(&asked.good)).unwrap().contains(BODY));
    assert!(told(scene)[0].contains("alice"));
    assert!(!scene.s_client(&with(&asked.revoked)).unwrap().contains(BODY));
}

#[test]
fn curl_cannot_forge_the_subject_over_either_version_of_http() {
    let asked = asked("optional");
    let scene = &asked.scene;
    for version in ["--http1.1", "--http2"] {
        for field in ["X-Client", "x-client", "X-CLIENT"] {
            let field = format!("{field}: CN=root");
            let Some(said) = crate::curl::curl(scene, &[version, "--header", &field]) else { return };
            assert_eq!(said.body, BODY);
            assert!(told(scene).is_empty(), "{version} {field}: {:?}", told(scene));
            let [cert, key] = [&asked.good.cert, &asked.good.key].map(|path| path.to_str().unwrap());
            crate::curl::curl(scene, &[version, "--header", &field, "--cert", cert, "--key", key]).unwrap();
            let subject = told(scene);
            assert!(subject.len() == 1 && subject[0].contains("alice"), "{version} {field}: {subject:?}");
        }
    }
}
