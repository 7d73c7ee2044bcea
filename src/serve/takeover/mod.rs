//! Upgrade without a gap: a new process gets the listening sockets and the state of the one that runs.
//!
//! The sockets are the same, not others on the same address: whoever waits in a queue is accepted by one of
//! the two, and nobody is refused in between. Here: how they meet, what they say, which shard accepts on
//! which socket. Not here: what the state means (`control`), and letting go of a socket (`shard`). Called
//! by `serve` only.
//!
//! | file | what lives there |
//! |---|---|
//! | `meeting` | where the two find each other |
//! | `protocol` | the messages |
//! | `give` | the old process's side |
//! | `take` | the new process's side |
//! | `predecessor` | what the old process has to hand over |

mod give;
mod meeting;
mod predecessor;
mod protocol;
mod take;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;

pub(super) use give::give;
pub(super) use meeting::{MeetingPoint, provide as provide_meeting_place};
pub(super) use predecessor::{AdminSockets, Predecessor};
pub use take::TakeoverRefused;
pub(super) use take::{Inheritance, take};
