//! The record of each exchange that is wanted: from the shard that made it to the thread that writes it.
//!
//! A shard fills a [`Draft`] while the exchange goes on, and puts it into a [`Batch`] when it is over. Full
//! batches go over a bounded queue, which is never waited for: what does not fit is dropped and counted. So a
//! slow disk costs lines and no request anything. Here: the records, their way, the thread `weir-log`
//! ([`Journal`]). Not here: what happens in an exchange (`proxy`, which fills the drafts), and what is wanted
//! (`config`).
//!
//! | file | what lives there |
//! |---|---|
//! | `entry` | what is recorded of one exchange |
//! | `termination` | how an exchange ended, in two letters |
//! | `recorder` | the shard's side: drafts to batches, batches into the queue |
//! | `journal` | the other side: the thread, and control's handle to it |

mod entry;
mod journal;
mod recorder;
mod termination;

pub use entry::{Draft, Ending, Entry, Text};
pub use journal::{Journal, JournalRefused, ReopenRefused, Reopener};
pub use recorder::{Batch, Recorder};
pub use termination::Termination;
