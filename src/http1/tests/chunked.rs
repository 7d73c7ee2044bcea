//! The chunked coding: what is taken, what is refused and where, and interruption at any byte.

use super::generate::{cut, cuts};
use super::*;
use proptest::prelude::*;

/// What came of decoding `pieces` one after the other: the payload, the bytes consumed, done or not.
fn decode(pieces: &[&[u8]], mut decoder: ChunkDecoder) -> Result<(Vec<u8>, usize, bool), (ChunkWhy, usize)> {
    let (mut payload, mut consumed, mut done) = (Vec::new(), 0, false);
    for piece in pieces {
        let chunks = decoder
            .decode(piece, |range| payload.extend_from_slice(&piece[range]))
            .map_err(|bad| (bad.why, consumed + bad.at))?;
        assert!(chunks.done || chunks.consumed == piece.len(), "stopped in the middle of a body");
        consumed += chunks.consumed;
        done = chunks.done;
    }
    assert_eq!(decoder.payload_len(), payload.len() as u64);
    Ok((payload, consumed, done))
}

const fn decoder() -> ChunkDecoder {
    ChunkDecoder::new(ChunkLimits { max_line: 64, max_extensions: 100, max_trailers: 128 })
}

/// What of `pieces` goes on, whatever its payload is, and why not.
fn without_extensions(pieces: &[&[u8]], mut decoder: ChunkDecoder) -> Result<String, ChunkWhy> {
    let mut out = Vec::new();
    for piece in pieces {
        let mut from = 0;
        let mut pass = |to: usize, next: usize| {
            out.extend_from_slice(&piece[from..to]);
            from = next;
        };
        let chunks = decoder.decode_coded(piece, |extension| pass(extension.start, extension.end));
        let consumed = chunks.map_err(|bad| bad.why)?.consumed;
        pass(consumed, consumed);
    }
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn a_body_is_decoded_to_its_payload_and_its_end() {
    for (coded, payload) in [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5\r\nhello\r\n00006\r\n world\r\n000\r\n\r\n", "hello world"),
        ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
        ("1;a\r\nx\r\n0;b=\"c d\"\r\n\r\n", "x"),
        ("1 \t;a=b\r\nx\r\n0\r\n\r\n", "x"),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
        ("0\r\nDigest: x\r\nX-Long-Name-Beyond-What-Is-Kept:\ty\u{fc}\r\n\r\n", ""),
    ] {
        let expected = Ok((payload.as_bytes().to_vec(), coded.len(), true));
        assert_eq!(decode(&[coded.as_bytes()], decoder()), expected, "{coded:?}");
        let more = coded.to_owned() + "GET / HTTP/1.1\r\n";
        assert_eq!(decode(&[more.as_bytes()], decoder()), expected, "what follows is left alone: {coded:?}");
        let bytes: Vec<&[u8]> = coded.as_bytes().chunks(1).collect();
        assert_eq!(decode(&bytes, decoder()), expected, "byte by byte: {coded:?}");
        for len in 0..coded.len() {
            let (_, consumed, done) = decode(&[&coded.as_bytes()[..len]], decoder()).unwrap();
            assert_eq!((consumed, done), (len, false), "{coded:?} cut at {len}");
        }
    }
}

#[test]
fn a_malformed_body_is_refused_at_the_byte_that_is_wrong() {
    use ChunkWhy::*;
    for (coded, why, at) in [
        ("\r\n", BadSize, 0),
        ("g\r\n", BadSize, 0),
        ("-1\r\n", BadSize, 0),
        ("+1\r\n", BadSize, 0),
        (" 1\r\n", BadSize, 0),
        (";a\r\n", BadSize, 0),
        ("0x1\r\n", BadSize, 1),
        ("1_0\r\n", BadSize, 1),
        ("1\0\r\n", BadSize, 1),
        ("8000000000000000\r\n", SizeTooLarge, 15),
        ("10000000000000005\r\n", SizeTooLarge, 16),
        ("00000000000000001\r\n", SizeTooLarge, 16),
        ("1 \r\n", BadExtension, 2),
        ("1 2\r\n", BadExtension, 2),
        ("1;a\0\r\n", BadExtension, 3),
        ("1;\r\n", BadExtension, 2),
        ("1;=a\r\n", BadExtension, 2),
        ("1;a=\r\n", BadExtension, 4),
        ("1;a \r\n", BadExtension, 4),
        ("1;a=b \r\n", BadExtension, 6),
        ("1;a b\r\n", BadExtension, 4),
        ("1;a=b=c\r\n", BadExtension, 5),
        ("1;\"\r\n\"\r\n", BadExtension, 2),
        ("1;a=\"\r\n\"\r\n", BadExtension, 5),
        ("1;a=\"b\\\r\n\"\r\n", BadExtension, 7),
        ("1;a=\"b\"c\r\n", BadExtension, 7),
        ("1;a=\"\n\"\r\n", BadLineEnd, 5),
        ("1\nx\r\n", BadLineEnd, 1),
        ("1\rx\r\n", BadLineEnd, 2),
        ("1;a\nx\r\n", BadLineEnd, 3),
        ("1;a\rx\r\n", BadLineEnd, 4),
        ("1\r\nxy\r\n", BadChunkEnd, 4),
        ("1\r\nx\n", BadChunkEnd, 4),
        ("1\r\nx\rz", BadChunkEnd, 5),
        ("1\r\nx\r\n\r\n", BadSize, 6),
        ("0\r\n\n", BadLineEnd, 3),
        ("0\r\n\rx", BadLineEnd, 4),
        ("0\r\nA: b\n\r\n", BadLineEnd, 7),
        ("0\r\nA: b\rx", BadLineEnd, 8),
        ("0\r\nA\r\n\r\n", BadTrailer, 4),
        ("0\r\nA : b\r\n\r\n", BadTrailer, 4),
        ("0\r\n: b\r\n\r\n", BadTrailer, 3),
        ("0\r\n A: b\r\n\r\n", BadTrailer, 3),
        ("0\r\nA: b\r\n c\r\n\r\n", BadTrailer, 9),
        ("0\r\nA: b\0\r\n\r\n", BadTrailer, 7),
    ] {
        assert_eq!(decode(&[coded.as_bytes()], decoder()), Err((why, at)), "{coded:?}");
        let bytes: Vec<&[u8]> = coded.as_bytes().chunks(1).collect();
        assert_eq!(decode(&bytes, decoder()), Err((why, at)), "byte by byte: {coded:?}");
    }
    let largest = "7fffffffffffffff\r\nx";
    assert_eq!(decode(&[largest.as_bytes()], decoder()), Ok((b"x".to_vec(), largest.len(), false)));
}

#[test]
fn extensions_are_left_out_and_nothing_else() {
    for (coded, goes_on) in [
        ("1;a\r\nx\r\n0;b=\"c d\"\r\n\r\n", "1\r\nx\r\n0\r\n\r\n"),
        ("1 \t;a=b;c ; d = e\r\nx\r\n0\r\nA: b\r\n\r\n", "1\r\nx\r\n0\r\nA: b\r\n\r\n"),
        ("01;a=\"\\\"; \"\r\n;\r\n000\r\n\r\n", "01\r\n;\r\n000\r\n\r\n"),
        ("1\r\n;\r\n0\r\n\r\nGET", "1\r\n;\r\n0\r\n\r\n"),
    ] {
        assert_eq!(without_extensions(&[coded.as_bytes()], decoder()).as_deref(), Ok(goes_on), "{coded:?}");
        let bytes: Vec<&[u8]> = coded.as_bytes().chunks(1).collect();
        assert_eq!(without_extensions(&bytes, decoder()).as_deref(), Ok(goes_on), "byte by byte: {coded:?}");
    }
}

#[test]
fn all_extensions_of_a_body_have_one_limit() {
    let chunk = |len: usize| format!("1;{}\r\nx\r\n", "e".repeat(len - 1));
    let body = |lens: [usize; 3]| lens.map(chunk).concat() + "0\r\n\r\n";
    assert!(decode(&[body([50, 25, 25]).as_bytes()], decoder()).is_ok());
    let too_long = decode(&[body([50, 25, 26]).as_bytes()], decoder());
    assert!(matches!(too_long, Err((ChunkWhy::ExtensionsTooLong, _))), "{too_long:?}");
}

#[test]
fn a_chunk_counts_as_soon_as_its_size_is_there() {
    let mut decoder = decoder();
    decoder.decode(b"2\r\nxy\r\nff", |_| {}).unwrap();
    assert_eq!((decoder.payload_len(), decoder.declared_len()), (2, 2 + 0xff));
    decoder.decode(b"\r\nz", |_| {}).unwrap();
    assert_eq!((decoder.payload_len(), decoder.declared_len()), (3, 2 + 0xff));
}

fn with_trailer(name: &str, mut decoder: ChunkDecoder) -> Result<(), (ChunkWhy, usize)> {
    let coded = format!("0\r\nX-Longer-Name-Before: b\r\n{name}: x\r\n\r\n");
    decoder.decode(coded.as_bytes(), |_| {}).map(drop).map_err(|bad| (bad.why, bad.at))
}

#[test]
fn trailers_may_not_frame_route_modify_identify_or_describe() {
    for name in [
        "Content-Length",
        "TRANSFER-ENCODING",
        "host",
        "Connection",
        "TE",
        "Trailer",
        "Keep-Alive",
        "Proxy-Connection",
        "Upgrade",
        "Authorization",
        "Cookie",
        "Set-Cookie",
        "Proxy-Authorization",
        "Proxy-Authenticate",
        "WWW-Authenticate",
        "X-Forwarded-For",
        "X-Forwarded-Something-Long",
        "Forwarded",
        "X-Real-IP",
        "Via",
        "Content-Encoding",
        "Content-Type",
        "Content-Range",
        "Content-Disposition",
        "Expect",
        "Max-Forwards",
        "Cache-Control",
        "Range",
        "If-Match",
        "If-Range",
        "Pragma",
        "Age",
        "Date",
        "Expires",
        "Location",
        "Retry-After",
        "Vary",
        "Warning",
        "Content_Length",
        "transfer_Encoding",
        "X_Forwarded-For",
        "X-Forwarded%For",
        "Content.Length",
        "x_real_ip",
    ] {
        let at = 3 + "X-Longer-Name-Before: b\r\n".len() + name.len();
        assert_eq!(with_trailer(name, decoder()), Err((ChunkWhy::ForbiddenTrailer, at)), "{name}");
    }
    for name in ["Content-Digest", "Hosts", "Hos", "Grpc-Status", "X-Forwarded", "ETag", "Server-Timing"] {
        assert_eq!(with_trailer(name, decoder()), Ok(()), "{name}");
    }
}

#[test]
fn a_trailer_that_the_heads_connection_names_is_refused() {
    let long = "X-".to_owned() + &"long".repeat(12);
    let text = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close, x-one, {long}\r\nConnection: X_Two\r\n\r\n"
    );
    let (_, fields) = request(&text);
    let nominated = Nominations::of(text.as_bytes(), &fields, []);
    for (name, refused) in [
        ("X-One", true),
        ("x_one", true),
        ("X-Two", true),
        (long.as_str(), true),
        (&long[..long.len() - 1], false),
        ("X-On", false),
        ("X-One-More", false),
        ("Close", false),
    ] {
        let mut decoder = decoder();
        decoder.forbid(nominated.clone());
        assert_eq!(with_trailer(name, decoder).is_err(), refused, "{name}");
    }
    let text = "POST / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close,\r\n\r\n";
    assert_eq!(Nominations::of(text.as_bytes(), &request(text).1, []), None);
}

#[test]
fn size_lines_and_trailers_have_a_limit() {
    let line = |len: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(len - 4));
    assert!(decode(&[line(64).as_bytes()], decoder()).is_ok());
    assert_eq!(decode(&[line(65).as_bytes()], decoder()), Err((ChunkWhy::LineTooLong, 64)));
    let two_lines = format!("1;{0}\r\nx\r\n1;{0}\r\nx\r\n0\r\n\r\n", "e".repeat(45));
    assert!(decode(&[two_lines.as_bytes()], decoder()).is_ok(), "the limit is for each line");

    let trailers = |len: usize| format!("0\r\nA: {}\r\n\r\n", "b".repeat(len - 7));
    assert!(decode(&[trailers(128).as_bytes()], decoder()).is_ok());
    assert_eq!(decode(&[trailers(129).as_bytes()], decoder()), Err((ChunkWhy::TrailersTooLarge, 3 + 128)));
    let many = "0\r\n".to_owned() + &"A: b\r\n".repeat(22);
    assert_eq!(decode(&[many.as_bytes()], decoder()), Err((ChunkWhy::TrailersTooLarge, 3 + 128)));
}

#[test]
fn a_decoder_that_is_done_takes_nothing_more() {
    let mut decoder = decoder();
    assert_eq!(decoder.decode(LAST_CHUNK, |_| {}), Ok(Chunks { consumed: 5, done: true }));
    assert_eq!(decoder.decode(b"5\r\nhello", |_| {}), Ok(Chunks { consumed: 0, done: true }));
}

#[test]
fn a_chunk_head_is_the_length_in_hexadecimal_and_nothing_for_none() {
    for (len, expected) in [(0, ""), (1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (16384, "4000\r\n")] {
        let mut out = Vec::new();
        write_chunk_head(len, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

/// Payload in pieces, coded as the proxy codes it.
fn coded(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        write_chunk_head(piece.len(), &mut out);
        out.extend_from_slice(piece);
        out.extend_from_slice(CHUNK_END);
    }
    out.extend_from_slice(LAST_CHUNK);
    out
}

proptest! {
    #[test]
    fn what_is_coded_is_decoded_however_it_is_cut(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
        at in cuts(),
    ) {
        let bytes = coded(&pieces);
        let found = decode(&cut(&bytes, &at), decoder());
        prop_assert_eq!(found, Ok((pieces.concat(), bytes.len(), true)));
    }

    /// What goes on decodes to the same payload, has no extension left, and is what came but for them.
    #[test]
    fn what_goes_on_means_the_same_without_extensions(bytes in almost_chunked(), at in cuts()) {
        if let Ok((payload, _, done)) = decode(&[&bytes], decoder()) {
            let mut out = Vec::new();
            let mut passing = decoder();
            for piece in cut(&bytes, &at) {
                let mut from = 0;
                let chunks = passing.decode_coded(piece, |extension| {
                    out.extend_from_slice(&piece[from..extension.start]);
                    from = extension.end;
                }).unwrap();
                out.extend_from_slice(&piece[from..chunks.consumed]);
            }
            prop_assert_eq!(decode(&[&out], decoder()), Ok((payload, out.len(), done)));
            let mut extensions = 0;
            decoder().decode_coded(&out, |_| extensions += 1).unwrap();
            prop_assert_eq!(extensions, 0);
        }
    }

    #[test]
    fn any_bytes_decode_to_the_same_however_they_are_cut(bytes in almost_chunked(), at in cuts()) {
        let whole = decode(&[&bytes], decoder());
        let in_pieces = decode(&cut(&bytes, &at), decoder());
        prop_assert_eq!(whole, in_pieces);
    }
}

/// A coded body with extensions and trailers, some bytes of it replaced.
fn almost_chunked() -> impl Strategy<Value = Vec<u8>> {
    let chunk = ("[0-9a-fA-F]{1,2}", "( ?;[a-z]=[a-z]{0,3}|)", prop::collection::vec(any::<u8>(), 0..20));
    let chunks = prop::collection::vec(chunk, 0..5);
    let trailers = prop::collection::vec("[A-Za-z-]{1,16}: ?[a-z]{0,5}\r\n", 0..3);
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2);
    (chunks, trailers, damage).prop_map(|(chunks, trailers, damage)| {
        let mut out = Vec::new();
        for (size, extension, payload) in chunks {
            // Now and then the size as it came, which rarely fits the payload.
            let size = if size.len() == 1 { format!("{:x}", payload.len().max(1)) } else { size };
            out.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
            out.extend_from_slice(if payload.is_empty() { b"x" } else { &payload });
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(format!("0\r\n{}\r\nmore", trailers.concat()).as_bytes());
        for (at, byte) in damage {
            let at = at.index(out.len());
            out[at] = byte;
        }
        out
    })
}
