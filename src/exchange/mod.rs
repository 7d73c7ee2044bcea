//! The decisions of one exchange: is it tried again, what does the client hear, who may be used again.
//!
//! Pure: facts in, a decision out. Not here: doing it (`proxy`), and which backend is next (`balance`).
//!
//! | file | what |
//! |---|---|
//! | `attempt.rs` | after a failed attempt: another one, or which answer |
//! | `budget.rs` | how many retries a pool may make |
//! | `passing.rs` | how a response goes down: framing, and whether connections live on |
//! | `upward.rs` | a request: from the client's bytes to those that go up |
//! | `downward.rs` | a response: from the backend's bytes to those that go down |
//! | `grpc.rs` | what of gRPC it has to know |
//! | `marks.rs` | what a request is marked with: its id, its trace context |
//! | `pace.rs` | until when a body's next bytes must have come or gone |

mod attempt;
mod bodies;
mod budget;
mod downward;
mod grpc;
mod marks;
mod pace;
mod passing;
mod upward;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_marks;

pub use attempt::{Attempt, AttemptFailure, Next, after_failure, is_failure};
pub use bodies::{BadBody, CHUNK_LIMITS, RequestLeft, ResponseLeft, Taken};
pub use budget::{Budget, Grant};
pub use downward::{BadResponse, Downward, FinalHead, INTERIMS_MAX, RESPONSE_HEAD_MAX, take_response};
pub use grpc::{grpc_status_of, is_grpc, is_grpc_failure, status_in_trailers, write_broken_off};
pub use marks::{MarkRules, Marker, Marks};
pub use pace::Pace;
pub use passing::{BodyPass, Passing, RequestFacts, may_pool, pass_response};
pub use upward::{BadRequest, RequestRules, Upward, is_head, take_request};
