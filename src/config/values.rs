//! One value of the file: numbers, lengths of time, sizes, words, and how a value is shown in a fault.
//!
//! Here: functions from a TOML value to what it means, or to what is wrong with it. Not here: addresses
//! and hosts (`address.rs`), core lists (`cores.rs`).

use super::fault::Wrong;
use super::reference::nearest;
use crate::time::Micros;
use std::ops::RangeInclusive;
use toml::de::DeValue;

/// What is said of all that the contract has and this version does not.
pub(super) const NOT_BUILT_YET: &str = "not built yet in this version of weir";

/// More than this is a slip of the keyboard, not a length of time that a balancer waits.
pub(super) const A_YEAR: Micros = Micros::from_s(8760 * 3600);

/// The numbers of requests that a `max_requests` may be: as many as are counted (`limit::Life`), in round figures.
pub(super) const ANY_REQUESTS: RangeInclusive<u64> = 0..=10_000_000;

const LENGTH_UNITS: &[(&str, u64)] =
    &[("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];

const SIZE_UNITS: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// A text in quotes on one line, cut if it is long.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A value as a fault names it.
pub(super) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(integer) => cut(&integer.to_string()),
        DeValue::Float(float) => cut(float.as_str()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a section".to_owned(),
    }
}

fn cut(number: &str) -> String {
    if number.len() > 30 { "the number".to_owned() } else { number.to_owned() }
}

/// "a", "b" or "c"
pub(super) fn one_of<'n>(words: impl Iterator<Item = &'n str>) -> String {
    let quoted: Vec<_> = words.map(quoted).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// A string.
pub(super) fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Wrong> {
    value.as_str().ok_or_else(|| {
        let remedy = match value {
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
                format!("write \"{}\", with the quotes", shown(value))
            }
            DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_) => "write a string".to_owned(),
        };
        Wrong::new(format!("{} is not a string", shown(value)), remedy)
    })
}

/// `true` or `false`.
pub(super) fn flag(value: &DeValue<'_>) -> Result<bool, Wrong> {
    let wrong = || Wrong::new(format!("{} is neither true nor false", shown(value)), "write true or false");
    value.as_bool().ok_or_else(wrong)
}

/// Any number, for comparison; `None` for what is none or does not fit.
pub(super) fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(float) => float.as_str().parse().ok(),
        // Out of the 53 bits that a double holds exactly nobody compares anything.
        DeValue::Integer(integer) => {
            i32::from_str_radix(integer.as_str(), integer.radix()).ok().map(f64::from)
        }
        _ => None,
    }
}

/// A whole number within `range`.
pub(super) fn integer(value: &DeValue<'_>, range: RangeInclusive<u64>) -> Result<u64, Wrong> {
    let (min, max) = (*range.start(), *range.end());
    let use_range = format!("use {min} to {max}");
    let DeValue::Integer(written) = value else {
        let what = format!("{} is not a whole number", shown(value));
        return Err(Wrong::new(what, format!("{use_range}, without quotes")));
    };
    match i128::from_str_radix(written.as_str(), written.radix()) {
        Ok(n) if n < i128::from(min) => Err(Wrong::new(format!("{n} is less than {min}"), use_range)),
        Ok(n) if n <= i128::from(max) => Ok(n as u64),
        Ok(_) | Err(_) => Err(Wrong::new(format!("{} is more than {max}", shown(value)), use_range)),
    }
}

/// A share: a number from 0 to 1.
pub(super) fn share(value: &DeValue<'_>) -> Result<f64, Wrong> {
    match number(value) {
        Some(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => {
            let what = format!("{} is not a share", shown(value));
            Err(Wrong::new(what, "use a number from 0 to 1, such as 0.1 for a tenth"))
        }
    }
}

/// A word that somebody may well write where it cannot stand, and what to write for it; `None`: the contract has it,
/// and it is not built yet.
pub(super) type Other = (&'static str, Option<&'static str>);

/// One of a few words.
pub(super) fn choice<T: Copy>(
    value: &DeValue<'_>,
    built: &[(&str, T)],
    others: &[Other],
) -> Result<T, Wrong> {
    let use_built = format!("use {}", one_of(built.iter().map(|(word, _)| *word)));
    let Some(text) = value.as_str() else {
        return Err(Wrong::new(format!("{} is not a string", shown(value)), use_built));
    };
    if let Some((_, chosen)) = built.iter().find(|(word, _)| *word == text) {
        return Ok(*chosen);
    }
    let later = match others.iter().find(|(word, _)| *word == text) {
        Some((_, None)) => return Err(Wrong::new(format!("{} is {NOT_BUILT_YET}", quoted(text)), use_built)),
        Some((_, Some(remedy))) => {
            return Err(Wrong::new(format!("{} is not known here", quoted(text)), *remedy));
        }
        None => others.iter().filter(|(_, remedy)| remedy.is_none()).map(|(word, _)| *word),
    };
    let remedy = match nearest(text, built.iter().map(|(word, _)| *word).chain(later)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => use_built,
    };
    Err(Wrong::new(format!("{} is not known here", quoted(text)), remedy))
}

/// A length of time within `range`: "250us", "1.5s".
pub(super) fn length(value: &DeValue<'_>, range: RangeInclusive<Micros>) -> Result<Micros, Wrong> {
    let length = Micros::from_us(scaled(value, "length of time", LENGTH_UNITS, "s")?);
    within(length, range, |length| length.to_string())
}

/// A size in bytes within `range`: "16KiB".
pub(super) fn size(value: &DeValue<'_>, range: RangeInclusive<u64>) -> Result<u64, Wrong> {
    within(scaled(value, "size", SIZE_UNITS, "KiB")?, range, size_text)
}

/// A size in the largest unit that states it in whole numbers.
pub(super) fn size_text(bytes: u64) -> String {
    let whole = |(_, unit): &&(&str, u64)| bytes != 0 && bytes.is_multiple_of(*unit);
    match SIZE_UNITS.iter().rev().find(whole) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

fn within<T: PartialOrd + Copy>(
    value: T,
    range: RangeInclusive<T>,
    print: impl Fn(T) -> String,
) -> Result<T, Wrong> {
    let (min, max) = (*range.start(), *range.end());
    let use_range = format!("use \"{}\" to \"{}\"", print(min), print(max));
    if value < min {
        Err(Wrong::new(format!("{} is less than {}", print(value), print(min)), use_range))
    } else if value > max {
        Err(Wrong::new(format!("{} is more than {}", print(value), print(max)), use_range))
    } else {
        Ok(value)
    }
}

/// A number with its unit, as a count of the smallest unit.
fn scaled(value: &DeValue<'_>, what: &str, units: &[(&str, u64)], usual: &str) -> Result<u64, Wrong> {
    let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
    let form = format!("write a number and its unit ({}), such as \"5{usual}\"", names.join(", "));
    let no_unit = |number: &str| {
        Wrong::new(
            format!("{number} has no unit ({})", names.join(", ")),
            format!("write \"{number}{usual}\""),
        )
    };
    let text = match value {
        DeValue::String(text) => text.as_ref(),
        DeValue::Integer(_) | DeValue::Float(_) => {
            let number = shown(value);
            return Err(if is_number(&number) {
                no_unit(&number)
            } else {
                Wrong::new(format!("{number} is not a {what}"), form)
            });
        }
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            return Err(Wrong::new(format!("{} is not a {what}", shown(value)), form));
        }
    };
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    if !is_number(number) || number.len() > 24 {
        return Err(Wrong::new(format!("{} is not a {what}", quoted(text)), form));
    }
    if unit.is_empty() {
        return Err(no_unit(number));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let remedy = match meant(unit).filter(|unit| names.contains(unit)) {
            Some(meant) => format!("write \"{number}{meant}\""),
            None => form,
        };
        return Err(Wrong::new(format!("{} has an unknown unit", quoted(text)), remedy));
    };
    multiplied(number, *factor).ok_or_else(|| {
        let (smallest, largest) = (names.first().unwrap_or(&""), names.last().unwrap_or(&""));
        let what = format!("{} is no whole number of {smallest}, or too much", quoted(text));
        Wrong::new(what, format!("write a whole number of one of the units from {smallest} to {largest}"))
    })
}

/// Units as other programs write them. "16KB" is 16,000 bytes to one of them and 16,384 to another,
/// so weir asks instead of guessing.
fn meant(unit: &str) -> Option<&'static str> {
    Some(match unit.trim().to_ascii_lowercase().as_str() {
        "b" | "byte" | "bytes" => "B",
        "k" | "kb" | "kib" => "KiB",
        "mb" | "mib" => "MiB",
        "g" | "gb" | "gib" => "GiB",
        "µs" | "μs" | "usec" => "us",
        "ms" | "msec" | "millis" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" if unit.trim() == "M" => "MiB",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hour" | "hours" => "h",
        _ => return None,
    })
}

/// Digits, or digits, a dot and digits.
fn is_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    }
}

/// A decimal number times `factor`, if that is whole and fits; in integers, so that nothing is rounded.
fn multiplied(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    let denominator = 10_u128.checked_pow(fraction.len().try_into().ok()?)?;
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let product = digits.checked_mul(factor.into())?;
    (product % denominator == 0).then_some(product / denominator)?.try_into().ok()
}
