//! `weir ctl` from its arguments to its exit code: what it shows, what it refuses, what it says to do.

use crate::harness::{Backend, Client, Program, Weir, answers, free_port, one_pool, wait_until};
use crate::pool_of;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// How `weir ctl` ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) log: String,
}

impl Ended {
    /// What it wrote, as JSON.
    pub(crate) fn page(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts that it did what it was asked for.
    pub(crate) fn done(self) -> Self {
        assert_eq!((self.code, self.log.as_str()), (Some(0), ""), "{self:?}");
        self
    }
}

/// Runs `weir ctl` against this address; arguments are separated by blanks.
fn ctl_at(admin: &str, arguments: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["ctl", "--admin", admin]).args(arguments.split_whitespace()).env_remove("WEIR_ADMIN");
    let (status, out, log) = Program::run(&mut command, Duration::from_secs(60));
    Ended { code: status.code(), out, log }
}

/// Runs `weir ctl` against this weir.
pub(crate) fn ctl(weir: &Weir, arguments: &str) -> Ended {
    ctl_at(&weir.address("admin").to_string(), arguments)
}

/// A request to the admin surface as any client may send it; the status, a field and the body.
pub(crate) fn ask(weir: &Weir, line: &str, body: &str) -> (u16, Option<String>, Value) {
    let address = weir.address("admin");
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let response = Client::connect(address).ask(format!(
        "{line} HTTP/1.1\r\nHost: {address}\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let allow = response.field("Allow").or(response.field("Location")).map(String::from);
    (response.status, allow, serde_json::from_str(&response.text()).unwrap_or(Value::Null))
}

#[test]
fn it_shows_backends_shards_and_totals_as_tables_and_as_json() {
    let (one, two) = (Backend::http(answers::text("one")), Backend::http(answers::text("two")));
    let weir = Weir::start(&pool_of("0,0", &[(&one, "weight = 7"), (&two, "backup = true")], ""));
    let mut client = weir.client();
    (0..5).for_each(|_| assert_eq!(client.get("/").status, 200));
    let table = ctl(&weir, "backends").done().out;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("POOL  NAME  ADDRESS"), "{table}");
    for (line, parts) in lines[1..].iter().zip([
        ["app", one.address().as_str(), "no_check", " 7 ", " 5 "],
        ["app", two.address().as_str(), "no_check", " backup 1 ", " 0 "],
    ]) {
        assert!(parts.iter().all(|part| line.contains(part)), "{parts:?} in {line}");
    }
    let state = lines[0].find("STATE").unwrap();
    assert!(lines[1..].iter().all(|line| line[state..].starts_with("no_check")), "{table}");

    let table = ctl(&weir, "shards").done().out;
    assert!(table.lines().count() == 3 && table.matches("serving").count() == 2, "{table}");
    let shards = ctl(&weir, "shards --json").done().page();
    let sum = |name: &str| -> u64 {
        shards["shards"].as_array().unwrap().iter().map(|shard| shard[name].as_u64().unwrap()).sum()
    };
    assert_eq!((sum("connections"), sum("accepted"), sum("in_flight")), (1, 1, 0));
    assert_eq!(shards["degraded"], false);

    let text = ctl(&weir, "stats").done().out;
    for part in ["2 of 2 shards serve", "requests    5   2xx 5\n", "refusals    0\n", "first byte", "app "] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let stats = ctl(&weir, "stats --json").done().page();
    assert_eq!((&stats["requests"], &stats["classes"]["2xx"]), (&5.into(), &5.into()));
    assert!(stats["phases"]["whole"]["p50_us"].as_u64().is_some_and(|us| us > 0), "{stats}");
    assert_eq!(stats["pools"][0]["backends"], 2);
}

#[test]
fn the_totals_count_failures_and_refusals_by_their_kinds() {
    let weir = Weir::start(&format!(
        "[runtime]\ncores = 1\n[[listener]]\naddress = \"127.0.0.1:{{web}}\"\npool = \"app\"\n\
         [pool.app]\n[[pool.app.backend]]\naddress = \"127.0.0.1:{}\"\n",
        free_port()
    ));
    assert_eq!(weir.client().get("/").status, 502);
    let stats = ctl(&weir, "stats --json").done().page();
    assert!(stats["failures"]["connect"].as_u64().is_some_and(|count| count >= 1), "{stats}");
    assert_eq!(stats["refusals"][0]["cause"], "upstream_failed");
    assert_eq!((&stats["refusals"][0]["status"], &stats["refusals"][0]["count"]), (&502.into(), &1.into()));
    let text = ctl(&weir, "stats").done().out;
    assert!(text.contains("refusals    1   upstream_failed (502) 1\n"), "{text}");
}

#[test]
fn who_cannot_be_reached_exits_with_3_and_says_what_to_do() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let stranger = Backend::http(answers::text("hello"));
    let mute = Backend::raw(|wire, _| drop(wire));
    for (admin, parts) in [
        (nobody.clone(), ["cannot connect", nobody.as_str(), "--admin ADDR"]),
        ("unix:/nonexistent/admin.sock".to_owned(), ["cannot connect", "unix:/nonexistent", "admin.listen"]),
        (stranger.address(), ["not the admin surface", "status 200", "WEIR_ADMIN"]),
        (mute.address(), ["ended before an answer came", "ask again", ""]),
    ] {
        for arguments in ["backends", "drain app 0", "reload"] {
            let ended = ctl_at(&admin, arguments);
            assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""), "{admin} {arguments}: {ended:?}");
            assert!(parts.iter().all(|part| ended.log.contains(part)), "{admin}: {ended:?}");
            assert!(ended.log.lines().all(|line| line.starts_with("weir: ")), "{ended:?}");
        }
    }
}

#[test]
fn wrong_arguments_exit_with_2_before_anybody_is_asked() {
    let asked = Backend::http(answers::text("{}"));
    for arguments in [
        "",
        "restart",
        "add app",
        "remove app",
        "weight app 0",
        "weight app 0 0",
        "weight app 0 257",
        "weight app 0 -3",
        "add app 127.0.0.1:1 --weight 1000",
        "reload now",
        "backends --dry-run",
        "remove app 0 --wait",
    ] {
        let ended = ctl_at(&asked.address(), arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
    }
    for admin in ["9900", "http://127.0.0.1:9900", "unix:", "127.0.0.1"] {
        let ended = ctl_at(admin, "backends");
        assert_eq!(ended.code, Some(2), "{admin}: {ended:?}");
        assert!(ended.log.contains("127.0.0.1:9900"), "{ended:?}");
    }
    assert_eq!(asked.connections(), 0);
}

#[test]
fn what_weir_refuses_exits_with_1_and_names_what_there_is() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let taken = format!("add app {} --name 0", backend.address());
    for (arguments, code, parts) in [
        ("drain ap 0", "no_pool", ["\"ap\"", "did you mean \"app\"?"]),
        ("drain other 0", "no_pool", ["\"other\"", "there are \"app\""]),
        ("remove app 1", "no_backend", ["\"app\" has no backend \"1\"", "\"0\""]),
        ("weight app zero 5", "no_backend", ["\"zero\"", "\"0\""]),
        ("ready app 0/drain", "no_backend", ["\"0/drain\"", "\"0\""]),
        ("add other 127.0.0.1:1", "no_pool", ["\"other\"", "\"app\""]),
        ("add app 127.0.0.1", "bad_request", ["127.0.0.1", "8080"]),
        ("add app http://127.0.0.1:1/", "bad_request", ["URL", "127.0.0.1:1"]),
        (&taken, "name_taken", ["\"0\" already", "another name"]),
    ] {
        let ended = ctl(&weir, &format!("{arguments} --json"));
        assert_eq!(ended.code, Some(1), "{arguments}: {ended:?}");
        assert_eq!(ended.page()["code"], code, "{arguments}");
        assert!(parts.iter().all(|part| ended.log.contains(part)), "{arguments}: {ended:?}");
    }
    assert_eq!(crate::backends(&weir).len(), 1);
    assert_eq!(weir.client().get("/").status, 200);
}

#[test]
fn it_finds_the_unix_socket_by_argument_and_by_environment() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(
        &(one_pool(&[&backend], "", "")
            + "[admin]\nlisten = [\"127.0.0.1:{admin}\", \"unix:{dir}/admin.sock\"]\n"),
    );
    let socket = format!("unix:{}/admin.sock", weir.dir().display());
    assert_eq!(ctl_at(&socket, "weight app 0 9 --json").done().page()["backend"]["weight"], 9);
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["ctl", "backends", "--json"]).env("WEIR_ADMIN", &socket);
    let (status, out, log) = Program::run(&mut command, Duration::from_secs(20));
    assert_eq!((status.code(), log.as_str()), (Some(0), ""));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["backends"][0]["weight"], 9);
}

#[test]
fn every_path_says_which_methods_it_has_and_a_new_backend_where_it_is() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    for (line, allow) in [
        ("POST /stats", "GET, HEAD"),
        ("DELETE /shards", "GET, HEAD"),
        ("GET /reload", "POST"),
        ("GET /pools/app/backends", "POST"),
        ("POST /pools/app/backends/0", "DELETE"),
        ("POST /pools/app/backends/0/weight", "PUT"),
        ("PUT /pools/app/backends/0/drain", "POST"),
    ] {
        let (status, found, problem) = ask(&weir, line, "");
        assert_eq!((status, found.as_deref()), (405, Some(allow)), "{line}: {problem}");
    }
    let body = format!("{{\"address\": \"{}\", \"name\": \"the new one/π\"}}", backend.address());
    let (status, location, page) = ask(&weir, "POST /pools/app/backends", &body);
    assert_eq!((status, &page["backend"]["name"]), (201, &"the new one/π".into()), "{page}");
    let path = location.unwrap();
    assert_eq!(path, "/pools/app/backends/the%20new%20one%2F%CF%80");
    let (status, _, page) = ask(&weir, &format!("DELETE {path}"), "");
    assert_eq!(status, 200, "{page}");
    wait_until("it is gone", || crate::backends(&weir).len() == 1);
}

#[test]
fn a_bad_file_reloads_with_2_its_faults_listed_and_nothing_changed_and_a_good_one_with_0() {
    let (one, two) = (Backend::http(answers::text("one")), Backend::http(answers::text("two")));
    let weir = Weir::start(&pool_of("0,0", &[(&one, "")], ""));
    let file = weir.dir().join("weir.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let same = ctl(&weir, "reload --json").done().page();
    assert_eq!(same["changes"].as_array().map(Vec::len), Some(0), "{same}");
    let generation = weir.metric("weir_config_generation", &[]);

    let bad = good.replace("name = \"0\"", "name = \"0\"\nweight = 300\ncolour = 1");
    std::fs::write(&file, bad).unwrap();
    let ended = ctl(&weir, "reload");
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
    for part in ["nothing was changed", "weir.toml:", "pool.app.backend[0].weight: 300", "colour"] {
        assert!(ended.log.contains(part), "{part:?} is not in {}", ended.log);
    }
    assert_eq!(ended.log.lines().count(), 3, "a line for each fault: {ended:?}");
    assert_eq!(weir.metric("weir_config_last_reload_success", &[]), 0.0);
    assert_eq!(weir.metric("weir_config_generation", &[]), generation);
    let stats = ctl(&weir, "stats").done().out;
    assert!(stats.contains("the last reload was refused") && stats.contains("weight: 300"), "{stats}");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(ctl(&weir, "reload").code, Some(2), "no file at all");
    assert_eq!(weir.client().get("/").text(), "one");

    let address = two.address();
    std::fs::write(&file, good + &format!("[[pool.app.backend]]\nname = \"1\"\naddress = \"{address}\"\n"))
        .unwrap();
    let text = ctl(&weir, "reload").done().out;
    assert!(text.contains('1') && text.contains("hash "), "{text}");
    assert_eq!(weir.metric("weir_config_last_reload_success", &[]), 1.0);
    assert_eq!(crate::backends(&weir).len(), 2);
    let mut client = weir.client();
    wait_until("both answer", || (0..4).map(|_| client.get("/").text()).any(|text| text == "two"));
}
