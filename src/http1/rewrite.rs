//! What the writers of both directions share: copying the fields that pass, in as few pieces as can be.
//!
//! Names keep their case and order, and what passes is passed byte for byte. So writing is mostly
//! copying: lines that stay as they are and stand side by side go out in one copy, and most heads have
//! little or nothing to take out. Not here: which kinds each direction takes out, and what it adds.

use super::fields::{Field, Fields, Kind, Kinds};

/// Fields that are for one connection alone, in either direction (RFC 9110 §7.6.1). `Upgrade` is one of
/// them unless the upgrade is passed on. `Proxy-Authenticate` and `-Authorization` pass, as they do
/// through nginx: it is the backend that wants them.
pub(super) const HOP_BY_HOP: Kinds =
    Kinds::of(&[Kind::Connection, Kind::KeepAlive, Kind::ProxyConnection, Kind::Te, Kind::Nominated]);

/// Copies the fields, which end at `end`, to `out`, but gives those of the kinds in `edited` to `edit`
/// instead; what it writes stands in the field's place.
#[inline]
pub(super) fn copy_fields(
    bytes: &[u8],
    fields: &Fields,
    end: usize,
    edited: Kinds,
    out: &mut Vec<u8>,
    mut edit: impl FnMut(&Field, &mut Vec<u8>),
) {
    let list = fields.list();
    let Some(first) = list.first() else { return };
    let mut copied = first.name.start as usize;
    if fields.is_untidy() || fields.seen().meets(edited) {
        for (at, field) in list.iter().enumerate() {
            let is_edited = edited.has(field.kind);
            if field.exact && !is_edited {
                continue;
            }
            out.extend_from_slice(&bytes[copied..field.name.start as usize]);
            copied = list.get(at + 1).map_or(end, |next| next.name.start as usize);
            if is_edited {
                edit(field, out);
            } else if field.kind == Kind::TransferEncoding {
                write_field(field.name.of(bytes), b"chunked", out);
            } else {
                write_field(field.name.of(bytes), field.value.of(bytes), out);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..end]);
}

/// `Name: value CRLF`
pub(super) fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}
