//! Another configuration holds: read and checked aside, applied in place, confirmed by every shard.
//!
//! Whatever can fail fails before anything has changed: reading, parsing, looking names up, binding new
//! listeners, building routers, all of it off this thread where it takes long. Then the difference is
//! applied in one go. Names that move come the same way, with the same configuration.

use super::Desk;
use super::secrets::InUse;
use crate::config::{self, BackendAddress, Checked, Config, Listener};
use crate::control::ConfigFile;
use crate::control::listening::{Group, Opened};
use crate::control::names::Found;
use crate::control::resolve::{all_names, resolve};
use crate::fleet::Addresses;
use crate::fleet::ResolvedAddress;
use crate::fleet::change::{ReloadRefused, Reloaded};
use crate::fleet::difference::{changes, needs_restart};
use crate::fleet::roster::Next;
use crate::log::access::Sink;
use crate::log::record::Journal;
use crate::route::Router;
use crate::sys::{self, clock::unix_ms};
use crate::time::Instant;
use crate::tls::Loaded;
use crate::topology::{ListenerKey, ListenerPlan, Sealing, Topology};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{spawn_blocking, spawn_local};

/// How long control keeps the sockets of a listener that was removed, once every shard knows: they finish
/// the handshakes that have begun and empty the queues.
const CLOSE_AFTER: Duration = Duration::from_secs(2);

/// Changes that a line of the log tells one by one: a new configuration may have thousands.
const LINE_CHANGES: usize = 20;

/// A configuration with all that it needs, of which nothing holds yet.
struct Prepared {
    config: Arc<Config>,
    addresses: Addresses,
    routers: Vec<Arc<Router>>,
    /// By place among the listeners; `None`: its address is held already.
    opened: Vec<Option<Opened>>,
    sealing: Sealing,
    certificates: InUse,
    /// Where the access log goes; `None`: where it goes already.
    sink: Option<Sink>,
}

impl Desk {
    /// Loads the configuration's file again, and returns once every live shard acts on it.
    ///
    /// # Errors
    /// Why nothing was changed, or who has not confirmed it.
    pub async fn reload(&self) -> Result<Reloaded, ReloadRefused> {
        let _one_at_a_time = self.0.reloading.lock().await;
        let began = self.now();
        self.supervised(|supervisor| supervisor.reloading(began));
        let reloaded = self.try_to_reload(began).await;
        self.supervised(|supervisor| supervisor.ready(&self.in_words()));
        match &reloaded {
            Ok(reloaded) => say(reloaded),
            Err(refused @ ReloadRefused::ShuttingDown) => {
                tracing::info!("configuration not loaded: {refused}")
            }
            Err(refused) => {
                tracing::error!("configuration not loaded: {refused}");
            }
        }
        let mut status = self.0.configuration.borrow_mut();
        match &reloaded {
            // It holds, though some shard is late.
            Ok(_) | Err(ReloadRefused::Unconfirmed(_)) => {
                status.last_reload = None;
                status.last_success_unix_s = unix_ms() / 1_000;
                status.reloads += 1;
            }
            // It is not the file's fault, and no alarm.
            Err(ReloadRefused::ShuttingDown) => {}
            Err(refused) => {
                status.last_reload = Some(refused.to_string());
                status.refused += 1;
            }
        }
        reloaded
    }

    async fn try_to_reload(&self, began: Instant) -> Result<Reloaded, ReloadRefused> {
        let source = self.0.source.clone().ok_or(ReloadRefused::NoFile)?;
        let (Checked { config, mut warnings }, hash) = self.aside(move || read(&source)).await??;
        let config = Arc::new(config);
        let Loaded { sealing, certificates, shown, warnings: of_files, read, opened } =
            self.load_secrets(config.clone()).await?;
        let certificates = InUse { listeners: certificates, pools: shown };
        tracing::debug!(opened, changed = read.len(), "certificates and what belongs to them were looked at");
        warnings.extend(of_files);
        let prepared = self.prepare(config, sealing, certificates).await?;
        if !self.is_serving() || self.0.promised.get() {
            return Err(ReloadRefused::ShuttingDown);
        }
        // Kept till later, so that what is large is not taken apart on a shard that has it last.
        let topology = self.0.world.borrow().roster.topology().clone();
        let old = self.config();
        let mut told = changes(&old, &prepared.config);
        let needs_restart = needs_restart(&self.0.started_with, &prepared.config);
        let applying = self.now();
        let (words, gone) = self.apply(prepared)?;
        told.extend(words);
        told.extend(read.iter().map(|file| format!("{} was read", file.display())));
        {
            let mut status = self.0.configuration.borrow_mut();
            status.hash.clone_from(&hash);
            status.needs_restart.clone_from(&needs_restart);
        }
        let confirmed = self.settled(self.0.mark.get()).await;
        close_later(gone, topology);
        confirmed?;
        let now = self.now();
        Ok(Reloaded {
            changes: told,
            needs_restart,
            warnings: warnings.iter().map(ToString::to_string).collect(),
            hash,
            generation: self.0.configuration.borrow().generation,
            took: now - began,
            confirmed_in: now - applying,
        })
    }

    /// Gets everything that a configuration needs.
    async fn prepare(
        &self,
        config: Arc<Config>,
        sealing: Sealing,
        certificates: InUse,
    ) -> Result<Prepared, ReloadRefused> {
        let known = self.0.world.borrow().roster.names().clone();
        let resolved = resolve(&config, &known, &self.0.names).await;
        let addresses = resolved.map_err(|refused| {
            ReloadRefused::Impossible(refused.0.iter().map(ToString::to_string).collect())
        })?;
        let held = self.routers_held(&config);
        let wanted = config.clone();
        let routers = self.aside(move || {
            let build = |(place, held): (usize, Option<Arc<Router>>)| {
                held.unwrap_or_else(|| Arc::new(Router::new(&wanted, place)))
            };
            held.into_iter().enumerate().map(build).collect()
        });
        let opened = self.open(&config).await?;
        let (old, new) = (self.config().access_log.clone(), config.access_log.clone());
        let sink = blocking(move || {
            Journal::open(&old, &new).map_err(|refused| ReloadRefused::Impossible(vec![refused.to_string()]))
        });
        let routers = routers.await?;
        Ok(Prepared { sink: sink.await?, config, addresses, routers, opened, sealing, certificates })
    }

    /// The routers that can stay, by place among the new listeners.
    fn routers_held(&self, new: &Config) -> Vec<Option<Arc<Router>>> {
        let (old, listening) = (self.config(), self.0.listening.borrow());
        let world = self.0.world.borrow();
        let names = |config: &Config| config.pools.iter().map(|pool| pool.name.clone()).collect::<Vec<_>>();
        let same_pools = names(&old) == names(new);
        let routes = |config: &Config, place: usize| {
            let routes = config.routes.iter().filter(move |route| route.listener == place);
            routes.map(|route| (route.host.clone(), route.path.clone(), route.pool)).collect::<Vec<_>>()
        };
        let held = |(place, listener): (usize, &Listener)| {
            let was = old.listeners.iter().position(|other| other.address == listener.address)?;
            let same = same_pools
                && old.listeners[was].pool == listener.pool
                && routes(&old, was) == routes(new, place);
            let key = listening.key_of(&listener.address).filter(|_| same)?;
            let plan = world.roster.listeners().iter().find(|plan| plan.key == key)?;
            Some(plan.router.clone())
        };
        new.listeners.iter().enumerate().map(held).collect()
    }

    /// Opens the listeners whose addresses are not held.
    async fn open(&self, config: &Config) -> Result<Vec<Option<Opened>>, ReloadRefused> {
        let shards = self.0.listening.borrow().shards();
        let mut opened = Vec::new();
        for listener in &config.listeners {
            if self.0.listening.borrow().key_of(&listener.address).is_some() {
                opened.push(None);
                continue;
            }
            let listener = listener.clone();
            let one = blocking(move || {
                Opened::new(&listener, shards).map_err(|error| {
                    ReloadRefused::Impossible(vec![format!("listener {}: {error}", listener.name)])
                })
            });
            opened.push(Some(one.await?));
        }
        Ok(opened)
    }

    /// Makes it hold, here and by messages to the shards. Returns what changed among the backends, and the
    /// listeners that are no more.
    fn apply(&self, prepared: Prepared) -> Result<(Vec<String>, Vec<Group>), ReloadRefused> {
        let Prepared { config, mut addresses, routers, opened, sealing, certificates, sink } = prepared;
        // A name may have moved while the others were looked up.
        for (name, found) in self.0.world.borrow().roster.names() {
            addresses.entry(name.clone()).and_modify(|known| known.clone_from(found));
        }
        let (keys, new) = self.admit(&config, opened);
        let before = self.0.world.borrow().roster.topology().generation;
        let listeners = {
            let world = self.0.world.borrow();
            let held = world.roster.listeners();
            let plan =
                |(place, ((key, rules), router)): (usize, ((&ListenerKey, &Listener), Arc<Router>))| {
                    let before = held.iter().find(|plan| plan.key == *key);
                    let tls = sealing.listeners.get(place).cloned().flatten();
                    let same = before.filter(|plan| {
                        plan.rules == *rules
                            && Arc::ptr_eq(&plan.router, &router)
                            && plan.tls.as_ref().map(Arc::as_ptr) == tls.as_ref().map(Arc::as_ptr)
                    });
                    // It has the connections that it had.
                    let connections = || before.map(|plan| plan.connections.clone()).unwrap_or_default();
                    let new = || ListenerPlan {
                        key: *key,
                        rules: rules.clone(),
                        router: router.clone(),
                        tls: tls.clone(),
                        connections: connections(),
                    };
                    same.cloned().unwrap_or_else(|| Arc::new(new()))
                };
            keys.iter().zip(&config.listeners).zip(routers).enumerate().map(plan).collect()
        };
        let runtime = &config.runtime;
        self.0.life.borrow_mut().set_lengths(runtime.shutdown_delay, runtime.grace);
        // The supervisor listens there still: its sockets are not to be shut down.
        self.let_go(|group| group.is_lent && !keys.contains(&group.key));
        for outbox in self.0.outboxes.borrow_mut().iter_mut() {
            // What a full mailbox does not take now goes out with all the rest.
            outbox.flush();
        }
        let next = Next { config, names: addresses, listeners, sealing: sealing.pools };
        let words = self.follow(next, before)?;
        let gone = self.0.listening.borrow_mut().retain(&keys);
        let listening = self.0.listening.borrow();
        for (shard, outbox) in self.0.outboxes.borrow_mut().iter_mut().enumerate() {
            new.iter().for_each(|key| outbox.accept(listening.of_listener(*key, shard)));
        }
        drop(listening);
        self.follow_names();
        self.follow_secrets(certificates);
        if let Some(journal) = &self.0.journal {
            journal.configure(&self.config(), sink);
        }
        self.mark();
        Ok((words, gone))
    }

    /// Takes new listeners in: every listener's key, and the keys of the new ones.
    fn admit(&self, config: &Config, opened: Vec<Option<Opened>>) -> (Vec<ListenerKey>, Vec<ListenerKey>) {
        let mut listening = self.0.listening.borrow_mut();
        let (mut keys, mut new) = (Vec::new(), Vec::new());
        for (listener, opened) in config.listeners.iter().zip(opened) {
            match (listening.key_of(&listener.address), opened) {
                (None, Some(opened)) => {
                    let key = listening.admit(listener, opened);
                    keys.push(key);
                    new.push(key);
                }
                (Some(key), _) => {
                    listening.follow(key, listener);
                    keys.push(key);
                }
                // Opened aside or held: reloads come one at a time.
                (None, None) => {}
            }
        }
        // Sockets were opened for shards that are no more as well.
        if let Some(heir) = self.heir() {
            let life = self.0.life.borrow();
            let dead = (0..listening.shards()).filter(|shard| !life.is_alive(*shard as u16));
            dead.for_each(|dead| drop(listening.adopt(dead, usize::from(heir))));
        }
        (keys, new)
    }

    /// The world follows, and everybody hears of it.
    fn follow(&self, next: Next, before: u64) -> Result<Vec<String>, ReloadRefused> {
        let (told, now) = (self.told(), self.now());
        let followed = self.0.world.borrow_mut().follow(next, &told, now);
        let (words, effects) = followed.map_err(|bad| ReloadRefused::Impossible(vec![bad.to_string()]))?;
        self.send_topology(before);
        self.carry_out(effects);
        self.follow_groups();
        self.want_round();
        self.save();
        Ok(words)
    }

    /// Looks up again the names that the configuration has, and no others.
    pub(super) fn follow_names(&self) {
        let config = self.config();
        let mut watched = self.0.watched.borrow_mut();
        let wanted: HashSet<&BackendAddress> = all_names(&config).collect();
        watched.retain(|name, key| {
            let stays = wanted.contains(name);
            if !stays {
                self.0.names.forget(*key);
            }
            stays
        });
        for name in wanted {
            if !watched.contains_key(name) {
                let key = self.0.last_key.get() + 1;
                self.0.last_key.set(key);
                watched.insert(name.clone(), key);
                self.0.names.watch(key, name.clone(), self.0.found.clone());
            }
        }
    }

    /// A name came to something.
    pub(in crate::control) fn found(&self, key: u64, found: Found) {
        let named =
            self.0.watched.borrow().iter().find(|(_, other)| **other == key).map(|(name, _)| name.clone());
        let Some(name) = named else { return };
        match found {
            Err(failed) => {
                tracing::warn!(%failed, "what was known of the name is kept");
            }
            Ok(addresses) => self.moved(&name, addresses),
        }
    }

    fn moved(&self, name: &BackendAddress, addresses: Vec<ResolvedAddress>) {
        let (config, mut names, listeners, sealing, before) = {
            let world = self.0.world.borrow();
            let roster = &world.roster;
            let listeners = roster.listeners().to_vec();
            let sealing = roster.sealing().to_vec();
            (
                roster.config().clone(),
                roster.names().clone(),
                listeners,
                sealing,
                roster.topology().generation,
            )
        };
        if names.get(name) == Some(&addresses) || self.0.promised.get() {
            return;
        }
        names.insert(name.clone(), addresses);
        match self.follow(Next { config, names, listeners, sealing }, before) {
            Ok(words) => tracing::info!(%name, "the name's addresses changed: {}", in_a_line(&words)),
            // Checks have been made ready for this configuration before.
            Err(refused) => tracing::error!(%name, %refused, "the name's new addresses are not used"),
        }
        self.mark();
    }
}

/// The file's text.
pub(super) fn text(source: &ConfigFile) -> Result<String, ReloadRefused> {
    // Reading a pipe would wait for ever.
    let is_file = fs::metadata(&source.path).map(|meta| meta.is_file());
    let read = is_file.and_then(|is_file| match is_file {
        true => fs::read_to_string(&source.path),
        false => Err(io::Error::other("it is no regular file")),
    });
    read.map_err(|cause| ReloadRefused::Unreadable {
        path: source.path.display().to_string(),
        cause: cause.to_string(),
    })
}

/// Reads and checks the file and what it names; also its text's hash.
fn read(source: &ConfigFile) -> Result<(Checked, String), ReloadRefused> {
    let path = source.path.display().to_string();
    let text = text(source)?;
    let named = |path: &Path, max| sys::file::read(path, max).map_err(|error| error.to_string());
    let checked = config::parse_with(&text, &path, &named)
        .map_err(|faults| ReloadRefused::Wrong(faults.0.iter().map(ToString::to_string).collect()))?;
    Ok((checked, ConfigFile::hash(&text)))
}

/// On a thread for what waits.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReloadRefused> + Send + 'static,
) -> Result<T, ReloadRefused> {
    let joined = spawn_blocking(work).await;
    joined.unwrap_or_else(|error| Err(ReloadRefused::Impossible(vec![format!("a fault of weir: {error}")])))
}

/// Lets go of the sockets of listeners that are no more, once shards have emptied their queues, and of the
/// topology that held before.
fn close_later(gone: Vec<Group>, topology: Arc<Topology>) {
    spawn_local(async move {
        tokio::time::sleep(CLOSE_AFTER).await;
        drop((gone, topology));
    });
}

fn say(reloaded: &Reloaded) {
    let Reloaded { changes, needs_restart, warnings, hash, took, confirmed_in, .. } = reloaded;
    warnings.iter().for_each(|warning| tracing::warn!("configuration: {warning}"));
    let what = if changes.is_empty() { "nothing changed".to_owned() } else { in_a_line(changes) };
    tracing::info!(%hash, %took, %confirmed_in, "configuration loaded: {what}");
    if !needs_restart.is_empty() {
        tracing::warn!(keys = %needs_restart.join(", "), "these keys of the configuration only hold after a restart (or weir run --takeover)");
    }
}

/// The first of so many changes, and how many there are beyond.
fn in_a_line(changes: &[String]) -> String {
    match changes.split_at_checked(LINE_CHANGES) {
        Some((first, more)) if !more.is_empty() => {
            format!("{}; and {} more changes", first.join("; "), more.len())
        }
        Some(_) | None => changes.join("; "),
    }
}
