//! The head that goes downstream, byte for byte; and weir's own answers.

use super::*;

const AS_IT_CAME: ResponseRewrite<'static> = ResponseRewrite {
    framing: DownstreamFraming::AsReceived,
    connection: ConnectionField::None,
    upgrade: false,
    added: b"",
};

fn rewritten(text: &str, rewrite: &ResponseRewrite<'_>) -> String {
    let (head, fields) = response(text, Method::Get);
    let mut out = Vec::new();
    write_response(text.as_bytes(), &head, &fields, rewrite, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn an_ordinary_head_goes_on_as_it_came() {
    for text in [
        "HTTP/1.1 200 OK\nServer: nginx\nDate: Mon, 05 Jan 2026 10:00:00 GMT\nContent-Length: 5\nETag: \"x\"\n\n",
        "HTTP/1.1 404 Not Found\nContent-Length: 0\nset-cookie: a\nset-cookie: b\n\n",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTrailer: Digest\nX-Forwarded-For: 1.2.3.4\n\n",
        "HTTP/1.1 407 x\nProxy-Authenticate: Basic\nContent-Length: 0\n\n",
        "HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n",
        "HTTP/1.1 100 Continue\n\n",
    ] {
        let text = crlf(text);
        assert_eq!(rewritten(&text, &AS_IT_CAME), text);
    }
}

#[test]
fn the_status_line_is_ours_with_their_reason() {
    for (line, expected) in [
        ("HTTP/1.1 200", "HTTP/1.1 200 "),
        ("HTTP/1.1 200 ", "HTTP/1.1 200 "),
        ("HTTP/1.0 299 Odd  one", "HTTP/1.1 299 Odd  one"),
        ("HTTP/1.7 599 x", "HTTP/1.1 599 x"),
    ] {
        let text = format!("{line}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(rewritten(&text, &AS_IT_CAME), format!("{expected}\r\nContent-Length: 0\r\n\r\n"));
    }
}

#[test]
fn hop_by_hop_fields_are_taken_out() {
    for (fields, expected) in [
        ("Connection: keep-alive\nKeep-Alive: timeout=5\nA: b\n", "A: b\n"),
        ("A: b\nConnection: x-one\nX-One: 1\nX-Two: 2\n", "A: b\nX-Two: 2\n"),
        ("Connection: set-cookie, date\nSet-Cookie: a\nDate: now\n", "Set-Cookie: a\nDate: now\n"),
        ("Connection: upgrade\nUpgrade: h2\nProxy-Connection: close\nA:b\n", "A: b\n"),
    ] {
        let text = crlf(&format!("HTTP/1.1 200 OK\nContent-Length: 0\n{fields}\n"));
        let expected = crlf(&format!("HTTP/1.1 200 OK\nContent-Length: 0\n{expected}\n"));
        assert_eq!(rewritten(&text, &AS_IT_CAME), expected, "{fields}");
    }
}

#[test]
fn the_client_gets_the_framing_that_it_understands() {
    use DownstreamFraming::{AddChunked, AsReceived, Bare};
    for (framing, fields, expected) in [
        (AddChunked, "A: b\n", "A: b\nTransfer-Encoding: chunked\n"),
        (AddChunked, "", "Transfer-Encoding: chunked\n"),
        (Bare, "A: b\n", "A: b\n"),
        (Bare, "A: b\nTransfer-Encoding: chunked\nTrailer: Digest\nC: d\n", "A: b\nC: d\n"),
        (Bare, "A: b\nTransfer-Encoding: Chunked\n", "A: b\n"),
        (AsReceived, "transfer-encoding: Chunked\nA: b\n", "transfer-encoding: chunked\nA: b\n"),
    ] {
        let text = crlf(&format!("HTTP/1.1 200 OK\n{fields}\n"));
        let rewrite = ResponseRewrite { framing, ..AS_IT_CAME };
        let expected = crlf(&format!("HTTP/1.1 200 OK\n{expected}\n"));
        assert_eq!(rewritten(&text, &rewrite), expected, "{framing:?}, {fields}");
    }
}

#[test]
fn a_204_loses_its_framing_fields() {
    for field in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let text = format!("HTTP/1.1 204 x\r\nA: b\r\n{field}\r\n\r\n");
        assert_eq!(rewritten(&text, &AS_IT_CAME), "HTTP/1.1 204 x\r\nA: b\r\n\r\n");
    }
}

#[test]
fn the_connection_field_is_ours() {
    for (connection, expected) in [
        (ConnectionField::None, ""),
        (ConnectionField::Close, "Connection: close\r\n"),
        (ConnectionField::KeepAlive, "Connection: keep-alive\r\n"),
    ] {
        let text = "HTTP/1.1 200 OK\r\nConnection: foo\r\nContent-Length: 0\r\n\r\n";
        let rewrite = ResponseRewrite { connection, ..AS_IT_CAME };
        let expected = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{expected}\r\n");
        assert_eq!(rewritten(text, &rewrite), expected);
    }
}

#[test]
fn an_upgrade_is_passed_on_when_it_is_there_and_wanted() {
    let text = crlf("HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade\nA: b\n\n");
    let passed = crlf("HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nA: b\nConnection: upgrade\n\n");
    let upgrade = ResponseRewrite { upgrade: true, connection: ConnectionField::Close, ..AS_IT_CAME };
    assert_eq!(rewritten(&text, &upgrade), passed);
    let dropped = crlf("HTTP/1.1 101 Switching Protocols\nA: b\n\n");
    assert_eq!(rewritten(&text, &AS_IT_CAME), dropped);
}

#[test]
fn our_own_answer_says_whose_it_is_and_how_long_its_body_would_be() {
    let proxy_status =
        ProxyStatus { by: "weir", error: "destination_unavailable", causes: ("no_backend", None) };
    let status = "Proxy-Status: weir; error=destination_unavailable; details=\"no_backend\"\n";
    for (close, proxy_status, fields, body) in [
        (true, Some(proxy_status), format!("{status}Connection: close\n"), "no backend is up"),
        (false, None, String::new(), "no backend is up"),
        (true, None, "Connection: close\n".to_owned(), ""),
    ] {
        let mut out = Vec::new();
        let head = AnswerHead { status: 503, content_type: "text/plain", body_len: 16, proxy_status, close };
        write_answer_head(&head, &mut out);
        out.extend_from_slice(body.as_bytes());
        let head = "HTTP/1.1 503 Service Unavailable\nContent-Type: text/plain\nContent-Length: 16\n";
        assert_eq!(String::from_utf8(out.clone()).unwrap(), crlf(&format!("{head}{fields}\n{body}")));
        let method = if body.is_empty() { Method::Head } else { Method::Get };
        let (head, _) = response(&out, method);
        assert_eq!((head.status, head.keep_alive, head.len + body.len()), (503, !close, out.len()));
    }
}

#[test]
fn every_status_of_a_refusal_has_a_reason_phrase() {
    for status in crate::config::OWN_STATUSES {
        assert_ne!(reason_phrase(status), "", "{status}");
    }
    assert_eq!(reason_phrase(299), "");
}

#[test]
fn a_trace_is_answered_with_its_head_but_for_credentials() {
    let text = crlf(
        "\nTRACE /a?b HTTP/1.1\nHost: a\nAuthorization: Basic x\nA:  b\nCookie: c\n\
                     Proxy-Authorization: d\nX-Api-Key: e\nX-Auth-Token: f\nmax-forwards: 0\n\n",
    );
    let (head, fields) = request(&text);
    let mut out = Vec::new();
    write_trace(text.as_bytes(), &head, &fields, &mut out);
    let echo = crlf("TRACE /a?b HTTP/1.1\nHost: a\nA: b\nmax-forwards: 0\n\n");
    let answer =
        crlf("HTTP/1.1 200 OK\nContent-Type: message/http\nContent-Length: 55\nConnection: close\n\n");
    assert_eq!(String::from_utf8(out).unwrap(), answer + &echo);
    assert_eq!(echo.len(), 55);
    let text = "TRACE / HTTP/1.0\r\n\r\n";
    let (head, fields) = request(text);
    let mut out = Vec::new();
    write_trace(text.as_bytes(), &head, &fields, &mut out);
    assert!(out.ends_with(format!("\r\n\r\n{text}").as_bytes()));
}

#[test]
fn an_options_is_answered_with_nothing() {
    let mut out = Vec::new();
    write_no_content(&mut out);
    let (head, _) = response(&out, Method::Options);
    assert_eq!((head.status, head.keep_alive, head.len), (204, false, out.len()));
}
