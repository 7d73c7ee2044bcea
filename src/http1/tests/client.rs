//! Who is found to be the client, and that nobody can choose to be another.

use super::*;
use crate::config::parse as parse_config;
use proptest::prelude::*;
use std::net::IpAddr;

/// 10.0.0.0/8, fd00::/8 and 192.0.2.1 are trusted.
fn trusted() -> crate::config::TrustedProxies {
    let text = "[[listener]]\nname = \"w\"\naddress = \"127.0.0.1:1\"\npool = \"p\"\n\
                trusted_proxies = [\"10.0.0.0/8\", \"fd00::/8\", \"192.0.2.1\"]\n\
                [pool.p]\n[[pool.p.backend]]\naddress = \"127.0.0.1:2\"\n";
    parse_config(text, "test").unwrap().config.listeners[0].trusted_proxies.clone()
}

/// The client that a trusted peer's request with these lines names.
fn named(lines: impl AsRef<[u8]>) -> Option<IpAddr> {
    let bytes = [b"GET / HTTP/1.1\r\nHost: a\r\n", lines.as_ref(), b"\r\n"].concat();
    let (_, fields) = request(&bytes);
    client_named(&bytes, &fields, &trusted())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn an_address_is_written_as_everybody_writes_it() {
    for octet in 0..=255u8 {
        let other = octet.wrapping_mul(7);
        for address in [[octet, other, 0, octet], [other, octet, octet, 255]].map(IpAddr::from) {
            assert_eq!(AddressText::of(address).bytes(), address.to_string().as_bytes());
        }
    }
    let longest = "2001:1db8:1111:2222:3333:4444:5555:6666";
    for (address, text) in [("::ffff:192.0.2.1", "192.0.2.1"), ("::1", "::1"), (longest, longest)] {
        assert_eq!(AddressText::of(ip(address)).bytes(), text.as_bytes());
    }
}

#[test]
fn the_client_is_the_last_of_the_chain_that_is_not_trusted() {
    for (chain, expected) in [
        ("X-Forwarded-For: 9.9.9.9", Some("9.9.9.9")),
        ("X-Forwarded-For: 1.1.1.1, 9.9.9.9", Some("9.9.9.9")),
        ("X-Forwarded-For: 1.1.1.1,9.9.9.9 ,\t10.0.0.1,10.1.1.1", Some("9.9.9.9")),
        (
            "X-Forwarded-For: 1.1.1.1, 9.9.9.9\nA: b\nx-forwarded-for: 10.0.0.1\nX-FORWARDED-FOR: fd00::1",
            Some("9.9.9.9"),
        ),
        // All are trusted: the first, who is in the operator's own network.
        ("X-Forwarded-For: 10.0.0.7, 10.0.0.1", Some("10.0.0.7")),
        ("X-Forwarded-For: 192.0.2.2, 192.0.2.1", Some("192.0.2.2")),
        // Mapped IPv4 is IPv4, trusted or not.
        ("X-Forwarded-For: 1.1.1.1, ::ffff:9.9.9.9, ::ffff:10.0.0.1", Some("9.9.9.9")),
        // All ways to write one.
        ("X-Forwarded-For: 9.9.9.9:1234", Some("9.9.9.9")),
        ("X-Forwarded-For: 2001:db8::9", Some("2001:db8::9")),
        ("X-Forwarded-For: [2001:db8::9]", Some("2001:db8::9")),
        ("X-Forwarded-For: [2001:DB8::9]:65535", Some("2001:db8::9")),
        ("X-Forwarded-For: \"[2001:db8::9]:80\", \"10.0.0.1\"", Some("2001:db8::9")),
        ("X-Forwarded-For: \"9.9.9.9\"", Some("9.9.9.9")),
        // What cannot be read ends the search.
        ("X-Forwarded-For: 1.1.1.1, unknown", None),
        ("X-Forwarded-For: 1.1.1.1, unknown, 10.0.0.2, 10.0.0.1", Some("10.0.0.2")),
        ("X-Forwarded-For: 1.1.1.1, unix, 10.0.0.1", Some("10.0.0.1")),
        ("X-Forwarded-For: 1.1.1.1, ", None),
        ("X-Forwarded-For: 1.1.1.1\nX-Forwarded-For:\nX-Forwarded-For: 10.0.0.1", Some("10.0.0.1")),
        ("X-Forwarded-For:", None),
        ("X-Forwarded-For: 9.9.9", None),
        ("X-Forwarded-For: 9.9.9.09", None),
        ("X-Forwarded-For: 9.9.9.9:", None),
        ("X-Forwarded-For: 9.9.9.9:x", None),
        ("X-Forwarded-For: 9.9.9.9:123456", None),
        ("X-Forwarded-For: 9.9.9.9 10.0.0.1", None),
        ("X-Forwarded-For: [9.9.9.9]", None),
        ("X-Forwarded-For: [::1", None),
        ("X-Forwarded-For: [::1]80", None),
        ("X-Forwarded-For: fe80::1%eth0", None),
        ("X-Forwarded-For: \"9.9.9.9", None),
        ("X-Forwarded-For: \u{e9}", None),
        ("A: b", None),
        // Only these fields are asked.
        ("X-Real-IP: 9.9.9.9\nX_Forwarded_For: 9.9.9.9\nX-Forwarded-Fore: 9.9.9.9", None),
    ] {
        assert_eq!(named(crlf(&format!("{chain}\n"))), expected.map(ip), "{chain}");
    }
}

#[test]
fn forwarded_is_asked_where_there_is_no_x_forwarded_for() {
    for (lines, expected) in [
        ("Forwarded: for=9.9.9.9", Some("9.9.9.9")),
        ("forwarded: For=9.9.9.9;proto=https;by=10.0.0.1", Some("9.9.9.9")),
        ("Forwarded: proto=https ; for=\"9.9.9.9:80\" ;host=\"a,for=8.8.8.8\"", Some("9.9.9.9")),
        ("Forwarded: for=\"[2001:db8::9]\"", Some("2001:db8::9")),
        ("Forwarded: for=\"[2001:db8:cafe::17]:_p0\"", Some("2001:db8:cafe::17")),
        ("Forwarded: for=1.1.1.1, for=9.9.9.9,for=10.0.0.1 , for=\"[fd00::1]:4711\"", Some("9.9.9.9")),
        ("Forwarded: for=1.1.1.1\nForwarded: for=9.9.9.9\nForwarded: for=10.0.0.1", Some("9.9.9.9")),
        ("Forwarded: for=10.0.0.7, for=10.0.0.1", Some("10.0.0.7")),
        ("Forwarded: for=9.9.9.9, , for=10.0.0.1,", Some("9.9.9.9")),
        // Whoever hides ends the search.
        ("Forwarded: for=1.1.1.1, for=_hidden", None),
        ("Forwarded: for=1.1.1.1, for=unknown, for=10.0.0.2, for=10.0.0.1", Some("10.0.0.2")),
        ("Forwarded: for=1.1.1.1, proto=https, for=10.0.0.1", Some("10.0.0.1")),
        ("Forwarded: for=1.1.1.1, by=8.8.8.8", None),
        ("Forwarded: for=1.1.1.1, for=\"9\\.9.9.9\"", None),
        // So does a line that is not as it should be, all of it.
        ("Forwarded: for=9.9.9.9, for=10.0.0.1;x=\"", None),
        ("Forwarded: for=9.9.9.9;x=\"a\\\"", None),
        ("Forwarded: for=9.9.9.9 for=10.0.0.1", None),
        ("Forwarded: for=[2001:db8::9]", None),
        ("Forwarded: for=9.9.9.9;for=8.8.8.8", None),
        ("Forwarded: for =9.9.9.9", None),
        ("Forwarded: 9.9.9.9", None),
        ("Forwarded: =9.9.9.9", None),
        ("Forwarded: for=9.9.9.9\nForwarded: \"", None),
        ("Forwarded: \"\nForwarded: for=9.9.9.9", Some("9.9.9.9")),
        ("Forwarded: \"\nForwarded: for=10.0.0.1", Some("10.0.0.1")),
        ("Forwarded:", None),
        // The other field is asked alone, even if nobody can be read in it.
        ("X-Forwarded-For: 9.9.9.9\nForwarded: for=8.8.8.8", Some("9.9.9.9")),
        ("X-Forwarded-For: unknown\nForwarded: for=8.8.8.8", None),
    ] {
        assert_eq!(named(crlf(&format!("{lines}\n"))), expected.map(ip), "{lines}");
    }
}

/// What a value may be made of, the bytes that mean something often among them.
fn value() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,40}", "([0-9.:,;=\"\\\\\\[\\] ]|for=|by=|8\\.8\\.8\\.8|10\\.0\\.0\\.1){0,12}"]
        .prop_map(|value| value.trim().to_owned())
}

/// Field lines that somebody made up who wants to be somebody else.
fn lies() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "X-Forwarded-For",
        "x-forwarded-for",
        "X_Forwarded_For",
        "Forwarded",
        "X-Real-IP",
        "X_Real_Ip",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "Connection",
        "A",
    ]);
    let line = (name, value()).prop_map(|(name, value)| match name {
        "Connection" => "Connection: x-forwarded-for, forwarded, x-real-ip, via\r\n".to_owned(),
        name => format!("{name}: {value}\r\n"),
    });
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.concat())
}

/// A host that the client chooses, which stands in `Forwarded` too.
fn host() -> impl Strategy<Value = String> {
    "[a-z;=!$&'()*+]{1,12}(:[0-9]{1,4})?"
}

fn outsider() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
    ]
    .prop_filter("not trusted", |address| !trusted().trusts(Some(*address)))
    .prop_map(|address| address.to_canonical())
}

fn proxy() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0u32..1 << 24).prop_map(|bits| IpAddr::V4((10 << 24 | bits).into())),
        (0u128..1 << 120).prop_map(|bits| IpAddr::V6((0xfd << 120 | bits).into())),
    ]
}

/// What a weir that trusts `trusted()` makes of a head that `peer` sent it.
fn through_weir(bytes: &[u8], peer: IpAddr) -> (Vec<u8>, IpAddr) {
    let (head, fields) = request(bytes);
    let trusts = trusted().trusts(Some(peer));
    let client = if trusts { client_named(bytes, &fields, &trusted()).unwrap_or(peer) } else { peer };
    let (peer_text, client_text) = (peer.to_string(), client.to_string());
    let rewrite = RequestRewrite {
        forwarded: Forwarded::Append,
        trusted: trusts,
        peer: Some(peer_text.as_bytes()),
        client: Some(client_text.as_bytes()),
        ..PLAIN
    };
    let mut out = Vec::new();
    write_request(bytes, &head, &fields, &rewrite, &mut out);
    (out, client)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_value_makes_the_search_panic(lines in prop::collection::vec((any::<bool>(), prop::collection::vec(0x80u8.., 0..4), value()), 0..5)) {
        let mut head = Vec::new();
        for (which, bytes, value) in lines {
            head.extend_from_slice(if which { b"Forwarded: " } else { b"X-Forwarded-For: " });
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(&bytes);
            head.extend_from_slice(b"\r\n");
        }
        let _ = named(head);
    }

    /// Whatever somebody outside sends: through any number of weirs that trust each other the client is
    /// the address that the first of them saw.
    #[test]
    fn through_a_chain_of_weirs_a_client_is_who_it_is(
        lies in lies(),
        host in host(),
        client in outsider(),
        proxies in prop::collection::vec(proxy(), 0..4),
    ) {
        let mut bytes = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{lies}\r\n").into_bytes();
        for peer in [client].into_iter().chain(proxies) {
            let (out, found) = through_weir(&bytes, peer);
            prop_assert_eq!(found, client, "{}", String::from_utf8_lossy(&bytes));
            let (_, fields) = request(&out);
            let real_ip = fields.get(&out, b"x-real-ip").map(|value| String::from_utf8_lossy(value).into_owned());
            prop_assert_eq!(real_ip, Some(client.to_string()));
            bytes = out;
        }
    }

    /// A trusted proxy that only appends, to whatever the client sent, says who the client is, or nobody.
    #[test]
    fn what_stands_before_the_words_of_trusted_proxies_chooses_nobody(
        lies in lies(),
        host in host(),
        client in outsider(),
        proxies in prop::collection::vec(proxy(), 0..4),
    ) {
        let mut hops = vec![client];
        hops.extend(proxies);
        let (last, hops) = hops.split_last().unwrap();
        // The peer is `last`; it is trusted or it is the client, which then nobody asks.
        prop_assume!(*last != client);
        let chain: String = hops.iter().map(|hop| format!(", {hop}")).collect();
        let theirs = value_of(&lies, "x-forwarded-for");
        prop_assert_eq!(named(format!("X-Forwarded-For: {theirs}{chain}\r\n")), Some(client));
        let chain: String = hops.iter().map(|hop| match hop {
            IpAddr::V4(v4) => format!(", for={v4};host=\"{host}\""),
            IpAddr::V6(v6) => format!(", host=\"{host}\";for=\"[{v6}]:80\""),
        }).collect();
        let theirs = value_of(&lies, "forwarded");
        let found = named(format!("Forwarded: {theirs}{chain}\r\n"));
        prop_assert!(found.is_none() || found == Some(client), "{}{}: {:?}", theirs, chain, found);
    }
}

/// The value of the last such field in `lines`; empty if there is none.
fn value_of<'a>(lines: &'a str, name: &str) -> &'a str {
    let found = lines.lines().rev().filter_map(|line| line.split_once(": "));
    found.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).next().unwrap_or_default()
}
