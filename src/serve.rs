//! Stand-in until the room arrives.

use crate::config::{Config, ListenAddress};

/// Where weir listens.
pub struct Addresses {
    /// Name and address.
    pub listeners: Vec<(String, ListenAddress)>,
    /// The admin surface.
    pub admin: Vec<ListenAddress>,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
#[error("not started")]
pub struct StartError;

/// Runs.
///
/// # Errors
/// Never.
pub fn run(config: Config, on_ready: impl FnOnce(&Addresses)) -> Result<u8, StartError> {
    let listeners = config.listeners.iter().map(|l| (l.name.clone(), l.address.clone())).collect();
    on_ready(&Addresses { listeners, admin: config.admin.listen });
    std::thread::park_timeout(std::time::Duration::from_secs(20));
    Ok(0)
}
