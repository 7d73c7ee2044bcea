//! A backend's HTTP/2 connections on one shard: which one an exchange's stream is opened on.
//!
//! The fullest that has room: so when a burst is over, the others run dry and are closed, and frames of more streams
//! share a send. If none has room another is made, and who comes meanwhile waits for it too, as far as it is
//! expected to have room. Here: that, the task of each connection, and how it ends. Not here: HTTP/2 itself
//! (`streams`). Called by `mod.rs` beside this file.

use super::connection::{Connection, Place};
use super::unreachable::is_ours;
use super::{Backend, FULL, Picked, Upstreams};
use crate::limit::{Life, LifeLimits, LifeOver, OncePerSecond};
use crate::ring::{Fault, Ring};
use crate::streams::{ClientConnection, Driver, NotEstablished, STREAMS_MAX};
use crate::time::{Instant, Micros};
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The connections to one backend, those that are being made included.
pub(super) struct Shared {
    links: RefCell<Vec<Rc<Link>>>,
    /// Streams that the last connection allowed: so many exchanges wait for one that is being made.
    allowed: Cell<usize>,
    said: OncePerSecond,
}

impl Default for Shared {
    fn default() -> Self {
        Self { links: RefCell::default(), allowed: Cell::new(STREAMS_MAX), said: OncePerSecond::default() }
    }
}

/// One connection.
struct Link {
    state: RefCell<State>,
    /// Who waits for it to stand.
    waiting: RefCell<Slab<Waker>>,
    /// An exchange has been told that it was made.
    told: Cell<bool>,
    life: Cell<Life>,
    /// It has lived long enough: it takes no more streams, and ends when it carries none.
    lived_out: Cell<bool>,
}

/// Where a connection stands.
enum State {
    Connecting,
    Open(Rc<ClientConnection>),
    Failed(Fault),
}

impl Link {
    fn new(life: Life) -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::new(State::Connecting),
            waiting: RefCell::default(),
            told: Cell::new(false),
            life: Cell::new(life),
            lived_out: Cell::new(false),
        })
    }

    /// The limit for which it takes no more streams from now on.
    fn end_of_life(&self, limits: &LifeLimits, now: Instant) -> Option<LifeOver> {
        let over = self.life.get().over(limits, now)?;
        (!self.lived_out.replace(true)).then_some(over)
    }

    fn open(&self) -> Option<Rc<ClientConnection>> {
        match &*self.state.borrow() {
            State::Open(connection) => Some(connection.clone()),
            State::Connecting | State::Failed(_) => None,
        }
    }

    fn is_connecting(&self) -> bool {
        matches!(*self.state.borrow(), State::Connecting)
    }

    fn settle(&self, state: State) {
        *self.state.borrow_mut() = state;
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Waits until it stands, but not beyond `latest`.
    async fn settled(&self, ring: &Ring, latest: Instant) -> Result<(), Fault> {
        let mut seat = Seat { link: self, key: None };
        let mut timer = (latest != Instant::NEVER).then(|| ring.sleep_until(latest));
        poll_fn(|cx| {
            match *self.state.borrow() {
                State::Open(_) => return Poll::Ready(Ok(())),
                State::Failed(fault) => return Poll::Ready(Err(fault)),
                State::Connecting => seat.wait(cx),
            }
            match &mut timer {
                Some(timer) => Pin::new(timer).poll(cx).map(|()| Err(Fault::TimedOut)),
                None => Poll::Pending,
            }
        })
        .await
    }
}

/// A place among those that wait.
struct Seat<'a> {
    link: &'a Link,
    key: Option<usize>,
}

impl Seat<'_> {
    fn wait(&mut self, cx: &Context<'_>) {
        let mut waiting = self.link.waiting.borrow_mut();
        match self.key.and_then(|key| waiting.get_mut(key)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.key = Some(waiting.insert(cx.waker().clone())),
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        // Once it stands nobody waits any more, and the place is gone.
        if self.link.is_connecting()
            && let Some(key) = self.key
        {
            let waker = self.link.waiting.borrow_mut().try_remove(key);
            drop(waker);
        }
    }
}

impl Shared {
    /// The fullest connection that has room.
    fn with_room(&self) -> Option<(Rc<Link>, Rc<ClientConnection>)> {
        let links = self.links.borrow();
        let open = links.iter().filter_map(|link| Some((link, link.open()?)));
        let with_room = open.filter(|(link, connection)| !link.lived_out.get() && connection.room() > 0);
        let fullest = with_room.max_by_key(|(_, connection)| connection.taken());
        fullest.map(|(link, connection)| (link.clone(), connection))
    }

    /// One that is being made, and will have room for one more than wait for it.
    fn connecting(&self) -> Option<Rc<Link>> {
        let links = self.links.borrow();
        let has_room =
            |link: &&Rc<Link>| link.is_connecting() && link.waiting.borrow().len() < self.allowed.get();
        links.iter().find(has_room).cloned()
    }

    fn remove(&self, link: &Rc<Link>) {
        self.links.borrow_mut().retain(|known| !Rc::ptr_eq(known, link));
    }

    fn open(&self) -> Vec<Rc<ClientConnection>> {
        self.links.borrow().iter().filter_map(|link| link.open()).collect()
    }

    /// Those that carry no exchange.
    pub(super) fn idle_len(&self) -> usize {
        let is_idle = |link: &Rc<Link>| link.open().is_some_and(|open| open.idle_since().is_some());
        self.links.borrow().iter().filter(|link| is_idle(link)).count()
    }

    /// Has all of them end with the exchanges that they carry.
    pub(super) fn retire_all(&self) {
        self.open().iter().for_each(|connection| connection.retire());
    }

    /// Closes the one that has carried nothing for longest, if there is any.
    pub(super) fn close_oldest(&self) {
        let open = self.open();
        let idle = open.iter().filter(|connection| !connection.is_retired());
        let idle = idle.filter_map(|connection| Some((connection.idle_since()?, connection)));
        if let Some((_, oldest)) = idle.min_by_key(|(since, _)| *since) {
            oldest.retire();
        }
    }

    /// Has those end that have lived long enough, of which `over` hears, as soon as they carry nothing.
    pub(super) fn end_lives(&self, now: Instant, limits: &LifeLimits, over: impl FnMut(LifeOver)) {
        let links = self.links.borrow();
        links.iter().filter_map(|link| link.end_of_life(limits, now)).for_each(over);
        let lived_out = links.iter().filter(|link| link.lived_out.get()).filter_map(|link| link.open());
        let lived_out: Vec<_> = lived_out.collect();
        drop(links);
        lived_out
            .iter()
            .filter(|connection| connection.taken() == 0)
            .for_each(|connection| connection.retire());
    }

    /// Closes those that have carried nothing for `timeout` (zero: any time), and those of them that are more
    /// than `max`.
    pub(super) fn sweep(&self, now: Instant, timeout: Micros, max: usize) {
        for connection in self.open() {
            connection.sweep();
            let is_over = |since| !timeout.is_zero() && now.since(since) >= timeout;
            if connection.idle_since().is_some_and(is_over) {
                connection.retire();
            }
        }
        (max..self.idle_len()).for_each(|_| self.close_oldest());
    }
}

impl Upstreams {
    /// A stream of a connection that stands. Not its first one: who gets that is told that a connection was made,
    /// and comes by [`Upstreams::stream_of_new`], whether it has waited for it or has come in the turn in which it
    /// stood.
    pub(super) fn stream(&self, picked: &Picked) -> Option<Connection> {
        let (link, connection) = picked.backend.shared.with_room()?;
        link.told.get().then(|| self.carry(picked, &link, &connection).reused(picked))
    }

    /// A stream on this connection, which may be its last.
    fn carry(&self, picked: &Picked, link: &Link, connection: &Rc<ClientConnection>) -> Connection {
        let mut life = link.life.get();
        life.count();
        link.life.set(life);
        let stream = Connection::stream(picked, connection.open());
        if let Some(over) = link.end_of_life(&picked.pool.rules().life_limits, self.ring.now()) {
            self.lived_out(over);
        }
        stream
    }

    /// A stream of a connection that has come to stand, or else of one that is made for it and whoever comes
    /// meanwhile.
    pub(super) async fn stream_of_new(
        self: &Rc<Self>,
        picked: &Picked,
        latest: Instant,
    ) -> Result<Connection, Fault> {
        let shared = &picked.backend.shared;
        loop {
            if let Some((link, connection)) = shared.with_room() {
                let stream = self.carry(picked, &link, &connection);
                return Ok(if link.told.replace(true) { stream.made_by_another() } else { stream });
            }
            let link = match shared.connecting() {
                Some(link) => link,
                None => self.begin(picked)?,
            };
            link.settled(&self.ring, latest).await?;
        }
    }

    /// Begins to make a connection.
    fn begin(self: &Rc<Self>, picked: &Picked) -> Result<Rc<Link>, Fault> {
        let place = self.place(picked)?;
        let link = Link::new(self.new_life());
        picked.backend.shared.links.borrow_mut().push(link.clone());
        self.ring.spawn(run(self.clone(), picked.clone(), link.clone(), place));
        Ok(link)
    }

    /// Connects, and begins HTTP/2.
    async fn establish(&self, picked: &Picked) -> Result<(Rc<ClientConnection>, Driver), Fault> {
        let due = self.ring.now().deadline(picked.pool.rules().timeouts.connect);
        let (wire, scheme) = self.dial(picked, due).await?;
        let established = ClientConnection::establish(&self.ring, wire, scheme, due).await;
        established.map_err(|why| {
            self.say_why_not(picked, &why);
            why.fault()
        })
    }

    fn say_why_not(&self, picked: &Picked, why: &NotEstablished) {
        if let Some(times) = picked.backend.shared.said.count(self.ring.now()) {
            let (pool, backend) = (&*picked.pool.name(), picked.backend_name());
            tracing::warn!(pool, backend, times, "no HTTP/2 connection to the backend: {why}");
        }
    }
}

/// The life of a connection.
async fn run(upstreams: Rc<Upstreams>, picked: Picked, link: Rc<Link>, place: Place) {
    let backend = &picked.backend;
    match upstreams.establish(&picked).await {
        Ok((connection, driver)) => {
            backend.reached();
            backend.shared.allowed.set(connection.room().max(1));
            link.settle(State::Open(connection));
            // What it is driven for outlives the shard's service no more than its exchanges do.
            drop(upstreams);
            drive(backend, driver).await;
        }
        Err(fault) => {
            let ours = matches!(fault, Fault::Os(errno) if is_ours(errno));
            if !ours {
                upstreams.leave_alone(&picked);
            }
            link.settle(State::Failed(if ours { Fault::Os(FULL) } else { fault }));
        }
    }
    backend.shared.remove(&link);
    drop(place);
}

async fn drive(backend: &Backend, driver: Driver) {
    if let Err(error) = driver.run().await {
        tracing::debug!(backend = backend.name(), "an HTTP/2 connection to the backend ended: {error}");
    }
}
