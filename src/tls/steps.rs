//! rustls driven through a handshake, record by record.
//!
//! It is shown one record at a time, so that it never opens what comes after the handshake, and each step stands
//! between two waits: for the peer, and for a turn. What it has to say is sent before more is waited for. Called by
//! `handshake.rs`.

use super::handshake::Failure;
use super::hello::server_name;
use super::proof::Proof;
use super::records::record_len;
use super::turns::Turns;
use crate::ring::{Chunk, Fault, Payload, Ring, Send, Stream};
use crate::time::Instant;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{CommonState, ContentType, Error};
use std::future::poll_fn;
use std::mem::take;
use std::task::Poll;

/// Bytes of a peer's part of a handshake that may wait to be whole: a chain of certificates is the longest.
const UNREAD_MAX: usize = 96 << 10;

/// What is to be done next.
pub(super) enum Next {
    /// The same again.
    Again,
    /// Another record is needed.
    More,
    /// The peer has ended it.
    Closed,
}

/// Either side's part in it.
pub(super) trait Side {
    /// It speaks first.
    const BEGINS: bool;

    /// Reads what it is shown, and writes what is to be sent: how many bytes it needs no more, and what is next.
    fn process(&mut self, shown: &mut [u8], out: &mut Vec<u8>) -> (usize, Result<Next, Error>);

    /// What is known.
    fn common(&self) -> &CommonState;
}

impl Side for UnbufferedServerConnection {
    const BEGINS: bool = false;

    fn process(&mut self, shown: &mut [u8], out: &mut Vec<u8>) -> (usize, Result<Next, Error>) {
        advance(self.process_tls_records(shown), out)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

impl Side for UnbufferedClientConnection {
    const BEGINS: bool = true;

    fn process(&mut self, shown: &mut [u8], out: &mut Vec<u8>) -> (usize, Result<Next, Error>) {
        advance(self.process_tls_records(shown), out)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

fn advance<Data>(status: UnbufferedStatus<'_, '_, Data>, out: &mut Vec<u8>) -> (usize, Result<Next, Error>) {
    let next = status.state.and_then(|state| match state {
        ConnectionState::EncodeTlsData(data) => encode(data, out).map(|()| Next::Again),
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Next::Again)
        }
        ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Ok(Next::More),
        ConnectionState::PeerClosed | ConnectionState::Closed => Ok(Next::Closed),
        // Early data is off, and data after the handshake is not shown.
        _ => Err(Error::General("data within a handshake".to_owned())),
    });
    (status.discard, next)
}

pub(super) fn encode<Data>(mut data: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
        out.resize(start + size.required_size, 0);
        data.encode(&mut out[start..]).map_err(|error| Error::General(error.to_string()))?;
    }
    Ok(())
}

/// What is left when the handshake is over.
pub(super) struct Driven {
    /// What the peer has sent after it.
    pub(super) rest: Vec<u8>,
    /// What is still to be sent, if it is soon.
    pub(super) unsent: Vec<u8>,
    /// The name that a client asked for.
    pub(super) server_name: Option<Box<str>>,
}

/// A handshake under way.
pub(super) struct Steps<'a> {
    ring: &'a Ring,
    stream: &'a Stream,
    turns: &'a Turns,
    due: Instant,
    /// What has come and rustls needs still or has not seen.
    incoming: Vec<u8>,
    /// So much of it has been shown.
    shown: usize,
    out: Vec<u8>,
    sending: Option<Send>,
    server_name: Option<Box<str>>,
    proof: Proof,
}

impl<'a> Steps<'a> {
    pub(super) fn new(ring: &'a Ring, stream: &'a Stream, turns: &'a Turns, due: Instant) -> Self {
        Self {
            ring,
            stream,
            turns,
            due,
            incoming: Vec::new(),
            shown: 0,
            out: Vec::new(),
            sending: None,
            server_name: None,
            proof: Proof::default(),
        }
    }

    /// Takes all steps.
    pub(super) async fn drive<S: Side>(mut self, side: &mut S) -> Result<Driven, Failure> {
        if !S::BEGINS {
            self.next_record().await?;
            self.server_name = server_name(&self.incoming[..self.shown]).map(Box::from);
        }
        loop {
            self.step(side).await?;
            if !side.common().is_handshaking() {
                break;
            }
            self.next_record().await?;
        }
        if let Some(sending) = self.sending.take() {
            sending.await.outcome.map_err(Failure::from)?;
        }
        self.incoming.drain(..self.shown);
        Ok(Driven { rest: self.incoming, unsent: self.out, server_name: self.server_name })
    }

    /// Shows rustls what has come, when it is this one's turn.
    async fn step<S: Side>(&mut self, side: &mut S) -> Result<(), Failure> {
        // What only says that the cipher changes costs nothing.
        let turn = match self.incoming.first() {
            Some(&kind) if ContentType::from(kind) == ContentType::ChangeCipherSpec => None,
            _ => Some(self.turns.take().await),
        };
        if self.ring.now() >= self.due {
            return Err(Failure::TimedOut);
        }
        let outcome = self.process(side);
        drop(turn);
        if outcome.is_err() {
            // The alert that says why, and what was to be sent before it: rustls gives them one by one, before it looks
            // at what it has been shown, which must not be less than before. What was sent earlier has left long ago,
            // or nobody reads. When it has no more to say it is asked nothing: it would look, and fail, again.
            while side.common().wants_write() {
                let (discard, Ok(Next::Again)) =
                    side.process(&mut self.incoming[..self.shown], &mut self.out)
                else {
                    break;
                };
                self.incoming.drain(..discard);
                self.shown -= discard;
            }
            self.stream.send_at_once(&self.out);
        }
        outcome
    }

    fn process<S: Side>(&mut self, side: &mut S) -> Result<(), Failure> {
        loop {
            let Self { incoming, shown, out, proof, .. } = self;
            let (discard, next) = proof.during(|| side.process(&mut incoming[..*shown], out));
            self.incoming.drain(..discard);
            self.shown -= discard;
            match next? {
                Next::Again => {}
                Next::More => return Ok(()),
                Next::Closed => return Err(Failure::Gone),
            }
        }
    }

    /// Waits until another record is there, and shows it.
    async fn next_record(&mut self) -> Result<(), Failure> {
        loop {
            match record_len(&self.incoming[self.shown..]) {
                Ok(Some(len)) if len <= self.incoming.len() - self.shown => {
                    self.shown += len;
                    return Ok(());
                }
                Ok(_) => {}
                Err(_) if self.shown == 0 && is_http(&self.incoming) => return Err(Failure::NotTls),
                // rustls says what is wrong with it.
                Err(_) => {
                    self.shown = self.incoming.len();
                    return Ok(());
                }
            }
            if self.incoming.len() > UNREAD_MAX {
                return Err(Failure::Protocol(Error::General("it is too long".to_owned())));
            }
            let Some(chunk) = self.receive().await? else { return Err(Failure::Gone) };
            self.incoming.extend_from_slice(&chunk);
        }
    }

    /// Sends what is to be sent, and waits for the peer. That the send went well nobody need hear: the peer's answer
    /// says it.
    async fn receive(&mut self) -> Result<Option<Chunk>, Failure> {
        if !self.out.is_empty() {
            if let Some(sending) = self.sending.take() {
                sending.await.outcome?;
            }
            let send = self.stream.send(Payload::Bytes(take(&mut self.out)), self.due);
            self.sending = Some(send.quiet());
        }
        let received = poll_fn(|cx| {
            if let Some(sending) = &mut self.sending
                && let Poll::Ready(sent) = sending.poll_failed(cx)
            {
                self.sending = None;
                if let Err(fault) = sent.outcome {
                    return Poll::Ready(Err(fault));
                }
            }
            self.stream.poll_receive(cx, self.due)
        });
        match received.await {
            Ok(chunk) => Ok(chunk),
            Err(Fault::TimedOut) => Err(Failure::TimedOut),
            Err(Fault::Os(_)) => Err(Failure::Gone),
        }
    }
}

/// Whether it looks like a request of HTTP/1, which begins with a method.
fn is_http(bytes: &[u8]) -> bool {
    bytes.len() >= 4 && bytes.iter().take(4).all(|byte| byte.is_ascii_uppercase() || *byte == b' ')
}
