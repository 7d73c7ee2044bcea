//! What the judges look at: weir with certificates of a test's authority in front of a backend.

use crate::harness::{Authority, Backend, Issued, Key, Program, Weir, answers, one_pool, require};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Longest that one run of a program may take that ends at once on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What the backend answers.
pub(crate) const BODY: &str = "hello from the backend\n";

/// weir with TLS, its backend, and who issued its certificates.
pub(crate) struct Scene {
    pub(crate) authority: Authority,
    pub(crate) backend: Backend,
    pub(crate) weir: Weir,
}

impl Scene {
    /// One certificate, for localhost; `tls` are further lines of `[listener.tls]`.
    pub(crate) fn start(tls: &str) -> Self {
        let authority = Authority::new();
        let site = authority.server("site", &["localhost", "127.0.0.1"], Key::Ecdsa);
        Self::with(authority, &[&site], tls)
    }

    /// As `start`, with these certificates.
    pub(crate) fn with(authority: Authority, certificates: &[&Issued], tls: &str) -> Self {
        let backend = Backend::http(answers::text(BODY));
        let weir = Weir::start(&one_pool(&[&backend], &listener(certificates, tls), ""));
        Self { authority, backend, weir }
    }

    pub(crate) fn port(&self) -> u16 {
        self.weir.port("web")
    }

    /// The page's address.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}/", self.port())
    }

    /// What `openssl s_client` says of a connection with these arguments on which the page is asked for in
    /// HTTP/1.1. `None`: there is no openssl.
    pub(crate) fn s_client(&self, arguments: &str) -> Option<String> {
        require("openssl")?;
        let (port, ca) = (self.port(), self.authority.cert());
        let command = format!(
            "printf 'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' | \
             openssl s_client -connect 127.0.0.1:{port} -CAfile {} -verify_return_error -ign_eof {arguments} 2>&1",
            ca.display()
        );
        Some(shell(&command))
    }
}

/// What a command of the shell writes to stdout, however it ends.
pub(crate) fn shell(command: &str) -> String {
    let (_, out, complaints) = Program::run(Command::new("sh").args(["-c", command]), PATIENCE);
    println!("$ {command}\n{out}{complaints}");
    out
}

/// The listener's TLS, for `one_pool`.
pub(crate) fn listener(certificates: &[&Issued], tls: &str) -> String {
    let entries: Vec<String> = certificates.iter().map(|issued| issued.entry()).collect();
    format!("[listener.tls]\ncertificates = [{}]\n{tls}\n", entries.join(", "))
}

/// The Python that has the judges' packages; `None`: there is none here.
pub(crate) fn python(package: &str) -> Option<String> {
    let python = match std::env::var("WEIR_JUDGES_PYTHON") {
        Ok(python) => python,
        // Where the gate puts it.
        Err(_) => match concat!(env!("CARGO_MANIFEST_DIR"), "/target/judges/bin/python3") {
            python if Path::new(python).exists() => python.to_owned(),
            _ => require("python3")?.display().to_string(),
        },
    };
    let mut asked = Command::new(&python);
    asked.args(["-c", &format!("import {package}")]);
    let (status, _, why) = Program::run(&mut asked, PATIENCE);
    if !status.success() {
        assert!(std::env::var("WEIR_TESTS").as_deref() != Ok("all"), "no {package}: {why}");
        println!("skipped: {python} has no {package} (WEIR_JUDGES_PYTHON names another Python)");
        return None;
    }
    Some(python)
}
