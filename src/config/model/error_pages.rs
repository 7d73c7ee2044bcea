//! `[listener.error_pages]` as the other rooms read it: the pages, whole, and which one a status gets.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// This status.
    Status(u16),
    /// All statuses with this first digit that have no page of their own.
    Class(u16),
}

/// The bytes of a page, of which the process has one copy.
#[derive(Clone, PartialEq, Eq)]
pub struct PageBody(pub Arc<[u8]>);

impl fmt::Debug for PageBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// What it is for.
    pub answers: Answers,
    /// Where it came from.
    pub file: PathBuf,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// It.
    pub body: PageBody,
}

/// The pages of a listener; there may be none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorPages(pub Vec<ErrorPage>);

impl ErrorPages {
    /// The page for an answer with this status: its own, else its class's.
    pub fn of(&self, status: u16) -> Option<&ErrorPage> {
        let find = |answers| self.0.iter().find(|page| page.answers == answers);
        find(Answers::Status(status)).or_else(|| find(Answers::Class(status / 100)))
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|page| page.body.0.len() as u64).sum()
    }
}
