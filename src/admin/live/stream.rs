//! `/live` as a stream of server-sent events, or as one object with `?once=true`.
//!
//! A stream may live long, so it is bounded otherwise: so many a listener, each with one event under way. The
//! next is made only when the connection takes it, of what holds then, so a slow reader misses rounds and
//! piles nothing up; one that takes nothing is hung up on. All who watch through one listener share the text of
//! a round. When the process drains the stream ends, and whoever watches finds the successor.

use super::super::answer::{json, text};
use super::super::problem::Problem;
use super::super::{Life, Surface};
use super::model::{History, Live};
use super::page;
use crate::control::{Desk, Watch};
use crate::time::Micros;
use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::sync::OwnedSemaphorePermit;

/// Streams at once on one listener, of the connections that it may have.
pub(in super::super) const STREAMS_MAX: usize = 16;

/// How soon a browser is to come again when the stream has ended, in ms.
const RETRY: &str = "retry: 2000\n";

/// The text of the last round, without and with the right to change something.
#[derive(Default)]
pub(in super::super) struct Cache(RefCell<[Option<(u64, Bytes)>; 2]>);

/// What `?once=true` answers.
#[derive(Serialize)]
struct Once {
    history: History,
    live: Live,
}

/// Answers `/live`.
///
/// # Errors
/// A web page of another site asks, a parameter is unknown, or there are as many streams as may be.
pub(in super::super) async fn answer<B>(
    request: &Request<B>,
    surface: &Rc<Surface>,
    life: &Rc<Life>,
) -> Result<Response<Either<Full<Bytes>, Events>>, Problem> {
    surface.door.may_watch(request.headers())?;
    let once = is_once(request.uri().query())?;
    let may_change = surface.door.may_change_without_token(request.headers());
    if once {
        let mut watch = surface.desk.watch();
        watch.fresh().await;
        let desk = &surface.desk;
        let once = Once { history: page::history(desk), live: page::live(desk, may_change) };
        return Ok(json(StatusCode::OK, &once).map(Either::Left));
    }
    if request.method() == Method::HEAD {
        return Ok(event_stream(Either::Left(Full::default())));
    }
    let Ok(place) = surface.streams.clone().try_acquire_owned() else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_watch",
            format!("{STREAMS_MAX} already watch through this listener"),
            "close a dashboard or a `weir top`, or ask for /live?once=true now and then",
        ));
    };
    let watch = surface.desk.watch();
    let watcher = Watcher {
        surface: surface.clone(),
        life: life.clone(),
        watch,
        may_change,
        slots_until: None,
        _place: place,
    };
    Ok(event_stream(Either::Right(Events::new(watcher))))
}

fn event_stream(body: Either<Full<Bytes>, Events>) -> Response<Either<Full<Bytes>, Events>> {
    // The fields that every answer has.
    let (mut parts, _) = text(StatusCode::OK, "text/event-stream", String::new()).into_parts();
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Response::from_parts(parts, body)
}

fn is_once(query: Option<&str>) -> Result<bool, Problem> {
    let mut once = false;
    for part in query.unwrap_or("").split('&').filter(|part| !part.is_empty()) {
        once = match part {
            "once=true" => true,
            "once=false" => false,
            _ => {
                return Err(Problem::bad_request(
                    format!("{part:?} is not known here"),
                    "write once=true for one object instead of a stream",
                ));
            }
        };
    }
    Ok(once)
}

/// One who watches.
struct Watcher {
    surface: Rc<Surface>,
    life: Rc<Life>,
    watch: Watch,
    may_change: bool,
    /// The number of the last slot that was told of; `None`: nothing was told yet.
    slots_until: Option<u64>,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    /// The next events; `None`: the stream is over.
    async fn next(mut self) -> (Bytes, Option<Self>) {
        let desk = self.surface.desk.clone();
        let mut events = Vec::new();
        match self.slots_until {
            None => {
                self.watch.fresh().await;
                events.extend_from_slice(RETRY.as_bytes());
                event(&mut events, "history", &page::history(&desk));
            }
            Some(told) => {
                self.watch.next().await;
                desk.history()
                    .since(told)
                    .iter()
                    .for_each(|held| event(&mut events, "slot", &page::slot(held)));
            }
        }
        self.slots_until = Some(desk.history().last());
        events.extend_from_slice(&self.surface.cache.live(&desk, self.watch.round(), self.may_change));
        let over = self.watch.is_over();
        // It has taken what it was given before, so it lives.
        self.life.extend(Micros::ZERO);
        (events.into(), (!over).then_some(self))
    }
}

impl Cache {
    /// The event of this round.
    fn live(&self, desk: &Desk, round: u64, may_change: bool) -> Bytes {
        let held = &mut self.0.borrow_mut()[usize::from(may_change)];
        match held {
            Some((of, event)) if *of == round => event.clone(),
            _ => {
                let mut text = Vec::new();
                event(&mut text, "live", &page::live(desk, may_change));
                let text = Bytes::from(text);
                *held = Some((round, text.clone()));
                text
            }
        }
    }
}

/// Appends an event.
fn event(to: &mut Vec<u8>, name: &str, data: &impl Serialize) {
    to.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
    // Our own data is text and finite numbers, and a vector takes all; JSON on one line has no line's end.
    if serde_json::to_writer(&mut *to, data).is_err() {
        to.extend_from_slice(b"null");
    }
    to.extend_from_slice(b"\n\n");
}

/// The events of one stream, as the body of its answer.
pub(in super::super) struct Events {
    next: Option<Pin<Box<dyn Future<Output = (Bytes, Option<Watcher>)>>>>,
}

impl Events {
    fn new(watcher: Watcher) -> Self {
        Self { next: Some(Box::pin(watcher.next())) }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let Poll::Ready((events, watcher)) = next.as_mut().poll(context) else { return Poll::Pending };
        self.next = watcher.map(|watcher| Box::pin(watcher.next()) as _);
        Poll::Ready(Some(Ok(Frame::data(events))))
    }
}
