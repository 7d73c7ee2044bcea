//! Counters and latency histograms: recorded by shards, merged exactly by control, written as text.
//!
//! Here: [`ShardStats`] (what one shard recorded since it was last asked), [`Totals`] (all of it, since
//! the start), the declarations of every metric, the page over them (Prometheus text and OpenMetrics) and
//! their reference. Not here: when to collect (`control`), HTTP (`admin`). A shard records into a box of its
//! own, without locks, atomics or allocation, and swaps it for an empty one when control asks; so nothing is
//! shared while recording, and the merge is an addition, exact whatever the number of shards.

pub mod declared;
mod exposition;
mod histogram;
mod history;
mod interval;
mod labels;
mod page;
mod reference;
mod stats;
mod summary;
mod totals;

pub use exposition::{Format, Level};
pub use histogram::{LONGEST, Series};
pub use history::{BOUNDS, BackendName, History, SLOT, Slot};
pub use interval::{Ends, Figures, Interval, Marks, Recent, ShardFigures};
pub use labels::{Handshake, Phase, Refusal, Side, TlsVersion, UpstreamFailure};
pub use page::{
    AccessLogFacts, BackendFacts, CertificateDays, ConfigFacts, Facts, ListenerFacts, Past, PoolFacts,
    ShardFacts, SpanFacts, page,
};
pub use reference::reference;
pub use stats::{BackendRecord, BackendStats, RingCounters, ShardStats};
pub use summary::Summary;
pub use totals::{BackendTotals, ShardTotals, Totals};
