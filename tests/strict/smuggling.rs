//! The vectors that are known, each with a canary where a server that reads it otherwise would find a
//! request, and a second client, who must get the answer to what it asked.
//!
//! From the literature: CL.TE, TE.CL, TE.TE and CL.0 (Kettle), 0.CL, TERM.EXT and EXT.TERM (chunk
//! extensions), ONE.TWO and TWO.ONE, client-side and pause-based desync, HTTP/1.0 with chunks, h2c.

use crate::harness::{Client, wait_until};
use crate::judge::{CANARY, Judge, shown};
use std::time::Duration;

/// What may become of a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// This status, the connection closed, no byte at the backend.
    Refused(u16),
    /// It arrives as one request whose body is this; what stands behind it is the next one, if anything.
    OneRequest(&'static str),
}

use Fate::{OneRequest, Refused};

/// The canary is what a server that reads the vector in its other way would take for a request.
const VECTORS: &[(&str, &str, Fate)] = &[
    // Both framings.
    (
        "CL.TE",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "TE.CL",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n26\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "CL.0",
        "Content-Length: 38\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        OneRequest("GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n"),
    ),
    (
        "TE.0",
        "Transfer-Encoding: chunked\r\n\r\n26\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n\r\n0\r\n\r\n",
        OneRequest("GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n"),
    ),
    ("0.CL", "Content-Length : 38\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n", Refused(400)),
    (
        "0.CL, by folding",
        "X: y\r\n Content-Length: 38\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "a hidden length",
        "Content_Length: 38\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "a hidden coding",
        "Content-Length: 5\r\nTransfer_Encoding: chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "lengths twice, short first",
        "Content-Length: 0\r\nContent-Length: 38\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "lengths twice, long first",
        "Content-Length: 38\r\nContent-Length: 0\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "lengths twice, equal",
        "Content-Length: 38\r\nContent-Length: 38\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "a list of lengths",
        "Content-Length: 0, 0\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "a length with a sign",
        "Content-Length: +38\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "a negative length",
        "Content-Length: -1\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "a length in hexadecimal",
        "Content-Length: 0x26\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "a length beyond 64 bits",
        "Content-Length: 18446744073709551654\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "a length beyond 63 bits",
        "Content-Length: 9223372036854775808\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "a length beyond 32 bits",
        "Content-Length: 4294967334\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(413),
    ),
    (
        "a length, line-wrapped",
        "Content-Length:\r\n 38\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "a length cut by a CR",
        "Content-Length: 3\r8\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "a length cut by a NUL",
        "Content-Length: 3\x008\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    // TE.TE.
    (
        "xchunked",
        "Content-Length: 4\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "xchunked alone",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(501),
    ),
    (
        "space before the colon",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "tab before the colon",
        "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "vertical tab",
        "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "form feed",
        "Transfer-Encoding:\x0cchunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "no-break space",
        "Transfer-Encoding:\u{a0}chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    ("no space", "Transfer-Encoding:chunked\r\n\r\n0\r\n\r\n", OneRequest("")),
    ("another case", "tRANSFER-eNCODING: cHUNKED\r\n\r\n0\r\n\r\n", OneRequest("")),
    ("tab around the coding", "Transfer-Encoding:\tchunked\t\r\n\r\n0\r\n\r\n", OneRequest("")),
    (
        "two codings",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "two codings, turned",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(501),
    ),
    (
        "a list of codings",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "identity first",
        "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(501),
    ),
    (
        "chunked twice",
        "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    ("quoted", "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n", Refused(400)),
    (
        "a comma before",
        "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "folded behind",
        "Transfer-Encoding: chunked\r\n folded\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "folded before",
        "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "hidden in a value by LF",
        "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "hidden in a value by CR",
        "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "hidden by a NUL",
        "X: y\0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "hidden by a prefix",
        "\u{feff}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    ("a line break of two LF", "X: y\n\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n", Refused(400)),
    (
        "named away",
        "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n26\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n\r\n0\r\n\r\n",
        OneRequest("GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n"),
    ),
    (
        "a length named away",
        "Connection: close, Content-Length\r\nContent-Length: 38\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        OneRequest("GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n"),
    ),
    // Chunks.
    (
        "a size that overflows to 0",
        "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "a size that overflows to 5",
        "Transfer-Encoding: chunked\r\n\r\nf0000000000000005\r\nhello\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "a size with 0x",
        "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "a negative size",
        "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "TERM.EXT",
        "Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n2f\r\n0\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "EXT.TERM",
        "Transfer-Encoding: chunked\r\n\r\n2;a=\"\n\"\r\nab\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "EXT.TERM by CR",
        "Transfer-Encoding: chunked\r\n\r\n2;\rxx\r\nab\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "ONE.TWO",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX2f\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "a spill of two bytes",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "an LF behind a chunk",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "an LF behind the last size",
        "Transfer-Encoding: chunked\r\n\r\n0\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "a request for a trailer",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "a length in the trailers",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 38\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "a host in the trailers",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nHost: canary\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "a folded trailer",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n Z: GET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    // Upgrades.
    (
        "an upgrade with a body",
        "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 38\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        Refused(400),
    ),
    (
        "an upgrade with chunks",
        "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "an upgrade to h2c with a body",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 38\r\n\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n",
        OneRequest("GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n"),
    ),
];

#[test]
fn no_known_vector_shows_the_backend_a_request_that_nobody_made() {
    let judge = Judge::new();
    for method in ["POST", "GET"] {
        for (case, rest, fate) in VECTORS {
            let case = &format!("{method}, {case}");
            let request = format!("{method} /v HTTP/1.1\r\nHost: h\r\n{rest}");
            match fate {
                Refused(status) => judge.refuses(case, &request, *status),
                OneRequest(body) => {
                    let received = judge.passes(case, &request);
                    assert_eq!(String::from_utf8_lossy(&received.body.data), *body, "{case}");
                }
            }
            // The second client may get the connection that the first one's request went over.
            judge.serves_another();
        }
    }
    assert!(judge.broken().is_empty(), "{}", shown(&judge.broken().concat()));
    let lines: Vec<String> = judge.whole().iter().map(|received| received.line()).collect();
    assert!(lines.iter().all(|line| line.contains(" /v ") || line.contains(" /another ")), "{lines:?}");
}

/// An HTTP/1.0 proxy in front of weir would take the chunks for the next request.
#[test]
fn chunks_in_http_1_0_are_refused() {
    let judge = Judge::new();
    for fields in [
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
    ] {
        judge.refuses(fields, format!("POST / HTTP/1.0\r\nHost: h\r\n{fields}\r\n0\r\n\r\n"), 400);
    }
}

/// Each piece comes when the one before has been read: what a timeout or a read's edge would make of it.
#[test]
fn a_vector_that_pauses_anywhere_means_the_same() {
    let judge = Judge::new();
    for (case, rest, fate) in VECTORS.iter().filter(|(case, ..)| {
        ["CL.TE", "CL.0", "TERM.EXT", "folded behind", "an LF behind a chunk", "a spill of two bytes"]
            .contains(case)
    }) {
        let request = format!("POST /v HTTP/1.1\r\nHost: h\r\n{rest}{CANARY}");
        for cut in (20..request.len().min(150)).step_by(7) {
            let mut client = judge.weir.client();
            client.send(&request[..cut]);
            std::thread::sleep(Duration::from_millis(2));
            let _ = client.wire.send(&request[cut..]);
            judge_fate(&judge, &mut client, case, *fate);
        }
    }
    let of = |part: &str| judge.whole().iter().filter(|received| received.line().contains(part)).count();
    assert_eq!(of("canary"), of("/v"), "only behind CL.0, where it is the client's own next request");
    assert_eq!(judge.weir.client().get("/another").field("X-Target"), Some("/another"));
}

fn judge_fate(judge: &Judge, client: &mut Client, case: &str, fate: Fate) {
    match fate {
        Refused(status) => {
            assert_eq!(client.response().status, status, "{case}");
            client.assert_closed();
        }
        OneRequest(body) => {
            assert_eq!(client.response().field("X-Target"), Some("/v"), "{case}");
            assert_eq!(client.response().field("X-Target"), Some("/canary"), "{case}: asked for by itself");
            let whole = judge.whole();
            let of_it = &whole[whole.len() - 2];
            assert_eq!(String::from_utf8_lossy(&of_it.body.data), body, "{case}");
        }
    }
}

/// A client that stops in the middle of its body, and another that is served meanwhile: the first one's
/// connection to the backend is not the second's.
#[test]
fn a_body_that_pauses_holds_its_own_connection_alone() {
    let judge = Judge::new();
    let mut slow = judge.weir.client();
    slow.send("POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 39\r\n\r\nG");
    wait_until("it has begun to arrive", || judge.backend.open() == 1);
    judge.serves_another();
    slow.send("ET /canary HTTP/1.1\r\nHost: canary\r\n\r\n\r");
    assert_eq!(slow.response().field("X-Target"), Some("/slow"));
    judge.serves_another();
    let slow = judge.whole().into_iter().find(|received| received.line().contains("/slow")).unwrap();
    assert_eq!(slow.body.data, b"GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n\r");
}
