//! Who the client is, and what the backend is told of it: each way of `forwarded`, from peers that are
//! trusted and from others, over IPv4, IPv6 and Unix sockets; and clients who try to be somebody else.

use crate::harness::{Backend, Client, Weir, answers, one_pool, wait_until};
use nix::sys::signal::Signal;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// All that can be said of a client, each of them a lie, and names that look like them.
const LIES: &str = "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-proto: https\r\nX-Forwarded-Host: evil\r\n\
    X-Forwarded-Port: 666\r\nX-Forwarded-Server: evil\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n";
const LOOK_ALIKES: &str = "X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_For: 6.6.6.6\r\nx_forwarded-proto: https\r\n\
    X_Forwarded_Host: evil\r\nX_FORWARDED_PORT: 666\r\nX_Real_IP: 6.6.6.6\r\nx-real_ip: 6.6.6.6\r\n\
    X.Forwarded.For: 6.6.6.6\r\n";

/// How a client comes.
#[derive(Clone, Copy, Debug)]
enum By {
    V4,
    V6,
    Unix,
}

const ALL: [By; 3] = [By::V4, By::V6, By::Unix];

impl By {
    /// weir on a listener of this kind with these lines.
    fn weir(self, backend: &Backend, listener: &str) -> Weir {
        let address = match self {
            Self::V4 => "127.0.0.1:{web}",
            Self::V6 => "[::1]:{web}",
            Self::Unix => "unix:{dir}/web.sock",
        };
        Weir::start(&one_pool(&[backend], listener, "").replace("127.0.0.1:{web}", address))
    }

    fn client(self, weir: &Weir) -> Client {
        match self {
            Self::V4 => weir.client(),
            Self::V6 => Client::connect(SocketAddr::from((Ipv6Addr::LOCALHOST, weir.port("web")))),
            Self::Unix => Client::connect_unix(&weir.dir().join("web.sock")),
        }
    }

    /// What the list of trusted proxies says of such a peer.
    fn entry(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.0/8",
            Self::V6 => "::1",
            Self::Unix => "unix:",
        }
    }

    /// What `X-Forwarded-For` says of it.
    fn name(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.1",
            Self::V6 => "::1",
            Self::Unix => "unix",
        }
    }

    /// What `Forwarded` says of it.
    fn node(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.1",
            Self::V6 => "\"[::1]\"",
            Self::Unix => "unknown",
        }
    }

    /// What weir says of a client that is the peer and asked for host `h`.
    fn said(self) -> String {
        let name = self.name();
        let real_ip = match self {
            Self::V4 | Self::V6 => format!("X-Real-IP: {name}\r\n"),
            Self::Unix => String::new(),
        };
        format!("X-Forwarded-For: {name}\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n{real_ip}")
    }
}

/// What arrives behind `Host: h` of a request with these fields.
fn arrives(client: &mut Client, backend: &Backend, fields: &str) -> String {
    let response = client.ask(format!("GET /p HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
    assert_eq!(response.status, 200, "{fields:?}: {}", response.text());
    let head = backend.last().text();
    let rest = head.strip_prefix("GET /p HTTP/1.1\r\nHost: h\r\n").and_then(|rest| rest.strip_suffix("\r\n"));
    rest.unwrap_or_else(|| panic!("{head}")).to_owned()
}

/// The value of the one field of this name.
fn only(backend: &Backend, name: &str) -> String {
    let received = backend.last();
    let values: Vec<&str> = received.fields.all(name).collect();
    let [value] = values[..] else { panic!("{name}: {values:?} in {}", received.text()) };
    value.to_owned()
}

#[test]
fn who_is_not_trusted_cannot_say_who_he_is() {
    let backend = Backend::http(answers::text("ok"));
    let lies = format!("{LIES}{LOOK_ALIKES}");
    for by in ALL {
        // An empty list, one without him, and one that has nobody but the peers of other listeners.
        let others = ALL.iter().filter(|other| other.name() != by.name());
        let others = others.map(|other| format!("\"{}\"", other.entry())).collect::<Vec<_>>().join(", ");
        for trusted in [String::new(), "\"6.6.6.6\"".to_owned(), others] {
            for rule in ["append", "replace", "off"] {
                let weir =
                    by.weir(&backend, &format!("forwarded = \"{rule}\"\ntrusted_proxies = [{trusted}]"));
                let expected = if rule == "off" { lies.clone() } else { by.said() };
                let mut client = by.client(&weir);
                for _ in 0..2 {
                    let arrived = arrives(&mut client, &backend, &lies);
                    assert_eq!(arrived, format!("{expected}Via: 1.1 weir\r\n"), "{by:?}, {rule}, {trusted}");
                }
                let kept = if rule == "off" { String::new() } else { by.said() };
                assert_eq!(
                    arrives(&mut client, &backend, "A: b\r\n"),
                    format!("A: b\r\n{kept}Via: 1.1 weir\r\n")
                );
            }
        }
    }
}

#[test]
fn a_trusted_proxy_is_believed_as_far_as_the_rule_goes() {
    let backend = Backend::http(answers::text("ok"));
    let came = "X-Forwarded-For: 6.6.6.6, 9.9.9.9\r\nx-forwarded-proto: https\r\nX-Forwarded-Host: front\r\n\
        X-Forwarded-Port: 443\r\nForwarded: for=9.9.9.9\r\nX-Real-IP: 8.8.8.8\r\n";
    for by in ALL {
        let trusted = format!("trusted_proxies = [\"{}\"]", by.entry());
        let (name, node) = (by.name(), by.node());

        let weir = by.weir(&backend, &trusted);
        let mut client = by.client(&weir);
        assert_eq!(
            arrives(&mut client, &backend, &format!("{came}{LOOK_ALIKES}")),
            format!(
                "X-Forwarded-For: 6.6.6.6, 9.9.9.9, {name}\r\nx-forwarded-proto: https\r\nX-Forwarded-Host: front\r\n\
                 X-Forwarded-Port: 443\r\nForwarded: for=9.9.9.9, for={node};host=h;proto=http\r\n\
                 X-Real-IP: 9.9.9.9\r\nVia: 1.1 weir\r\n"
            ),
            "{by:?}, append"
        );
        // The connection carries other clients, and nobody's too.
        arrives(&mut client, &backend, "X-Forwarded-For: 2001:db8::7\r\n");
        assert_eq!(only(&backend, "X-Real-IP"), "2001:db8::7");
        assert_eq!(arrives(&mut client, &backend, ""), format!("{}Via: 1.1 weir\r\n", by.said()), "{by:?}");
        // Only `Forwarded`: the client is said in both.
        arrives(&mut client, &backend, "Forwarded: for=\"[2001:db8::8]:80\";proto=https\r\n");
        assert_eq!(only(&backend, "X-Real-IP"), "2001:db8::8");
        assert_eq!(only(&backend, "X-Forwarded-For"), format!("2001:db8::8, {name}"));
        let expected = format!("for=\"[2001:db8::8]:80\";proto=https, for={node};host=h;proto=http");
        assert_eq!(only(&backend, "Forwarded"), expected);

        let weir = by.weir(&backend, &format!("{trusted}\nforwarded = \"replace\""));
        assert_eq!(
            arrives(&mut by.client(&weir), &backend, &format!("{came}{LOOK_ALIKES}")),
            "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n\
             X-Real-IP: 9.9.9.9\r\nVia: 1.1 weir\r\n",
            "{by:?}, replace"
        );

        let weir = by.weir(&backend, &format!("{trusted}\nforwarded = \"off\""));
        let all = format!("{came}{LOOK_ALIKES}");
        assert_eq!(
            arrives(&mut by.client(&weir), &backend, &all),
            format!("{all}Via: 1.1 weir\r\n"),
            "{by:?}, off"
        );
    }
}

/// What an attacker gets a trusted proxy that appends to pass on does not count.
#[test]
fn no_lie_before_a_trusted_proxys_own_word_is_believed() {
    let backend = Backend::http(answers::text("ok"));
    let weir = By::V4.weir(&backend, "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]");
    let mut client = weir.client();
    for (fields, expected) in [
        ("X-Forwarded-For: 6.6.6.6, 9.9.9.9", "9.9.9.9"),
        ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 9.9.9.9, 10.0.0.1", "9.9.9.9"),
        ("X-Forwarded-For: 10.0.0.9, 9.9.9.9:1234, \"10.0.0.1\"", "9.9.9.9"),
        ("X-Forwarded-For: \"6.6.6.6, 9.9.9.9", "9.9.9.9"),
        ("X-Forwarded-For: 6.6.6.6, unknown", "127.0.0.1"),
        ("X-Forwarded-For: 6.6.6.6, , 10.0.0.2", "10.0.0.2"),
        ("Connection: x-forwarded-for, x-real-ip\r\nX-Forwarded-For: 6.6.6.6, 9.9.9.9", "9.9.9.9"),
        ("X-Forwarded-For: 9.9.9.9\r\nForwarded: for=6.6.6.6", "9.9.9.9"),
        ("X_Forwarded_For: 6.6.6.6\r\nX_Real_IP: 6.6.6.6", "127.0.0.1"),
        ("X-Real-IP: 6.6.6.6", "127.0.0.1"),
        ("Forwarded: for=6.6.6.6, for=\"9.9.9.9\", for=10.0.0.1", "9.9.9.9"),
        ("Forwarded: for=6.6.6.6;x=\", for=9.9.9.9", "127.0.0.1"),
        ("Forwarded: for=6.6.6.6, for=_hidden", "127.0.0.1"),
    ] {
        arrives(&mut client, &backend, &format!("{fields}\r\n"));
        assert_eq!(only(&backend, "X-Real-IP"), expected, "{fields}");
    }
}

/// The second trusts the first, as it stands before it.
#[test]
fn through_two_weirs_the_client_is_still_known() {
    let backend = Backend::http(answers::text("ok"));
    for by in ALL {
        let trusted = format!("trusted_proxies = [\"{}\"]\nvia = \"inner\"", by.entry());
        let inner = by.weir(&backend, &trusted);
        let address = match by {
            By::V4 => inner.address("web").to_string(),
            By::V6 => format!("[::1]:{}", inner.port("web")),
            By::Unix => format!("unix:{}/web.sock", inner.dir().display()),
        };
        let outer = Weir::start(&format!(
            "[runtime]\ncores = 1\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{{web}}\"\npool = \"app\"\n\
             [pool.app]\n[[pool.app.backend]]\naddress = \"{address}\"\n"
        ));
        let mut client = Client::connect_from(Ipv4Addr::new(127, 0, 0, 9), outer.address("web"));
        // The inner one trusts all of 127.0.0.0/8, so that the client there is the first of the chain: him.
        let arrived = arrives(&mut client, &backend, &format!("{LIES}{LOOK_ALIKES}"));
        let expected = format!(
            "X-Forwarded-For: 127.0.0.9, {}\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nVia: 1.1 weir\r\n\
             X-Real-IP: 127.0.0.9\r\nVia: 1.1 inner\r\n",
            by.name()
        );
        assert_eq!(arrived, expected, "{by:?}");
    }
}

#[test]
fn via_is_added_behind_the_clients_and_left_out_where_there_is_none() {
    let backend = Backend::http(answers::text("ok"));
    let weir = By::V4.weir(&backend, "forwarded = \"off\"\nvia = \"edge-1\"");
    let mut client = weir.client();
    let came = "via: 1.0 a, 1.1 b (c)\r\nA: b\r\n";
    assert_eq!(arrives(&mut client, &backend, came), format!("{came}Via: 1.1 edge-1\r\n"));
    assert_eq!(
        arrives(&mut client, &backend, "Connection: via\r\nVia: 1.1 b\r\n"),
        "Via: 1.1 b\r\nVia: 1.1 edge-1\r\n"
    );
    let response = client.ask("GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(backend.last().text(), "GET / HTTP/1.1\r\nHost: h\r\nVia: 1.0 edge-1\r\n\r\n");
    assert_eq!(response.field("Via"), None, "none to responses");

    let weir = By::V4.weir(&backend, "forwarded = \"off\"\nvia = \"\"");
    let ordinary = "Accept: */*\r\nX-odd-CASE: 1\r\nCookie: a=b; c\r\nVia: 1.1 b\r\nx-odd-case: 2\r\n";
    assert_eq!(arrives(&mut weir.client(), &backend, ordinary), ordinary, "byte for byte");
}

#[test]
fn the_rules_of_trust_change_under_a_living_connection() {
    let backend = Backend::http(answers::text("ok"));
    let mut weir = By::V4.weir(&backend, "");
    let mut client = weir.client();
    let real_ip = |client: &mut Client| {
        arrives(client, &backend, "X-Forwarded-For: 9.9.9.9\r\n");
        (only(&backend, "X-Real-IP"), only(&backend, "Via"))
    };
    let is = |ip: &str, via: &str| (ip.to_owned(), via.to_owned());
    assert_eq!(real_ip(&mut client), is("127.0.0.1", "1.1 weir"));
    for (setting, expected) in [
        ("trusted_proxies = [\"127.0.0.1\"]\nvia = \"a\"", is("9.9.9.9", "1.1 a")),
        ("trusted_proxies = [\"127.0.0.2\"]\nvia = \"b\"", is("127.0.0.1", "1.1 b")),
        ("trusted_proxies = [\"127.0.0.0/8\"]", is("9.9.9.9", "1.1 weir")),
        ("trusted_proxies = [\"unix:\"]\nvia = \"c\"", is("127.0.0.1", "1.1 c")),
    ] {
        weir.rewrite(&one_pool(&[&backend], setting, ""));
        weir.signal(Signal::SIGHUP);
        wait_until(setting, || real_ip(&mut client) == expected);
    }
}

#[test]
fn ip_hash_goes_by_the_client_behind_a_trusted_proxy() {
    let backends = ["a", "b", "c"].map(|name| Backend::http(answers::text(name)));
    let all: Vec<&Backend> = backends.iter().collect();
    let config = one_pool(&all, "trusted_proxies = [\"127.0.0.1\"]", "policy = \"ip_hash\"");
    let weir = Weir::start(&config);
    let mut proxy = weir.client();
    let mut homes = Vec::new();
    for n in 1..=20 {
        let ip = Ipv4Addr::new(127, 0, 1, n);
        let home = Client::connect_from(ip, weir.address("web")).get("/").text();
        for said in [
            format!("X-Forwarded-For: 6.6.6.6, {ip}"),
            format!("X-Forwarded-For: [::ffff:{ip}]:80, 127.0.0.1"),
            format!("Forwarded: for=\"{ip}:80\""),
        ] {
            let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{said}\r\n\r\n");
            assert_eq!(proxy.ask(&request).text(), home, "{said}");
            // Nobody else is believed: his home stays his own.
            let mut liar = Client::connect_from(Ipv4Addr::new(127, 0, 0, 2), weir.address("web"));
            let own = liar.get("/").text();
            assert_eq!(liar.ask(&request).text(), own, "{said}");
        }
        homes.push(home);
    }
    homes.sort();
    homes.dedup();
    assert_eq!(homes, ["a", "b", "c"], "clients of one connection are spread");
}
