//! Many clients and backends that misbehave at random, all at once: whatever happens to the others, a whole
//! answer is the answer to one's own request, and in the end nothing is left over.

use crate::harness::{Backend, Client, Handler, Then, Weir, answers, one_pool, wait_until};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// Small numbers by chance, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn seed() -> u64 {
    let seed =
        std::env::var("WEIR_SEED").map_or_else(|_| u64::from(std::process::id()), |s| s.parse().unwrap());
    println!("again: WEIR_SEED={seed} cargo test --test proxy chaos");
    seed
}

/// Answers with the request's target as body, in any framing; or fails in any way.
fn moody(seed: u64) -> Handler {
    let count = AtomicUsize::new(0);
    answers::by(move |received, wire| {
        let mut dice = Dice(seed.wrapping_add(count.fetch_add(1, Ordering::SeqCst) as u64));
        dice.roll(2);
        let line = received.line();
        let target = line.split(' ').nth(1).unwrap_or_default();
        let body = [target.as_bytes(), b"|", &received.body.data].concat();
        let whole =
            [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
        match dice.roll(14) {
            0 => return Ok(Then::Close),
            1 => return Ok(Then::Reset),
            2 => {
                wire.send(&whole[..whole.len() - 1])?;
                return Ok(Then::Reset);
            }
            3 => {
                wire.send(&whole[..whole.len() / 2])?;
                return Ok(Then::Close);
            }
            4 => wire.send("what?\r\n\r\n")?,
            5 => {
                wire.send(&whole)?;
                return Ok(Then::Close);
            }
            6 => {
                wire.send(
                    [&whole, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray".as_slice()].concat(),
                )?;
            }
            7 => {
                wire.send("HTTP/1.1 200 OK\r\n\r\n")?;
                wire.send(&body)?;
                return Ok(Then::Close);
            }
            8 | 9 => {
                wire.send(format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
                    body.len()
                ))?;
                wire.send(&body)?;
                wire.send("\r\n0\r\n\r\n")?;
            }
            10 => {
                sleep(Duration::from_millis(dice.roll(5)));
                wire.send(&whole)?;
            }
            _ => wire.send(&whole)?,
        }
        Ok(Then::KeepAlive)
    })
}

/// One request on `client`; whether the connection may be used again.
fn one_request(client: &mut Client, dice: &mut Dice, name: &str, answered: &AtomicUsize) -> io::Result<bool> {
    let body = "b".repeat(dice.roll(3) as usize * dice.roll(20_000) as usize);
    let get = body.is_empty() && dice.roll(2) == 0;
    let mut request = if get {
        format!("GET {name} HTTP/1.1\r\nHost: h\r\n\r\n")
    } else if dice.roll(2) == 0 {
        format!("POST {name} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    } else {
        let chunk = if body.is_empty() { String::new() } else { format!("{:x}\r\n{body}\r\n", body.len()) };
        format!("POST {name} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n")
    };
    match dice.roll(20) {
        0 => {
            client.wire.send(&request[..request.len() / 2])?;
            return Ok(false);
        }
        1 => {
            client.wire.send(&request)?;
            return Ok(false);
        }
        2 => {
            client.wire.send(&request)?;
            client.wire.socket.reset_on_close();
            return Ok(false);
        }
        3 => {
            request = "GET / HTTP/1.1\r\nBad\r\n\r\n".to_owned();
        }
        _ => {}
    }
    client.wire.send(&request)?;
    let Some(response) = client.wire.response(if get { "GET" } else { "POST" })? else { return Ok(false) };
    match response.status {
        200 => assert_eq!(response.text(), format!("{name}|{body}"), "another's answer"),
        400 => assert!(request.contains("Bad"), "a good request is refused: {}", response.text()),
        502 => {}
        other => panic!("unexpected {other}: {}", response.text()),
    }
    answered.fetch_add(1, Ordering::SeqCst);
    Ok(response.field("Connection") != Some("close"))
}

#[test]
fn a_whole_answer_is_always_ones_own_and_nothing_is_left_over() {
    let seed = seed();
    let backends: Vec<Backend> = (0..3).map(|n| Backend::http(moody(seed * 31 + n))).collect();
    let config = one_pool(&backends.iter().collect::<Vec<_>>(), "", "policy = \"round_robin\"");
    let weir = Weir::start(&config.replace("cores = 1\n", "cores = \"0,0\"\nbuffers = 128\n"));
    let stopping = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..16)
        .map(|number| {
            let (stopping, answered, address) = (stopping.clone(), answered.clone(), weir.address("web"));
            std::thread::spawn(move || {
                let mut dice = Dice(seed ^ (number << 20));
                let mut client = Client::connect(address);
                let mut count = 0;
                while !stopping.load(Ordering::SeqCst) {
                    count += 1;
                    let name = format!("/{number}/{count}");
                    let again = one_request(&mut client, &mut dice, &name, &answered).unwrap_or(false);
                    if !again {
                        client = Client::connect(address);
                    }
                }
            })
        })
        .collect();
    sleep(Duration::from_secs(4));
    wait_until("there were enough answers", || answered.load(Ordering::SeqCst) > 500);
    stopping.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap_or_else(|_| panic!("seed {seed}"));
    }
    for metric in ["weir_in_flight", "weir_connections"] {
        wait_until(&format!("{metric} is 0"), || weir.metric(metric, &[]) == 0.0);
    }
    wait_until("no buffer is in use", || weir.metric("weir_ring_buffers_in_use", &[]) == 0.0);
    assert!(!weir.stderr().contains("panicked"), "{}", weir.stderr());
}
