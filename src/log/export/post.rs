//! One request to the collector, on a connection of its own, and what its answer means.
//!
//! Which answers are tried again is OTLP's to say (specification, "Retryable Response Codes"). Called by
//! `exporter.rs`.

use crate::config::Collector;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::error::Error;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long a request may take, from looking the collector up to the end of its answer.
const WITHIN: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read.
const ANSWER_MAX: usize = 64 << 10;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Posted {
    /// The collector has taken it, but for so many spans.
    Taken {
        /// Spans that it did not take.
        rejected: usize,
        /// Why.
        why: String,
    },
    /// It may be tried again, after so long if the collector says so.
    Again {
        /// What the collector asks for.
        after: Option<Duration>,
        /// It has answered.
        answered: bool,
        /// Why.
        why: String,
    },
    /// It is of no use.
    Refused {
        /// Why.
        why: String,
    },
}

/// Sends `body`.
pub(super) async fn post(collector: &Collector, body: Bytes) -> Posted {
    let again = |why| Posted::Again { after: None, answered: false, why };
    match tokio::time::timeout(WITHIN, exchange(collector, body)).await {
        Ok(Ok(posted)) => posted,
        Ok(Err(error)) => again(error.to_string()),
        Err(_) => again(format!("no answer within {} s", WITHIN.as_secs())),
    }
}

async fn exchange(collector: &Collector, body: Bytes) -> Result<Posted, Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect((collector.host.as_str(), collector.port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with this request: a set aborts its tasks when it is dropped.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::post(collector.path.as_str())
        .header(HOST, collector.authority())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Full::new(body))?;
    let response = sender.send_request(request).await?;
    let (status, after) = (response.status(), retry_after(response.headers()));
    let answer = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    // What it says beside its status is good to know, but decides nothing that the status has not.
    let answer = answer.map_or_else(|_| Bytes::new(), |answer| answer.to_bytes());
    Ok(meaning(status, after, &answer))
}

fn meaning(status: StatusCode, after: Option<Duration>, answer: &[u8]) -> Posted {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let why = |message: &Value| match message.as_str() {
        Some(message) => format!("{status}: {}", message.chars().take(200).collect::<String>()),
        None => status.to_string(),
    };
    match status.as_u16() {
        200..=299 => {
            let partial = &answer["partialSuccess"];
            let rejected = match &partial["rejectedSpans"] {
                Value::String(text) => text.parse().unwrap_or(0),
                number => number.as_u64().unwrap_or(0) as usize,
            };
            Posted::Taken { rejected, why: why(&partial["errorMessage"]) }
        }
        429 | 502..=504 => Posted::Again { after, answered: true, why: why(&answer["message"]) },
        _ => Posted::Refused { why: why(&answer["message"]) },
    }
}

/// `Retry-After` in seconds. One with a date is not looked at: clocks differ, and weir waits anyway.
fn retry_after(fields: &HeaderMap) -> Option<Duration> {
    let seconds = fields.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_otlp_says() {
        let seconds = Duration::from_secs;
        let of = |status: u16, after: Option<Duration>, answer: &str| {
            meaning(StatusCode::from_u16(status).unwrap(), after, answer.as_bytes())
        };
        for (status, rejected, answer) in [
            (200, 0, "{}"),
            (200, 0, ""),
            (200, 3, r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#),
            (202, 2, r#"{"partialSuccess":{"rejectedSpans":2}}"#),
            (200, 0, r#"{"partialSuccess":{"errorMessage":"a word"}}"#),
        ] {
            assert!(
                matches!(of(status, None, answer), Posted::Taken { rejected: n, .. } if n == rejected),
                "{answer}"
            );
        }
        for status in [429, 502, 503, 504] {
            let posted = of(status, Some(seconds(2)), "");
            assert!(
                matches!(posted, Posted::Again { after, answered: true, .. } if after == Some(seconds(2))),
                "{status}"
            );
        }
        for status in [301, 400, 401, 404, 413, 500, 501] {
            assert!(matches!(of(status, None, "<html>"), Posted::Refused { .. }), "{status}");
        }
        let Posted::Refused { why } = of(400, None, r#"{"code":3,"message":"bad"}"#) else { panic!() };
        assert_eq!(why, "400 Bad Request: bad");
    }

    #[test]
    fn a_retry_after_counts_in_seconds() {
        let of = |value: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&fields)
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
