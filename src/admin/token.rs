//! The token that whoever asks through a port must show, where `admin.token_file` names one.
//!
//! Here: reading the file, and comparing in a time that does not depend on how much of a guess is right. Not
//! here: which requests need it (`guard.rs`). The file is looked at again when it has changed, so a token is
//! replaced without a restart; while it cannot be read the old one holds. Nothing here prints a token.

use crate::config::Admin;
use std::cell::RefCell;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

/// Bytes that a token has at least: 128 bits in hexadecimal are 32, in base64 22.
const LEN_MIN: usize = 16;

/// Bytes that are read of the file at most.
const LEN_MAX: usize = 4096;

/// Why `admin.token_file` gives no token.
#[derive(Debug, thiserror::Error)]
#[error("admin.token_file: {}: {cause}; {remedy}", file.display())]
pub struct TokenRefused {
    file: PathBuf,
    cause: TokenFault,
    remedy: &'static str,
}

impl TokenRefused {
    /// What is wrong with the file.
    pub fn cause(&self) -> impl fmt::Display + '_ {
        &self.cause
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        self.remedy
    }
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
enum TokenFault {
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    #[error("it has {0} bytes, where a token has {LEN_MIN} to {LEN_MAX}")]
    Length(usize),
    #[error("it has bytes that no HTTP field may have, or blanks within")]
    Bytes,
}

/// The token, as it is in its file now.
pub struct Token {
    file: PathBuf,
    known: RefCell<Known>,
}

/// What was read, and of which file: another one, or another state of it, is read again.
struct Known {
    secret: Vec<u8>,
    state: State,
    /// The file is wrong as it is now, and that was logged.
    complained_of: Option<State>,
}

/// A state of the file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    inode: (u64, u64),
    len: u64,
    changed: (i64, i64),
}

impl State {
    fn of(file: &Metadata) -> Self {
        Self { inode: (file.dev(), file.ino()), len: file.len(), changed: (file.ctime(), file.ctime_nsec()) }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Token {
    /// The token that `admin` asks for; `None` if it asks for none.
    ///
    /// # Errors
    /// The file cannot be read, or has no token that could be sent or that is worth guessing.
    pub fn of(admin: &Admin) -> Result<Option<Self>, TokenRefused> {
        admin.token_file.as_deref().map(Self::open).transpose()
    }

    fn open(file: &Path) -> Result<Self, TokenRefused> {
        let (secret, state) = read(file).map_err(|cause| {
            let remedy = match cause {
                TokenFault::Unreadable(_) => "create it, readable to weir's user and nobody else",
                TokenFault::Length(_) | TokenFault::Bytes => {
                    "write one line to it, such as the output of `openssl rand -hex 32`"
                }
            };
            TokenRefused { file: file.to_owned(), cause, remedy }
        })?;
        Ok(Self { file: file.to_owned(), known: RefCell::new(Known { secret, state, complained_of: None }) })
    }

    /// Whether `shown` is the token.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        let mut known = self.known.borrow_mut();
        known.follow(&self.file);
        known.secret.as_slice().ct_eq(shown).into()
    }
}

impl Known {
    /// Reads the file again if it is another one now.
    fn follow(&mut self, file: &Path) {
        let Ok(now) = file.metadata().map(|file| State::of(&file)) else { return };
        if now == self.state || self.complained_of == Some(now) {
            return;
        }
        match read(file) {
            Ok((secret, state)) => {
                *self = Self { secret, state, complained_of: None };
                tracing::info!(file = %file.display(), "the admin token was read again");
            }
            Err(error) => {
                self.complained_of = Some(now);
                tracing::error!(file = %file.display(), %error, "the admin token cannot be read again; the old one holds");
            }
        }
    }
}

fn read(path: &Path) -> Result<(Vec<u8>, State), TokenFault> {
    let file = File::open(path)?;
    let state = State::of(&file.metadata()?);
    let mut secret = Vec::new();
    file.take(LEN_MAX as u64 + 1).read_to_end(&mut secret)?;
    secret.truncate(secret.trim_ascii_end().len());
    if !(LEN_MIN..=LEN_MAX).contains(&secret.len()) {
        return Err(TokenFault::Length(secret.len()));
    }
    if !secret.iter().all(u8::is_ascii_graphic) {
        return Err(TokenFault::Bytes);
    }
    Ok((secret, state))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    /// A file in a directory of its own, which goes with it.
    struct Scene(PathBuf);

    impl Scene {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("weir-token-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn file(&self) -> PathBuf {
            self.0.join("token")
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_token_is_one_line_and_nothing_else_is_it() {
        let scene = Scene::new("is");
        fs::write(scene.file(), "0123456789abcdef\n").unwrap();
        let token = Token::open(&scene.file()).unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for wrong in ["", "0", "0123456789abcdeF", "0123456789abcdef\n", "0123456789abcdef0"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong:?}");
        }
        assert!(!format!("{token:?}").contains("0123456789"));
    }

    #[test]
    fn a_file_without_a_token_is_refused_and_not_quoted() {
        let scene = Scene::new("refused");
        assert!(Token::open(&scene.file()).unwrap_err().to_string().contains("create it"));
        for text in ["", "\n", "tooshort", "0123456789 abcdef", "0123456789\nabcdef", "0123456789abcde\u{e9}"]
        {
            fs::write(scene.file(), text).unwrap();
            let said = Token::open(&scene.file()).unwrap_err().to_string();
            assert!(said.contains("openssl rand -hex 32"), "{said}");
            assert!(text.len() < 3 || !said.contains(text), "{said}");
        }
        fs::write(scene.file(), "x".repeat(LEN_MAX + 1)).unwrap();
        assert!(Token::open(&scene.file()).is_err());
    }

    #[test]
    fn another_token_in_the_file_holds_at_once_and_while_there_is_none_the_old_one_does() {
        let scene = Scene::new("follow");
        fs::write(scene.file(), "the-first-token-of-all").unwrap();
        let token = Token::open(&scene.file()).unwrap();
        fs::write(scene.file(), "short").unwrap();
        assert!(token.is(b"the-first-token-of-all"), "what is there now is none");
        fs::remove_file(scene.file()).unwrap();
        assert!(token.is(b"the-first-token-of-all"));
        fs::write(scene.file(), "the-second-token-of-all").unwrap();
        assert!(token.is(b"the-second-token-of-all") && !token.is(b"the-first-token-of-all"));
    }
}
