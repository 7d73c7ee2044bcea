//! The subject of a certificate as text, as RFC 4514 writes it: the last part first, "CN=alice,O=Example".
//!
//! What stands in a certificate is its maker's; the text must be fit for a field of a request. So whatever is not a
//! printable character of ASCII is written as a backslash and two hexadecimal digits a byte. Pure.

use std::fmt::Write;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The subject of the certificate `der`; `None` if it cannot be read. It may be empty.
pub(super) fn subject(der: &[u8]) -> Option<Box<str>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(text(certificate.subject()).into_boxed_str())
}

fn text(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for (nth, part) in parts.iter().rev().enumerate() {
        if nth > 0 {
            text.push(',');
        }
        for (nth, attribute) in part.iter().enumerate() {
            if nth > 0 {
                text.push('+');
            }
            write_attribute(attribute, &mut text);
        }
    }
    text
}

fn write_attribute(attribute: &AttributeTypeAndValue<'_>, text: &mut String) {
    let kind = attribute.attr_type().to_id_string();
    // The names that RFC 4514 section 3 knows.
    let short = match kind.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.6" => "C",
        "2.5.4.9" => "STREET",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        other => other,
    };
    text.push_str(short);
    text.push('=');
    match attribute.as_str() {
        Ok(value) => write_value(value, text),
        Err(_) => {
            text.push('#');
            attribute.attr_value().data.iter().for_each(|byte| write_hex(*byte, text));
        }
    }
}

fn write_hex(byte: u8, text: &mut String) {
    // Writing to a string does not fail.
    let _ = write!(text, "{byte:02x}");
}

fn write_value(value: &str, text: &mut String) {
    let last = value.len().saturating_sub(1);
    for (at, character) in value.char_indices() {
        let at_an_end = at == 0 && matches!(character, ' ' | '#') || at == last && character == ' ';
        if at_an_end || matches!(character, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=') {
            text.push('\\');
            text.push(character);
        } else if character.is_ascii_graphic() || character == ' ' {
            text.push(character);
        } else {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                text.push('\\');
                write_hex(byte, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_taken_for_more_than_a_value_is_escaped() {
        for (value, expected) in [
            ("alice", "alice"),
            ("Example, Inc.", "Example\\, Inc."),
            ("a\r\nX-Admin: 1", "a\\0d\\0aX-Admin: 1"),
            (" #x ", "\\ #x\\ "),
            ("#x", "\\#x"),
            ("Zoë", "Zo\\c3\\ab"),
            ("a=b+c\\", "a\\=b\\+c\\\\"),
        ] {
            let mut text = String::new();
            write_value(value, &mut text);
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_subject_is_written_last_part_first() {
        let mut params = rcgen::CertificateParams::new([]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Example");
        params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
        let key = rcgen::KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap();
        assert_eq!(subject(der.der()).as_deref(), Some("CN=alice,O=Example"));
        assert_eq!(subject(b"no certificate"), None);
    }
}
