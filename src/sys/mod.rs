//! The kernel's surface outside the ring: the clocks, seeds, sockets and their options, descriptors passed to another
//! process, CPU sets, small files, limits, accounts, what the process uses, who it is and what it may, the
//! kernel's version; and the supervisor that started it.
//!
//! Here: thin, safe calls through nix and core_affinity. Not here: operations that wait (`ring`; but for the
//! [`Alarm`] of those who have no ring), and any decision. Called by `ring`, `shard`, `control`, `serve` and `cli`.

mod alarm;

pub mod activation;
pub mod clock;
pub mod cpu;
pub mod file;
pub mod handoff;
pub mod kernel;
pub mod limits;
pub mod notify;
pub mod pipe;
pub mod priority;
pub mod privileges;
pub mod process;
pub mod random;
pub mod socket;

pub use alarm::Alarm;
