//! Heads for the properties: good ones, nearly good ones, and places to cut them.

use proptest::prelude::*;

/// Places at which a stream is cut, to be taken modulo its length.
pub(super) fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..12)
}

/// `bytes` in pieces, some perhaps empty.
pub(super) fn cut<'a>(bytes: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = at.iter().map(|index| index.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// A field line of no special meaning, or of one that fits any head.
fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]{0,20}: [!-~]{1,40}\r\n",
        2 => "X-[A-Za-z]{1,8}:[ \t]{0,3}[!-~]([ -~\t]{0,30}[!-~])?[ \t]{0,2}\r\n",
        1 => Just("Empty:\r\n".to_owned()),
        1 => "(Connection|connection): (close|keep-alive|upgrade|X-[A-C]|Cookie|x-forwarded-for)(, X-[A-C])?\r\n",
        1 => "(Upgrade|Keep-Alive|TE|Proxy-Connection|Trailer|Cookie|X-[A-C]): [a-z0-9=]{1,10}\r\n",
        1 => "X-Forwarded-(For|Proto|Host|Port): [0-9.]{0,9}\r\n",
        1 => "(X-Real-IP|X_Real_Ip|x_forwarded-for|X-Forwarded_Proto|Via): [0-9.]{0,9}\r\n",
        1 => "Forwarded: for=[0-9.]{0,9}(, for=\"\\[::[0-9a-f]\\]\")?\r\n",
    ]
}

/// At most one way to frame a body.
fn framing() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        1 => "Content-Length: [0-9]{1,6}\r\n",
        1 => "(T|t)ransfer-Encoding: ?(c|C)hunked\r\n",
        1 => Just("Content-Length: 3\r\nExpect: 100-continue\r\n".to_owned()),
    ]
}

/// Fields, the framing one among them.
fn fields() -> impl Strategy<Value = String> {
    let fields = prop::collection::vec(field(), 0..8);
    (fields, framing(), any::<prop::sample::Index>()).prop_map(|(mut fields, framing, at)| {
        // A generated name may be one that means something else; such are covered by the tables.
        fields.retain(|line| !["host:", "te:", "expect:"].iter().any(|n| line.to_lowercase().starts_with(n)));
        fields.insert(at.index(fields.len() + 1), framing);
        fields.concat()
    })
}

/// A request head that must be taken.
pub(super) fn good_request() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        6 => "(GET|HEAD|POST|PUT|DELETE|PATCH|FOO) /[!-\"$-~]{0,60}",
        1 => "(GET|OPTIONS|POST) https?://[a-z.]{1,20}(:[0-9]{1,4})?([/?][!-\"$-~]{0,20})?",
        1 => Just("OPTIONS *".to_owned()),
        1 => "CONNECT [a-z.]{1,20}:[0-9]{1,4}",
    ];
    let host = "(Host|host|HOST): ?[a-z0-9.-]{1,20}\r\n";
    ("(\r\n){0,2}", line, host, fields()).prop_map(|(before, line, host, fields)| {
        format!("{before}{line} HTTP/1.1\r\n{host}{fields}\r\n").into_bytes()
    })
}

/// A response head that must be taken.
pub(super) fn good_response() -> impl Strategy<Value = Vec<u8>> {
    ("HTTP/1\\.1 [2-5][0-9]{2}( [ -~]{0,20})?\r\n", fields())
        .prop_map(|(line, fields)| format!("{line}{fields}\r\n").into_bytes())
}

/// Bytes that are a good head but for a few places, or anything.
pub(super) fn almost(good: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => any::<u8>(),
        4 => prop::sample::select(b"\r\n\t :,;0\0\x7f\xff/?*".as_slice()),
    ];
    let damage = prop::collection::vec((any::<prop::sample::Index>(), byte, 0..3), 0..4);
    (good, damage).prop_map(|(mut bytes, damage)| {
        for (at, byte, how) in damage {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}
