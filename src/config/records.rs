//! `[access_log]` and `[tracing]`: what is recorded of exchanges, and where it goes.
//!
//! Here: reading both. Not here: writing and sending (`log`).

use super::address;
use super::fault::Wrong;
use super::model::{AccessFormat, AccessLog, AccessTarget, Tracing};
use super::section::Section;
use super::values::{self, A_YEAR, quoted};
use crate::time::Micros;

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
        _ => {
            let what = format!("{} is no format", quoted(text));
            return Err(Wrong::new(what, "use \"off\", \"common\", \"combined\" or \"json\""));
        }
    })
}

fn target(text: &str) -> Result<AccessTarget, Wrong> {
    Ok(match text {
        "stderr" => AccessTarget::Stderr,
        "syslog" => AccessTarget::Syslog,
        _ => AccessTarget::File(address::file(text)?),
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
