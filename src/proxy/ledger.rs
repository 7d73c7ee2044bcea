//! The records of the exchanges under way, if somebody wants any: one a connection, known by its seat.
//!
//! A record is begun when the request is there, added to by whoever knows something, and ended with the
//! exchange; then it is decided whether it is wanted, and it goes to the shard's recorder (`log::record`).
//! Kept beside the connections' futures, so that an idle connection pays nothing; when nothing is wanted, a
//! call costs one look at a counter. The request's id is kept here too, for its answer.

use super::connection::Client;
use super::exchange::Times;
use super::request::draft_line;
use super::service::Service;
use crate::balance::Draws;
use crate::log::record::{Draft, Ending, Recorder, Text};
use crate::metrics::Refusal;
use crate::time::Instant;
use crate::topology::Recording;
use crate::upstream::Picked;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;

/// Drafts that a shard keeps for the next exchanges.
const SPARE_MAX: usize = 256;

/// A shard's.
pub(super) struct Ledger {
    recording: Cell<Recording>,
    /// By seat.
    open: RefCell<Vec<Option<Box<Draft>>>>,
    /// How many there are.
    count: Cell<usize>,
    #[allow(clippy::vec_box, reason = "a draft goes from here to its seat and back as it is")]
    spare: RefCell<Vec<Box<Draft>>>,
    recorder: RefCell<Recorder>,
    /// They draw the samples.
    draws: RefCell<Draws>,
}

impl Ledger {
    /// `seed`: of the samples.
    pub(super) fn new(recorder: Recorder, seed: u64) -> Self {
        Self {
            recording: Cell::default(),
            open: RefCell::default(),
            count: Cell::new(0),
            spare: RefCell::default(),
            recorder: RefCell::new(recorder),
            draws: RefCell::new(Draws::new(seed)),
        }
    }

    /// What is wanted from now on.
    pub(super) fn want(&self, recording: Recording) {
        self.recording.set(recording);
    }

    /// What is wanted.
    pub(super) fn recording(&self) -> Recording {
        self.recording.get()
    }

    /// Calls `with` with the field line that names the request in this seat; it is empty if there is none.
    pub(super) fn with_id_line<T>(&self, seat: u32, with: impl FnOnce(&[u8]) -> T) -> T {
        if self.count.get() == 0 {
            return with(b"");
        }
        let open = self.open.borrow();
        with(open.get(seat as usize).and_then(Option::as_deref).map_or(b"", Draft::id_line))
    }

    /// An exchange begins.
    pub(super) fn begin(
        &self,
        seat: u32,
        now: Instant,
        client: Option<IpAddr>,
        fill: impl FnOnce(&mut Draft),
    ) {
        let mut draft = self.spare.borrow_mut().pop().unwrap_or_default();
        draft.begin(now, client);
        fill(&mut draft);
        let mut open = self.open.borrow_mut();
        let seat = seat as usize;
        if open.len() <= seat {
            open.resize_with(seat + 1, || None);
        }
        if open[seat].replace(draft).is_none() {
            self.count.set(self.count.get() + 1);
        }
    }

    /// Whether the exchange in this seat is recorded.
    fn has(&self, seat: u32) -> bool {
        self.count.get() > 0 && self.open.borrow().get(seat as usize).is_some_and(Option::is_some)
    }

    /// All exchanges that are still under way are over.
    fn end_all(&self, now: Instant) {
        let seats = self.open.borrow().len() as u32;
        (0..seats).for_each(|seat| {
            self.end(seat, now, |draft| draft.entry.ending = Ending::Lost(Refusal::Stopped));
        });
        self.send_due(now, true);
    }

    /// Something is known of the exchange in this seat, if it is recorded.
    pub(super) fn note(&self, seat: u32, change: impl FnOnce(&mut Draft)) {
        if self.count.get() == 0 {
            return;
        }
        if let Some(Some(draft)) = self.open.borrow_mut().get_mut(seat as usize) {
            change(draft);
        }
    }

    /// The exchange in this seat is over, if it is recorded.
    pub(super) fn end(&self, seat: u32, now: Instant, change: impl FnOnce(&mut Draft)) {
        if self.count.get() == 0 {
            return;
        }
        let ended = self.open.borrow_mut().get_mut(seat as usize).and_then(Option::take);
        let Some(mut draft) = ended else { return };
        self.count.set(self.count.get() - 1);
        change(&mut draft);
        let entry = &mut draft.entry;
        entry.whole = now.since(entry.began);
        let recording = self.recording.get();
        // One that was begun for its id alone has no texts.
        let has_texts = entry.has(Text::Listener);
        entry.line = recording.lines.filter(|_| has_texts).is_some_and(|lines| {
            entry.failed()
                || entry.whole >= lines.slow
                || lines.sample.has((self.draws.borrow_mut().bits() >> 32) as u32)
        });
        entry.span = has_texts && recording.exports && entry.trace.is_some_and(|context| context.sampled);
        if entry.line || entry.span {
            self.recorder.borrow_mut().take(&draft, now);
        }
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(draft);
        }
    }

    /// Sends on what has waited long enough; all of it, if `all`. Called once a turn.
    pub(super) fn send_due(&self, now: Instant, all: bool) {
        let mut recorder = self.recorder.borrow_mut();
        if all || now >= recorder.due() {
            recorder.send();
        }
    }

    /// When something will have waited long enough.
    pub(super) fn due(&self) -> Instant {
        self.recorder.borrow().due()
    }
}

impl Service {
    /// Sends on the records that have waited long enough; all of them, if `all`.
    pub fn send_records(&self, now: Instant, all: bool) {
        self.ledger.send_due(now, all);
    }

    /// The shard stops: what is still under way is recorded as it stands, and all of it is sent on.
    pub fn end_records(&self) {
        self.ledger.end_all(self.now());
    }

    /// When records will have waited long enough.
    pub fn records_due(&self) -> Instant {
        self.ledger.due()
    }
}

impl Client {
    /// Something is known of the exchange under way.
    pub(super) fn note(&self, change: impl FnOnce(&mut Draft)) {
        self.service.ledger.note(self.seat, change);
    }

    /// A request is about to be refused, or given up, that may not have been read.
    pub(super) fn begin_unread(&self) {
        let (service, rules) = (&self.service, self.rules());
        let ledger = &service.ledger;
        let lines = ledger.recording().lines.is_some();
        if (lines || rules.request_id.is_some()) && !ledger.has(self.seat) {
            let marker = &mut service.scratch.borrow_mut().marker;
            marker.mark_unread(&service.marks_of(&rules, None));
            let fill = |draft: &mut Draft| {
                if lines {
                    draft_line(draft, &self.stream, &self.listener.named(), self.input.bytes());
                }
                draft.set_id_line(marker.marks().id_line);
            };
            ledger.begin(self.seat, service.now(), self.peer.address(), fill);
        }
    }

    /// An attempt at this backend begins.
    pub(super) fn note_attempt(&self, picked: &Picked) {
        self.note(|draft| {
            let pool = picked.pool();
            if draft.text(Text::Pool) != pool.name().as_bytes() {
                draft.set(Text::Pool, pool.name().as_bytes());
            }
            draft.set(Text::Backend, picked.backend_name().as_bytes());
            draft.entry.connect = None;
            draft.entry.first_byte = None;
        });
    }

    /// The answer has gone down whole.
    pub(super) fn record_answered(&self, times: &Times, bytes_out: u64) {
        self.record(|draft| {
            draft.entry.own = times.own;
            draft.entry.bytes_out = bytes_out;
        });
    }

    /// The exchange has ended otherwise.
    pub(super) fn record_ended(&self, ending: Ending) {
        self.record(|draft| draft.entry.ending = ending);
    }

    /// weir itself answers with this status and so many bytes. If no backend could, the draft says why.
    pub(super) fn record_refused(&self, status: u16, refusal: Refusal, bytes_out: u64) {
        self.record(|draft| {
            draft.entry.bytes_out = bytes_out;
            let failure = match draft.entry.ending {
                Ending::Cut(failure) => Some(failure),
                _ => None,
            };
            draft.entry.status = status;
            draft.entry.ending = Ending::Refused(refusal, failure);
        });
    }

    fn record(&self, change: impl FnOnce(&mut Draft)) {
        self.service.ledger.end(self.seat, self.service.now(), change);
    }
}
