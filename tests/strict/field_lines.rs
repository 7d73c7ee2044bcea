//! Field lines: names, values, line ends, byte by byte.

use crate::judge::Judge;

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn get(field_line: &[u8]) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: h\r\n", field_line, b"\r\n\r\n"].concat()
}

fn contains(head: &[u8], line: &[u8]) -> bool {
    let line = [b"\r\n", line, b"\r\n"].concat();
    head.windows(line.len()).any(|window| window == line)
}

#[test]
fn a_field_name_is_a_token_and_arrives_as_it_was_sent() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for byte in 0..=255u8 {
        for (before, after) in [("X-A", "B: v"), ("", "X: v"), ("X-A", ": v")] {
            let line = [before.as_bytes(), &[byte], after.as_bytes()].concat();
            let case = format!("{byte:#04x} between {before:?} and {after:?}");
            let colon = byte == b':' && !before.is_empty();
            if is_token(byte) || colon {
                let received = judge.passes_on(&mut client, &case, get(&line));
                // A colon only ends the name sooner; the value is then written with its one space.
                let sent = if colon { format!("{before}: {}", after.trim_start()).into() } else { line };
                assert!(contains(&received.head, &sent), "{case}: {}", received.text());
            } else {
                judge.refuses(&case, get(&line), 400);
            }
        }
    }
}

#[test]
fn a_field_value_has_no_control_byte_and_arrives_as_it_was_sent() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for byte in 0..=255u8 {
        let is_value = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        for (before, after) in [("X-A: a", "b"), ("X-A: ", "b"), ("X-A: a", ""), ("X-A:", "")] {
            let line = [before.as_bytes(), &[byte], after.as_bytes()].concat();
            let case = format!("{byte:#04x} between {before:?} and {after:?}");
            if !is_value {
                judge.refuses(&case, get(&line), 400);
                continue;
            }
            let received = judge.passes_on(&mut client, &case, get(&line));
            let value = line[4..].trim_ascii();
            assert!(contains(&received.head, &[b"X-A: ", value].concat()), "{case}: {}", received.text());
        }
    }
}

#[test]
fn white_space_around_a_value_is_not_part_of_it() {
    let judge = Judge::new();
    for (sent, arrives) in [
        ("X-A:v", "X-A: v"),
        ("X-A:  v", "X-A: v"),
        ("X-A:\tv\t", "X-A: v"),
        ("X-A: v \t ", "X-A: v"),
        ("X-A: v  w", "X-A: v  w"),
        ("X-A: v\tw", "X-A: v\tw"),
        ("X-A:", "X-A: "),
        ("X-A: \t", "X-A: "),
        ("X-A: a: b", "X-A: a: b"),
        ("X-A:: b", "X-A: : b"),
    ] {
        let received = judge.passes(sent, get(sent.as_bytes()));
        assert!(contains(&received.head, arrives.as_bytes()), "{sent:?}: {:?}", received.text());
    }
}

#[test]
fn white_space_before_a_colon_a_line_or_a_name_is_refused() {
    let judge = Judge::new();
    for space in [" ", "\t", "  ", " \t", "\x0b", "\x0c", "\u{a0}", "\r", "\n", "\0"] {
        for line in [
            format!("X-A{space}: b"),
            format!("{space}X-A: b"),
            format!("X{space}A: b"),
            format!("X-A: b\r\n{space}: c"),
            format!("X-A: b\r\n{space}\r\nX-B: c"),
            format!("Content-Length{space}: 5"),
            format!("Transfer-Encoding{space}: chunked"),
        ] {
            judge.refuses(&format!("{line:?}"), get(line.as_bytes()), 400);
        }
        // RFC 9112 §2.2: between the request line and the first field.
        let first = format!("GET / HTTP/1.1\r\n{space}Host: h\r\n\r\n");
        judge.refuses(&format!("{space:?} before the first field"), first, 400);
    }
    judge.serves_another();
}

#[test]
fn folded_lines_are_refused_wherever_they_stand() {
    let judge = Judge::new();
    for fold in ["\r\n ", "\r\n\t", "\r\n  \t ", "\r\n \r\n "] {
        for line in [
            format!("X-A: b{fold}c"),
            format!("X-A:{fold}c"),
            format!("X-A: b{fold}"),
            format!("X-A: b{fold}Content-Length: 5"),
            format!("Transfer-Encoding:{fold}chunked"),
            format!("Transfer-Encoding: chunked{fold}"),
            format!("Content-Length:{fold}5"),
            format!("Connection: close{fold}X-B"),
        ] {
            judge.refuses(&format!("{line:?}"), get(line.as_bytes()), 400);
        }
    }
}

#[test]
fn a_line_without_a_name_or_a_colon_is_refused() {
    let judge = Judge::new();
    for line in [
        ":",
        ": v",
        ":v",
        "::",
        "X-A",
        "X-A\r\nX-B: c",
        "no colon here",
        "=v",
        "X-A=v",
        "\"X-A\": v",
        "(X-A): v",
        "[X-A]: v",
        "X/A: v",
        "X@A: v",
        "X,A: v",
        "{\"a\": 1}",
        "GET / HTTP/1.1",
        "HTTP/1.1 200 OK",
        "X-\u{e9}: v",
        "Content\u{2010}Length: 5",
    ] {
        judge.refuses(line, get(line.as_bytes()), 400);
    }
}

/// CGI and many frameworks read `Content_Length` as `Content-Length`: it would frame or route behind weir.
#[test]
fn names_that_read_as_framing_or_host_with_underscores_are_refused() {
    let judge = Judge::new();
    for name in ["Content_Length", "CONTENT_LENGTH", "Transfer_Encoding", "transfer_Encoding"] {
        judge.refuses(name, get(format!("{name}: 5").as_bytes()), 400);
    }
    // Ordinary names with one pass as they are.
    for line in ["X_A: b", "Content_Type: b", "_: b", "Host_Name: b", "Content_Length_: 5"] {
        let received = judge.passes(line, get(line.as_bytes()));
        assert!(contains(&received.head, line.as_bytes()), "{line:?}: {:?}", received.text());
    }
}

#[test]
fn names_that_read_as_forwarding_fields_with_underscores_do_not_pass() {
    let judge = Judge::new();
    for name in [
        "X_Forwarded_For",
        "X-Forwarded_For",
        "x_forwarded_for",
        "X_Forwarded_Proto",
        "X_FORWARDED_HOST",
        "X_Forwarded_Port",
        "X_Real_IP",
        "X-Real_IP",
    ] {
        let received = judge.passes(name, get(format!("{name}: 192.0.2.66").as_bytes()));
        assert!(!received.text().contains("192.0.2.66"), "{name}: {}", received.text());
    }
}

#[test]
fn repeated_fields_keep_their_lines_and_their_order() {
    let judge = Judge::new();
    let lines = "X-A: 1\r\nAccept: a\r\nX-A: 2\r\nx-a: 3, 4\r\nAccept: b\r\nCookie: c=d\r\nCookie: e=f";
    let received = judge.passes("repeated", get(lines.as_bytes()));
    assert!(received.text().contains(&format!("\r\nHost: h\r\n{lines}\r\n")), "{}", received.text());
}
