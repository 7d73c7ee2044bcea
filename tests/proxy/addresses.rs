//! Listeners and backends on Unix sockets and IPv6.

use crate::harness::{Backend, Client, Weir, answers, one_pool};
use std::net::{Ipv6Addr, SocketAddr};

#[test]
fn a_unix_listener_and_a_unix_backend_serve() {
    let dir = std::env::temp_dir().join(format!("weir-unix-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let backend = Backend::http_unix(&dir.join("app.sock"), answers::echo());
    let config = one_pool(&[&backend], "", "").replace("127.0.0.1:{web}", "unix:{dir}/web.sock");
    let weir = Weir::start(&config);
    let mut client = Client::connect_unix(&weir.dir().join("web.sock"));
    for n in 0..3 {
        let response = client.ask(format!("POST /{n} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"));
        assert_eq!((response.status, response.text().as_str()), (200, "abc"));
    }
    assert_eq!(backend.connections(), 1);
    assert_eq!(backend.last().fields.get("X-Forwarded-Host"), Some("h"));
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn an_ipv6_listener_and_an_ipv6_backend_serve() {
    let backend = Backend::http_on(Ipv6Addr::LOCALHOST.into(), answers::echo());
    assert!(backend.address().starts_with("[::1]:"));
    let weir = Weir::start(&one_pool(&[&backend], "", "").replace("127.0.0.1:{web}", "[::1]:{web}"));
    let mut client = Client::connect(SocketAddr::from((Ipv6Addr::LOCALHOST, weir.port("web"))));
    assert_eq!(client.get("/six").field("X-Target"), Some("/six"));
    assert_eq!(backend.last().fields.get("X-Forwarded-For"), Some("::1"));
}

/// So that both may be configured on one port.
#[test]
fn a_listener_on_all_ipv6_addresses_takes_no_ipv4() {
    let backend = Backend::http(answers::echo());
    let config = one_pool(&[&backend], "", "").replace("127.0.0.1:{web}", "[::]:{web}")
        + "[[listener]]\nname = \"four\"\naddress = \"0.0.0.0:{web}\"\npool = \"app\"\n";
    let weir = Weir::start(&config);
    assert_eq!(weir.client().get("/").status, 200);
    assert_eq!(backend.last().fields.get("X-Forwarded-For"), Some("127.0.0.1"));
    let mut six = Client::connect(SocketAddr::from((Ipv6Addr::LOCALHOST, weir.port("web"))));
    assert_eq!(six.get("/").status, 200);
    assert_eq!(backend.last().fields.get("X-Forwarded-For"), Some("::1"));
}

#[test]
fn a_backend_named_by_host_is_resolved() {
    let backend = Backend::http(answers::echo());
    let config = one_pool(&[&backend], "", "")
        .replace(&format!("\"{}\"", backend.address()), &format!("\"localhost:{}\"", backend.port()));
    let weir = Weir::start(&config);
    assert_eq!(weir.client().get("/").status, 200);
}
