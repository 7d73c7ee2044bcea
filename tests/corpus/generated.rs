//! Messages put together from what is sent and from what is sent to smuggle, several in a row, mutated, and
//! cut anywhere: the fuzzed properties hold for them, httparse and the independent reader beside weir.

use super::properties::{chunk_decoder, exchange, http2, request_head, response_head};
use proptest::prelude::*;
use proptest::sample::{Index, select};

const REQUEST_LINES: &[&str] = &[
    "GET / HTTP/1.1",
    "GET /a?b=c%20d HTTP/1.1",
    "HEAD /%2e%2e/ HTTP/1.1",
    "POST /form HTTP/1.1",
    "PUT http://b.example:81/x HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "OPTIONS http://b.example HTTP/1.1",
    "TRACE / HTTP/1.1",
    "CONNECT a.example:443 HTTP/1.1",
    "GET / HTTP/1.0",
    "GET / HTTP/1.2",
    "GET  / HTTP/1.1",
    "GET /a b HTTP/1.1",
    "get /\tHTTP/1.1",
    "GET / HTTP/2.0",
    "GET /\r HTTP/1.1",
];

const STATUS_LINES: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 100 Continue",
    "HTTP/1.1 103 Early Hints",
    "HTTP/1.1 101 Switching Protocols",
    "HTTP/1.1 503 \u{fc}",
    "HTTP/1.1 2000 OK",
    "HTTP/1.1 99 Low",
    "HTTP/2 200 OK",
    "ICY 200 OK",
];

/// Method and target, or status, of messages of HTTP/2.
const HTTP2_LINES: &[&str] = &[
    "GET\nhttp://a.example/",
    "POST\nhttps://a.example:81/x?y=%20{}",
    "PUT\n/form",
    "HEAD\nhttp://a.example",
    "OPTIONS\n*",
    "CONNECT\na.example:443",
    "CONNECT\nhttp://a.example/chat",
    "200",
    "204",
    "304",
    "100",
    "101",
    "503",
];

const FIELDS: &[&str] = &[
    "Host: a.example",
    "Host: b.example:8080",
    "host:[::1]:1",
    "Host:",
    "Host: a, b",
    "User-Agent: x",
    "Accept:\ttext/html \t",
    "Cookie: a=b; c=d",
    "Empty:",
    "Connection: keep-alive",
    "Connection: close",
    "Connection: upgrade, x-a",
    "Connection: content-length, host, cookie, X-Forwarded-For",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: close",
    "X-A: for us",
    "Upgrade: websocket",
    "Upgrade: h2c",
    "TE: trailers",
    "Trailer: Digest",
    "Expect: 100-continue",
    "Max-Forwards: 1",
    "Via: 1.0 x",
    "X-Forwarded-For: 1.2.3.4",
    "X_Forwarded_For: 1.2.3.4",
    "X-Real-IP: 1.2.3.4",
    "Forwarded: for=1.2.3.4",
    "Content-Length: 5",
    "content-length: 5",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Content-Length: 0x5",
    "Content-Length: 05",
    "Content-Length: ",
    "Content-Length:\x0b5",
    "Content_Length: 5",
    "Content-Length : 5",
    "Transfer-Encoding: chunked",
    "transfer-encoding:Chunked ",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding\t: chunked",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding:\r\n chunked",
    " Transfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "X: y\0Transfer-Encoding: chunked",
    "X\u{fc}: y",
    ": y",
    "no colon",
];

/// Bodies that some of the framings above fit.
const BODIES: &[&str] = &[
    "",
    "hello",
    "5\r\nhello\r\n0\r\n\r\n",
    "5;a=\"b\"\r\nhello\r\n0\r\nDigest: x\r\n\r\n",
    "2\r\nhe\r\n3 ;x\r\nllo\r\n00\r\nContent-Length: 3\r\n\r\n",
    "0\r\n\r\n",
    "0\n\n",
    "5\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhelloX0\r\n\r\n",
    "ffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
    "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// A head from these, mostly with a host.
fn head(lines: &'static [&'static str]) -> impl Strategy<Value = String> {
    (select(lines), prop::bool::weighted(0.8), prop::collection::vec(select(FIELDS), 0..5)).prop_map(
        |(line, host, fields)| {
            let host = if host { "Host: a.example\r\n" } else { "" };
            let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
            format!("{line}\r\n{host}{fields}\r\n")
        },
    )
}

/// A message of HTTP/2, as its property has it.
fn http2_message() -> impl Strategy<Value = Vec<u8>> {
    (select(HTTP2_LINES), prop::collection::vec(select(FIELDS), 0..6)).prop_map(|(line, fields)| {
        let field = |field: &&str| match field.split_once(':') {
            Some((name, value)) => format!("\n{}:{}", name.to_ascii_lowercase(), value.trim()),
            None => format!("\n{field}"),
        };
        (line.to_owned() + &fields.iter().map(field).collect::<String>()).into_bytes()
    })
}

/// One that is framed as it says.
fn framed(lines: Vec<&'static str>, fields: Vec<&'static str>) -> impl Strategy<Value = String> {
    let framing = prop_oneof![
        2 => Just(("", "")),
        2 => Just(("Content-Length: 5\r\n", "hello")),
        1 => Just(("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")),
        1 => Just(("Transfer-Encoding: Chunked\r\n", "2;a=b\r\nhe\r\n03\r\nllo\r\n0\r\nDigest: x\r\n\r\n")),
    ];
    (select(lines), prop::collection::vec(select(fields), 0..3), framing).prop_map(
        |(line, fields, (framing, body))| {
            let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
            format!("{line}\r\n{fields}{framing}\r\n{body}")
        },
    )
}

fn good_request() -> impl Strategy<Value = String> {
    framed(
        vec![
            "GET / HTTP/1.1\r\nHost: a",
            "POST /x HTTP/1.1\r\nHost: a",
            "HEAD / HTTP/1.1\r\nHost: a",
            "PUT http://b/c HTTP/1.1\r\nHost: a",
            "GET / HTTP/1.0",
            "GET / HTTP/1.0\r\nConnection: keep-alive",
        ],
        vec!["X-B: c", "Cookie: d", "Connection: x-b", "Expect: 100-continue"],
    )
}

fn good_response() -> impl Strategy<Value = String> {
    framed(
        vec![
            "HTTP/1.1 200 OK",
            "HTTP/1.1 404 Not Found",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
            "HTTP/1.1 304 Not Modified",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive",
        ],
        vec!["Set-Cookie: a", "Connection: close", "Keep-Alive: timeout=3", "Connection: x-b", "X-B: c"],
    )
}

/// Bytes that are shown as text when a test fails.
#[derive(Clone)]
struct Shown(Vec<u8>);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Bytes, some of them others.
fn mutated(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), select(b"\r\n\t :,;0a\0\x7f_-".as_slice())];
    let change = (any::<Index>(), byte, 0..4);
    let changes = prop_oneof![1 => Just(vec![]), 2 => prop::collection::vec(change, 1..4)];
    (bytes, changes).prop_map(|(mut bytes, changes)| {
        for (at, byte, how) in changes {
            let at = at.index(bytes.len() + 1);
            match how {
                0 if at < bytes.len() => bytes[at] = byte,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 if at < bytes.len() => {
                    let again = bytes[at..].to_vec();
                    bytes.extend(again);
                }
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

fn with_body(head: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    (head, select(BODIES)).prop_map(|(head, body)| (head + body).into_bytes())
}

/// How a request and its answer meet.
#[derive(Clone, Copy, Debug)]
enum Order {
    OneAfterTheOther,
    PieceByPiece,
    AnswerFirst,
}

/// A script of exchanges: requests and answers in pieces, and now and then a close.
fn script() -> impl Strategy<Value = Vec<u8>> {
    let request = prop_oneof![
        4 => good_request().prop_map(String::into_bytes),
        1 => (good_request(), good_request()).prop_map(|(a, b)| (a + &b).into_bytes()),
        1 => mutated(good_request().prop_map(String::into_bytes)),
        1 => with_body(head(REQUEST_LINES)),
    ];
    let response = prop_oneof![
        4 => good_response().prop_map(String::into_bytes),
        1 => mutated(good_response().prop_map(String::into_bytes)),
        1 => with_body(head(STATUS_LINES)),
    ];
    let order = select(vec![Order::OneAfterTheOther, Order::PieceByPiece, Order::AnswerFirst]);
    let end = prop_oneof![5 => Just(""), 2 => Just("B"), 1 => Just("C")];
    let one = (request, response, any::<[Index; 4]>(), order, end);
    prop::collection::vec(one, 1..4).prop_map(|exchanges| {
        let mut script = Vec::new();
        let mut event = |kind: &str, bytes: &[u8]| {
            script.push(0xff);
            script.extend_from_slice(kind.as_bytes());
            script.extend(bytes.iter().filter(|&&b| b != 0xff));
        };
        for (request, response, cuts, order, end) in exchanges {
            let [up, down] = [(&request, &cuts[..2]), (&response, &cuts[2..])].map(|(bytes, at)| {
                let mut at = [at[0].index(bytes.len() + 1), at[1].index(bytes.len() + 1)];
                at.sort_unstable();
                [&bytes[..at[0]], &bytes[at[0]..at[1]], &bytes[at[1]..]]
            });
            let pieces: Vec<(&str, &[u8])> = match order {
                Order::OneAfterTheOther => {
                    up.map(|p| ("c", p)).into_iter().chain(down.map(|p| ("b", p))).collect()
                }
                Order::PieceByPiece => (0..3).flat_map(|i| [("c", up[i]), ("b", down[i])]).collect(),
                Order::AnswerFirst => {
                    vec![
                        ("c", up[0]),
                        ("b", down[0]),
                        ("b", down[1]),
                        ("b", down[2]),
                        ("c", up[1]),
                        ("c", up[2]),
                    ]
                }
            };
            for (kind, bytes) in pieces.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
                event(kind, bytes);
            }
            if !end.is_empty() {
                event(end, b"");
            }
        }
        script
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_request_head_means_the_same_to_all_before_and_after(Shown(bytes) in mutated(with_body(head(REQUEST_LINES))).prop_map(Shown)) {
        request_head::holds(&bytes);
    }

    #[test]
    fn any_response_head_means_the_same_to_all_before_and_after(Shown(bytes) in mutated(with_body(head(STATUS_LINES))).prop_map(Shown)) {
        response_head::holds(&bytes);
    }

    #[test]
    fn any_http_2_message_is_one_and_the_same_on_the_other_side(Shown(bytes) in mutated(http2_message()).prop_map(Shown)) {
        http2::holds(&bytes);
    }

    #[test]
    fn any_chunked_body_is_the_same_to_all_however_it_is_cut(
        Shown(bytes) in mutated(select(BODIES).prop_map(|body| body.as_bytes().to_vec())).prop_map(Shown),
    ) {
        chunk_decoder::holds(&bytes);
    }

    #[test]
    fn backends_get_the_requests_and_clients_the_answers_however_they_are_cut(Shown(script) in script().prop_map(Shown)) {
        exchange::holds(&script);
    }
}
