//! What is sent again, and what is not: no POST that may have run, and no more than the budget allows.

use crate::harness::{Backend, End, Ledger, Mix, OpenLoop, Received, Record, Then, Ticket, Weir, ticket};
use crate::sick::error_500;
use crate::verdict::{counters_match, excusing};
use crate::{CAREFUL, FOUR_SHARDS, ledger, site_of};
use std::thread::sleep;
use std::time::Duration;

/// Ends its connections just when the next request comes, or a moment after an answer: the worst moments,
/// since weir has sent, or is about to send, on a connection that is no more.
fn closes_at_the_worst_moment(who: &str, ledger: &Ledger) -> Backend {
    let (who, ledger) = (who.to_owned(), ledger.clone());
    Backend::raw(move |mut wire, number| {
        for served in 0.. {
            // The end comes when the request is there and has not been read: the kernel resets.
            let came = wire.socket.readable_within(Duration::from_secs(5));
            if !came || served == 3 + number % 4 {
                return;
            }
            let Ok(Some(head)) = wire.head() else { return };
            let Ok(body) = wire.bytes(if head.starts_with(b"POST") { 120 } else { 0 }) else { return };
            let Some(ticket) = Ticket::of(&Received::of(head, body)) else { return };
            ledger.enter(ticket);
            if wire.send(ticket::right_answer(&who, ticket)).is_err() {
                return;
            }
            if number % 3 == 0 && served == 2 {
                sleep(Duration::from_micros(number as u64 * 97 % 3_000));
                return;
            }
        }
    })
}

/// The careful operator's pool, without ejection: these are not ill, and nobody may be left out for it.
fn careful_without_ejection() -> &'static str {
    CAREFUL.split("[pool.app.eject]").next().unwrap()
}

#[test]
fn no_get_is_lost_and_no_post_runs_twice_though_connections_end_at_the_worst_moment() {
    let ledger = ledger();
    let fleet = ["0", "1", "2"].map(|who| closes_at_the_worst_moment(who, &ledger));
    let weir = Weir::start(&site_of(FOUR_SHARDS, &fleet, careful_without_ejection()));
    let load = OpenLoop::start(weir.address("web"), Mix { post_every: 2, ..Mix::default() });
    load.run(4.0);
    let ended = load.stop();
    let posts = |record: &Record| record.ticket.post && matches!(record.end, End::Refused(502, _));
    let lost = excusing("closed when reused", &ended, &ledger, posts);
    assert!(lost * 2 < ended.records.len() / 2, "{lost} POSTs of {}", ended.records.len() / 2);
    // A POST that was refused ran nowhere, since these backends end before they read.
    let runs = ledger.runs();
    let ran = ended.count(|record| record.end != End::Right && runs.contains_key(&record.ticket.id));
    assert_eq!(ran, 0);
    counters_match("closed when reused", &ended, &weir);
}

/// As fast as this machine does it, and 100,000 with `WEIR_TESTS=all`.
#[test]
fn many_posts_each_run_at_most_once() {
    let count = if std::env::var("WEIR_TESTS").as_deref() == Ok("all") { 100_000 } else { 5_000 };
    let ledger = ledger();
    let fleet = ["0", "1", "2"].map(|who| closes_at_the_worst_moment(who, &ledger));
    let weir = Weir::start(&site_of("0,1", &fleet, careful_without_ejection()));
    let mix = Mix {
        rate: 10_000,
        at_once: 24,
        post_every: 1,
        fresh_every: 0,
        size_max: 200,
        patience: Duration::from_secs(60),
        ..Mix::default()
    };
    let load = OpenLoop::start(weir.address("web"), mix);
    load.run_to(count);
    let ended = load.stop();
    let refused = |record: &Record| matches!(record.end, End::Refused(502, _));
    let lost = excusing("many POSTs", &ended, &ledger, refused);
    println!("{} POSTs, {} of them refused, none ran twice", ended.records.len(), lost);
    assert!(ended.records.len() as u64 >= count);
    counters_match("many POSTs", &ended, &weir);
}

/// All that all backends say is 500: retries are bounded over all shards, and everybody is told at once.
#[test]
fn when_everything_fails_retries_keep_to_their_budget() {
    const BUDGET: f64 = 0.2;
    const MIN_PER_S: f64 = 3.0;
    let ledger = ledger();
    let fleet = ["0", "1", "2"].map(|who| {
        let fails = ticket::tickets(who, &ledger, move |ticket, wire| {
            wire.send(error_500(who, ticket))?;
            Ok(Then::KeepAlive)
        });
        Backend::http(fails)
    });
    let pool = format!(
        "[pool.app.retry]\nattempts = 3\non = [\"500\"]\nbudget = {BUDGET}\nbudget_min_per_s = {MIN_PER_S:.0}\n"
    );
    let weir = Weir::start(&site_of(FOUR_SHARDS, &fleet, &pool));
    let load = OpenLoop::start(weir.address("web"), Mix { post_every: 0, ..Mix::default() });
    let seconds = 4.0;
    load.run(seconds);
    let ended = load.stop();
    excusing("all fail", &ended, &ledger, |record| matches!(record.end, End::Failed(500)));
    let (requests, attempts) = (ended.records.len(), fleet.iter().map(Backend::requests).sum::<usize>());
    println!("{attempts} attempts for {requests} requests");
    let allowed = (1.0 + BUDGET) * requests as f64 + MIN_PER_S * (seconds + 1.0);
    assert!(attempts as f64 <= allowed * 1.02, "{attempts} attempts for {requests} requests");
    assert!(attempts as f64 > requests as f64 * 1.1, "it does try again: {attempts} for {requests}");
    counters_match("all fail", &ended, &weir);
}
