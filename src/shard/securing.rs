//! What stands between an accept and a connection that is served, where a listener has TLS: the handshake.
//!
//! Each has a task of its own, which ends with it: a connection that is served keeps only what `proxy` keeps of it.
//! Handshakes have as long as a head has, and take their steps in turn (`tls::Turns`). Called by `accept.rs`.

use crate::limit::{OncePerSecond, Place};
use crate::metrics::{Handshake, Side};
use crate::proxy::{ListenerService, Service, Shaking, serve, serve_http2};
use crate::ring::Stream;
use crate::tls::{self, Failure, Handshaken, Protocol};
use crate::wire::Wire;
use rustls::ServerConfig;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// A line at this level.
macro_rules! line {
    ($level:ident, $listener:expr, $cause:expr, $times:expr, $peer:expr, $reason:expr) => {
        tracing::$level!(
            listener = $listener,
            cause = $cause,
            times = $times,
            last = $peer,
            reason = $reason,
            "TLS handshakes with clients failed; `weir explain {}` says why, and what to do",
            $cause
        )
    };
}

/// What a shard's handshakes share.
#[derive(Default)]
pub(super) struct Securing {
    /// By what they came to.
    said: [OncePerSecond; Handshake::ALL.len()],
}

impl Securing {
    /// Begins a handshake with the client `peer`; when it is done, the connection is served.
    pub(super) fn begin(
        self: &Rc<Self>,
        service: &Rc<Service>,
        listener: Rc<ListenerService>,
        stream: Stream,
        config: Arc<ServerConfig>,
        peer: Option<IpAddr>,
        place: Option<Box<Place>>,
    ) {
        let (securing, service) = (self.clone(), service.clone());
        let ring = service.ring.clone();
        let shaking = Shaking::begin(&service, &stream);
        ring.spawn(async move {
            let begun = service.ring.now();
            let due = listener.handshake_due(begun);
            let shaken = tls::accept(&service.ring, stream, &config, due, &service.turns).await;
            let took = service.ring.now().since(begun);
            let came_to = match &shaken {
                Ok(shaken) => shaken.counted_as(),
                Err(Failure::Gone) if shaking.makes_room() => Handshake::Evicted,
                Err(failure) => failure.counted_as(),
            };
            service.stats.borrow_mut().shook_hands(Side::Client, came_to, took);
            if let Ok(Handshaken { version: Some(version), .. }) = &shaken {
                service.stats.borrow_mut().spoke(*version);
            }
            match shaken {
                Ok(shaken) => start(&service, listener, shaken, peer, place),
                Err(failure) => securing.say(&service, &listener, &failure, came_to, peer),
            }
            // Only now, so that a shard which drains never takes itself for empty in between.
            drop(shaking);
        });
    }

    /// What clients do of themselves, all day long, is for who looks for it. That somebody's certificate is not
    /// believed is worth knowing: nobody is asked for one but where the operator wants it so.
    fn say(
        &self,
        service: &Service,
        listener: &ListenerService,
        failure: &Failure,
        came_to: Handshake,
        peer: Option<IpAddr>,
    ) {
        if let Some(times) = self.said[came_to as usize].count(service.ring.now()) {
            let cause = came_to.label();
            let peer = peer.map_or_else(|| "unix".to_owned(), |address| address.to_canonical().to_string());
            let reason = failure.reason(Side::Client);
            if matches!(failure, Failure::Certificate(_)) {
                line!(info, listener.name(), cause, times, peer, reason);
            } else {
                line!(debug, listener.name(), cause, times, peer, reason);
            }
        }
    }
}

/// Serves a connection by what was agreed.
fn start(
    service: &Rc<Service>,
    listener: Rc<ListenerService>,
    shaken: Handshaken,
    peer: Option<IpAddr>,
    place: Option<Box<Place>>,
) {
    let wire = Wire::Layered(Box::new(shaken.sealed));
    match shaken.protocol {
        Protocol::Http1 => service.ring.spawn(serve(service.clone(), listener, wire, peer, place)),
        Protocol::Http2 => service.ring.spawn(serve_http2(service.clone(), listener, wire, peer, place)),
    }
}
