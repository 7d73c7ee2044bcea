//! Scanners of TLS on a listener whose TLS is as it is by default.

use crate::harness::{Authority, Key, Program, require};
use crate::scene::{Scene, python};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A scan of testssl.sh makes some hundred connections by a shell script.
const PATIENCE: Duration = Duration::from_secs(400);

/// Both kinds of key, as a site has them that wants to please everybody.
fn scene() -> Scene {
    let authority = Authority::new();
    let [one, two] = [("ecdsa", Key::Ecdsa), ("rsa", Key::Rsa)]
        .map(|(file, kind)| authority.server(file, &["localhost", "127.0.0.1"], kind));
    Scene::with(authority, &[&one, &two], "")
}

/// The names of the cipher suites that were accepted.
fn accepted(scan: &Value, version: &str) -> Vec<String> {
    let found = &scan[format!("{version}_cipher_suites")];
    assert_eq!(found["status"], "COMPLETED", "{version}: {found}");
    let suites = found["result"]["accepted_cipher_suites"].as_array().unwrap();
    suites.iter().map(|suite| suite["cipher_suite"]["name"].as_str().unwrap().to_owned()).collect()
}

/// A report of sslyze with serials and keys as strings: they are larger than what is taken for a number.
fn without_large_numbers(python: &str, report: &Path) -> String {
    let script = "import json, sys; number = lambda digits: int(digits) if len(digits) < 16 else digits; \
                  print(json.dumps(json.load(open(sys.argv[1]), parse_int=number)))";
    let (_, out, _) = Program::run(Command::new(python).args(["-c", script]).arg(report), PATIENCE);
    out
}

/// Resumption is openssl's to judge: sslyze takes a session that comes with a new ticket for one that is not resumed.
#[test]
fn sslyze_finds_mozillas_intermediate_configuration_and_no_weakness() {
    let Some(python) = python("sslyze") else { return };
    let scene = scene();
    let report = scene.authority.dir().join("sslyze.json");
    let mut scan = Command::new(&python);
    scan.args(["-W", "ignore", "-m", "sslyze", "--mozilla_config=intermediate", "--early_data"])
        .args(["--certinfo", &format!("--certinfo_ca_file={}", scene.authority.cert().display())])
        .arg(format!("--json_out={}", report.display()))
        .arg(format!("localhost:{}", scene.port()));
    let (status, said, complaints) = Program::run(&mut scan, PATIENCE);
    assert!(status.success() && said.contains("OK - Compliant"), "{said}\n{complaints}");
    let report: Value = serde_json::from_str(&without_large_numbers(&python, &report)).unwrap();
    let scan = &report["server_scan_results"][0]["scan_result"];
    for version in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        assert_eq!(accepted(scan, version), Vec::<String>::new(), "{version}");
    }
    for version in ["tls_1_2", "tls_1_3"] {
        let suites = accepted(scan, version);
        let strong = |suite: &String| suite.contains("_GCM_") || suite.contains("_CHACHA20_POLY1305_");
        assert!(suites.len() >= 3 && suites.iter().all(strong), "{version}: {suites:?}");
    }
    let result = |command: &str| {
        assert_eq!(scan[command]["status"], "COMPLETED", "{command}: {}", scan[command]);
        &scan[command]["result"]
    };
    for (command, key, value) in [
        ("tls_compression", "supports_compression", Value::from(false)),
        ("tls_1_3_early_data", "supports_early_data", false.into()),
        ("session_renegotiation", "supports_secure_renegotiation", true.into()),
        ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", false.into()),
        ("tls_extended_master_secret", "supports_ems_extension", true.into()),
    ] {
        assert_eq!(result(command)[key], value, "{command}: {}", result(command));
    }
    let deployments = result("certificate_info")["certificate_deployments"].as_array().unwrap();
    let kinds: Vec<usize> = deployments
        .iter()
        .map(|deployment| {
            assert_eq!(deployment["received_chain_has_valid_order"], true);
            deployment["received_certificate_chain"].as_array().unwrap().len()
        })
        .collect();
    assert_eq!(kinds, [2, 2], "an ECDSA chain and an RSA chain");
}

#[test]
fn testssl_finds_no_old_protocol_no_weak_cipher_and_no_vulnerability() {
    // Debian names it without its ending.
    let Some(testssl) = require("testssl") else { return };
    let scene = scene();
    let report = scene.authority.dir().join("testssl.json");
    let mut scan = Command::new(testssl);
    scan.args(["--quiet", "--color", "0", "--warnings", "off", "--nodns", "none"])
        .args(["--protocols", "--std", "--vulnerable"])
        .arg("--add-ca")
        .arg(scene.authority.cert())
        .arg("--jsonfile")
        .arg(&report)
        .arg(format!("127.0.0.1:{}", scene.port()))
        .env("HOME", scene.authority.dir());
    let (_, said, complaints) = Program::run(&mut scan, PATIENCE);
    let report = std::fs::read(report).unwrap_or_else(|error| panic!("{error}\n{said}\n{complaints}"));
    let findings: Vec<Value> = serde_json::from_slice(&report).unwrap();
    let bad: Vec<&Value> = findings
        .iter()
        .filter(|finding| {
            ["LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL"].iter().any(|it| finding["severity"] == *it)
        })
        .collect();
    assert!(bad.is_empty(), "{bad:#?}\n{said}");
    for (id, wanted) in [
        ("SSLv3", "not offered"),
        ("TLS1", "not offered"),
        ("TLS1_1", "not offered"),
        ("TLS1_2", "offered"),
        ("TLS1_3", "offered"),
        ("ALPN_HTTP2", "h2"),
        ("cipherlist_AVERAGE", "not offered"),
        ("cipherlist_STRONG", "offered"),
        ("secure_client_renego", "not vulnerable"),
        ("CRIME_TLS", "not vulnerable"),
        ("ROBOT", "not vulnerable"),
    ] {
        let found = findings.iter().find(|finding| finding["id"] == id);
        let found = found.unwrap_or_else(|| panic!("nothing about {id}: {said}"));
        let finding = found["finding"].as_str().unwrap().trim_start_matches("likely ");
        assert!(finding.starts_with(wanted), "{found}");
    }
}
