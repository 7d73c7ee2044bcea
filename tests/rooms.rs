//! The rules that the rooms live by, read off the sources.
//!
//! What a compiler does not check: a room uses only rooms above it in the table at the head of
//! `src/lib.rs`; a pure room (★) names no socket, clock, thread or randomness; `unsafe` lives in two
//! rooms and argues for itself; a file opens by saying what it is, and stays readable in one sitting.
//! Every path in a source is resolved (`rooms/source.rs`): `use` trees, `super::`, and paths inside
//! expressions alike. A parser crate would see more and be one more thing to build: no macro here hides
//! a path.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the sources has failed")]

#[path = "rooms/source.rs"]
mod source;

use source::{Source, paths, tokens};
use std::fs;
use std::path::{Path, PathBuf};

/// The longest file, in lines.
const LINES_MAX: usize = 500;

/// Files that were longer when the rule came, and how long they may be: numbers here only fall.
const LONGER: &[(&str, usize)] = &[];

/// The rooms that may hold `unsafe`.
const UNSAFE_ROOMS: &[&str] = &["ring", "sys"];

/// What a pure room may not name. An address is a value, so `std::net`'s address types are allowed.
const IMPURE: &[&str] = &[
    "std::net",
    "std::os",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::hash::RandomState",
    "std::collections::hash_map::RandomState",
    "core_affinity",
    "crossbeam",
    "fastrand",
    "getrandom",
    "glommio",
    "hyper",
    "hyper_util",
    "io_uring",
    "libc",
    "nix",
    "rand",
    "tokio",
];

const ADDRESSES: &[&str] =
    &["SocketAddr", "SocketAddrV4", "SocketAddrV6", "IpAddr", "Ipv4Addr", "Ipv6Addr", "AddrParseError"];

#[derive(Clone, Debug, PartialEq)]
struct Room {
    name: String,
    pure: bool,
}

/// The rows of the table in `src/lib.rs`: "//! | [`time`] ★ | lengths … |".
fn rooms(lib: &str) -> Vec<Room> {
    lib.lines()
        .filter_map(|line| line.strip_prefix("//! | [`")?.split_once("`]"))
        .map(|(name, rest)| Room { name: name.to_owned(), pure: rest.trim_start().starts_with('★') })
        .collect()
}

fn rust_files(below: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(below) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    rust_files(&src)
        .iter()
        .map(|file| Source::new(file.strip_prefix(&src).unwrap(), fs::read_to_string(file).unwrap()))
        .collect()
}

fn room_table() -> Vec<Room> {
    rooms(&fs::read_to_string(root().join("src/lib.rs")).unwrap())
}

/// Paths into rooms below the source's own.
fn downward(source: &Source, table: &[Room]) -> Vec<String> {
    let place = |name: &str| table.iter().position(|room| room.name == name);
    let Some(own) = source.room() else { return Vec::new() };
    let own_place = place(own);
    paths(source)
        .into_iter()
        .filter(|(_, path)| {
            // A room that stands nowhere may use nothing.
            let used = path.strip_prefix("crate::").and_then(|rest| place(rest.split("::").next()?));
            used.is_some_and(|used| own_place.is_none_or(|own_place| used > own_place))
        })
        .map(|(line, path)| format!("src/{}:{line}: `{own}` uses `{path}` below it", source.path.display()))
        .collect()
}

/// What a pure room may not name.
fn impurities(source: &Source) -> Vec<String> {
    let within = |path: &str, of: &str| {
        path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let impure = |path: &str| {
        let address = path
            .strip_prefix("std::net::")
            .is_some_and(|rest| rest.split("::").next().is_some_and(|first| ADDRESSES.contains(&first)));
        // `use std::time;` or `use std::time::*;` would bring the clock in under a shorter name.
        let opened = path.strip_suffix("::*").unwrap_or(path);
        !address
            && IMPURE.iter().any(|of| within(path, of) || (opened.starts_with("std") && within(of, opened)))
    };
    paths(source)
        .into_iter()
        .filter(|(_, path)| impure(path))
        .map(|(line, path)| format!("src/{}:{line}: a pure room names `{path}`", source.path.display()))
        .collect()
}

/// `unsafe` outside its rooms (`allowed` is false there), and blocks that do not argue for themselves.
fn careless_unsafe(name: &str, text: &str, allowed: bool) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let tokens = tokens(text);
    let mut faults = Vec::new();
    for (i, (line, _)) in tokens.iter().enumerate().filter(|(_, (_, token))| token == "unsafe") {
        let next = tokens.get(i + 1).map_or("", |(_, token)| token.as_str());
        if !allowed {
            faults.push(format!("{name}:{line}: `unsafe` outside of {}", UNSAFE_ROOMS.join(", ")));
        } else if matches!(next, "{" | "impl") && !argued(&lines[..line - 1]) {
            faults.push(format!("{name}:{line}: no `// SAFETY:` right above"));
        }
    }
    faults
}

/// Whether the comment right above (attributes and the statement's first lines between) says why.
fn argued(above: &[&str]) -> bool {
    let comment = |line: &str| line.trim_start().starts_with("//");
    let ends = |line: &str| line.is_empty() || line.ends_with([';', '{', '}', ',']);
    let to_comment = above
        .iter()
        .rev()
        .skip_while(|line| !comment(line) && (line.trim().starts_with('#') || !ends(line.trim())));
    to_comment.take_while(|line| comment(line)).any(|line| line.contains("// SAFETY:"))
}

fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn a_room_uses_only_rooms_above_it() {
    let table = room_table();
    assert!(table.len() > 10, "the table of the rooms at the head of src/lib.rs was not found");
    assert_none(sources().iter().flat_map(|source| downward(source, &table)).collect());
}

#[test]
fn every_room_stands_in_the_table() {
    let table = room_table();
    let stands = |name: &str| table.iter().any(|room| room.name == name);
    let missing = |source: &Source| {
        let room = source.room().filter(|name| !stands(name))?;
        Some(format!("src/{}: `{room}` has no row in src/lib.rs", source.path.display()))
    };
    assert_none(sources().iter().filter_map(missing).collect());
}

#[test]
fn a_pure_room_names_no_socket_clock_thread_or_randomness() {
    let table = room_table();
    // Only compiled for tests, as `src/balance/mod.rs` says; a seed comes from the environment.
    let tests = |source: &Source| source.path.ends_with("balance/herd.rs");
    let pure = |source: &&Source| {
        table.iter().any(|room| room.pure && source.room() == Some(&room.name)) && !tests(source)
    };
    assert_none(sources().iter().filter(pure).flat_map(impurities).collect());
}

#[test]
fn unsafe_stays_in_its_rooms_and_argues_for_itself() {
    let mut faults = Vec::new();
    for source in sources() {
        let allowed = source.room().is_some_and(|room| UNSAFE_ROOMS.contains(&room));
        faults.extend(careless_unsafe(&format!("src/{}", source.path.display()), &source.text, allowed));
    }
    for file in [rust_files(&root().join("tests")), rust_files(&root().join("bench"))].concat() {
        // The ring's tests look at memory that was given back.
        let allowed = file.starts_with(root().join("tests/ring"));
        faults.extend(careless_unsafe(
            &file.display().to_string(),
            &fs::read_to_string(&file).unwrap(),
            allowed,
        ));
    }
    assert_none(faults);
}

#[test]
fn a_file_opens_with_what_it_is_and_is_not_too_long() {
    let mut faults = Vec::new();
    for folder in ["src", "tests", "bench"] {
        for file in rust_files(&root().join(folder)) {
            let name = file.strip_prefix(root()).unwrap().display().to_string();
            let text = fs::read_to_string(&file).unwrap();
            if !text.starts_with("//! ") {
                faults.push(format!("{name}: opens without a `//!` paragraph"));
            }
            let (lines, longer) = (text.lines().count(), LONGER.iter().find(|(file, _)| *file == name));
            match longer {
                None if lines > LINES_MAX => faults.push(format!("{name}: {lines} lines, over {LINES_MAX}")),
                Some((_, max)) if lines > *max => faults.push(format!("{name}: {lines} lines, over {max}")),
                Some((_, max)) if lines < *max => {
                    faults.push(format!("{name}: {lines} lines: lower LONGER's {max}"))
                }
                _ => {}
            }
        }
    }
    assert_none(faults);
}

/// The checks above pass when there is nothing to find; this shows that they find.
mod planted {
    use super::*;

    fn table() -> Vec<Room> {
        rooms("//! | [`time`] ★ | a |\n//! | [`config`] ★ | b |\n//! | [`sys`] | c |\n//! | [`cli`] | d |")
    }

    fn source(path: &str, text: &str) -> Source {
        Source::new(Path::new(path), text.to_owned())
    }

    #[test]
    fn a_path_into_a_lower_room_is_found_however_it_is_written() {
        for (case, path, text, faults) in [
            ("plain", "config/mod.rs", "use crate::sys::clock;", 1),
            ("in a tree", "config/mod.rs", "use crate::{time::Micros, sys::{clock, cpu}};", 2),
            ("in an expression", "config/a.rs", "fn f() { crate::sys::clock() }", 1),
            ("by super", "config/mod.rs", "use super::sys;", 1),
            ("by super, deeper", "config/a.rs", "use super::super::sys;", 1),
            ("by super, inside a module", "config/mod.rs", "mod tests { use super::super::sys; }", 1),
            ("after a module", "config/mod.rs", "mod a { fn f() {} } use super::sys;", 1),
            ("a room in one file", "config.rs", "use crate::sys;", 1),
            ("renamed", "time/mod.rs", "use crate::config as c;", 1),
            ("upward", "sys/mod.rs", "use crate::time::Micros;", 0),
            ("its own", "config/mod.rs", "use crate::config::Config; use self::sys; use super::config;", 0),
            ("a module of its own by that name", "config/a.rs", "use super::sys::x;", 0),
            ("a comment", "config/mod.rs", "/// Not [`crate::sys`]. /* crate::sys::a */", 0),
            (
                "a string",
                "config/mod.rs",
                r##"const A: &str = "http://crate::sys::a"; const B: &str = r#"crate::sys::b"#;"##,
                0,
            ),
            ("after a string with slashes", "config/mod.rs", "f(\"http://a\", '\"', crate::sys::a)", 1),
            ("captures", "config/mod.rs", "fn f<'a>() -> impl A + use<'a> { super::sys::a }", 1),
            ("the crate's root", "main.rs", "use crate::sys;", 0),
        ] {
            let found = downward(&source(path, text), &table());
            assert_eq!(found.len(), faults, "{case}: {found:?}");
        }
    }

    #[test]
    fn an_impure_name_is_found_and_an_address_is_not_one() {
        for (case, text, faults) in [
            ("a clock", "use std::time::{Duration, Instant};", 1),
            ("a clock by its module", "use std::time;", 1),
            ("a clock by a glob", "use std::time::*;", 1),
            ("a length", "use std::time::Duration;", 0),
            ("a socket", "fn f() { ::std::net::TcpStream::connect(a) }", 1),
            ("addresses", "use std::net::{IpAddr, SocketAddr}; type A = std::net::Ipv4Addr;", 0),
            ("a crate", "use nix::sys::socket;", 1),
            ("a longer name", "use random::Pick; use crate::route::rand;", 0),
            ("weir's own point of time", "use crate::time::Instant;", 0),
        ] {
            let found = impurities(&source("time/mod.rs", text));
            assert_eq!(found.len(), faults, "{case}: {found:?}");
        }
    }

    #[test]
    fn unsafe_that_does_not_argue_is_found() {
        for (case, text, allowed, faults) in [
            ("argued", "// SAFETY: it lives.\nunsafe { a() }", true, 0),
            ("argued in two lines", "// SAFETY: it\n// lives.\nlet x =\n    unsafe { a() };", true, 0),
            ("attribute between", "// SAFETY: no state.\n#[allow(x)]\nunsafe impl Send for A {}", true, 0),
            ("silent", "let a = 1;\nunsafe { a() }", true, 1),
            ("another statement's comment", "// SAFETY: it lives.\nlet a = 1;\nunsafe { a() }", true, 1),
            ("a comment that does not argue", "// Fast.\nunsafe { a() }", true, 1),
            ("a function", "unsafe fn a() {}", true, 0),
            ("elsewhere", "// SAFETY: it lives.\nunsafe { a() }", false, 1),
            ("a word in a comment", "// unsafe { }\n#![deny(unsafe_code)]", false, 0),
        ] {
            let found = careless_unsafe("a.rs", text, allowed);
            assert_eq!(found.len(), faults, "{case}: {found:?}");
        }
    }
}
