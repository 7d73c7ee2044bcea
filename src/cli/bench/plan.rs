//! From the arguments to what is to be done; what is wrong with an argument, and what to write instead.
//!
//! Here: [`Plan`], and the readers of single values that clap calls. Pure but for [`Plan::new`], which reads the
//! body's file. Not here: the arguments themselves and their help (`mod.rs`), finding the target (`round`).

use super::Arguments;
use super::schedule::Load;
use crate::config::length_of_time;
use crate::sys;
use crate::time::Micros;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING, USER_AGENT};
use hyper::http::uri::Scheme;
use hyper::{Method, Request, Uri};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const DAY: Micros = Micros::from_s(24 * 3600);
/// In a shorter round hardly anything happens.
const ROUND_MIN: Micros = Micros::from_ms(100);
/// What one thread does without being late, with cores to spare.
const RATE_OF_A_THREAD: f64 = 20_000.0;

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// As it was given.
    pub(super) url: String,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    authority: String,
    path: String,
}

/// A request's field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field(HeaderName, HeaderValue);

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) target: Target,
    pub(super) against: Option<Target>,
    /// Of one round; warm-up included.
    pub(super) load: Load,
    pub(super) warmup: Micros,
    /// How long each target is measured, in all rounds together.
    pub(super) duration: Micros,
    /// Of each target.
    pub(super) rounds: u32,
    pub(super) connections: usize,
    pub(super) threads: usize,
    pub(super) timeout: Micros,
    pub(super) out: Option<PathBuf>,
    pub(super) json: bool,
    method: Method,
    fields: Vec<Field>,
    body: Bytes,
}

impl Plan {
    /// What these arguments come to.
    ///
    /// # Errors
    /// Which argument is wrong, and what to do.
    pub(super) fn new(arguments: &Arguments) -> Result<Self, String> {
        let body = match &arguments.body {
            Some(file) => read_body(file).map_err(|error| {
                format!("--body {}: {error}; name a file that can be read, or - for stdin", file.display())
            })?,
            None => Vec::new(),
        };
        let implied = if arguments.body.is_some() { Method::POST } else { Method::GET };
        let rounds = if arguments.against.is_some() { arguments.rounds } else { 1 };
        let length = Micros::from_us(arguments.duration.as_us() / u64::from(rounds));
        if length < ROUND_MIN {
            return Err(format!(
                "--rounds {rounds} leaves each round {length} of --duration {}; give {} or more, or fewer rounds",
                arguments.duration,
                Micros::from_us(ROUND_MIN.as_us() * u64::from(rounds)),
            ));
        }
        let cores = sys::cpu::available().len().max(1);
        let enough = (arguments.rate / RATE_OF_A_THREAD).ceil() as usize;
        let threads = arguments.threads.map_or(enough.clamp(1, cores), usize::from);
        let connections = usize::from(arguments.connections);
        Ok(Self {
            target: arguments.target.clone(),
            against: arguments.against.clone(),
            load: Load {
                rate: arguments.rate,
                length: Micros::from_us(length.as_us() + arguments.warmup.as_us()),
                arrivals: arguments.arrivals,
                seed: arguments.seed,
            },
            warmup: arguments.warmup,
            duration: Micros::from_us(length.as_us() * u64::from(rounds)),
            rounds,
            connections,
            threads: threads.min(connections),
            timeout: arguments.timeout,
            out: arguments.out.clone(),
            json: arguments.json,
            method: arguments.method.clone().unwrap_or(implied),
            fields: arguments.headers.clone(),
            body: body.into(),
        })
    }

    /// How long requests that count become due in one round.
    pub(super) fn measured(&self) -> Micros {
        Micros::from_us(self.load.length.as_us() - self.warmup.as_us())
    }

    /// The request that is sent to `target`, again and again.
    ///
    /// # Errors
    /// hyper does not take it, whose parts it took.
    pub(super) fn request(&self, target: &Target) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(target.path.as_str())
            .header(HOST, target.authority.as_str())
            .header(USER_AGENT, concat!("weir-bench/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(self.body.clone()))?;
        let named = |name: &HeaderName| self.fields.iter().filter(|field| field.0 == *name).count();
        for Field(name, value) in &self.fields {
            // A field that this adds by itself is replaced; one that is given twice stands twice.
            if named(name) > 1 {
                request.headers_mut().append(name, value.clone());
            } else {
                request.headers_mut().insert(name, value.clone());
            }
        }
        Ok(request)
    }
}

fn read_body(file: &Path) -> io::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut body = Vec::new();
        io::stdin().lock().read_to_end(&mut body)?;
        return Ok(body);
    }
    std::fs::read(file)
}

/// A URL.
pub(super) fn target(text: &str) -> Result<Target, String> {
    let example = "write one such as http://127.0.0.1:8080/path";
    let uri: Uri = text.parse().map_err(|error| format!("it is no URL ({error}); {example}"))?;
    match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => {}
        Some(scheme) if *scheme == Scheme::HTTPS => {
            let what = "weir bench speaks HTTP/1.1 without TLS; measure an http:// URL";
            return Err(format!("{what}, or take h2load for TLS and HTTP/2"));
        }
        Some(scheme) => return Err(format!("{scheme}:// is not known here; {example}")),
        None => return Err(format!("it has no scheme; {example}")),
    }
    let (Some(authority), Some(host)) = (uri.authority(), uri.host().filter(|host| !host.is_empty())) else {
        return Err(format!("it names no host; {example}"));
    };
    if authority.as_str().contains('@') {
        return Err("a user in a URL is not sent; give --header 'Authorization: …'".into());
    }
    Ok(Target {
        url: text.to_owned(),
        host: host.trim_matches(['[', ']']).to_owned(),
        port: uri.port_u16().unwrap_or(80),
        authority: authority.to_string(),
        path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
    })
}

/// Requests per second: "500", "2000/s", "10k".
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).trim_end();
    let (number, factor) = match number.strip_suffix(['k', 'K']) {
        Some(thousands) => (thousands, 1e3),
        None => (number, 1.0),
    };
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match number.parse::<f64>() {
        Ok(value) if plain && (0.01..=1e6).contains(&(value * factor)) => Ok(value * factor),
        Ok(_) if plain => Err("it is out of range; give 0.01 to 1000000 requests a second".into()),
        Ok(_) | Err(_) => {
            Err("it is no rate; write requests a second, such as 500, 2000/s or 10k".to_owned())
        }
    }
}

/// How long something is measured.
pub(super) fn duration(text: &str) -> Result<Micros, String> {
    length_of_time(text, ROUND_MIN..=DAY)
}

/// A length of time that may be none.
pub(super) fn warmup(text: &str) -> Result<Micros, String> {
    length_of_time(text, Micros::ZERO..=DAY)
}

/// How long an answer is awaited.
pub(super) fn patience(text: &str) -> Result<Micros, String> {
    length_of_time(text, Micros::from_ms(1)..=Micros::from_s(3600))
}

/// A method.
pub(super) fn method(text: &str) -> Result<Method, String> {
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => Err("a tunnel has no latency of its own; give another method".to_owned()),
        Ok(method) => Ok(method),
        Err(_) => Err("it is no method; write one such as GET or POST".to_owned()),
    }
}

/// A field: "Name: value".
pub(super) fn field(text: &str) -> Result<Field, String> {
    let wrong = "it is no field; write 'Name: value'";
    let (name, value) = text.split_once(':').ok_or(wrong)?;
    let name: HeaderName = name.parse().map_err(|_| wrong)?;
    if name == CONTENT_LENGTH || name == TRANSFER_ENCODING {
        return Err(format!("{name} follows from --body; leave it out"));
    }
    let value: HeaderValue = value.trim().parse().map_err(|_| wrong)?;
    Ok(Field(name, value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_what_is_none_is_refused_with_what_to_write() {
        for (text, expected) in
            [("500", 500.0), ("2000/s", 2_000.0), ("10k", 10_000.0), ("1.5K/s", 1_500.0), ("0.5", 0.5)]
        {
            assert_eq!(rate(text), Ok(expected), "{text}");
        }
        for text in ["", "fast", "-5", "0", "1e3", "10k/m", "inf", "NaN", "2000000", "k", "1.2.3"] {
            let fault = rate(text).unwrap_err();
            assert!(fault.contains("500, 2000/s") || fault.contains("0.01 to 1000000"), "{text}: {fault}");
        }
    }

    #[test]
    fn urls_are_read_and_others_refused_with_what_to_write() {
        for (text, host, port, authority, path) in [
            ("http://127.0.0.1:8080/a?b=c", "127.0.0.1", 8080, "127.0.0.1:8080", "/a?b=c"),
            ("http://example.org", "example.org", 80, "example.org", "/"),
            ("HTTP://[::1]:81", "::1", 81, "[::1]:81", "/"),
        ] {
            let found = target(text).unwrap();
            assert_eq!(
                (found.host.as_str(), found.port, found.authority.as_str(), found.path.as_str()),
                (host, port, authority, path),
                "{text}"
            );
        }
        for (text, part) in [
            ("https://example.org/", "without TLS"),
            ("127.0.0.1:8080", "http://"),
            ("/path", "no scheme"),
            ("ftp://example.org/", "ftp://"),
            ("http://", "no URL"),
            ("http://a b/", "no URL"),
            ("http://me:secret@example.org/", "--header"),
        ] {
            let fault = target(text).unwrap_err();
            assert!(fault.contains(part), "{text}: {fault}");
            assert!(!fault.contains("secret"), "{fault}");
        }
    }

    #[test]
    fn fields_and_methods_are_read_and_others_refused_with_what_to_write() {
        assert_eq!(field("X-A: b:c ").unwrap(), Field("x-a".parse().unwrap(), "b:c".parse().unwrap()));
        for (text, part) in [
            ("X-A", "'Name: value'"),
            ("a b: c", "'Name: value'"),
            ("X: \u{7}", "'Name: value'"),
            ("Content-Length: 5", "--body"),
        ] {
            assert!(field(text).unwrap_err().contains(part), "{text}");
        }
        assert_eq!(method("PURGE").unwrap().as_str(), "PURGE");
        assert!(method("G T").unwrap_err().contains("GET or POST"));
        assert!(method("CONNECT").is_err());
    }

    #[test]
    fn lengths_have_a_unit_and_a_range() {
        assert_eq!(duration("1.5s"), Ok(Micros::from_ms(1_500)));
        assert!(duration("10").unwrap_err().contains("write \"10s\""));
        assert!(duration("1ms").unwrap_err().contains("100ms"));
        assert_eq!(warmup("0s"), Ok(Micros::ZERO));
        assert!(patience("0s").unwrap_err().contains("less than 1ms"));
    }
}
