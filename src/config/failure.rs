//! `[pool.NAME.retry]` and `[pool.NAME.eject]`: what a pool does about backends that fail.
//!
//! Here: reading both sections, and what in them contradicts itself or the pool. Not here: the rules that
//! follow from them (the rooms `exchange` and `health`).

use super::fault::{Place, Report, Wrong};
use super::model::{Backend, BackendAddress, Eject, GrpcStatus, Retry, RetryOn, Runtime};
use super::reference::nearest;
use super::section::Section;
use super::values::{self, one_of, quoted, size_text};
use crate::time::Micros;
use toml::de::DeValue;

/// The conditions of `retry.on` that are words; all others are statuses.
const CONDITIONS: &[&str] = &["connect", "no_response", "truncated", "response_timeout"];

/// What stands before the name of a status of gRPC.
const GRPC: &str = "grpc-";

/// The statuses by which a backend says that it, or the request, failed (RFC 9110, 15.5 and 15.6).
const STATUSES: std::ops::RangeInclusive<u16> = 400..=599;

/// What is kept of one exchange may not be more than this: it is kept in memory.
const KEPT_MAX: u64 = 16 << 20;

/// Reads a pool's retry rule.
pub(super) fn retry(mut s: Section<'_>, runtime: &Runtime) -> Retry {
    let default = Retry::default();
    let written = on(&mut s);
    let retry = Retry {
        attempts: s.integer("attempts", 0..=10, default.attempts.into()) as u8,
        on: if s.has("on") { written } else { default.on },
        hold: s.size("hold", 0..=KEPT_MAX, default.hold as u64) as usize,
        budget: s.read("budget", values::share).unwrap_or(default.budget),
        budget_min_per_s: s.integer("budget_min_per_s", 0..=1_000_000, default.budget_min_per_s.into())
            as u32,
        body_buffer: s.size("body_buffer", 0..=KEPT_MAX, default.body_buffer as u64) as usize,
    };
    let contradiction = retry_contradiction(&s, &retry).or_else(|| too_large(&s, &retry, runtime));
    if let Some((key, wrong)) = contradiction {
        s.report.warn(&s.place_of(key), wrong);
    }
    s.finish(&[]);
    retry
}

/// The first thing in the section that cannot have been meant, and the key that says it.
fn retry_contradiction(s: &Section<'_>, retry: &Retry) -> Option<(&'static str, Wrong)> {
    const BESIDE: &[&str] = &["on", "hold", "budget", "budget_min_per_s", "body_buffer"];
    let on = &retry.on;
    let nothing = !(on.connect || on.no_response || on.truncated || on.response_timeout);
    if retry.attempts == 0 {
        let key = BESIDE.iter().find(|key| s.has(key))?;
        Some((key, Wrong::new("nothing is tried again with attempts = 0", "remove it, or raise attempts")))
    } else if nothing && on.statuses.is_empty() && on.grpc.is_empty() {
        Some(("on", Wrong::new("nothing is tried again", "write what is, or attempts = 0")))
    } else if retry.budget == 0.0 && retry.budget_min_per_s == 0 {
        let what = "with budget_min_per_s = 0 beside it no retry is ever allowed";
        Some(("budget", Wrong::new(what, "raise one of the two, or write attempts = 0")))
    } else if s.has("hold") && retry.hold > 0 && !on.truncated {
        let what = "holding answers back helps only where \"truncated\" is tried again";
        Some(("hold", Wrong::new(what, "add \"truncated\" to on, or write hold = \"0B\"")))
    } else if s.has("on") && on.truncated && retry.hold == 0 {
        let what = "no answer is held back, so none that is \"truncated\" can be tried again";
        Some(("hold", Wrong::new(what, "raise hold, or remove \"truncated\" from on")))
    } else {
        None
    }
}

/// What is to be kept of one exchange, but is more than all receive buffers of a shard.
fn too_large(s: &Section<'_>, retry: &Retry, runtime: &Runtime) -> Option<(&'static str, Wrong)> {
    let buffers = runtime.buffer_size as u64 * u64::from(runtime.buffers);
    let kept = [("hold", retry.hold), ("body_buffer", retry.body_buffer)];
    let (key, bytes) = kept.into_iter().find(|(key, bytes)| s.has(key) && *bytes as u64 > buffers)?;
    let (bytes, buffers) = (size_text(bytes as u64), size_text(buffers));
    let what = format!("{bytes} are more than all receive buffers of a shard, which have {buffers}");
    Some((key, Wrong::new(what, "lower it, or raise runtime.buffers")))
}

/// `on`: conditions and statuses, in any order.
fn on(s: &mut Section<'_>) -> RetryOn {
    let mut on = RetryOn {
        connect: false,
        no_response: false,
        truncated: false,
        response_timeout: false,
        statuses: Vec::new(),
        grpc: Vec::new(),
    };
    let report = s.report;
    for entry in s.list("on", "a list: on = [\"connect\", \"no_response\", \"truncated\", \"503\"]") {
        if let Err(wrong) = condition(entry.value.get_ref(), &mut on) {
            report.error(&entry.place, wrong);
        }
    }
    on.statuses.sort_unstable();
    on.statuses.dedup();
    on.grpc.sort_unstable();
    on.grpc.dedup();
    on
}

fn condition(value: &DeValue<'_>, on: &mut RetryOn) -> Result<(), Wrong> {
    let text = values::text(value)?;
    match text {
        "connect" => on.connect = true,
        "no_response" => on.no_response = true,
        "truncated" => on.truncated = true,
        "response_timeout" => on.response_timeout = true,
        _ => match text.strip_prefix(GRPC) {
            Some(name) => on.grpc.push(grpc_status(name)?),
            None => on.statuses.push(status(text)?),
        },
    }
    Ok(())
}

fn status(text: &str) -> Result<u16, Wrong> {
    match text.parse::<u16>() {
        Ok(status) if STATUSES.contains(&status) => Ok(status),
        Ok(_) => {
            let what = format!("{} is no status of a failure", quoted(text));
            Err(Wrong::new(what, "use statuses from 400 to 599"))
        }
        Err(_) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            let what = format!("{} is no status", quoted(text));
            Err(Wrong::new(what, "write each status for itself: \"500\", \"502\", \"503\""))
        }
        Err(_) => Err(unknown(text)),
    }
}

/// The status of gRPC of this name.
fn grpc_status(name: &str) -> Result<GrpcStatus, Wrong> {
    let failures = GrpcStatus::ALL.iter().filter(|status| **status != GrpcStatus::Ok);
    match GrpcStatus::named(name) {
        Some(GrpcStatus::Ok) => {
            Err(Wrong::new("\"grpc-ok\" is no status of a failure", "use one such as \"grpc-unavailable\""))
        }
        Some(status) => Ok(status),
        None => {
            let words: Vec<_> = failures.map(|status| status.word()).collect();
            let remedy = match nearest(name, words.iter().copied()) {
                Some(near) => format!("did you mean \"{GRPC}{near}\"?"),
                None => format!("behind \"{GRPC}\" stands one of {}", words.join(", ")),
            };
            Err(Wrong::new(format!("{} is no status of gRPC", quoted(&format!("{GRPC}{name}"))), remedy))
        }
    }
}

/// A word that is no condition.
fn unknown(text: &str) -> Wrong {
    // As others write it: UNAVAILABLE, GRPC_UNAVAILABLE.
    let dashed = text.to_ascii_lowercase().replace('_', "-");
    let status = GrpcStatus::named(dashed.strip_prefix(GRPC).unwrap_or(&dashed));
    let remedy = match (nearest(text, CONDITIONS.iter().copied()), status) {
        (Some(near), _) => format!("did you mean \"{near}\"?"),
        (None, Some(status)) => format!("did you mean \"{GRPC}{}\"?", status.word()),
        (None, None) => {
            let conditions = one_of(CONDITIONS.iter().copied());
            format!("use {conditions}, or a status such as \"503\" or \"grpc-unavailable\"")
        }
    };
    Wrong::new(format!("{} is not known here", quoted(text)), remedy)
}

/// Reads a pool's passive health; `backends` are those that it may eject.
pub(super) fn eject(mut s: Section<'_>, backends: &[Backend]) -> Eject {
    let default = Eject::default();
    let eject = Eject {
        consecutive_failures: s.integer(
            "consecutive_failures",
            0..=1_000_000,
            default.consecutive_failures.into(),
        ) as u32,
        error_share: s.read("error_share", values::share).unwrap_or(default.error_share),
        window: s.length("window", Micros::from_ms(100)..=Micros::from_s(3600), default.window),
        base_time: s.length("base_time", Micros::from_ms(10)..=Micros::from_s(24 * 3600), default.base_time),
        max_share: s.read("max_share", values::share).unwrap_or(default.max_share),
        latency_factor: s.read("latency_factor", factor).unwrap_or(default.latency_factor),
    };
    if let Some(wrong) = eject_contradiction(&eject, backends) {
        s.report.warn(&s.place, wrong);
    }
    s.finish(&[]);
    eject
}

fn eject_contradiction(eject: &Eject, backends: &[Backend]) -> Option<Wrong> {
    const REMOVE: &str = "remove the section";
    if eject.consecutive_failures == 0 && eject.error_share == 0.0 && eject.latency_factor == 0.0 {
        let what = "nothing ejects: consecutive_failures, error_share and latency_factor are 0";
        Some(Wrong::new(what, format!("raise one of them, or {REMOVE}")))
    } else if eject.max_share == 0.0 {
        Some(Wrong::new("max_share = 0 lets nothing be ejected", format!("raise it, or {REMOVE}")))
    } else if let [Backend { address: BackendAddress::Tcp(_) | BackendAddress::Unix(_), .. }] = backends {
        let what = "the only backend of a pool is never ejected";
        Some(Wrong::new(what, format!("add another one, or {REMOVE}")))
    } else {
        None
    }
}

/// How many times slower than the median: what is as fast as most is not to be ejected.
fn factor(value: &DeValue<'_>) -> Result<f64, Wrong> {
    match values::number(value) {
        Some(factor) if factor == 0.0 || (factor > 1.0 && factor <= 1000.0) => Ok(factor),
        _ => {
            let what = format!("{} is not a factor that tells slow backends", values::shown(value));
            Err(Wrong::new(what, "use a number above 1, up to 1000, such as 5, or 0 for none"))
        }
    }
}

/// Reports each chain of fallback pools that leads back to where it began, once. `links` are the pools'
/// names, their fallbacks, and where those stand.
pub(super) fn fallback_circles(report: &Report<'_>, links: &[(String, Option<usize>, Place)]) {
    let next = |index: usize| links.get(index).and_then(|(_, fallback, _)| *fallback);
    let mut told = vec![false; links.len()];
    for start in 0..links.len() {
        let mut chain = vec![start];
        // No chain is longer than there are pools, unless it runs in a circle that does not hold `start`.
        while let Some(to) = chain.last().and_then(|last| next(*last)).filter(|_| chain.len() <= links.len())
        {
            chain.push(to);
            if to == start {
                break;
            }
        }
        if chain.len() < 2 || chain.last() != Some(&start) || told[start] {
            continue;
        }
        chain.iter().for_each(|index| told[*index] = true);
        let names: Vec<_> = chain.iter().map(|index| links[*index].0.as_str()).collect();
        let what = format!("the chain leads back to where it began: {}", names.join(" → "));
        report.error(&links[start].2, Wrong::new(what, "remove the fallback of one of these pools"));
    }
}
