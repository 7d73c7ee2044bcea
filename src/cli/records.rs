//! What `weir check` says of what is recorded of exchanges.
//!
//! Here: rows for its summary. Not here: the summary (`check`), and the records themselves (`log`).

use crate::config::{AccessFormat, AccessLog, AccessTarget};
use crate::log::access;

/// The access log, in rows.
pub(super) fn access_log(access_log: &AccessLog) -> Vec<Vec<String>> {
    let AccessLog { format, to, sample, slow } = access_log;
    let format = match format {
        AccessFormat::Off => return vec![vec!["off".to_owned()]],
        AccessFormat::Common => "common".to_owned(),
        AccessFormat::Combined => "combined".to_owned(),
        AccessFormat::Json => "json".to_owned(),
        AccessFormat::Template(template) => template.text().to_owned(),
    };
    let to = match to {
        AccessTarget::Stderr => "to stderr".to_owned(),
        AccessTarget::Syslog(path) => format!("to the syslog at {}", path.display()),
        AccessTarget::File(path) => format!("to {}", path.display()),
    };
    let which = if *sample >= 1.0 {
        "all exchanges".to_owned()
    } else {
        let slow = slow.map_or(String::new(), |slow| format!(", all that take {slow} or longer"));
        format!("{} of the exchanges, all that fail{slow}", super::check::percent(*sample))
    };
    let mut rows = vec![vec![to], vec![which], vec![format]];
    if let Err(refused) = access::look(access_log) {
        rows.push(vec![format!("cannot be opened here: {refused}")]);
    }
    rows
}
