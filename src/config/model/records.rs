//! What is recorded of exchanges: `[access_log]` and `[tracing]`.

use crate::config::Template;
use crate::time::Micros;
use std::fmt;
use std::path::PathBuf;

/// `[access_log]`: a line for each exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// How a line looks.
    pub format: AccessFormat,
    /// Where lines go.
    pub to: AccessTarget,
    /// Share of ordinary exchanges that get a line, 0 to 1; those that failed or were slow always do.
    pub sample: f64,
    /// From this length on an exchange is slow; `None`: none is.
    pub slow: Option<Micros>,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { format: AccessFormat::default(), to: AccessTarget::default(), sample: 1.0, slow: None }
    }
}

/// `access_log.format`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessFormat {
    /// No lines.
    #[default]
    Off,
    /// NCSA's common log format.
    Common,
    /// The common one, and Referer and User-Agent.
    Combined,
    /// One JSON object a line.
    Json,
    /// A format string.
    Template(Template),
}

/// `access_log.to`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessTarget {
    /// The process's stderr.
    #[default]
    Stderr,
    /// A syslog's socket, the host's at /dev/log if none is named.
    Syslog(PathBuf),
    /// A file, which is appended to.
    File(PathBuf),
}

/// `[tracing]`: W3C trace contexts are made and passed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// The collector that sampled exchanges are told to; `None`: none.
    pub otlp: Option<Collector>,
    /// Share of traces that are sampled, 0 to 1, where no trusted proxy decides.
    pub sample: f64,
}

/// A collector that takes OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Its name or address; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path of traces there.
    pub path: String,
}

impl Collector {
    /// Host and port, as `Host` has them.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}
