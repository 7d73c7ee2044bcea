//! `runtime.cores`: which cores the shards run on.
//!
//! Here: reading the key ("auto", a count, a list) and [`expand`], which fits it to the cores that the
//! process may use. Which those are is an argument: asking the kernel is `sys`'s part. `control` calls it
//! at start, `weir check` to tell beforehand.

use super::fault::Wrong;
use super::model::Cores;
use super::values::{self, quoted};
use std::collections::BTreeSet;
use std::fmt;
use toml::de::DeValue;

/// Linux's CPU sets hold so many cores (`CPU_SETSIZE`), and more shards than that are a slip.
const CORES_MAX: usize = 1024;

/// Why shards cannot run on the cores that the configuration names.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoresRefused {
    /// The process may use no core.
    #[error("this process may use no core; look at its CPU affinity (taskset -p) and its cpuset")]
    NoneAvailable,
    /// More shards than cores.
    #[error(
        "runtime.cores = {wanted}, but this process may use only {}: cores {}; use {} or fewer, or \"auto\"",
        available.len(), Ranges(available), available.len()
    )]
    TooFew {
        /// What `runtime.cores` says.
        wanted: usize,
        /// What the process may use.
        available: Vec<usize>,
    },
    /// Cores that do not exist, or that the process may not use.
    #[error(
        "runtime.cores names {}, but this process may use only cores {}; use these, or \"auto\"",
        Ranges(missing),
        Ranges(available)
    )]
    NotAvailable {
        /// What `runtime.cores` names in vain.
        missing: Vec<usize>,
        /// What the process may use.
        available: Vec<usize>,
    },
}

/// The core of each shard, where `available` are the cores that the process may use.
///
/// # Errors
/// If `cores` asks for more or others than `available`; the error names both.
pub fn expand(cores: &Cores, available: &[usize]) -> Result<Vec<usize>, CoresRefused> {
    if available.is_empty() {
        return Err(CoresRefused::NoneAvailable);
    }
    match cores {
        Cores::Auto => Ok(available.to_vec()),
        Cores::Count(wanted) => available
            .get(..*wanted)
            .map(<[usize]>::to_vec)
            .ok_or_else(|| CoresRefused::TooFew { wanted: *wanted, available: available.to_vec() }),
        Cores::List(list) => {
            let missing: Vec<_> = list.iter().copied().filter(|core| !available.contains(core)).collect();
            if missing.is_empty() {
                Ok(list.clone())
            } else {
                Err(CoresRefused::NotAvailable { missing, available: available.to_vec() })
            }
        }
    }
}

/// Cores as an operator writes them: "0-3,8".
struct Ranges<'a>(&'a [usize]);

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.iter().copied().collect::<BTreeSet<_>>().into_iter().peekable();
        let mut comma = "";
        while let Some(first) = sorted.next() {
            let mut last = first;
            while let Some(next) = sorted.next_if(|core| *core == last + 1) {
                last = next;
            }
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

/// The key's value: "auto", a count, or a list such as "0-3,8".
pub(super) fn read(value: &DeValue<'_>) -> Result<Cores, Wrong> {
    match value {
        DeValue::Integer(_) => {
            values::integer(value, 1..=CORES_MAX as u64).map(|count| Cores::Count(count as usize))
        }
        DeValue::String(text) if text == "auto" => Ok(Cores::Auto),
        DeValue::String(text) => list(text).map(Cores::List),
        DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => {
            let what = format!("{} names no cores", values::shown(value));
            Err(Wrong::new(what, "write \"auto\", a count such as 4, or a list in quotes such as \"0-3,8\""))
        }
    }
}

fn list(text: &str) -> Result<Vec<usize>, Wrong> {
    let mut cores = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>()) else {
            let what = format!("{} is no core and no range of cores", quoted(part));
            return Err(Wrong::new(what, "write \"auto\", a count such as 4, or a list such as \"0-3,8\""));
        };
        if last < first {
            return Err(Wrong::new(
                format!("{} runs backwards", quoted(part)),
                format!("write {last}-{first}"),
            ));
        }
        if last >= CORES_MAX || cores.len() + (last - first) >= CORES_MAX {
            let what = format!("{} goes beyond the {CORES_MAX} cores that weir can use", quoted(part));
            return Err(Wrong::new(what, format!("use cores from 0 to {}", CORES_MAX - 1)));
        }
        cores.extend(first..=last);
    }
    Ok(cores)
}

/// The cores that a list names more than once.
pub(super) fn repeated(cores: &Cores) -> Vec<usize> {
    let Cores::List(list) = cores else { return Vec::new() };
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<_> = list.iter().copied().filter(|core| !seen.insert(*core)).collect();
    repeated.into_iter().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cores_is_read_in_its_order_and_with_its_repetitions() {
        for (text, expected) in [
            ("0", vec![0]),
            ("0-3,8", vec![0, 1, 2, 3, 8]),
            ("8, 0 - 1", vec![8, 0, 1]),
            ("0,0,1,1", vec![0, 0, 1, 1]),
            ("1023", vec![1023]),
        ] {
            assert_eq!(list(text).unwrap(), expected, "{text}");
        }
        for text in ["", ",", "0,", "a", "-1", "3-0", "0-", "1024", "0-99999999999999999999", "0..3", "0-1-2"]
        {
            assert!(list(text).is_err(), "{text}");
        }
        assert!(list("0-1023").is_ok());
        assert!(list("0-1023,0").is_err(), "1025 shards");
    }

    #[test]
    fn cores_are_fitted_to_what_the_process_may_use() {
        let available = [2, 3, 6];
        assert_eq!(expand(&Cores::Auto, &available), Ok(vec![2, 3, 6]));
        assert_eq!(expand(&Cores::Count(2), &available), Ok(vec![2, 3]));
        assert_eq!(expand(&Cores::List(vec![6, 6, 2]), &available), Ok(vec![6, 6, 2]));
    }

    #[test]
    fn cores_that_are_not_there_are_refused_with_those_that_are() {
        let refused = |cores, available: &[usize]| expand(&cores, available).unwrap_err().to_string();
        assert_eq!(
            refused(Cores::Count(8), &[0, 1, 2, 3, 8]),
            "runtime.cores = 8, but this process may use only 5: cores 0-3,8; use 5 or fewer, or \"auto\""
        );
        assert_eq!(
            refused(Cores::List(vec![9, 0, 4, 5, 9]), &[0, 1]),
            "runtime.cores names 4-5,9, but this process may use only cores 0-1; use these, or \"auto\""
        );
        assert!(refused(Cores::Auto, &[]).contains("taskset"));
    }

    #[test]
    fn repeated_cores_are_told_once_each() {
        assert_eq!(repeated(&Cores::List(vec![1, 1, 0, 1, 2, 2])), [1, 2]);
        assert_eq!(repeated(&Cores::List(vec![0, 1])), [0_usize; 0]);
        assert_eq!(repeated(&Cores::Count(2)), [0_usize; 0]);
    }
}
