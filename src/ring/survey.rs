//! Whether all that weir's ring uses is there, found out by setting one up as a shard does.
//!
//! Not here: why there is none (`refused.rs`). Called by `weir doctor`; no shard needs it, since a shard
//! that lacks something says so itself, in the middle of its work.

use super::refused::{RingRefused, probe};
use super::{Ring, RingSettings, core};
use io_uring::{Probe, opcode};
use std::mem::size_of;

/// What `Ring` and its operations ask of the kernel, by the names that the kernel's headers give.
const OPERATIONS: [(u8, &str); 8] = [
    (opcode::Accept::CODE, "ACCEPT"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::Close::CODE, "CLOSE"),
    (opcode::Connect::CODE, "CONNECT"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::Recv::CODE, "RECV"),
    (opcode::Send::CODE, "SEND"),
    (opcode::SendMsg::CODE, "SENDMSG"),
];

/// Bytes that a shard locks beside its ring: the executor's three rings and its 64 KiB of buffers. Estimated,
/// so that it agrees with what was seen: with a limit of 8 MiB ten shards started, and twelve did not.
const EXECUTOR_BYTES: u64 = 256 << 10;

/// Sets a ring up with a shard's flags, queues and registered buffers, and takes it down again. Returns the
/// operations that this kernel does not have.
///
/// # Errors
/// Why there is no such ring, and the remedy.
pub fn survey(settings: &RingSettings) -> Result<Vec<&'static str>, RingRefused> {
    probe()?;
    let ring = Ring::new(settings)?;
    let mut known = Probe::new();
    ring.0.core.borrow().uring.submitter().register_probe(&mut known).map_err(RingRefused::from_setup)?;
    let lacking = |(code, name): &(u8, &'static str)| (!known.is_supported(*code)).then_some(*name);
    Ok(OPERATIONS.iter().filter_map(lacking).collect())
}

/// Bytes of memory that a shard with such a ring locks, where the kernel counts them.
pub fn locked_bytes(settings: &RingSettings) -> u64 {
    // A submission entry has 64 bytes, a completion 16.
    let queues = u64::from(settings.entries) * 64 + u64::from(core::completions(settings.entries)) * 16;
    let buffers = u64::from(settings.buffers) * size_of::<io_uring::types::BufRingEntry>() as u64;
    queues + buffers + EXECUTOR_BYTES
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SETTINGS: RingSettings = RingSettings { entries: 4096, buffers: 1024, buffer_size: 16 << 10 };

    #[test]
    fn a_kernel_that_runs_weir_lacks_nothing() {
        assert_eq!(survey(&SETTINGS).unwrap(), Vec::<&str>::new());
    }

    #[test]
    fn eight_mebibytes_do_for_ten_shards_and_not_for_twelve() {
        let a_shard = locked_bytes(&SETTINGS);
        assert!(a_shard * 10 <= 8 << 20 && a_shard * 12 > 8 << 20, "{a_shard}");
    }
}
