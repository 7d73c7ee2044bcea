//! What of a message may not change on its way through an intermediary, whatever it writes anew.
//!
//! Not here: which fields are added. The names are those of RFC 9110 §7.6 and of the fields by which weir
//! says who the client is, given here once more: a list that production forgot something in would agree
//! with itself.

use super::reader::{Fields, Head, all, dashed, elements};

/// Fields that are written anew for each connection, or that weir edits or counts.
const PER_HOP: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "max-forwards",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Of these, the ones that never pass (`upgrade` and `connection` only in an upgrade).
pub const NEVER: &[&str] = &["keep-alive", "proxy-connection", "te"];

/// Names that a client gains from having them dropped: `Connection` may not.
const NOT_DROPPED: &[&str] = &["authorization", "cookie", "content-type", "proxy-authorization"];

fn lower(name: &[u8]) -> String {
    name.iter().map(|&b| char::from(b).to_ascii_lowercase()).collect()
}

/// Whether a field says who the client is, to those too who make a variable of its name.
pub fn is_origin(name: &[u8]) -> bool {
    let name = lower(&dashed(name));
    name.starts_with("x-forwarded-") || name == "forwarded" || name == "x-real-ip"
}

/// The names in `Connection`.
pub fn nominated(fields: &Fields) -> Vec<String> {
    all(fields, "connection").flat_map(elements).map(lower).collect()
}

/// The fields that pass from end to end, those of [`is_origin`] left out.
pub fn end_to_end(fields: &Fields, nominated: &[String]) -> Fields {
    let stays = |name: &[u8]| {
        let name = lower(name);
        !PER_HOP.contains(&name.as_str())
            && !is_origin(name.as_bytes())
            && (!nominated.contains(&name) || NOT_DROPPED.contains(&name.as_str()))
    };
    fields.iter().filter(|(name, _)| stays(name)).cloned().collect()
}

/// Names that [`nominated`] has and that must be gone. Some may stay: whatever is for all recipients.
pub fn assert_gone(fields: &Fields, nominated: &[String]) {
    const MAY_STAY: &[&str] = &[
        "cache-control",
        "close",
        "content-encoding",
        "content-range",
        "date",
        "keep-alive",
        "set-cookie",
        "upgrade",
    ];
    for (name, _) in fields {
        let name = lower(name);
        let listed = |names: &[&str]| names.contains(&name.as_str());
        let stays = listed(MAY_STAY) || listed(NOT_DROPPED) || listed(PER_HOP) || is_origin(name.as_bytes());
        assert!(!nominated.contains(&name) || stays, "{name} was for weir alone, and passed");
        assert!(!NEVER.contains(&name.as_str()), "{name} passed");
    }
}

/// The fields of [`is_origin`], in order.
pub fn origin(fields: &Fields) -> Fields {
    fields.iter().filter(|(name, _)| is_origin(name)).cloned().collect()
}

/// What a request asks for: the target in origin form (or `*`), and the host that is meant.
pub fn asked(head: &Head) -> (Vec<u8>, Option<Vec<u8>>) {
    let [method, target, _] = &head.line;
    let host = all(&head.fields, "host").next().map(<[u8]>::to_vec);
    let scheme = ["http://", "https://"]
        .into_iter()
        .find(|scheme| target.len() >= scheme.len() && lower(&target[..scheme.len()]) == *scheme);
    let Some(scheme) = scheme else { return (target.clone(), host) };
    let rest = &target[scheme.len()..];
    let end = rest.iter().position(|b| b"/?".contains(b)).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = match path {
        [] if method == b"OPTIONS" => b"*".to_vec(),
        [b'/', ..] => path.to_vec(),
        _ => [b"/", path].concat(),
    };
    (path, Some(authority.to_vec()))
}
