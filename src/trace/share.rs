//! A share of all requests, or of all traces, as a number that random ones are compared with.

/// A share, as the number below which so many of all `u32` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// `share`: 0 to 1.
    pub fn of(share: f64) -> Self {
        Self((share.clamp(0.0, 1.0) * 4_294_967_296.0) as u64)
    }

    /// Whether a random number falls into it.
    pub fn has(self, drawn: u32) -> bool {
        u64::from(drawn) < self.0
    }
}
