//! One direction of a connection: the key, the count of its records, records opened and sealed with it.
//!
//! RFC 8446 section 5.2 (TLS 1.3), RFC 5288 and RFC 7905 (AES-GCM and ChaCha20-Poly1305 in TLS 1.2). The keys are
//! rustls' and the sealing is aws-lc's; here are the few bytes around them. Pure. Called by `session.rs`.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::{AlertDescription, ConnectionTrafficSecrets, ContentType};
use std::ops::Range;

/// Type, version, length.
pub(super) const HEADER: usize = 5;

/// Bytes of plaintext that a record may carry.
pub(super) const PLAIN_MAX: usize = 1 << 14;

/// Bytes after the header: the plaintext, and what TLS 1.2, which allows more than TLS 1.3, adds at most.
const SEALED_MAX: usize = PLAIN_MAX + 2048;

/// The same of TLS 1.3 (RFC 8446 section 5.2).
const SEALED_MAX_13: usize = PLAIN_MAX + 256;

/// What authenticates a record, at its end.
const TAG: usize = 16;

/// The part of the nonce that AES-GCM in TLS 1.2 sends with each record.
const EXPLICIT: usize = 8;

/// The legacy version that all records carry.
const VERSION: [u8; 2] = [3, 3];

/// How a key's records are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// The type is inside, the header is what is authenticated.
    Tls13,
    /// AES-GCM of TLS 1.2: a part of the nonce is in front.
    Tls12Explicit,
    /// ChaCha20-Poly1305 of TLS 1.2.
    Tls12,
}

/// One direction's key.
pub(super) struct Keys {
    key: LessSafeKey,
    iv: [u8; 12],
    /// Records so far.
    sequence: u64,
    framing: Framing,
}

/// A key that is none: rustls offers a cipher that is not known here. It would be a fault of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnknownCipher;

/// How long the record is that `bytes` begin with, header and all; `None`: more must come to know it.
///
/// # Errors
/// It is none, or longer than any may be.
pub(super) fn record_len(bytes: &[u8]) -> Result<Option<usize>, AlertDescription> {
    let Some(header) = bytes.get(..HEADER) else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if header[1] != VERSION[0] || !(20..=23).contains(&header[0]) {
        return Err(AlertDescription::DecodeError);
    }
    if len > SEALED_MAX {
        return Err(AlertDescription::RecordOverflow);
    }
    Ok(Some(HEADER + len))
}

impl Keys {
    /// The key that rustls hands over, after `sequence` records.
    pub(super) fn new(
        secrets: &ConnectionTrafficSecrets,
        tls13: bool,
        sequence: u64,
    ) -> Result<Self, UnknownCipher> {
        let (algorithm, key, iv, explicit) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv, true),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv, true),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv, false),
            _ => return Err(UnknownCipher),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| UnknownCipher)?;
        let iv = iv.as_ref().try_into().map_err(|_| UnknownCipher)?;
        let framing = match (tls13, explicit) {
            (true, _) => Framing::Tls13,
            (false, true) => Framing::Tls12Explicit,
            (false, false) => Framing::Tls12,
        };
        Ok(Self { key: LessSafeKey::new(key), iv, sequence, framing })
    }

    /// Records so far.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    fn nonce(&self) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= count;
        }
        nonce
    }

    /// What TLS 1.2 authenticates beside the plaintext.
    fn aad_12(&self, content: u8, len: usize) -> [u8; 13] {
        let mut aad = [0; 13];
        aad[..8].copy_from_slice(&self.sequence.to_be_bytes());
        aad[8] = content;
        aad[9..11].copy_from_slice(&VERSION);
        aad[11..].copy_from_slice(&(len as u16).to_be_bytes());
        aad
    }

    /// Opens `record`, a whole one, where it lies: what it is, and where in it the plaintext is now.
    ///
    /// # Errors
    /// What the peer is to be told.
    pub(super) fn open(
        &mut self,
        record: &mut [u8],
    ) -> Result<(ContentType, Range<usize>), AlertDescription> {
        let opened = match self.framing {
            Framing::Tls13 => self.open_13(record)?,
            Framing::Tls12Explicit => self.open_12(record, EXPLICIT)?,
            Framing::Tls12 => self.open_12(record, 0)?,
        };
        self.sequence += 1;
        Ok(opened)
    }

    fn open_13(&self, record: &mut [u8]) -> Result<(ContentType, Range<usize>), AlertDescription> {
        let (header, sealed) = record.split_at_mut(HEADER);
        if header[0] != u8::from(ContentType::ApplicationData) {
            return Err(AlertDescription::UnexpectedMessage);
        }
        if sealed.len() > SEALED_MAX_13 {
            return Err(AlertDescription::RecordOverflow);
        }
        let nonce = Nonce::assume_unique_for_key(self.nonce());
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(&*header), sealed)
            .map_err(|_| AlertDescription::BadRecordMac)?;
        // The type is the last byte that is not zero; what follows it is padding.
        let end = plain.iter().rposition(|&byte| byte != 0).ok_or(AlertDescription::UnexpectedMessage)?;
        if end > PLAIN_MAX {
            return Err(AlertDescription::RecordOverflow);
        }
        Ok((ContentType::from(plain[end]), HEADER..HEADER + end))
    }

    fn open_12(
        &self,
        record: &mut [u8],
        explicit: usize,
    ) -> Result<(ContentType, Range<usize>), AlertDescription> {
        let content = record[0];
        let start = HEADER + explicit;
        let len = record.len().checked_sub(start + TAG).ok_or(AlertDescription::BadRecordMac)?;
        if len > PLAIN_MAX {
            return Err(AlertDescription::RecordOverflow);
        }
        let mut nonce = self.nonce();
        if explicit > 0 {
            nonce[..4].copy_from_slice(&self.iv[..4]);
            nonce[4..].copy_from_slice(&record[HEADER..start]);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(self.aad_12(content, len));
        self.key
            .open_in_place(nonce, aad, &mut record[start..])
            .map_err(|_| AlertDescription::BadRecordMac)?;
        Ok((ContentType::from(content), start..start + len))
    }

    /// Bytes that each record takes beyond its plaintext.
    fn overhead(&self) -> usize {
        match self.framing {
            Framing::Tls13 => HEADER + 1 + TAG,
            Framing::Tls12Explicit => HEADER + EXPLICIT + TAG,
            Framing::Tls12 => HEADER + TAG,
        }
    }

    /// Bytes that `len` bytes are when sealed.
    pub(super) fn sealed_len(&self, len: usize) -> usize {
        len + len.div_ceil(PLAIN_MAX) * self.overhead()
    }

    /// Seals `parts`, one after the other, in as few records as they fit in, behind what `out` has.
    ///
    /// # Errors
    /// aws-lc has failed; the connection is of no use any more.
    pub(super) fn seal<'a>(
        &mut self,
        content: ContentType,
        parts: impl Iterator<Item = &'a [u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), AlertDescription> {
        // Where the record under way has its plaintext.
        let mut begun = None;
        for mut part in parts {
            while !part.is_empty() {
                let start = *begun.get_or_insert_with(|| self.begin(content, out));
                let room = PLAIN_MAX - (out.len() - start);
                let (now, rest) = part.split_at(part.len().min(room));
                out.extend_from_slice(now);
                part = rest;
                if now.len() == room {
                    self.finish(content, start, out)?;
                    begun = None;
                }
            }
        }
        begun.map_or(Ok(()), |start| self.finish(content, start, out))
    }

    /// Puts down what stands before a record's plaintext, and says where that begins.
    fn begin(&self, content: ContentType, out: &mut Vec<u8>) -> usize {
        let outer = match self.framing {
            Framing::Tls13 => ContentType::ApplicationData,
            Framing::Tls12Explicit | Framing::Tls12 => content,
        };
        out.extend_from_slice(&[outer.into(), VERSION[0], VERSION[1], 0, 0]);
        if self.framing == Framing::Tls12Explicit {
            out.extend_from_slice(&self.nonce()[4..]);
        }
        out.len()
    }

    /// Seals the record whose plaintext begins at `start` and is the last in `out`.
    fn finish(
        &mut self,
        content: ContentType,
        start: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), AlertDescription> {
        let len = out.len() - start;
        let (header, sealed_len) = match self.framing {
            Framing::Tls13 => {
                out.push(content.into());
                (start - HEADER, len + 1 + TAG)
            }
            Framing::Tls12Explicit => (start - EXPLICIT - HEADER, EXPLICIT + len + TAG),
            Framing::Tls12 => (start - HEADER, len + TAG),
        };
        out[header + 3..header + HEADER].copy_from_slice(&(sealed_len as u16).to_be_bytes());
        let nonce = Nonce::assume_unique_for_key(self.nonce());
        let (before, plain) = out.split_at_mut(start);
        let tag = match self.framing {
            Framing::Tls13 => self.key.seal_in_place_separate_tag(nonce, Aad::from(&before[header..]), plain),
            Framing::Tls12Explicit | Framing::Tls12 => {
                let aad = Aad::from(self.aad_12(content.into(), len));
                self.key.seal_in_place_separate_tag(nonce, aad, plain)
            }
        };
        let tag = tag.map_err(|_| AlertDescription::InternalError)?;
        out.extend_from_slice(tag.as_ref());
        self.sequence += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::cipher::{AeadKey, Iv};

    /// Both ends of one direction.
    fn pair(tls13: bool, chacha: bool) -> (Keys, Keys) {
        let make = || {
            let (key, iv) = (AeadKey::from([7; 32]), Iv::from([9; 12]));
            let secrets = if chacha {
                ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }
            } else {
                ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            };
            Keys::new(&secrets, tls13, 3).unwrap()
        };
        (make(), make())
    }

    const ALL: [(bool, bool); 4] = [(true, false), (true, true), (false, false), (false, true)];

    #[test]
    fn what_is_sealed_in_parts_comes_out_whole_whatever_the_framing() {
        for (tls13, chacha) in ALL {
            let (mut sealer, mut opener) = pair(tls13, chacha);
            let parts = [vec![1u8; 10], Vec::new(), vec![2; PLAIN_MAX], vec![3; 5]];
            let mut out = Vec::new();
            let len = parts.iter().map(Vec::len).sum();
            sealer.seal(ContentType::ApplicationData, parts.iter().map(Vec::as_slice), &mut out).unwrap();
            assert_eq!(out.len(), sealer.sealed_len(len));
            let mut plain = Vec::new();
            while !out.is_empty() {
                let len = record_len(&out).unwrap().unwrap();
                let (content, range) = opener.open(&mut out[..len]).unwrap();
                assert_eq!(content, ContentType::ApplicationData);
                plain.extend_from_slice(&out[range]);
                out.drain(..len);
            }
            assert!(plain == parts.concat(), "TLS 1.3: {tls13}, ChaCha: {chacha}");
        }
    }

    #[test]
    fn a_record_that_was_touched_or_replayed_is_refused() {
        for (tls13, chacha) in ALL {
            let (mut sealer, mut opener) = pair(tls13, chacha);
            let mut out = Vec::new();
            sealer.seal(ContentType::Alert, std::iter::once(&[1u8, 0][..]), &mut out).unwrap();
            let whole = out.clone();
            for at in 0..out.len() {
                let mut touched = whole.clone();
                touched[at] ^= 1;
                // The version and the length are what the caller has framed it by.
                if !(1..HEADER).contains(&at) || tls13 {
                    opener.open(&mut touched).expect_err("it was touched");
                }
            }
            let (content, range) = opener.open(&mut out).unwrap();
            assert_eq!((content, &out[range]), (ContentType::Alert, &[1u8, 0][..]));
            assert_eq!(opener.open(&mut whole.clone()), Err(AlertDescription::BadRecordMac), "a replay");
        }
    }

    #[test]
    fn padding_is_taken_off_and_nothing_but_padding_is_refused() {
        let (sealer, mut opener) = pair(true, false);
        let seal = |sequence, inner: &[u8]| {
            let mut record = vec![23, 3, 3, 0, (inner.len() + TAG) as u8];
            let keys = Keys { sequence, ..pair(true, false).0 };
            let nonce = Nonce::assume_unique_for_key(keys.nonce());
            let mut inner = inner.to_vec();
            let tag =
                sealer.key.seal_in_place_separate_tag(nonce, Aad::from(&record[..]), &mut inner).unwrap();
            record.extend_from_slice(&inner);
            record.extend_from_slice(tag.as_ref());
            record
        };
        let mut padded = seal(3, &[b'h', b'i', 23, 0, 0, 0]);
        let (content, range) = opener.open(&mut padded).unwrap();
        assert_eq!((content, &padded[range]), (ContentType::ApplicationData, &b"hi"[..]));
        assert_eq!(opener.open(&mut seal(4, &[0; 7])), Err(AlertDescription::UnexpectedMessage));
    }

    #[test]
    fn bytes_that_are_no_record_are_refused_by_their_header() {
        assert_eq!(record_len(b"\x17\x03\x03\x00"), Ok(None));
        assert_eq!(record_len(b"\x17\x03\x03\x00\x20"), Ok(Some(HEADER + 32)));
        assert_eq!(record_len(b"GET / HTTP/1.1"), Err(AlertDescription::DecodeError));
        assert_eq!(record_len(b"\x17\x03\x03\x60\x00"), Err(AlertDescription::RecordOverflow));
    }
}
