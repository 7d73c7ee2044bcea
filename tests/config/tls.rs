//! `[listener.tls]` and `[pool.NAME.tls]`: their keys and what they say of each other. What is in the files that they
//! name is not looked at here.

use super::*;
use weir::config::{ClientAuth, Protocol, TlsVersion};

/// What stands behind a listener's or pool's own lines.
const POOL: &str = "\n[[pool.app.backend]]\naddress = \"127.0.0.1:2\"\n";

fn listener(tls: &str) -> String {
    format!("[[listener]]\naddress = \"127.0.0.1:1\"\npool = \"app\"\n[listener.tls]\n{tls}{POOL}")
}

fn pool(tls: &str, backend: &str) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.1:1\"\npool = \"app\"\n[pool.app.tls]\n{tls}\n[[pool.app.backend]]\n\
         address = \"{backend}\"\n"
    )
}

const ENTRY: &str = "certificates = [{ cert = \"/a.pem\", key = \"/a.key\" }]";

#[test]
fn what_is_left_out_has_the_defaults() {
    let config = config(&listener(ENTRY));
    let tls = config.listeners[0].tls.as_ref().unwrap();
    assert_eq!((tls.min_version, tls.client_auth), (TlsVersion::Tls12, ClientAuth::Off));
    assert_eq!(tls.alpn, [Protocol::Http2, Protocol::Http1]);
    assert_eq!((&tls.client_subject, tls.max_handshakes), (&None, 0));
    let [certificate] = tls.certificates.as_slice() else { panic!("{tls:?}") };
    assert_eq!(certificate.key.path, Path::new("/a.key"));
    assert_eq!(
        (certificate.key.written.line, &*certificate.key.written.key),
        (5, "listener[0].tls.certificates[0].key")
    );
    let pool = super::config(&pool("", "app.internal:443"));
    let tls = pool.pools[0].tls.as_ref().unwrap();
    assert!(tls.verify && tls.ca.is_none() && tls.certificate.is_none());
}

#[test]
fn where_a_file_is_named_is_no_part_of_what_is_configured() {
    assert_eq!(config(&listener(ENTRY)), config(&listener(&format!("# moved\n\n{ENTRY}"))));
}

#[test]
fn a_backend_must_be_the_host_of_its_address_unless_a_name_is_given() {
    for (tls, address, expected) in [
        ("", "app.internal:443", "app.internal"),
        ("", "10.0.0.1:443", "10.0.0.1"),
        ("", "[2001:db8::1]:443", "2001:db8::1"),
        ("server_name = \"Other.Internal\"", "10.0.0.1:443", "other.internal"),
        ("server_name = \"10.9.9.9\"", "unix:/run/app.sock", "10.9.9.9"),
        ("server_name = \"app.internal\"", "_https._tcp.app.internal", "app.internal"),
    ] {
        let config = config(&pool(tls, address));
        let rules = config.pools[0].tls.as_ref().unwrap();
        let name = rules.name_of(&config.pools[0].backends[0].address);
        assert_eq!(name.as_deref(), Some(expected), "{tls} {address}");
    }
    for address in ["unix:/run/app.sock", "_https._tcp.app.internal"] {
        let text = pool("", address);
        one(
            &faults(&text),
            (&text, 4, "pool.app.tls.server_name", "says nobody's name", "its certificate has"),
        );
    }
}

#[test]
fn each_wrong_key_is_a_fault_with_a_remedy() {
    let auth = |more: &str| format!("{ENTRY}\nclient_ca = \"/ca.pem\"\nclient_auth = \"required\"\n{more}");
    for (tls, line, key, wrong, remedy) in [
        ("", 4, "certificates", "there is none", "write certificates = [{ cert"),
        ("certificates = []", 5, "certificates", "there is none", "write certificates = [{ cert"),
        ("certificates = [{ key = \"/a.key\" }]", 5, "certificates[0].cert", "missing", "write cert = "),
        ("certificates = [{ cert = \"/a.pem\" }]", 5, "certificates[0].key", "missing", "write key = "),
        (
            "certificates = [{ cert = \"a.pem\", key = \"/a.key\" }]",
            5,
            "certificates[0].cert",
            "not the absolute path",
            "\"/etc/weir/site.pem\"",
        ),
        ("certificates = \"/a.pem\"", 5, "certificates", "is not a list", "certificates = [{ cert"),
        ("certificates = [\"/a.pem\"]", 5, "certificates[0]", "not a certificate with its key", "[{ cert"),
        (
            "certificates = [{ cert = \"/a\", key = \"/b\", oscp = \"/c\" }]",
            5,
            "certificates[0].oscp",
            "unknown key",
            "ocsp?",
        ),
        (&format!("{ENTRY}\nmin_version = \"1.1\""), 6, "min_version", "is not known here", "RFC 8996"),
        (
            &format!("{ENTRY}\nmin_version = 1.2"),
            6,
            "min_version",
            "1.2 is not a string",
            "\"1.2\" or \"1.3\"",
        ),
        (&format!("{ENTRY}\nmin_version = \"TLSv1.2\""), 6, "min_version", "not known", "write \"1.2\""),
        (&format!("{ENTRY}\nclient_auth = true"), 6, "client_auth", "true is not a string", "\"required\""),
        (&format!("{ENTRY}\nalnp = []"), 6, "alnp", "unknown key", "did you mean alpn?"),
        (&format!("{ENTRY}\nalpn = [2]"), 6, "alpn[0]", "2 is not a string", "\"h2\" or \"http/1.1\""),
        (&format!("{ENTRY}\nalpn = [\"http/1.0\"]"), 6, "alpn[0]", "is not known here", "\"http/1.1\""),
        (&format!("{ENTRY}\nalpn = [\"h2\", \"h2\"]"), 6, "alpn[1]", "stands here twice", "remove one"),
        (&format!("{ENTRY}\nalpn = \"h2\""), 6, "alpn", "is not a list", "alpn = ["),
        (
            &format!("{ENTRY}\nclient_auth = \"required\""),
            4,
            "client_ca",
            "nothing says whose are good",
            "authorities'",
        ),
        (&auth("client_subject = \"X Y\""), 8, "client_subject", "not a name", "X-Client-Subject"),
        (
            &auth("client_subject = \"X-Forwarded-For\""),
            8,
            "client_subject",
            "a meaning of its own",
            "X-Client-Subject",
        ),
        (&format!("{ENTRY}\nmax_handshakes = -1"), 6, "max_handshakes", "less than 0", "use 0 to"),
        (&format!("{ENTRY}\ncertificate = 1"), 6, "certificate", "unknown key", "certificates?"),
    ] {
        let text = listener(tls);
        one(&faults(&text), (&text, line, &format!("listener[0].tls.{key}"), wrong, remedy));
    }
    for (tls, line, key, wrong, remedy) in [
        ("server_name = \"a b\"", 5, "server_name", "not a host name", "app.example.org"),
        (
            "server_name = \"10.0.0.300\"",
            5,
            "server_name",
            "neither a host name nor an IP",
            "certificate has",
        ),
        ("cert = \"/a.pem\"", 4, "key", "missing", "write key = "),
        ("key = \"/a.key\"", 4, "cert", "missing", "write cert = "),
        ("verify = \"no\"", 5, "verify", "neither true nor false", "true or false"),
        ("cas = \"/ca.pem\"", 5, "cas", "unknown key", "did you mean ca?"),
    ] {
        let text = pool(tls, "app.internal:443");
        one(&faults(&text), (&text, line, &format!("pool.app.tls.{key}"), wrong, remedy));
    }
}

#[test]
fn a_header_that_is_asked_for_is_one_that_can_be_written() {
    let base = "[[listener]]\naddress = \"127.0.0.1:1\"\npool = \"app\"\n";
    for (line, key, remedy) in [
        ("tls = true", "listener[0].tls", "write [listener.tls] and"),
        ("http2 = true", "listener[0].http2", "write [listener.http2] and"),
    ] {
        let text = format!("{base}{line}{POOL}");
        one(&faults(&text), (&text, 4, key, "true is not a section", remedy));
    }
}

#[test]
fn words_of_other_servers_lead_to_where_weir_has_it() {
    for (text, line, key, remedy) in [
        ("protocol = \"https\"", 4, "listener[0].protocol", "a section [listener.tls]"),
        ("protocol = \"h2\"", 4, "listener[0].protocol", "tls.alpn or h2c"),
        ("[pool.app.upstream]\nprotocol = \"http2\"", 5, "pool.app.upstream.protocol", "write \"h2\""),
        ("[pool.app.upstream]\nprotocol = \"https\"", 5, "pool.app.upstream.protocol", "a section tls"),
        ("[pool.app.upstream]\nprotocol = \"grpc\"", 5, "pool.app.upstream.protocol", "write \"h2\""),
    ] {
        let text = format!("[[listener]]\naddress = \"127.0.0.1:1\"\npool = \"app\"\n{text}{POOL}");
        one(&faults(&text), (&text, line, key, "is not known here", remedy));
    }
}

#[test]
fn the_subjects_field_is_not_the_ids() {
    let text = listener(&format!("{ENTRY}\nclient_subject = \"x-request-id\""))
        .replace("[listener.tls]", "request_id = \"X-Request-Id\"\n[listener.tls]");
    one(
        &faults(&text),
        (&text, 7, "listener[0].tls.client_subject", "has the request's id in it", "its own"),
    );
}

#[test]
fn what_is_held_against_nothing_and_believing_everybody_are_warnings() {
    for (text, line, key, wrong) in [
        (listener(&format!("{ENTRY}\nclient_ca = \"/ca.pem\"")), 6, "listener[0].tls.client_ca", "not asked"),
        (listener(&format!("{ENTRY}\nclient_crl = \"/c\"")), 6, "listener[0].tls.client_crl", "not asked"),
        (
            listener(ENTRY).replace("[listener.tls]", "h2c = true\n[listener.tls]"),
            4,
            "listener[0].h2c",
            "has it",
        ),
        (
            listener(&format!("{ENTRY}\nalpn = [\"http/1.1\"]\n[listener.http2]\nmax_streams = 9")),
            7,
            "listener[0].http2",
            "no client can speak HTTP/2",
        ),
        (
            listener("").replace("[listener.tls]", "h2c = false\nhttp2 = { max_streams = 9 }"),
            5,
            "listener[0].http2",
            "no client can speak HTTP/2",
        ),
        (
            pool("", "h:1").replace("[pool.app.tls]", "[pool.app.health]\ntype = \"grpc\""),
            4,
            "pool.app.health",
            "gRPC needs HTTP/2",
        ),
        (pool("verify = false", "h:1"), 5, "pool.app.tls.verify", "can read and change everything"),
        (pool("verify = false\nca = \"/ca.pem\"", "h:1"), 6, "pool.app.tls.ca", "nothing is held against it"),
    ] {
        one(&checked(&text).warnings, (&text, line, key, wrong, ""));
    }
}
