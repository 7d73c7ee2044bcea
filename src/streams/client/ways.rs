//! The two ways of a stream: the request's frames up, the answer's bytes down.
//!
//! Here: what waits for room, what has come, and what a fault on either way means for both. Not here: the wire that
//! the proxy sees (`stream.rs`).

use super::lost::{Lost, is_no_error};
use super::piece::Piece;
use crate::http2::{Decoded, Decoding, Encoding, Expects, without_forbidden, write_backend_answer};
use crate::ring::{Chunk, Fault, Payload};
use crate::time::Instant;
use bytes::Buf;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Room in front of an answer's head, for the one that goes down in its place.
const HEADROOM: usize = 256;

/// Bytes of an answer that are handed out at a time, about.
const PIECE: usize = 16 << 10;

/// Both.
pub(super) struct Ways {
    pub(super) up: Up,
    pub(super) down: Down,
    pub(super) lost: Option<Lost>,
    /// When the request's head went.
    pub(super) sent_at: Instant,
}

/// The request's way.
pub(super) enum Up {
    /// Its head is still to come.
    Head,
    /// Its body goes.
    Body { stream: SendStream<Piece>, body: Decoding, waiting: VecDeque<Frame> },
    /// All of it has gone to `h2`.
    Done(Option<SendStream<Piece>>),
    /// The backend takes no more of it.
    Cut,
}

/// What is still to be sent.
pub(super) enum Frame {
    Data { piece: Piece, last: bool },
    Trailers(HeaderMap),
}

/// The answer's way.
pub(super) enum Down {
    /// The request has not gone.
    Nothing,
    /// Its head is awaited.
    Head(ResponseFuture, Expects),
    /// Its body comes.
    Body(RecvStream, Encoding),
    /// It is weir's own, in the backend's place.
    Instead(&'static [u8]),
    /// It was handed out to its end.
    Done,
}

/// Takes the frames out of a piece of a body.
pub(super) fn frames(
    body: &mut Decoding,
    payload: &Rc<Payload>,
    waiting: &mut VecDeque<Frame>,
) -> Result<(), crate::http1::BadChunk> {
    let mut came = 0;
    let decoded = body.decode(payload.as_slice(), |range| {
        waiting.push_back(Frame::Data { piece: Piece::of(payload, range), last: false });
        came += 1;
    })?;
    match decoded {
        Decoded::More => {}
        Decoded::End => match waiting.back_mut() {
            Some(Frame::Data { last, .. }) if came > 0 => *last = true,
            Some(_) | None => waiting.push_back(Frame::Data { piece: Piece::empty(), last: true }),
        },
        Decoded::EndWith(trailers) => waiting.push_back(Frame::Trailers(trailers)),
    }
    Ok(())
}

impl Ways {
    pub(super) fn lose(&mut self, lost: Lost) {
        self.lost = Some(lost);
        if let Up::Body { stream, .. } | Up::Done(Some(stream)) = &mut self.up {
            // Nothing, if the backend has ended it.
            stream.send_reset(lost.reason());
        }
        (self.up, self.down) = (Up::Cut, Down::Done);
    }

    /// Hands over to `h2` what of the request there is room for.
    pub(super) fn pump(&mut self, cx: &mut Context<'_>) {
        let Up::Body { stream, body, waiting } = &mut self.up else { return };
        let mut cut = false;
        while let Some(frame) = waiting.pop_front() {
            let sent = match frame {
                Frame::Trailers(trailers) => stream.send_trailers(trailers),
                Frame::Data { piece, last } if !piece.has_remaining() => stream.send_data(piece, last),
                Frame::Data { mut piece, last } => {
                    let len = piece.remaining();
                    match poll_room(stream, len, cx) {
                        Poll::Pending => {
                            waiting.push_front(Frame::Data { piece, last });
                            return;
                        }
                        Poll::Ready(None) => {
                            cut = true;
                            break;
                        }
                        Poll::Ready(Some(room)) if room < len => {
                            let first = piece.split_to(room);
                            waiting.push_front(Frame::Data { piece, last });
                            stream.send_data(first, false)
                        }
                        Poll::Ready(Some(_)) => stream.send_data(piece, last),
                    }
                }
            };
            if sent.is_err() {
                cut = true;
                break;
            }
        }
        if cut {
            // Why is told by the answer's way.
            self.up = Up::Cut;
        } else if body.is_done() && waiting.is_empty() {
            let Up::Body { stream, .. } = std::mem::replace(&mut self.up, Up::Cut) else { return };
            self.up = Up::Done(Some(stream));
        }
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, Fault>> {
        if let Some(lost) = self.lost {
            return Poll::Ready(Err(lost.fault));
        }
        let mut out = Vec::new();
        match &mut self.down {
            Down::Nothing => return Poll::Pending,
            Down::Done => return Poll::Ready(Ok(None)),
            Down::Instead(answer) => {
                out.resize(HEADROOM, 0);
                out.extend_from_slice(answer);
                self.down = Down::Done;
                return Poll::Ready(Ok(Some(Chunk::own(out, HEADROOM))));
            }
            Down::Head(..) => {
                if let Err(lost) = ready!(self.poll_head(cx, &mut out)) {
                    self.lose(lost);
                    return Poll::Ready(Err(lost.fault));
                }
            }
            Down::Body(..) => {}
        }
        let headroom = out.len().min(HEADROOM);
        if let Err(lost) = self.read_body(cx, &mut out) {
            let waits = out.len() > headroom;
            self.lose(lost);
            if !waits {
                return Poll::Ready(Err(lost.fault));
            }
        }
        match (out.len() > headroom, &self.down) {
            (true, _) => Poll::Ready(Ok(Some(Chunk::own(out, headroom)))),
            (false, Down::Done) => Poll::Ready(Ok(None)),
            (false, _) => Poll::Pending,
        }
    }

    /// Writes the answer's head, or an interim one; then its body is what comes, or the next head.
    fn poll_head(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Result<(), Lost>> {
        let Down::Head(response, expects) = &mut self.down else { return Poll::Ready(Ok(())) };
        let begin = |out: &mut Vec<u8>| {
            out.reserve(HEADROOM + 1024);
            out.resize(HEADROOM, 0);
        };
        match ready!(response.poll_informational(cx)) {
            Some(Ok(interim)) => {
                begin(out);
                let written = write_backend_answer(interim.status(), interim.headers(), expects, false, out);
                return Poll::Ready(written.map(drop).map_err(|_| Lost::BROKEN));
            }
            Some(Err(error)) => return Poll::Ready(Err(Lost::of(&error))),
            None => {}
        }
        let (head, body) = match ready!(Pin::new(response).poll(cx)) {
            Ok(answer) => answer.into_parts(),
            Err(error) => return Poll::Ready(Err(Lost::of(&error))),
        };
        begin(out);
        let ended = body.is_end_stream();
        let written = write_backend_answer(head.status, &head.headers, expects, ended, out);
        let Ok(encoding) = written else { return Poll::Ready(Err(Lost::BROKEN)) };
        self.down = Down::Body(body, encoding);
        Poll::Ready(Ok(()))
    }

    /// Appends what of the body has come, and gives the backend room for as much.
    fn read_body(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Result<(), Lost> {
        let Down::Body(body, encoding) = &mut self.down else { return Ok(()) };
        if *encoding == Encoding::Nothing && body.is_end_stream() {
            self.down = Down::Done;
            return Ok(());
        }
        while out.len() < PIECE {
            match body.poll_data(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Some(Ok(data))) => {
                    out.reserve(data.len() + Encoding::OVERHEAD);
                    encoding.data(&data, out).map_err(|_| Lost::BROKEN)?;
                    body.flow_control().release_capacity(data.len()).map_err(|error| Lost::of(&error))?;
                }
                Poll::Ready(Some(Err(error))) if !is_no_error(&error) => return Err(Lost::of(&error)),
                ended => {
                    let mut trailers = match (ended, body.poll_trailers(cx)) {
                        (Poll::Ready(None), Poll::Ready(Ok(trailers))) => trailers,
                        (Poll::Ready(None), Poll::Ready(Err(error))) if !is_no_error(&error) => {
                            return Err(Lost::of(&error));
                        }
                        (_, _) => None,
                    };
                    trailers.iter_mut().for_each(without_forbidden);
                    encoding.end(trailers.as_ref(), out).map_err(|_| Lost::BROKEN)?;
                    self.down = Down::Done;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether all that was sent has gone to `h2`; an error if some of it never will.
    pub(super) fn sent(&self) -> Poll<Result<(), Lost>> {
        let cut = Lost { fault: Fault::Os(libc::EPIPE), untouched: false };
        if let Some(lost) = self.lost {
            return Poll::Ready(Err(Lost { fault: cut.fault, ..lost }));
        }
        match &self.up {
            Up::Body { waiting, .. } if waiting.is_empty() => Poll::Ready(Ok(())),
            // Who has answered all the same need not take the rest.
            Up::Body { .. } if matches!(self.down, Down::Done) => Poll::Ready(Err(cut)),
            Up::Body { .. } => Poll::Pending,
            Up::Head | Up::Done(_) => Poll::Ready(Ok(())),
            Up::Cut if matches!(self.down, Down::Instead(_)) => Poll::Ready(Ok(())),
            Up::Cut => Poll::Ready(Err(cut)),
        }
    }
}

/// How much of `len` bytes there is room for; `None`: the stream takes no more.
fn poll_room(stream: &mut SendStream<Piece>, len: usize, cx: &mut Context<'_>) -> Poll<Option<usize>> {
    stream.reserve_capacity(len);
    match stream.capacity() {
        0 => Poll::Ready(match ready!(stream.poll_capacity(cx)) {
            Some(Ok(room)) => Some(room),
            Some(Err(_)) | None => None,
        }),
        room => Poll::Ready(Some(room)),
    }
}
