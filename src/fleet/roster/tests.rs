//! What stays, what comes and what goes when a configuration, a name or an operator says something else.

use super::*;
use crate::config;
use crate::fleet::addresses::ResolvedAddress;
use crate::fleet::change::Change;
use crate::fleet::status::{Origin, Will};
use rustls::pki_types::ServerName;

/// A configuration of the pools in `text`.
fn config(text: &str) -> Arc<Config> {
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n";
    Arc::new(config::parse(&format!("{listener}{text}"), "weir.toml").unwrap().config)
}

fn app(backends: &[(&str, u16, &str)]) -> String {
    let mut text = "[pool.app]\n".to_owned();
    for (name, port, keys) in backends {
        text += &format!("[[pool.app.backend]]\nname = \"{name}\"\naddress = \"127.0.0.1:{port}\"\n{keys}\n");
    }
    text
}

const TOLD: Told<'static> = &[(0, 1), (1, 1)];

fn follow(roster: &mut Roster, text: &str) -> Vec<String> {
    let names = roster.names().clone();
    roster.follow(Next { config: config(text), names, listeners: Vec::new(), sealing: Vec::new() }, TOLD)
}

fn roster(text: &str) -> Roster {
    let mut roster = Roster::empty();
    follow(&mut roster, text);
    roster
}

fn ids(roster: &Roster) -> Vec<(String, u32)> {
    roster.pools[0].members.iter().map(|member| (member.name.clone(), member.id.0)).collect()
}

fn operate(roster: &mut Roster, change: Change) {
    let operated = roster.consider(&change).unwrap();
    roster.operate(operated, Traffic::ALL, TOLD);
}

fn named(pool: &str, name: &str) -> (String, String) {
    (pool.to_owned(), name.to_owned())
}

#[test]
fn who_is_the_same_keeps_its_number_and_what_is_unchanged_is_shared() {
    let mut roster = roster(
        &(app(&[("a", 1, ""), ("b", 2, "")])
            + "[pool.other]\n[[pool.other.backend]]\nname = \"x\"\naddress = \"127.0.0.1:9\"\n"),
    );
    assert_eq!(ids(&roster), [("a".into(), 0), ("b".into(), 1)]);
    let before = roster.topology().clone();
    let words = follow(
        &mut roster,
        &(app(&[("b", 2, "weight = 3"), ("c", 3, "")])
            + "[pool.other]\n[[pool.other.backend]]\nname = \"x\"\naddress = \"127.0.0.1:9\"\n"),
    );
    // A number that is still in use on shards is not given again.
    assert_eq!(ids(&roster), [("b".into(), 1), ("c".into(), 3)]);
    let now = roster.topology();
    assert_eq!((before.generation, now.generation, now.backends_end), (1, 2, 4));
    assert!(Arc::ptr_eq(&before.pools[1], &now.pools[1]), "the other pool is the same");
    assert!(Arc::ptr_eq(&before.pools[0].budget, &now.pools[0].budget), "its budget goes on");
    assert_eq!(
        words,
        [
            "pool app: weight of backend b is 3 (was 1)",
            "pool app: backend c added (127.0.0.1:3)",
            "pool app: backend a removed (127.0.0.1:1)"
        ]
    );
}

#[test]
fn a_backend_that_moves_is_another_one_and_a_budget_that_changes_is_another_too() {
    let mut roster = roster(&app(&[("a", 1, "")]));
    let before = roster.topology().clone();
    follow(&mut roster, &(app(&[("a", 2, "")]) + "[pool.app.retry]\nbudget = 0.5\n"));
    assert_eq!(ids(&roster), [("a".into(), 1)]);
    assert!(!Arc::ptr_eq(&before.pools[0].budget, &roster.topology().pools[0].budget));
}

#[test]
fn an_operators_changes_hold_until_the_configuration_of_that_backend_changes() {
    let mut roster = roster(&app(&[("a", 1, ""), ("b", 2, ""), ("c", 3, "")]));
    let ((pool, a), (_, b), (_, c)) = (named("app", "a"), named("app", "b"), named("app", "c"));
    operate(&mut roster, Change::Drain { pool: pool.clone(), name: a });
    operate(&mut roster, Change::Weight { pool: pool.clone(), name: b, weight: 9 });
    operate(&mut roster, Change::Remove { pool: pool.clone(), name: c });
    operate(
        &mut roster,
        Change::Add { pool, address: "127.0.0.1:4".into(), name: Some("d".into()), weight: None },
    );
    let state = |roster: &Roster| -> Vec<(String, u16, Will, Origin)> {
        let members = roster.pools[0].members.iter();
        members.map(|member| (member.name.clone(), member.weight, member.will, member.origin())).collect()
    };
    let held = [
        ("a".to_owned(), 1, Will::Draining, Origin::Configured),
        ("b".to_owned(), 9, Will::Ready, Origin::Configured),
        ("d".to_owned(), 1, Will::Ready, Origin::Added),
    ];
    assert_eq!(state(&roster), held);
    // Another pool comes; nothing is said of these.
    let more = "[pool.more]\n[[pool.more.backend]]\naddress = \"127.0.0.1:9\"\n";
    follow(&mut roster, &(app(&[("a", 1, ""), ("b", 2, ""), ("c", 3, "")]) + more));
    assert_eq!(state(&roster), held);
    // Something is said of each.
    let text = app(&[
        ("a", 1, "weight = 2"),
        ("b", 2, "weight = 3"),
        ("c", 3, "backup = true"),
        ("d", 4, "weight = 5"),
    ]);
    follow(&mut roster, &text);
    assert_eq!(
        state(&roster),
        [
            ("a".to_owned(), 2, Will::Ready, Origin::Configured),
            ("b".to_owned(), 3, Will::Ready, Origin::Configured),
            ("c".to_owned(), 1, Will::Ready, Origin::Configured),
            ("d".to_owned(), 5, Will::Ready, Origin::Configured),
        ]
    );
}

#[test]
fn a_names_addresses_are_backends_and_the_name_means_all_of_them() {
    let text = "[pool.app]\n[[pool.app.backend]]\nname = \"n\"\naddress = \"app.test:80\"\nweight = 4\n";
    let config = config(text);
    let written = config.pools[0].backends[0].address.clone();
    let found = |ports: &[u16]| {
        let one = |port: &u16| ResolvedAddress {
            address: config::Destination::Tcp(([127, 0, 0, 1], *port).into()),
            weight: (*port == 2).then_some(7),
            backup: false,
        };
        Addresses::from([(written.clone(), ports.iter().map(one).collect())])
    };
    let mut roster = Roster::empty();
    let next = |ports| Next {
        config: config.clone(),
        names: found(ports),
        listeners: Vec::new(),
        sealing: Vec::new(),
    };
    roster.follow(next(&[1, 2]), TOLD);
    assert_eq!(ids(&roster), [("n@127.0.0.1:1".into(), 0), ("n@127.0.0.1:2".into(), 1)]);
    let weights: Vec<u16> = roster.pools[0].members.iter().map(|member| member.weight).collect();
    assert_eq!(weights, [4, 7]);
    assert_eq!(roster.members("app", "n").unwrap().len(), 2);
    let (pool, name) = named("app", "n");
    operate(&mut roster, Change::Drain { pool, name });
    roster.follow(next(&[2, 3]), TOLD);
    assert_eq!(ids(&roster), [("n@127.0.0.1:2".into(), 1), ("n@127.0.0.1:3".into(), 2)]);
    let wills: Vec<Will> = roster.pools[0].members.iter().map(|member| member.will).collect();
    assert_eq!(wills, [Will::Draining, Will::Ready], "who was known stays drained");
}

#[test]
fn what_cannot_be_is_refused_with_what_there_is() {
    let roster = roster(&app(&[("a", 1, "")]));
    let add = |address: &str, name: Option<&str>, weight| Change::Add {
        pool: "app".into(),
        address: address.into(),
        name: name.map(str::to_owned),
        weight,
    };
    let (pool, name) = named("nope", "a");
    for (change, part) in [
        (Change::Drain { pool, name }, "there are: app"),
        (Change::Drain { pool: "app".into(), name: "z".into() }, "it has: a"),
        (Change::Weight { pool: "app".into(), name: "a".into(), weight: 257 }, "use 1 to 256"),
        (add("127.0.0.1:5", Some("a"), None), "already"),
        (add("127.0.0.1", None, None), "127.0.0.1:8080"),
        (add("host.test:80", None, None), "reload"),
        (add("127.0.0.1:5", None, Some(0)), "use 1 to 256"),
    ] {
        let refused = roster.consider(&change).unwrap_err().to_string();
        assert!(refused.contains(part), "{change:?}: {refused}");
    }
}

#[test]
fn who_is_removed_and_brought_back_as_it_was_is_the_configured_one_again() {
    let mut roster = roster(&app(&[("a", 1, "weight = 2"), ("b", 2, "")]));
    let (pool, name) = named("app", "a");
    operate(&mut roster, Change::Remove { pool: pool.clone(), name: name.clone() });
    assert_eq!(ids(&roster), [("b".into(), 1)]);
    assert_eq!(roster.pools[0].removed.len(), 1);
    operate(
        &mut roster,
        Change::Add { pool, address: "127.0.0.1:1".into(), name: Some(name), weight: Some(2) },
    );
    let member = roster.pools[0].members.last().unwrap();
    assert_eq!((member.origin(), member.id), (Origin::Configured, BackendId(2)));
    assert!(roster.pools[0].removed.is_empty());
}

/// What is agreed on with the backends of a pool, as if `tls` had made it.
fn rules() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let roots = rustls::RootCertStore::empty();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

#[test]
fn a_sealed_backend_has_a_name_and_sessions_of_its_own_until_the_rules_change() {
    let mut roster = Roster::empty();
    let text = app(&[("a", 1, ""), ("b", 2, "")]).replace("[pool.app]\n", "[pool.app.tls]\n");
    let follow = |roster: &mut Roster, text: &str, rules: &Arc<ClientConfig>| {
        let (names, sealing) = (roster.names().clone(), vec![Some(rules.clone())]);
        roster.follow(Next { config: config(text), names, listeners: Vec::new(), sealing }, TOLD);
        let backends = roster.topology().pools[0].backends.clone();
        backends.iter().map(|backend| backend.tls.clone().unwrap()).collect::<Vec<_>>()
    };
    let first = rules();
    let before = follow(&mut roster, &text, &first);
    assert_eq!(before[0].server_name, ServerName::try_from("127.0.0.1").unwrap());
    assert!(!Arc::ptr_eq(&before[0].config, &before[1].config), "one cannot resume the other's session");
    let pool = roster.topology().pools[0].clone();
    let same = follow(&mut roster, &text, &first);
    assert_eq!(same, before);
    assert!(Arc::ptr_eq(&pool, &roster.topology().pools[0]), "nothing differs");
    let heavier = text.replace("name = \"a\"", "name = \"a\"\nweight = 3");
    assert_eq!(follow(&mut roster, &heavier, &first), before, "its weight is no reason");
    let named =
        follow(&mut roster, &text.replace(".tls]\n", ".tls]\nserver_name = \"app.internal\"\n"), &first);
    assert!(named.iter().all(|tls| tls.server_name == ServerName::try_from("app.internal").unwrap()));
    let other = follow(&mut roster, &text, &rules());
    assert!(other.iter().zip(&before).all(|(other, before)| !Arc::ptr_eq(&other.config, &before.config)));
}

#[test]
fn a_backend_whose_name_nothing_says_cannot_be_added_to_a_sealed_pool() {
    let add = |address: &str| Change::Add {
        pool: "app".to_owned(),
        address: address.to_owned(),
        name: None,
        weight: None,
    };
    let text = app(&[("a", 1, "")]).replace("[pool.app]\n", "[pool.app.tls]\n");
    let refused = roster(&text).consider(&add("unix:/run/app.sock")).unwrap_err().to_string();
    assert!(refused.contains("give pool.app.tls a server_name"), "{refused}");
    assert!(roster(&text).consider(&add("127.0.0.1:7")).is_ok());
    let named = text.replace(".tls]\n", ".tls]\nserver_name = \"app.internal\"\n");
    assert!(roster(&named).consider(&add("unix:/run/app.sock")).is_ok());
}
