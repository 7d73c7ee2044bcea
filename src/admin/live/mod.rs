//! `/live`: the state and the figures of now and of the last ten minutes, as a stream.

pub mod model;
