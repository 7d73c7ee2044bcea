//! Reloads, listeners that come and go, shards that end or hang, names that move: control as a whole.

use super::rig::*;
use super::*;
use crate::balance::BackendId;
use crate::config::{self as configuration, BackendAddress, OnShardLoss};
use crate::fleet::ResolvedAddress;
use crate::fleet::change::{Change, ReloadRefused};
use crate::mesh::Doing;
use crate::topology::{ListenerKey, Topology};
use std::fs;
use std::net::{SocketAddr, TcpStream};

/// A configuration file of a test's own, gone with it.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-control-{}-{name}.toml", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }

    /// Its configuration, and where it came from.
    fn load(&self) -> (Config, Begun) {
        let text = fs::read_to_string(&self.0).unwrap();
        let config = configuration::parse(&text, "weir.toml").unwrap().config;
        let source = ConfigFile { path: self.0.clone(), hash: ConfigFile::hash(&text) };
        (config, Begun { source: Some(source), ..Begun::default() })
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A listener on `port` and a pool of backends on these ports.
fn text(listener: SocketAddr, backends: &[(&str, SocketAddr)], more: &str) -> String {
    let mut text = format!(
        "[admin]\nlisten = []\n[[listener]]\nname = \"web\"\naddress = \"{listener}\"\npool = \"app\"\n[pool.app]\n"
    );
    for (name, address) in backends {
        text += &format!("[[pool.app.backend]]\nname = \"{name}\"\naddress = \"{address}\"\n");
    }
    text + more
}

fn last(rig: &Rig, shard: usize) -> Arc<Topology> {
    rig.shards[shard].told(|told| told.topologies.last().cloned().unwrap())
}

fn names(topology: &Topology) -> Vec<String> {
    topology.pools[0].backends.iter().map(|backend| backend.name.clone()).collect()
}

#[test]
fn a_reload_applies_the_difference_on_every_shard_and_says_what_it_was() {
    let (web, a, b, c) = (closed_port(), closed_port(), closed_port(), closed_port());
    let file = File::new("difference", &text(web, &[("a", a), ("b", b)], ""));
    let (config, begun) = file.load();
    with_begun(config, begun, 2, |rig| async move {
        let before = last(&rig, 0);
        rig.report(0, 1, &[0, 4]);
        until("counts", || rig.backend("b").unwrap().in_flight == 4).await;
        let unchanged = rig.desk.reload().await.unwrap();
        assert_eq!(unchanged.changes, Vec::<String>::new());
        file.write(&text(web, &[("b", b), ("c", c)], "[pool.app.timeouts]\nconnect = \"3s\"\n"));
        let reloaded = rig.desk.reload().await.unwrap();
        assert_eq!(
            reloaded.changes,
            [
                "pool app: timeouts changed".to_owned(),
                format!("pool app: backend c added ({c})"),
                format!("pool app: backend a removed ({a})"),
            ]
        );
        for shard in 0..2 {
            let now = last(&rig, shard);
            assert_eq!((names(&now), now.generation), (vec!["b".into(), "c".into()], reloaded.generation));
            assert_eq!(now.pools[0].timeouts.connect, Micros::from_s(3));
            assert!(Arc::ptr_eq(&now.listeners[0], &before.listeners[0]), "the listener is the same");
        }
        let b = rig.backend("b").unwrap();
        assert_eq!((b.id, b.in_flight), (BackendId(1), 4), "who stays is the same, with its counts");
        let status = rig.desk.configuration();
        assert_eq!((status.reloads, status.refused, status.last_reload.clone()), (2, 0, None));
        assert_eq!(status.hash, ConfigFile::hash(&fs::read_to_string(&file.0).unwrap()));
    });
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_is_remembered() {
    let (web, a) = (closed_port(), closed_port());
    let good = text(web, &[("a", a)], "");
    let file = File::new("wrong", &good);
    let (config, begun) = file.load();
    with_begun(config, begun, 1, |rig| async move {
        let before = last(&rig, 0).generation;
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener =
            format!("[[listener]]\naddress = \"{}\"\npool = \"app\"\n", taken.local_addr().unwrap());
        let name = "[[pool.app.backend]]\naddress = \"no-such-host.invalid:80\"\n";
        for (wrong, is_wrong_file, part) in [
            (good.replace("pool = \"app\"", "pool = \"nope\""), true, "nope"),
            (good.clone() + name, false, "no-such-host.invalid"),
            (good.clone() + &listener, false, "another process holds it"),
        ] {
            file.write(&wrong);
            let refused = rig.desk.reload().await.unwrap_err();
            assert!(refused.is_wrong_file() == is_wrong_file, "{refused:?}");
            assert!(refused.to_string().contains(part), "{refused}");
            assert!(rig.desk.configuration().last_reload.unwrap().contains(part));
        }
        fs::remove_file(&file.0).unwrap();
        assert!(matches!(rig.desk.reload().await, Err(ReloadRefused::Unreadable { .. })));
        assert_eq!((last(&rig, 0).generation, rig.desk.configuration().refused), (before, 4));
        file.write(&good);
        rig.desk.reload().await.unwrap();
        assert_eq!(rig.desk.configuration().last_reload, None);
    });
}

#[test]
fn listeners_come_with_a_socket_for_each_shard_and_go_after_the_shards_have_let_go() {
    let (web, more, a) = (closed_port(), closed_port(), closed_port());
    let one = text(web, &[("a", a)], "");
    let two = format!("{one}[[listener]]\nname = \"more\"\naddress = \"{more}\"\npool = \"app\"\n");
    let file = File::new("listeners", &one);
    let (config, begun) = file.load();
    with_begun(config, begun, 2, |rig| async move {
        assert!(TcpStream::connect(more).is_err());
        file.write(&two);
        let reloaded = rig.desk.reload().await.unwrap();
        assert_eq!(reloaded.changes[0], format!("listener more added ({more})"));
        TcpStream::connect(more).unwrap();
        for shard in &rig.shards {
            let keys: Vec<ListenerKey> = shard.told(|told| told.accept.iter().map(|(key, _)| *key).collect());
            assert_eq!(keys, [ListenerKey(1)], "the new one's, and not the old one's again");
        }
        file.write(&one);
        rig.desk.reload().await.unwrap();
        assert_eq!(last(&rig, 0).listeners.len(), 1);
        // The fake shards hold theirs as long as they live.
        rig.shards.iter().for_each(|shard| shard.forget_sockets());
        until("closed", || TcpStream::connect(more).is_err()).await;
        TcpStream::connect(web).unwrap();
        // It comes back under another key: who still drains the old one is not confused.
        file.write(&two);
        rig.desk.reload().await.unwrap();
        assert_eq!(last(&rig, 1).listeners[1].key, ListenerKey(2));
    });
}

#[test]
fn a_reload_keeps_what_operators_changed_and_says_what_only_a_restart_brings() {
    let (web, a, b) = (closed_port(), closed_port(), closed_port());
    let file = File::new("restart", &text(web, &[("a", a), ("b", b)], ""));
    let (config, begun) = file.load();
    with_begun(config, begun, 1, |rig| async move {
        let drain = Change::Drain { pool: "app".into(), name: "a".into() };
        rig.desk.change(&drain, false).await.unwrap();
        let more = "[runtime]\nresolver = \"127.0.0.1:53\"\nbuffers = 64\ngrace = \"7s\"\n[log]\nformat = \"json\"\n";
        file.write(&text(web, &[("a", a), ("b", b)], more));
        let reloaded = rig.desk.reload().await.unwrap();
        assert_eq!(reloaded.needs_restart, ["runtime.buffers", "runtime.resolver", "log"]);
        assert_eq!(reloaded.changes, ["runtime.grace changed"]);
        assert_eq!(rig.backend("a").unwrap().state.label(), "draining");
        assert_eq!(rig.desk.configuration().needs_restart, reloaded.needs_restart);
    });
}

#[test]
fn sighup_and_a_file_that_is_watched_load_it_again() {
    let (web, a, b, c) = (closed_port(), closed_port(), closed_port(), closed_port());
    let watch = "[runtime]\nwatch = true\n";
    let file = File::new("watch", &text(web, &[("a", a)], ""));
    let (config, begun) = file.load();
    with_begun(config, begun, 1, |rig| async move {
        file.write(&text(web, &[("a", a), ("b", b)], watch));
        rig.signals.send(Signal::Reload).unwrap();
        until("reloaded", || names(&last(&rig, 0)) == ["a", "b"]).await;
        file.write(&text(web, &[("a", a), ("c", c)], watch));
        until("reloaded by itself", || names(&last(&rig, 0)) == ["a", "c"]).await;
        until("counted", || rig.desk.configuration().reloads == 2).await;
    });
}

#[test]
fn a_watched_file_is_loaded_when_it_is_whole_and_one_that_is_right_again_ends_the_alarm() {
    let (web, a, b) = (closed_port(), closed_port(), closed_port());
    let text = |backends: &[_]| text(web, backends, "[runtime]\nwatch = true\n");
    let good = text(&[("a", a)]);
    let file = File::new("whole", &good);
    let (config, begun) = file.load();
    with_begun(config, begun, 1, |rig| async move {
        let status = || rig.desk.configuration();
        file.write("[runtime]\nwatch = ");
        until("refused", || status().refused == 1).await;
        file.write(&good);
        until("what holds is what the file says", || status().last_reload.is_none()).await;
        assert_eq!((status().refused, status().reloads), (1, 1));
        // Half of a file may be right in itself.
        let whole = text(&[("a", a), ("b", b)]);
        let half = whole.split("[[pool.app.backend]]\nname = \"b\"").next().unwrap();
        for pieces in 0..8 {
            file.write(&format!("{half}# {}\n", "-".repeat(pieces)));
            tokio::time::sleep(std::time::Duration::from_millis(300)).await; // a slow writer is the subject
        }
        file.write(&whole);
        until("loaded", || names(&last(&rig, 0)) == ["a", "b"]).await;
        until("counted", || status().reloads == 2).await;
        assert_eq!(status().refused, 1, "no piece was loaded");
    });
}

#[test]
fn a_pipe_in_the_files_place_holds_nobody_up() {
    let file = File::new("pipe", &text(closed_port(), &[("a", closed_port())], "[runtime]\nwatch = true\n"));
    let (config, begun) = file.load();
    with_begun(config, begun, 1, |rig| async move {
        fs::remove_file(&file.0).unwrap();
        nix::unistd::mkfifo(&file.0, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let refused = rig.desk.reload().await.unwrap_err();
        assert!(refused.to_string().contains("it is no regular file"), "{refused}");
    });
}

#[test]
fn a_check_whose_interval_changed_knows_what_it_knew() {
    let server = FakeBackend::start(Answer::status(200, ""));
    let web = closed_port();
    let address = server.address;
    let with = |interval: &str, path: &str| {
        let health =
            format!("[pool.app.health]\ntype = \"http\"\npath = \"{path}\"\ninterval = \"{interval}\"\n");
        text(web, &[("a", address)], &health)
    };
    let file = File::new("interval", &with("10m", "/"));
    let (config, begun) = file.load();
    with_begun(config, begun, 1, |rig| async move {
        until("up", || rig.backend("a").unwrap().usable).await;
        let before = rig.backend("a").unwrap();
        file.write(&with("20ms", "/"));
        rig.desk.reload().await.unwrap();
        let now = rig.backend("a").unwrap();
        assert_eq!((now.usable, now.transitions, now.since), (true, before.transitions, before.since));
        until("checks at the new interval", || {
            rig.backend("a").unwrap().probes_passed > before.probes_passed + 2
        })
        .await;
    });
}

#[test]
fn a_check_that_is_new_or_asks_something_else_takes_nobody_out_before_it_has_failed() {
    let (server, web) = (FakeBackend::start(Answer::status(200, "")), closed_port());
    let address = server.address;
    let with = |health: &str| text(web, &[("a", address)], health);
    let http = "[pool.app.health]\ntype = \"http\"\ninterval = \"20ms\"\ntimeout = \"20ms\"\n";
    let tcp = "[pool.app.health]\ntype = \"tcp\"\ninterval = \"20ms\"\n";
    let other = format!("{http}path = \"/other\"\n");
    let file = File::new("another-check", &with(""));
    let (config, begun) = file.load();
    with_begun(config, begun, 1, |rig| async move {
        let told_nothing = || rig.shards[0].told(|told| told.transitions.iter().any(|(_, usable)| !usable));
        assert_eq!(rig.backend("a").unwrap().state.label(), "no_check");
        for (check, passes) in [(tcp, 3), (http, 6), (&other, 9)] {
            file.write(&with(check));
            rig.desk.reload().await.unwrap();
            assert_eq!(rig.backend("a").unwrap().state.label(), "up", "{check}");
            until("checked", || rig.backend("a").unwrap().probes_passed >= passes).await;
        }
        assert!(!told_nothing(), "it is in traffic all the time");
        server.set(Answer::status(500, ""));
        file.write(&with(http));
        rig.desk.reload().await.unwrap();
        assert!(rig.backend("a").unwrap().usable, "it is not guilty yet");
        until("down", || rig.backend("a").unwrap().state.label() == "down").await;
        assert!(rig.backend("a").unwrap().why.starts_with("3 checks failed in a row"));
    });
}

#[test]
fn a_shard_that_ends_by_itself_has_its_sockets_adopted_and_the_process_serves_on() {
    let (web, a) = (closed_port(), closed_port());
    let file = File::new("adopt", &text(web, &[("a", a)], ""));
    let (config, begun) = file.load();
    with_begun(config, begun, 3, |rig| async move {
        let ended = |shard| ToControl::Ended { shard, error: Some("it panicked".into()) };
        rig.to_control.send(ended(1)).unwrap();
        until("adopted", || rig.shards[0].told(|told| told.accept.len() == 1)).await;
        assert_eq!(rig.desk.ready(), Ok(()));
        let shards = rig.desk.shards();
        assert_eq!((shards[0].adopted.clone(), shards[1].alive), (vec![1], false));
        assert_eq!(shards[1].error.as_deref(), Some("it panicked"));
        // Whoever has adopted ends too: the last one has the sockets of all three.
        rig.to_control.send(ended(0)).unwrap();
        until("adopted all", || rig.shards[2].told(|told| told.accept.len() == 2)).await;
        assert_eq!(rig.desk.shards()[2].adopted, [0, 1]);
        // A listener that comes later has nobody's queue unattended.
        let more = format!("[[listener]]\naddress = \"{}\"\npool = \"app\"\n", closed_port());
        file.write(&text(web, &[("a", a)], &more));
        rig.desk.reload().await.unwrap();
        assert_eq!(rig.shards[2].told(|told| told.accept.len()), 5);
    });
}

#[test]
fn a_lost_shard_ends_the_process_with_an_error_where_that_is_wanted() {
    let mut config = config(vec![pool("app", &[closed_port()], None)]);
    config.runtime.on_shard_loss = OnShardLoss::Exit;
    with_control(config, 2, |rig| async move {
        rig.to_control.send(ToControl::Ended { shard: 0, error: None }).unwrap();
        let reason = rig.exit().await;
        assert_eq!((reason, reason.code()), (ExitReason::ShardLost, 1));
    });
}

#[test]
fn a_heart_that_does_not_beat_is_seen_and_counted_once_for_each_time() {
    let config = config(vec![pool("app", &[closed_port()], None)]);
    with_control(config, 2, |rig| async move {
        assert!(rig.desk.hearts_beat(), "shards that have no pulse yet are not stalled");
        let beat = |shard: usize| rig.pulses[shard].beat(rig.desk.now());
        rig.pulses[1].begin(Doing::Messages);
        beat(1);
        until("stalled", || {
            beat(0);
            rig.desk.shards()[1].stalls == 1
        })
        .await;
        let shards = rig.desk.shards();
        assert!(shards[1].stalled && !shards[0].stalled && !rig.desk.hearts_beat());
        assert_eq!(shards[1].doing, "messages");
        beat(1);
        assert!(!rig.desk.shards()[1].stalled && rig.desk.hearts_beat());
        until("stalled again", || rig.desk.shards()[1].stalls == 2).await;
    });
}

#[test]
fn a_names_addresses_come_and_go_by_themselves_and_a_failed_look_up_keeps_them() {
    let mut app = pool("app", &[closed_port()], None);
    let written = BackendAddress::Name("localhost".into(), closed_port().port());
    app.backends[0].address = written.clone();
    with_control(config(vec![app]), 1, |rig| async move {
        let entry = |topology: &Topology| topology.pools[0].backends[0].clone();
        let first = entry(&last(&rig, 0));
        let BackendAddress::Name(_, port) = written else { panic!() };
        let found = |ip: [u8; 4]| {
            let address = configuration::Destination::Tcp((ip, port).into());
            Ok(vec![ResolvedAddress { address, weight: None, backup: false }])
        };
        rig.desk.found(1, found([127, 0, 0, 9]));
        until("moved", || entry(&last(&rig, 0)).address.to_string() == format!("127.0.0.9:{port}")).await;
        let second = entry(&last(&rig, 0));
        assert_ne!(first.id, second.id);
        let generation = last(&rig, 0).generation;
        rig.desk.found(1, Err(LookUpFailed { name: "localhost".into(), cause: "no answer".into() }));
        rig.desk.found(1, found([127, 0, 0, 9]));
        let drain = Change::Drain { pool: "app".into(), name: "0".into() };
        rig.desk.change(&drain, false).await.unwrap();
        assert_eq!((last(&rig, 0).generation, entry(&last(&rig, 0)).id), (generation, second.id));
    });
}

#[test]
fn what_was_found_of_a_name_that_is_gone_is_not_taken_for_another_names() {
    let web = closed_port();
    let with = |port: u16| {
        let backend = format!("[[pool.app.backend]]\nname = \"n\"\naddress = \"localhost:{port}\"\n");
        text(web, &[], &backend)
    };
    let file = File::new("keys", &with(7));
    let (config, begun) = file.load();
    with_begun(config, begun, 1, |rig| async move {
        file.write(&with(8));
        rig.desk.reload().await.unwrap();
        let address = configuration::Destination::Tcp(([127, 0, 0, 9], 7).into());
        rig.desk.found(1, Ok(vec![ResolvedAddress { address, weight: None, backup: false }]));
        assert!(rig.backend("n@127.0.0.9:7").is_none(), "it was the first name's");
    });
}

#[test]
fn listeners_that_swap_their_addresses_are_said_to_have_done_so() {
    let (one, two, a) = (closed_port(), closed_port(), closed_port());
    let with = |one: SocketAddr, two: SocketAddr| {
        let more = format!("[[listener]]\nname = \"more\"\naddress = \"{two}\"\npool = \"app\"\n");
        text(one, &[("a", a)], &more)
    };
    let file = File::new("swap", &with(one, two));
    let (config, begun) = file.load();
    with_begun(config, begun, 1, |rig| async move {
        file.write(&with(two, one));
        let reloaded = rig.desk.reload().await.unwrap();
        let named = |now, was, address| format!("listener {now}: was named {was} ({address})");
        assert_eq!(reloaded.changes, [named("web", "more", two), named("more", "web", one)]);
    });
}
