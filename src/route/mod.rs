//! From a request's host and path to a pool.
//!
//! [`Router`] holds one listener's routes; `path` is what a path means while routes are matched
//! against it. Pure; called by `proxy` once a request head is read.

mod path;
mod router;

pub use router::{Ambiguous, Router};

#[cfg(test)]
mod tests;
