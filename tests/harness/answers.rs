//! Ready-made handlers for backends.

use super::backend::{Handler, Received, Then};
use super::wire::Wire;
use std::io;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

/// A handler of one's own.
pub fn by(handler: impl Fn(&Received, &mut Wire) -> io::Result<Then> + Send + Sync + 'static) -> Handler {
    Arc::new(handler)
}

/// 200 with `body`.
pub fn text(body: &str) -> Handler {
    let body = body.to_owned();
    by(move |received, wire| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        wire.send(if received.method() == "HEAD" { head } else { head + &body })?;
        Ok(Then::KeepAlive)
    })
}

/// These bytes, whatever is asked; the connection stays open.
pub fn fixed(bytes: impl Into<Vec<u8>>) -> Handler {
    let bytes = bytes.into();
    by(move |_, wire| {
        wire.send(&bytes)?;
        Ok(Then::KeepAlive)
    })
}

/// These bytes, whatever is asked; then the connection ends. With no bytes: no answer at all.
pub fn fixed_and_close(bytes: impl Into<Vec<u8>>) -> Handler {
    let bytes = bytes.into();
    by(move |_, wire| {
        wire.send(&bytes)?;
        Ok(Then::Close)
    })
}

/// These bytes, whatever is asked; then the connection is reset.
pub fn fixed_and_reset(bytes: impl Into<Vec<u8>>) -> Handler {
    let bytes = bytes.into();
    by(move |_, wire| {
        wire.send(&bytes)?;
        // What was sent must be read before the reset, which would overtake it.
        sleep(Duration::from_millis(50));
        Ok(Then::Reset)
    })
}

/// The request's body, and its method and target in fields.
pub fn echo() -> Handler {
    by(|received, wire| {
        let line = received.line();
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let body = &received.body.data;
        let head = format!(
            "HTTP/1.1 200 OK\r\nX-Method: {method}\r\nX-Target: {target}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        wire.send(if method == "HEAD" { head.into_bytes() } else { [head.as_bytes(), body].concat() })?;
        Ok(Then::KeepAlive)
    })
}

/// What `handler` does, but later.
pub fn delayed(length: Duration, handler: Handler) -> Handler {
    by(move |received, wire| {
        sleep(length);
        handler(received, wire)
    })
}

/// What `handler` does, but the connection ends after it.
pub fn closing(handler: Handler) -> Handler {
    by(move |received, wire| handler(received, wire).map(|_| Then::Close))
}
