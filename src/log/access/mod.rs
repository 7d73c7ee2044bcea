//! The access log: records as lines, and where the lines go.
//!
//! All of it is on the thread `weir-log` (`record::journal`), so that a slow disk costs lines and no request
//! anything. What cannot be written at once waits here, up to a bound; what is beyond it is dropped and counted.
//!
//! | file | what lives there |
//! |---|---|
//! | `line` | a record as a line: every format |
//! | `encode` | numbers and texts in it, and how texts are made harmless |
//! | `stamp` | times of day in it |
//! | `sink` | a file, stderr, a syslog: opened, written, or why not |
//! | `writer` | lines that wait, faults that pass, what is said of them |
//! | `counts` | lines written and dropped |

mod counts;
mod encode;
mod line;
mod sink;
mod stamp;
mod writer;

pub use counts::Counts;
pub use sink::{Sink, SinkRefused, look};
pub(super) use writer::Writer;
