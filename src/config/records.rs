//! `[access_log]` and `[tracing]`: what is recorded of exchanges, and where it goes.
//!
//! Here: reading both. Not here: writing and sending (`log`).

use super::address;
use super::fault::Wrong;
use super::model::{AccessFormat, AccessLog, AccessTarget, Collector, Tracing};
use super::reference::nearest;
use super::section::Section;
use super::template::Template;
use super::values::{self, A_YEAR, quoted};
use crate::time::Micros;
use std::net::{Ipv4Addr, Ipv6Addr};
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
            None => AccessTarget::File(address::file(text, "/var/log/weir/access.log")?),
        },
    })
}

pub(super) fn tracing(mut s: Section<'_>) -> Tracing {
    let tracing =
        Tracing { otlp: s.text("otlp", collector), sample: s.read("sample", values::share).unwrap_or(0.01) };
    s.finish(&[]);
    tracing
}

/// Where signals of this kind go, below the collector's address (OTLP specification, "OTLP/HTTP Request").
const TRACES: &str = "/v1/traces";

/// A collector's address, as OpenTelemetry's exporters take it: "http://127.0.0.1:4318", perhaps with a path
/// before the one that is added.
fn collector(text: &str) -> Result<Collector, Wrong> {
    const FORM: &str = "write one such as \"http://127.0.0.1:4318\"";
    let wrong = |why: &str, remedy: String| Err(Wrong::new(format!("{} {why}", quoted(text)), remedy));
    let rest = match text.split_once("://") {
        Some(("http", rest)) => rest,
        Some(("https", rest)) => {
            let why = format!("is https, which is {}", values::NOT_BUILT_YET);
            return wrong(
                &why,
                format!("write {} to a collector on this host", quoted(&format!("http://{rest}"))),
            );
        }
        Some(_) => return wrong("is no http address", FORM.to_owned()),
        None => return wrong("has no scheme", format!("write {}", quoted(&format!("http://{text}")))),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let prefix = path.trim_end_matches('/');
    if let Some(before) = prefix.strip_suffix(TRACES) {
        let shorter = format!("http://{authority}{before}");
        return wrong(
            "names the path of traces, which weir adds itself",
            format!("write {}", quoted(&shorter)),
        );
    }
    if !prefix.is_empty() {
        address::target(prefix)?;
    }
    if text.contains(['?', '@']) {
        return wrong("has a query or a user, which collectors do not look at", FORM.to_owned());
    }
    let Some((host, port)) = authority.rsplit_once(':').filter(|_| !authority.ends_with(']')) else {
        let with_port = format!("http://{authority}:4318{prefix}");
        return wrong("has no port", format!("add it: {}", quoted(&with_port)));
    };
    let port = match port.parse::<u16>() {
        Ok(port @ 1..) => port,
        Ok(0) | Err(_) => return wrong("has no port from 1 to 65535", FORM.to_owned()),
    };
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_right = match v6 {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok() || address::host_field(host).is_ok(),
    };
    if !is_right {
        return wrong("has no host that can be looked up", FORM.to_owned());
    }
    let path = format!("{prefix}{TRACES}");
    Ok(Collector { host: v6.unwrap_or(host).to_owned(), port, path })
}
