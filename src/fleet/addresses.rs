//! What host names resolve to, as whoever looks them up says it.

use crate::config::{BackendAddress, Destination};
use std::collections::HashMap;

/// One address that a name has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedAddress {
    /// Where to connect.
    pub address: Destination,
    /// What an SRV record says, 1 to 256; `None`: as configured.
    pub weight: Option<u16>,
    /// An SRV record says that it is only for when those of a lower priority number do not answer.
    pub backup: bool,
}

/// What names resolve to: only [`BackendAddress::Name`] and [`BackendAddress::Service`].
pub type Addresses = HashMap<BackendAddress, Vec<ResolvedAddress>>;

/// Whether an address has to be looked up.
pub(crate) fn is_name(address: &BackendAddress) -> bool {
    matches!(address, BackendAddress::Name(..) | BackendAddress::Service(_))
}
