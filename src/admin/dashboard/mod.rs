//! The dashboard: the page that a browser shows at the admin address.
//!
//! Here: one response that holds everything (markup, style, script), and the fields that keep a browser from
//! adding to it. Put together when weir is built, so it needs no network and no file. Not here: what it shows,
//! which its script reads from `/live`, nor what its buttons do, which are the requests that `weir ctl` makes.
//! The page itself has no data, so whoever reaches the port may have it; what it asks for shows the token.
//!
//! | file | what lives there |
//! |---|---|
//! | `page.html` | the markup, with the places that the script fills |
//! | `style.css` | light and dark, wide and narrow |
//! | `words.js` | figures and lengths of time as people read them |
//! | `stream.js` | the token, `/live` and its events, coming back after a loss |
//! | `picture.js` | sparklines and the heat map |
//! | `past.js` | the last ten minutes |
//! | `rows.js` | backends, shards, transitions, refusals |
//! | `notes.js` | what stands out, said in words |
//! | `change.js` | drain, ready, weight: tried first, then done, then told |
//! | `main.js` | puts it together |

use super::answer::text;
use data_encoding::BASE64;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY, VARY,
    X_FRAME_OPTIONS,
};
use hyper::{Response, StatusCode};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const HTML: &str = "text/html; charset=utf-8";

const MARKUP: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = concat!(
    include_str!("words.js"),
    include_str!("stream.js"),
    include_str!("picture.js"),
    include_str!("past.js"),
    include_str!("rows.js"),
    include_str!("notes.js"),
    include_str!("change.js"),
    include_str!("main.js"),
);

/// Where the markup waits for the other two.
const STYLE_PLACE: &str = "/*style.css*/";
const SCRIPT_PLACE: &str = "/*script*/";

static PAGE: LazyLock<String> =
    LazyLock::new(|| MARKUP.replacen(STYLE_PLACE, STYLE, 1).replacen(SCRIPT_PLACE, SCRIPT, 1));

/// What the browser may load and do for this page: what stands in it, and requests to where it came from.
///
/// Names in it are an operator's, and may look like markup. The script never makes markup of text, and with
/// `require-trusted-types-for` a browser that knows it makes sure of that.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let (style, script) = (hash(STYLE), hash(SCRIPT));
    let policy = format!(
        "default-src 'none'; style-src '{style}'; script-src '{script}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'"
    );
    HeaderValue::try_from(policy).ok()
});

/// As a policy names what stands in the page itself (CSP 3, section 2.3.1).
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64.encode(&Sha256::digest(text)))
}

/// The page.
pub(super) fn page() -> Response<Full<Bytes>> {
    // A page without its policy is not sent.
    let Some(policy) = POLICY.clone() else {
        return text(
            StatusCode::INTERNAL_SERVER_ERROR,
            super::pages::TEXT,
            "the dashboard has no policy\n".into(),
        );
    };
    let mut response = text(StatusCode::OK, HTML, PAGE.clone());
    let fields = response.headers_mut();
    fields.insert(CONTENT_SECURITY_POLICY, policy);
    fields.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    fields.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    fields.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    // `/` is the plain index to everybody else.
    fields.insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// Whether who asks for `/` is a browser: it names HTML and would not rather have plain text (RFC 9110
/// §12.5.1). `*/*` names nothing.
pub(super) fn is_wanted(fields: &HeaderMap) -> bool {
    let mut weights = (0.0, 0.0);
    for line in fields.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok()) {
        for range in line.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let weight = match parts.next().unwrap_or("") {
                kind if kind.eq_ignore_ascii_case("text/html") => &mut weights.0,
                kind if kind.eq_ignore_ascii_case("text/plain") => &mut weights.1,
                _ => continue,
            };
            let given = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
            *weight = given.map_or(1.0, |given| given.parse::<f32>().unwrap_or(0.0));
        }
    }
    weights.0 > 0.0 && weights.0 >= weights.1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    /// As it is sent; a page that grows past this is no longer one that is there at once on a bad line.
    const LEN_MAX: usize = 80 << 10;

    #[tokio::test]
    async fn the_page_is_one_response_and_asks_nobody_for_anything() {
        let response = page();
        assert_eq!(response.status(), 200);
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let page = std::str::from_utf8(&body).unwrap();
        assert!(page.len() < LEN_MAX, "{} bytes", page.len());
        for outside in ["https://", "src=", "@import", "url(", "//cdn", "<iframe", "innerHTML", "eval("] {
            assert!(!page.contains(outside), "{outside}");
        }
        let namespace = page.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(page.matches("http://").count(), namespace, "a name, which nobody is asked for");
        for (open, close) in [("<style>", "</style>"), ("<script type=\"module\">", "</script>")] {
            let held = page.split_once(open).unwrap().1.split_once(close).unwrap().0;
            assert!(policy.contains(&format!("'{}'", hash(held))), "{open} is not what the policy allows");
            assert_eq!(page.matches(open).count(), 1);
        }
        for marker in [STYLE_PLACE, SCRIPT_PLACE, "style=\"", " onclick", "unsafe-"] {
            assert!(!page.contains(marker) && !policy.contains(marker), "{marker}");
        }
    }

    #[test]
    fn a_browser_gets_the_page_at_the_root_and_everybody_else_the_index() {
        for (accept, wanted) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", true),
            ("TEXT/HTML", true),
            ("text/html;q=0.5, text/plain;q=0.4", true),
            ("text/html;q=0.4, text/plain;q=0.5", false),
            ("text/html;level=1;q=0", false),
            ("text/html;q=much", false),
            ("text/plain", false),
            ("*/*", false),
            ("", false),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(is_wanted(&fields), wanted, "{accept:?}");
        }
        assert!(!is_wanted(&HeaderMap::new()));
    }
}
