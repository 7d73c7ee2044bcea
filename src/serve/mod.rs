//! A checked configuration, run: limits, addresses, sockets, privileges, shards, control, in this order.
//!
//! Here: putting the parts together at start and taking them apart at the end. Whatever can be refused is
//! refused before the first client is accepted. Not here: anything that happens in between (`control`,
//! `shard`). Called by `cli`.

mod activated;
mod descriptors;
mod privileges;
mod refused;
mod takeover;

pub use activated::ActivatedRefused;
pub use descriptors::descriptors_wanted;
pub use privileges::{Account, PrivilegesRefused};
pub use refused::StartError;
pub use takeover::TakeoverRefused;

use crate::admin::{self, AdminListener, Token};
use crate::config::{Config, ListenAddress, expand};
use crate::control::{self, ConfigFile, Desk, InUse, Listening, Secrets, ShardLink, StateFile, Supervisor};
use crate::fleet::World;
use crate::log;
use crate::log::record::{Journal, Recorder};
use crate::mesh::{Neighbours, Pulse, Receiver, Refused, Sender, ToControl, ToShard, mailbox};
use crate::ring::{RECOMMENDED, probe};
use crate::shard::{self, Descriptors, ShardPlan};
use crate::sys::{clock, cpu};
use crate::time::Micros;
use crate::tls::{Loaded, Loader, Tickets};
use activated::Activated;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use takeover::{AdminSockets, Inheritance, MeetingPoint, Predecessor, give};
use tokio::task::spawn_local;

/// Messages that a shard may be behind.
const SHARD_MAIL: usize = 1024;

/// Messages that control may be behind, from all shards.
const CONTROL_MAIL: usize = 8192;

/// How long shards that were told to stop may take, and how often it is looked whether they have.
const END_WITHIN: Micros = Micros::from_s(2);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The process's exit status when control has failed.
const CONTROL_FAILED: u8 = 1;

/// Where a running weir is to be found; ports are the real ones, where 0 was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The listeners by name.
    pub listeners: Vec<(String, ListenAddress)>,
    /// The admin surface.
    pub admin: Vec<ListenAddress>,
}

/// How a process comes by its sockets and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// It binds, and knows nothing.
    Afresh,
    /// It gets them from the process that runs on one of its addresses, which then leaves.
    Takeover,
}

/// What is run.
pub struct Program {
    /// A checked configuration.
    pub config: Config,
    /// Where it came from; `None`: it cannot be loaded again.
    pub source: Option<ConfigFile>,
    /// How the process comes by its sockets and its state.
    pub begin: Begin,
}

impl From<Config> for Program {
    /// Run afresh, from no file.
    fn from(config: Config) -> Self {
        Self { config, source: None, begin: Begin::Afresh }
    }
}

/// Runs a program until a signal ends it, or a successor; the process's exit code. `on_ready` is called once
/// all shards accept.
///
/// # Errors
/// Why it cannot start. Nothing is left running then.
pub fn run(program: impl Into<Program>, on_ready: impl FnOnce(&Addresses)) -> Result<u8, StartError> {
    let Program { config, source, begin } = program.into();
    // A second run in one process (tests) goes on with the log of the first.
    let _ = log::init(&config.log);
    let kernel = probe()?;
    if kernel < RECOMMENDED {
        tracing::warn!(%kernel, recommended = %RECOMMENDED, "this kernel has known io_uring faults; a newer one is better");
    }
    let cores = expand(&config.runtime.cores, &cpu::available())?;
    let account = Account::of(&config.runtime)?;
    account.as_ref().map_or(Ok(()), Account::prepare)?;
    let descriptors = descriptors::share(&config, cores.len());
    let token = Token::of(&config.admin)?;
    let mut inherited = match begin {
        Begin::Afresh => None,
        Begin::Takeover => Some(inherit(&config, account.as_ref())?),
    };
    let (state, kept) = config.runtime.state_file.as_deref().map(StateFile::open).unzip();
    // Who is taken over from knows what the state file knows, and more.
    let carried = inherited.as_mut().and_then(Inheritance::carried).or(kept.flatten());
    let tickets = Arc::new(Tickets::new(clock::now()));
    if let Some(keys) = inherited.as_ref().map(Inheritance::ticket_keys) {
        tickets.take_over(keys, clock::now());
    }
    // Before the privileges go: keys may be root's alone.
    let mut loader = Loader::new(tickets.clone());
    let Loaded { sealing, certificates, shown, warnings, .. } = loader.load(&config)?;
    warnings.iter().for_each(|warning| tracing::warn!("configuration: {warning}"));
    let found = control::look_up(&config, carried.as_ref())?;
    let Opened { listening, admin, files, admin_files } = open(&config, cores.len(), &mut inherited)?;
    privileges::give_up(account.as_ref(), files.iter().chain(&admin_files))?;
    privileges::tell_what_is_out_of_reach(&config, source.as_ref().map(|source| source.path.as_path()));
    let addresses = Addresses {
        listeners: listening.addresses(),
        admin: admin.iter().filter_map(AdminListener::address).collect(),
    };
    let config = Arc::new(config);
    let plans = listening.plans(&config, &sealing);
    // What is kept here is kept to the end, and a reload is to be able to let go of it.
    drop(sealing.listeners);
    let world =
        World::of(config.clone(), found, plans, sealing.pools, listening.shards(), carried, clock::now())?;
    let (to_control, mail) = mailbox(CONTROL_MAIL)?;
    let (journal, recorders) = Journal::start(cores.len(), &config)?;
    let journal = Rc::new(journal);
    let shards = Shards::start(&config, descriptors, &world, &cores, recorders, &to_control)?;
    drop(to_control);
    let listening = Rc::new(RefCell::new(listening));
    let admin_files = Rc::new(RefCell::new(admin_files));
    let links = shards.links.clone();
    let supervisor = Supervisor::from_environment(inherited.as_ref().map(|old| old.pid().unsigned_abs()));
    // Once control has begun nothing can be refused any more.
    let begun = |desk: Desk| {
        accept(&links, &listening.borrow());
        if let Some(old) = inherited {
            succeed(old);
        }
        tell(&addresses, links.len());
        on_ready(&addresses);
        desk.supervise(supervisor);
        surface(desk, admin, token, listening.clone(), admin_files.clone());
    };
    let links = shards.links.clone();
    let setup = control::Setup {
        world,
        source,
        state,
        tls: Secrets { loader, tickets, certificates: InUse { listeners: certificates, pools: shown } },
        listening: listening.clone(),
        journal: Some(journal.clone()),
        links,
        clock: clock::now,
    };
    let ended = shards.control(setup, mail, begun);
    // What the shards sent last is written.
    drop(journal);
    listening.borrow().remove_files();
    for file in admin_files.take() {
        // It may have been removed by hand, or lie where weir's user may remove nothing.
        let _ = std::fs::remove_file(file);
    }
    ended
}

/// All sockets, and the files of the Unix ones among them, without the supervisor's.
struct Opened {
    listening: Listening,
    admin: Vec<AdminListener>,
    files: Vec<PathBuf>,
    admin_files: Vec<PathBuf>,
}

/// Opens all sockets that nobody has opened before: the process that is taken over from, or the supervisor.
fn open(config: &Config, shards: usize, inherited: &mut Option<Inheritance>) -> Result<Opened, StartError> {
    let mut activated = Activated::take(config)?;
    let lent_admin = activated.admins();
    let mut lent = activated.listeners();
    if let Some(old) = &inherited {
        let addresses = config.listeners.iter().map(|listener| &listener.address);
        lent.extend(addresses.filter(|address| old.is_lent(address)).cloned());
    }
    let mut listening = Listening::bind(&config.listeners, shards, |address| {
        let old = inherited.as_mut().map(|old| old.listener(address)).unwrap_or_default();
        if old.is_empty() { activated.listener(address) } else { old }
    })?;
    listening.lent(&lent);
    let admin = admin::bind_around(&config.admin, |address| {
        inherited.as_mut().and_then(|old| old.admin(address)).or_else(|| activated.admin(address))
    })?;
    let file = |address: &ListenAddress| match address {
        ListenAddress::Unix(path) => Some(path.clone()),
        ListenAddress::Tcp(_) => None,
    };
    let own = listening.groups().iter().filter(|group| !group.is_lent);
    let files = own.filter_map(|group| file(&group.address)).collect();
    let own = config.admin.listen.iter().filter(|address| !lent_admin.contains(address));
    let admin_files = own.filter_map(file).collect();
    Ok(Opened { listening, admin, files, admin_files })
}

fn inherit(config: &Config, account: Option<&Account>) -> Result<Inheritance, TakeoverRefused> {
    let listeners = config.listeners.iter().map(|listener| &listener.address);
    let addresses: Vec<_> = listeners.chain(&config.admin.listen).collect();
    takeover::take(&addresses, account.map(Account::uid))
}

/// Has the old process leave. If it does not say that it will, both accept: no client notices.
fn succeed(old: Inheritance) {
    let pid = old.pid();
    match old.serving() {
        Ok(()) => tracing::info!(pid, "has taken over; the old process finishes what it has and leaves"),
        Err(error) => tracing::warn!(%error, "has taken over, but the old process may still accept"),
    }
}

fn tell(addresses: &Addresses, shards: usize) {
    for (name, address) in &addresses.listeners {
        tracing::info!(listener = name, %address, shards, "accepting");
    }
    for address in &addresses.admin {
        tracing::info!(%address, "admin");
    }
}

/// The running shards. Dropped before control has led them to their end, it stops them.
struct Shards {
    threads: Vec<JoinHandle<()>>,
    links: Vec<ShardLink>,
}

impl Shards {
    /// Starts them all. None accepts yet: were anything refused after one has accepted, its clients would be
    /// cut off.
    fn start(
        config: &Arc<Config>,
        descriptors: Descriptors,
        world: &World,
        cores: &[usize],
        recorders: Vec<Recorder>,
        to_control: &Sender<ToControl>,
    ) -> Result<Self, StartError> {
        let mut shards = Self { threads: Vec::new(), links: Vec::new() };
        let mailboxes = cores.iter().map(|_| mailbox(SHARD_MAIL)).collect::<Result<Vec<_>, _>>()?;
        let (to_shards, mails): (Vec<_>, Vec<_>) = mailboxes.into_iter().unzip();
        let neighbours = Neighbours::of(to_shards.clone());
        let ends = to_shards.into_iter().zip(mails).zip(neighbours);
        for (((number, core), recorder), ends) in cores.iter().enumerate().zip(recorders).zip(ends) {
            let ((to_shard, mail), neighbours) = ends;
            let pulse = Arc::new(Pulse::default());
            shards.links.push(ShardLink { to_shard, pulse: pulse.clone() });
            let plan = ShardPlan {
                number: number as u16,
                shards: cores.len(),
                core: *core,
                runtime: config.runtime.clone(),
                descriptors,
                topology: world.topology().clone(),
                pulse,
                sockets: Vec::new(),
                mail,
                neighbours,
                to_control: to_control.clone(),
            };
            shards.threads.push(shard::start(plan, recorder)?);
        }
        Ok(shards)
    }

    /// Hands the thread to control until the process is to end.
    fn control(
        mut self,
        setup: control::Setup,
        mail: Receiver<ToControl>,
        begun: impl FnOnce(Desk),
    ) -> Result<u8, StartError> {
        let ran = catch_unwind(AssertUnwindSafe(|| control::run(setup, mail, begun)));
        let code = match ran {
            Ok(ended) => ended?.code(),
            // What control knew may be half changed, and shards cannot do without it for long.
            Err(_) => {
                tracing::error!(
                    "control has failed: stopping all shards, and exiting with an error for the supervisor to start weir again"
                );
                CONTROL_FAILED
            }
        };
        self.end();
        Ok(code)
    }

    /// Stops them. One that does not end in time, because it stalls, ends with the process.
    fn end(&mut self) {
        let until = clock::now() + END_WITHIN;
        self.threads.retain(|thread| !thread.is_finished());
        while !self.threads.is_empty() && clock::now() < until {
            // One that has ended takes no more mail; one whose mailbox is full is told again.
            self.links.retain(|link| matches!(link.to_shard.send(ToShard::Stop), Err(Refused::Full(_))));
            #[allow(
                clippy::disallowed_methods,
                reason = "no shard runs on this thread, nor control any more"
            )]
            thread::sleep(LOOK_EVERY);
            self.threads.retain(|thread| !thread.is_finished());
        }
        if !self.threads.is_empty() {
            tracing::error!(shards = self.threads.len(), "shards do not stop: leaving without them");
        }
        self.links.clear();
        self.threads.clear();
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        self.end();
    }
}

/// Has each shard accept on its sockets. Who connects until it does waits in the queue.
fn accept(shards: &[ShardLink], listening: &Listening) {
    for (number, link) in shards.iter().enumerate() {
        // Its mailbox is all but empty yet; if its thread has ended, control hears of that.
        let _ = link.to_shard.send(ToShard::Accept(listening.of_shard(number)));
    }
}

/// What is served beside the data path: the admin surface, and a successor.
fn surface(
    desk: Desk,
    admin: Vec<AdminListener>,
    token: Option<Token>,
    listening: Rc<RefCell<Listening>>,
    admin_files: Rc<RefCell<Vec<PathBuf>>>,
) {
    let sockets = RefCell::new(AdminSockets::of(&admin));
    let admin_accepts = admin::serve(admin, token, &desk);
    let running = Predecessor { desk, listening, admin: sockets, admin_accepts, admin_files };
    match MeetingPoint::open() {
        Ok(point) => drop(spawn_local(async {
            if let Err(error) = give(point, running).await {
                tracing::warn!(%error, "nobody can take over from this process");
            }
        })),
        Err(error) => tracing::warn!(%error, "nobody can take over from this process"),
    }
}
