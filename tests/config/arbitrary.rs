//! Properties: whatever the text, `parse` answers, and every fault can be printed and found.

use super::*;
use proptest::prelude::*;

/// Parses, and holds what comes back to its promises.
fn answers(text: &str) -> Result<(), TestCaseError> {
    let lines = text.matches('\n').count() + 1;
    let faults = match parse(text, "weir.toml") {
        Ok(Checked { config, warnings }) => {
            prop_assert!(config.listeners.iter().all(|l| l.pool.is_none_or(|p| p < config.pools.len())));
            prop_assert!(config.routes.iter().all(|r| r.pool < config.pools.len()));
            prop_assert!(config.pools.iter().all(|p| !p.backends.is_empty()));
            prop_assert!((0..config.pools.len()).all(|pool| falls_back_to_an_end(&config, pool)));
            warnings
        }
        Err(faults) => {
            prop_assert!(!faults.0.is_empty());
            faults.0
        }
    };
    for fault in &faults {
        prop_assert!((1..=lines).contains(&fault.line), "{fault}");
        prop_assert!(!fault.to_string().contains('\n'), "{fault}");
        prop_assert!(!fault.wrong.is_empty() && !fault.remedy.is_empty(), "{fault}");
    }
    prop_assert!(faults.windows(2).all(|two| two[0].line <= two[1].line));
    Ok(())
}

/// Whether the chain of fallback pools ends.
fn falls_back_to_an_end(config: &Config, pool: usize) -> bool {
    let next = |pool: &usize| config.pools[*pool].fallback;
    std::iter::successors(Some(pool), next).take(config.pools.len() + 1).count() <= config.pools.len()
}

/// Values that make sense somewhere, and values that make none anywhere.
const VALUES: &[&str] = &[
    "0",
    "-1",
    "1",
    "300",
    "65536",
    "9223372036854775807",
    "99999999999999999999999999",
    "0x7fffffffffffffff",
    "1.5",
    "-0.0",
    "nan",
    "inf",
    "1e400",
    "true",
    "false",
    "1979-05-27",
    "\"\"",
    "\"5s\"",
    "\"5\"",
    "\"µs\"",
    "\"0.000000000000000000001h\"",
    "\"18446744073709551615h\"",
    "\"16KiB\"",
    "\"unix:/x\"",
    "\"[::1]:1\"",
    "\":\"",
    "\"::\"",
    "\"*\"",
    "\"-\"",
    "\",\"",
    "\"0-18446744073709551615\"",
    "\"/\"",
    "\"\\u0000\\n\"",
    "[]",
    "{}",
    "[[]]",
    "[{}]",
    "[1, \"a\", {}]",
    "{ a = 1 }",
    "\"app\"",
    "\"api\"",
    "\"static\"",
    "[\"connect\", \"500\"]",
    "\"_http._tcp.x\"",
    "\"unix:\"",
    "\"http://\"",
    "\"://\"",
];

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in any::<String>()) {
        answers(&text)?;
    }

    #[test]
    fn any_text_of_the_right_letters_gets_an_answer(text in "[\\[\\]a-c.=\"\\\\{},0-9 \n\r#'_-]{0,80}") {
        answers(&text)?;
    }

    #[test]
    fn any_value_for_any_key_gets_an_answer(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(VALUES)), 1..4),
    ) {
        let mut lines: Vec<String> = PRODUCTION.lines().map(str::to_owned).collect();
        let keys: Vec<_> = (0..lines.len()).filter(|at| lines[*at].contains(" = ")).collect();
        for (index, value) in changes {
            let line = &mut lines[*index.get(&keys)];
            if let Some((key, _)) = line.split_once(" = ") {
                *line = format!("{key} = {value}");
            }
        }
        answers(&lines.join("\n"))?;
    }

    #[test]
    fn production_with_lines_lost_doubled_and_moved_gets_an_answer(
        edits in prop::collection::vec((0..3, any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6),
    ) {
        let mut lines: Vec<&str> = PRODUCTION.lines().collect();
        for (edit, from, to) in edits {
            let (from, to) = (from.index(lines.len()), to.index(lines.len()));
            match edit {
                0 => { lines.remove(from); }
                1 => lines.insert(to, lines[from]),
                _ => lines.swap(from, to),
            }
        }
        answers(&lines.join("\n"))?;
    }

    #[test]
    fn production_with_bytes_changed_gets_an_answer(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 1..4),
    ) {
        let mut letters: Vec<char> = PRODUCTION.chars().collect();
        for (at, letter) in edits {
            let at = at.index(letters.len());
            letters[at] = letter;
        }
        answers(&letters.into_iter().collect::<String>())?;
    }
}
