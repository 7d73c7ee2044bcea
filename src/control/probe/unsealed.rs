//! Why the session of a check did not come about: TLS's word for it, or the socket's.
//!
//! Here: which of the two an error of the input and output is. Not here: the words for what TLS says (`tls`). Called
//! by the probe.

use crate::health::ProbeFailure;
use crate::metrics::Side;
use crate::tls;
use rustls::Error;
use std::io;

/// Whether TLS is what has failed.
pub(super) fn is_of_tls(cause: &io::Error) -> bool {
    of_tls(cause).is_some()
}

fn of_tls(cause: &io::Error) -> Option<&Error> {
    cause.get_ref()?.downcast_ref::<Error>()
}

/// The failure of a check whose handshake, or session, failed like this.
pub(super) fn unsealed(cause: &io::Error) -> ProbeFailure {
    match of_tls(cause) {
        Some(error) => ProbeFailure::Tls(tls::reason(error, Side::Backend)),
        None => match cause.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => ProbeFailure::Reset,
            io::ErrorKind::UnexpectedEof => {
                ProbeFailure::Tls("the backend closed the connection during the handshake".to_owned())
            }
            _ => ProbeFailure::Tls(cause.to_string()),
        },
    }
}
