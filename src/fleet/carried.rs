//! What a successor must know so that nobody notices the change: the state of backends, by name.
//!
//! Plain data for two readers: a new process that takes over (`serve::takeover`), and the state file
//! (`runtime.state_file`). Points of time are ages or remainders in microseconds, since another process's,
//! and after a reboot another kernel's, clock has another zero; who keeps it for longer than a moment tells
//! by how much it [has aged](Carried::aged). Beside each run-time value stands the configured one that it
//! replaced: where the configuration now says something else, the configuration wins.

use super::status::Will;
use serde::{Deserialize, Serialize};

/// The form's number; another one is not read.
pub const VERSION: u32 = 1;

/// Everything that is carried.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// [`VERSION`].
    pub version: u32,
    /// By name, in the roster's order.
    pub pools: Vec<CarriedPool>,
    /// What the names in the configuration last resolved to.
    #[serde(default)]
    pub names: Vec<CarriedName>,
}

/// A pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CarriedPool {
    /// Its name.
    pub name: String,
    /// Its backends.
    pub backends: Vec<CarriedBackend>,
    /// Names of configured backends that an operator removed, and their addresses as configured then.
    #[serde(default)]
    pub removed: Vec<CarriedRemoval>,
}

/// A configured backend that an operator removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedRemoval {
    /// Its name.
    pub name: String,
    /// What the configuration said of it.
    pub configured: Configured,
}

/// What the configuration says of a backend: if it says something else now, run-time changes of this
/// backend are forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    /// As written.
    pub address: String,
    /// 1 to 256.
    pub weight: u16,
    /// Traffic only when no other is usable.
    pub backup: bool,
}

/// A backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CarriedBackend {
    /// Its name.
    pub name: String,
    /// Where it is, as `Destination` is written: state is only taken over for the same address.
    pub address: String,
    /// What the configuration says; `None`: it was added at run time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured: Option<Configured>,
    /// The weight that holds.
    pub weight: u16,
    /// What the operator wants.
    #[serde(default)]
    pub will: Will,
    /// What its check says; `None`: it is not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CarriedCheck>,
    /// It was ejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejection: Option<CarriedEjection>,
    /// It was ejected before, and is in traffic again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readmitted: Option<CarriedReadmission>,
    /// How long ago it began its slow start; `None`: it has its whole share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_up_us_ago: Option<u64>,
    /// Its state, for whoever reads since when it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<CarriedState>,
}

/// A backend's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedState {
    /// `Condition::word`.
    pub word: String,
    /// How long it has been so.
    pub since_us_ago: u64,
}

/// What a check says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedCheck {
    /// Up or down; an unchecked one is not carried.
    pub up: bool,
    /// How long it has been so.
    pub since_us_ago: u64,
    /// Why.
    pub why: String,
}

/// An ejection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedEjection {
    /// How long until it is tried again; 0: it is being tried.
    pub remaining_us: u64,
    /// How often it was ejected in a row; the next one lasts longer.
    pub times: u32,
    /// How long ago it was ejected.
    pub since_us_ago: u64,
    /// Why.
    pub why: String,
}

/// Ejections that are over, but not forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedReadmission {
    /// How many; the next one lasts longer for each.
    pub times: u32,
    /// How long ago it came back.
    pub came_back_us_ago: u64,
}

/// A name in the configuration and the addresses that it had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedName {
    /// As written in the configuration: "app.internal:8080", "_http._tcp.app.internal".
    pub name: String,
    /// What it resolved to, as `Destination` is written, with a weight where the record has one.
    pub found: Vec<(String, Option<u16>)>,
    /// Those of `found` that are only for when the others do not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<String>,
    /// For how long the answer may still be used without asking again.
    pub fresh_for_us: u64,
}

impl Carried {
    /// The same, `us` microseconds later.
    pub fn aged(mut self, us: u64) -> Self {
        for backend in self.pools.iter_mut().flat_map(|pool| &mut pool.backends) {
            if let Some(check) = &mut backend.check {
                check.since_us_ago = check.since_us_ago.saturating_add(us);
            }
            if let Some(ejection) = &mut backend.ejection {
                ejection.remaining_us = ejection.remaining_us.saturating_sub(us);
                ejection.since_us_ago = ejection.since_us_ago.saturating_add(us);
            }
            if let Some(ago) = &mut backend.came_up_us_ago {
                *ago = ago.saturating_add(us);
            }
            if let Some(readmitted) = &mut backend.readmitted {
                readmitted.came_back_us_ago = readmitted.came_back_us_ago.saturating_add(us);
            }
            if let Some(state) = &mut backend.state {
                state.since_us_ago = state.since_us_ago.saturating_add(us);
            }
        }
        for name in &mut self.names {
            name.fresh_for_us = name.fresh_for_us.saturating_sub(us);
        }
        self
    }

    /// What outlives a restart: what an operator changed, not what checks and exchanges found out.
    pub fn only_changes(mut self) -> Self {
        for pool in &mut self.pools {
            pool.backends.retain_mut(|backend| {
                (backend.check, backend.ejection, backend.readmitted) = (None, None, None);
                (backend.came_up_us_ago, backend.state) = (None, None);
                backend.will != Will::Ready
                    || backend
                        .configured
                        .as_ref()
                        .is_none_or(|configured| configured.weight != backend.weight)
            });
        }
        self.pools.retain(|pool| !pool.backends.is_empty() || !pool.removed.is_empty());
        self.names.clear();
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn backend(name: &str) -> CarriedBackend {
        let configured = Configured { address: "127.0.0.1:80".into(), weight: 1, backup: false };
        CarriedBackend {
            name: name.into(),
            address: "127.0.0.1:80".into(),
            configured: Some(configured),
            weight: 1,
            ..CarriedBackend::default()
        }
    }

    fn carried(backends: Vec<CarriedBackend>) -> Carried {
        let pool = CarriedPool { name: "app".into(), backends, removed: vec![] };
        Carried { version: VERSION, pools: vec![pool], names: vec![] }
    }

    #[test]
    fn what_is_kept_for_a_while_ages() {
        let ejection =
            CarriedEjection { remaining_us: 5, times: 2, since_us_ago: 3, why: "5 failures".into() };
        let mut ejected = backend("a");
        (ejected.ejection, ejected.came_up_us_ago) = (Some(ejection), Some(1));
        let aged = carried(vec![ejected]).aged(7);
        let backend = &aged.pools[0].backends[0];
        let ejection = backend.ejection.as_ref().unwrap();
        assert_eq!((ejection.remaining_us, ejection.since_us_ago, backend.came_up_us_ago), (0, 10, Some(8)));
    }

    #[test]
    fn only_what_an_operator_changed_outlives_a_restart() {
        let check = Some(CarriedCheck { up: false, since_us_ago: 1, why: "refused".into() });
        let down = CarriedBackend { check: check.clone(), ..backend("down") };
        let heavy = CarriedBackend { weight: 9, check, ..backend("heavy") };
        let drained = CarriedBackend { will: Will::Draining, ..backend("drained") };
        let added = CarriedBackend { configured: None, ..backend("added") };
        let kept = carried(vec![down, heavy, drained, added]).only_changes();
        let names: Vec<&str> = kept.pools[0].backends.iter().map(|backend| &*backend.name).collect();
        assert_eq!(names, ["heavy", "drained", "added"]);
        assert!(kept.pools[0].backends.iter().all(|backend| backend.check.is_none()));
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Carried>(&text).unwrap(), kept);
    }
}
