//! The metrics page, judged by other programs: Prometheus's own `promtool`, and the OpenMetrics parser of its
//! Python client. And what is on it: by pool, of backends that left, of nobody's choosing.

use crate::exposition::Page;
use crate::harness::{
    Backend, Client, Load, Program, Response, Socket, Weir, Wire, answers, free_port, require, wait_until,
    wait_up_to,
};
use crate::pool_of;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use weir::metrics::declared::{ALL, Kind, NOT_BY_POOL};

/// How long another program may take for a page.
const LOOK: Duration = Duration::from_secs(60);

const OPENMETRICS: &str =
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// Two backends that are checked, behind two shards.
fn site(backends: &[Backend]) -> Weir {
    let all: Vec<_> = backends.iter().map(|backend| (backend, "")).collect();
    let pool = "policy = \"round_robin\"\n[pool.app.health]\ninterval = \"50ms\"\ntimeout = \"20s\"\n";
    let weir = Weir::start(&pool_of("0,1", &all, pool));
    weir.wait_metric("weir_pool_usable", &[], backends.len() as f64);
    weir
}

fn two() -> [Backend; 2] {
    [Backend::http(answers::text("ok")), Backend::http(answers::text("ok"))]
}

fn open(weir: &Weir, path: &str) -> Response {
    weir.ask_admin(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {OPENMETRICS}\r\n\r\n"))
}

/// What `command` makes of `page`, which it reads from its standard input.
///
/// # Panics
/// It finds fault with it.
fn judged(weir: &Weir, command: &str, arguments: &[&str], page: &str) -> String {
    let file = weir.dir().join("page.txt");
    std::fs::write(&file, page).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" <page.txt", command]).args(arguments).current_dir(weir.dir());
    let (status, out, log) = Program::run(&mut shell, LOOK);
    assert!(status.success() && log.is_empty(), "{command}: {status}\n{out}{log}\n{page}");
    out
}

/// A Python that has the parser: the one that is first in the path, or the distribution's own.
fn python() -> Option<PathBuf> {
    let has_it = |python: &PathBuf| {
        let mut import = Command::new(python);
        let import = import.args(["-c", "import prometheus_client.openmetrics.parser"]);
        Program::run(import, LOOK).0.success()
    };
    let found = [require("python3")?, "/usr/bin/python3".into()]
        .into_iter()
        .filter(|python| python.is_file())
        .find(has_it);
    if found.is_none() {
        assert!(
            std::env::var("WEIR_TESTS").as_deref() != Ok("all"),
            "python3-prometheus-client is not installed"
        );
        println!("skipped: python3-prometheus-client is not installed");
    }
    found
}

/// Reads a page as OpenMetrics and prints each family with its kind and unit.
const READ: &str = r"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    print(family.name, family.type, family.unit or '-', len(family.samples))
";

#[test]
fn promtool_finds_no_fault_with_a_page_under_load() {
    let Some(promtool) = require("promtool") else { return };
    let backends = two();
    let weir = site(&backends);
    let load = Load::get(weir.address("web"), 4, "/");
    wait_until("there is something to count", || load.counts().ok > 100);
    for path in ["/metrics", "/metrics?level=pool"] {
        let page = weir.admin(path).text();
        judged(&weir, promtool.to_str().unwrap(), &["check", "metrics"], &page);
    }
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost), (0, 0));
}

#[test]
fn the_openmetrics_parser_of_prometheus_reads_every_family_of_a_page_under_load() {
    let Some(python) = python() else { return };
    let backends = two();
    let weir = site(&backends);
    let load = Load::get(weir.address("web"), 4, "/");
    wait_until("there is something to count", || load.counts().ok > 100);
    for (path, by_pool) in [("/metrics", false), ("/metrics?level=pool", true)] {
        let response = open(&weir, path);
        let kind = response.field("Content-Type").unwrap();
        assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
        let read = judged(&weir, python.to_str().unwrap(), &["-c", READ], &response.text());
        let shown = ALL.iter().filter(|declared| !by_pool || !NOT_BY_POOL.contains(declared));
        for declared in shown.clone() {
            let family = declared.name.strip_suffix("_total").unwrap_or(declared.name);
            let (kind, unit) = (declared.kind.label(), declared.unit.label().unwrap_or("-"));
            let line = format!("{family} {kind} {unit} ");
            assert!(read.lines().any(|found| found.starts_with(&line)), "no {line} in\n{read}");
        }
        assert_eq!(read.lines().count(), shown.count(), "{path}: as many as are declared");
    }
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost), (0, 0));
}

#[test]
fn both_forms_say_the_same_of_what_does_not_change() {
    let backends = two();
    let weir = site(&backends);
    for _ in 0..10 {
        assert_eq!(weir.client().get("/").status, 200);
    }
    wait_until("the last is told of", || weir.metric("weir_connections", &[]) == 0.0);
    let (text, open) = (weir.admin("/metrics").text(), open(&weir, "/metrics").text());
    for name in
        ["weir_requests_total", "weir_backend_state", "weir_connections_accepted_total", "weir_build_info"]
    {
        let samples = |page: &str| -> Vec<String> {
            page.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
        };
        assert!(!samples(&text).is_empty(), "{name}");
        assert_eq!(samples(&text), samples(&open));
    }
    assert!(open.ends_with("\n# EOF\n") && !text.contains("# EOF"));
}

#[test]
fn a_removed_backends_series_leave_and_its_pools_sums_do_not_shrink() {
    let backends = two();
    let weir = site(&backends);
    let mut client = weir.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 200);
    }
    let read = |path: &str| Page::read(&weir.admin(path).text());
    let by_pool = |name: &str| read("/metrics?level=pool").sum(name, &[("pool", "app")]);
    let recorded = ["weir_requests_total", "weir_upstream_connects_total", "weir_phase_seconds_count"];
    wait_until("all are counted", || by_pool("weir_requests_total") == 20.0);
    let counted: Vec<f64> = recorded.iter().map(|name| by_pool(name)).collect();
    let transitions = by_pool("weir_backend_transitions_total");
    assert!(counted.iter().all(|count| *count >= 2.0) && transitions >= 2.0, "{counted:?} {transitions}");
    assert!(read("/metrics").sum("weir_requests_total", &[("backend", "1")]) > 0.0);
    assert_eq!(weir.try_admin("DELETE", "/pools/app/backends/1").unwrap().status, 200);
    let page = weir.admin("/metrics").text();
    assert!(!page.contains("backend=\"1\"") && page.contains("backend=\"0\""), "{page}");
    let holds = || {
        let now: Vec<f64> = recorded.iter().map(|name| by_pool(name)).collect();
        assert_eq!(now, counted, "of what shards recorded");
        assert!(by_pool("weir_backend_transitions_total") >= transitions);
    };
    // After a round of statistics, such as each look is, its number is free.
    for _ in 0..20 {
        holds();
        std::thread::sleep(Duration::from_millis(50));
    }
    // It goes to the next that comes.
    let body = format!("{{\"address\": \"{}\", \"name\": \"next\"}}", backends[1].address());
    let added = weir.ask_admin(&format!(
        "POST /pools/app/backends HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(added.status, 201, "{}", added.text());
    holds();
    let next = read("/metrics").sum("weir_requests_total", &[("backend", "next")]);
    assert_eq!(next, 0.0, "it has nothing of the one before");
}

#[test]
fn nothing_that_a_client_chooses_is_in_the_metrics() {
    let backends = two();
    let weir = site(&backends);
    let mut client = weir.client();
    client
        .ask("GET /chosen-path?chosen-query HTTP/1.1\r\nHost: chosen-host\r\nX-Chosen: chosen-value\r\n\r\n");
    client.ask("CHOSEN /chosen-path HTTP/1.1\r\nHost: chosen-host\r\n\r\n");
    weir.client().send("GET /chosen path HTTP/1.1\r\nHost: chosen-host\r\n\r\n");
    wait_until("it is counted", || weir.metric("weir_requests_total", &[]) >= 2.0);
    let page = weir.admin("/metrics").text().to_lowercase();
    assert!(!page.contains("chosen"), "{page}");
    for declared in ALL {
        for label in declared.labels {
            assert!(!["path", "host", "method", "client", "url"].contains(label), "{}", declared.name);
        }
    }
}

#[test]
fn a_level_that_is_not_known_is_refused_and_says_which_are() {
    let backends = two();
    let weir = site(&backends);
    let refused = weir.admin("/metrics?level=shard");
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("level=pool"), "{}", refused.text());
}

#[test]
fn the_process_figures_are_those_of_the_process() {
    let backends = two();
    let weir = site(&backends);
    let page = Page::read(&weir.admin("/metrics").text());
    let figure = |name: &str| page.sum(name, &[]);
    let resident = figure("process_resident_memory_bytes") / weir.resident() as f64;
    assert!((0.7..1.4).contains(&resident), "{resident} of what the kernel says");
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", weir.pid())).unwrap().count() as f64;
    let open = figure("process_open_fds");
    assert!((descriptors - 8.0..descriptors + 8.0).contains(&open), "{open} and {descriptors}");
    assert!(figure("process_max_fds") >= open);
    assert!(figure("process_cpu_seconds_total") > 0.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let (started, uptime) = (figure("process_start_time_seconds"), figure("weir_uptime_seconds"));
    assert!((now - started - uptime).abs() < 5.0, "began at {started}, {uptime} s before {now}");
    assert_eq!(page.kinds.values().filter(|kind| *kind == "histogram").count(), histograms());
}

fn histograms() -> usize {
    ALL.iter().filter(|declared| declared.kind == Kind::Histogram).count()
}

/// Prometheus itself, scraping `weir` once a second; and where it answers.
fn prometheus(binary: PathBuf, weir: &Weir) -> (Program, std::net::SocketAddr) {
    let config = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
         rule_files: [{}/config/alerts.yaml]\n\
         scrape_configs:\n  - job_name: weir\n    static_configs: [{{ targets: [\"{}\"] }}]\n",
        env!("CARGO_MANIFEST_DIR"),
        weir.address("admin"),
    );
    std::fs::write(weir.dir().join("prometheus.yaml"), config).unwrap();
    let address = (std::net::Ipv4Addr::LOCALHOST, free_port()).into();
    let mut command = Command::new(binary);
    command.current_dir(weir.dir()).args(["--config.file=prometheus.yaml", "--storage.tsdb.path=tsdb"]);
    (Program::spawn(command.arg(format!("--web.listen-address={address}"))), address)
}

#[test]
fn prometheus_itself_scrapes_and_the_dashboards_expressions_have_answers_there() {
    let Some(binary) = require("prometheus") else { return };
    let backends = two();
    let weir = site(&backends);
    let load = Load::get(weir.address("web"), 2, "/");
    let (server, address) = prometheus(binary, &weir);
    let api = |path: &str| -> Option<serde_json::Value> {
        let socket = std::net::TcpStream::connect(address).ok()?;
        let mut client = Client { wire: Wire::new(Socket::Tcp(socket), LOOK) };
        let response =
            client.ask(format!("GET /api/v1/{path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
        serde_json::from_str(&response.text()).ok()
    };
    let query = |expression: &str| -> Vec<serde_json::Value> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = api(&format!("query?query={encoded}")).expect("Prometheus answers");
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    };
    wait_up_to(LOOK, "Prometheus has scraped a while", || {
        api("query?query=count_over_time(up[1m])").is_some_and(|answer| {
            let count = answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned);
            count.is_some_and(|count| count.parse::<f64>().unwrap() > 5.0)
        })
    });
    let targets = api("targets").unwrap();
    let target = &targets["data"]["activeTargets"][0];
    assert_eq!((&target["health"], &target["lastError"]), (&"up".into(), &"".into()), "{}", server.stderr());
    let mut silent = Vec::new();
    for expression in crate::reference::expressions() {
        let expression = expression.replace("[5m]", "[1m]");
        if query(&expression).is_empty() && !expression.contains("> 0") {
            silent.push(expression);
        }
    }
    // What has not happened or is not there: a failover, a call of gRPC, a certificate.
    let absent = ["weir_failover_last_seconds", "weir_grpc_calls_total", "weir_tls_certificate_days_left"];
    silent.retain(|expression| !absent.iter().any(|absent| expression.contains(absent)));
    assert!(silent.is_empty(), "nothing answers {silent:#?}");
    let alerts = query("ALERTS{alertstate=\"firing\"}");
    assert!(alerts.is_empty(), "{alerts:?}");
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost), (0, 0));
}
