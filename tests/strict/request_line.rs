//! The request line: three words and CRLF, exactly; the forms of targets; versions; methods.

use crate::judge::Judge;

const ALLOWED_IN_TOKEN: &[u8] = b"!#$%&'*+-.^_`|~";

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || ALLOWED_IN_TOKEN.contains(&byte)
}

fn with(before: &str, byte: u8, after: &str) -> Vec<u8> {
    [before.as_bytes(), &[byte], after.as_bytes()].concat()
}

const REST: &str = " HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn a_method_is_a_token_and_arrives_as_it_was_sent() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for byte in 0..=255u8 {
        let case = format!("{byte:#04x} in a method");
        let request = with("G", byte, "T / HTTP/1.1\r\nHost: h\r\n\r\n");
        if is_token(byte) {
            let received = judge.passes_on(&mut client, &case, &request);
            assert!(received.head.starts_with(&with("G", byte, "T / HTTP/1.1\r\n")), "{case}");
        } else {
            judge.refuses(&case, &request, 400);
        }
    }
}

#[test]
fn a_target_has_visible_ascii_alone_and_arrives_as_it_was_sent() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for byte in 0..=255u8 {
        for (before, after) in [("/a", "b"), ("/", ""), ("/?q=", "r")] {
            let case = format!("{byte:#04x} in a target");
            let line = [b"GET ".as_slice(), &with(before, byte, after), b" HTTP/1.1\r\n"].concat();
            let request = [line.as_slice(), b"Host: h\r\n\r\n"].concat();
            if byte.is_ascii_graphic() && byte != b'#' {
                let received = judge.passes_on(&mut client, &case, &request);
                assert!(received.head.starts_with(&line), "{case}: {}", received.line());
            } else {
                judge.refuses(&case, &request, 400);
            }
        }
    }
}

/// Some servers take a lone CR or LF for a line's end, some drop it, some stop at NUL.
#[test]
fn a_bare_cr_or_lf_or_nul_is_refused_wherever_it_stands_in_a_head() {
    let judge = Judge::new();
    let head = b"POST /p?q HTTP/1.1\r\nHost: h\r\nX-A: b c\r\nContent-Length: 0\r\n\r\n";
    for byte in *b"\r\n\0\x0b\x0c" {
        // An LF before the last LF is behind the head.
        for at in 0..head.len() - 1 {
            let request = [&head[..at], &[byte], &head[at..]].concat();
            judge.refuses(&format!("{byte:#04x} before byte {at}"), request, 400);
        }
    }
    // And in the place of a CRLF.
    for (at, _) in head.windows(2).enumerate().filter(|(_, window)| *window == b"\r\n") {
        for end in ["\r", "\n", "\n\r", "\r\r\n", "\n\n", "\0\n"] {
            let request = [&head[..at], end.as_bytes(), &head[at + 2..]].concat();
            judge.refuses(&format!("{end:?} at {at} for CRLF"), request, 400);
        }
    }
    judge.serves_another();
}

#[test]
fn a_request_line_has_three_words_and_single_spaces() {
    let judge = Judge::new();
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "\tGET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / HTTP/1.1\t",
        "GET\x0b/ HTTP/1.1",
        "GET /\x0cHTTP/1.1",
        "GET\u{a0}/ HTTP/1.1",
        "GET / HTTP/1.1 HTTP/1.1",
        "GET /a /b HTTP/1.1",
        "GET /a HTTP/1.0 HTTP/1.1",
        "GET HTTP/1.1",
        "GET / ",
        "GET /",
        "GET ",
        "GET",
        "/ HTTP/1.1",
        " / HTTP/1.1",
    ] {
        judge.refuses("request line", format!("{line}\r\nHost: h\r\n\r\n"), 400);
    }
    judge.serves_another();
}

#[test]
fn an_origin_form_goes_on_raw() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for target in [
        "/",
        "//",
        "/.",
        "/..",
        "/a/../b",
        "/a//b",
        "/%2F",
        "/%2f",
        "/%5C",
        "/\\",
        "/%00",
        "/%zz",
        "/%",
        "/?",
        "/??",
        "/?a=/../b",
        "/a?b?c",
        "/a;b=c/d",
        "/a|b",
        "/{a}",
        "/\"a\"",
        "/<a>",
        "/^",
        "/`",
        "/*",
        "/http://evil/",
        "/@evil",
        "/:80",
        "/[::1]",
        "/%E2%82%AC",
        "/%0d%0aX:y",
        "/a+b",
        "/~a",
        "/!$&'(),",
    ] {
        let received = judge.passes_on(&mut client, "origin form", format!("GET {target}{REST}"));
        assert_eq!(received.line(), format!("GET {target} HTTP/1.1"));
    }
}

#[test]
fn an_absolute_form_goes_on_in_origin_form_and_its_authority_is_the_host() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for (method, target, origin, host) in [
        ("GET", "http://a.example/p?q", "/p?q", "a.example"),
        ("GET", "http://a.example:8080/p", "/p", "a.example:8080"),
        ("GET", "https://a.example/p", "/p", "a.example"),
        ("GET", "HTTP://A.Example/P", "/P", "A.Example"),
        ("GET", "hTtPs://a/", "/", "a"),
        ("GET", "http://a", "/", "a"),
        ("GET", "http://a?q", "/?q", "a"),
        ("GET", "http://[::1]:81/", "/", "[::1]:81"),
        ("GET", "http://127.0.0.1/", "/", "127.0.0.1"),
        ("POST", "http://a//b", "//b", "a"),
        ("OPTIONS", "http://a", "*", "a"),
        ("OPTIONS", "http://a/", "/", "a"),
        ("OPTIONS", "http://a?q", "/?q", "a"),
        ("GET", "http://a/http://b/", "/http://b/", "a"),
    ] {
        let received = judge.passes_on(
            &mut client,
            target,
            format!("{method} {target} HTTP/1.1\r\nHost: other\r\n\r\n"),
        );
        assert_eq!(received.line(), format!("{method} {origin} HTTP/1.1"), "{target}");
        assert_eq!(received.fields.all("Host").collect::<Vec<_>>(), [host], "{target}");
        assert_eq!(received.fields.get("X-Forwarded-Host"), Some(host), "{target}");
    }
}

#[test]
fn a_target_in_no_form_or_in_another_methods_form_is_refused() {
    let judge = Judge::new();
    for (method, target) in [
        ("GET", "*"),
        ("POST", "*"),
        ("options", "*"),
        ("OPTIONS", "*a"),
        ("OPTIONS", "**"),
        ("OPTIONS", "*?q"),
        ("GET", "h:80"),
        ("GET", "h"),
        ("GET", "path/to"),
        ("GET", "?q"),
        ("GET", "\\path"),
        ("GET", "http:"),
        ("GET", "http:/h/"),
        ("GET", "http:h/"),
        ("GET", "http://"),
        ("GET", "http:///p"),
        ("GET", "http://?q"),
        ("GET", "http://:80/"),
        ("GET", "http://user@h/"),
        ("GET", "http://user:secret@h/"),
        ("GET", "http://h:port/"),
        ("GET", "http://h:65536/"),
        ("GET", "http://h:+80/"),
        ("GET", "http://h:80:80/"),
        ("GET", "http://h\\evil/"),
        ("GET", "http://[::1/"),
        ("GET", "http://[::g]/"),
        ("GET", "http://h%zz/"),
        ("GET", "http://h^i/"),
        ("GET", "http://h,i/"),
        ("GET", "ftp://h/"),
        ("GET", "ws://h/"),
        ("GET", "file:///etc/passwd"),
        ("GET", "javascript:1"),
        ("GET", "xhttp://h/"),
        ("GET", "http://h/#f"),
        ("CONNECT", "/"),
        ("CONNECT", "*"),
        ("CONNECT", "h"),
        ("CONNECT", "h:"),
        ("CONNECT", ":443"),
        ("CONNECT", "http://h:443/"),
        ("CONNECT", "user@h:443"),
        ("connect", "h:443"),
    ] {
        judge.refuses("target", format!("{method} {target}{REST}"), 400);
    }
    judge.serves_another();
}

#[test]
fn connect_is_not_done_and_what_follows_it_is_no_request() {
    let judge = Judge::new();
    for target in ["h:443", "[::1]:443", "127.0.0.1:22"] {
        judge.refuses("CONNECT", format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"), 501);
    }
}

#[test]
fn asterisk_is_passed_on_for_options() {
    let judge = Judge::new();
    let received = judge.passes("asterisk", format!("OPTIONS *{REST}"));
    assert_eq!(received.line(), "OPTIONS * HTTP/1.1");
}

#[test]
fn a_minor_version_above_1_reads_as_1_1_and_goes_on_as_1_1() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for version in ["1.1", "1.2", "1.9"] {
        let received =
            judge.passes_on(&mut client, version, format!("GET / HTTP/{version}\r\nHost: h\r\n\r\n"));
        assert_eq!(received.line(), "GET / HTTP/1.1");
        judge.refuses(version, format!("GET / HTTP/{version}\r\n\r\n"), 400);
    }
}

#[test]
fn other_major_versions_are_not_supported_and_what_is_no_version_is_malformed() {
    let judge = Judge::new();
    for version in ["HTTP/2.0", "HTTP/3.0", "HTTP/9.9", "HTTP/0.9"] {
        judge.refuses(version, format!("GET / {version}\r\nHost: h\r\n\r\n"), 505);
    }
    for version in [
        "HTTP/1",
        "HTTP/1.",
        "HTTP/.1",
        "HTTP/11",
        "HTTP/1.1.1",
        "HTTP/01.1",
        "HTTP/1.01",
        "HTTP/1.10",
        "HTTP/10.1",
        "HTTP/1,1",
        "HTTP/+1.1",
        "HTTP/1.-1",
        "HTTP/a.1",
        "HTTP/1.x",
        "HTTP\\1.1",
        "HTTP 1.1",
        "http/1.1",
        "Http/1.1",
        "HTTPS/1.1",
        "HTTP/1.1;x",
        "HTTP/1.1,",
        "HTTP//1.1",
        "ICAP/1.0",
        "HTP/1.1",
        "HTTP/\u{b2}.1",
        "HTTP/1.1\0",
        "1.1",
        "HTTP",
    ] {
        judge.refuses(version, format!("GET / {version}\r\nHost: h\r\n\r\n"), 400);
    }
    judge.refuses("a simple request of HTTP/0.9", "GET /\r\n", 400);
    judge.serves_another();
}

/// `head` is not HEAD: its answer has a body, and `Connect` makes no tunnel.
#[test]
fn methods_are_told_apart_by_case() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for method in ["get", "Get", "head", "Head", "options", "trace", "post", "PURGE", "x"] {
        let received = judge.passes_on(&mut client, method, format!("{method} /m{REST}"));
        assert_eq!(received.line(), format!("{method} /m HTTP/1.1"));
    }
    let response = client.ask(format!("HEAD /m{REST}"));
    assert_eq!((response.status, response.body.len()), (200, 0));
    client.send(format!("head /m{REST}"));
    assert_eq!(client.response_to("GET").text(), "ok", "a body, since it is no HEAD");
    judge.refuses("Connect", "Connect h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 400);
}

#[test]
fn a_few_empty_lines_before_a_request_are_skipped_and_more_are_refused() {
    let judge = Judge::new();
    for count in 0..=4 {
        let received = judge.passes("empty lines", format!("{}GET /{REST}", "\r\n".repeat(count)));
        assert!(received.head.starts_with(b"GET / "), "they are not passed on");
    }
    judge.refuses("five empty lines", format!("{}GET /{REST}", "\r\n".repeat(5)), 400);
    for lines in ["\n", "\r", "\r\n\n", " \r\n", "\0\r\n"] {
        judge.refuses("no empty line", format!("{lines}GET /{REST}"), 400);
    }
}
