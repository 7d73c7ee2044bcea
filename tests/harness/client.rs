//! A client of raw bytes. What goes wrong on its way ends the test, with what had come until then.

use super::wire::{Response, Socket, Wire};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a client waits for what ought to come at once.
const PATIENCE: Duration = Duration::from_secs(25);

/// A connection to weir.
pub struct Client {
    pub wire: Wire,
}

impl Client {
    /// Connects over TCP.
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self { wire: Wire::new(Socket::Tcp(socket), PATIENCE) }
    }

    /// Connects to a Unix socket.
    pub fn connect_unix(path: &Path) -> Self {
        let socket = UnixStream::connect(path)
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", path.display()));
        Self { wire: Wire::new(Socket::Unix(socket), PATIENCE) }
    }

    /// From now on waits no longer than this.
    pub fn patience(&mut self, length: Duration) {
        self.wire.socket.set_timeout(length);
    }

    /// Sends all of `bytes`.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.send(bytes).unwrap_or_else(|error| panic!("sending to weir: {error}"));
    }

    /// Says that nothing more will be sent.
    pub fn end(&self) {
        self.wire.end();
    }

    /// The next response, interim ones too, to a request that may have a body in its answer.
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// The next response, interim ones too.
    pub fn response_to(&mut self, method: &str) -> Response {
        match self.wire.response(method) {
            Ok(Some(response)) => response,
            Ok(None) => panic!("weir closed instead of answering a {method}"),
            Err(error) => panic!(
                "instead of a response to a {method}: {error}; unread: {:?}",
                String::from_utf8_lossy(&self.wire.buffered()[..self.wire.buffered().len().min(400)])
            ),
        }
    }

    /// Sends `bytes`, which are one request, and reads the response.
    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        let bytes = bytes.as_ref();
        let method = String::from_utf8_lossy(bytes).split(' ').next().unwrap_or_default().to_owned();
        self.send(bytes);
        self.response_to(&method)
    }

    /// A GET of `path`.
    pub fn get(&mut self, path: &str) -> Response {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        self.wire.bytes(count).unwrap_or_else(|error| panic!("instead of {count} bytes: {error}"))
    }

    /// All until weir closes its side; ends the test if it resets or does not.
    pub fn rest(&mut self) -> Vec<u8> {
        self.wire.rest().unwrap_or_else(|error| panic!("instead of the end of the connection: {error}"))
    }

    /// Asserts that weir closes without another byte, and says how long that took.
    pub fn assert_closed(&mut self) -> Duration {
        let began = Instant::now();
        let rest = self.rest();
        assert!(rest.is_empty(), "before the end came {:?}", String::from_utf8_lossy(&rest));
        began.elapsed()
    }

    /// Asserts that nothing comes and the connection stays open for `length`.
    pub fn assert_silent(&mut self, length: Duration) {
        self.patience(length);
        match self.wire.bytes(1) {
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => self.patience(PATIENCE),
            other => panic!("instead of silence: {other:?}"),
        }
    }
}
