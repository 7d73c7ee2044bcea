//! A connection after its handshake: rustls opens what comes and seals what goes.
//!
//! It is shown one record at a time and left to say what that is: data, an alert, a new key, a ticket. What it has to
//! say itself waits in `queued` for the next bytes that are sent, or until nothing else is under way: a new key must be
//! answered before the next data. Neither socket nor clock. Called by `layer.rs`.

use super::steps::encode;
use rustls::Error;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncryptError, UnbufferedStatus, WriteTraffic};

/// Bytes of plaintext that a record may carry.
const PLAIN_MAX: usize = 1 << 14;

/// Bytes that a record takes beyond its plaintext at most: a header, what AES-GCM sends of its nonce, a tag.
const OVERHEAD: usize = 5 + 8 + 16;

/// Either side's rustls.
trait Rustls {
    type Data;

    fn process<'c, 'i>(&'c mut self, shown: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Rustls for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, shown: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(shown)
    }
}

impl Rustls for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, shown: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(shown)
    }
}

/// Whose connection it is. In a box, since rustls' part is large and this is moved about.
pub(super) enum Role {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// What a record came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// Data, of so many bytes, which are where the record was; there may be none.
    Data(usize),
    /// The peer sends no more.
    Closed,
    /// The peer has given the connection up.
    GivenUp,
}

/// The connection is of no use any more. What the peer is to be told of it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// What a record said.
#[derive(Default)]
struct Heard {
    data: Vec<u8>,
    closed: bool,
}

/// Both directions.
pub(super) struct Session {
    role: Role,
    /// Sealed records that go out before what is sent next.
    queued: Vec<u8>,
}

impl Session {
    /// Of a handshake that is over. `queued`: what is still to be sent of it.
    pub(super) fn new(role: Role, queued: Vec<u8>) -> Self {
        Self { role, queued }
    }

    /// Has these records go out before what is sent next.
    pub(super) fn queue(&mut self, records: Vec<u8>) {
        self.queued = records;
    }

    /// Whether records wait.
    pub(super) fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Records that go out before what is sent next.
    pub(super) fn take_queued(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.queued)
    }

    /// Opens a whole record, and does what it says if it is not data.
    ///
    /// # Errors
    /// It is none that the peer may send here.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<Opened, Broken> {
        let mut heard = Heard::default();
        match self.read(record, &mut heard) {
            Ok(()) if heard.closed => Ok(Opened::Closed),
            Ok(()) => {
                let len = heard.data.len();
                // It was opened there, so there is room.
                record.get_mut(..len).ok_or(Broken)?.copy_from_slice(&heard.data);
                Ok(Opened::Data(len))
            }
            Err(Error::AlertReceived(_)) => Ok(Opened::GivenUp),
            Err(_) => Err(Broken),
        }
    }

    fn read(&mut self, record: &mut [u8], heard: &mut Heard) -> Result<(), Error> {
        match &mut self.role {
            Role::Server(server) => read(&mut **server, record, heard, &mut self.queued),
            Role::Client(client) => read(&mut **client, record, heard, &mut self.queued),
        }
    }

    /// What is to be sent so that the peer gets `parts`, of `len` bytes in all: records that wait, and these.
    ///
    /// # Errors
    /// The key has sealed as much as it may and there is no other (TLS 1.2).
    pub(super) fn seal<'a>(
        &mut self,
        parts: impl Iterator<Item = &'a [u8]>,
        len: usize,
    ) -> Result<Vec<u8>, Broken> {
        let mut out = self.take_queued();
        out.reserve_exact(sealed_max(len));
        for part in parts {
            self.write(&mut out, Written::Data(part))?;
        }
        Ok(out)
    }

    /// The record that says that no more comes, behind those that wait.
    pub(super) fn close(&mut self) -> Vec<u8> {
        let mut out = self.take_queued();
        // If it cannot be sealed the connection ends without it, which says as much.
        let _ = self.write(&mut out, Written::Close);
        out
    }

    fn write(&mut self, out: &mut Vec<u8>, what: Written<'_>) -> Result<(), Broken> {
        match &mut self.role {
            Role::Server(server) => write(&mut **server, out, what),
            Role::Client(client) => write(&mut **client, out, what),
        }
    }
}

/// What is sealed.
#[derive(Clone, Copy)]
enum Written<'a> {
    Data(&'a [u8]),
    /// That no more comes.
    Close,
}

/// Bytes that `len` bytes are at most when sealed. The answer to a new key may go in front of them.
fn sealed_max(len: usize) -> usize {
    len + (len.div_ceil(PLAIN_MAX) + 1) * OVERHEAD
}

/// Shows rustls `record` until it has said all about it. What it has to say to the peer goes behind `queued`.
fn read<R: Rustls>(
    rustls: &mut R,
    mut record: &mut [u8],
    heard: &mut Heard,
    queued: &mut Vec<u8>,
) -> Result<(), Error> {
    loop {
        let UnbufferedStatus { discard, state } = rustls.process(record);
        let state = match state {
            Ok(state) => state,
            Err(error) => {
                collect_alerts(rustls, &mut std::mem::take(&mut record)[discard..], queued);
                return Err(error);
            }
        };
        match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(data) = traffic.next_record() {
                    heard.data.extend_from_slice(data?.payload);
                }
            }
            ConnectionState::EncodeTlsData(data) => encode(data, queued)?,
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => heard.closed = true,
            ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake if discard == 0 => {
                return Ok(());
            }
            ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake => {}
            ConnectionState::Closed => {
                heard.closed = true;
                return Ok(());
            }
            // Early data is off.
            _ => return Err(Error::General("early data".to_owned())),
        }
        record = &mut std::mem::take(&mut record)[discard..];
    }
}

/// After a fault: what rustls has to tell the peer of it goes behind `queued`. It must be shown what it was shown
/// when it found the fault.
fn collect_alerts<R: Rustls>(rustls: &mut R, mut record: &mut [u8], queued: &mut Vec<u8>) {
    while let UnbufferedStatus { discard, state: Ok(ConnectionState::EncodeTlsData(data)), .. } =
        rustls.process(record)
    {
        if encode(data, queued).is_err() {
            return;
        }
        record = &mut std::mem::take(&mut record)[discard..];
    }
}

/// Has rustls seal `what`, behind what `out` has.
fn write<R: Rustls>(rustls: &mut R, out: &mut Vec<u8>, what: Written<'_>) -> Result<(), Broken> {
    loop {
        match rustls.process(&mut []).state.map_err(|_| Broken)? {
            ConnectionState::EncodeTlsData(data) => encode(data, out).map_err(|_| Broken)?,
            ConnectionState::TransmitTlsData(data) => data.done(),
            // The peer may still listen.
            ConnectionState::PeerClosed => {}
            ConnectionState::WriteTraffic(traffic) => return put(traffic, out, what),
            _ => return Err(Broken),
        }
    }
}

fn put<Data>(
    mut traffic: WriteTraffic<'_, Data>,
    out: &mut Vec<u8>,
    what: Written<'_>,
) -> Result<(), Broken> {
    let start = out.len();
    let mut room = match what {
        Written::Data(data) => sealed_max(data.len()),
        Written::Close => sealed_max(2),
    };
    loop {
        out.resize(start + room, 0);
        let put = match what {
            Written::Data(data) => traffic.encrypt(data, &mut out[start..]),
            Written::Close => traffic.queue_close_notify(&mut out[start..]),
        };
        match put {
            Ok(len) => {
                out.truncate(start + len);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(size)) if size.required_size > room => {
                room = size.required_size;
            }
            Err(_) => {
                out.truncate(start);
                return Err(Broken);
            }
        }
    }
}
