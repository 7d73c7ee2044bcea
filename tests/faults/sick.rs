//! Backends that answer badly, and look well to their health check.
//!
//! One of three falls ill under load. GETs lose nothing at all: what it does to them is tried elsewhere.
//! POSTs that it has had are lost, by rule, and no more of them once it is ejected: that takes less than a
//! second. It is ill until the end, so its trials fail, and cost nobody anything.

use crate::harness::{
    Backend, End, Handler, Ledger, Mix, OpenLoop, Record, Then, Ticket, Weir, Wire, ticket,
};
use crate::verdict::{counters_match, excusing};
use crate::{FOUR_SHARDS, checked, hasty, ledger, site_of};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What a healthy backend takes.
pub(crate) const TAKES: Duration = Duration::from_millis(4);

/// Answers tickets rightly after `TAKES`.
pub(crate) fn well(who: &str, ledger: &Ledger) -> Handler {
    let name = who.to_owned();
    ticket::tickets(who, ledger, move |ticket, wire| {
        sleep(TAKES);
        wire.send(ticket::right_answer(&name, ticket))?;
        Ok(Then::KeepAlive)
    })
}

/// Answers rightly until `ill` is set, and then by `badly`.
pub(crate) fn falling_ill(
    who: &str,
    ledger: &Ledger,
    ill: &Arc<AtomicBool>,
    badly: impl Fn(Ticket, &mut Wire) -> io::Result<Then> + Send + Sync + 'static,
) -> Handler {
    let (name, ill) = (who.to_owned(), ill.clone());
    ticket::tickets(who, ledger, move |ticket, wire| {
        if ill.load(Ordering::SeqCst) {
            return badly(ticket, wire);
        }
        sleep(TAKES);
        wire.send(ticket::right_answer(&name, ticket))?;
        Ok(Then::KeepAlive)
    })
}

/// The error that a backend answers this request with.
pub(crate) fn error_500(who: &str, ticket: Ticket) -> Vec<u8> {
    ticket::answer_with(who, "500 Internal Server Error", &format!("{} failed", ticket.id))
}

/// All of a right answer but its second half.
fn half(ticket: Ticket) -> Vec<u8> {
    let mut answer = ticket::right_answer("0", ticket);
    answer.truncate(answer.len() - ticket.answer().len() / 2 - 1);
    answer
}

/// The load on three backends, of which the first falls ill after a second.
fn with_a_sick_one(
    what: &str,
    badly: impl Fn(Ticket, &mut Wire) -> io::Result<Then> + Send + Sync + 'static,
) {
    let (ledger, ill) = (ledger(), Arc::new(AtomicBool::new(false)));
    let fleet = [
        Backend::http(falling_ill("0", &ledger, &ill, badly)),
        Backend::http(well("1", &ledger)),
        Backend::http(well("2", &ledger)),
    ];
    let weir = Weir::start(&site_of(FOUR_SHARDS, &fleet, &hasty()));
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(1.0);
    let onset = Instant::now();
    ill.store(true, Ordering::SeqCst);
    load.run(4.0);
    let ended = load.stop();
    // A second, what a response may take, and slack.
    let ejected = onset + Duration::from_millis(1_000 + 1_000 + 500);
    let posts = |record: &Record| {
        let bad = !matches!(record.end, End::Wrong(_) | End::TimedOut | End::Unconnected(_));
        record.ticket.post && bad && record.ended() >= onset && record.due < ejected
    };
    let lost = excusing(what, &ended, &ledger, posts);
    println!("{what}: {lost} POSTs lost");
    let ejections = |backend: &str| weir.metric("weir_ejections_total", &[("backend", backend)]);
    assert!(ejections("0") >= 1.0, "the sick one was ejected");
    assert_eq!((ejections("1"), ejections("2")), (0.0, 0.0), "and nobody else");
    counters_match(what, &ended, &weir);
}

#[test]
fn it_accepts_and_never_answers() {
    with_a_sick_one("never answers", |_, _| {
        sleep(Duration::from_secs(2));
        Ok(Then::Close)
    });
}

#[test]
fn it_answers_half_and_stalls() {
    with_a_sick_one("half, then silence", |ticket, wire| {
        wire.send(half(ticket))?;
        sleep(Duration::from_secs(2));
        Ok(Then::Close)
    });
}

#[test]
fn it_answers_half_and_closes() {
    with_a_sick_one("half, then closed", |ticket, wire| {
        wire.send(half(ticket))?;
        Ok(Then::Close)
    });
}

#[test]
fn it_answers_half_and_resets() {
    with_a_sick_one("half, then reset", |ticket, wire| {
        wire.send(half(ticket))?;
        sleep(Duration::from_millis(10));
        Ok(Then::Reset)
    });
}

#[test]
fn it_closes_without_a_word() {
    with_a_sick_one("no word", |_, _| Ok(Then::Close));
}

#[test]
fn it_answers_what_is_not_http() {
    with_a_sick_one("not HTTP", |_, wire| {
        wire.send("what?\r\n\r\n")?;
        Ok(Then::Close)
    });
}

#[test]
fn half_of_its_answers_are_500() {
    let count = AtomicU64::new(0);
    with_a_sick_one("half are 500", move |ticket, wire| {
        if count.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            wire.send(error_500("0", ticket))?;
        } else {
            sleep(TAKES);
            wire.send(ticket::right_answer("0", ticket))?;
        }
        Ok(Then::KeepAlive)
    });
}

/// Too large to be held: what is cut is cut, and counted; but no GET that was not answered in part is lost,
/// and it is over soon.
#[test]
fn it_cuts_what_is_too_large_to_hold() {
    let (ledger, ill) = (ledger(), Arc::new(AtomicBool::new(false)));
    let badly = |ticket: Ticket, wire: &mut Wire| {
        wire.send(half(ticket))?;
        sleep(Duration::from_millis(10));
        Ok(Then::Reset)
    };
    let fleet = [
        Backend::http(falling_ill("0", &ledger, &ill, badly)),
        Backend::http(well("1", &ledger)),
        Backend::http(well("2", &ledger)),
    ];
    let weir = Weir::start(&site_of(FOUR_SHARDS, &fleet, &checked()));
    // From 20 bytes to 80 KiB; up to 16 KiB are held.
    let load =
        OpenLoop::start(weir.address("web"), Mix { size_max: 80 << 10, post_every: 0, ..Mix::default() });
    load.run(1.0);
    let onset = Instant::now();
    ill.store(true, Ordering::SeqCst);
    load.run(3.0);
    let ended = load.stop();
    // And one for each trial that comes later.
    let cut = |record: &Record| {
        matches!(record.end, End::Cut(_)) && record.ended() >= onset && record.ticket.size > (16 << 10)
    };
    let lost = excusing("cut", &ended, &ledger, cut);
    let late = ended.due(onset + Duration::from_millis(1_500), Instant::now());
    let late = late.count(|record| record.end != End::Right);
    assert!(late <= 4, "{late} of {lost} were cut long after it fell ill");
    let truncated = weir.metric("weir_upstream_failures_total", &[("backend", "0")]);
    assert!(truncated >= lost as f64, "{truncated} of {lost} cut answers in /metrics");
    counters_match("cut", &ended, &weir);
}
