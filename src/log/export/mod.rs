//! Sampled exchanges as OpenTelemetry spans, told to a collector by OTLP over HTTP, in JSON.
//!
//! The journal's thread hands over what is to be told, and never waits: it formats nothing, and where the
//! queue is full spans are dropped and counted. A thread of its own, `weir-otlp`, makes spans of it, gathers
//! them for a second, and sends them, again if the collector is overloaded or away; what waits meanwhile is
//! bounded in bytes. Not here: which exchanges are sampled (`exchange`, `proxy`), and what is known of one
//! (`record`).
//!
//! | file | what lives there |
//! |---|---|
//! | `span.rs` | an exchange as a span, by OpenTelemetry's conventions for HTTP |
//! | `pile.rs` | spans that wait, in bodies of requests; when one is tried again |
//! | `post.rs` | one request to the collector |
//! | `exporter.rs` | the thread, and the journal's handle to it |
//! | `counts.rs` | what became of the spans |

mod counts;
mod exporter;
mod pile;
mod post;
mod span;

pub use counts::{Cause, SpanCounts};
pub(super) use exporter::Exporter;
