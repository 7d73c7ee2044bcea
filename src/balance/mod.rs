//! Which backend gets the next exchange, and on what knowledge.
//!
//! `counts` is what crosses cores, [`Merger`] is control's side of it and [`View`] a shard's;
//! [`Picker`] is one pool's policy on one shard, which reads the view at each pick. `hash` makes a
//! client's address and a backend's name into the numbers that `ip_hash` compares.
//!
//! Pure: not here are channels (`mesh`), guards and connections (`upstream`), or who is healthy
//! (`health`; its verdict arrives as a [`Traffic`]).

mod counts;
mod hash;
mod ip_hash;
mod least_conn;
mod merger;
mod outcomes;
mod picker;
mod random_two;
mod round_robin;
mod slow_start;
mod tier;
mod trials;
mod view;

pub use counts::*;
pub use hash::{Draws, client_hash, name_hash};
pub use merger::{Merger, Round};
pub use outcomes::Outcomes;
pub use picker::{Asked, Member, Picker};
pub use view::View;

#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod herd;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod view_tests;
