//! What is for one hop alone, and what counts the hops: Connection and what it names, TE, Via,
//! Max-Forwards, Expect.

use crate::harness::{Backend, Weir, answers, one_pool};
use crate::judge::{CANARY, Judge, assert_own};

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
}

#[test]
fn what_connection_names_goes_with_it_wherever_it_stands() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for fields in [
        "Connection: X-Mine\r\nX-Mine: hop\r\n",
        "X-Mine: hop\r\nConnection: x-mine\r\n",
        "x-mine: hop\r\nConnection: X-MINE\r\nX-Mine: hop\r\n",
        "Connection: keep-alive, X-Mine\r\nX-Mine: hop\r\n",
        "Connection: ,, X-Mine ,\r\nX-Mine: hop\r\n",
        "Connection: X-Other\r\nConnection: X-Mine\r\nX-Mine: hop\r\n",
        "Connection: X-Other,X-Mine\r\nX-Mine: hop\r\nX-Other: hop\r\n",
        "CONNECTION:\tX-Mine\t\r\nX-Mine: hop\r\n",
        "Keep-Alive: hop\r\n",
        "Proxy-Connection: hop\r\n",
        "TE: hop\r\n",
        "TE: trailers, deflate;q=0.5, hop\r\nConnection: TE\r\n",
        "Upgrade: hop\r\n",
        "Connection: upgrade\r\nX-A: b\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: hop\r\n",
    ] {
        let received = judge.passes_on(&mut client, fields, get(&format!("X-A: 1\r\n{fields}X-B: 2\r\n")));
        let text = received.text();
        assert!(!text.contains("hop"), "{fields:?}: {text}");
        assert_eq!(received.fields.get("Connection"), None, "{fields:?}: {text}");
        assert!(text.contains("\r\nX-A: 1\r\n") && text.contains("\r\nX-B: 2\r\n"), "{fields:?}: {text}");
    }
}

/// A client that could have these dropped would decide what the backend believes.
#[test]
fn what_frames_routes_forwards_or_identifies_cannot_be_named_away() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for field in [
        "Authorization: kept",
        "Proxy-Authorization: kept",
        "Cookie: kept",
        "Content-Type: kept",
        "Content-Encoding: kept",
        "Cache-Control: kept",
        "Date: kept",
    ] {
        let name = field.split(':').next().unwrap();
        let received = judge.passes_on(&mut client, name, get(&format!("Connection: {name}\r\n{field}\r\n")));
        assert!(received.text().contains(&format!("\r\n{field}\r\n")), "{}", received.text());
    }
    for name in ["Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP", "Via"] {
        let received = judge.passes_on(&mut client, name, get(&format!("Connection: close-not, {name}\r\n")));
        assert!(received.fields.get(name).is_some(), "{name}: {}", received.text());
    }
    let request = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}");
    let length = "Connection: Content-Length\r\nContent-Length: 5\r\n";
    assert_eq!(judge.passes_on(&mut client, length, request(length, "hello")).body.data, b"hello");
    let chunks = "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n";
    let received = judge.passes_on(&mut client, chunks, request(chunks, "5\r\nhello\r\n0\r\n\r\n"));
    assert_eq!(received.body.data, b"hello");
}

#[test]
fn connection_may_name_no_more_than_a_few_fields() {
    let judge = Judge::new();
    let names = |count: usize| (0..count).map(|n| format!("X-{n}")).collect::<Vec<_>>().join(", ");
    judge.passes("32", get(&format!("Connection: {}\r\nX-A: b\r\n", names(32))));
    judge.refuses("33", get(&format!("Connection: {}\r\n", names(33))), 400);
    judge.refuses("in two lines", get(&format!("Connection: {0}\r\nConnection: {0}\r\n", names(20))), 400);
}

#[test]
fn a_connection_lives_as_its_version_and_its_options_say() {
    let judge = Judge::new();
    for (version, fields, lives) in [
        ("1.1", "", true),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: CLOSE\r\n", false),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        ("1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("1.1", "Connection: \"close\"\r\n", true),
        ("1.1", "Proxy-Connection: close\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: close, keep-alive\r\n", false),
        ("1.0", "Proxy-Connection: keep-alive\r\n", false),
        ("1.0", "Keep-Alive: 300\r\n", false),
    ] {
        let mut client = judge.weir.client();
        let request = format!("GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n");
        judge.passes_on(&mut client, fields, &request);
        if lives {
            judge.passes_on(&mut client, fields, &request);
        } else {
            client.assert_closed();
        }
    }
    assert_eq!(judge.backend.connections(), 1, "the client's close is not the backend's");
}

#[test]
fn what_stands_behind_a_request_that_closes_is_not_read() {
    let judge = Judge::new();
    for request in [
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: x, close\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let mut client = judge.weir.client();
        client.send(format!("{request}{CANARY}"));
        let response = client.response();
        assert_eq!((response.status, response.field("Connection")), (200, Some("close")), "{request:?}");
        client.assert_closed();
    }
    assert!(judge.whole().iter().all(|received| !received.line().contains("canary")));
}

#[test]
fn each_request_gets_a_via_line_of_its_own_behind_the_clients() {
    for (listener, name) in [("", "weir"), ("via = \"edge-1\"", "edge-1")] {
        let judge = Judge::with(listener, "");
        for (version, given) in [
            ("1.1", vec![]),
            ("1.0", vec![]),
            ("1.1", vec!["1.0 fred, 1.1 p.example (a comment)"]),
            ("1.1", vec!["1.1 weir"]),
            ("1.1", vec!["2 a", "HTTP/1.1 b:80"]),
        ] {
            let lines: String = given.iter().map(|value| format!("Via: {value}\r\n")).collect();
            let request = format!("GET / HTTP/{version}\r\nHost: h\r\n{lines}Connection: keep-alive\r\n\r\n");
            let received = judge.passes(&lines, request);
            let ours = format!("{version} {name}");
            let expected: Vec<&str> = given.iter().copied().chain([&*ours]).collect();
            assert_eq!(received.fields.all("Via").collect::<Vec<_>>(), expected);
        }
    }
}

/// RFC 9110 section 7.6: weir is its own backend here, and the lines of Via outgrow `max_headers`.
#[test]
fn a_request_that_loops_ends_at_a_bound() {
    let weir = Weir::start(
        "[runtime]\ncores = 1\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{web}\"\npool = \"app\"\n\
         [pool.app]\n[[pool.app.backend]]\naddress = \"127.0.0.1:{web}\"\n",
    );
    let response = weir.client().get("/");
    assert_eq!(response.status, 431, "{}", response.text());
    assert!(weir.metric("weir_connections_accepted_total", &[]) < 200.0);
}

#[test]
fn a_response_keeps_its_via_and_gets_none() {
    for via in ["", "Via: 1.0 inner, 1.1 varnish\r\n"] {
        let answer = format!("HTTP/1.1 200 OK\r\n{via}Content-Length: 0\r\n\r\n");
        let backend = Backend::http(answers::fixed(answer.clone()));
        let weir = Weir::start(&one_pool(&[&backend], "", ""));
        assert_eq!(String::from_utf8_lossy(&weir.client().get("/").head), answer);
    }
}

#[test]
fn max_forwards_is_counted_down_for_trace_and_options_alone() {
    let judge = Judge::new();
    for (method, sent, arrives) in [
        ("TRACE", "1", "0"),
        ("TRACE", "10", "9"),
        ("OPTIONS", "5", "4"),
        ("OPTIONS", "007", "6"),
        ("GET", "0", "0"),
        ("GET", "5", "5"),
        ("POST", "x", "x"),
        ("trace", "0", "0"),
        ("options", "3", "3"),
    ] {
        let received =
            judge.passes(method, format!("{method} /p HTTP/1.1\r\nHost: h\r\nMax-Forwards: {sent}\r\n\r\n"));
        assert_eq!(received.fields.all("Max-Forwards").collect::<Vec<_>>(), [arrives], "{method} {sent}");
    }
    let before = judge.whole().len();
    for method in ["TRACE", "OPTIONS"] {
        for value in ["", "-1", "+1", "1.5", "0x1", "1, 2", "a", "99999999999999999999999x"] {
            let request = format!("{method} / HTTP/1.1\r\nHost: h\r\nMax-Forwards: {value}\r\n\r\n");
            judge.refuses(&format!("{method}, {value:?}"), request, 400);
        }
        let twice = format!("{method} / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 1\r\nMax-Forwards: 0\r\n\r\n");
        judge.refuses("twice", twice, 400);
    }
    assert_eq!(judge.whole().len(), before);
}

#[test]
fn at_max_forwards_0_weir_answers_itself() {
    let judge = Judge::new();
    for target in ["/p", "*", "http://h/p"] {
        let request = format!("OPTIONS {target} HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n");
        let response = judge.weir.client().ask(request);
        assert_eq!((response.status, response.body.len()), (204, 0), "{target}");
        assert_eq!(response.field("Content-Length"), None, "RFC 9110 section 8.6");
    }
    let trace = "TRACE /p?q HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\nX-A: b\r\nAuthorization: secret\r\n\
                 Cookie: secret\r\nProxy-Authorization: secret\r\n\r\n";
    let response = judge.weir.client().ask(trace);
    assert_eq!(response.status, 200);
    assert_eq!(response.field("Content-Type"), Some("message/http"));
    let text = response.text();
    assert!(text.starts_with("TRACE /p?q HTTP/1.1\r\n"), "{text}");
    assert!(text.contains("\r\nX-A: b\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(judge.backend.connections(), 0, "the backend has heard of none");
    judge.serves_another();
}

#[test]
fn a_trace_has_no_body() {
    let judge = Judge::new();
    let trace = |fields: &str| format!("TRACE / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    judge.refuses("length", trace("Content-Length: 5\r\n") + "hello", 400);
    judge.refuses("chunks", trace("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n", 400);
    judge.passes("none", trace(""));
}

#[test]
fn only_100_continue_is_expected() {
    let judge = Judge::new();
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n{fields}\r\nhello");
    for fields in ["Expect: 100-continue\r\n", "expect: 100-Continue\r\n"] {
        let received = judge.passes(fields, post(fields));
        assert!(received.fields.get("Expect").is_some(), "it is the backend's to answer");
    }
    for fields in [
        "Expect: 200-ok\r\n",
        "Expect: 100-continue, x\r\n",
        "Expect: 100-continue;a=b\r\n",
        "Expect: 100-continue\r\nExpect: x\r\n",
        "Expect: 100 continue\r\n",
        "Expect: \r\n",
    ] {
        judge.refuses(fields, post(fields), 417);
    }
    // HTTP/1.0 expects nothing, and weir speaks 1.1 for it.
    let old = "POST / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello";
    assert_eq!(judge.passes("1.0", old).fields.get("Expect"), None);
}

#[test]
fn weirs_own_answers_are_whole_and_plain() {
    let judge = Judge::new();
    let response = judge.weir.client().ask("GET / HTTP/1.1\r\n\r\n");
    assert_own("400", &response, 400);
    assert_eq!(response.version, "HTTP/1.1");
    assert!(response.field("Content-Length").is_some());
}

/// The types of errors that RFC 9209 §2.3 registers, as far as they may be weir's.
const PROXY_ERRORS: [&str; 10] = [
    "destination_not_found",
    "destination_unavailable",
    "connection_limit_reached",
    "connection_read_timeout",
    "connection_terminated",
    "connection_timeout",
    "connection_write_timeout",
    "http_protocol_error",
    "http_request_error",
    "proxy_internal_response",
];

#[test]
fn weirs_own_answers_say_why_in_proxy_status_and_backends_keep_theirs() {
    let backend = Backend::raw(|mut wire, _| {
        while let Ok(Some(head)) = wire.head() {
            let answer = match String::from_utf8_lossy(&head) {
                head if head.contains("/own") => {
                    "HTTP/1.1 502 Own\r\nProxy-Status: cache; error=dns_error\r\n"
                }
                head if head.contains("/garbage") => "garbage\r\n",
                head if head.contains("/none") => return,
                _ => "HTTP/1.1 200 OK\r\n",
            };
            if wire.send(format!("{answer}Content-Length: 0\r\n\r\n")).is_err() {
                return;
            }
        }
    });
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let field = |request: &str| weir.client().ask(request).field("Proxy-Status").map(str::to_owned);
    for (path, expected) in [("/", None), ("/own", Some("cache; error=dns_error"))] {
        assert_eq!(field(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).as_deref(), expected, "{path}");
    }
    for (request, cause) in [
        ("GET /garbage HTTP/1.1\r\nHost: h\r\n\r\n", "upstream_failed/bad_response"),
        ("GET /none HTTP/1.1\r\nHost: h\r\n\r\n", "upstream_failed/no_response"),
        ("GET / HTTP/1.1\r\n\r\n", "bad_head"),
        ("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "unsupported"),
    ] {
        let said = field(request).unwrap_or_else(|| panic!("{request:?} gets no Proxy-Status"));
        let error = said.strip_prefix("weir; error=").and_then(|rest| rest.split_once("; details="));
        let (error, details) = error.unwrap_or_else(|| panic!("{said}"));
        assert!(PROXY_ERRORS.contains(&error), "{said}");
        assert_eq!(details, format!("\"{cause}\""), "{request:?}");
        assert!(!said.contains(&backend.address()) && !said.contains("127.0.0.1"), "{said}");
    }
}
