//! `[access_log]` and `[tracing]`: what is recorded of exchanges, and where it goes.
//!
//! Here: reading both. Not here: writing and sending (`log`).

use super::address;
use super::fault::Wrong;
use super::model::{AccessFormat, AccessLog, AccessTarget, Tracing};
use super::reference::nearest;
use super::section::Section;
use super::template::Template;
use super::values::{self, A_YEAR, quoted};
use crate::time::Micros;
use std::path::PathBuf;

/// Where a host's syslog listens.
const SYSLOG: &str = "/dev/log";

pub(super) fn access_log(mut s: Section<'_>) -> AccessLog {
    let default = AccessLog::default();
    let access_log = AccessLog {
        format: s.text("format", format).unwrap_or(default.format),
        to: s.text("to", target).unwrap_or(default.to),
        sample: s.read("sample", values::share).unwrap_or(default.sample),
        slow: s.has("slow").then(|| s.length("slow", Micros::from_us(1)..=A_YEAR, A_YEAR)),
    };
    s.finish(&[]);
    access_log
}

fn format(text: &str) -> Result<AccessFormat, Wrong> {
    Ok(match text {
        "off" => AccessFormat::Off,
        "common" => AccessFormat::Common,
        "combined" => AccessFormat::Combined,
        "json" => AccessFormat::Json,
        _ if text.contains('$') => AccessFormat::Template(Template::parse(text)?),
        // Without a variable all lines would be the same: it is a name, mistyped.
        _ => {
            let remedy = match nearest(text, ["off", "common", "combined", "json"].into_iter()) {
                Some(near) => format!("did you mean {}?", quoted(near)),
                None => {
                    "use \"off\", \"common\", \"combined\", \"json\" or a format string: \"$client $status\""
                        .to_owned()
                }
            };
            return Err(Wrong::new(format!("{} is no format", quoted(text)), remedy));
        }
    })
}

fn target(text: &str) -> Result<AccessTarget, Wrong> {
    Ok(match text {
        "stderr" => AccessTarget::Stderr,
        "syslog" => AccessTarget::Syslog(PathBuf::from(SYSLOG)),
        _ => match text.strip_prefix("syslog:") {
            Some(path) => AccessTarget::Syslog(address::unix_path(path)?),
            None if !text.starts_with('/') => {
                let what = format!("{} is nowhere that lines can go", quoted(text));
                let remedy = "use \"stderr\", \"syslog\", \"syslog:/its/socket\" or a path: \"/var/log/weir/access.log\"";
                return Err(Wrong::new(what, remedy));
            }
            None => AccessTarget::File(address::file(text)?),
        },
    })
}

pub(super) fn tracing(mut s: Section<'_>) -> Tracing {
    let tracing = Tracing {
        otlp: s.text("otlp", |text| Ok(text.to_owned())),
        sample: s.read("sample", values::share).unwrap_or(0.01),
    };
    s.finish(&[]);
    tracing
}
