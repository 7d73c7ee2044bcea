//! A source file as its paths: tokens, `use` trees, `super::` resolved.
//!
//! Comments and literals are blanked out first, or a "//" inside a string would hide what follows it.
//! Here: reading. Not here: the rules (`../rooms.rs`), which ask for [`tokens`] and [`paths`].

use std::path::{Path, PathBuf};

/// A source file: where it is, which room it belongs to, its module's path below the crate.
pub(super) struct Source {
    pub(super) path: PathBuf,
    module: Vec<String>,
    pub(super) text: String,
}

impl Source {
    /// `path` is relative to `src/`: "balance/view.rs" is the module `balance::view`.
    pub(super) fn new(path: &Path, text: String) -> Self {
        let mut module: Vec<String> =
            path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        Self { path: path.to_owned(), module, text }
    }

    /// `None`: `lib.rs` and `main.rs`, which may use every room.
    pub(super) fn room(&self) -> Option<&str> {
        self.module.first().map(String::as_str)
    }
}

/// The source with comments, strings and character literals blanked out; line breaks stay.
fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = blank_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` itself if none begins there.
fn blank_end(chars: &[char], at: usize) -> usize {
    let next = |n: usize| chars.get(at + n).copied().unwrap_or(' ');
    let after_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match chars[at] {
        '/' if next(1) == '/' => (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len()),
        '/' if next(1) == '*' => comment_end(chars, at),
        '"' => quoted_end(chars, at + 1, '"'),
        'r' if (!after_word || chars[at - 1] == 'b') && (next(1) == '"' || next(1) == '#') => {
            raw_end(chars, at)
        }
        '\'' if next(1) == '\\' || next(2) == '\'' => quoted_end(chars, at + 1, '\''),
        _ => at,
    }
}

fn comment_end(chars: &[char], at: usize) -> usize {
    let (mut i, mut depth) = (at + 2, 1);
    while i < chars.len() && depth > 0 {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    i
}

fn quoted_end(chars: &[char], mut i: usize, quote: char) -> usize {
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

/// `r"…"`, `r#"…"#`; a raw identifier (`r#type`) is no literal.
fn raw_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return at;
    }
    let closes = |i: usize| {
        chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
    };
    (open + 1..chars.len()).find(|&i| closes(i)).map_or(chars.len(), |i| i + 1 + hashes)
}

/// Words, "::" and single marks, each with its line (from 1).
pub(super) fn tokens(text: &str) -> Vec<(usize, String)> {
    let mut tokens: Vec<(usize, String)> = Vec::new();
    for (number, line) in code(text).lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            let length = if word(first) {
                rest.find(|c: char| !word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push((number + 1, rest[..length].to_owned()));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// Every path that a source names, absolute ("crate::sys::clock", "std::fs::read"), with its line.
pub(super) fn paths(source: &Source) -> Vec<(usize, String)> {
    let tokens = tokens(&source.text);
    let word_at = |i: usize| tokens.get(i).map_or("", |(_, token)| token.as_str());
    let mut found = Vec::new();
    let mut inline: Vec<(String, usize)> = Vec::new(); // modules written inside this file
    let (mut depth, mut i) = (0, 0);
    while i < tokens.len() {
        match word_at(i) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.retain(|(_, opened)| *opened < depth + 1);
            }
            "mod" if word_at(i + 2) == "{" => inline.push((word_at(i + 1).to_owned(), depth + 1)),
            _ => {}
        }
        let module: Vec<&str> =
            source.module.iter().chain(inline.iter().map(|(name, _)| name)).map(String::as_str).collect();
        // `use<'a>`, what an opaque type captures, names no path.
        if word_at(i) == "use" && word_at(i + 1) != "<" {
            let (leaves, end) = use_tree(&tokens, i + 1, &[]);
            found.extend(leaves.into_iter().map(|(line, path)| (line, absolute(&module, &path))));
            i = end;
        } else if is_word(word_at(i)) && word_at(i + 1) == "::" {
            let line = tokens[i].0;
            let mut path = vec![word_at(i).to_owned()];
            while word_at(i + 1) == "::" && is_word(word_at(i + 2)) {
                path.push(word_at(i + 2).to_owned());
                i += 2;
            }
            found.push((line, absolute(&module, &path)));
            i += 1;
        } else {
            i += 1;
        }
    }
    found
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

type Leaves = Vec<(usize, Vec<String>)>;

/// The leaves of the tree of a `use`, and where what follows it begins.
fn use_tree(tokens: &[(usize, String)], mut i: usize, above: &[String]) -> (Leaves, usize) {
    let mut path = above.to_vec();
    let mut leaves = Leaves::new();
    let line = tokens.get(i).map_or(0, |(line, _)| *line);
    while let Some((_, token)) = tokens.get(i) {
        match token.as_str() {
            "::" => i += 1,
            "as" => i += 2,
            "{" => {
                i += 1;
                while tokens[i].1 != "}" {
                    let (inner, end) = use_tree(tokens, i, &path);
                    leaves.extend(inner);
                    i = if tokens[end].1 == "," { end + 1 } else { end };
                }
                return (leaves, i + 1);
            }
            "," | "}" | ";" => break,
            word => {
                path.push(word.to_owned());
                i += 1;
            }
        }
    }
    leaves.push((line, path));
    (leaves, i)
}

/// `super::` and `self::` taken away: what the path is called from the crate's root.
fn absolute(module: &[&str], path: &[String]) -> String {
    let supers = path.iter().take_while(|part| *part == "super").count();
    let keep = match path[0].as_str() {
        "self" => module.len(),
        "super" => module.len().saturating_sub(supers),
        _ => return path.join("::"),
    };
    let rest = path[supers.max(1)..].iter().map(String::as_str);
    ["crate"].into_iter().chain(module[..keep].iter().copied()).chain(rest).collect::<Vec<_>>().join("::")
}
