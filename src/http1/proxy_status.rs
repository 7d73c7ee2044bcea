//! `Proxy-Status` (RFC 9209): why an answer is weir's own, for clients and for whoever stands in front.
//!
//! It names weir as `Via` does, one of the RFC's error types, and weir's own word for the cause; never an
//! address, nor a name of a pool or a backend. Answers of backends pass without one.

/// What the field says of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyStatus<'a> {
    /// Whose answer it is: weir's pseudonym, a token.
    pub by: &'a str,
    /// The error's type, of those that RFC 9209 §2.3 registers.
    pub error: &'static str,
    /// weir's own words for the cause, general one first: `weir explain` knows them.
    pub causes: (&'static str, Option<&'static str>),
}

impl ProxyStatus<'_> {
    /// Appends the field's line.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Proxy-Status: ");
        self.write_by(out);
        out.extend_from_slice(b"; error=");
        out.extend_from_slice(self.error.as_bytes());
        out.extend_from_slice(b"; details=\"");
        out.extend_from_slice(self.causes.0.as_bytes());
        if let Some(finer) = self.causes.1 {
            out.push(b'/');
            out.extend_from_slice(finer.as_bytes());
        }
        out.extend_from_slice(b"\"\r\n");
    }

    /// A token of RFC 8941 §3.3.4 begins with a letter or "*"; one of HTTP that does not is a string there. It
    /// has neither quotes nor backslashes.
    fn write_by(&self, out: &mut Vec<u8>) {
        if self.by.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*') {
            out.extend_from_slice(self.by.as_bytes());
        } else {
            out.push(b'"');
            out.extend_from_slice(self.by.as_bytes());
            out.push(b'"');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_a_structured_one_whatever_weir_is_called() {
        let causes = ("upstream_failed", Some("connect"));
        for (by, causes, expected) in [
            ("weir", ("no_backend", None), "weir; error=x; details=\"no_backend\""),
            ("edge-1.b", causes, "edge-1.b; error=x; details=\"upstream_failed/connect\""),
            ("1edge", causes, "\"1edge\"; error=x; details=\"upstream_failed/connect\""),
        ] {
            let mut out = Vec::new();
            ProxyStatus { by, error: "x", causes }.write(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), format!("Proxy-Status: {expected}\r\n"));
        }
    }
}
