//! Run-time changes from before, held against the configuration that holds now.
//!
//! A change was made against what the configuration said then. Where it still says so the change holds;
//! where it says something else whoever wrote that had the last word, and the change is forgotten. So a
//! weight in the file is never without effect because of a `weir ctl weight` of last year. Pure. Asked at
//! start with what the state file had, and at a reload with what the roster has.

use super::carried::{Carried, CarriedBackend, CarriedPool, Configured};
use super::status::Will;
use crate::config::{Backend, BackendAddress, Pool};
use std::fmt;

/// A run-time change that no longer holds; prints as a line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// The pool's name.
    pub pool: String,
    /// The backend's name; `None`: all of the pool.
    pub backend: Option<String>,
    /// What the configuration says now.
    pub because: Because,
}

/// What the configuration says that a change gave way to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// It has no such pool.
    NoPool,
    /// It has no such backend.
    NoBackend,
    /// It says something else of the backend than when the change was made.
    SaysNow(Configured),
    /// It has a backend of the name that was added.
    HasItNow,
}

impl fmt::Display for Forgotten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool {}: ", self.pool)?;
        if let Some(backend) = &self.backend {
            write!(f, "backend {backend}: ")?;
        }
        f.write_str("what was changed at run time is forgotten, ")?;
        match &self.because {
            Because::NoPool => f.write_str("since the configuration has no such pool"),
            Because::NoBackend => f.write_str("since the configuration has no such backend"),
            Because::HasItNow => f.write_str("since the configuration has a backend of this name now"),
            Because::SaysNow(Configured { address, weight, backup }) => {
                let backup = if *backup { ", backup" } else { "" };
                write!(
                    f,
                    "since the configuration says something else now: {address}, weight {weight}{backup}"
                )
            }
        }
    }
}

/// What a configuration says of a backend.
pub fn configured(backend: &Backend) -> Configured {
    Configured { address: backend.address.to_string(), weight: backend.weight, backup: backend.backup }
}

/// What of `kept` holds with `pools`, and what does not.
///
/// Of a backend of which the configuration says something else now, what checks and exchanges found out
/// stays as long as its address does.
pub fn merge(kept: Carried, pools: &[Pool]) -> (Carried, Vec<Forgotten>) {
    let mut forgotten = Vec::new();
    let Carried { version, pools: kept_pools, names } = kept;
    let merge_pool = |kept: CarriedPool| {
        let Some(pool) = pools.iter().find(|pool| pool.name == kept.name) else {
            if is_changed(&kept) {
                forgotten.push(Forgotten { pool: kept.name, backend: None, because: Because::NoPool });
            }
            return None;
        };
        Some(merged_pool(kept, pool, &mut forgotten))
    };
    let pools = kept_pools.into_iter().filter_map(merge_pool).collect();
    (Carried { version, pools, names }, forgotten)
}

fn merged_pool(kept: CarriedPool, pool: &Pool, forgotten: &mut Vec<Forgotten>) -> CarriedPool {
    let CarriedPool { name, backends, removed } = kept;
    let mut forget = |backend: &str, because| {
        forgotten.push(Forgotten { pool: name.clone(), backend: Some(backend.to_owned()), because });
    };
    let mut merged = Vec::new();
    for backend in backends {
        let was_changed = is_change(&backend);
        let named = backend.name.clone();
        let (left, because) = merged_backend(backend, pool);
        merged.extend(left);
        if let Some(because) = because.filter(|_| was_changed) {
            forget(&named, because);
        }
    }
    let still_removed = removed.into_iter().filter(|removal| {
        match said(pool, &removal.name, &removal.configured) {
            Some(now) if now == removal.configured => true,
            Some(now) => {
                forget(&removal.name, Because::SaysNow(now));
                false
            }
            // It is gone as was wanted.
            None => false,
        }
    });
    let removed = still_removed.collect();
    CarriedPool { name, backends: merged, removed }
}

/// What is left of the backend, and why it is not all.
fn merged_backend(backend: CarriedBackend, pool: &Pool) -> (Option<CarriedBackend>, Option<Because>) {
    let Some(was) = &backend.configured else {
        let is_named = pool.backends.iter().any(|now| now.name == backend.name);
        return if is_named { (None, Some(Because::HasItNow)) } else { (Some(backend), None) };
    };
    match said(pool, &backend.name, was) {
        None => (None, Some(Because::NoBackend)),
        Some(now) if now == *was => (Some(backend), None),
        Some(now) if now.address != was.address => (None, Some(Because::SaysNow(now))),
        Some(now) => {
            let (will, weight) = (Will::default(), now.weight);
            let left = CarriedBackend { will, weight, configured: Some(now.clone()), ..backend };
            (Some(left), Some(Because::SaysNow(now)))
        }
    }
}

/// What `pool` says of the backend `name`. One of the addresses of a name has no name of its own in the
/// configuration; it is found by the name that it comes from.
fn said(pool: &Pool, name: &str, was: &Configured) -> Option<Configured> {
    let resolves = |backend: &&Backend| {
        matches!(backend.address, BackendAddress::Name(..) | BackendAddress::Service(_))
            && backend.address.to_string() == was.address
    };
    let by_name = pool.backends.iter().find(|backend| backend.name == name);
    by_name.or_else(|| pool.backends.iter().find(resolves)).map(configured)
}

fn is_changed(pool: &CarriedPool) -> bool {
    !pool.removed.is_empty() || pool.backends.iter().any(is_change)
}

/// Whether an operator changed something of it.
fn is_change(backend: &CarriedBackend) -> bool {
    backend.will != Will::Ready
        || backend.configured.as_ref().is_none_or(|configured| configured.weight != backend.weight)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::carried::{CarriedCheck, CarriedRemoval, VERSION};
    use super::*;
    use crate::config;
    use proptest::prelude::*;

    const PORTS: [u16; 3] = [1, 2, 3];

    /// One pool of three backends, "a" to "c", and a name, "n".
    fn pools(lines_of_a: &str) -> Vec<Pool> {
        let mut text = "[[listener]]\naddress = \"127.0.0.1:1\"\npool = \"app\"\n[pool.app]\n".to_owned();
        for (name, port) in ["a", "b", "c"].iter().zip(PORTS) {
            let lines = if *name == "a" && !lines_of_a.is_empty() {
                lines_of_a.to_owned()
            } else {
                format!("address = \"10.0.0.{port}:80\"")
            };
            text.push_str(&format!("[[pool.app.backend]]\nname = \"{name}\"\n{lines}\n"));
        }
        text.push_str("[[pool.app.backend]]\nname = \"n\"\naddress = \"app.internal:80\"\nweight = 4\n");
        config::parse(&text, "weir.toml").unwrap().config.pools
    }

    fn carried(backends: Vec<CarriedBackend>, removed: Vec<CarriedRemoval>) -> Carried {
        let pools = vec![CarriedPool { name: "app".into(), backends, removed }];
        Carried { version: VERSION, pools, names: vec![] }
    }

    fn a() -> CarriedBackend {
        let check = Some(CarriedCheck { up: true, since_us_ago: 5, why: "200".into() });
        CarriedBackend {
            name: "a".into(),
            address: "10.0.0.1:80".into(),
            configured: Some(Configured { address: "10.0.0.1:80".into(), weight: 1, backup: false }),
            weight: 7,
            will: Will::Draining,
            check,
            ..CarriedBackend::default()
        }
    }

    fn added(name: &str) -> CarriedBackend {
        CarriedBackend { name: name.into(), address: "10.0.0.9:80".into(), weight: 2, ..Default::default() }
    }

    #[test]
    fn a_change_holds_as_long_as_the_configuration_says_the_same() {
        let resolved = CarriedBackend {
            name: "n (10.0.0.7:80)".into(),
            address: "10.0.0.7:80".into(),
            configured: Some(Configured { address: "app.internal:80".into(), weight: 4, backup: false }),
            ..a()
        };
        let b = Configured { address: "10.0.0.2:80".into(), weight: 1, backup: false };
        let removal = CarriedRemoval { name: "b".into(), configured: b };
        let kept = carried(vec![a(), added("x"), resolved], vec![removal]);
        assert_eq!(merge(kept.clone(), &pools("")), (kept, vec![]));
    }

    #[test]
    fn a_changed_configuration_wins_and_what_is_known_of_the_same_address_stays() {
        for (now, says) in [
            ("address = \"10.0.0.1:80\"\nweight = 3", "10.0.0.1:80, weight 3"),
            ("address = \"10.0.0.1:80\"\nweight = 7", "10.0.0.1:80, weight 7"),
            ("address = \"10.0.0.1:80\"\nbackup = true", "10.0.0.1:80, weight 1, backup"),
            ("address = \"10.0.0.5:80\"", "10.0.0.5:80, weight 1"),
        ] {
            let pools = pools(now);
            let (merged, forgotten) = merge(carried(vec![a()], vec![]), &pools);
            let [told] = forgotten.as_slice() else { panic!("{now}: {forgotten:?}") };
            assert!(told.to_string().starts_with("pool app: backend a: "), "{told}");
            assert!(told.to_string().ends_with(&format!("says something else now: {says}")), "{told}");
            if says.starts_with("10.0.0.5") {
                assert_eq!(merged.pools[0].backends, [], "another address is another backend");
                continue;
            }
            let now = configured(&pools[0].backends[0]);
            let left = CarriedBackend { will: Will::Ready, weight: now.weight, configured: Some(now), ..a() };
            assert_eq!(merged.pools[0].backends, [left]);
            assert_eq!(merged.only_changes().pools, []);
        }
    }

    #[test]
    fn what_was_removed_comes_back_when_it_is_configured_anew() {
        let removal = |weight| CarriedRemoval {
            name: "a".into(),
            configured: Configured { address: "10.0.0.1:80".into(), weight, backup: false },
        };
        let removed = |removal| merge(carried(vec![], vec![removal]), &pools(""));
        assert_eq!(removed(removal(1)).0.pools[0].removed, [removal(1)]);
        let (merged, forgotten) = removed(removal(2));
        assert_eq!(merged.pools[0].removed, []);
        assert_eq!(forgotten.len(), 1);
        let gone = CarriedRemoval { name: "z".into(), ..removal(1) };
        let (merged, forgotten) = removed(gone);
        assert_eq!((merged.pools[0].removed.len(), forgotten), (0, vec![]), "nothing is left to remove");
    }

    #[test]
    fn names_that_the_configuration_has_taken_or_dropped_are_forgotten() {
        let mut kept = carried(vec![added("b"), CarriedBackend { name: "z".into(), ..a() }], vec![]);
        let unchanged = CarriedBackend { will: Will::Ready, weight: 1, name: "y".into(), ..a() };
        kept.pools[0].backends.push(unchanged);
        kept.pools.push(CarriedPool { name: "gone".into(), backends: vec![added("x")], removed: vec![] });
        kept.pools.push(CarriedPool { name: "gone too".into(), ..Default::default() });
        let (merged, forgotten) = merge(kept, &pools(""));
        assert_eq!(merged, carried(vec![], vec![]));
        let told: Vec<_> = forgotten.iter().map(|f| (f.backend.as_deref(), &f.because)).collect();
        let expected =
            [(Some("b"), &Because::HasItNow), (Some("z"), &Because::NoBackend), (None, &Because::NoPool)];
        assert_eq!(told, expected, "and nothing of what nobody had changed");
    }

    prop_compose! {
        fn any_backend()(
            name in "[a-cnx]",
            configured in prop::option::of((1u16..4, any::<bool>(), 1u16..4)),
            weight in 1u16..4,
            will in prop::sample::select(vec![Will::Ready, Will::Draining, Will::Maintenance]),
        ) -> CarriedBackend {
            let configured = configured.map(|(port, backup, weight)| {
                Configured { address: format!("10.0.0.{port}:80"), weight, backup }
            });
            let address = configured.as_ref().map_or("10.0.0.9:80".into(), |c| c.address.clone());
            CarriedBackend { name, address, configured, weight, will, ..Default::default() }
        }
    }

    prop_compose! {
        fn any_carried()(
            pools in prop::collection::vec(("app|old", prop::collection::vec(any_backend(), 0..6)), 0..3),
        ) -> Carried {
            let pools = pools.into_iter().map(|(name, backends)| {
                let removed = backends.iter().filter_map(|backend: &CarriedBackend| {
                    let configured = backend.configured.clone()?;
                    (backend.weight == 1).then(|| CarriedRemoval { name: backend.name.clone(), configured })
                });
                CarriedPool { name, removed: removed.collect(), backends }
            });
            Carried { version: VERSION, pools: pools.collect(), names: vec![] }
        }
    }

    proptest! {
        #[test]
        fn what_is_merged_agrees_with_the_configuration_whatever_was_kept(
            kept in any_carried(), weight in 1u16..4, backup in any::<bool>(),
        ) {
            let pools = pools(&format!("address = \"10.0.0.1:80\"\nweight = {weight}\nbackup = {backup}"));
            let (merged, _) = merge(kept.clone(), &pools);
            for pool in &merged.pools {
                prop_assert_eq!(&pool.name, "app");
                for backend in &pool.backends {
                    let now = pools[0].backends.iter().find(|now| now.name == backend.name).map(configured);
                    prop_assert_eq!(&backend.configured, &now);
                }
                for removal in &pool.removed {
                    let now = pools[0].backends.iter().find(|now| now.name == removal.name).unwrap();
                    prop_assert_eq!(&removal.configured, &configured(now));
                }
            }
            // A change holds if and only if it was made against what is configured.
            let held = merged.pools.iter().flat_map(|pool| &pool.backends).filter(|b| is_change(b)).count();
            let against = kept.pools.iter().filter(|pool| pool.name == "app").flat_map(|pool| &pool.backends);
            let standing = against.filter(|backend| {
                let now = pools[0].backends.iter().find(|now| now.name == backend.name).map(configured);
                is_change(backend) && backend.configured == now
            });
            prop_assert_eq!(held, standing.count());
            let again = merge(merged.clone(), &pools);
            prop_assert_eq!(again, (merged, vec![]), "what has given way once is settled");
        }
    }
}
