//! The stream `/live`: followed, and found again when it ends.
//!
//! A weir that leaves because another has taken over, or that is started again, ends the stream: it is asked
//! for again at once, and then ever more rarely. The file with the token is read anew each time, since it may
//! have been changed. Not here: what the news mean (`state`).

use super::sse::{Event, Reader};
use crate::admin::live::model::{History, Live, Slot};
use crate::cli::client::{self, Answer, Followed, Reach, Unreachable};
use crate::cli::{FAILED, UNREACHABLE, WRONG, ctl};
use crate::sys::clock;
use crate::time::Micros;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};

/// What is asked for.
const PATH: &str = "/live";

/// The type of its answer.
const KIND: &str = "text/event-stream";

/// How long nothing may come of a stream that tells something each second.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// The pauses between attempts: the first two come at once or nearly, for a takeover; the last one stays.
const PAUSES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// How long a stream must have lasted to be worth asking at once for another.
const STEADY: Micros = Micros::from_s(5);

/// What comes of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum News {
    /// The last ten minutes: each stream begins with it.
    History(History),
    /// Now.
    Live(Box<Live>),
    /// A piece of the past is over.
    Slot(Slot),
    /// There is none any more, why, and when it is tried again.
    Lost(String, Duration),
}

/// Why a stream is not, or ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// There is nobody.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The surface does not give it, and why.
    #[error("{}", refusal(.0))]
    Refused(Answer),
    /// The file with the token is not good.
    #[error(transparent)]
    NoToken(#[from] client::NoToken),
    /// It broke off.
    #[error("weir ended the connection; it may have been stopped, started again or replaced")]
    Over,
    /// It was connected and said nothing.
    #[error("weir has told nothing for {} s; if it is stopped or overloaded, its log says why", SILENCE_MAX.as_secs())]
    Silent,
    /// Another version of it, or no weir.
    #[error("what weir tells cannot be read ({0}); use the `weir top` of its version")]
    Unreadable(String),
}

fn refusal(answer: &Answer) -> String {
    let text = ctl::refused(&answer.page);
    let lines: Vec<&str> = text.lines().collect();
    if answer.status == 404 {
        return "the weir there has no /live; use the `weir top` of its version".to_owned();
    }
    lines.join("; ")
}

impl Ended {
    /// The exit code of who gives up over it.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::NoToken(_) => WRONG,
            Self::Unreachable(_) => UNREACHABLE,
            Self::Refused(_) | Self::Over | Self::Silent | Self::Unreadable(_) => FAILED,
        }
    }
}

/// One stream.
pub(super) struct Stream {
    body: Incoming,
    reader: Reader,
    /// What has come and was not asked for yet.
    come: VecDeque<Event>,
}

impl Stream {
    /// Asks for one.
    ///
    /// # Errors
    /// There is none to be had.
    pub(super) async fn open(reach: &Reach) -> Result<Self, Ended> {
        let token = reach.token_file.as_deref().map(client::token).transpose()?;
        match client::follow(&reach.admin, token.as_deref(), PATH, KIND).await? {
            Followed::Stream(body) => Ok(Self { body, reader: Reader::default(), come: VecDeque::new() }),
            Followed::Answer(answer) => Err(Ended::Refused(answer)),
        }
    }

    /// The next news of it.
    ///
    /// # Errors
    /// It is over.
    pub(super) async fn next(&mut self) -> Result<News, Ended> {
        loop {
            while let Some(event) = self.come.pop_front() {
                match news(&event) {
                    Ok(Some(news)) => return Ok(news),
                    Ok(None) => {}
                    Err(error) => return Err(Ended::Unreadable(format!("{}: {error}", event.name))),
                }
            }
            let piece = match timeout(SILENCE_MAX, self.body.frame()).await {
                Err(_) => return Err(Ended::Silent),
                Ok(None | Some(Err(_))) => return Err(Ended::Over),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            let events = self.reader.feed(&piece).map_err(|error| Ended::Unreadable(error.to_string()))?;
            self.come.extend(events);
        }
    }
}

/// Follows one stream and, when it ends, the next, for as long as somebody listens.
pub(super) async fn follow(reach: Reach, first: Stream, tell: Sender<News>) {
    let mut stream = Ok(first);
    let (mut begun, mut failed) = (clock::now(), 0);
    loop {
        let ended = match stream {
            Ok(mut stream) => loop {
                match stream.next().await {
                    Ok(news) => {
                        if tell.send(news).await.is_err() {
                            return;
                        }
                    }
                    Err(ended) => break ended,
                }
            },
            Err(ended) => ended,
        };
        if clock::now() - begun >= STEADY {
            failed = 0;
        }
        let pause = PAUSES[failed.min(PAUSES.len() - 1)];
        failed += 1;
        if tell.send(News::Lost(ended.to_string(), pause)).await.is_err() {
            return;
        }
        sleep(pause).await;
        begun = clock::now();
        stream = Stream::open(&reach).await;
    }
}

/// What an event says; `None`: nothing that this version knows of.
fn news(event: &Event) -> Result<Option<News>, serde_json::Error> {
    Ok(match event.name.as_str() {
        "history" => Some(News::History(serde_json::from_str(&event.data)?)),
        "live" => Some(News::Live(Box::new(serde_json::from_str(&event.data)?))),
        "slot" => Some(News::Slot(serde_json::from_str(&event.data)?)),
        _ => None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn events_become_news_and_unknown_ones_nothing() {
        let event = |name: &str, data: &str| Event { name: name.to_owned(), data: data.to_owned() };
        let slot = r#"{"at_ms": 5, "phases": [], "backends": []}"#;
        let expected = Slot { at_ms: 5, phases: Vec::new(), backends: Vec::new() };
        assert_eq!(news(&event("slot", slot)).unwrap(), Some(News::Slot(expected)));
        assert_eq!(news(&event("weather", "fine")).unwrap(), None);
        assert!(news(&event("live", "{}")).is_err());
        assert!(news(&event("history", "[")).is_err());
    }
}
