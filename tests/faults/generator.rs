//! The load itself, without weir: it tells each way in which a request can end from the others, and measures
//! from the time at which a request was due.

use crate::harness::{Backend, End, Mix, OpenLoop, Then, Ticket, Wire, free_port, ticket};
use crate::ledger;
use crate::sick::error_500;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

fn address(backend: &Backend) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, backend.port()).into()
}

/// How a short load on such a backend ends, in words; there is but one way.
fn ends(mix: Mix, answer: impl Fn(Ticket, &mut Wire) -> io::Result<Then> + Send + Sync + 'static) -> String {
    let backend = Backend::http(ticket::tickets("0", &ledger(), answer));
    let load = OpenLoop::start(address(&backend), mix);
    load.run(0.2);
    let words = load.stop().words();
    assert_eq!(words.len(), 1, "{words:?}");
    words.into_keys().next().unwrap()
}

fn few() -> Mix {
    Mix { rate: 100, connections: 4, patience: Duration::from_millis(400), ..Mix::default() }
}

fn right(ticket: Ticket) -> Vec<u8> {
    ticket::right_answer("0", ticket)
}

#[test]
fn it_tells_each_end_from_the_others() {
    let sent = |bytes: Vec<u8>, wire: &mut Wire| wire.send(bytes).map(|()| Then::KeepAlive);
    assert_eq!(ends(few(), move |ticket, wire| sent(right(ticket), wire)), "right");
    assert_eq!(ends(few(), move |ticket, wire| sent(error_500("0", ticket), wire)), "failed 500");
    let refused = |_, wire: &mut Wire| {
        let body = "503 Service Unavailable: no backend is usable\n";
        wire.send(format!("HTTP/1.1 503 X\r\nContent-Length: {}\r\n\r\n{body}", body.len()))?;
        Ok(Then::KeepAlive)
    };
    assert_eq!(ends(few(), refused), "refused 503");
    let closed = |_, _: &mut Wire| Ok(Then::Close);
    assert_eq!(ends(few(), closed), "lost");
    let reset = |_, _: &mut Wire| Ok(Then::Reset);
    assert_eq!(ends(few(), reset), "lost");
    let cut = |ticket, wire: &mut Wire| {
        let whole = right(ticket);
        wire.send(&whole[..whole.len() - 1])?;
        Ok(Then::Close)
    };
    assert_eq!(ends(few(), cut), "cut");
    let late = |_, _: &mut Wire| {
        sleep(Duration::from_millis(600));
        Ok(Then::Close)
    };
    assert_eq!(ends(few(), late), "timed out");
    let load = OpenLoop::start((Ipv4Addr::LOCALHOST, free_port()).into(), few());
    load.run(0.2);
    assert_eq!(load.stop().words().into_keys().collect::<Vec<_>>(), ["unconnected"]);
}

#[test]
fn it_notices_an_answer_that_is_not_the_right_one() {
    let other = |ticket: Ticket| right(Ticket { id: ticket.id + 1, ..ticket });
    let changed = |ticket: Ticket| {
        let mut answer = right(ticket);
        *answer.last_mut().unwrap() ^= 1;
        answer
    };
    let shorter = |ticket: Ticket| right(Ticket { size: ticket.size - 1, ..ticket });
    let error_of_another = |ticket: Ticket| error_500("0", Ticket { id: ticket.id + 1, ..ticket });
    let twice = |ticket: Ticket| [right(ticket), right(ticket)].concat();
    let two_framings = |ticket: Ticket| {
        let text = String::from_utf8(right(ticket)).unwrap();
        text.replacen("\r\n", "\r\nTransfer-Encoding: chunked\r\n", 1).into_bytes()
    };
    let no_http = |_: Ticket| b"what?\r\n\r\n".to_vec();
    let half_a_head = |_: Ticket| b"HTTP/1.1 200 OK\r\nContent-".to_vec();
    let mix = || Mix { size_max: 200, ..few() };
    type Way = Box<dyn Fn(Ticket) -> Vec<u8> + Send + Sync>;
    let ways: [(&str, Way); 8] = [
        ("another's", Box::new(other)),
        ("a byte is another", Box::new(changed)),
        ("a byte is missing", Box::new(shorter)),
        ("another's error", Box::new(error_of_another)),
        ("twice", Box::new(twice)),
        ("framed in two ways", Box::new(two_framings)),
        ("not HTTP", Box::new(no_http)),
        ("half a head", Box::new(half_a_head)),
    ];
    for (case, bytes) in ways {
        let close = case == "half a head";
        let found = ends(mix(), move |ticket, wire| {
            wire.send(bytes(ticket))?;
            Ok(if close { Then::Close } else { Then::KeepAlive })
        });
        assert_eq!(found, "wrong", "{case}");
    }
}

/// A stop of 300 ms holds up every request that is due meanwhile, not one for each connection.
#[test]
fn latency_counts_from_when_a_request_was_due() {
    let backend = Backend::http(ticket::tickets("0", &ledger(), |ticket, wire| {
        if ticket.id == 20 {
            sleep(Duration::from_millis(300));
        }
        wire.send(right(ticket))?;
        Ok(Then::KeepAlive)
    }));
    let mix = Mix { rate: 200, connections: 1, post_every: 0, fresh_every: 0, ..Mix::default() };
    let load = OpenLoop::start(address(&backend), mix);
    load.run(1.0);
    let ended = load.stop();
    assert!(ended.records.iter().all(|record| record.end == End::Right), "{:?}", ended.words());
    // They open connections of their own, and are answered at once: it is an open loop.
    let slow = ended.count(|record| record.took > Duration::from_millis(150));
    assert!((1..20).contains(&slow), "{slow} were slow");
    assert!(ended.latency(1.0) >= Duration::from_millis(290));
    assert!(ended.records.len() >= 200);
    assert!(ended.opened > 1);
}

#[test]
fn a_ledger_tells_how_often_each_post_ran() {
    let ledger = ledger();
    let ticket = |id, post| Ticket { id, post, size: 10 };
    for entered in [ticket(1, true), ticket(2, true), ticket(1, true), ticket(3, false)] {
        ledger.enter(entered);
    }
    assert_eq!(ledger.runs().into_iter().collect::<Vec<_>>(), [(1, 2), (2, 1)]);
}
