//! The decisions of one exchange: is it tried again, what does the client hear, who may be used again.
//!
//! Pure: facts in, a decision out. Not here: doing it (`proxy`), and which backend is next (`balance`).
//!
//! | file | what |
//! |---|---|
//! | `attempt.rs` | after a failed attempt: another one, or which answer |
//! | `budget.rs` | how many retries a pool may make |
//! | `passing.rs` | how a response goes down: framing, and whether connections live on |
//! | `pace.rs` | until when a body's next bytes must have come or gone |

mod attempt;
mod budget;
mod pace;
mod passing;

pub use attempt::{Attempt, AttemptFailure, Next, after_failure, is_failure};
pub use budget::{Budget, Grant};
pub use pace::Pace;
pub use passing::{BodyPass, Passing, RequestFacts, may_pool, pass_response};
