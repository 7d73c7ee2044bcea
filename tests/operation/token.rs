//! admin.token_file: who is let in through a port, with which words others are turned away, and that the
//! secret stays one.

use crate::harness::{Backend, Client, Program, Weir, answers, wait_until};
use crate::pool_of;
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SECRET: &str = "b5d1c0ffee5ecre7b5d1c0ffee5ecre7";

/// A file in a folder of its own, which goes with it.
struct TokenFile(PathBuf);

impl TokenFile {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("weir-token-file-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = Self(dir);
        file.write(SECRET);
        file
    }

    fn path(&self) -> PathBuf {
        self.0.join("admin.token")
    }

    fn write(&self, token: &str) {
        std::fs::write(self.path(), format!("{token}\n")).unwrap();
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A configuration whose admin surface can be reached from other hosts, and by a Unix socket.
fn guarded(backend: &Backend, token: &TokenFile, log: &str) -> String {
    format!(
        "{}\n[admin]\nlisten = [\"0.0.0.0:{{admin}}\", \"unix:{{dir}}/admin.sock\"]\ntoken_file = \"{}\"\n\
         [log]\nlevel = \"{log}\"\n",
        pool_of("0", &[(backend, "")], ""),
        token.path().display()
    )
}

fn ask(weir: &Weir, line: &str, fields: &str) -> (u16, String) {
    let request = format!("{line} HTTP/1.1\r\nHost: weir.internal:9900\r\n{fields}Content-Length: 0\r\n\r\n");
    let response = Client::connect(weir.address("admin")).ask(request);
    (response.status, response.text())
}

#[test]
fn through_a_port_only_who_shows_the_token_sees_or_changes_anything() {
    let backend = Backend::http(answers::text("one"));
    let token = TokenFile::new("port");
    let weir = Weir::start(&guarded(&backend, &token, "info"));
    let right = format!("Authorization: Bearer {SECRET}\r\n");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(&weir, &format!("GET {path}"), "").0, 200, "{path}");
    }
    let drain = "POST /pools/app/backends/0/drain";
    let lines = [
        "GET /",
        "GET /metrics",
        "GET /backends",
        "GET /stats",
        "GET /live",
        "GET /none",
        drain,
        "POST /reload",
    ];
    for line in lines {
        for wrong in [
            String::new(),
            "Authorization: Bearer\r\n".to_owned(),
            format!("Authorization: Basic {SECRET}\r\n"),
            format!("Authorization: Bearer {}\r\n", &SECRET[1..]),
            format!("Authorization: Bearer {SECRET}0\r\n"),
            format!("{right}{right}"),
            format!("Cookie: token={SECRET}\r\n"),
        ] {
            let (status, text) = ask(&weir, line, &wrong);
            assert_eq!(status, 401, "{line} with {wrong:?}: {text}");
            assert!(text.contains("unauthorized") && text.contains("token_file"), "{text}");
        }
    }
    for (line, status) in [
        ("GET /", 200),
        ("GET /metrics", 200),
        ("GET /live?once=true", 200),
        ("GET /none", 404),
        (drain, 200),
        ("POST /reload", 200),
    ] {
        assert_eq!(ask(&weir, line, &right).0, status, "{line}");
    }
    // The token is more than a browser's marks are less.
    let ready = "POST /pools/app/backends/0/ready";
    assert_eq!(ask(&weir, ready, &format!("{right}Origin: http://weir.internal\r\n")).0, 200);
}

#[test]
fn a_refusal_tells_a_program_which_scheme_to_use() {
    let backend = Backend::http(answers::text("one"));
    let token = TokenFile::new("scheme");
    let weir = Weir::start(&guarded(&backend, &token, "info"));
    let response = Client::connect(weir.address("admin"))
        .ask("GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!((response.status, response.field("WWW-Authenticate")), (401, Some("Bearer")));
}

fn ctl(admin: &str, token: Option<&Path>, arguments: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["ctl", "--admin", admin]).args(arguments.split_whitespace()).env_remove("WEIR_ADMIN");
    match token {
        Some(file) => command.env("WEIR_ADMIN_TOKEN_FILE", file),
        None => command.env_remove("WEIR_ADMIN_TOKEN_FILE"),
    };
    let (status, _, log) = Program::run(&mut command, Duration::from_secs(60));
    (status.code(), log)
}

#[test]
fn ctl_shows_the_token_and_says_what_is_missing_without_it() {
    let backend = Backend::http(answers::text("one"));
    let token = TokenFile::new("ctl");
    let weir = Weir::start(&guarded(&backend, &token, "info"));
    let port = weir.address("admin").to_string();
    let socket = format!("unix:{}", weir.dir().join("admin.sock").display());
    assert_eq!(ctl(&port, Some(&token.path()), "drain app 0"), (Some(0), String::new()));
    assert_eq!(ctl(&socket, None, "ready app 0"), (Some(0), String::new()), "the socket's rights decide");
    let (code, log) = ctl(&port, None, "backends");
    assert!(code == Some(1) && log.contains("shows no token") && log.contains("--token-file"), "{log}");
    let other = TokenFile::new("ctl-other");
    other.write("another-token-altogether");
    let (code, log) = ctl(&port, Some(&other.path()), "backends");
    assert!(code == Some(1) && log.contains("not show the right token"), "{log}");
    let (code, log) = ctl(&port, Some(Path::new("/nonexistent/token")), "backends");
    assert!(code == Some(2) && log.contains("/nonexistent/token"), "{log}");
}

#[test]
fn without_a_readable_token_weir_does_not_start_and_says_what_to_do() {
    let backend = Backend::http(answers::text("one"));
    let token = TokenFile::new("start");
    for (text, part) in [(None, "create it"), (Some("short"), "openssl rand -hex 32")] {
        match text {
            Some(text) => token.write(text),
            None => std::fs::remove_file(token.path()).unwrap(),
        }
        let mut weir = Weir::spawn(&guarded(&backend, &token, "info"));
        assert_eq!(weir.wait_exit(Duration::from_secs(20)).code(), Some(1));
        let log = weir.stderr();
        assert!(log.contains("admin.token_file") && log.contains(part), "{log}");
    }
}

#[test]
fn another_token_in_the_file_holds_without_a_restart() {
    let backend = Backend::http(answers::text("one"));
    let token = TokenFile::new("rotate");
    let weir = Weir::start(&guarded(&backend, &token, "info"));
    let with = |token: &str| ask(&weir, "GET /stats", &format!("Authorization: Bearer {token}\r\n")).0;
    assert_eq!(with(SECRET), 200);
    token.write("the-token-of-the-next-quarter");
    assert_eq!((with("the-token-of-the-next-quarter"), with(SECRET)), (200, 401));
    token.write("short");
    assert_eq!(with("the-token-of-the-next-quarter"), 200, "what is no token replaces none");
    wait_until("it is said", || weir.stderr().contains("the old one holds"));
}

#[test]
fn no_secret_gets_into_the_log_however_much_is_logged() {
    let backend = Backend::http(answers::text("one"));
    let token = TokenFile::new("log");
    let weir = Weir::start(&guarded(&backend, &token, "trace"));
    let right = format!("Authorization: Bearer {SECRET}\r\n");
    assert_eq!(ask(&weir, "GET /metrics", &right).0, 200);
    assert_eq!(ask(&weir, "POST /reload", &right).0, 200);
    assert_eq!(ask(&weir, "GET /metrics", "Authorization: Bearer a-guess-that-is-wrong\r\n").0, 401);
    let mut client = weir.client();
    let fields = "Authorization: Basic c2VjcmV0OnBhc3N3b3Jk\r\nCookie: session=5ec2e7c00k1e\r\n";
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    assert_eq!(client.ask(request("/?key=pa55phra5e")).status, 200);
    // Refused requests are what a log likes to quote.
    let refused = client.ask(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}Bad Name: x\r\n\r\n"));
    assert_eq!(refused.status, 400);
    weir.signal(Signal::SIGHUP);
    wait_until("both reloads are logged", || weir.stderr().matches("configuration loaded").count() == 2);
    let log = weir.stderr();
    for secret in [SECRET, "a-guess-that-is-wrong", "c2VjcmV0OnBhc3N3b3Jk", "5ec2e7c00k1e", "pa55phra5e"] {
        assert!(!log.contains(secret) && !refused.text().contains(secret), "{secret} in {log}");
    }
}
