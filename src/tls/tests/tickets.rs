//! Sessions are resumed by every shard and by the next process, and nowhere where more is asked of clients.

use super::*;
use crate::time::Micros;
use crate::tls::TICKET_LIFE;
use crate::tls::tickets::Ticketer;
use rustls::client::Resumption;
use rustls::server::ProducesTickets;
use rustls::version::{TLS12, TLS13};
use std::time::Duration;

/// A loader of a process with these keys.
fn process(tickets: &Arc<Tickets>, config: &Config) -> Arc<ServerConfig> {
    server(&Loader::new(tickets.clone()).load(config).unwrap_or_else(|refused| panic!("{refused}")))
}

/// A client that has a session of `server`, in this version.
fn met(authority: &Authority, server: &Arc<ServerConfig>, tls12: bool) -> Arc<ClientConfig> {
    let versions = if tls12 { &[&TLS12] } else { &[&TLS13] };
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    let client = Arc::new(client);
    assert!(!shake(&client, server, "a.test").unwrap().resumed());
    client
}

#[test]
fn a_session_is_resumed_by_another_process_with_the_keys_of_the_first_and_by_no_other() {
    let (folder, authority) = (Folder::new("takeover"), Authority::new("root"));
    let config = listening(&format!("certificates = [{}]", authority.issue(&["a.test"]).put(&folder, "a")));
    let now = Instant::from_us(1_000_000);
    let old = Arc::new(Tickets::new(now));
    let handed = serde_json::to_string(&old.hand_on(now)).unwrap();
    let successor = Arc::new(Tickets::new(now));
    successor.take_over(&serde_json::from_str(&handed).unwrap(), now);
    for tls12 in [false, true] {
        let client = met(&authority, &process(&old, &config), tls12);
        assert!(shake(&client, &process(&successor, &config), "a.test").unwrap().resumed(), "{tls12}");
        let client = met(&authority, &process(&old, &config), tls12);
        assert!(
            !shake(&client, &process(&Arc::new(Tickets::new(now)), &config), "a.test").unwrap().resumed()
        );
        // Another name is another server.
        let client = met(&authority, &process(&old, &config), tls12);
        assert!(shake(&client, &process(&old, &config), "a.test").unwrap().resumed());
    }
}

#[test]
fn a_ticket_opens_as_long_as_it_lives_and_no_longer() {
    let (folder, authority) = (Folder::new("rotation"), Authority::new("root"));
    let config = listening(&format!("certificates = [{}]", authority.issue(&["a.test"]).put(&folder, "a")));
    let began = Instant::from_us(1_000_000);
    let tickets = Arc::new(Tickets::new(began));
    let server = process(&tickets, &config);
    let resumes = |client| shake(&client, &server, "a.test").unwrap().resumed();
    let first = met(&authority, &server, false);
    tickets.rotate(began + Micros::from_s(1));
    assert_eq!(tickets.rotates_at(), began + TICKET_LIFE, "it was too early");
    tickets.rotate(began + TICKET_LIFE);
    assert!(resumes(first), "the key before opens its own");
    let (first, second) = (met(&authority, &server, false), met(&authority, &server, false));
    tickets.rotate(began + TICKET_LIFE + TICKET_LIFE);
    assert!(resumes(first));
    tickets.rotate(began + TICKET_LIFE + TICKET_LIFE + TICKET_LIFE);
    assert!(!resumes(second), "two keys later it is over");
}

#[test]
fn a_successor_goes_on_where_the_rotation_was() {
    let began = Instant::from_us(1_000_000);
    let tickets = Tickets::new(began);
    let half = began + Micros::from_us(TICKET_LIFE.as_us() / 2);
    let handed = tickets.hand_on(half);
    // Its clock has another zero.
    let there = Instant::from_us(TICKET_LIFE.as_us() * 9);
    let successor = Tickets::new(there);
    successor.take_over(&handed, there);
    assert_eq!(successor.rotates_at(), there + Micros::from_us(TICKET_LIFE.as_us() / 2));
    // One that knows no tickets has nothing to hand on.
    let before = successor.hand_on(there);
    successor.take_over(&serde_json::from_str("{\"keys\":[],\"age_us\":0}").unwrap(), there);
    assert!(successor.hand_on(there) == before);
}

#[test]
fn no_key_is_shown_in_a_log() {
    let tickets = Tickets::new(Instant::from_us(1));
    let handed = tickets.hand_on(Instant::from_us(1));
    assert_eq!(format!("{tickets:?} {handed:?}"), "Tickets 1 keys");
}

#[test]
fn a_session_gets_nobody_in_where_more_is_asked_of_clients() {
    let (folder, authority) = (Folder::new("binding"), Authority::new("root"));
    let entry = authority.issue(&["a.test"]).put(&folder, "a");
    let (one, other) = (Authority::new("clients"), Authority::new("others"));
    let (ca, ca2) = (folder.write("one.pem", one.pem()), folder.write("other.pem", other.pem()));
    let open = listening(&format!("certificates = [{entry}]"));
    let asking = |auth: &str, ca: &Path| {
        let ca = ca.display().to_string();
        listening(&format!("certificates = [{entry}]\nclient_auth = \"{auth}\"\nclient_ca = {ca:?}"))
    };
    let tickets = Arc::new(Tickets::new(Instant::from_us(1)));
    let own = one.issue(&[]);
    for tls12 in [false, true] {
        // From a listener that asks for nothing to those that do.
        for auth in ["optional", "required"] {
            let client = met(&authority, &process(&tickets, &open), tls12);
            let made = shake(&client, &process(&tickets, &asking(auth, &ca)), "a.test");
            assert!(made.is_err() || !made.unwrap().resumed(), "{auth}");
        }
    }
    // From one authority's clients to another's.
    let mut client = client_of(&authority, provider(), Some(&own));
    client.resumption = Resumption::in_memory_sessions(8);
    let client = Arc::new(client);
    let first = process(&tickets, &asking("required", &ca));
    assert!(!shake(&client, &first, "a.test").unwrap().resumed());
    let again = shake(&client, &first, "a.test").unwrap();
    assert!(again.resumed());
    assert_eq!(again.server.peer_certificates().unwrap()[0], own.der(), "who it is is known still");
    assert!(shake(&client, &process(&tickets, &asking("required", &ca2)), "a.test").is_err());
}

/// Now, in seconds since 1970.
fn now_unix_s() -> u64 {
    crate::sys::clock::unix_ms() / 1_000
}

#[test]
fn a_session_gets_nobody_in_whose_certificate_has_expired_however_often_it_was_resumed() {
    let (folder, authority) = (Folder::new("proof"), Authority::new("root"));
    let entry = authority.issue(&["a.test"]).put(&folder, "a");
    let clients = Authority::new("clients");
    let ca = folder.write("clients.pem", clients.pem()).display().to_string();
    let rules = format!("certificates = [{entry}]\nclient_auth = \"required\"\nclient_ca = {ca:?}");
    let server = process(&Arc::new(Tickets::new(Instant::from_us(1))), &listening(&rules));
    for version in [&TLS12, &TLS13] {
        let expires = now_unix_s() + 4;
        let own = clients.issue_with(&[], &PKCS_ECDSA_P256_SHA256, |params| {
            params.not_after =
                std::time::UNIX_EPOCH.checked_add(Duration::from_secs(expires)).unwrap().into();
        });
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
        let client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_client_auth_cert(vec![own.der()], key)
            .unwrap();
        let client = Arc::new(client);
        assert!(!shake(&client, &server, "a.test").unwrap().resumed());
        // Each time it comes it gets tickets to come again with.
        let mut resumed = 0;
        loop {
            let before = now_unix_s();
            match shake(&client, &server, "a.test") {
                Ok(pair) => {
                    assert!(before <= expires, "{version:?}: {resumed} times, past its end");
                    resumed += usize::from(pair.resumed());
                }
                Err(_) => break,
            }
            std::thread::yield_now();
        }
        assert!(resumed > 0 && now_unix_s() >= expires, "{version:?}: resumed {resumed} times");
    }
}

#[test]
fn what_comes_of_a_resumed_session_holds_no_longer_than_it_did() {
    let tickets = Arc::new(Tickets::new(Instant::from_us(1)));
    let ticketer = Ticketer { tickets, binding: [0; 32] };
    let until = |seconds: u64| Proof::of_bytes((now_unix_s() + seconds).to_be_bytes());
    let mut first = until(1_000);
    let ticket = first.during(|| ticketer.encrypt(b"who").unwrap());
    let mut second = Proof::default();
    let again = second.during(|| {
        assert_eq!(ticketer.decrypt(&ticket).unwrap(), b"who");
        ticketer.encrypt(b"who").unwrap()
    });
    assert_eq!(second, first);
    let mut third = Proof::default();
    assert!(third.during(|| ticketer.decrypt(&again)).is_some());
    assert_eq!(third, first);
    let over = Proof::of_bytes(now_unix_s().to_be_bytes()).during(|| ticketer.encrypt(b"who").unwrap());
    assert_eq!(ticketer.decrypt(&over), None);
    // Who has shown nothing has nothing that could end.
    let open = ticketer.encrypt(b"anybody").unwrap();
    assert_eq!(ticketer.decrypt(&open).unwrap(), b"anybody");
}
