//! Chunk extensions (RFC 9112 §7.1.1), byte by byte.
//!
//! Nobody uses them but to attack, and none is passed on: they are read to know where they end. Whether a
//! line's end stands within quotes is what two readers would see differently, so the grammar is checked to
//! the byte. Here: that. Not here: how long they may be (`chunked.rs`, which calls this).

use super::scan;

/// What an extension has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extension {
    /// White space, which only a `;` may follow.
    Space,
    /// The `;`, perhaps with white space after it: a name comes.
    Begun,
    Name,
    /// White space after a name.
    AfterName,
    /// The `=`, perhaps with white space after it.
    Equals,
    Token,
    Quoted,
    /// A backslash in quotes.
    Escape,
    /// The quote at the end.
    Unquoted,
}

impl Extension {
    /// After the first byte behind a chunk's size; `None`: it begins no extension.
    #[inline]
    pub(super) const fn begin(byte: u8) -> Option<Self> {
        match byte {
            b';' => Some(Self::Begun),
            b' ' | b'\t' => Some(Self::Space),
            _ => None,
        }
    }

    /// After one more byte; `None`: no extension has it there.
    pub(super) fn step(self, byte: u8) -> Option<Self> {
        let space = scan::is_space(byte);
        match (self, byte) {
            (Self::Space, _) => Self::begin(byte),
            (Self::Begun, _) if space => Some(Self::Begun),
            (Self::Begun | Self::Name, _) if scan::is_token(byte) => Some(Self::Name),
            (Self::Name | Self::AfterName, b'=') => Some(Self::Equals),
            (Self::Name | Self::AfterName, b';') => Some(Self::Begun),
            (Self::Name | Self::AfterName, _) if space => Some(Self::AfterName),
            (Self::Equals, _) if space => Some(Self::Equals),
            (Self::Equals, b'"') => Some(Self::Quoted),
            (Self::Equals | Self::Token, _) if scan::is_token(byte) => Some(Self::Token),
            (Self::Quoted, b'"') => Some(Self::Unquoted),
            (Self::Quoted, b'\\') => Some(Self::Escape),
            (Self::Quoted | Self::Escape, _) if scan::is_value(byte) => Some(Self::Quoted),
            (Self::Token | Self::Unquoted, _) => Self::begin(byte),
            (Self::Begun | Self::Name | Self::AfterName | Self::Equals | Self::Quoted | Self::Escape, _) => {
                None
            }
        }
    }

    /// Whether the line may end here.
    pub(super) const fn may_end(self) -> bool {
        match self {
            Self::Name | Self::Token | Self::Unquoted => true,
            Self::Space | Self::Begun | Self::AfterName | Self::Equals | Self::Quoted | Self::Escape => false,
        }
    }
}
