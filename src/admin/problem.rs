//! What a refused admin request is told: a status, what is wrong and what to do, as JSON.
//!
//! Every refusal of this room is a [`Problem`], so that scripts can rely on its form. `code` is one stable
//! word for them to react to; `error` and `remedy` are for people and may be worded differently tomorrow.

use crate::config::nearest;
use hyper::StatusCode;
use serde::Serialize;

/// Known names that a refusal lists; a pool may have thousands.
const NAMED_MAX: usize = 12;

/// Why a request is refused.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    #[serde(skip)]
    pub(super) status: StatusCode,
    code: &'static str,
    error: String,
    remedy: String,
    /// The methods that the path has, where another was used.
    #[serde(skip)]
    pub(super) allow: Option<&'static str>,
    /// What is wrong with a configuration file, a line each, where that is why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<String>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        error: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (error, remedy) = (error.into(), remedy.into());
        Self { status, code, error, remedy, allow: None, faults: Vec::new() }
    }

    /// The request itself is wrong.
    pub(super) fn bad_request(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", error, remedy)
    }

    /// Whoever asks may be a web page.
    pub(super) fn forbidden(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", error, remedy)
    }

    /// Whoever asks has not shown the token.
    pub(super) fn unauthorized(error: impl Into<String>) -> Self {
        let remedy = "send `Authorization: Bearer TOKEN` with what admin.token_file has; \
                      weir ctl does with --token-file FILE or WEIR_ADMIN_TOKEN_FILE";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", error, remedy)
    }

    /// Nothing has this path.
    pub(super) fn no_such_path(path: &str, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_such_path", format!("there is no {path}"), remedy)
    }

    /// The path has other methods.
    pub(super) fn method(path: &str, allow: &'static str) -> Self {
        let refused = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("{path} takes {allow} only"),
            format!("use {allow}"),
        );
        Self { allow: Some(allow), ..refused }
    }

    /// With what is wrong in a configuration file.
    pub(super) fn with_faults(self, faults: &[String]) -> Self {
        Self { faults: faults.to_vec(), ..self }
    }

    /// A name that nothing has, and the nearest that something has.
    pub(super) fn no_such_name(code: &'static str, what: &str, name: &str, known: &[String]) -> Self {
        let remedy = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near:?}?"),
            None if known.is_empty() => "there is none".to_owned(),
            None => {
                let named: Vec<String> =
                    known.iter().take(NAMED_MAX).map(|name| format!("{name:?}")).collect();
                let more = if known.len() > NAMED_MAX { ", …" } else { "" };
                format!("there are {}{more}", named.join(", "))
            }
        };
        Self::new(StatusCode::NOT_FOUND, code, format!("{what} {name:?}"), remedy)
    }
}
