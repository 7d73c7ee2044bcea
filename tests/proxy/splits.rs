//! The property: whatever the framing, and wherever the bytes are cut on their way to weir and from the
//! backend, both messages arrive whole, and the connection is good for the next.
//!
//! Each case is a few exchanges on one client connection. Cuts are sent as packets of their own, some with a
//! pause after them, so weir sees them as separate reads.

use crate::harness::{Backend, Client, Then, Weir, Wire, answers, one_pool};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Length,
    Chunked,
    /// For responses only.
    UntilClose,
}

/// A message's body and where it is cut.
#[derive(Clone, Debug)]
struct Message {
    coding: Coding,
    body: Vec<u8>,
    /// Sizes of chunks, used in turn.
    chunk_sizes: Vec<usize>,
    trailer: bool,
    /// Places in the message, as shares of its length in 1/10,000.
    cuts: Vec<usize>,
    /// After which of the cuts there is a pause, in ms.
    pauses: Vec<u64>,
}

impl Message {
    /// The whole message, with `line` as its first line.
    fn bytes(&self, line: &str) -> Vec<u8> {
        let mut bytes = format!("{line}\r\nX-Some: field\r\n").into_bytes();
        match self.coding {
            Coding::Length => {
                bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
                bytes.extend_from_slice(&self.body);
            }
            Coding::UntilClose => {
                bytes.extend_from_slice(b"\r\n");
                bytes.extend_from_slice(&self.body);
            }
            Coding::Chunked => {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                let mut rest = self.body.as_slice();
                for size in self.chunk_sizes.iter().cycle() {
                    let (chunk, behind) = rest.split_at(rest.len().min(*size));
                    if chunk.is_empty() {
                        break;
                    }
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                    rest = behind;
                }
                bytes.extend_from_slice(if self.trailer { b"0\r\nX-T: u\r\n\r\n" } else { b"0\r\n\r\n" });
            }
        }
        bytes
    }

    /// Sends the message in its pieces.
    fn send(&self, line: &str, wire: &mut Wire) -> std::io::Result<()> {
        let bytes = self.bytes(line);
        let mut places: Vec<usize> = self.cuts.iter().map(|cut| cut * bytes.len() / 10_000).collect();
        places.sort_unstable();
        places.push(bytes.len());
        let mut from = 0;
        for (at, to) in places.into_iter().enumerate() {
            wire.send(&bytes[from..to])?;
            from = to;
            if let Some(pause) = self.pauses.get(at) {
                sleep(Duration::from_millis(*pause));
            }
        }
        Ok(())
    }
}

fn message(codings: &'static [Coding]) -> impl Strategy<Value = Message> {
    let body_len = prop_oneof![0..20usize, 0..2000usize, 15_000..70_000usize];
    let chunk_size = prop_oneof![1..10usize, 100..3000usize, 15_000..40_000usize];
    (
        proptest::sample::select(codings),
        body_len.prop_flat_map(|len| proptest::collection::vec(any::<u8>(), len)),
        proptest::collection::vec(chunk_size, 1..4),
        any::<bool>(),
        // Half of them early, where the head is.
        proptest::collection::vec(prop_oneof![0..600usize, 0..10_000usize], 0..8),
        proptest::collection::vec(0..3u64, 0..6),
    )
        .prop_map(|(coding, body, chunk_sizes, trailer, cuts, pauses)| {
            // A byte a chunk is slow for a large body and shows nothing more.
            let small = if body.len() > 5000 { 500 } else { 1 };
            let chunk_sizes = chunk_sizes.into_iter().map(|size| size.max(small)).collect();
            Message { coding, body, chunk_sizes, trailer, cuts, pauses }
        })
}

fn exchanges() -> impl Strategy<Value = Vec<(Message, Message)>> {
    let request = message(&[Coding::Length, Coding::Chunked]);
    let response = message(&[Coding::Length, Coding::Chunked, Coding::UntilClose]);
    proptest::collection::vec((request, response), 1..5)
}

#[test]
fn any_message_cut_anywhere_arrives_whole() {
    let next: Arc<Mutex<VecDeque<Message>>> = Arc::default();
    let answers = next.clone();
    let backend = Backend::http(answers::by(move |_, wire| {
        let message = answers.lock().unwrap().pop_front().expect("the test says how to answer");
        message.send("HTTP/1.1 200 OK", wire)?;
        Ok(if message.coding == Coding::UntilClose { Then::Close } else { Then::KeepAlive })
    }));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let seed: u64 = match std::env::var("WEIR_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => u64::from(std::process::id()) << 20 | u64::from(weir.pid()),
    };
    println!("again: WEIR_SEED={seed} cargo test --test proxy any_message_cut_anywhere");
    let config = Config { cases: 40, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let rng = proptest::test_runner::TestRng::from_seed(
        proptest::test_runner::RngAlgorithm::ChaCha,
        &std::array::from_fn::<u8, 32, _>(|at| (seed >> (at % 8 * 8)) as u8),
    );
    let mut runner = TestRunner::new_with_rng(config, rng);
    let outcome = runner.run(&exchanges(), |exchanges| {
        next.lock().unwrap().clear();
        next.lock().unwrap().extend(exchanges.iter().map(|(_, response)| response.clone()));
        let mut client = weir.client();
        for (request, response) in &exchanges {
            one_exchange(&backend, &mut client, request, response)?;
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("WEIR_SEED={seed}: {failure}"));
}

fn one_exchange(
    backend: &Backend,
    client: &mut Client,
    request: &Message,
    response: &Message,
) -> Result<(), TestCaseError> {
    backend.forget();
    request
        .send("POST /x HTTP/1.1\r\nHost: h", &mut client.wire)
        .map_err(|error| TestCaseError::fail(format!("sending: {error}")))?;
    let got = client
        .wire
        .response("POST")
        .map_err(|error| TestCaseError::fail(format!("reading the response: {error}")))?
        .ok_or_else(|| TestCaseError::fail("closed instead of answering"))?;
    prop_assert_eq!(got.status, 200, "{}", got.text());
    prop_assert!(got.body == response.body, "the response's body has changed");
    let received = backend.last();
    prop_assert!(received.body.data == request.body, "the request's body has changed");
    for (message, trailers) in [(request, &received.body.trailers), (response, &got.trailers)] {
        let expected = if message.coding == Coding::Chunked && message.trailer { Some("u") } else { None };
        prop_assert_eq!(trailers.get("X-T"), expected);
    }
    prop_assert_eq!(got.field("Connection"), None);
    Ok(())
}
