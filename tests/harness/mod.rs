//! What the integration tests are made of: the real binary as a process, backends that do as they are
//! told, clients that see every byte, a load that counts every request to its end.
//!
//! Plain threads and `std::net`: a test that shared weir's own parser or ring would share its errors.
//! Nothing here knows what weir ought to do; that is for the tests. Used by several test targets:
//! `#[path = "../harness/mod.rs"] mod harness;`.
//!
//! | file | what |
//! |---|---|
//! | `weir.rs` | the process: configuration with ports filled in, readiness, admin, metrics, signals |
//! | `backend.rs` | a server: answers by handler or by script, counts and records, stops and comes back |
//! | `answers.rs` | ready-made handlers |
//! | `authority.rs` | issues certificates |
//! | `browser.rs` | a headless Chromium: opens, clicks, types, looks |
//! | `client.rs` | a client of raw bytes that parses one response at a time |
//! | `dns.rs` | a DNS server that can be told other records, to fail, and to die |
//! | `wire.rs` | a socket with a buffer: heads, bodies in every framing, timeouts |
//! | `load.rs` | threads of keep-alive clients |
//! | `open_loop.rs` | requests at a fixed rate, each followed to its end |
//! | `ended.rs` | how they ended, and what can be asked about that |
//! | `ticket.rs` | a request that there is only once, its right answer, a ledger of POSTs |
//! | `strict.rs` | a strict reader of responses |
//! | `program.rs` | any other process: its output, its end; what a process costs |
//! | `terminal.rs` | a terminal with a program in it: what is seen, what is pressed |
//! | `origin.rs` | clients from an address of their own |
//! | `wait.rs` | bounded waiting, free ports, programs that may be missing |

// Each target uses a part of it; and tests may look at the clock, sleep and unwrap.
#![allow(dead_code, unused_imports, unreachable_pub)]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

pub mod answers;
mod authority;
mod backend;
mod browser;
mod client;
mod dns;
mod ended;
mod load;
mod open_loop;
mod origin;
mod program;
mod strict;
mod terminal;
pub mod ticket;
mod wait;
mod weir;
mod wire;

pub use authority::{Authority, Issued, Key};
pub use backend::{Backend, Handler, Received, Then};
pub use browser::Browser;
pub use client::Client;
pub use dns::Dns;
pub use ended::{End, Ended, Record};
pub use load::{Counts, Load};
pub use open_loop::{Mix, OpenLoop};
pub use program::{Program, copy_program, cpu_time, cpu_time_of};
pub use terminal::Terminal;
pub use ticket::{Ledger, Ticket};
pub use wait::{AT_ONCE, Over, Waiting, ending, free_port, require, wait_still, wait_until, wait_up_to};
pub use weir::{Weir, one_pool};
pub use wire::{Body, Fields, Framing, Response, Socket, Wire};
