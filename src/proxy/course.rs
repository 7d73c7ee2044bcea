//! The course of an exchange over its attempts: what it has tried, and where it goes next.
//!
//! The decisions are `exchange::after_failure`'s and the budget's; here they are put to the backends that
//! there are. Called by `exchange.rs` and `upload.rs`.

use super::attempt::{Failed, Turn, counted_as};
use super::exchange::Times;
use super::request::Outgoing;
use super::service::Service;
use crate::balance::BackendId;
use crate::config::GrpcStatus;
use crate::exchange::{Attempt, AttemptFailure, Grant, Next, RequestFacts, RequestLeft, after_failure};
use crate::metrics::UpstreamFailure;
use crate::time::Instant;
use crate::upstream::{Asking, Picked, Pool};
use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;

/// Backends at which an exchange looks for a place without a retry. Where so many are full most are, and
/// each look costs a pick.
const SOUGHT_MAX: usize = 8;

/// A retry that an exchange has from its pool's budget before it needs it. Given back when dropped unspent.
pub(super) struct Reserved {
    pool: Rc<Pool>,
    grant: Option<Grant>,
}

impl Reserved {
    /// One retry of `pool`'s budget; `None` if it has none left.
    fn take(pool: &Rc<Pool>, now: Instant) -> Option<Box<Self>> {
        let grant = pool.reserve_retry(now)?;
        Some(Box::new(Self { pool: pool.clone(), grant: Some(grant) }))
    }

    fn spend(mut self) {
        self.grant = None;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(grant) = self.grant.take() {
            self.pool.give_back_retry(grant);
        }
    }
}

/// The backend for an exchange's first attempt. With it comes the retry that is there for it in any case,
/// if it is a backend's trial; such a backend is picked for no other exchange.
pub(super) fn first_pick(service: &Service, outgoing: &Outgoing) -> Option<(Picked, Option<Box<Reserved>>)> {
    let rules = outgoing.pool.rules();
    let retry = &rules.retry;
    // Of calls that may run again where their server was not available, which is how a trial fails.
    let may_call_again = outgoing.facts.grpc && retry.on.grpc.contains(&GrpcStatus::Unavailable);
    let can_be_sent_again = match outgoing.body {
        RequestLeft::Nothing => true,
        RequestLeft::Length(left) => left.saturating_add(outgoing.body_bytes) <= retry.body_buffer as u64,
        // Perhaps: that is not enough for a trial. But no call tells its length, most are short, and a pool may have
        // nothing else.
        RequestLeft::Chunks(_) => may_call_again,
    };
    let may_run_twice = outgoing.facts.method.is_idempotent() || may_call_again;
    let may_retry = retry.attempts > 0 && may_run_twice && can_be_sent_again;
    let asking = Asking { client: outgoing.client.get(), tried: &[], may_retry };
    let picked = service.upstreams.pick(&outgoing.pool, &asking)?;
    note_view(service);
    if !picked.is_trial() {
        return Some((picked, None));
    }
    // It may be a trial in the fallback, which has a rule of its own.
    let may_be_tried = picked.pool().rules().retry.attempts > 0;
    let reserved = if may_be_tried { Reserved::take(picked.pool(), service.now()) } else { None };
    match reserved {
        Some(reserved) => Some((picked, Some(reserved))),
        None => {
            // The trial ends before it began.
            drop(service.upstreams.admit(&picked, false));
            let asking = Asking { may_retry: false, ..asking };
            Some((service.upstreams.pick(&outgoing.pool, &asking)?, None))
        }
    }
}

/// Records how old the view was at a pick.
fn note_view(service: &Service) {
    if let Some(age) = service.upstreams.view.age(service.now()) {
        service.stats.borrow_mut().view_age(age);
    }
}

/// Whether an answer that comes to this may be tried again elsewhere, if all else allows it.
pub(super) fn may_try_again(picked: &Picked, verdict: AttemptFailure) -> bool {
    verdict.may_be_tried_again(&picked.pool().rules().retry, picked.is_trial())
}

/// What an attempt was about, for the decision that follows it.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    /// It used a connection from the idle pool.
    pub(super) reused: bool,
    /// The request can be sent again, as far as it has been taken from the client.
    pub(super) replayable: bool,
    /// What is known of it.
    pub(super) facts: RequestFacts,
}

/// Where an exchange goes after a failure.
enum Onward {
    /// To a backend by a new connection, and nobody is blamed.
    Afresh(Picked),
    /// To another backend.
    Retry(Picked),
    /// To its end.
    Nowhere,
}

/// An exchange over its attempts.
pub(super) struct Course {
    pool: Rc<Pool>,
    client: Option<IpAddr>,
    /// When it must be over.
    ends: Instant,
    tried: Vec<BackendId>,
    retries: u8,
    afresh: bool,
    reserved: Option<Box<Reserved>>,
    /// A byte of a response has gone to the client, an interim one's too.
    pub(super) answering: Cell<bool>,
    /// Interim responses so far, passed on or not.
    interims: Cell<u8>,
    /// The client is gone: nothing is tried again for it.
    pub(super) gone: Cell<bool>,
}

impl Course {
    pub(super) fn new(outgoing: &Outgoing, times: &Times, reserved: Option<Box<Reserved>>) -> Self {
        Self {
            pool: outgoing.pool.clone(),
            client: outgoing.client.get(),
            ends: times.ends,
            tried: Vec::new(),
            retries: 0,
            afresh: false,
            reserved,
            answering: Cell::new(false),
            interims: Cell::new(0),
            gone: Cell::new(false),
        }
    }

    /// An interim response has come, and `bytes` go to the client for it; none, if it must not have it.
    pub(super) fn interim(&self, bytes: &[u8]) {
        self.answering.set(self.answering.get() || !bytes.is_empty());
        self.interims.set(self.interims.get().saturating_add(1));
    }

    /// How many interim responses there were.
    pub(super) fn interims(&self) -> u8 {
        self.interims.get()
    }

    fn attempt(&self, service: &Service, picked: &Picked, sent: Sent) -> Attempt {
        Attempt {
            retries: self.retries,
            reused: sent.reused,
            afresh: self.afresh,
            replayable: sent.replayable,
            idempotent: sent.facts.method.is_idempotent(),
            grpc: sent.facts.grpc,
            answering: self.answering.get(),
            overdue: service.now() >= self.ends,
            gone: self.gone.get(),
            trial: picked.is_trial(),
        }
    }

    /// Bytes of an answer's body that are worth holding: it may be tried again if it breaks off.
    pub(super) fn may_hold(&self, service: &Service, picked: &Picked, sent: Sent) -> usize {
        let retry = &picked.pool().rules().retry;
        match after_failure(AttemptFailure::Truncated, self.attempt(service, picked, sent), retry) {
            Next::TryAnother => retry.hold,
            Next::Afresh | Next::Answer => 0,
        }
    }

    /// Whether a request's body is worth keeping while it goes up: how much of it.
    ///
    /// `refusable`: the backend may refuse the request unseen, and then it may be sent again whatever its method.
    pub(super) fn may_replay(&self, picked: &Picked, sent: Sent, refusable: bool) -> usize {
        let retry = &picked.pool().rules().retry;
        let again = self.retries < retry.attempts || sent.reused && !self.afresh;
        let may_run_twice = sent.facts.method.is_idempotent() || sent.facts.grpc && !retry.on.grpc.is_empty();
        if (may_run_twice || refusable) && again { retry.body_buffer } else { 0 }
    }

    /// The answer comes to this: the backend for another attempt, which is made instead of passing it on.
    pub(super) fn after_answer(
        &mut self,
        service: &Service,
        verdict: AttemptFailure,
        picked: &Picked,
        sent: Sent,
    ) -> Option<Picked> {
        match self.onward(service, verdict, picked, sent) {
            Onward::Retry(other) => {
                service.stats.borrow_mut().failed(picked.id(), UpstreamFailure::Status);
                Some(other)
            }
            Onward::Afresh(_) | Onward::Nowhere => None,
        }
    }

    /// An attempt has failed: the backend for another one; `None`: the client is told.
    pub(super) fn after_failed(&mut self, service: &Service, failed: Failed, sent: Sent) -> Option<Picked> {
        let Failed { failure, picked, in_flight, reused } = failed;
        let onward = self.onward(service, failure, &picked, Sent { reused, ..sent });
        let noticed = matches!(onward, Onward::Nowhere) && !self.gone.get();
        match counted_as(failure) {
            // A pooled connection that had died is no failure of the backend.
            Some(counted) if !matches!(onward, Onward::Afresh(_)) => {
                service.stats.borrow_mut().failed(picked.id(), counted);
                in_flight.failed(counted.label(), noticed);
            }
            Some(_) | None => drop(in_flight),
        }
        match onward {
            Onward::Retry(other) | Onward::Afresh(other) => Some(other),
            Onward::Nowhere => None,
        }
    }

    /// Attempts beyond the first.
    pub(super) fn retries(&self) -> u8 {
        self.retries
    }

    /// How the next attempt is made.
    pub(super) fn turn(&self) -> Turn {
        if self.afresh { Turn::NewConnection } else { Turn::Again }
    }

    fn onward(&mut self, service: &Service, failure: AttemptFailure, picked: &Picked, sent: Sent) -> Onward {
        let rules = picked.pool().rules();
        match after_failure(failure, self.attempt(service, picked, sent), &rules.retry) {
            Next::Answer => Onward::Nowhere,
            Next::Afresh => {
                self.afresh = true;
                // It is to blame for nothing, so whoever is next, it may be the same: a client that belongs
                // to it stays there.
                self.pick(service).map_or(Onward::Nowhere, Onward::Afresh)
            }
            Next::TryAnother => {
                self.tried.push(picked.id());
                let Some(other) = self.pick(service) else { return Onward::Nowhere };
                // Where there was no place nobody was asked: that multiplies no load, and the next may have one.
                if failure != AttemptFailure::Full || self.tried.len() > SOUGHT_MAX {
                    if !self.pays_for_retry(service, picked) {
                        service.stats.borrow_mut().retry_denied(picked.id());
                        return Onward::Nowhere;
                    }
                    self.retries += 1;
                    service.stats.borrow_mut().retried(picked.id());
                }
                Onward::Retry(other)
            }
        }
    }

    /// Whether the budget of the pool that failed has a retry.
    fn pays_for_retry(&mut self, service: &Service, failed: &Picked) -> bool {
        match self.reserved.take() {
            Some(reserved) => {
                reserved.spend();
                true
            }
            None => failed.pool().reserve_retry(service.now()).is_some(),
        }
    }

    /// A backend that has not been tried. Never a trial: a retry goes where it is safest.
    fn pick(&self, service: &Service) -> Option<Picked> {
        let asking = Asking { client: self.client, tried: &self.tried, may_retry: false };
        let picked = service.upstreams.pick(&self.pool, &asking)?;
        note_view(service);
        Some(picked)
    }
}
