//! `/live` as a stream of server-sent events, or as one object with `?once=true`.
//!
//! A stream may live long, so it is bounded otherwise: so many a listener, each with one event under way. The
//! next is made only when the connection takes it, of what holds then, so a slow reader misses rounds and
//! piles nothing up; one that takes nothing is hung up on. All who watch through one listener share the text of
//! a round. When the process drains the stream ends, and whoever watches finds the successor.

use super::super::answer::text;
use super::super::problem::Problem;
use super::super::{Life, Surface};
use super::page;
use crate::control::{Desk, Watch};
use crate::metrics::Slot;
use crate::time::Micros;
use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Frame};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::OwnedSemaphorePermit;

/// Streams at once on one listener, of the connections that it may have.
pub(in super::super) const STREAMS_MAX: usize = 16;

/// How a stream begins: how soon, in ms, a browser is to come again when it has ended, and the history.
const BEGIN: &str = "retry: 2000\nevent: history\ndata: ";

/// How a [`History`](super::model::History) ends, behind its slots.
const HISTORY_END: &str = "]}";

/// The text of the last round, without and with the right to change something.
#[derive(Default)]
pub(in super::super) struct Cache(RefCell<[Option<(u64, Bytes)>; 2]>);

/// Answers `/live`.
///
/// # Errors
/// A web page of another site asks, a parameter is unknown, or there are as many streams as may be.
pub(in super::super) fn answer<B>(
    request: &Request<B>,
    surface: &Rc<Surface>,
    life: &Rc<Life>,
) -> Result<Response<Either<Full<Bytes>, Events>>, Problem> {
    surface.door.may_watch(request.headers())?;
    let once = is_once(request.uri().query())?;
    let kind = if once { "application/json" } else { "text/event-stream" };
    if request.method() == Method::HEAD {
        return Ok(of_kind(kind, Either::Left(Full::default())));
    }
    let place = if once { None } else { Some(place(surface)?) };
    let watcher = Watcher {
        surface: surface.clone(),
        life: life.clone(),
        watch: surface.desk.watch(),
        may_change: surface.door.may_change_without_token(request.headers()),
        once,
        stage: Stage::Begin,
        _place: place,
    };
    Ok(of_kind(kind, Either::Right(Events::new(watcher))))
}

/// A stream's place among those that there may be.
fn place(surface: &Surface) -> Result<OwnedSemaphorePermit, Problem> {
    surface.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_watch",
            format!("{STREAMS_MAX} already watch through this listener"),
            "close a dashboard or a `weir top`, or ask for /live?once=true now and then",
        )
    })
}

fn of_kind(kind: &'static str, body: Either<Full<Bytes>, Events>) -> Response<Either<Full<Bytes>, Events>> {
    // With the fields that every answer has.
    text(StatusCode::OK, kind, String::new()).map(|_| body)
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

/// How far a stream is.
enum Stage {
    /// Nothing was told yet.
    Begin,
    /// The history is told, a slot at a time, so that a long one is neither in memory as a whole nor holds up
    /// control.
    History { slots: std::vec::IntoIter<Arc<Slot>>, told: u64 },
    /// Rounds are told of; slots up to this number were.
    Rounds { told: u64 },
}

/// One who watches.
struct Watcher {
    surface: Rc<Surface>,
    life: Rc<Life>,
    watch: Watch,
    may_change: bool,
    /// Only what holds now, as one object.
    once: bool,
    stage: Stage,
    _place: Option<OwnedSemaphorePermit>,
}

impl Watcher {
    /// The next piece; without a watcher it is the last.
    async fn next(mut self) -> (Bytes, Option<Self>) {
        let desk = self.surface.desk.clone();
        let mut piece = Vec::new();
        let goes_on = match &mut self.stage {
            Stage::Begin => {
                self.watch.fresh().await;
                piece.extend_from_slice(if self.once { b"{\"history\":" } else { BEGIN.as_bytes() });
                write(&mut piece, &page::empty_history());
                // The end of its list and its own come after the slots.
                piece.truncate(piece.len().saturating_sub(HISTORY_END.len()));
                let (slots, told) = (desk.history().since(0), desk.history().last());
                self.stage = Stage::History { slots: slots.into_iter(), told };
                true
            }
            Stage::History { slots, told } => match slots.next() {
                Some(slot) => {
                    write(&mut piece, &page::slot(&slot));
                    piece.extend_from_slice(if slots.len() > 0 { b"," } else { b"" });
                    true
                }
                None => {
                    piece.extend_from_slice(HISTORY_END.as_bytes());
                    self.stage = Stage::Rounds { told: *told };
                    self.end_history(&mut piece)
                }
            },
            Stage::Rounds { told } => {
                self.watch.next().await;
                desk.history()
                    .since(*told)
                    .iter()
                    .for_each(|held| event(&mut piece, "slot", &page::slot(held)));
                *told = desk.history().last();
                piece.extend_from_slice(&self.live());
                !self.watch.is_over()
            }
        };
        // It has taken what it was given before, so it lives.
        self.life.extend(Micros::ZERO);
        (piece.into(), goes_on.then_some(self))
    }

    /// What comes with the end of the history. Whether more does.
    fn end_history(&self, piece: &mut Vec<u8>) -> bool {
        if self.once {
            piece.extend_from_slice(b",\"live\":");
            write(piece, &page::live(&self.surface.desk, self.may_change));
            piece.extend_from_slice(b"}\n");
            return false;
        }
        piece.extend_from_slice(b"\n\n");
        piece.extend_from_slice(&self.live());
        !self.watch.is_over()
    }

    /// The event of the last round.
    fn live(&self) -> Bytes {
        self.surface.cache.live(&self.surface.desk, self.watch.round(), self.may_change)
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
    write(to, data);
    to.extend_from_slice(b"\n\n");
}

/// Appends JSON on one line.
fn write(to: &mut Vec<u8>, data: &impl Serialize) {
    // Our own data is text and finite numbers, and a vector takes all.
    if serde_json::to_writer(&mut *to, data).is_err() {
        to.extend_from_slice(b"null");
    }
}

/// Makes a stream's next piece; without a watcher it is the last.
type NextPiece = Pin<Box<dyn Future<Output = (Bytes, Option<Watcher>)>>>;

/// The events of one stream, as the body of its answer.
pub(in super::super) struct Events {
    next: Option<NextPiece>,
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::super::guard::{Door, Way};
    use super::super::model::Live;
    use super::*;
    use crate::control::rig::{Rig, clock, closed_port, config, pool, until, with_control};
    use std::future::poll_fn;
    use tokio::sync::Semaphore;

    fn surface(rig: &Rig) -> Rc<Surface> {
        Rc::new(Surface {
            desk: rig.desk.clone(),
            door: Door { way: Way::Unix, token: None },
            waits: Semaphore::new(1),
            streams: Arc::new(Semaphore::new(1)),
            cache: Cache::default(),
        })
    }

    fn stream(surface: &Rc<Surface>, life: &Rc<Life>) -> Result<Events, u16> {
        let request = Request::get("/live").body(()).unwrap();
        match answer(&request, surface, life).map(Response::into_body) {
            Ok(Either::Right(events)) => Ok(events),
            Ok(Either::Left(_)) => panic!("no stream"),
            Err(problem) => Err(problem.status.as_u16()),
        }
    }

    async fn next(events: &mut Events) -> Option<String> {
        let frame = poll_fn(|context| Pin::new(&mut *events).poll_frame(context)).await?;
        Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
    }

    /// The history and what holds now.
    async fn begun(events: &mut Events) -> String {
        let mut text = String::new();
        while !text.contains("event: live") {
            text += &next(events).await.unwrap();
        }
        text
    }

    fn names(events: &str) -> Vec<&str> {
        events.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
    }

    fn app() -> crate::config::Config {
        config(vec![pool("app", &[closed_port()], None)])
    }

    #[test]
    fn who_reads_slowly_misses_rounds_and_gets_what_holds_when_it_reads_on() {
        with_control(app(), 1, |rig| async move {
            let surface = surface(&rig);
            let life = Rc::new(Life::new(&rig.desk));
            let mut events = stream(&surface, &life).unwrap();
            let first = begun(&mut events).await;
            assert!(first.starts_with(BEGIN) && names(&first) == ["history", "live"], "{first}");
            let mut other = rig.desk.watch();
            for _ in 0..3 {
                other.next().await;
            }
            let read = next(&mut events).await.unwrap();
            assert_eq!(names(&read), ["live"], "one, not three");
            let data = read.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            let live: Live = serde_json::from_str(data).unwrap();
            let recent = rig.desk.recent().length.as_duration().as_secs_f64();
            assert!((live.interval_s - recent).abs() < 1e-3, "the last: {live:?}");
            // Every frame that it takes lets the connection live on.
            assert!(life.until.get() > clock() + Micros::from_s(9));
            let before = life.until.get();
            other.next().await;
            assert_eq!(life.until.get(), before, "and none that it does not take");
        });
    }

    #[test]
    fn a_place_is_given_back_with_the_stream_and_a_drain_ends_it() {
        with_control(app(), 1, |rig| async move {
            rig.shards[0].set(crate::control::rig::Manner::Busy);
            let surface = surface(&rig);
            let life = Rc::new(Life::new(&rig.desk));
            let events = stream(&surface, &life).unwrap();
            assert_eq!(stream(&surface, &life).err(), Some(503));
            drop(events);
            let mut events = stream(&surface, &life).unwrap();
            begun(&mut events).await;
            rig.signals.send(crate::control::Signal::Leave).unwrap();
            let mut last = String::new();
            while let Some(events) = next(&mut events).await {
                last = events;
            }
            assert!(last.contains("\"ready\":false,\"why\":\"shutting down\""), "{last}");
            until("the place is free", || surface.streams.available_permits() == 1).await;
            let mut late = stream(&surface, &life).unwrap();
            assert_eq!(names(&begun(&mut late).await), ["history", "live"], "who comes now sees it");
            assert!(next(&mut late).await.is_none());
        });
    }
}
