//! The structured log: `tracing` events to stderr, as text or as one JSON object a line, times in UTC.
//!
//! Here: [`init`], which `main` calls once before anything logs; in [`record`], the record of each exchange, in
//! [`access`] the lines that are made of it, and in [`export`] the way of traces to a collector. Not here: what is
//! logged; every room below says so itself, and none does so per request. Stderr and no file: whoever runs weir
//! (systemd, a container) keeps, rotates and stamps it.

pub mod access;
pub mod export;
pub mod record;

use crate::config::{Log, LogFormat, LogLevel};
use std::io::{self, IsTerminal};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

/// The log was set up before.
#[derive(Debug, thiserror::Error)]
#[error("the log is set up twice: {0}")]
pub struct AlreadySetUp(#[from] SetGlobalDefaultError);

/// Sends the process's log to stderr from now on.
///
/// # Errors
/// If it was called before.
pub fn init(log: &Log) -> Result<(), AlreadySetUp> {
    let colours = io::stderr().is_terminal();
    Ok(tracing::subscriber::set_global_default(subscriber(log, io::stderr, colours))?)
}

fn subscriber<W>(log: &Log, to: W, colours: bool) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // What libraries say below a warning, such as each frame of HTTP/2, is asked for by "trace" only.
    let libraries = if level == LevelFilter::TRACE { level } else { level.min(LevelFilter::WARN) };
    // h2 even warns of them, of each one: whoever connects could fill the log.
    let h2 = if level == LevelFilter::TRACE { level } else { LevelFilter::OFF };
    let told = Targets::new().with_default(libraries).with_target(env!("CARGO_PKG_NAME"), level);
    let told = told.with_target("h2", h2);
    let lines = tracing_subscriber::fmt().with_max_level(level).with_writer(to).with_ansi(colours);
    match log.format {
        LogFormat::Text => Box::new(lines.with_target(false).finish().with(told)),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false);
            Box::new(lines.finish().with(told))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(log: &Log) -> String {
        let written = Written::default();
        let to = written.clone();
        tracing::subscriber::with_default(subscriber(log, move || to.clone(), false), || {
            tracing::info!(backend = "a", "up");
            tracing::debug!("a detail");
            tracing::debug!(target: "h2::codec", "a frame");
            tracing::warn!(target: "h2::proto::ping_pong", "a frame that is strange");
        });
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_text_line_has_a_utc_time_level_message_and_fields_and_lower_levels_are_left_out() {
        let text = written(&Log { level: LogLevel::Info, format: LogFormat::Text });
        let line = text.strip_suffix('\n').unwrap();
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.len() == 27 && time.contains('T') && time.ends_with('Z'), "{time}");
        assert_eq!(rest.trim_start(), "INFO up backend=\"a\"");
    }

    #[test]
    fn what_libraries_say_below_a_warning_is_told_at_the_lowest_level_only() {
        let told = |level| written(&Log { level, format: LogFormat::Text });
        assert!(told(LogLevel::Debug).contains("a detail") && !told(LogLevel::Debug).contains("a frame"));
        assert!(told(LogLevel::Trace).contains("a frame"));
    }

    #[test]
    fn a_json_line_is_one_object_with_the_fields_at_its_top() {
        let text = written(&Log { level: LogLevel::Debug, format: LogFormat::Json });
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!((lines[0]["message"].as_str(), lines[0]["backend"].as_str()), (Some("up"), Some("a")));
        assert!(lines[0]["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}
