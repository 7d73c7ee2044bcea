//! curl over each version of HTTP and TLS.

use crate::harness::{Backend, Program, Weir, answers, one_pool, require};
use crate::scene::{BODY, PATIENCE, Scene};
use std::process::Command;

/// How a run of curl ended.
pub(crate) struct Curled {
    pub(crate) code: Option<i32>,
    pub(crate) body: String,
    /// The version of HTTP, the status, and how many connections were made.
    pub(crate) summary: String,
}

/// Runs curl on the scene's page; `None`: there is no curl.
pub(crate) fn curl(scene: &Scene, arguments: &[&str]) -> Option<Curled> {
    let ca = scene.authority.cert();
    curl_at(&scene.url(), &[&["--cacert", ca.to_str().unwrap()], arguments].concat())
}

fn curl_at(url: &str, arguments: &[&str]) -> Option<Curled> {
    let mut command = Command::new(require("curl")?);
    command.args(["--silent", "--show-error", "--max-time", "30"]).args(arguments).arg(url);
    // The summary is the last line.
    command.args(["--write-out", "\n%{http_version} %{http_code} %{num_connects}"]);
    let (status, out, complaints) = Program::run(&mut command, PATIENCE);
    println!("$ {command:?}\n{complaints}");
    let (body, summary) = out.rsplit_once('\n').unwrap();
    Some(Curled { code: status.code(), body: body.to_owned(), summary: summary.to_owned() })
}

#[test]
fn curl_gets_the_page_over_each_version_of_http_and_tls() {
    let scene = Scene::start("");
    for (arguments, summary) in [
        (&["--http2"][..], "2 200 1"),
        (&["--http1.1"], "1.1 200 1"),
        (&["--http2", "--tlsv1.3"], "2 200 1"),
        (&["--http2", "--tlsv1.2", "--tls-max", "1.2"], "2 200 1"),
        (&["--http1.1", "--tlsv1.2", "--tls-max", "1.2"], "1.1 200 1"),
        (&["--no-alpn"], "1.1 200 1"),
        (&["--http2", "--head"], "2 200 1"),
    ] {
        let Some(said) = curl(&scene, arguments) else { return };
        assert_eq!((said.code, said.summary.as_str()), (Some(0), summary), "{arguments:?}");
        assert!(said.body == BODY || arguments.contains(&"--head"), "{arguments:?}: {}", said.body);
    }
    // 35: the handshake failed.
    let old = curl(&scene, &["--tlsv1.0", "--tls-max", "1.1", "--ciphers", "ALL@SECLEVEL=0"]).unwrap();
    assert_eq!(old.code, Some(35));
}

#[test]
fn curl_trusts_weir_by_its_authority_only() {
    let scene = Scene::start("");
    // 60: the certificate cannot be verified.
    let Some(said) = curl_at(&scene.url(), &[]) else { return };
    assert_eq!(said.code, Some(60));
    assert_eq!(curl_at(&scene.url(), &["--insecure"]).unwrap().body, BODY);
    let [port, ca] = [scene.port().to_string(), scene.authority.cert().display().to_string()];
    let other = curl_at(
        &format!("https://other.example:{port}/"),
        &["--cacert", &ca, "--resolve", &format!("other.example:{port}:127.0.0.1")],
    );
    assert_eq!(other.unwrap().code, Some(60), "the certificate is not that name's");
}

#[test]
fn curl_sends_and_gets_large_bodies_over_http2() {
    let scene = Scene::start("");
    let large: String = (0..400_000).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    scene.backend.answer_by(answers::echo());
    let file = scene.authority.dir().join("large");
    std::fs::write(&file, &large).unwrap();
    let data = format!("@{}", file.display());
    for version in ["--http2", "--http1.1"] {
        for more in
            [&[][..], &["--header", "Transfer-Encoding: chunked"], &["--header", "Expect: 100-continue"]]
        {
            let mut arguments = vec![version, "--data-binary", &data];
            arguments.extend(more);
            let Some(said) = curl(&scene, &arguments) else { return };
            assert!(said.body == large, "{arguments:?}: {} of {} came", said.body.len(), large.len());
        }
    }
}

#[test]
fn curl_uses_one_connection_for_many_streams() {
    let scene = Scene::start("");
    let ca = scene.authority.cert();
    let url = format!("{}[1-50]", scene.url());
    let arguments = ["--cacert", ca.to_str().unwrap(), "--http2", "--parallel", "--parallel-max", "50"];
    let Some(said) = curl_at(&url, &arguments) else { return };
    assert_eq!(said.body.matches(BODY.trim_end()).count(), 50);
    assert_eq!(scene.backend.requests(), 50);
    let accepted = scene.weir.metric("weir_connections_accepted_total", &[]);
    assert!(accepted <= 2.0, "{accepted} connections for 50 streams");
}

#[test]
fn curl_speaks_http2_in_the_clear_where_the_listener_does() {
    let backend = Backend::http(answers::text(BODY));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let url = format!("http://127.0.0.1:{}/", weir.port("web"));
    for (version, summary) in [("--http2-prior-knowledge", "2 200 1"), ("--http1.1", "1.1 200 1")] {
        let Some(said) = curl_at(&url, &[version]) else { return };
        assert_eq!((said.body.as_str(), said.summary.as_str()), (BODY, summary), "{version}");
    }
    // The way by Upgrade is gone since RFC 9113: it stays with HTTP/1.1.
    assert_eq!(curl_at(&url, &["--http2"]).unwrap().summary, "1.1 200 1");
}
