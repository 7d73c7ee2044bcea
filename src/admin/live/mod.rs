//! `/live`: the state and the figures of now and of the last ten minutes, as a stream.
//!
//! | file | what lives there |
//! |---|---|
//! | `model` | the types |
//! | `page` | filling them in from what control knows |
//! | `stream` | server-sent events, one for each round of statistics |

pub mod model;
mod page;
mod stream;

pub(super) use stream::{Cache, Events, STREAMS_MAX, answer};
