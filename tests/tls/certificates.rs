//! Which certificate a client gets, judged by openssl; what `weir check`, the metrics and the log say of certificates;
//! and a weir that does not start with those that are of no use.

use crate::harness::{Authority, Backend, Issued, Key, Program, Weir, answers, one_pool, require};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// What openssl's client has to say of a handshake with weir.
fn s_client(openssl: &Path, weir: &Weir, arguments: &[&str]) -> String {
    let mut command = Command::new(openssl);
    command.args(["s_client", "-connect", &format!("127.0.0.1:{}", weir.port("web"))]).args(arguments);
    let (_, out, err) = Program::run(&mut command, PATIENCE);
    out + &err
}

fn entry(issued: &Issued) -> String {
    format!("{{ {} }}", issued.keys())
}

#[test]
fn openssl_is_shown_the_certificate_for_the_name_that_it_asks_for_and_the_key_that_it_can_check() {
    let Some(openssl) = require("openssl") else { return };
    let authority = Authority::new();
    let first = authority.issue("first", &["first.test"]);
    let rsa = authority.issue_of(Key::Rsa, "first-rsa", &["first.test"]);
    let wild = authority.issue("wild", &["*.example.test"]);
    let exact = authority.issue("exact", &["www.example.test"]);
    let staple = authority.staple("exact", &exact);
    let stapled = format!("{{ {}, ocsp = \"{}\" }}", exact.keys(), staple.display());
    let entries = [entry(&first), entry(&rsa), entry(&wild), stapled].join(",\n");
    let backend = Backend::http(answers::text("ok"));
    let weir =
        Weir::start(&one_pool(&[&backend], &format!("[listener.tls]\ncertificates = [{entries}]"), ""));
    for (arguments, expected) in [
        (&["-servername", "first.test"][..], "first"),
        (&["-servername", "WWW.Example.TEST"], "exact"),
        (&["-servername", "a.example.test"], "wild"),
        (&["-servername", "a.b.example.test"], "first"),
        (&["-servername", "elsewhere.test"], "first"),
        (&["-noservername"], "first"),
        (&["-servername", "first.test", "-sigalgs", "RSA-PSS+SHA256"], "first-rsa"),
        (&["-servername", "first.test", "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "first-rsa"),
        (&["-servername", "first.test", "-tls1_2"], "first"),
    ] {
        let out = s_client(&openssl, &weir, arguments);
        let named = [format!("CN = {expected}\n"), format!("CN={expected}\n")];
        let subject = out.lines().find(|line| line.starts_with("subject=")).unwrap_or_default();
        assert!(
            named.iter().any(|name| format!("{subject}\n").ends_with(name)),
            "{arguments:?}: {subject}\n{out}"
        );
    }
    let out = s_client(&openssl, &weir, &["-servername", "www.example.test", "-status"]);
    assert!(!out.contains("OCSP response: no response sent"), "{out}");
    let out = s_client(&openssl, &weir, &["-servername", "a.example.test", "-status"]);
    assert!(out.contains("OCSP response: no response sent"), "{out}");
    let out = s_client(
        &openssl,
        &weir,
        &["-servername", "a.example.test", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
    );
    assert!(!out.contains("Cipher is ECDHE"), "{out}");
    for file in [&first.cert, &exact.cert] {
        let days = weir.metric("weir_tls_certificate_days_left", &[("file", &file.display().to_string())]);
        assert!((80.0..90.0).contains(&days), "{days}");
    }
}

/// What `weir check` says of this configuration, and its exit code.
fn check(dir: &Path, text: &str) -> (Option<i32>, String, String) {
    let file = dir.join("checked.toml");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    let (status, out, err) = Program::run(command.args(["check", "--config"]).arg(&file), PATIENCE);
    (status.code(), out, err)
}

#[test]
fn check_and_start_say_what_certificates_are_and_what_is_wrong_with_them() {
    let authority = Authority::new();
    let dir = authority.dir().to_owned();
    let (good, other) = (authority.issue("a", &["a.test", "*.a.test"]), authority.issue("b", &["b.test"]));
    let with = |key: &Path| {
        format!(
            "[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\npool = \"app\"\n[listener.tls]\n\
             certificates = [{{ cert = \"{}\", key = \"{}\" }}]\nclient_auth = \"required\"\nclient_ca = \"{}\"\n\
             [pool.app.tls]\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n[[pool.app.backend]]\n\
             address = \"a.internal:1\"\n",
            good.cert.display(),
            key.display(),
            authority.cert().display(),
            authority.cert().display(),
            other.cert.display(),
            other.key.display(),
        )
    };
    let (code, out, err) = check(&dir, &with(&good.key));
    assert_eq!(code, Some(0), "{err}");
    let squeezed = out.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        "web TLS 1.2 and 1.3, h2 before http/1.1, clients' certificates required (",
        "app each backend must be the host of its address, by the authorities in /",
        "a.test *.a.test ECDSA P-256 until 20",
        &format!("app {} b.test ECDSA P-256 until 20", other.cert.display()),
        " days left",
    ] {
        assert!(squeezed.contains(said), "{said}\n{out}");
    }
    let expected = format!(
        "checked.toml:6: listener[0].tls.certificates[0].key: \"{}\" is not the key of",
        other.key.display()
    );
    let (code, _, err) = check(&dir, &with(&other.key));
    assert!(code == Some(2) && err.contains(&expected), "{err}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    let (status, _, err) =
        Program::run(command.args(["run", "--config"]).arg(dir.join("checked.toml")), PATIENCE);
    assert!(!status.success() && err.contains(&expected), "{err}");
    assert!(!err.contains("BEGIN") && !err.contains("panicked"), "{err}");
}
