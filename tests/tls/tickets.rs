//! Sessions are resumed on every shard, and by the process that takes over; not after a restart, and not where clients
//! must show a certificate.

use crate::harness::{Authority, Backend, Weir, answers, wait_until};
use crate::seal::Sealed;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

/// Two shards, and a state file.
fn configuration(backend: &Backend, tls: &str) -> String {
    format!(
        "[runtime]\ncores = \"0,0\"\nstate_file = \"{{dir}}/state.json\"\n[[listener]]\nname = \"web\"\n\
         address = \"127.0.0.1:{{web}}\"\npool = \"app\"\n[listener.tls]\nalpn = [\"http/1.1\"]\n{tls}\n\
         [[pool.app.backend]]\naddress = \"{}\"\n",
        backend.address()
    )
}

/// A handshake and one exchange, so that tickets have come; whether the session was resumed.
fn visit(weir: &Weir, client: &Arc<ClientConfig>) -> bool {
    let mut sealed = Sealed::connect(weir.address("web"), client, 100_000);
    let request = sealed.seal(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    sealed.send(&request, 100_000);
    let (answer, _) = sealed.rest();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
    sealed.tls.handshake_kind() == Some(HandshakeKind::Resumed)
}

#[test]
fn a_session_is_resumed_on_every_shard_and_by_the_process_that_takes_over() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("ok"));
    let tls = format!("certificates = [{{ {} }}]", authority.issue("a", &["localhost"]).keys());
    let config = configuration(&backend, &tls);
    let mut old = Weir::start(&config);
    let clients = [authority.client_config(&[&TLS12], None), authority.client_config(&[&TLS13], None)];
    let accepted =
        |weir: &Weir, shard: &str| weir.metric("weir_connections_accepted_total", &[("shard", shard)]);
    for client in &clients {
        assert!(!visit(&old, client), "it is the first");
    }
    wait_until("both shards have had some", || {
        assert!(clients.iter().all(|client| visit(&old, client)));
        ["0", "1"].iter().all(|shard| accepted(&old, shard) >= 6.0)
    });
    let new = old.successor(&config);
    assert!(old.wait_exit(Duration::from_secs(30)).success());
    wait_until("both shards have had some", || {
        assert!(clients.iter().all(|client| visit(&new, client)), "the keys were handed on");
        ["0", "1"].iter().all(|shard| accepted(&new, shard) >= 4.0)
    });
    assert_eq!(new.metric("weir_tls_handshakes_total", &[("side", "client"), ("outcome", "full")]), 0.0);
    // The keys are written nowhere, so another process does not know them.
    let state = fs::read_to_string(old.dir().join("state.json")).unwrap();
    assert!(!state.contains("key"), "{state}");
    assert!(!format!("{}{}", old.stderr(), new.stderr()).contains("secret"));
    let stranger = Weir::start(&config);
    assert!(clients.iter().all(|client| !visit(&stranger, client)));
}

#[test]
fn a_reload_keeps_sessions_unless_it_asks_more_of_clients() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("ok"));
    let tls = format!("certificates = [{{ {} }}]", authority.issue("a", &["localhost"]).keys());
    let mut weir = Weir::start(&configuration(&backend, &tls));
    let own = authority.issue("alice", &[]);
    let (client, known) =
        (authority.client_config(&[&TLS13], None), authority.client_config(&[&TLS13], Some(&own)));
    assert!(!visit(&weir, &client) && visit(&weir, &client) && !visit(&weir, &known));
    let renewed = format!("certificates = [{{ {} }}]", authority.issue("b", &["localhost"]).keys());
    reload(&mut weir, &configuration(&backend, &renewed), 1);
    assert!(visit(&weir, &client), "another certificate is no reason");
    let asking =
        format!("{renewed}\nclient_auth = \"optional\"\nclient_ca = \"{}\"", authority.cert().display());
    reload(&mut weir, &configuration(&backend, &asking), 2);
    assert!(!visit(&weir, &client), "it has shown nobody who it is");
    assert!(!visit(&weir, &known) && visit(&weir, &known), "as for one that does, from then on");
}

fn reload(weir: &mut Weir, config: &str, times: usize) {
    weir.rewrite(config);
    weir.signal(nix::sys::signal::Signal::SIGHUP);
    let loaded =
        |weir: &Weir| weir.stderr().lines().filter(|line| line.contains("configuration loaded")).count();
    wait_until("it is loaded", || loaded(weir) == times);
}
