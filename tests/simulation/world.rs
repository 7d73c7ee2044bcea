//! Virtual time: events in their order, messages on their way, requests that come and end.

use crate::control::{Control, Said};
use crate::draws::Draws;
use crate::scene::{Scene, Truth, Turn};
use crate::shard::{Exchange, Order, Shard};
use crate::watch::Watch;
use std::collections::{BTreeMap, BTreeSet};
use weir::balance::{BackendId, Report, Round, Snapshot};
use weir::health::Will;
use weir::time::{Instant, Micros};

/// How soon a snapshot that a shard did not get is made again.
const AGAIN_AFTER: Micros = Micros::from_ms(5);
/// A retried exchange has so many attempts.
const ATTEMPTS: usize = 3;

enum Event {
    Arrival(usize),
    End(usize, Exchange),
    Probe(u32),
    Tick,
    Turn(Turn),
    Sync(usize),
    Merge,
    Order(usize, Order),
    Snapshot(usize, Snapshot),
    Report(Report),
    Marked(u16, u64),
    Gone(u16, BackendId),
}

impl Event {
    /// It only carries further what has happened, and goes on while time stands still for the rest.
    fn is_word(&self) -> bool {
        !matches!(self, Self::Arrival(_) | Self::End(..) | Self::Probe(_) | Self::Tick | Self::Turn(_))
    }
}

pub(crate) struct World {
    pub(crate) scene: Scene,
    draws: Draws,
    pub(crate) now: Instant,
    /// By time, then in the order in which they were made.
    events: BTreeMap<(Instant, u64), Event>,
    made: u64,
    pub(crate) shards: Vec<Shard>,
    pub(crate) control: Control,
    pub(crate) watch: Watch,
    truths: BTreeMap<u32, Truth>,
    /// By shard: when the last of the orders to it arrives, and of the words from it.
    ordered_until: Vec<Instant>,
    reported_until: Vec<Instant>,
    /// A merge is under way, and which shards are to get its snapshot.
    merge_under_way: bool,
    merged_at: Instant,
    missed: BTreeSet<usize>,
    tick_at: Instant,
    /// What waits while only words go on.
    still: Option<Vec<(Instant, Event)>>,
    pub(crate) arriving: bool,
    /// When control last decided something, or everybody became well.
    pub(crate) last_said: Instant,
}

impl World {
    pub(crate) fn new(seed: u64, scene: Scene) -> Self {
        // Not at the clock's zero, where a difference to "never" would hide.
        let began = Instant::from_us(1_000_000);
        let control = Control::new(&scene, began);
        let now = began + scene.served_before;
        let plans = control.plans();
        let shards = usize::from(scene.shards);
        let mut world = Self {
            draws: Draws::new(seed),
            now,
            events: BTreeMap::new(),
            made: 0,
            shards: (0..scene.shards).map(|shard| Shard::new(shard, scene.policy, &plans)).collect(),
            control,
            watch: Watch::new(&scene),
            truths: plans.iter().map(|plan| (plan.serial, Truth::Well)).collect(),
            ordered_until: vec![now; shards],
            reported_until: vec![now; shards],
            merge_under_way: false,
            merged_at: now,
            missed: BTreeSet::new(),
            tick_at: Instant::NEVER,
            still: None,
            arriving: true,
            last_said: now,
            scene,
        };
        for shard in 0..shards {
            world.next_arrival(shard);
        }
        for plan in plans {
            world.after(Micros::ZERO, Event::Probe(plan.serial));
        }
        for (at, turn) in world.scene.turns.clone() {
            world.after(at, Event::Turn(turn));
        }
        world
    }

    fn after(&mut self, delay: Micros, event: Event) {
        self.at(self.now + delay, event);
    }

    fn at(&mut self, when: Instant, event: Event) {
        match &mut self.still {
            Some(waiting) if !event.is_word() => waiting.push((when, event)),
            Some(_) | None => {
                self.made += 1;
                self.events.insert((when, self.made), event);
            }
        }
    }

    fn delay(&mut self) -> Micros {
        self.draws.up_to(self.scene.delay_max)
    }

    /// Lets `length` pass.
    pub(crate) fn run(&mut self, length: Micros) {
        let end = self.now + length;
        self.run_while(end, |_| true);
        self.now = end;
    }

    /// Lets time pass until `end` or until `go_on` says no; whether that was it.
    pub(crate) fn run_while(&mut self, end: Instant, go_on: impl Fn(&Self) -> bool) -> bool {
        while go_on(self) {
            match self.events.first_entry() {
                Some(first) if first.key().0 <= end => {
                    self.now = first.key().0;
                    let event = first.remove();
                    self.turn(event);
                }
                Some(_) | None => return false,
            }
        }
        true
    }

    /// No exchange begins or ends, nothing is decided, until all words have arrived.
    pub(crate) fn hold_still(&mut self) {
        let began = self.now;
        self.still = Some(Vec::new());
        for ((when, _), event) in std::mem::take(&mut self.events) {
            self.at(when, event);
        }
        let ended = !self.run_while(self.now + Micros::from_s(60), |_| true);
        assert!(ended && self.events.is_empty(), "words go on for ever");
        let stood = self.now.since(began);
        for (when, event) in self.still.take().unwrap_or_default() {
            self.at(when + stood, event);
        }
        self.tick_at = Instant::NEVER;
        self.watch_tick();
    }

    fn turn(&mut self, event: Event) {
        match event {
            Event::Arrival(shard) => self.arrive(shard),
            Event::End(shard, exchange) => self.end(shard, exchange),
            Event::Probe(serial) => self.probe(serial),
            Event::Tick => {
                self.tick_at = Instant::NEVER;
                let said = self.control.tick(self.now);
                self.say(said);
            }
            Event::Turn(turn) => self.happen(turn),
            Event::Sync(shard) => self.report(shard),
            Event::Merge => self.merge(),
            Event::Order(shard, order) => self.obey(shard, order),
            Event::Snapshot(shard, snapshot) => {
                self.shards[shard].view.apply(&snapshot);
            }
            Event::Report(report) => {
                let (due, deltas, said) = self.control.absorb(report, self.now);
                for (id, delta) in deltas {
                    // Of one that was removed nobody asks any more.
                    if let Some(serial) = self.control.serial(id) {
                        self.watch.heard(serial, &delta);
                    }
                }
                self.merge_if(due);
                self.say(said);
            }
            Event::Marked(shard, mark) => self.watch.passed_mark(shard, mark),
            Event::Gone(shard, id) => {
                let due = self.control.gone(shard, id);
                self.merge_if(due);
            }
        }
    }

    fn next_arrival(&mut self, shard: usize) {
        let mean = 1e6 * f64::from(self.scene.shards) / self.scene.arrivals_per_s;
        let next = self.draws.exponential(Micros::from_us(mean as u64));
        self.after(next, Event::Arrival(shard));
    }

    fn arrive(&mut self, shard: usize) {
        if !self.arriving {
            return;
        }
        self.next_arrival(shard);
        let exchange = Exchange {
            client: Draws::new(self.draws.bits() % self.scene.clients).bits(),
            may_retry: self.draws.chance(self.scene.retryable),
            tried: Vec::new(),
            at: BackendId(0),
            trial: false,
        };
        self.send(shard, exchange);
    }

    /// Picks, for a request or its retry.
    fn send(&mut self, shard: usize, mut exchange: Exchange) {
        let (number, now) = (shard as u16, self.now);
        let Some(serial) = self.shards[shard].pick(&mut exchange, now) else {
            let members = self.shards[shard].picker.members();
            self.watch.nobody(&exchange, members);
            return;
        };
        self.watch.picked(number, serial, &exchange, self.shards[shard].picker.members(), now);
        let service = self.draws.exponential(self.scene.service);
        self.after(service, Event::End(shard, exchange));
        self.changed(shard);
    }

    fn end(&mut self, shard: usize, mut exchange: Exchange) {
        let serial = self.shards[shard].serial(exchange.at);
        let passed = match self.truths[&serial] {
            Truth::Well => true,
            Truth::Dead => false,
            Truth::Sick(failing) => !self.draws.chance(failing),
        };
        let gone = self.shards[shard].end(&exchange, passed, self.now);
        self.watch.ended(shard as u16, serial, &exchange, passed);
        if gone {
            self.say_gone(shard, exchange.at);
        }
        self.changed(shard);
        if !passed && exchange.may_retry && exchange.tried.len() + 1 < ATTEMPTS {
            exchange.tried.push(exchange.at);
            self.send(shard, exchange);
        }
    }

    /// A shard's counts have changed: it reports at its next turn.
    fn changed(&mut self, shard: usize) {
        if !std::mem::replace(&mut self.shards[shard].sync_under_way, true) {
            self.after(self.scene.sync, Event::Sync(shard));
        }
    }

    fn report(&mut self, shard: usize) {
        self.shards[shard].sync_under_way = false;
        let Some(report) = self.shards[shard].report() else { return };
        if self.draws.chance(self.scene.loss) {
            self.shards[shard].report_lost(&report);
            self.changed(shard);
            return;
        }
        let arrives = self.now + self.delay();
        self.reported_until[shard] = self.reported_until[shard].max(arrives);
        self.at(arrives, Event::Report(report));
    }

    fn merge_if(&mut self, due: bool) {
        if due {
            self.missed = (0..self.shards.len()).collect();
        }
        if due && !std::mem::replace(&mut self.merge_under_way, true) {
            let earliest = (self.merged_at + self.scene.sync).max(self.now);
            self.at(earliest, Event::Merge);
        }
    }

    fn merge(&mut self) {
        self.merge_under_way = false;
        self.merged_at = self.now;
        let round: Round = self.control.merge(self.now);
        for shard in std::mem::take(&mut self.missed) {
            if self.draws.chance(self.scene.loss) {
                self.missed.insert(shard);
            } else {
                let delay = self.delay();
                self.after(delay, Event::Snapshot(shard, round.for_shard(shard as u16)));
            }
        }
        if !self.missed.is_empty() {
            self.merge_under_way = true;
            self.after(AGAIN_AFTER, Event::Merge);
        }
    }

    /// What control has decided goes to every shard, in order.
    fn say(&mut self, said: Said) {
        for change in &said.changes {
            if let Some(serial) = self.control.serial(BackendId(change.backend)) {
                self.watch.ejected(serial, change, &self.scene, self.control.counts());
            }
        }
        if !said.orders.is_empty() {
            self.last_said = self.now;
        }
        self.watch.ordered(&said.orders, |id| self.control.serial(id));
        for order in &said.orders {
            for shard in 0..self.shards.len() {
                let arrives = (self.now + self.delay()).max(self.ordered_until[shard]);
                self.ordered_until[shard] = arrives;
                self.at(arrives, Event::Order(shard, order.clone()));
            }
        }
        self.watch_tick();
    }

    fn watch_tick(&mut self) {
        let next = self.control.next_tick().max(self.now);
        if next < self.tick_at {
            self.tick_at = next;
            self.at(next, Event::Tick);
        }
    }

    fn obey(&mut self, shard: usize, order: Order) {
        match order {
            Order::Topology(plans) => {
                for id in self.shards[shard].apply(self.scene.policy, &plans) {
                    self.say_gone(shard, id);
                }
                // New numbers have a report due.
                self.changed(shard);
            }
            Order::Traffic(traffic) => self.shards[shard].set_traffic(&traffic),
            Order::Mark(mark) => {
                let arrives = self.after_reports(shard);
                self.at(arrives, Event::Marked(shard as u16, mark));
            }
        }
    }

    fn say_gone(&mut self, shard: usize, id: BackendId) {
        let arrives = self.after_reports(shard);
        self.at(arrives, Event::Gone(shard as u16, id));
    }

    /// When a word from a shard arrives that no earlier one may come after.
    fn after_reports(&mut self, shard: usize) -> Instant {
        let arrives = (self.now + self.delay()).max(self.reported_until[shard]);
        self.reported_until[shard] = arrives;
        arrives
    }

    fn probe(&mut self, serial: u32) {
        let passed = self.truths[&serial] != Truth::Dead;
        let said = self.control.probed(serial, passed, self.now);
        self.say(said);
        let draw = self.draws.bits();
        if let Some(next) = self.control.next_probe(serial, draw) {
            self.after(next, Event::Probe(serial));
        }
    }

    pub(crate) fn happen(&mut self, turn: Turn) {
        let (now, count) = (self.now, self.control.roster.len() as u64);
        let place = |one: u64| (one % count.max(1)) as usize;
        if count == 0 && !matches!(turn, Turn::Add(_)) {
            return;
        }
        let said = match turn {
            Turn::Becomes(one, truth) => {
                self.truths.insert(self.control.roster[place(one)].plan.serial, truth);
                return;
            }
            Turn::Add(written) => {
                let said = self.control.add(written, now);
                if let Some(entry) = self.control.roster.last() {
                    let serial = entry.plan.serial;
                    self.truths.insert(serial, Truth::Well);
                    self.after(Micros::ZERO, Event::Probe(serial));
                }
                said
            }
            Turn::Remove(one) => self.control.remove(place(one), now),
            Turn::Weight(one, weight) => self.control.set_weight(place(one), weight, now),
            Turn::Drain(one) => self.control.set_will(place(one), Will::Draining, now),
            Turn::Maintenance(one) => self.control.set_will(place(one), Will::Maintenance, now),
            Turn::Ready(one) => self.control.set_will(place(one), Will::Ready, now),
        };
        self.say(said);
    }

    /// From here on nothing is wrong with anybody.
    pub(crate) fn heal(&mut self) {
        for place in 0..self.control.roster.len() as u64 {
            self.happen(Turn::Becomes(place, Truth::Well));
            self.happen(Turn::Ready(place));
        }
        self.last_said = self.now;
    }

    /// Whether all get their whole share, and have for so long that what went wrong before is over.
    pub(crate) fn is_calm(&self) -> bool {
        self.now.since(self.last_said) >= Micros::from_ms(400) && self.control.is_calm(self.now)
    }

    /// What is in flight on a backend, over all shards.
    pub(crate) fn in_flight(&self, id: BackendId) -> u32 {
        self.shards.iter().map(|shard| shard.in_flight(id)).sum()
    }
}
