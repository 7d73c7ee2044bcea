//! Versions, what ends a handshake, clients' certificates.

use crate::harness::{Authority, Backend, Client, Program, answers, require, wait_until};
use crate::harness::{Weir, one_pool};
use crate::seal::{self, Sealed};
use crate::{in_front_of, listener};
use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};
use std::io::Write;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn openssl_and_curl_get_answers_over_both_versions() {
    let (Some(openssl), Some(curl)) = (require("openssl"), require("curl")) else { return };
    let authority = Authority::new();
    let backend = Backend::http(answers::text("sealed"));
    let weir = in_front_of(&backend, &authority, "");
    let port = weir.port("web");
    let ca = authority.cert();
    for (version, of_curl, named) in [("-tls1_2", "1.2", "TLSv1.2"), ("-tls1_3", "1.3", "TLSv1.3")] {
        let mut command = Command::new(&curl);
        command.arg("-sS").arg("--cacert").arg(&ca).args(["--tls-max", of_curl, "--tlsv1.2"]);
        command
            .arg(format!("https://localhost:{port}/"))
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1")]);
        let (status, out, err) = Program::run(&mut command, PATIENCE);
        assert!(status.success() && out == "sealed", "{named}: {out} {err}");
        let mut command = Command::new(&openssl);
        command.args([
            "s_client",
            "-connect",
            &format!("127.0.0.1:{port}"),
            "-servername",
            "localhost",
            version,
        ]);
        command.arg("-CAfile").arg(&ca).arg("-verify_return_error");
        let (status, out, err) = Program::run(&mut command, PATIENCE);
        assert!(status.success(), "{named}: {err}");
        assert!(
            out.contains(&format!("New, {named}")) && out.contains("Verify return code: 0 (ok)"),
            "{out}"
        );
    }
    assert!(backend.last().text().contains("X-Forwarded-Proto: https\r\n"), "{}", backend.last().text());
    weir.wait_metric("weir_tls_handshakes_total", &[("side", "client"), ("outcome", "full")], 4.0);
    wait_until("no handshake is under way", || weir.metric("weir_connections", &[("shard", "0")]) == 0.0);
}

#[test]
fn a_handshake_in_pieces_is_as_good_as_any() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("in pieces"));
    let weir = in_front_of(&backend, &authority, "");
    for versions in [&[&TLS12][..], &[&TLS13]] {
        for at_once in [1, 7, 100_000] {
            let config = authority.client_config(versions, None);
            let mut client = Sealed::connect(weir.address("web"), &config, at_once);
            let request = client.seal(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            client.send(&request, at_once);
            let answer = String::from_utf8(client.read(17)).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
    }
}

#[test]
fn plain_http_on_a_port_with_tls_is_told_so() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("never"));
    let weir = in_front_of(&backend, &authority, "");
    let mut client = weir.client();
    let response = client.get("/");
    assert_eq!(response.status, 400);
    assert!(String::from_utf8_lossy(&response.body).contains("https://"), "{response:?}");
    client.assert_closed();
    assert_eq!(backend.requests(), 0);
    weir.wait_metric("weir_tls_handshakes_total", &[("side", "client"), ("outcome", "not_tls")], 1.0);
}

#[test]
fn bytes_that_are_neither_are_told_by_an_alert() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("never"));
    let weir = in_front_of(&backend, &authority, "");
    let mut client = weir.client();
    client.send(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00");
    let alert = client.rest();
    assert_eq!((alert[0], alert.len()), (21, 7), "{alert:?}");
    weir.wait_metric("weir_tls_handshakes_total", &[("side", "client"), ("outcome", "protocol")], 1.0);
}

#[test]
fn a_handshake_has_as_long_as_a_head_has() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("never"));
    let tls = listener(&authority, "");
    let weir = Weir::start(&one_pool(&[&backend], &format!("head_timeout = \"300ms\"\n{tls}"), ""));
    let mut silent = weir.client();
    silent.assert_closed();
    // A byte now and then does not make it longer.
    let mut slow = weir.client();
    let hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[0; 400]].concat();
    let sent = hello.iter().take_while(|byte| {
        std::thread::sleep(Duration::from_millis(20));
        slow.wire.send([**byte]).is_ok()
    });
    assert!(sent.count() < hello.len(), "weir waits for ever");
    weir.wait_metric("weir_tls_handshakes_total", &[("side", "client"), ("outcome", "timeout")], 2.0);
}

#[test]
fn a_client_that_speaks_no_version_of_ours_is_told_and_counted() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("never"));
    let weir = in_front_of(&backend, &authority, "min_version = \"1.3\"");
    let config = authority.client_config(&[&TLS12], None);
    let mut client = seal::client(weir.address("web"), &config);
    client.assert_closed();
    let counted = &[("side", "client"), ("outcome", "nothing_in_common")];
    weir.wait_metric("weir_tls_handshakes_total", counted, 1.0);
}

#[test]
fn the_subject_of_a_clients_certificate_goes_up_and_nobody_can_say_it_himself() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("known"));
    let ca = authority.cert();
    let tls = format!(
        "client_auth = \"optional\"\nclient_ca = \"{}\"\nclient_subject = \"X-Client-Subject\"",
        ca.display()
    );
    let weir = in_front_of(&backend, &authority, &tls);
    let alice = authority.issue("alice", &[]);
    let forged = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Client-Subject: CN=root\r\nx-client-subject: CN=root\r\n\
                  X_Client_Subject: CN=root\r\nConnection: X-Client-Subject\r\n\r\n";
    for (own, expected) in [(Some(&alice), Some("CN=alice,O=Example")), (None, None)] {
        for versions in [&[&TLS12][..], &[&TLS13]] {
            let mut client = seal::client(weir.address("web"), &authority.client_config(versions, own));
            for _ in 0..2 {
                assert_eq!(client.ask(forged).status, 200);
                let head = backend.last().text();
                let said: Vec<&str> = head
                    .lines()
                    .filter(|line| line.to_lowercase().replace('_', "-").contains("client-subject"))
                    .collect();
                let expected: Vec<String> =
                    expected.iter().map(|subject| format!("X-Client-Subject: {subject}")).collect();
                assert_eq!(said, expected, "{head}");
            }
        }
    }
}

/// Who speaks TLS 1.3 has sent its request by then, which must not be why it hears nothing.
#[test]
fn a_client_that_is_not_let_in_hears_why_although_it_has_sent_its_request() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("known"));
    let tls = format!("client_auth = \"required\"\nclient_ca = \"{}\"", authority.cert().display());
    let weir = Weir::start(&one_pool(&[&backend], &listener(&authority, &tls), ""));
    let nobody = authority.client_config(&[&TLS13], None);
    for _ in 0..20 {
        let mut client = Sealed::connect(weir.address("web"), &nobody, usize::MAX);
        let request = client.seal(&[b'a'; 60_000]);
        // It may be cut off before all of it has gone; what weir has said is there all the same.
        let _ = client.tcp.write_all(&request);
        assert_eq!(client.alert(), AlertDescription::CertificateRequired);
    }
}

#[test]
fn nobody_says_whose_certificate_he_has_at_a_listener_that_asks_for_none() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("known"));
    let ca = authority.cert();
    let tls = format!(
        "client_auth = \"optional\"\nclient_ca = \"{}\"\nclient_subject = \"X-Client-Subject\"",
        ca.display()
    );
    let mut config = one_pool(&[&backend], &listener(&authority, &tls), "");
    config.push_str(
        "[[listener]]\nname = \"plain\"\naddress = \"127.0.0.1:{plain}\"\npool = \"app\"\n\
         trusted_proxies = [\"127.0.0.0/8\"]\n",
    );
    let weir = Weir::start(&config);
    let mut client = Client::connect(weir.address("plain"));
    let forged = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Client-Subject: CN=root\r\nx_client_subject: CN=root\r\n\
                  Kept: yes\r\n\r\n";
    assert_eq!(client.ask(forged).status, 200);
    let head = backend.last().text().to_lowercase();
    assert!(head.contains("kept: yes"), "{head}");
    assert!(!head.contains("cn=root"), "the same backends believe it: {head}");
}

#[test]
fn a_client_without_a_good_certificate_is_refused_where_one_is_required() {
    let authority = Authority::new();
    let others = Authority::new();
    let backend = Backend::http(answers::text("known"));
    let tls = format!("client_auth = \"required\"\nclient_ca = \"{}\"", authority.cert().display());
    let weir = in_front_of(&backend, &authority, &tls);
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let mallory = others.issue("mallory", &[]);
        for own in [None, Some(&mallory)] {
            let mut client: Client =
                seal::client(weir.address("web"), &authority.client_config(versions, own));
            let _ = client.wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert!(
                client.wire.response("GET").is_err() || client.wire.rest().is_ok_and(|rest| rest.is_empty())
            );
        }
    }
    assert_eq!(backend.requests(), 0);
    weir.wait_metric("weir_tls_handshakes_total", &[("side", "client"), ("outcome", "certificate")], 4.0);
}

#[test]
fn the_access_log_says_what_was_settled() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("logged"));
    let alice = authority.issue("alice", &[]);
    let asks = format!("client_auth = \"optional\"\nclient_ca = \"{}\"\n", authority.cert().display());
    let mut config = one_pool(&[&backend], &listener(&authority, &asks), "");
    config.push_str(
        "[[listener]]\nname = \"plain\"\naddress = \"127.0.0.1:{plain}\"\npool = \"app\"\n[access_log]\n\
         format = \"$listener $tls_version $tls_cipher $tls_server_name $tls_client_subject\"\n\
         to = \"{dir}/access.log\"\n",
    );
    let weir = Weir::start(&config);
    let log = weir.dir().join("access.log");
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    for (versions, own, expected) in [
        (&[&TLS12][..], None, "web TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 localhost -\n"),
        (&[&TLS13], Some(&alice), "web TLSv1.3 TLS_AES_256_GCM_SHA384 localhost CN=alice,O=Example\n"),
    ] {
        let mut client = seal::client(weir.address("web"), &authority.client_config(versions, own));
        assert_eq!(client.get("/").status, 200);
        wait_until("the exchange is logged", || lines().ends_with(expected));
    }
    let mut client = Client::connect(weir.address("plain"));
    assert_eq!(client.get("/").status, 200);
    wait_until("the exchange is logged", || lines().ends_with("plain - - - -\n"));
    for version in ["TLSv1.2", "TLSv1.3"] {
        weir.wait_metric("weir_tls_versions_total", &[("version", version)], 1.0);
    }
}
