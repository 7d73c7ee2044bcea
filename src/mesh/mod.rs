//! What crosses cores: bounded mailboxes with a doorbell, and the messages that go through them.
//!
//! Here: [`mailbox`] and its two ends, [`ToShard`], [`ToControl`], [`Neighbours`], by which a shard hands another a
//! connection, and [`Pulse`], by which one is seen to live. Not here: what the messages mean
//! (`balance` and `metrics` define what they carry) and who waits on a doorbell: a shard reads it on
//! its ring, `control` through its reactor. Every message can be refused, so whoever sends decides
//! what a full mailbox means: a report is overtaken by the next, a transition must be sent again.

mod mailbox;
mod messages;
mod neighbours;
mod pulse;

pub use mailbox::{Receiver, Refused, Sender, mailbox};
pub use messages::{Injected, ToControl, ToShard};
pub use neighbours::{HandedOver, Neighbours};
pub use pulse::{Doing, Pulse};
