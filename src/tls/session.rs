//! A connection after its handshake: both directions' keys, and what the peers say to each other beside the data.
//!
//! Alerts, new keys (RFC 8446 section 4.6.3) and session tickets of TLS 1.3; of TLS 1.2 only alerts: renegotiation
//! is declined. What must be answered waits in `queued` for the next bytes that are sent, which is soon enough: a
//! new key must be answered before the next data. Neither socket nor clock. Called by `layer.rs`.

use super::records::Keys;
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{AlertDescription, ContentType, ExtractedSecrets, HandshakeType, ProtocolVersion};
use std::iter::once;
use std::ops::Range;

/// Records in a row that carry no data: nobody honest sends so many.
const IDLE_RECORDS_MAX: u32 = 64;

/// Bytes of a handshake message that comes in pieces. Tickets are the longest, of at most 64 KiB, and hardly any
/// is longer than a few.
const MESSAGE_MAX: usize = 16 << 10;

/// Records before the limit of a key from which on the key is changed.
const BEFORE_LIMIT: u64 = 1 << 16;

/// Whose connection it is, for what rustls still has to do.
pub(super) enum Kernel {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// What a record came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// Data, here in the record; there may be none.
    Data(Range<usize>),
    /// The peer sends no more.
    Closed,
    /// The peer has given the connection up.
    GivenUp,
}

/// Both directions.
pub(super) struct Session {
    opener: Keys,
    sealer: Keys,
    /// For new keys and tickets. In a box, since it is hardly ever needed.
    kernel: Box<Kernel>,
    tls13: bool,
    /// The peer's new key is to be answered by one of ours, which is queued.
    answered: bool,
    /// Records in a row that carried no data.
    idle_records: u32,
    /// A handshake message of which more must come.
    message: Vec<u8>,
    /// Sealed records that go out before what is sent next.
    queued: Vec<u8>,
    /// Records that a key of ours may seal.
    limit: u64,
}

impl Session {
    /// With what rustls hands over.
    ///
    /// # Errors
    /// There is a cipher that is not known here.
    pub(super) fn new(secrets: &ExtractedSecrets, kernel: Kernel) -> Result<Self, AlertDescription> {
        let (version, suite) = match &kernel {
            Kernel::Server(server) => (server.protocol_version(), server.negotiated_cipher_suite()),
            Kernel::Client(client) => (client.protocol_version(), client.negotiated_cipher_suite()),
        };
        let tls13 = version == ProtocolVersion::TLSv1_3;
        let keys = |(sequence, secrets)| {
            Keys::new(secrets, tls13, sequence).map_err(|_| AlertDescription::InternalError)
        };
        let limit = match suite {
            rustls::SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
            rustls::SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
        };
        Ok(Self {
            opener: keys((secrets.rx.0, &secrets.rx.1))?,
            sealer: keys((secrets.tx.0, &secrets.tx.1))?,
            kernel: Box::new(kernel),
            tls13,
            answered: false,
            idle_records: 0,
            message: Vec::new(),
            queued: Vec::new(),
            limit,
        })
    }

    /// Has these records, which rustls has sealed, go out first.
    pub(super) fn queue(&mut self, records: Vec<u8>) {
        self.queued = records;
    }

    /// Records that go out before what is sent next.
    pub(super) fn take_queued(&mut self) -> Vec<u8> {
        self.answered = false;
        std::mem::take(&mut self.queued)
    }

    /// Opens a whole record where it lies, and does what it says if it is not data.
    ///
    /// # Errors
    /// What the peer is to be told before the connection ends.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<Opened, AlertDescription> {
        let (content, range) = self.opener.open(record)?;
        if content == ContentType::ApplicationData && !range.is_empty() {
            if !self.message.is_empty() {
                return Err(AlertDescription::UnexpectedMessage);
            }
            self.idle_records = 0;
            return Ok(Opened::Data(range));
        }
        self.idle_records += 1;
        if self.idle_records > IDLE_RECORDS_MAX {
            return Err(AlertDescription::UnexpectedMessage);
        }
        match content {
            ContentType::ApplicationData => Ok(Opened::Data(range)),
            ContentType::Alert => self.hear(&record[range]),
            ContentType::Handshake => {
                self.message.extend_from_slice(&record[range]);
                self.read_messages()?;
                Ok(Opened::Data(0..0))
            }
            _ => Err(AlertDescription::UnexpectedMessage),
        }
    }

    fn hear(&self, alert: &[u8]) -> Result<Opened, AlertDescription> {
        /// In TLS 1.2: only a warning.
        const WARNING: u8 = 1;
        let &[level, description] = alert else { return Err(AlertDescription::DecodeError) };
        Ok(match AlertDescription::from(description) {
            AlertDescription::CloseNotify => Opened::Closed,
            AlertDescription::UserCanceled => Opened::Data(0..0),
            _ if !self.tls13 && level == WARNING => Opened::Data(0..0),
            _ => Opened::GivenUp,
        })
    }

    /// Obeys the messages that are whole.
    fn read_messages(&mut self) -> Result<(), AlertDescription> {
        let message = std::mem::take(&mut self.message);
        let mut rest = &message[..];
        while let &[kind, a, b, c, ref after @ ..] = rest {
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            if len > MESSAGE_MAX {
                return Err(AlertDescription::DecodeError);
            }
            let Some(body) = after.get(..len) else { break };
            rest = &after[len..];
            self.obey(HandshakeType::from(kind), body, rest.is_empty())?;
        }
        self.message.extend_from_slice(rest);
        Ok(())
    }

    fn obey(&mut self, kind: HandshakeType, body: &[u8], last: bool) -> Result<(), AlertDescription> {
        match (kind, &mut *self.kernel) {
            // What follows in the same record would have been sealed with the old key.
            (HandshakeType::KeyUpdate, _) if self.tls13 && last => self.change_key(body),
            (HandshakeType::NewSessionTicket, Kernel::Client(client)) if self.tls13 => {
                client.handle_new_session_ticket(body).map_err(|_| AlertDescription::DecodeError)
            }
            (HandshakeType::ClientHello, Kernel::Server(_))
            | (HandshakeType::HelloRequest, Kernel::Client(_))
                if !self.tls13 =>
            {
                self.queue_record(ContentType::Alert, &[1, AlertDescription::NoRenegotiation.into()])
            }
            _ => Err(AlertDescription::UnexpectedMessage),
        }
    }

    /// The peer's records have a new key from now on.
    fn change_key(&mut self, body: &[u8]) -> Result<(), AlertDescription> {
        let wants_ours = match body {
            [0] => false,
            [1] => true,
            _ => return Err(AlertDescription::DecodeError),
        };
        let updated = match &mut *self.kernel {
            Kernel::Server(server) => server.update_rx_secret(),
            Kernel::Client(client) => client.update_rx_secret(),
        };
        let (sequence, secrets) = updated.map_err(|_| AlertDescription::InternalError)?;
        self.opener = Keys::new(&secrets, true, sequence).map_err(|_| AlertDescription::InternalError)?;
        // One answer will do for all that are asked for before it is sent.
        if wants_ours && !self.answered {
            self.renew()?;
            self.answered = true;
        }
        Ok(())
    }

    /// Tells the peer that our records have a new key from the next one on.
    fn renew(&mut self) -> Result<(), AlertDescription> {
        // One byte long: the peer need not change its own.
        self.queue_record(ContentType::Handshake, &[HandshakeType::KeyUpdate.into(), 0, 0, 1, 0])?;
        let updated = match &mut *self.kernel {
            Kernel::Server(server) => server.update_tx_secret(),
            Kernel::Client(client) => client.update_tx_secret(),
        };
        let (sequence, secrets) = updated.map_err(|_| AlertDescription::InternalError)?;
        self.sealer = Keys::new(&secrets, true, sequence).map_err(|_| AlertDescription::InternalError)?;
        Ok(())
    }

    fn queue_record(&mut self, content: ContentType, body: &[u8]) -> Result<(), AlertDescription> {
        self.sealer.seal(content, once(body), &mut self.queued)
    }

    /// What is to be sent so that the peer gets `parts`, of `len` bytes in all: records that wait, and these.
    ///
    /// # Errors
    /// The key has sealed as much as it may and there is no other (TLS 1.2).
    pub(super) fn seal<'a>(
        &mut self,
        parts: impl Iterator<Item = &'a [u8]>,
        len: usize,
    ) -> Result<Vec<u8>, AlertDescription> {
        if self.sealer.sequence() + BEFORE_LIMIT >= self.limit {
            if !self.tls13 {
                return Err(AlertDescription::InternalError);
            }
            self.renew()?;
        }
        let mut out = self.take_queued();
        out.reserve_exact(self.sealer.sealed_len(len));
        self.sealer.seal(ContentType::ApplicationData, parts, &mut out)?;
        Ok(out)
    }

    /// The record that says `alert`, behind those that wait.
    pub(super) fn alert(&mut self, alert: AlertDescription) -> Vec<u8> {
        let level = if alert == AlertDescription::CloseNotify { 1 } else { 2 };
        let mut out = self.take_queued();
        // If it cannot be sealed the connection ends without it, which says as much.
        let _ = self.sealer.seal(ContentType::Alert, once(&[level, alert.into()][..]), &mut out);
        out
    }
}
