//! One round against one target: finds it, starts the threads, adds up what they count, ends them.
//!
//! Not here: what a thread does (`worker`), the order of rounds (`mod.rs`), what is said (`progress`, `report`).

use super::link::Door;
use super::plan::{Plan, Target};
use super::progress::Progress;
use super::schedule::{Load, Schedule};
use super::tally::Tally;
use super::worker::{Orders, Trouble, Wanted, Word, start};
use crate::sys::clock;
use crate::time::{Instant, Micros};
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

/// How long a connection may take to be made, unless an answer may take less.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// From when the connections are made until the first request is due: the threads' time to wake.
const BEFORE_START: Micros = Micros::from_ms(5);

/// What a round came to.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) tally: Tally,
    /// How long requests that count became due.
    pub(super) length: Micros,
    /// Until the last of them was over, if that was later.
    pub(super) took: Micros,
}

impl Round {
    /// Answers per second.
    pub(super) fn answered_rate(&self) -> f64 {
        self.tally.answers() as f64 * 1e6 / self.took.as_us().max(1) as f64
    }
}

/// Several rounds of one target as one.
pub(super) fn merged(rounds: &[Round]) -> Round {
    let mut sum = Round { tally: Tally::default(), length: Micros::ZERO, took: Micros::ZERO };
    for round in rounds {
        sum.tally.add(&round.tally);
        sum.length = Micros::from_us(sum.length.as_us() + round.length.as_us());
        sum.took = Micros::from_us(sum.took.as_us() + round.took.as_us());
    }
    sum
}

/// Whoever runs this wants it to end: Ctrl-C, or SIGTERM.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    /// One has come.
    pub(super) came: bool,
}

impl Interrupts {
    /// From now on these signals end nothing by themselves.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            came: false,
        })
    }

    async fn next(&mut self) {
        select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.came = true;
    }
}

/// Where the target is: the first of its addresses that takes a connection.
///
/// # Errors
/// None does; what to look at.
pub(super) fn find(target: &Target, timeout: Micros) -> Result<SocketAddr, String> {
    let url = &target.url;
    let addresses = (target.host.as_str(), target.port).to_socket_addrs().map_err(|error| {
        format!("{url}: no address is known for {}: {error}; see to the name", target.host)
    })?;
    let mut cause = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_WITHIN.min(timeout.as_duration())) {
            Ok(_) => return Ok(address),
            Err(error) => cause = error,
        }
    }
    Err(format!(
        "{url} takes no connection: {cause}; see that it runs, and that the host and the port ({}) are right",
        target.port
    ))
}

/// The running threads, as the main thread sees them.
struct Threads {
    tallies: Vec<Arc<Mutex<Tally>>>,
    handles: Vec<std::thread::JoinHandle<()>>,
    words: mpsc::UnboundedReceiver<Word>,
    wanted: watch::Sender<Wanted>,
}

impl Threads {
    fn start(plan: &Plan, load: &Load, target: &Target, address: SocketAddr) -> Result<Self, Trouble> {
        let timeout = plan.timeout.as_duration();
        let request = plan.request(target).map_err(io::Error::other)?;
        let (said, words) = mpsc::unbounded_channel();
        let (wanted, seen) = watch::channel(Wanted::Wait);
        let mut threads = Self { tallies: Vec::new(), handles: Vec::new(), words, wanted };
        for part in 0..plan.threads {
            let orders = Orders {
                schedule: Schedule::new(load, part as u64, plan.threads as u64),
                connections: plan.connections / plan.threads
                    + usize::from(part < plan.connections % plan.threads),
                door: Door { address, within: CONNECT_WITHIN.min(timeout) },
                request: request.clone(),
                warmup: plan.warmup,
                patience: timeout,
            };
            let tally = Arc::new(Mutex::default());
            threads.handles.push(start(orders, Arc::clone(&tally), said.clone(), seen.clone())?);
            threads.tallies.push(tally);
        }
        Ok(threads)
    }

    /// What was counted since this was last asked.
    fn collect(&self) -> Tally {
        let mut sum = Tally::default();
        for tally in &self.tallies {
            // Made before the lock is taken: the thread would wait.
            let fresh = Tally::default();
            let counted =
                std::mem::replace(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner), fresh);
            sum.add(&counted);
        }
        sum
    }

    /// Waits for their end, which has come or was asked for.
    fn join(self) -> Result<(), Trouble> {
        drop(self.wanted);
        let broken = self.handles.into_iter().filter_map(|handle| handle.join().err()).count();
        match broken {
            0 => Ok(()),
            _ => Err(io::Error::other("a thread of the generator has broken down").into()),
        }
    }
}

/// Runs a round.
///
/// # Errors
/// It could not begin, or not go on.
pub(super) async fn run(
    plan: &Plan,
    load: &Load,
    (target, address): (&Target, SocketAddr),
    interrupts: &mut Interrupts,
    progress: &mut Progress,
) -> Result<Round, Trouble> {
    let mut threads = Threads::start(plan, load, target, address)?;
    let (mut ready, mut total, mut start, mut end) = (0, Tally::default(), None::<Instant>, None);
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        select! {
            word = threads.words.recv() => match word {
                None => break,
                Some(Word::Failed(trouble)) => {
                    threads.wanted.send_replace(Wanted::EndNow);
                    return threads.join().and(Err(trouble));
                }
                Some(Word::Ready) => {
                    ready += 1;
                    if ready == plan.threads {
                        let at = clock::now() + BEFORE_START;
                        start = Some(at);
                        // Who wanted the end meanwhile gets it.
                        threads.wanted.send_if_modified(|wanted| {
                            let waits = *wanted == Wanted::Wait;
                            if waits { *wanted = Wanted::Go(at); }
                            waits
                        });
                        ticks.reset();
                    }
                }
            },
            _ = ticks.tick(), if start.is_some() => {
                let counted = threads.collect();
                total.add(&counted);
                let elapsed = clock::now() - start.unwrap_or_default();
                progress.tick(&counted, &total, elapsed);
            }
            () = interrupts.next() => {
                end.get_or_insert_with(clock::now);
                threads.wanted.send_modify(|wanted| {
                    *wanted = if *wanted >= Wanted::End { Wanted::EndNow } else { Wanted::End };
                });
            }
        }
    }
    total.add(&threads.collect());
    progress.clear();
    threads.join()?;
    let from = start.unwrap_or_default() + plan.warmup;
    let length = end.map_or(plan.measured(), |end| plan.measured().min(end - from));
    let took = length.max(total.last - from);
    Ok(Round { tally: total, length, took })
}
