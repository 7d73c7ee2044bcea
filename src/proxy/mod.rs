//! The life of one downstream connection: the shell around `exchange`.
//!
//! Here: reading a request, finding its backend, sending it on, passing the answer down, again and again.
//! Not here: decisions (`exchange`, `route`, `balance`), bytes of heads (`http1`), who accepts (`shard`).
//! One [`serve`] future a connection, started by `shard`. It is kept small, since it is what an idle
//! connection costs: whatever is large is made for the exchange that needs it and goes with it.
//!
//! | file | what |
//! |---|---|
//! | `service.rs` | what the connections of a shard share |
//! | `connection.rs` | one connection: request after request |
//! | `collecting.rs` | memory for heads that come in pieces |
//! | `peer.rs` | who is at the other end, and who the client is |
//! | `request.rs` | a request's head, from the client's bytes to those that go upstream |
//! | `exchange.rs` | attempts at backends until one answers |
//! | `attempt.rs` | one attempt, up to the first bytes of its answer |
//! | `course.rs` | what an exchange has tried, and where it goes next |
//! | `hold.rs` | small answers leave whole; memory for what is kept |
//! | `upload.rs` | a request's body, when it did not come with the head |
//! | `response.rs` | a response's head and first bytes, ready to go down |
//! | `download.rs` | the rest of a response's body |
//! | `refusal.rs`, `said.rs` | weir's own answers, and what the log says of them |
//! | `seats.rs` | which connections wait for their client, and who makes room |
//! | `vanished.rs` | clients that go away while their answer is awaited |
//! | `multiplexed.rs` | HTTP/2 connections, whose streams are connections with one request each |
//! | `shaking.rs` | TLS handshakes under way, as far as they count |
//! | `tunnel.rs` | raw bytes both ways after 101 |

mod attempt;
mod collecting;
mod connection;
mod course;
mod download;
mod exchange;
mod hold;
mod ledger;
mod multiplexed;
mod peer;
mod refusal;
mod request;
mod response;
mod said;
mod seats;
mod service;
mod shaking;
mod tunnel;
mod upload;
mod vanished;

pub use connection::serve;
pub use multiplexed::serve_http2;
pub use seats::Waiting;
pub use service::{ListenerRules, ListenerService, Service, Stage};
pub use shaking::Shaking;
