//! Faults in listeners and routes, and between them, pools and the admin surface.

use super::*;

#[test]
fn a_listener_address_that_is_none_is_a_fault_with_one_that_is() {
    for (address, remedy) in [
        ("8080", "\"0.0.0.0:8080\""),
        (":8080", "\"0.0.0.0:8080\", or \"[::]:8080\""),
        ("*:8080", "\"0.0.0.0:8080\", or \"[::]:8080\""),
        ("localhost:8080", "\"127.0.0.1:8080\""),
        ("example.org:8080", "\"0.0.0.0:8080\""),
        ("127.0.0.1", "\"127.0.0.1:8080\""),
        ("127.0.0.1:99999", "\"0.0.0.0:8080\""),
        ("unix:run/x", "\"unix:/run/weir/web.sock\""),
        ("unix:/run/", "\"unix:/run/weir/web.sock\""),
        ("", "\"0.0.0.0:8080\""),
    ] {
        let text = format!("[[listener]]\nname = \"x\"\naddress = {address:?}\npool = \"rest\"");
        let found = faults(&format!("{text}{REST}"));
        one(&found, (&text, 3, "listener[0].address", "", remedy));
    }
}

#[test]
fn faults_of_listeners_are_found() {
    let listener = |rest: &str| format!("[[listener]]\naddress = \"127.0.0.1:7\"\n{rest}");
    each_is_one_fault(&[
        ("[[listener]]\npool = \"rest\"", 1, "listener[0].address", "missing", "write address = "),
        (&listener(""), 1, "listener[0]", "neither a pool nor a route", "[[route]]"),
        (&listener("pool = \"rset\""), 3, "listener[0].pool", "no pool \"rset\"", "did you mean \"rest\"?"),
        (&listener("pool = \"elsewhere\""), 3, "listener[0].pool", "no pool", "defines: \"rest\""),
        (
            &listener("pool = \"rest\"\nmax_head = \"512B\""),
            4,
            "listener[0].max_head",
            "less than 1KiB",
            "1MiB",
        ),
        (&listener("pool = \"rest\"\nmax_headers = 0"), 4, "listener[0].max_headers", "less than 1", "4096"),
        (&listener("pool = \"rest\"\nbacklog = 0"), 4, "listener[0].backlog", "less than 1", "use 1 to"),
        (
            &listener("pool = \"rest\"\nforwarded = \"add\""),
            4,
            "listener[0].forwarded",
            "not known",
            "\"append\"",
        ),
        (
            &listener("pool = \"rest\"\ntrusted_proxies = [\"::1\", \"10.0.0.1/8\"]"),
            4,
            "listener[0].trusted_proxies[1]",
            "beyond its prefix",
            "\"10.0.0.0/8\"",
        ),
        (&listener("pool = \"rest\"\nvia = \"a b\""), 4, "listener[0].via", "Via", "\"\" for no Via"),
        (
            &listener("pool = \"rest\"\non_half_close = \"close\""),
            4,
            "listener[0].on_half_close",
            "not known",
            "\"abort\"",
        ),
        (
            &listener("pool = \"rest\"\nmax_connections_per_client = -1"),
            4,
            "listener[0].max_connections_per_client",
            "less than 0",
            "use 0 to",
        ),
        (
            &listener("pool = \"rest\"\nprotocol = \"https\""),
            4,
            "listener[0].protocol",
            "",
            "section [listener.tls]",
        ),
    ]);
    // The second of two is at fault, in the part that stands behind the text.
    let found =
        faults(&format!("[[listener]]\nname=\"rest\"\naddress = \"127.0.0.1:1\"\npool = \"rest\"{REST}"));
    let said: Vec<_> = found.iter().map(|f| (f.line, f.key.as_str(), f.wrong.as_str())).collect();
    assert_eq!(
        said,
        [
            (6, "listener[1].name", "the listener on line 2 is called \"rest\" too"),
            (7, "listener[1].address", "127.0.0.1:1 is taken on line 3"),
        ]
    );
}

#[test]
fn an_address_is_taken_once_by_listeners_and_admin_surface_together() {
    const POOL: &str = "pool = \"app\"\n[[pool.app.backend]]\naddress = \"h:1\"\n";
    each_alone_is_one_fault(&[
        (
            &format!("[admin]\nlisten = [\"127.0.0.1:7\"]\n[[listener]]\naddress = \"127.0.0.1:7\"\n{POOL}"),
            2,
            "admin.listen[0]",
            "taken on line 4",
            "another",
        ),
        (
            &format!("[[listener]]\naddress = \"127.0.0.1:9900\"\n{POOL}"),
            1,
            "admin.listen",
            "127.0.0.1:9900 is taken on line 2",
            "another",
        ),
    ]);
    // Port 0 is another port each time.
    let text = format!(
        "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
         [[listener]]\nname = \"b\"\naddress = \"127.0.0.1:0\"\n{POOL}"
    );
    assert_eq!(config(&text).listeners.len(), 2);
    assert_eq!(config(&format!("[admin]\nlisten = []\n{text}")).admin.listen, []);
}

#[test]
fn a_file_without_a_listener_is_one_fault() {
    each_alone_is_one_fault(&[
        ("", 1, "listener", "accept nowhere", "[[listener]]"),
        ("listener = []", 1, "listener", "accept nowhere", "[[listener]]"),
        (
            "[[route]]\npool = \"a\"\n[[pool.a.backend]]\naddress = \"h:1\"",
            1,
            "listener",
            "accept nowhere",
            "[[",
        ),
    ]);
}

#[test]
fn faults_of_routes_are_found() {
    let route = |rest: &str| format!("[[route]]\npool = \"rest\"\n{rest}");
    let two = |rest: &str| {
        format!("[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:9\"\npool = \"rest\"\n{rest}")
    };
    each_is_one_fault(&[
        ("[[route]]\npath = \"/x\"", 1, "route[0].pool", "missing", "pool = "),
        (
            "[[route]]\npath = \"/x\"\npool = \"resst\"",
            3,
            "route[0].pool",
            "no pool",
            "did you mean \"rest\"?",
        ),
        (
            &route("path = \"/x\"\nlistener = \"tset\""),
            4,
            "route[0].listener",
            "no listener \"tset\"",
            "\"rest\"",
        ),
        (
            &two(&route("path = \"/x\"")),
            5,
            "route[0].listener",
            "there are 2 listeners",
            "\"web\" or \"rest\"",
        ),
        (&route("path = \"x\""), 3, "route[0].path", "does not begin with", "write \"/x\""),
        (&route("path = \"/x/\""), 3, "route[0].path", "ends in a slash", "write \"/x\""),
        (&route("path = \"/x?y\""), 3, "route[0].path", "query", "leave out"),
        (&route("path = \"/x//y\""), 3, "route[0].path", "empty or dot segments", "without"),
        (&route("path = \"/x/../y\""), 3, "route[0].path", "empty or dot segments", "without"),
        (&route("path = \"/x%2Fy\""), 3, "route[0].path", "encoded slash", "without"),
        (&route("path = \"/x y\""), 3, "route[0].path", "characters", "percent-encode"),
        (&route("path = \"/x\\ny\""), 3, "route[0].path", "characters", "percent-encode"),
        (&route("host = \"\""), 3, "route[0].host", "no host", "leave `host` out"),
        (&route("host = \"*\""), 3, "route[0].host", "no host", "leave `host` out"),
        (&route("host = \"*.\""), 3, "route[0].host", "not a host name", "labels"),
        (&route("host = \"a.*.org\""), 3, "route[0].host", "first label", "suffix"),
        (&route("host = \"*a.org\""), 3, "route[0].host", "first label", "suffix"),
        (&route("host = \"a.org:80\""), 3, "route[0].host", "not a host", "\"a.org\""),
        (&route("host = \"a.org.\""), 3, "route[0].host", "not a host name", "dot at the end"),
        (&route("host = \"a..org\""), 3, "route[0].host", "not a host name", "labels"),
        (&route("host = \"bücher.example\""), 3, "route[0].host", "not a host name", "xn--"),
        (&route("host = \"::1\""), 3, "route[0].host", "not a host", ""),
        (
            &route(&format!("path = \"/x\"\n{}path = \"/x\"", route(""))),
            4,
            "route[1]",
            "on line 1",
            "remove one",
        ),
        (
            &route(&format!("host = \"A.org\"\n{}host = \"a.org\"\npath = \"/\"", route(""))),
            4,
            "route[1]",
            "on line 1",
            "remove one",
        ),
    ]);
}

#[test]
fn routes_that_differ_in_host_path_or_listener_stand_beside_each_other() {
    let route = |rest: &str| format!("[[route]]\npool = \"rest\"\nlistener = \"rest\"\n{rest}\n");
    let text = [
        route("host = \"a.org\"\npath = \"/x\""),
        route("host = \"*.a.org\"\npath = \"/x\""),
        route("host = \"a.org\"\npath = \"/y\""),
        route("path = \"/x\""),
        route("host = \"a.org\""),
        route("path = \"/x\"").replace("\"rest\"\npath", "\"web\"\npath"),
        "[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:9\"".to_owned(),
    ];
    assert_eq!(config(&format!("{}{REST}", text.concat())).routes.len(), 6);
}

#[test]
fn a_fault_draws_no_others_after_it() {
    let listener = |rest: &str| format!("[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:9\"\n{rest}");
    each_is_one_fault(&[
        // The listener has a route as soon as its name is spelled right.
        (&listener("[[route]]\nlistener = \"wbe\"\npool = \"rest\""), 5, "route[0].listener", "wbe", "web"),
        // A pool with a fault is still a pool to those who name it.
        ("[pool.rest]\npolicy = \"x\"", 2, "pool.rest.policy", "not known", "use"),
    ]);
}
