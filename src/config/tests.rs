//! Tests of the room's parts; whole files and their faults are tested from outside, in `tests/config/`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::address;
use super::reference::nearest;
use super::values::{self, A_YEAR, size_text};
use super::*;
use crate::time::Micros;
use proptest::prelude::*;
use toml::de::DeValue;

fn length(text: &str) -> Option<Micros> {
    values::length(&DeValue::String(text.into()), Micros::ZERO..=A_YEAR).ok()
}

fn size(text: &str) -> Option<u64> {
    values::size(&DeValue::String(text.into()), 0..=u64::MAX).ok()
}

#[test]
fn a_length_of_time_is_a_decimal_number_and_a_unit() {
    for (text, us) in [
        ("0us", 0),
        ("250us", 250),
        ("500ms", 500_000),
        ("2s", 2_000_000),
        ("1.5s", 1_500_000),
        ("0.000001s", 1),
        ("1.50ms", 1_500),
        ("1m", 60_000_000),
        ("1h", 3_600_000_000),
        ("8760h", A_YEAR.as_us()),
    ] {
        assert_eq!(length(text), Some(Micros::from_us(us)), "{text}");
    }
    for text in
        ["", "s", "1", "1.s", ".5s", "1..5s", "1e3s", "+1s", "0.0000001s", "8761h", "1 s", "1S", "1s "]
    {
        assert_eq!(length(text), None, "{text}");
    }
}

#[test]
fn a_size_is_a_decimal_number_and_a_binary_unit() {
    for (text, bytes) in [
        ("0B", 0),
        ("512B", 512),
        ("16KiB", 16 << 10),
        ("1.5KiB", 1536),
        ("64MiB", 64 << 20),
        ("1GiB", 1 << 30),
        ("17179869183GiB", 17_179_869_183 << 30),
    ] {
        assert_eq!(size(text), Some(bytes), "{text}");
    }
    for text in ["", "16", "16KB", "16kib", "16K", "1.0001KiB", "0.5B", "17179869184GiB", "-1B"] {
        assert_eq!(size(text), None, "{text}");
    }
}

#[test]
fn a_slip_finds_the_name_that_was_meant_and_a_stranger_finds_none() {
    let names = ["grace", "spin", "sync", "max_connections", "to"];
    let near = |name| nearest(name, names.iter().copied());
    for (name, expected) in [
        ("garce", Some("grace")),
        ("Grace", Some("grace")),
        ("max_conections", Some("max_connections")),
        ("max-connections", Some("max_connections")),
        ("snyc", Some("sync")),
        ("threads", None),
        ("", None),
        ("xy", None),
    ] {
        assert_eq!(near(name), expected, "{name}");
    }
    assert_eq!(near("x".repeat(1 << 20).as_str()), None);
}

#[test]
fn an_address_prints_as_it_is_written() {
    for text in [
        "127.0.0.1:80",
        "[::1]:80",
        "app.internal:8080",
        "my_app:1",
        "_app:8080",
        "_http._tcp.app.internal",
        "unix:/run/app.sock",
    ] {
        assert_eq!(address::backend(text).unwrap().to_string(), text);
    }
    for text in ["0.0.0.0:0", "[::]:8080", "unix:/run/app.sock"] {
        assert_eq!(address::listen(text).unwrap().to_string(), text);
    }
    assert_eq!(
        address::backend("_HTTP._tcp.App.internal").unwrap(),
        BackendAddress::Service("_http._tcp.app.internal".to_owned())
    );
    assert!(address::backend(&format!("unix:/{}", "x".repeat(106))).is_ok());
}

#[test]
fn a_host_pattern_is_in_lower_case() {
    for (text, expected) in [
        ("Example.ORG", HostPattern::Exact("example.org".to_owned())),
        ("*.Example.org", HostPattern::Suffix(".example.org".to_owned())),
        ("127.0.0.1", HostPattern::Exact("127.0.0.1".to_owned())),
        ("[2001:DB8::1]", HostPattern::Exact("[2001:db8::1]".to_owned())),
    ] {
        assert_eq!(address::host_pattern(text).unwrap(), expected);
    }
}

#[test]
fn a_checks_host_may_have_a_port() {
    for text in ["app.internal", "app:8080", "10.0.0.1", "10.0.0.1:80", "[::1]", "[::1]:80"] {
        assert_eq!(address::host_field(text).unwrap(), text);
    }
    for text in ["", ":80", "app:", "app:x", "::1", "[::1", "a/b", "a\nb"] {
        assert!(address::host_field(text).is_err(), "{text}");
    }
}

fn two_pools() -> Config {
    let text = "[runtime]\nmax_connections = 1000\nbuffers = 16\nbuffer_size = \"4KiB\"\nring_entries = 64\n\
                [[listener]]\naddress = \"127.0.0.1:1\"\npool = \"a\"\n[[route]]\npath = \"/b\"\npool = \"b\"\n\
                [[pool.a.backend]]\naddress = \"h:1\"\n[[pool.a.backend]]\naddress = \"h:2\"\n\
                [pool.a.retry]\nattempts = 0\nhold = \"1MiB\"\n\
                [pool.b.retry]\nhold = \"1KiB\"\nbody_buffer = \"3KiB\"\n\
                [pool.b.upstream]\nmax_connections = 50\nidle_per_backend = 10\n\
                [[pool.b.backend]]\naddress = \"h:3\"\n";
    parse(text, "weir.toml").unwrap().config
}

#[test]
fn the_worst_case_of_memory_sums_shards_what_exchanges_keep_and_idle_upstream_connections() {
    let config = two_pools();
    let histograms: u64 = 3 * 4 * 3_328;
    let connections: u64 = 1000 * (12 << 10);
    let own_histograms = 3 * 3_328 * 16 + 2 * 3_328 * 4;
    let a_shard = 9 * 16 * (4096 + 2048) + 16 * 4096 * 6 + connections + 64 * 64 + 16_384 * 16 + (2 << 20);
    let a_shard = a_shard + own_histograms;
    let idle = (2 * 4096 + 10) * 1024;
    let history = (3 << 20) + 3 * 2 * 3_328 * 4;
    let control =
        (8 << 20) + history + 8 * histograms + 8_192 * (160 + 3 * 4) + 64 * ((64 << 10) + 3 * (16 << 10));
    let pools = 2 * 2 * 4 * 3_328 * 8;
    let expected = |shards: u64| {
        let all = shards * (a_shard + 8 * histograms + 64 * (8 << 10)) + idle + control + pools;
        all + all / 8
    };
    assert_eq!(worst_case_memory_bytes(&config, 1), expected(1));
    assert_eq!(worst_case_memory_bytes(&config, 4), expected(4));
}

#[test]
fn the_worst_case_of_connections_is_the_pools_limit_or_all_downstream() {
    let config = two_pools();
    assert_eq!(worst_case_connections(&config, &config.pools[0], 4), 4000);
    assert_eq!(worst_case_connections(&config, &config.pools[1], 4), 50);
}

proptest! {
    #[test]
    fn a_length_that_is_printed_reads_back(us in 0..=A_YEAR.as_us()) {
        prop_assert_eq!(length(&Micros::from_us(us).to_string()), Some(Micros::from_us(us)));
    }

    #[test]
    fn a_size_that_is_printed_reads_back(bytes in any::<u64>(), shift in 0..64) {
        let bytes = bytes >> shift << (shift / 2);
        prop_assert_eq!(size(&size_text(bytes)), Some(bytes));
    }

    #[test]
    fn a_field_value_that_is_accepted_cannot_begin_another_field(text in any::<String>()) {
        if let Ok(value) = address::field_value(&text) {
            prop_assert!(!value.contains(['\r', '\n', '\0']));
        }
    }
}
