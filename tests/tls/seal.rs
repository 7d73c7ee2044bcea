//! Clients and backends of the harness, sealed by rustls: what they say goes through a pump, or, where the bytes on
//! the way must be just so, through a connection in the test's hands.

use crate::harness::{Backend, Client, Socket, Wire};
use rustls::{ClientConfig, ClientConnection, ServerConfig};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const PATIENCE: Duration = Duration::from_secs(25);

/// Runs `task` on a thread of its own.
fn run(task: impl Future<Output = ()> + Send + 'static) {
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(task);
    });
}

fn to_tokio(socket: TcpStream) -> tokio::net::TcpStream {
    socket.set_nonblocking(true).unwrap();
    socket.set_nodelay(true).unwrap();
    tokio::net::TcpStream::from_std(socket).unwrap()
}

/// A client of the harness whose connection to `address` is sealed.
pub(crate) fn client(address: SocketAddr, config: &Arc<ClientConfig>) -> Client {
    let tcp = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let connector = TlsConnector::from(config.clone());
    run(async move {
        theirs.set_nonblocking(true).unwrap();
        let mut plain = tokio::net::UnixStream::from_std(theirs).unwrap();
        let name = "localhost".try_into().unwrap();
        let Ok(mut sealed) = connector.connect(name, to_tokio(tcp)).await else { return };
        // An end without the peer's word fails, and shows as an end all the same: who must tell them apart does not
        // use a pump.
        let _ = copy_bidirectional(&mut plain, &mut sealed).await;
    });
    Client { wire: Wire::new(Socket::Unix(ours), PATIENCE) }
}

/// The port of a server that has TLS and hands what is said to `backend`.
pub(crate) fn in_front_of(backend: &Backend, config: &Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (to, acceptor) = (backend.port(), TlsAcceptor::from(config.clone()));
    run(async move {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                tcp.set_nodelay(true).unwrap();
                let Ok(mut sealed) = acceptor.accept(tcp).await else { return };
                let Ok(mut plain) = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else {
                    return;
                };
                plain.set_nodelay(true).unwrap();
                let _ = copy_bidirectional(&mut sealed, &mut plain).await;
            });
        }
    });
    port
}

/// A sealed connection whose records are in the test's hands.
pub(crate) struct Sealed {
    pub(crate) tcp: TcpStream,
    pub(crate) tls: ClientConnection,
}

impl Sealed {
    /// Shakes hands, with bytes that leave `at_once` at a time.
    pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>, at_once: usize) -> Self {
        let tcp = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let tls = ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
        let mut sealed = Self { tcp, tls };
        while sealed.tls.is_handshaking() {
            let bytes = sealed.take();
            sealed.send(&bytes, at_once);
            if sealed.tls.is_handshaking() {
                assert!(sealed.hear(), "weir ended the handshake");
            }
        }
        let bytes = sealed.take();
        sealed.send(&bytes, at_once);
        sealed
    }

    /// The same, whole; `None`: weir did not let it through.
    pub(crate) fn try_connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Option<Self> {
        let mut tcp = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        tcp.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut tls = ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp).ok()?;
        }
        Some(Self { tcp, tls })
    }

    /// Reads until weir says by an alert that it is over.
    pub(crate) fn alert(&mut self) -> rustls::AlertDescription {
        loop {
            let count = self.tls.read_tls(&mut self.tcp).unwrap();
            match self.tls.process_new_packets() {
                Err(rustls::Error::AlertReceived(alert)) => return alert,
                other => assert!(other.is_ok() && count > 0, "it ended without a word: {other:?}"),
            }
        }
    }

    /// The records that are to be sent.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// The records of `plain`.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        self.tls.writer().write_all(plain).unwrap();
        self.take()
    }

    /// Sends bytes, so many at once.
    pub(crate) fn send(&mut self, bytes: &[u8], at_once: usize) {
        for piece in bytes.chunks(at_once) {
            self.tcp.write_all(piece).unwrap();
        }
    }

    /// Reads what has come; `false`: the end.
    pub(crate) fn hear(&mut self) -> bool {
        let count = self.tls.read_tls(&mut self.tcp).unwrap();
        self.tls.process_new_packets().unwrap();
        count > 0
    }

    /// Reads until `count` bytes of plaintext have come.
    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        let mut plain = vec![0; count];
        let mut have = 0;
        while have < count {
            match self.tls.reader().read(&mut plain[have..]) {
                Ok(0) => panic!("weir closed after {have} of {count} bytes"),
                Ok(more) => have += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(self.hear(), "weir ended after {have} of {count} bytes");
                }
                Err(error) => panic!("after {have} of {count} bytes: {error}"),
            }
        }
        plain
    }

    /// Reads to the end: what came, and whether weir said that it is the end.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut plain = Vec::new();
        loop {
            match self.tls.reader().read_to_end(&mut plain) {
                Ok(_) => return (plain, true),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.hear();
                }
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return (plain, false),
                Err(error) => panic!("instead of the end: {error}"),
            }
        }
    }
}
