//! Backends that are killed, that hang, that come back.

use crate::control::state;
use crate::fleet::{Server, behind_weir};
use crate::harness::{End, Mix, OpenLoop, wait_until};
use crate::verdict::{as_prompt_as, counters_match, excusing, nothing_noticed, post_between};
use crate::{checked, hasty, ledger};
use std::time::{Duration, Instant};

#[test]
fn a_killed_backend_costs_nobody_but_the_posts_it_had() {
    let ledger = ledger();
    let mut fleet = Server::three(&ledger);
    let weir = behind_weir(&fleet, &checked());
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    let mut killed = Vec::new();
    for server in &mut fleet {
        let name = server.name.clone();
        load.run(0.7);
        killed.push(Instant::now());
        server.kill();
        load.run(0.7);
        server.revive();
        wait_until("it is up again", || state(&weir, &name) == "up");
        load.wait_for("it has traffic", 20, |record| record.backend.as_ref() == Some(&name));
    }
    let ended = load.stop();
    // What was under way at the kill; a connect that is refused is no reason to lose a POST.
    let under_way = |record: &crate::harness::Record| {
        killed.iter().any(|at| post_between(*at, *at + Duration::from_millis(800))(record))
    };
    let lost = excusing("killed", &ended, &ledger, under_way);
    assert!(lost <= 3 * 6, "{lost} POSTs lost at three kills: more than were under way");
    assert_eq!(weir.metric("weir_failovers_total", &[]), 3.0, "each kill is a failover");
    assert_eq!(weir.metric("weir_failover_lost_total", &[]) as usize, lost, "and is told with what it cost");
    counters_match("killed", &ended, &weir);
}

#[test]
fn a_backend_that_hangs_is_left_out_until_it_goes_on() {
    let ledger = ledger();
    let fleet = Server::three(&ledger);
    let weir = behind_weir(&fleet, &hasty());
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(1.0);
    let hung = Instant::now();
    fleet[1].hang();
    load.run(3.5);
    let went_on = Instant::now();
    fleet[1].go_on();
    load.wait_for("it has traffic again", 50, |record| record.backend.as_deref() == Some("two"));
    load.run(0.5);
    let ended = load.stop();
    // A POST that had no answer in time, until it is noticed: the first five time-outs, or three checks.
    let noticed = hung + Duration::from_millis(2_500);
    excusing("hung", &ended, &ledger, post_between(hung, noticed));
    as_prompt_as("hung", &ended.due(ended.records[0].due, hung), &ended.due(noticed, went_on));
    counters_match("hung", &ended, &weir);
}

#[test]
fn when_all_are_gone_clients_are_told_so_at_once_and_when_they_return_all_is_well() {
    let ledger = ledger();
    let mut fleet = Server::three(&ledger);
    let weir = behind_weir(&fleet, &checked());
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(0.7);
    let gone = Instant::now();
    fleet.iter_mut().for_each(Server::kill);
    wait_until("all are down", || fleet.iter().all(|server| state(&weir, &server.name) == "down"));
    let down = Instant::now();
    load.run(0.7);
    let until = Instant::now();
    fleet.iter_mut().for_each(Server::revive);
    wait_until("all are up", || fleet.iter().all(|server| state(&weir, &server.name) == "up"));
    let back = Instant::now() + Duration::from_millis(100);
    load.run(1.0);
    let ended = load.stop();
    let told = |record: &crate::harness::Record| {
        matches!(record.end, End::Refused(502 | 503, _)) && record.ended() >= gone && record.due < back
    };
    excusing("all gone", &ended, &ledger, told);
    let meanwhile = ended.due(down, until);
    let refused = meanwhile.count(|record| matches!(record.end, End::Refused(503, _)));
    assert_eq!(refused, meanwhile.records.len(), "no backend is usable: {:?}", meanwhile.words());
    as_prompt_as("all gone", &ended.due(ended.records[0].due, gone), &meanwhile);
    counters_match("all gone", &ended, &weir);
}

#[test]
fn without_a_fault_nothing_is_noticed() {
    let ledger = ledger();
    let fleet = Server::three(&ledger);
    let weir = behind_weir(&fleet, &checked());
    let load = OpenLoop::start(weir.address("web"), Mix { size_max: 60_000, ..Mix::default() });
    load.run(2.0);
    let ended = load.stop();
    nothing_noticed("quiet", &ended, &ledger);
    counters_match("quiet", &ended, &weir);
    assert_eq!(ended.closed_idle, 0);
    assert!(ended.records.len() >= 600, "{} requests", ended.records.len());
    assert!(["one", "two", "three"].iter().all(|name| ended.share_of(name) > 0.2));
}
