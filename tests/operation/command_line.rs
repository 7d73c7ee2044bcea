//! check, version, help; and the samples, which are more than text.

use crate::harness::{Authority, Backend, Key, Program, Weir, answers, one_pool};
use std::process::Command;
use std::time::Duration;

/// The exit code, stdout and stderr of weir with these arguments, from the repository's root.
fn weir(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    let (status, out, log) = Program::run(&mut command, Duration::from_secs(10));
    (status.code(), out, log)
}

fn sample(name: &str) -> String {
    std::fs::read_to_string(format!("{}/config/{name}.toml", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A sample, with certificates of `authority` in the place of those that it names.
fn with_certificates(name: &str, authority: &Authority) -> String {
    let dir = authority.dir();
    let site = authority.server("site", &["www.example.org"], Key::Ecdsa);
    authority.staple("site", &site);
    authority.server("site-rsa", &["www.example.org"], Key::Rsa);
    for (file, kind) in [("", Key::Ecdsa), ("-rsa", Key::Rsa)] {
        authority.server(&format!("www.example.org{file}"), &["www.example.org"], kind);
    }
    authority.server("wildcard.example.net", &["*.example.net"], Key::Ecdsa);
    authority.client("weir", "weir");
    authority.crl("clients", &[]);
    for file in ["clients.pem", "internal.pem"] {
        std::fs::copy(authority.cert(), dir.join(file)).unwrap();
    }
    let file = dir.join(format!("{name}.toml"));
    std::fs::write(&file, sample(name).replace("/etc/weir/", &format!("{}/", dir.display()))).unwrap();
    file.display().to_string()
}

#[test]
fn check_accepts_the_samples_and_shows_what_they_come_to() {
    let samples: [(&str, &[&str]); 4] = [
        ("minimal", &["0.0.0.0:8080", "to app", "least_conn", "not checked", "127.0.0.1:9002", "weight 1"]),
        ("demo", &["any host  /sticky", "ip_hash", "checked by GET / every 500ms", "weight 1, backup"]),
        ("tls", &["www.example.org", "*.example.net", "ECDSA", "RSA"]),
        (
            "production",
            &[
                "unix:/run/weir/web.sock",
                "*.example.org",
                "random_two",
                "app-b.internal:8080",
                "200 connections to each backend",
                "checked by GET /healthz every 2s, up after 2 passed",
            ],
        ),
    ];
    let authority = Authority::new();
    for (name, parts) in samples {
        let (code, out, log) = weir(&["check", "--config", &with_certificates(name, &authority)]);
        assert_eq!((code, log.as_str()), (Some(0), ""), "{name}: {out}");
        let general =
            ["is right", "listeners", "shards", "at worst", "memory", "kernel", "its io_uring is good"];
        for part in general.iter().chain(parts) {
            assert!(out.contains(part), "{name}: {part:?} is not in\n{out}");
        }
    }
}

#[test]
fn check_names_each_file_that_is_not_there_with_its_line_and_key() {
    let (code, _, log) = weir(&["check", "--config", "config/tls.toml"]);
    assert_eq!(code, Some(2));
    for part in ["config/tls.toml:16", "certificates[0].cert", "/etc/weir/www.example.org.pem", "client_ca"] {
        assert!(log.contains(part), "{part:?} is not in\n{log}");
    }
}

#[test]
fn check_disturbs_nobody_who_runs_the_same_file() {
    let backend = Backend::http(answers::text("ok"));
    let running = Weir::start(&one_pool(&[&backend], "", "[pool.app.health]\ninterval = \"20s\""));
    let asked = backend.requests();
    let file = running.dir().join("weir.toml").display().to_string();
    let (code, out, log) = weir(&["check", "--config", &file]);
    assert_eq!((code, log.as_str()), (Some(0), ""), "{out}");
    assert_eq!(running.client().get("/").status, 200);
    assert_eq!(backend.requests(), asked + 1, "no backend was asked by the check");
}

#[test]
fn check_tells_faults_with_file_line_key_and_remedy_and_exits_with_2() {
    let file = std::env::temp_dir().join(format!("weir-check-{}.toml", std::process::id()));
    let path = file.display().to_string();
    let faulty = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let (code, out, log) = weir(&["check", "--config", &path]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{log}");
        log
    };
    let log =
        faulty(&sample("minimal").replace("address = \"127.0.0.1:9002\"", "adress = \"127.0.0.1:9002\""));
    assert!(log.contains(&format!("{path}:1")) && log.contains("adress") && log.contains("address"), "{log}");
    assert!(log.lines().all(|line| line.starts_with("weir: ")), "{log}");
    let log = faulty(&("[runtime]\ncores = \"900\"\n".to_owned() + &sample("minimal")));
    assert!(log.contains("runtime.cores names 900"), "{log}");
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn version_and_help_say_what_they_should() {
    let (code, out, _) = weir(&["--version"]);
    let expected = format!("weir {} ({}-linux)\n", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    assert_eq!((code, out), (Some(0), expected));
    let helps: [(&[&str], &[&str]); 5] = [
        (&["--help"], &["run", "check", "doctor", "demo", "Exit codes", "seccomp"]),
        (
            &["run", "--help"],
            &["--config <FILE>", "default", "SIGTERM", "\"250us\"", "\"16KiB\"", "no limit"],
        ),
        (&["check", "--help"], &["--config <FILE>", "Exits 0", "else 2"]),
        (&["doctor", "--help"], &["--config <FILE>", "--json", "Exits 0", "else 2", "advice", "remedy"]),
        (&["demo", "--help"], &["9101", "8080", "Ctrl-C", "500ms"]),
    ];
    for (arguments, parts) in helps {
        let (code, out, _) = weir(arguments);
        assert_eq!(code, Some(0));
        for part in parts {
            assert!(out.contains(part), "{arguments:?}: {part:?} is not in\n{out}");
        }
        assert!(out.lines().all(|line| line.chars().count() <= 100), "{arguments:?}: lines of a terminal");
    }
    for arguments in [&[][..], &["serve"], &["run", "--conf", "x"], &["demo", "--port", "1"]] {
        let (code, out, log) = weir(arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(log.contains("Usage: weir"), "{arguments:?}: {log}");
    }
}

#[test]
fn the_minimal_sample_runs() {
    let backends = ["one", "two"].map(|name| Backend::http(answers::text(name)));
    let config = sample("minimal")
        .replace("0.0.0.0:8080", "127.0.0.1:{web}")
        .replace("127.0.0.1:9001", &backends[0].address())
        .replace("127.0.0.1:9002", &backends[1].address());
    let weir = Weir::start(&config);
    let mut client = weir.client();
    let names: Vec<String> = (0..4).map(|_| client.get("/").text()).collect();
    assert!(names.contains(&"one".to_owned()) && names.contains(&"two".to_owned()), "{names:?}");
}

#[test]
fn the_demo_sample_runs_as_its_comments_say() {
    let backends = ["one", "two", "three"].map(|name| Backend::http(answers::text(name)));
    let mut config = sample("demo")
        .replace("127.0.0.1:8080", "127.0.0.1:{web}")
        .replace("127.0.0.1:8081", "127.0.0.1:{weighted}");
    for (backend, port) in backends.iter().zip(9001..) {
        config = config.replace(&format!("127.0.0.1:{port}"), &backend.address());
    }
    let weir = Weir::start(&config);
    let up = || crate::backends(&weir).iter().all(|backend| backend["state"] == "up");
    crate::harness::wait_until("all are up", up);
    let mut client = weir.client();
    let sticky: Vec<String> = (0..6).map(|_| client.get("/sticky/").text()).collect();
    assert!(sticky.iter().all(|name| *name == sticky[0]), "{sticky:?}");
    let mut client = crate::harness::Client::connect(weir.address("weighted"));
    let names: Vec<String> = (0..40).map(|_| client.get("/").text()).collect();
    let count = |name: &str| names.iter().filter(|given| *given == name).count();
    // A request more or less: each shard begins its turns elsewhere.
    assert!((29..=31).contains(&count("one")) && count("one") + count("two") == 40, "{names:?}");
}
