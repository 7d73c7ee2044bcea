//! Ordinary requests and responses arrive byte for byte: names in their case, lines in their order, and
//! behind them only what weir adds.

use crate::harness::{Backend, Weir, answers, one_pool};
use crate::judge::{Judge, assert_as_sent, assert_as_sent_but_for};

/// Heads as clients of the day send them.
const HEADS: &[(&str, &str)] = &[
    ("curl", "GET /index.html HTTP/1.1\r\nHost: h\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"),
    (
        "Firefox",
        "GET /search?q=caf%C3%A9&lang=de HTTP/1.1\r\nHost: h\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
         Accept-Language: de,en-US;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nDNT: 1\r\n\
         Cookie: session=abc123; theme=dark; _ga=GA1.2.3.4\r\nUpgrade-Insecure-Requests: 1\r\n\
         Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nSec-Fetch-User: ?1\r\n\
         Priority: u=0, i\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\r\n",
    ),
    (
        "Chrome",
        "GET / HTTP/1.1\r\nHost: h\r\nsec-ch-ua: \"Chromium\";v=\"126\", \"Not/A)Brand\";v=\"8\"\r\n\
         sec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0\r\n\
         Accept: text/html,*/*;q=0.8\r\nReferer: http://h/?a=b|c\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
         If-None-Match: W/\"5f-18e\"\r\nIf-Modified-Since: Mon, 01 Jul 2024 10:00:00 GMT\r\n\r\n",
    ),
    (
        "Safari",
        "GET /a/b/c.css?v=1 HTTP/1.1\r\nHost: h\r\nAccept: text/css,*/*;q=0.1\r\nSec-Fetch-Site: same-origin\r\n\
         Range: bytes=0-1023\r\nIf-Range: \"abc\"\r\nAccept-Language: en-GB,en;q=0.9\r\n\r\n",
    ),
    (
        "Go",
        "GET /v1/items HTTP/1.1\r\nHost: h\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n",
    ),
    (
        "Java",
        "GET /api HTTP/1.1\r\nAccept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2\r\n\
         User-Agent: Java/21.0.2\r\nHost: h\r\n\r\n",
    ),
    (
        "Python",
        "DELETE /items/7 HTTP/1.1\r\nHost: h\r\nUser-Agent: python-requests/2.32.3\r\n\
         Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nAuthorization: Bearer eyJhbGciOi.JIUzI1.NiJ9\r\n\r\n",
    ),
    (
        "fetch",
        "OPTIONS /api HTTP/1.1\r\nHost: h\r\nOrigin: https://app.example\r\n\
         Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: content-type,x-custom\r\n\r\n",
    ),
    (
        "wget",
        "HEAD /file.iso HTTP/1.1\r\nHost: h\r\nUser-Agent: Wget/1.21.4\r\nAccept: */*\r\nAccept-Encoding: identity\r\n\r\n",
    ),
    (
        "WebDAV",
        "PROPFIND /dav/ HTTP/1.1\r\nHost: h\r\nDepth: 1\r\nTranslate: f\r\nOverwrite: T\r\nLock-Token: <urn:uuid:1>\r\n\r\n",
    ),
    (
        "odd, but right",
        "M-SEARCH /x?%20 HTTP/1.1\r\nhost: h\r\nx-lower: 1\r\nX-UPPER: 2\r\nx-lower: 3\r\n!#$%&'*+-.^_`|~: token\r\n\
         X-Tab: a\tb\r\nX-Bytes: \u{e9}\u{1f600}\r\nX-Quoted: \"a, b; c\"\r\nX-Long-Name-With-Many-Words-In-It: y\r\n\
         1: 2\r\nProxy-Authorization: Basic eA==\r\nFrom: a@b\r\n\r\n",
    ),
];

#[test]
fn ordinary_heads_arrive_byte_for_byte() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for (case, head) in HEADS {
        let received = judge.passes_on(&mut client, case, head);
        assert_as_sent(case, &received, head);
    }
}

#[test]
fn ordinary_requests_with_bodies_arrive_byte_for_byte() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for (case, head, body) in [
        (
            "a form",
            "POST /login HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 27\r\n\r\n",
            "user=admin&password=hunter2",
        ),
        (
            "Go, in chunks",
            "PUT /o HTTP/1.1\r\nHost: h\r\nUser-Agent: Go-http-client/1.1\r\nTransfer-Encoding: chunked\r\nAccept-Encoding: gzip\r\n\r\n",
            "7\r\n{\"a\":1}\r\n0\r\n\r\n",
        ),
        (
            "gRPC-web, with trailers",
            "POST /g HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n",
            "3\r\nabc\r\n0\r\ngrpc-status: 0\r\n\r\n",
        ),
        (
            "multipart",
            "POST /u HTTP/1.1\r\nHost: h\r\nContent-Length: 17\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n",
            "--x\r\n\r\na\r\n--x--\r\n",
        ),
    ] {
        let received = judge.passes_on(&mut client, case, format!("{head}{body}"));
        assert_as_sent(case, &received, head);
        assert_eq!(String::from_utf8_lossy(&received.body.raw), body, "{case}");
    }
}

#[test]
fn with_forwarding_off_only_via_is_added() {
    let judge = Judge::with("forwarded = \"off\"", "");
    for (case, head) in HEADS {
        let received = judge.passes(case, head);
        assert_as_sent_but_for(case, &received, head, &["Via: 1.1 weir"]);
    }
}

/// What is of the hop goes; all else stays as it was, and in its order.
#[test]
fn what_is_left_of_a_head_with_hop_by_hop_fields_is_byte_for_byte() {
    let judge = Judge::new();
    let sent = "GET / HTTP/1.1\r\nConnection: keep-alive, X-Hop\r\nHost: h\r\nKeep-Alive: 300\r\nX-A: 1\r\n\
                TE: trailers\r\nx-hop: 2\r\nProxy-Connection: keep-alive\r\nX-B: 3\r\nUpgrade: h2c\r\n\r\n";
    let left = "GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-B: 3\r\n\r\n";
    assert_as_sent("hop by hop", &judge.passes("hop by hop", sent), left);
}

#[test]
fn ordinary_responses_arrive_byte_for_byte() {
    for answer in [
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 01 Jul 2024 10:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\n\
         Content-Length: 5\r\nETag: \"x\"\r\nSet-Cookie: a=b; Path=/\r\nSet-Cookie: c=d; HttpOnly\r\nVary: Accept-Encoding\r\n\
         Age: 0\r\nVia: 1.1 varnish\r\nX-Powered-By: PHP/8.3\r\nx-lower: 1\r\nContent-Encoding: identity\r\n\r\nhello",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nX-Bytes: \u{e9}\r\n\r\nhello",
        "HTTP/1.1 299 A reason of (its) own: \u{e9}\t!\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 599 Far out\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 301 Moved\r\nLocation: //other.example/%2F..?a#b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\", Digest a=b\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 405 No\r\nAllow: GET, head\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    ] {
        let backend = Backend::http(answers::fixed(answer));
        let weir = Weir::start(&one_pool(&[&backend], "", ""));
        let response = weir.client().get("/");
        let came = [response.head, response.raw_body].concat();
        assert_eq!(String::from_utf8_lossy(&came), answer);
    }
}
