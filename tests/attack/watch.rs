//! Well-behaved clients: one that keeps its connection, one that opens a new one for each request. Their
//! latencies without and with an attack, in turns, and the verdict.
//!
//! On a host that others use too a single p99 says little. So quiet and attacked spells alternate, each gives
//! a p99, and the medians over the spells are compared: a burst of somebody else's work spoils one spell and
//! not the verdict. What is asked is at most twice the quiet p99 and [`NOISE`]. Up to three times, since a
//! neighbour may well work through all the attacked spells and rest in the quiet ones.

use crate::harness::{Socket, Wire};
use crate::scene::{Scene, foremost};
use crate::swarm::{Seen, Swarm, Tactic};
use std::net::{SocketAddr, TcpStream};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// What the scheduler adds on a core that attackers, clients and backends share: a slice of its time.
const NOISE: Duration = Duration::from_millis(3);

/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(1);

/// How long a spell lasts.
const SPELL: Duration = Duration::from_millis(400);

/// Requests of each client in it, at least.
const REQUESTS_MIN: usize = 30;

/// Quiet and attacked spells, each.
const SPELLS: usize = 3;

/// How long a client waits before its request has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Latencies of one client's requests over a spell.
#[derive(Debug, Default)]
struct Latencies {
    all: Vec<Duration>,
    failed: Vec<String>,
}

impl Latencies {
    fn p99(&mut self) -> Duration {
        self.all.sort_unstable();
        let at = self.all.len() * 99 / 100;
        self.all.get(at.min(self.all.len().saturating_sub(1))).copied().unwrap_or(PATIENCE)
    }
}

/// One spell of both clients: the p99 of the one that keeps its connection, and of the other.
pub(crate) fn spell(address: SocketAddr, length: Duration) -> [Duration; 2] {
    let clients = [true, false].map(|keeps| spawn(move || work(address, length, keeps)));
    clients.map(|client| {
        let mut latencies = client.join().unwrap();
        assert!(latencies.failed.is_empty(), "a well-behaved request failed: {:?}", latencies.failed);
        latencies.p99()
    })
}

fn work(address: SocketAddr, length: Duration, keeps: bool) -> Latencies {
    foremost();
    let end = Instant::now() + length;
    let mut latencies = Latencies::default();
    let mut kept: Option<Wire> = None;
    // On a busy host for longer, so that there is something to take a p99 of.
    while latencies.failed.is_empty() && (Instant::now() < end || latencies.all.len() < REQUESTS_MIN) {
        let began = Instant::now();
        match request(address, kept.take()) {
            Ok(wire) => {
                latencies.all.push(began.elapsed());
                kept = keeps.then_some(wire).flatten();
            }
            Err(error) => latencies.failed.push(format!("{error} after {:?}", began.elapsed())),
        }
        sleep(PAUSE);
    }
    latencies
}

/// One request, on `wire` or on a new connection. The connection, if weir keeps it.
fn request(address: SocketAddr, wire: Option<Wire>) -> std::io::Result<Option<Wire>> {
    let mut wire = match wire {
        Some(wire) => wire,
        None => Wire::new(Socket::Tcp(TcpStream::connect_timeout(&address, PATIENCE)?), PATIENCE),
    };
    wire.send("GET / HTTP/1.1\r\nHost: well-behaved\r\n\r\n")?;
    let response = wire.response("GET")?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    if response.status != 200 || response.body != b"ok" {
        return Err(std::io::Error::other(format!("{}: {}", response.status, response.text())));
    }
    let closes = response.field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok((!closes).then_some(wire))
}

/// Whether no p99 is more than twice the quiet one.
pub(crate) fn within(quiet: &[Duration; 2], under: &[Duration; 2]) -> bool {
    quiet.iter().zip(under).all(|(quiet, under)| *under <= *quiet * 2 + NOISE)
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

/// Measures quiet and attacked spells in turns; the swarms attack through `stands`, which is waited for
/// before an attacked spell begins. Returns what became of the swarms, the last round's.
///
/// # Panics
/// A well-behaved request failed, or the clients' latencies suffered, three times over.
pub(crate) fn attacked(scene: &Scene, tactics: &[Tactic], stands: &dyn Fn(&[Seen]) -> bool) -> Vec<Seen> {
    let address = scene.weir.address("web");
    // The first requests pay for what is used for the first time.
    spell(address, Duration::ZERO);
    let mut told = String::new();
    for _ in 0..3 {
        let (mut quiet, mut under, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..SPELLS {
            quiet.push(spell(address, SPELL));
            let swarms: Vec<Swarm> = tactics.iter().map(|tactic| Swarm::attack(address, tactic)).collect();
            let look = || swarms.iter().map(Swarm::seen).collect::<Vec<_>>();
            let began = Instant::now();
            while !stands(&look()) {
                assert!(began.elapsed() < Duration::from_secs(30), "the attack does not stand: {:?}", look());
                sleep(Duration::from_millis(5));
            }
            under.push(spell(address, SPELL));
            seen = swarms.into_iter().map(Swarm::end).collect();
        }
        let of =
            |spells: &[[Duration; 2]], which: usize| median(spells.iter().map(|both| both[which]).collect());
        let ratios = [0, 1].map(|which| (of(&quiet, which), of(&under, which)));
        told = format!(
            "p99 quiet and attacked: kept connection {:.2?} {:.2?}, new connections {:.2?} {:.2?}; {seen:?}",
            ratios[0].0, ratios[0].1, ratios[1].0, ratios[1].1
        );
        println!("{told}");
        if within(&ratios.map(|(quiet, _)| quiet), &ratios.map(|(_, under)| under)) {
            return seen;
        }
    }
    panic!("well-behaved clients suffer: {told}");
}
