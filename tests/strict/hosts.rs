//! Host: there once, one host and perhaps a port; and beside an absolute target.

use crate::judge::Judge;

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\n{fields}\r\n")
}

#[test]
fn a_host_that_is_one_arrives_as_it_was_sent() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for host in [
        "h",
        "H.Example",
        "h.example.",
        "h:80",
        "h:",
        "h:65535",
        "h:080",
        "127.0.0.1",
        "127.0.0.1:8080",
        "[::1]",
        "[2001:DB8::1]:443",
        "[::ffff:192.0.2.1]",
        "xn--bcher-kva.example",
        "under_score.example",
        "a-b.c~d",
        "1.2.3.4.5",
        // RFC 3986 has these in a name: a strange one, and no pattern to weir.
        "*",
        "h;i",
    ] {
        let received = judge.passes_on(&mut client, host, get(&format!("Host: {host}\r\n")));
        assert_eq!(received.fields.all("Host").collect::<Vec<_>>(), [host]);
        assert_eq!(received.fields.get("X-Forwarded-Host"), Some(host));
    }
}

#[test]
fn a_host_that_is_missing_repeated_empty_or_none_is_refused() {
    let judge = Judge::new();
    for (case, fields) in [
        ("missing", ""),
        ("missing", "Hosts: h\r\nX-Host: h\r\n"),
        ("only forwarded", "X-Forwarded-Host: h\r\n"),
        ("repeated", "Host: h\r\nHost: h\r\n"),
        ("repeated, in another case", "Host: h\r\nX-A: b\r\nhOST: i\r\n"),
        ("repeated, one empty", "Host: h\r\nHost: \r\n"),
        ("repeated, the first folded away", "Host: h\r\n Host: i\r\n"),
        ("empty", "Host: \r\n"),
        ("empty", "Host:\r\n"),
        ("white space", "Host:  \t \r\n"),
    ] {
        judge.refuses(case, get(fields), 400);
    }
    for host in [
        "h,i",
        "h, i",
        "h i",
        "h\ti",
        "h/",
        "h/path",
        "/h",
        "h?q",
        "h#f",
        "h\\i",
        "http://h",
        "//h",
        "u@h",
        "u:p@h",
        "@h",
        "h@",
        ":80",
        ":",
        "h:80:80",
        "h::80",
        "h:8a",
        "h:+80",
        "h:-1",
        "h: 80",
        "h :80",
        "h:65536",
        "h:99999999999",
        "h:0x50",
        "[::1",
        "::1",
        "[]",
        "[]:80",
        "[::1]80",
        "[::1]:x",
        "[h]",
        "[::1%25eth0]",
        "[fe80::1%eth0]",
        "[v1.x]",
        "[[::1]]",
        "h[::1]",
        "h%",
        "h%2",
        "h%zz",
        "\"h\"",
        "<h>",
        "h|i",
        "{h}",
        "h^",
        "h`",
        "\u{e9}",
        "h\u{a0}",
        "h\u{3002}i",
    ] {
        judge.refuses(host, get(&format!("Host: {host}\r\n")), 400);
    }
    judge.serves_another();
}

#[test]
fn no_byte_that_is_none_of_a_host_passes_in_one() {
    let judge = Judge::new();
    for byte in (0..=0x20u8).chain(0x7f..=0xff).filter(|byte| !b"\t ".contains(byte)) {
        for (before, after) in [("Host: h", "\r\n"), ("Host: ", "h\r\n"), ("Host: a", "b\r\n")] {
            let request = [b"GET / HTTP/1.1\r\n", before.as_bytes(), &[byte], after.as_bytes(), b"\r\n"];
            // CR before CRLF and LF after CR end no line.
            judge.refuses(&format!("{byte:#04x} in Host"), request.concat(), 400);
        }
    }
}

#[test]
fn an_http_1_0_request_may_have_no_host_but_not_a_bad_one() {
    let judge = Judge::new();
    let received = judge.passes("none", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(received.line(), "GET / HTTP/1.0", "1.1 would need a Host");
    let received = judge.passes("one", "GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(received.line(), "GET / HTTP/1.1");
    for fields in ["Host: h\r\nHost: h\r\n", "Host: \r\n", "Host: h/\r\n", "Host: a, b\r\n"] {
        judge.refuses("1.0", format!("GET / HTTP/1.0\r\n{fields}\r\n"), 400);
    }
}

/// RFC 9112 §3.2.2: the target wins, and nobody behind weir gets to see the other.
#[test]
fn beside_an_absolute_target_a_host_must_be_there_and_good_and_is_overruled() {
    let judge = Judge::new();
    for fields in ["Host: other\r\n", "hOsT: a\r\n", "X-A: 1\r\nHost: other:81\r\nX-B: 2\r\n"] {
        let received = judge.passes(fields, format!("GET http://a:80/p HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(received.fields.all("Host").collect::<Vec<_>>(), ["a:80"], "{fields}");
        assert!(!received.text().contains("other"), "{}", received.text());
    }
    for fields in
        ["", "Host: \r\n", "Host: b/\r\n", "Host: a\r\nHost: a\r\n", "Host: a, b\r\n", "Host: u@a\r\n"]
    {
        judge.refuses(fields, format!("GET http://a/p HTTP/1.1\r\n{fields}\r\n"), 400);
    }
}

/// A route by host must see the host that the backend will see.
#[test]
fn a_route_goes_by_the_host_of_an_absolute_target() {
    use crate::harness::{Backend, Weir, answers};
    let (plain, admin) = (Backend::http(answers::text("plain")), Backend::http(answers::text("admin")));
    let weir = Weir::start(&format!(
        "[runtime]\ncores = 1\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{{web}}\"\n\
         [[route]]\nhost = \"admin.example\"\npool = \"admin\"\n[[route]]\npool = \"plain\"\n\
         [pool.admin]\n[[pool.admin.backend]]\naddress = \"{}\"\n\
         [pool.plain]\n[[pool.plain.backend]]\naddress = \"{}\"\n",
        admin.address(),
        plain.address()
    ));
    for (target, host, expected) in [
        ("/", "admin.example", "admin"),
        ("/", "ADMIN.example:80", "admin"),
        ("/", "www.example", "plain"),
        ("http://admin.example/", "www.example", "admin"),
        ("http://www.example/", "admin.example", "plain"),
    ] {
        let response = weir.client().ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(response.text(), expected, "{target}, {host}");
    }
}
