//! Addresses, host names, hosts and paths of routes, fields of checks: text that must have a form.
//!
//! Here: from a string of the file to the model's type, or what is wrong with it; and how an address
//! prints, the way it is written in the file. Not here: whether an address can be bound or reached.

use super::fault::Wrong;
use super::model::{BackendAddress, HostPattern, ListenAddress};
use super::values::quoted;
use rustls::pki_types::ServerName;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The bytes of a Unix socket's path: `sun_path` has 108 with the closing zero (unix(7)).
const UNIX_PATH_MAX: usize = 107;

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => unix(path, f),
        }
    }
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => f.write_str(name),
            Self::Tcp(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Unix(path) => unix(path, f),
        }
    }
}

impl BackendAddress {
    /// An address as a configuration writes it.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        backend(text).map_err(|Wrong { what, remedy }| (what, remedy))
    }
}

fn unix(path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "unix:{}", path.display())
}

/// Where weir listens: "0.0.0.0:8080", "[::]:8080", "unix:/run/weir/web.sock". Port 0 is any free one.
pub(super) fn listen(text: &str) -> Result<ListenAddress, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path).map(ListenAddress::Unix);
    }
    if let Ok(address) = text.parse() {
        return Ok(ListenAddress::Tcp(address));
    }
    let wrong = format!("{} is not an IP address and a port", quoted(text));
    let port = text.rsplit_once(':').map_or(text, |(_, port)| port);
    let host = text.rsplit_once(':').map_or("", |(host, _)| host);
    Err(if port.parse::<u16>().is_ok() && matches!(host, "" | "*") {
        Wrong::new(wrong, format!("write \"0.0.0.0:{port}\", or \"[::]:{port}\" for IPv6 too"))
    } else if port.parse::<u16>().is_ok() && host == "localhost" {
        Wrong::new(wrong, format!("write \"127.0.0.1:{port}\" or \"[::1]:{port}\""))
    } else {
        Wrong::new(
            wrong,
            without_port(text).unwrap_or_else(|| {
                "write one such as \"0.0.0.0:8080\", \"[::]:8080\" or \"unix:/run/weir/web.sock\"".to_owned()
            }),
        )
    })
}

/// Where a backend is: an IP address or a host name, and a port; or "unix:/run/app.sock"; or the name of
/// SRV records.
pub(super) fn backend(text: &str) -> Result<BackendAddress, Wrong> {
    const FORMS: &str = "write one such as \"10.0.0.11:8080\", \"name:8080\" or \"unix:/run/app.sock\"";
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path).map(BackendAddress::Unix);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 { Err(port_zero(text)) } else { Ok(BackendAddress::Tcp(address)) };
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let authority = rest.split('/').next().unwrap_or("");
        let port = if authority.contains(':') {
            ""
        } else if scheme == "https" {
            ":443"
        } else {
            ":80"
        };
        let what = format!("{} is a URL, not an address", quoted(text));
        return Err(Wrong::new(what, format!("write {}", quoted(&format!("{authority}{port}")))));
    }
    if let Some(service) = service(text) {
        return service;
    }
    let not_an_address = |remedy| Err(Wrong::new(format!("{} is not an address", quoted(text)), remedy));
    if let Some(remedy) = without_port(text) {
        return Err(Wrong::new(format!("{} has no port", quoted(text)), remedy));
    }
    let Some((host, port)) = text.rsplit_once(':') else { return not_an_address(FORMS.to_owned()) };
    if host.parse::<Ipv6Addr>().is_ok() {
        return not_an_address(format!("write \"[{host}]:{port}\""));
    }
    match port.parse::<u16>() {
        Ok(0) => Err(port_zero(text)),
        Ok(port) => match host_name(host) {
            Ok(()) if !looks_numeric(host) => Ok(BackendAddress::Name(host.to_ascii_lowercase(), port)),
            Ok(()) | Err(_) => not_an_address(FORMS.to_owned()),
        },
        Err(_) => {
            let what = format!("{} is not a port", quoted(port));
            Err(Wrong::new(what, "end the address in \":\" and a port from 1 to 65535"))
        }
    }
}

/// The name of SRV records, "_service._proto.name" (RFC 2782); `None`: it does not look like one.
///
/// A host may have an underscore before its name too, so only what begins as SRV names do, or has no port,
/// is taken for one.
fn service(text: &str) -> Option<Result<BackendAddress, Wrong>> {
    const FORM: &str = "\"_http._tcp.app.internal\"";
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let mut labels = name.splitn(3, '.');
    let (service, proto, rest) = (labels.next()?, labels.next(), labels.next());
    let begins_as_srv = service.starts_with('_') && proto.is_some_and(|proto| proto.starts_with('_'));
    if !service.starts_with('_') || (port.is_some() && !begins_as_srv) {
        return None;
    }
    let wrong = |why: &str, remedy: String| Some(Err(Wrong::new(format!("{} {why}", quoted(text)), remedy)));
    if port.is_some() {
        return wrong("has a port, which SRV records say themselves", format!("write {}", quoted(name)));
    }
    let Some(rest) = rest.filter(|_| begins_as_srv) else {
        return wrong(
            "is neither the name of SRV records nor a host with a port",
            format!("write one such as {FORM}, or add the port: {}", quoted(&format!("{text}:8080"))),
        );
    };
    if !proto.is_some_and(|proto| proto.eq_ignore_ascii_case("_tcp")) {
        let remedy = format!("write {}", quoted(&format!("{service}._tcp.{rest}")));
        return wrong("is not a service over TCP", remedy);
    }
    Some(host_name(name).map(|()| BackendAddress::Service(name.to_ascii_lowercase())))
}

fn port_zero(text: &str) -> Wrong {
    let what = format!("{} has port 0, to which nothing can connect", quoted(text));
    Wrong::new(what, "write the backend's port, 1 to 65535")
}

/// What to write instead, if only the port is missing.
fn without_port(text: &str) -> Option<String> {
    let bare_v6 = text.trim_start_matches('[').trim_end_matches(']');
    if bare_v6.parse::<Ipv6Addr>().is_ok() && (text.starts_with('[') || text.ends_with("::")) {
        return Some(format!("add the port: \"[{bare_v6}]:8080\""));
    }
    let is_host = !text.contains(':') && host_name(text).is_ok() && text.parse::<u32>().is_err();
    is_host.then(|| format!("add the port: \"{text}:8080\""))
}

/// The absolute path of a file; where weir is started from must not matter.
pub(super) fn file(text: &str, example: &str) -> Result<PathBuf, Wrong> {
    if !text.starts_with('/') || text.ends_with('/') || text.contains('\0') {
        let what = format!("{} is not the absolute path of a file", quoted(text));
        return Err(Wrong::new(what, format!("write one such as {}", quoted(example))));
    }
    Ok(PathBuf::from(text))
}

/// weir's name in `Via` (RFC 9110 §7.6.3): a token; "" is none.
pub(super) fn pseudonym(text: &str) -> Result<Option<String>, Wrong> {
    if is_token(text) {
        return Ok((!text.is_empty()).then(|| text.to_owned()));
    }
    let what = format!("{} is not a name that Via can have", quoted(text));
    Err(Wrong::new(what, "use up to 64 letters, digits, \"-\", \"_\" and \".\", or \"\" for no Via"))
}

/// Fields that have a meaning of their own to weir or to those beside it: none of them can be a request's id.
const TAKEN: [&str; 36] = [
    "Accept",
    "Authorization",
    "Cache-Control",
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Cookie",
    "Date",
    "Expect",
    "Forwarded",
    "Host",
    "Keep-Alive",
    "Location",
    "Max-Forwards",
    "Origin",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Range",
    "Referer",
    "Retry-After",
    "Server",
    "Set-Cookie",
    "TE",
    "Traceparent",
    "Tracestate",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "User-Agent",
    "Vary",
    "Via",
    "WWW-Authenticate",
    "X-Real-IP",
];

/// The name of the field with a request's id (RFC 9110 §5.1): a token; "" is none.
pub(super) fn id_field(text: &str) -> Result<Option<String>, Wrong> {
    own_field(text, "id", "write one such as \"X-Request-Id\", or \"\" for none")
}

/// The name of the field with the subject of a client's certificate, as there.
pub(super) fn subject_field(text: &str) -> Result<Option<String>, Wrong> {
    own_field(text, "subject", "write one such as \"X-Client-Subject\", or \"\" for none")
}

/// The name of a field that weir writes, `what` in it.
fn own_field(text: &str, what: &str, form: &str) -> Result<Option<String>, Wrong> {
    if !is_token(text) {
        return Err(Wrong::new(format!("{} is not a name that a field can have", quoted(text)), form));
    }
    // Some who read heads make variables of names and see no difference.
    let name: String =
        text.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    if TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(&name)) || name.starts_with("x-forwarded-") {
        let what = format!("{} has a meaning of its own, so no {what} can stand in it", quoted(text));
        let remedy = format!("{form}; it cannot be X-Forwarded-*, {}", TAKEN.join(", "));
        return Err(Wrong::new(what, remedy));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// Up to 64 characters of those that a token has (RFC 9110 §5.6.2).
fn is_token(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    text.bytes().all(is_token) && text.len() <= 64
}

/// The name of a user or group.
pub(super) fn account(text: &str) -> Result<String, Wrong> {
    let is_name = |c: char| !c.is_control() && !c.is_whitespace() && c != ':';
    if text.is_empty() || text.len() > 255 || !text.chars().all(is_name) {
        let what = format!("{} is not the name of a user or group", quoted(text));
        return Err(Wrong::new(what, "write one such as \"weir\", or its number"));
    }
    Ok(text.to_owned())
}

/// Whom a backend's certificate names: a host name, or an IP address.
pub(super) fn server_name(text: &str) -> Result<String, Wrong> {
    if text.parse::<IpAddr>().is_err() {
        host_name(text)?;
        if looks_numeric(text) || ServerName::try_from(text).is_err() {
            let what = format!("{} is neither a host name nor an IP address", quoted(text));
            return Err(Wrong::new(what, "write the name that the backends' certificate has"));
        }
    }
    Ok(text.to_ascii_lowercase())
}

/// A DNS server: an IP address, with a port where that is not 53. A name would have to be looked up.
pub(super) fn dns_server(text: &str) -> Result<SocketAddr, Wrong> {
    let with_port = text.parse::<SocketAddr>().ok().filter(|server| server.port() > 0);
    let server = with_port.or_else(|| Some(SocketAddr::new(text.parse().ok()?, 53)));
    server.filter(|server| !server.ip().is_unspecified()).ok_or_else(|| {
        let what = format!("{} is not the address of a DNS server", quoted(text));
        Wrong::new(what, "write one such as \"10.0.0.53\" or \"127.0.0.1:5353\"")
    })
}

pub(super) fn unix_path(path: &str) -> Result<PathBuf, Wrong> {
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        let what = format!("{} is not the absolute path of a socket", quoted(path));
        return Err(Wrong::new(what, "write one such as \"unix:/run/weir/web.sock\""));
    }
    if path.len() > UNIX_PATH_MAX {
        let what = format!("the path has {} bytes, a Unix socket's has at most {UNIX_PATH_MAX}", path.len());
        return Err(Wrong::new(what, "put the socket in a directory with a shorter path"));
    }
    Ok(PathBuf::from(path))
}

/// Labels as RFC 1123, section 2.1 has them, and underscores, which container networks give to their hosts.
fn host_name(text: &str) -> Result<(), Wrong> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Ok(());
    }
    let remedy = if !text.is_ascii() {
        "write it in its ASCII form (xn--…)"
    } else if text.ends_with('.') {
        "leave out the dot at the end"
    } else {
        "write labels of letters, digits and hyphens with dots between, such as \"app.example.org\""
    };
    Err(Wrong::new(format!("{} is not a host name", quoted(text)), remedy))
}

/// "10.0.0.300" is a slip in an IP address, not a name: top-level domains are never digits (RFC 3696, 2).
fn looks_numeric(host: &str) -> bool {
    host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
}

/// A route's host: exact, or "*.suffix".
pub(super) fn host_pattern(text: &str) -> Result<HostPattern, Wrong> {
    let host = text.to_ascii_lowercase();
    if host.is_empty() || host == "*" {
        return Err(Wrong::new(format!("{} names no host", quoted(text)), "for any host leave `host` out"));
    }
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
        && v6.parse::<Ipv6Addr>().is_ok()
    {
        return Ok(HostPattern::Exact(host));
    }
    if let Some((name, port)) = host.rsplit_once(':') {
        let what = format!("{} is not a host", quoted(text));
        return Err(if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() {
            Wrong::new(what, format!("leave out the port, which routes do not look at: {}", quoted(name)))
        } else {
            Wrong::new(what, "write a host name, or an IPv6 address in brackets")
        });
    }
    let suffix = host.strip_prefix("*.");
    let name = suffix.unwrap_or(&host);
    if name.contains('*') {
        let what = format!("{} has a * that is not its whole first label", quoted(text));
        return Err(Wrong::new(what, "write an exact host, or \"*.\" and a suffix"));
    }
    host_name(name)?;
    Ok(match suffix {
        Some(suffix) => HostPattern::Suffix(format!(".{suffix}")),
        None => HostPattern::Exact(host),
    })
}

/// A route's path: a prefix on whole segments. Paths are matched after normalisation, so a prefix that no
/// normalised path can have would never match; it is refused.
pub(super) fn route_path(text: &str) -> Result<String, Wrong> {
    target(text)?;
    let wrong = |why: &str, remedy: String| Err(Wrong::new(format!("{} {why}", quoted(text)), remedy));
    let encoded = text.to_ascii_lowercase();
    if text.contains('?') {
        wrong("has a query, which routes do not look at", "leave out \"?\" and what follows".to_owned())
    } else if text.contains("//") || text.split('/').any(|segment| matches!(segment, "." | "..")) {
        wrong("has empty or dot segments", "write the path without them".to_owned())
    } else if text.contains('\\') || ["%2f", "%5c", "%2e"].iter().any(|code| encoded.contains(code)) {
        wrong("has an encoded slash, backslash or dot", "write the path without them".to_owned())
    } else if text.len() > 1 && text.ends_with('/') {
        let path = text.trim_end_matches('/');
        wrong("ends in a slash", format!("write {}, which covers all below it too", quoted(path)))
    } else {
        Ok(text.to_owned())
    }
}

/// A check's path, with a query if need be: what may follow the method in a request line (RFC 9112, 3.2.1).
pub(super) fn target(text: &str) -> Result<String, Wrong> {
    if !text.starts_with('/') {
        let what = format!("{} does not begin with \"/\"", quoted(text));
        return Err(Wrong::new(what, format!("write {}", quoted(&format!("/{text}")))));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        let what = format!("{} has characters that no request's path has", quoted(text));
        return Err(Wrong::new(what, "percent-encode all but visible ASCII, and leave out fragments (#…)"));
    }
    Ok(text.to_owned())
}

/// A check's Host: a name or an address, with a port if need be.
pub(super) fn host_field(text: &str) -> Result<String, Wrong> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !text.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let v6 = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let name_is_right = match v6 {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => name.parse::<Ipv4Addr>().is_ok() || host_name(name).is_ok(),
    };
    if name_is_right && port.is_none_or(|port| port.parse::<u16>().is_ok()) {
        return Ok(text.to_owned());
    }
    let what = format!("{} is not a host", quoted(text));
    Err(Wrong::new(what, "write one such as \"app.internal\" or \"app.internal:8080\""))
}

/// A token (RFC 9110, 5.6.2): what methods and field names are made of.
pub(super) fn token(text: &str) -> Result<String, Wrong> {
    let in_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.is_empty() && text.bytes().all(in_token) {
        return Ok(text.to_owned());
    }
    let what = format!("{} is not a token", quoted(text));
    Err(Wrong::new(what, "use letters, digits and hyphens"))
}

/// A field's value (RFC 9110, 5.5): a CR or LF in it would begin another field.
pub(super) fn field_value(text: &str) -> Result<String, Wrong> {
    if text.bytes().any(|b| (b.is_ascii_control() && b != b'\t') || !b.is_ascii()) {
        let what = format!("{} has a line break or another byte that no field has", quoted(text));
        return Err(Wrong::new(what, "use visible ASCII, spaces and tabs"));
    }
    if text.trim() != text {
        let what = format!("{} has spaces around it, which are no part of a field", quoted(text));
        return Err(Wrong::new(what, format!("write {}", quoted(text.trim()))));
    }
    Ok(text.to_owned())
}

/// A name of a listener, pool or backend, which ends up in logs and metrics.
pub(super) fn label(text: &str) -> Result<String, Wrong> {
    if text.trim().is_empty() {
        return Err(Wrong::new("the name is empty", "give a name that can be told apart in logs"));
    }
    if text.len() > 128 || text.chars().any(char::is_control) {
        let what = format!("{} is too long for a name, or has control characters", quoted(text));
        return Err(Wrong::new(what, "use at most 128 bytes of printable text"));
    }
    Ok(text.to_owned())
}
