//! A certificate's subject as a line of text (RFC 4514), in visible ASCII, so that it can stand in a field.
//!
//! Whoever issues the certificate has chosen the bytes: what has a meaning in the line, or is no visible ASCII, is
//! escaped, so that nothing in a name can look like another part, and nothing can end the line.

use std::fmt::Write;
use x509_parser::der_parser::oid::Oid;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate};

/// Short names of attributes (RFC 4514 §3).
const NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The subject of the certificate `der`, the most specific part first; `None`: it is no certificate.
pub fn subject(der: &[u8]) -> Option<Box<str>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let mut line = String::new();
    let parts: Vec<_> = certificate.subject().iter().collect();
    for part in parts.into_iter().rev() {
        if !line.is_empty() {
            line.push(',');
        }
        for (place, attribute) in part.iter().enumerate() {
            if place > 0 {
                line.push('+');
            }
            write_attribute(&mut line, attribute);
        }
    }
    Some(line.into())
}

fn write_attribute(line: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let kind: &Oid<'_> = attribute.attr_type();
    let dotted = kind.to_id_string();
    let known = NAMES.iter().find(|(oid, _)| *oid == dotted).map(|(_, name)| *name);
    line.push_str(known.unwrap_or(&dotted));
    line.push('=');
    match (known, attribute.as_str()) {
        (Some(_), Ok(text)) => write_value(line, text),
        // An attribute without a name, or whose value is no string: its BER in hexadecimal (§2.4).
        _ => {
            line.push('#');
            hex(line, attribute.as_slice());
        }
    }
}

fn hex(line: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // A string takes whatever is written to it.
        let _ = write!(line, "{byte:02x}");
    }
}

fn write_value(line: &mut String, text: &str) {
    let last = text.len().saturating_sub(1);
    for (place, byte) in text.bytes().enumerate() {
        let at_the_edge = place == 0 || place == last;
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                line.push('\\');
                line.push(char::from(byte));
            }
            b' ' if at_the_edge => line.push_str("\\ "),
            b'#' if place == 0 => line.push_str("\\#"),
            b' '..=b'~' => line.push(char::from(byte)),
            _ => {
                line.push('\\');
                hex(line, &[byte]);
            }
        }
    }
}
