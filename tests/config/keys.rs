//! Keys that nobody knows, keys that are not built yet, TOML that is none, many faults at once, warnings.

use super::*;

#[test]
fn an_unknown_key_is_a_fault_with_the_nearest_known_one() {
    let pool = |rest: &str| format!("[pool.rest]\n{rest}");
    each_is_one_fault(&[
        ("[runtme]", 1, "runtme", "unknown key", "did you mean runtime?"),
        ("[runtime]\ngarce = \"1s\"", 2, "runtime.garce", "unknown key", "did you mean grace?"),
        ("[runtime]\nwotch = false", 2, "runtime.wotch", "unknown key", "did you mean watch?"),
        ("[runtime]\nthreads = 4", 2, "runtime.threads", "unknown key", "known here: cores, spin, sync, "),
        ("[log]\nfile = \"x\"", 2, "log.file", "unknown key", "known here: level, format"),
        ("[admin]\nlisen = []", 2, "admin.lisen", "unknown key", "did you mean listen?"),
        ("[access_log]\nfromat = \"off\"", 2, "access_log.fromat", "unknown key", "did you mean format?"),
        ("[[route]]\npool = \"rest\"\npaht = \"/\"", 3, "route[0].paht", "unknown key", "did you mean path?"),
        (
            "[[listener]]\naddress = \"[::1]:1\"\npool = \"rest\"\nadress = 1",
            4,
            "listener[0].adress",
            "unknown key",
            "did you mean address?",
        ),
        (&pool("polcy = 1"), 2, "pool.rest.polcy", "unknown key", "did you mean policy?"),
        (&pool("backends = []"), 2, "pool.rest.backends", "unknown key", "did you mean backend?"),
        (&pool("[pool.rest.timeout]"), 2, "pool.rest.timeout", "unknown key", "did you mean timeouts?"),
        (
            &pool("timeouts.conect = 1"),
            2,
            "pool.rest.timeouts.conect",
            "unknown key",
            "did you mean connect?",
        ),
        (&pool("upstream.idle = 1"), 2, "pool.rest.upstream.idle", "unknown key", "known here: protocol, "),
        (&pool("retry.atempts = 1"), 2, "pool.rest.retry.atempts", "unknown key", "did you mean attempts?"),
        (&pool("retry.onn = []"), 2, "pool.rest.retry.onn", "unknown key", "did you mean on?"),
        (&pool("eject.windw = 1"), 2, "pool.rest.eject.windw", "unknown key", "did you mean window?"),
        (&pool("falback = 1"), 2, "pool.rest.falback", "unknown key", "did you mean fallback?"),
        (&pool("health.\"a b\" = 1"), 2, "pool.rest.health.\"a b\"", "unknown key", "known here: type, "),
        (
            &pool("[[pool.rest.backend]]\naddress = \"h:1\"\nwieght = 1"),
            4,
            "pool.rest.backend[0].wieght",
            "unknown key",
            "did you mean weight?",
        ),
    ]);
}

/// Section header, key, a value that asks for it, a value that leaves it off (none: there is no such).
const NOT_BUILT: &[(&str, &str, &str, Option<&str>)] = &[
    ("[[listener]]", "proxy_protocol", "\"required\"", Some("\"off\"")),
    ("[[listener]]", "requests_per_s_per_client", "1", Some("0")),
    ("[[listener]]", "limit_key", "\"header:X\"", Some("\"client\"")),
    ("[[route]]", "timeouts", "{}", None),
    ("[pool.app]", "hash_on", "\"path\"", Some("\"client\"")),
    ("[pool.app]", "max_in_flight", "1", Some("0")),
    ("[pool.app]", "max_queue", "1", Some("0")),
    ("[pool.app]", "queue_timeout", "\"2s\"", Some("\"1000ms\"")),
    ("[pool.app]", "adaptive_limit", "{}", None),
    ("[pool.app]", "sticky", "{}", None),
    ("[pool.app.upstream]", "proxy_protocol", "\"v2\"", Some("\"off\"")),
];

/// A file that has every section, with one line more below `header` (or at the top).
fn with_line(header: &str, line: &str) -> String {
    let text = "[runtime]\n[admin]\n[access_log]\n[[listener]]\naddress = \"127.0.0.1:1\"\npool = \"app\"\n\
                [[route]]\npath = \"/x\"\npool = \"app\"\n[pool.app]\n[[pool.app.backend]]\n\
                address = \"127.0.0.1:2\"\n[pool.app.upstream]\n";
    match header {
        "" => format!("{line}\n{text}"),
        header => text.replacen(&format!("{header}\n"), &format!("{header}\n{line}\n"), 1),
    }
}

#[test]
fn what_is_not_built_yet_is_never_silently_accepted() {
    for (header, key, on, off) in NOT_BUILT {
        let text = with_line(header, &format!("{key} = {on}"));
        let found = faults(&text);
        let [fault] = found.as_slice() else { panic!("{found:#?}\n---\n{text}") };
        assert_eq!(fault.wrong, "not built yet in this version of weir", "{fault}");
        assert!(fault.key.ends_with(key), "{fault}");
        assert!(text.lines().nth(fault.line - 1).unwrap().starts_with(key), "{fault}\n---\n{text}");
        if let Some(off) = off {
            assert_eq!(config(&with_line(header, &format!("{key} = {off}"))), config(&with_line(header, "")));
        }
    }
}

#[test]
fn words_that_are_not_built_yet_are_faults_with_those_that_are() {
    for (header, line, key, remedy) in [
        ("[[listener]]", "protocol = \"tcp\"", "listener[0].protocol", "use \"http\""),
        ("[pool.app]", "policy = \"maglev\"", "pool.app.policy", "\"ip_hash\" or \"random_two\""),
        ("[pool.app]", "policy = \"peak_ewma\"", "pool.app.policy", "\"ip_hash\" or \"random_two\""),
    ] {
        let text = with_line(header, line);
        let at = text.lines().position(|l| l == line).unwrap() + 1;
        one(&faults(&text), (&text, at, key, "is not built yet in this version of weir", remedy));
    }
}

#[test]
fn toml_that_is_none_stops_at_its_first_fault_with_line_and_column() {
    for (text, line, column, wrong, remedy) in [
        ("[runtime]\ngrace = 5s\nspin = 3x", 2, 9, "quoted", "write \"5s\", with the quotes"),
        ("[[listener]]\naddress = 127.0.0.1:80", 2, 0, "", ""),
        ("[runtime]\n[runtime]", 2, 2, "duplicate key", "\"runtime\" stands here for the second time"),
        ("[pool.a]\n[pool.a]", 2, 7, "duplicate key", "\"a\" stands here for the second time"),
        ("a = \"ü\" b\n", 1, 9, "", "toml.io"),
        ("\r\n\r\n[log\r\nlevel = 3", 3, 5, "unclosed table", "toml.io"),
    ] {
        let found = faults(text);
        let [fault] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!((fault.line, fault.key.as_str()), (line, ""), "{fault}");
        if column > 0 {
            assert_eq!(fault.column, Some(column), "{fault}");
        }
        assert!(fault.wrong.contains(wrong) && fault.remedy.contains(remedy), "{fault}");
        assert!(fault.to_string().starts_with(&format!("weir.toml:{line}:")), "{fault}");
    }
}

#[test]
fn all_faults_come_at_once_one_a_line_in_line_order() {
    let text = "[pool.app]\npolicy = \"fastest\"\n[[pool.app.backend]]\naddress = \"10.0.0.1:80\"\n\
                [[pool.app.backend]]\naddress = \"10.0.0.2:80\"\n[[pool.app.backend]]\nweight = 300\n\
                address = \"10.0.0.3\"\n[[listener]]\naddress = \":80\"\npool = \"ap\"\n[runtime]\nspin = 5\n";
    let expected = [
        "weir.toml:2: pool.app.policy: \"fastest\" is not known here; \
         use \"round_robin\", \"least_conn\", \"ip_hash\" or \"random_two\"",
        "weir.toml:8: pool.app.backend[2].weight: 300 is more than 256; use 1 to 256",
        "weir.toml:9: pool.app.backend[2].address: \"10.0.0.3\" has no port; add the port: \"10.0.0.3:8080\"",
        "weir.toml:11: listener[0].address: \":80\" is not an IP address and a port; \
         write \"0.0.0.0:80\", or \"[::]:80\" for IPv6 too",
        "weir.toml:12: listener[0].pool: there is no pool \"ap\"; did you mean \"app\"?",
        "weir.toml:14: runtime.spin: 5 has no unit (us, ms, s, m, h); write \"5s\"",
    ];
    let faults = parse(text, "weir.toml").unwrap_err();
    assert_eq!(faults.to_string(), expected.join("\n"));
    let _: &dyn std::error::Error = &faults;
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    const OTHER: &str = "[[pool.other.backend]]\naddress = \"h:1\"\n";
    let pool = |rest: &str| format!("[pool.rest]\n{rest}");
    for (text, line, key, wrong, remedy) in [
        ("[runtime]\ncores = \"0,0,1\"", 2, "runtime.cores", "core 0 gets more than one shard", "test"),
        (OTHER, 1, "pool.other", "nobody uses", "route"),
        (&pool("health.timeout = \"3s\""), 2, "pool.rest.health.timeout", "3s, longer than", "at most"),
        (
            &pool("health.interval = \"500ms\""),
            2,
            "pool.rest.health.interval",
            "interval of 500ms",
            "at most",
        ),
        ("[[route]]\npool = \"rest\"\npath = \"/\"", 4, "listener[0].pool", "no request gets", "remove one"),
        // These two are in what stands behind the text, in which line 7 is the backend's address.
        (
            "[[pool.rest.backend]]\nname = \"x\"\naddress = \"127.0.0.1:2\"",
            9,
            "pool.rest.backend[1].address",
            "line 3 ",
            "weight",
        ),
    ] {
        let found = checked(&format!("{text}{REST}")).warnings;
        one(&found, (text, line, key, wrong, remedy));
    }
    let only_backups = format!("{REST}backup = true");
    one(&checked(&only_backups).warnings, (REST, 6, "pool.rest.backend", "every backend is a backup", "one"));
}

#[test]
fn pools_and_routes_keep_the_order_of_the_file() {
    let pool = |name| format!("[[pool.{name}.backend]]\naddress = \"h:1\"\n");
    let route = |name| format!("[[route]]\npath = \"/{name}\"\npool = \"{name}\"\n");
    let text = format!("{}{}{}{}{REST}", pool("z"), route("z"), pool("a"), route("a"));
    let config = config(&text);
    assert_eq!(config.pools.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["z", "a", "rest"]);
    let routes: Vec<_> = config.routes.iter().map(|r| (r.path.as_deref(), r.pool)).collect();
    assert_eq!(routes, [(Some("/z"), 0), (Some("/a"), 1)]);
}

#[test]
fn an_unset_interval_while_down_is_the_interval() {
    let text = format!("[pool.rest]\nhealth.interval = \"7s\"{REST}");
    assert_eq!(config(&text).pools[0].health.as_ref().unwrap().interval_down, Micros::from_s(7));
}
