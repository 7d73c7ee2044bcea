//! weir replaced by weir: the next process gets the sockets and what is known, the last one leaves when it
//! has answered what it has.

use crate::control::{ctl, state};
use crate::fleet::Server;
use crate::harness::{Mix, OpenLoop, Weir, wait_until};
use crate::verdict::nothing_noticed;
use crate::{CAREFUL, CHECK, ledger, site};
use std::time::Duration;

#[test]
fn five_takeovers_with_other_numbers_of_shards() {
    let ledger = ledger();
    let fleet = Server::three(&ledger);
    let entries: Vec<_> = fleet.iter().map(Server::entry).collect();
    let pool = format!("{CAREFUL}{CHECK}");
    let mut weir = Weir::start(&site("0,1", &entries, &pool));
    wait_until("all are up", || fleet.iter().all(|server| state(&weir, &server.name) == "up"));
    let load = OpenLoop::start(weir.address("web"), Mix { fresh_every: 3, ..Mix::default() });
    load.run(0.5);
    for cores in ["0,1,0,1", "0", "0,1,0", "1,0", "0,1,0,1"] {
        let next = weir.successor(&site(cores, &entries, &pool));
        let status = weir.wait_exit(Duration::from_secs(10));
        assert_eq!(status.code(), Some(0), "the former one leaves in good order");
        weir = next;
        wait_until("the new one is ready", || weir.is_ready());
        let shards = weir.metric("weir_shards", &[("state", "serving")]);
        assert_eq!(shards as usize, cores.split(',').count(), "it is the new one that answers");
        load.run(0.4);
    }
    let ended = load.stop();
    nothing_noticed("takeovers", &ended, &ledger);
}

/// With one down and one drained, neither gets an exchange from the new process, not even its first.
#[test]
fn the_next_process_knows_who_is_down_and_who_is_drained() {
    let ledger = ledger();
    let mut fleet = Server::three(&ledger);
    let entries: Vec<_> = fleet.iter().map(Server::entry).collect();
    // Checks are rare, and the first one of a new process is not enough, so that it is not by them that it
    // knows.
    let check = CHECK
        .replace("interval = \"100ms\"", "interval = \"20s\"")
        .replace("interval_down = \"50ms\"", "interval_down = \"20s\"")
        .replace("fall = 3", "fall = 1");
    let config = site("0,1", &entries, &format!("{CAREFUL}{check}"));
    fleet[0].kill();
    let mut weir = Weir::start(&config);
    wait_until("one is down", || state(&weir, "one") == "down");
    wait_until("the others are up", || state(&weir, "two") == "up" && state(&weir, "three") == "up");
    ctl(&weir, &["drain", "app", "two", "--wait"]);
    // It is there again, and would answer.
    fleet[0].revive();
    let load = OpenLoop::start(weir.address("web"), Mix { fresh_every: 3, ..Mix::default() });
    load.run(0.4);
    for _ in 0..2 {
        let next = weir.successor(&config);
        assert_eq!(weir.wait_exit(Duration::from_secs(10)).code(), Some(0));
        weir = next;
        wait_until("the new one is ready", || weir.is_ready());
        assert_eq!([state(&weir, "one"), state(&weir, "two")], ["down", "draining"]);
        load.run(0.4);
    }
    let ended = load.stop();
    nothing_noticed("known to the next", &ended, &ledger);
    assert_eq!((ended.share_of("one"), ended.share_of("two"), ended.share_of("three")), (0.0, 0.0, 1.0));
}
