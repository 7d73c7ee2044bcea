//! Faults in single values: of the wrong kind, impossible, or not in their form.

use super::*;

#[test]
fn values_of_the_wrong_kind_are_faults_with_the_right_form() {
    each_is_one_fault(&[
        ("[runtime]\ngrace = 5", 2, "runtime.grace", "5 has no unit", "write \"5s\""),
        ("[runtime]\ngrace = 1.5", 2, "runtime.grace", "1.5 has no unit", "write \"1.5s\""),
        ("[runtime]\n\ngrace = \"5\"", 3, "runtime.grace", "5 has no unit", "write \"5s\""),
        ("[runtime]\ngrace = \"5 s\"", 2, "runtime.grace", "unknown unit", "write \"5s\""),
        ("[runtime]\ngrace = \"5minutes\"", 2, "runtime.grace", "unknown unit", "write \"5m\""),
        ("[runtime]\ngrace = \"5d\"", 2, "runtime.grace", "unknown unit", "us, ms, s, m, h"),
        ("[runtime]\ngrace = \"-5s\"", 2, "runtime.grace", "not a length of time", "\"5s\""),
        ("[runtime]\ngrace = -5", 2, "runtime.grace", "-5 is not a length of time", "\"5s\""),
        ("[runtime]\ngrace = \"soon\"", 2, "runtime.grace", "not a length of time", "\"5s\""),
        ("[runtime]\ngrace = true", 2, "runtime.grace", "true is not a length", "\"5s\""),
        ("[runtime]\nspin = \"0.5us\"", 2, "runtime.spin", "no whole number of us", "whole number"),
        ("[runtime]\ngrace = \"99999999999999h\"", 2, "runtime.grace", "too much", "whole number"),
        ("[runtime]\nbuffer_size = 16384", 2, "runtime.buffer_size", "16384 has no unit", "KiB"),
        ("[runtime]\nbuffer_size = \"16KB\"", 2, "runtime.buffer_size", "unknown unit", "write \"16KiB\""),
        ("[runtime]\nbuffer_size = \"16k\"", 2, "runtime.buffer_size", "unknown unit", "write \"16KiB\""),
        ("[runtime]\nmax_connections = \"9\"", 2, "runtime.max_connections", "not a whole", "without quotes"),
        ("[runtime]\nmax_connections = 1.5", 2, "runtime.max_connections", "not a whole", "use 1 to"),
        ("[log]\nlevel = 3", 2, "log.level", "3 is not a string", "use \"error\", \"warn\""),
        ("[log]\nlevel = \"inof\"", 2, "log.level", "\"inof\" is not known", "did you mean \"info\"?"),
        ("[log]\nformat = \"xml\"", 2, "log.format", "\"xml\" is not known", "use \"text\" or \"json\""),
        ("runtime = 3", 1, "runtime", "3 is not a section", "write [runtime]"),
        ("[pool]\nx = 3", 2, "pool.x", "3 is not a section", "write [pool.x]"),
        (
            "[[pool.rest.backend]]\naddress = \"h:1\"\n[pool.rest]\ntls = true",
            4,
            "pool.rest.tls",
            "true is not a section",
            "write [pool.rest.tls]",
        ),
        (
            "[[pool.rest.backend]]\naddress = \"h:1\"\nbackup = 1",
            3,
            "pool.rest.backend[0].backup",
            "1 is",
            "true",
        ),
        ("route = 3", 1, "route", "3 is not a list", "write [[route]]"),
        ("[route]\npool = \"rest\"", 1, "route", "a section is not a list", "write [[route]]"),
        ("[admin]\nlisten = \"127.0.0.1:1\"", 2, "admin.listen", "is not a list", "[\"127.0.0.1:9900\"]"),
    ]);
}

#[test]
fn impossible_values_are_faults_with_the_possible_ones() {
    each_is_one_fault(&[
        ("[runtime]\nmax_connections = 0", 2, "runtime.max_connections", "0 is less than 1", "use 1 to"),
        ("[runtime]\nring_entries = 1000", 2, "runtime.ring_entries", "power of two", "use 512 or 1024"),
        ("[runtime]\nring_entries = 32", 2, "runtime.ring_entries", "less than 64", "use 64 to 32768"),
        ("[runtime]\nring_entries = 65536", 2, "runtime.ring_entries", "more than 32768", "use 64 to 32768"),
        ("[runtime]\nbuffers = 1000", 2, "runtime.buffers", "the kernel's rings need", "use 512 or 1024"),
        ("[runtime]\nbuffers = 8", 2, "runtime.buffers", "less than 16", "use 16 to 32768"),
        ("[runtime]\nbuffer_size = \"1KiB\"", 2, "runtime.buffer_size", "1KiB is less than 4KiB", "\"1MiB\""),
        ("[runtime]\nbuffer_size = \"2MiB\"", 2, "runtime.buffer_size", "2MiB is more than 1MiB", "\"4KiB\""),
        ("[runtime]\nspin = \"1s\"", 2, "runtime.spin", "1s is more than 10ms", "\"10ms\""),
        ("[runtime]\nsync = \"0s\"", 2, "runtime.sync", "0us is less than 50us", "\"50us\" to \"1s\""),
        ("[runtime]\ngrace = \"9999h\"", 2, "runtime.grace", "more than 24h", "\"24h\""),
        ("[runtime]\nstate_file = \"s.json\"", 2, "runtime.state_file", "not the absolute", "/var/lib/weir"),
        ("[runtime]\nstate_file = \"/x/\"", 2, "runtime.state_file", "not the absolute", "/var/lib/weir"),
        ("[runtime]\nresolver = \"ns.test\"", 2, "runtime.resolver", "not the address", "\"127.0.0.1:5353\""),
        ("[runtime]\nresolver = \"0.0.0.0\"", 2, "runtime.resolver", "not the address", "\"10.0.0.53\""),
        ("[runtime]\nresolver = \"10.0.0.1:0\"", 2, "runtime.resolver", "not the address", "\"10.0.0.53\""),
        ("[runtime]\nuser = \"\"", 2, "runtime.user", "not the name of a user", "\"weir\""),
        ("[runtime]\ngroup = \"a b\"", 2, "runtime.group", "not the name of a user or group", "\"weir\""),
        ("[admin]\ntoken_file = \"t\"", 2, "admin.token_file", "not the absolute", "write one"),
        ("[runtime]\nwatch = 1", 2, "runtime.watch", "neither true nor false", "write true"),
        (
            "[runtime]\non_shard_loss = \"serve\"",
            2,
            "runtime.on_shard_loss",
            "not known",
            "\"serve_on\" or \"exit\"",
        ),
        ("[runtime]\ncores = 0", 2, "runtime.cores", "less than 1", "use 1 to 1024"),
        ("[runtime]\ncores = \"\"", 2, "runtime.cores", "\"\" is no core", "\"0-3,8\""),
        ("[runtime]\ncores = \"3-0\"", 2, "runtime.cores", "runs backwards", "write 0-3"),
        ("[runtime]\ncores = \"0-9999\"", 2, "runtime.cores", "1024 cores", "0 to 1023"),
        ("[runtime]\ncores = [0, 1]", 2, "runtime.cores", "a list names no cores", "\"0-3,8\""),
        (
            "[admin]\nlisten = [\"127.0.0.1:3\", \n\"0.0.0.0:9900\"]",
            3,
            "admin.listen[1]",
            "token",
            "127.0.0.1:9900",
        ),
        ("[admin]\nlisten = [9900]", 2, "admin.listen[0]", "9900 is not a string", "\"9900\""),
    ]);
}

/// A pool beside a listener that uses it, for faults in the pool; its first line is the text's first.
fn pool_with(text: &str) -> String {
    format!("[pool.app]\n{text}\n[[listener]]\naddress = \"127.0.0.1:1\"\npool = \"app\"\n")
}

#[test]
fn faults_in_pools_name_the_backend_and_the_key() {
    const B: &str = "[[pool.app.backend]]\naddress = \"10.0.0.1:80\"\n";
    let key = |tail: &str| format!("pool.app.{tail}");
    for (text, line, tail, wrong, remedy) in [
        ("", 1, "", "no backend", "write [[pool.app.backend]]"),
        ("backend = []", 1, "", "no backend", "write [[pool.app.backend]]"),
        (&format!("{B}{B}"), 5, "backend[1].address", "on line 3", "its own name"),
        (&format!("{B}name = \"x\"\n{B}name = \"x\""), 7, "backend[1].name", "on line 4", "its own name"),
        (
            &format!("{B}{B}name = \"b\"\nweight = 300"),
            7,
            "backend[1].weight",
            "300 is more than 256",
            "use 1 to 256",
        ),
        (&format!("{B}weight = 0"), 4, "backend[0].weight", "0 is less than 1", "use 1 to 256"),
        (&format!("{B}weight = -1"), 4, "backend[0].weight", "-1 is less than 1", "use 1 to 256"),
        (
            &format!("{B}weight = 99999999999999999999999999999999999999999"),
            4,
            "backend[0].weight",
            "more than",
            "256",
        ),
        (&format!("{B}name = \"\""), 4, "backend[0].name", "empty", "told apart"),
        (
            "[[pool.app.backend]]\nweight = 2",
            2,
            "backend[0].address",
            "missing",
            "address = \"10.0.0.11:8080\"",
        ),
        (&format!("policy = \"least_con\"\n{B}"), 2, "policy", "not known", "did you mean \"least_conn\"?"),
        (&format!("policy = \"magic\"\n{B}"), 2, "policy", "not known", "\"round_robin\", \"least_conn\""),
        (
            &format!("[pool.app.upstream]\nidle_per_backend = 0\n{B}"),
            3,
            "upstream.idle_per_backend",
            "less than 1",
            "1 to",
        ),
        (&format!("[pool.app.timeouts]\nconnect = 1\n{B}"), 3, "timeouts.connect", "no unit", "\"1s\""),
    ] {
        let key = if tail.is_empty() { "pool.app".to_owned() } else { key(tail) };
        let text = pool_with(text);
        one(&faults(&text), (&text, line, &key, wrong, remedy));
    }
}

#[test]
fn a_backend_address_that_is_none_is_a_fault_with_one_that_is() {
    for (address, wrong, remedy) in [
        ("10.0.0.1", "has no port", "\"10.0.0.1:8080\""),
        ("app.internal", "has no port", "\"app.internal:8080\""),
        ("::1", "is not an address", "write one"),
        ("[::1]", "has no port", "\"[::1]:8080\""),
        ("2001:db8::1:8080", "is not an address", "\"[2001:db8::1]:8080\""),
        ("http://app:8080/x", "is a URL", "write \"app:8080\""),
        ("https://app", "is a URL", "write \"app:443\""),
        ("10.0.0.300:80", "is not an address", "write one"),
        ("10.0.0.1:0", "port 0", "1 to 65535"),
        ("app:0", "port 0", "1 to 65535"),
        ("app:99999", "\"99999\" is not a port", "1 to 65535"),
        ("app:http", "\"http\" is not a port", "1 to 65535"),
        ("a b:80", "is not an address", "write one"),
        ("-a:80", "is not an address", "write one"),
        (":80", "is not an address", "write one"),
        ("8080", "is not an address", "write one"),
        ("", "is not an address", "write one"),
        ("_http._tcp.app.internal:80", "has a port", "write \"_http._tcp.app.internal\""),
        ("_dns._udp.app.internal", "not a service over TCP", "write \"_dns._tcp.app.internal\""),
        ("_app", "neither the name of SRV", "\"_http._tcp.app.internal\", or add the port: \"_app:8080\""),
        ("_http._tcp", "neither the name of SRV", "write one such as"),
        ("_http.app.internal", "neither the name of SRV", "write one such as"),
        ("_http._tcp.a b", "is not a host name", "write labels"),
        ("_http._tcp.app.", "is not a host name", "leave out the dot"),
        ("unix:app.sock", "not the absolute path", "unix:/run"),
        ("unix:", "not the absolute path", "unix:/run"),
        (&format!("unix:/{}", "x".repeat(107)), "has 108 bytes", "shorter path"),
    ] {
        let text = pool_with(&format!("[[pool.app.backend]]\naddress = {address:?}"));
        one(&faults(&text), (&text, 3, "pool.app.backend[0].address", wrong, remedy));
    }
}

#[test]
fn faults_of_checks_are_found() {
    let health = |rest: &str| {
        pool_with(&format!("[[pool.app.backend]]\naddress = \"unix:/x\"\n[pool.app.health]\n{rest}"))
    };
    for (text, key, wrong, remedy) in [
        ("type = \"udp\"", "type", "not known", "\"http\" or \"grpc\""),
        ("type = \"tcp\"\npath = \"/\"", "path", "only connects", "type = \"http\""),
        ("type = \"tcp\"\nservice = \"a\"", "service", "part of gRPC's", "type = \"grpc\""),
        ("service = \"a\"", "service", "part of gRPC's", "type = \"grpc\""),
        ("type = \"grpc\"\npath = \"/\"", "path", "no use of this", "type = \"http\""),
        ("type = \"grpc\"\nexpect = \"200\"", "expect", "no use of this", "type = \"http\""),
        ("type = \"grpc\"\nservice = \"a b\"", "service", "no service's name", "\"shop.v1.Cart\""),
        (
            "type = \"grpc\"\nheaders = { grpc-timeout = \"1S\" }",
            "headers.grpc-timeout",
            "writes its own",
            "remove it",
        ),
        ("path = \"healthz\"", "path", "does not begin", "write \"/healthz\""),
        ("path = \"/a b\"", "path", "characters", "percent-encode"),
        ("path = \"/a\\r\\nX: y\"", "path", "characters", "percent-encode"),
        ("method = \"GET /\"", "method", "not a token", "letters"),
        ("method = \"CONNECT\"", "method", "tunnel", "GET"),
        ("method = \"HEAD\"\nbody_contains = \"ok\"", "body_contains", "no body", "GET"),
        ("body_contains = \"\"", "body_contains", "empty", "remove"),
        ("host = \"a b\"", "host", "not a host", "app.internal"),
        ("host = \"a\\r\\nb\"", "host", "not a host", "app.internal"),
        ("host = \"a:b\"", "host", "not a host", "app.internal:8080"),
        ("headers = { \"X Y\" = \"z\" }", "headers.\"X Y\"", "not a token", "letters"),
        ("headers = { \"X-Y\" = \"a\\r\\nb: c\" }", "headers.X-Y", "line break", "visible"),
        ("headers = { \"X-Y\" = \" a\" }", "headers.X-Y", "spaces around", "write \"a\""),
        ("headers = { \"X-Y\" = 1 }", "headers.X-Y", "1 is not a string", "write \"1\""),
        ("headers = { \"HOST\" = \"a\" }", "headers.HOST", "its own", "the key `host`"),
        ("headers = { Content-Length = \"1\" }", "headers.Content-Length", "its own", "remove"),
        ("headers = [\"a\"]", "headers", "a list is not a section", "write [pool.app.health.headers]"),
        ("expect = 200", "expect", "200 is not a string", "write \"200\""),
        ("expect = \"2xx\"", "expect", "no status", "\"200,204,300-399\""),
        ("expect = \"399-200\"", "expect", "backwards", "write 200-399"),
        ("expect = \"100-399\"", "expect", "outside", "200 to 599"),
        ("rise = 0", "rise", "less than 1", "use 1 to 1000"),
        ("fall = 0", "fall", "less than 1", "use 1 to 1000"),
        ("jitter = 1.5", "jitter", "1.5 is not a share", "0 to 1"),
        ("jitter = -0.1", "jitter", "not a share", "0 to 1"),
        ("jitter = nan", "jitter", "not a share", "0 to 1"),
        ("interval = \"0s\"", "interval", "less than 1ms", "\"1ms\""),
        ("timeout = \"0s\"", "timeout", "less than 1ms", "\"1ms\""),
        ("port = 65536", "port", "more than 65535", "use 0 to 65535"),
        ("port = 80", "port", "Unix socket", "remove"),
    ] {
        // What is wrong stands in the last line.
        let line = 4 + text.lines().count();
        let text = health(text);
        one(&faults(&text), (&text, line, &format!("pool.app.health.{key}"), wrong, remedy));
    }
}
