//! The summary against a configuration with every part, and the samples.

use super::*;

const TEXT: &str = r#"
[runtime]
max_connections = 1000
on_shard_loss = "exit"
user = "root"
group = "4242"
watch = true
state_file = "/var/lib/weir/state.json"
[tracing]
otlp = "http://otel:4318"
[[listener]]
name = "web"
address = "127.0.0.1:8080"
pool = "app"
request_id = "X-Request-Id"
max_connections = 900
max_connections_per_client = 20
max_age = "1h"
max_requests = 1000
[[listener]]
name = "local"
address = "unix:/run/weir.sock"
forwarded = "off"
via = ""
trusted_proxies = ["10.0.0.0/8", "unix:", "fd00::1"]
[[route]]
listener = "web"
host = "*.example.org"
path = "/api"
pool = "api"
[[route]]
listener = "local"
pool = "api"
[pool.app]
policy = "ip_hash"
slow_start = "10s"
panic_below = 0.3
fallback = "api"
[pool.app.upstream]
max_connections = 50
max_age = "90s"
[pool.app.eject]
latency_factor = 5
[pool.app.retry]
attempts = 2
on = ["503", "connect"]
[[pool.app.backend]]
name = "a"
address = "10.0.0.1:80"
[[pool.app.backend]]
address = "app.internal:80"
weight = 3
backup = true
[pool.api]
retry.attempts = 0
[[pool.api.backend]]
address = "unix:/run/api.sock"
[pool.api.health]
type = "http"
path = "/up"
"#;

#[test]
fn the_summary_shows_every_part_as_weir_understands_it() {
    let config = config::parse(TEXT, "weir.toml").unwrap().config;
    let summary = summary(&config, &Loaded::default(), &[0, 1]);
    let squeezed: Vec<String> =
        summary.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for expected in [
        "web 127.0.0.1:8080 http, forwarded append, Via weir, trusts nobody, ids in X-Request-Id, \
         connections last 1h or 1000 requests",
        "1 % of traces, and those that a trusted proxy samples told to http://otel:4318/v1/traces",
        "local unix:/run/weir.sock http, forwarded off, no Via, trusts 10.0.0.0/8 fd00::1/128 unix:",
        "web *.example.org /api to api",
        "web all else to app",
        "local any host any path to api",
        "app ip_hash not checked, connections last 90s",
        "api least_conn checked by GET /up every 2s, up after 2 passed, down after 3 failed",
        "a 10.0.0.1:80 weight 1",
        "app.internal:80 app.internal:80 weight 3, backup",
        "app tried again 2 times on connect, 503, for 20 % of requests and 3 a second",
        "ejected for 10s and longer after 5 failures in a row or 50 % failed in 10s or 5 times the median \
         latency, at most 50 % of the pool",
        "slow start over 10s",
        "panic below 30 % healthy",
        "falls back to api",
        "api not tried again",
        "when one dies, weir drains and exits",
        "reloaded when the file changes, and on SIGHUP",
        "what is changed at run time is kept in /var/lib/weir/state.json",
        "127.0.0.1:9900 open to everybody on this host",
        "2 on cores 0-1",
        "becomes user root (0), group 4242 once it has bound its addresses",
        "clients 2000 connections",
        "web 900 connections with clients, 20 with each client",
        "app 50 connections to each backend",
        "api 2000 connections to each backend",
    ] {
        assert!(squeezed.iter().any(|line| line == expected), "{expected}\n{summary}");
    }
}

#[test]
fn the_process_stays_or_becomes_somebody_or_cannot() {
    let of = |user: &str| process(&Runtime { user: Some(user.to_owned()), ..Runtime::default() });
    assert_eq!(process(&Runtime::default()), "stays the user that starts it");
    assert_eq!(of("root"), "becomes user root (0), group 0 once it has bound its addresses");
    assert!(of("no-such-user").contains("cannot start here: runtime.user: "));
}

#[test]
fn the_samples_are_right_and_what_cannot_run_here_is_wrong() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for sample in ["minimal.toml", "demo.toml"] {
        assert_eq!(check(&samples.join(sample)), 0, "{sample}");
    }
    let file = std::env::temp_dir().join(format!("weir-check-{}.toml", std::process::id()));
    // Those that name certificates name files that are not here.
    let certificates = Certificates::new();
    for sample in ["production.toml", "tls.toml"] {
        let text = std::fs::read_to_string(samples.join(sample)).unwrap();
        std::fs::write(&file, &text).unwrap();
        assert_eq!(check(&file), WRONG, "{sample}: there are no certificates");
        std::fs::write(&file, certificates.instead_of_the_samples(&text)).unwrap();
        assert_eq!(check(&file), 0, "{sample}");
    }
    for (case, text) in [
        ("a core that is not there", TEXT.replace("[runtime]", "[runtime]\ncores = \"1023\"")),
        ("an unknown key", format!("{TEXT}\npaht = 1")),
    ] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(check(&file), WRONG, "{case}");
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn cores_are_listed_as_the_key_would_write_them() {
    for (cores, expected) in [
        (&[3][..], "1 on core 3"),
        (&[0, 1, 2], "3 on cores 0-2"),
        (&[0, 2], "2 on cores 0,2"),
        (&[0, 0], "2 on cores 0,0"),
    ] {
        assert_eq!(shards(cores), expected);
    }
}

#[test]
fn a_size_is_shown_in_the_unit_that_keeps_it_short() {
    for (bytes, expected) in
        [(512, "0.5 KiB"), (1 << 20, "1.0 MiB"), (220_725_248, "210.5 MiB"), (3 << 30, "3.0 GiB")]
    {
        assert_eq!(size(bytes), expected);
    }
}

#[test]
fn the_verdict_tells_a_good_kernel_from_a_better_and_from_none() {
    let kernel = |major, minor, patch| Ok(KernelVersion { major, minor, patch });
    assert!(verdict(&kernel(6, 18, 0)).ends_with("is good"));
    assert!(verdict(&kernel(6, 1, 0)).contains("6.12.21 or newer"));
    let refused = Err(RingRefused::SwitchedOff { level: 2 });
    assert!(verdict(&refused).contains("cannot run here"));
}

#[test]
fn columns_line_up_and_leave_no_blanks_at_the_end() {
    let row = |cells: [&str; 2]| cells.map(String::from).to_vec();
    assert_eq!(columns(&[row(["a", "b"]), row(["ccc", ""])]), "  a    b\n  ccc\n");
}

/// A file for each that a sample names in /etc/weir.
struct Certificates(std::path::PathBuf);

impl Certificates {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("weir-check-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["www.example.org".to_owned()]).unwrap();
        let key = signing_key.serialize_pem();
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2100, 1, 1),
            crl_number: rcgen::SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let issuer = rcgen::Issuer::new(rcgen::CertificateParams::default(), signing_key);
        let list = list.signed_by(&issuer).unwrap().pem().unwrap();
        for (name, text) in [("pem", cert.pem()), ("key", key), ("crl", list)] {
            std::fs::write(dir.join(format!("all.{name}")), text).unwrap();
        }
        Self(dir)
    }

    fn instead_of_the_samples(&self, text: &str) -> String {
        let path = |path: &str| {
            let kind = path.rsplit_once('.').filter(|_| path.starts_with("/etc/weir/")).map(|(_, kind)| kind);
            let here = kind.map(|kind| self.0.join(format!("all.{kind}"))).filter(|path| path.exists());
            here.map_or(path.to_owned(), |path| path.display().to_string())
        };
        // There is no response about the certificate that was just made.
        let text = text.replace(", ocsp = \"/etc/weir/site.ocsp\"", "");
        // A path has no quotes in it, so they stand around it.
        text.split('"').map(path).collect::<Vec<_>>().join("\"")
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // Left behind it would do no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn who_speaks_http_2_says_so_and_what_each_of_it_may_take() {
    let config = |listener: &str, upstream: &str| {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:1\"\npool = \"app\"\n{listener}\n[pool.app.upstream]\n{upstream}\n\
             [[pool.app.backend]]\naddress = \"127.0.0.1:2\"\n"
        );
        config::parse(&text, "weir.toml").unwrap().config
    };
    let (plain, h2) = (config("h2c = false", ""), config("", "protocol = \"h2\""));
    let told = summary(&h2, &Loaded::default(), &[0]);
    assert!(told.lines().any(|line| line.contains("least_conn") && line.ends_with("HTTP/2")), "{told}");
    assert!(!summary(&plain, &Loaded::default(), &[0]).contains("  HTTP/2"));
    // Told for each, and not times all that there may be.
    assert_eq!(config::worst_case_memory_bytes(&h2, 1), config::worst_case_memory_bytes(&plain, 1));
    for row in [
        "22.4 MiB more for a client's connection whose 128 requests and their bodies all wait",
        "128.0 KiB more for an exchange with app while its client or the backend does not read",
    ] {
        assert!(told.lines().any(|line| line == format!("  HTTP/2   {row}")), "{row:?} is not in\n{told}");
    }
    let few = config("http2 = { max_streams = 8 }", "");
    assert!(
        config::http2_connection_bytes(&few.listeners[0]) < config::http2_connection_bytes(&h2.listeners[0])
    );
    assert_eq!(config::http2_connection_bytes(&plain.listeners[0]), None);
}

#[test]
fn a_listener_says_what_it_has_of_http_2_beyond_the_defaults() {
    let shown = |keys: &str| {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:1\"\npool = \"app\"\n{keys}\n[[pool.app.backend]]\n\
             address = \"127.0.0.1:2\"\n"
        );
        summary(&config::parse(&text, "weir.toml").unwrap().config, &Loaded::default(), &[0])
    };
    let ends = |shown: String, end: &str| shown.lines().any(|line| line.ends_with(end));
    assert!(ends(shown(""), "trusts nobody"));
    assert!(ends(shown("h2c = false"), "trusts nobody, no HTTP/2"));
    let streams = shown("http2 = { max_streams = 64 }");
    assert!(ends(streams, "trusts nobody, 64 streams on an HTTP/2 connection"));
}
