//! HTTP/2 connections: each stream is served as a connection with one request.
//!
//! Here: who begins with HTTP/2, and what `streams` asks of whom it serves. A stream has its own task, seat and
//! record, but counts as no connection; the connection's seat waits while it has no stream. Not here: frames and
//! streams (`streams`), what a request comes to (`exchange.rs`). Called by `connection.rs`, and by `shard` where TLS
//! has agreed on HTTP/2.

use super::connection::Client;
use super::peer::Peer;
use super::said::About;
use super::service::{ListenerService, Service};
use crate::http2::{Flood, Malformed};
use crate::limit::Place;
use crate::metrics::Refusal;
use crate::streams::{Ended, ServerSettings, Serves, serve};
use crate::time::Instant;
use crate::wire::Wire;
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;

/// What a client's preface begins with (RFC 9113 §3.4): as much of it as is refused, if no more has come.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// What HTTP/2 counts for a field beyond its bytes (RFC 9113 §6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// [`super::serve`] of a connection on which HTTP/2 was agreed.
pub fn serve_http2(
    service: Rc<Service>,
    listener: Rc<ListenerService>,
    stream: Wire,
    peer: Option<IpAddr>,
    place: Option<Box<Place>>,
) -> impl Future<Output = ()> {
    let mut client = Client::new(service, listener, stream, Peer::new(peer), place);
    async move { client.multiplex().await }
}

/// A connection that speaks HTTP/2, counted among those.
struct Counted(Rc<Service>);

impl Counted {
    fn new(service: &Rc<Service>) -> Self {
        service.http2_connections.set(service.http2_connections.get() + 1);
        Self(service.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.http2_connections.set(self.0.http2_connections.get() - 1);
    }
}

/// Serves one stream of a connection with `peer`.
fn serve_stream(
    service: Rc<Service>,
    listener: Rc<ListenerService>,
    stream: Wire,
    peer: Peer,
) -> impl Future<Output = ()> {
    let mut client = Client::new(service, listener, stream, peer, None);
    async move {
        let Some(outgoing) = client.next_request().await else { return };
        client.exchange(outgoing).await;
        if let Err(fault) = client.sent_before().await {
            client.lost(fault);
        }
    }
}

/// Whether this is a stream of such a connection: those have no socket that is their own.
pub(super) fn is_multiplexed(stream: &Wire) -> bool {
    stream.number().is_none()
}

impl Client {
    /// Whether it has begun with HTTP/2, and may.
    pub(super) fn begins_with_preface(&self) -> bool {
        self.input.bytes().starts_with(PREFACE)
            && self.rules().h2c
            && !is_multiplexed(&self.stream)
            && !self.service.seats.has_served(self.seat)
    }

    /// Serves the connection as HTTP/2 until it ends.
    pub(super) async fn multiplex(&mut self) {
        let unread = self.input.take_unread();
        let rules = self.rules();
        // weir's own limits are the ones that refuse, and say so: these are beyond them.
        let max_head = rules.limits.max_head + FIELD_OVERHEAD * rules.limits.max_headers;
        let settings = ServerSettings {
            max_streams: rules.max_streams,
            max_head: u32::try_from(max_head).unwrap_or(u32::MAX),
            head_timeout: rules.head_timeout,
            idle_timeout: rules.idle_timeout,
            min_rate_per_s: rules.body_min_rate_per_s,
        };
        drop(rules);
        let _counted = Counted::new(&self.service);
        match serve(&self.service.ring, &self.stream, unread, &settings, self).await {
            // Bytes that were not read would reset the connection, and the reset overtake the goodbye.
            Ended::Well => self.linger().await,
            Ended::Stuck => self.stream.reset_on_close(),
        }
    }
}

impl Serves for Client {
    fn serve(&self, stream: Wire) {
        self.count_request();
        self.service.stats.borrow_mut().requested_by_http2();
        let (service, listener) = (self.service.clone(), self.listener.clone());
        self.service.ring.spawn(serve_stream(service, listener, stream, self.peer.clone()));
    }

    fn waits(&self) {
        self.service.seats.wait(self.seat, self.service.now());
    }

    fn works(&self) {
        self.service.seats.work(self.seat);
    }

    fn is_closing(&self) -> bool {
        self.closing()
    }

    fn closes_at(&self) -> Instant {
        self.ages_at()
    }

    fn malformed(&self, why: Malformed) {
        self.refused_outright(400, Refusal::BadHead, &why.to_string());
    }

    fn flooded(&self, flood: Flood) {
        self.refused_outright(0, Refusal::Flood, &flood.to_string());
    }
}

impl Client {
    /// Something was refused before it was a request.
    fn refused_outright(&self, status: u16, refusal: Refusal, what: &str) {
        let about = About { status, listener: Some(&self.listener), what: Some(what), ..About::default() };
        self.service.refused(refusal, &about);
    }
}
