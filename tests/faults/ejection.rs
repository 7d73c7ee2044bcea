//! Who is slow, or fails fast, gets little.

use crate::harness::{Backend, End, Handler, Ledger, Mix, OpenLoop, Record, Then, Weir, ticket};
use crate::sick::{TAKES, error_500, falling_ill, well};
use crate::verdict::{as_prompt_as, excusing, nothing_noticed};
use crate::{CAREFUL, FOUR_SHARDS, ledger, site_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn one_that_is_fifty_times_slower_than_the_others_is_left_out() {
    let (ledger, ill) = (ledger(), Arc::new(AtomicBool::new(false)));
    let slowly = |ticket, wire: &mut crate::harness::Wire| {
        sleep(TAKES * 50);
        wire.send(ticket::right_answer("0", ticket))?;
        Ok(Then::KeepAlive)
    };
    let mut fleet = vec![Backend::http(falling_ill("0", &ledger, &ill, slowly))];
    fleet.extend(["1", "2", "3"].map(|who| Backend::http(well(who, &ledger))));
    // In turn, so that no policy hides what ejection does not do.
    let eject = CAREFUL.replace("[pool.app.eject]\n", "[pool.app.eject]\nlatency_factor = 5.0\n");
    let pool = format!("policy = \"round_robin\"\n{eject}");
    let weir = Weir::start(&site_of(FOUR_SHARDS, &fleet, &pool));
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(2.0);
    let onset = Instant::now();
    ill.store(true, Ordering::SeqCst);
    load.run(5.0);
    let ended = load.stop();
    nothing_noticed("50 times slower", &ended, &ledger);
    let quiet = ended.due(onset - Duration::from_secs(1), onset);
    let first = ended.due(onset, onset + Duration::from_secs(2));
    let later = ended.due(onset + Duration::from_secs(2), Instant::now());
    println!("in the first two seconds p99 is {:?}", first.latency(0.99));
    assert!(later.share_of("0") < 0.02, "{} of the requests go to it", later.share_of("0"));
    // An answer of the slow one takes 200 ms.
    as_prompt_as("50 times slower", &quiet, &later);
}

/// Answers 500 at once.
fn fails_fast(ledger: &Ledger) -> Handler {
    ticket::tickets("0", ledger, |ticket, wire| {
        sleep(Duration::from_millis(1));
        wire.send(error_500("0", ticket))?;
        Ok(Then::KeepAlive)
    })
}

/// Takes long enough that exchanges pile up.
fn takes_long(who: &'static str, ledger: &Ledger) -> Handler {
    ticket::tickets(who, ledger, move |ticket, wire| {
        sleep(Duration::from_millis(40));
        wire.send(ticket::right_answer(who, ticket))?;
        Ok(Then::KeepAlive)
    })
}

/// With `least_conn` whoever is done first gets the next one; and nobody is done sooner than who fails.
#[test]
fn one_that_fails_fast_does_not_draw_the_traffic_before_it_is_ejected() {
    let ledger = ledger();
    let mut fleet = vec![Backend::http(fails_fast(&ledger))];
    fleet.extend(["1", "2", "3"].map(|who| Backend::http(takes_long(who, &ledger))));
    // Passive health is on, but never ejects.
    let pool = "policy = \"least_conn\"\n[pool.app.retry]\nattempts = 0\n\
                [pool.app.eject]\nconsecutive_failures = 0\nerror_share = 0.0\n";
    let weir = Weir::start(&site_of(FOUR_SHARDS, &fleet, pool));
    let load = OpenLoop::start(weir.address("web"), Mix { connections: 60, ..Mix::default() });
    load.run(4.0);
    let ended = load.stop();
    let began = ended.records[0].due;
    excusing("fails fast", &ended, &ledger, |record| record.end == End::Failed(500));
    // The median is not known from the first moment on.
    let settled = ended.due(began + Duration::from_secs(1), Instant::now());
    let share = settled.share_of("0");
    println!("share of the failing one: {share:.3}");
    assert!(share <= 0.30, "{share} of the requests go to one of four that fails");
    assert!(share >= 0.05, "it is not ejected: {share}");
}

/// Ill for a while: ejected, tried with GETs alone, and taken back.
#[test]
fn one_that_recovers_comes_back_by_trials_that_cost_nobody_anything() {
    let (ledger, ill) = (ledger(), Arc::new(AtomicBool::new(false)));
    let badly = |ticket, wire: &mut crate::harness::Wire| {
        wire.send(error_500("0", ticket))?;
        Ok(Then::KeepAlive)
    };
    let mut fleet = vec![Backend::http(falling_ill("0", &ledger, &ill, badly))];
    fleet.extend(["1", "2"].map(|who| Backend::http(well(who, &ledger))));
    let weir = Weir::start(&site_of(FOUR_SHARDS, &fleet, CAREFUL));
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(0.7);
    let onset = Instant::now();
    ill.store(true, Ordering::SeqCst);
    load.run(2.5);
    let well_again = Instant::now();
    ill.store(false, Ordering::SeqCst);
    let from_it = |record: &Record| record.backend.as_deref() == Some("0") && record.ticket.post;
    load.wait_for("it gets POSTs again", 20, from_it);
    let back = Instant::now();
    load.run(1.0);
    let ended = load.stop();
    let posts = |record: &Record| {
        let soon = record.ended() >= onset && record.due < onset + Duration::from_millis(1_500);
        record.ticket.post && record.end == End::Failed(500) && soon
    };
    let lost = excusing("recovers", &ended, &ledger, posts);
    println!("{lost} POSTs lost; back {:?} after it was well again", back - well_again);
    let after = ended.due(back + Duration::from_millis(300), Instant::now());
    assert!(after.share_of("0") > 0.15, "its share is {} again", after.share_of("0"));
}
