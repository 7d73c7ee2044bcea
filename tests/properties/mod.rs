//! What must hold for any bytes at all: the properties that are fuzzed, and run over the kept corpus.
//!
//! Shared by the fuzz targets (`fuzz/fuzz_targets`, on nightly) and by `tests/corpus` (ordinary tests), so
//! that both ask the same. Each `holds` panics if its property does not. Nothing here knows how weir does
//! what it does: it calls what production calls, and judges by readers of its own.
//!
//! | file | what |
//! |---|---|
//! | `request_head.rs` | a request head: accepted or not, and what goes up for it |
//! | `response_head.rs` | a response head, and what goes down for it |
//! | `chunk_decoder.rs` | a chunked body |
//! | `http2.rs` | HTTP/2 fields and DATA as HTTP/1.1, and the frames that the meter sees |
//! | `exchange.rs` | whole exchanges: all that clients and backends see |
//! | `relay.rs` | the proxy without sockets, for `exchange.rs` |
//! | `meaning.rs` | what of a message may not change on its way |
//! | `reader.rs` | an independent reader, strict or with the quirks of others |

#![allow(dead_code, unreachable_pub, reason = "each target uses a part")]

pub mod chunk_decoder;
pub mod exchange;
pub mod http2;
pub mod meaning;
pub mod reader;
pub mod relay;
pub mod request_head;
pub mod response_head;

use weir::http1::{BadHead, HeadLimits, Parse};

/// The limits of a listener without settings.
pub const LIMITS: HeadLimits = HeadLimits { max_head: 32 << 10, max_headers: 100 };

/// Bytes for a message that a person reads.
pub fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Places to cut `len` bytes at: all of them, unless there are very many.
pub fn places(len: usize) -> impl Iterator<Item = usize> {
    (0..=len).step_by(1 + len / 256)
}

/// No byte that one reader takes for an end, or for nothing, and another does not.
pub fn assert_clean(head: &[u8]) {
    for (at, &byte) in head.iter().enumerate() {
        let fine = match byte {
            b'\r' => head.get(at + 1) == Some(&b'\n'),
            b'\n' => at > 0 && head[at - 1] == b'\r',
            b'\t' => true,
            _ => byte >= b' ' && byte != 0x7f,
        };
        assert!(fine, "byte {at} is {byte:#04x} in {}", shown(head));
    }
}

/// As bytes come, the answer is "not yet" and then the one that it stays.
pub fn assert_stays<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    verdict: &Result<Parse<T>, BadHead>,
    len: impl Fn(&T) -> usize,
    parse: impl Fn(&[u8]) -> Result<Parse<T>, BadHead>,
) {
    let whole_from = match verdict {
        Ok(Parse::Complete(head)) => len(head),
        Ok(Parse::Partial) | Err(_) => usize::MAX,
    };
    for cut in places(bytes.len())
        .chain([whole_from.min(bytes.len()), whole_from.min(bytes.len()).saturating_sub(1)])
    {
        let so_far = parse(&bytes[..cut]);
        let fine = match (&so_far, verdict) {
            (Ok(Parse::Partial), _) => cut < whole_from,
            (Ok(Parse::Complete(_)), _) => cut >= whole_from && so_far == *verdict,
            (Err(_), _) => so_far == *verdict,
        };
        assert!(fine, "{so_far:?} after {cut} bytes, but {verdict:?} after all of {}", shown(bytes));
    }
}
