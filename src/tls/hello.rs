//! The name in a client's first message (RFC 6066 section 3), which rustls' unbuffered connections do not tell.
//!
//! Read only for records and logs, after nothing: what cannot be read has no name, and rustls judges the message.
//! Pure. Called by `steps.rs`.

/// The name that the client asks for in `record`, its first one.
pub(super) fn server_name(record: &[u8]) -> Option<&str> {
    const HOST_NAME: u8 = 0;
    let mut hello = Reader(record);
    // The record's header and the message's, version, random.
    hello.take(5 + 4 + 2 + 32)?;
    hello.list_8()?;
    hello.list_16()?;
    hello.list_8()?;
    let mut extensions = Reader(hello.list_16()?);
    loop {
        let kind = extensions.take(2)?;
        let body = extensions.list_16()?;
        if kind == [0, 0] {
            let mut names = Reader(Reader(body).list_16()?);
            let [HOST_NAME] = names.take(1)? else { return None };
            let name = std::str::from_utf8(names.list_16()?).ok()?;
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            return Some(name)
                .filter(|name| !name.is_empty() && name.len() < 256 && name.bytes().all(is_name));
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn list_8(&mut self) -> Option<&'a [u8]> {
        let len = self.take(1)?[0];
        self.take(len.into())
    }

    fn list_16(&mut self) -> Option<&'a [u8]> {
        let len = self.take(2)?;
        self.take(u16::from_be_bytes([len[0], len[1]]).into())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rustls::client::UnbufferedClientConnection;
    use rustls::unbuffered::ConnectionState;
    use rustls::{ClientConfig, RootCertStore};
    use std::sync::Arc;

    /// What a client says first to the server of this name.
    fn hello(name: &str) -> Vec<u8> {
        let config =
            ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let name = name.to_owned().try_into().unwrap();
        let mut client = UnbufferedClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = vec![0; 4096];
        let ConnectionState::EncodeTlsData(mut data) = client.process_tls_records(&mut []).state.unwrap()
        else {
            panic!("it begins")
        };
        let len = data.encode(&mut bytes).unwrap();
        bytes.truncate(len);
        bytes
    }

    #[test]
    fn the_name_is_read_and_whatever_else_comes_has_none() {
        let named = hello("www.example.com");
        assert_eq!(server_name(&named), Some("www.example.com"));
        assert_eq!(server_name(&hello("127.0.0.1")), None, "an address is no name");
        for len in 0..named.len() {
            // No more than that it does not panic, and says nothing wrong.
            assert!(server_name(&named[..len]).is_none_or(|name| name == "www.example.com"));
        }
    }
}
