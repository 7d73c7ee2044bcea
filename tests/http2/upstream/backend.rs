//! An HTTP/2 backend that does as it is told: the `h2` crate on a thread of its own.

use crate::harness::free_port;
use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use rustls::ServerConfig;
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

/// A request and the way to answer it.
pub struct Exchange {
    pub request: Parts,
    pub body: RecvStream,
    pub respond: SendResponse<Bytes>,
    /// Which connection it came on, from 0.
    pub connection: usize,
}

type Answering = Pin<Box<dyn Future<Output = ()>>>;

/// Answers a request.
pub type Handler = Arc<dyn Fn(Exchange) -> Answering + Send + Sync>;

/// What the connections share with the test.
#[derive(Default)]
struct Shared {
    connections: AtomicUsize,
    open: AtomicUsize,
    requests: AtomicUsize,
    /// Streams open now, and the most that there were at once, for each connection.
    streams: Mutex<Vec<(usize, usize)>>,
    received: Mutex<Vec<Parts>>,
    going: watch::Sender<usize>,
}

/// A server on loopback.
pub struct H2Backend {
    address: SocketAddr,
    handler: Handler,
    builder: Builder,
    tls: Option<Arc<ServerConfig>>,
    shared: Arc<Shared>,
    running: Option<(watch::Sender<bool>, JoinHandle<()>)>,
}

impl H2Backend {
    /// Answers each request by `handler`.
    pub fn new<F: Future<Output = ()> + 'static>(
        handler: impl Fn(Exchange) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::with(Builder::new(), handler)
    }

    /// The same, with settings of its own.
    pub fn with<F: Future<Output = ()> + 'static>(
        builder: Builder,
        handler: impl Fn(Exchange) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::start(builder, None, handler)
    }

    /// Over TLS.
    pub fn sealed<F: Future<Output = ()> + 'static>(
        tls: ServerConfig,
        handler: impl Fn(Exchange) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::start(Builder::new(), Some(Arc::new(tls)), handler)
    }

    fn start<F: Future<Output = ()> + 'static>(
        builder: Builder,
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(Exchange) -> F + Send + Sync + 'static,
    ) -> Self {
        let mut backend = Self {
            address: (Ipv4Addr::LOCALHOST, free_port()).into(),
            handler: Arc::new(move |exchange| Box::pin(handler(exchange))),
            builder,
            tls,
            shared: Arc::default(),
            running: None,
        };
        backend.revive();
        backend
    }

    /// Answers each request with this text.
    pub fn text(text: &'static str) -> Self {
        Self::new(move |exchange| exchange.answer(Response::new(()), text))
    }

    /// Sends each request's body back as it comes.
    pub fn echo() -> Self {
        Self::new(Exchange::echo)
    }

    /// Listens (again).
    pub fn revive(&mut self) {
        let (stop, stopped) = watch::channel(false);
        let (address, handler) = (self.address, self.handler.clone());
        let (builder, shared) = (self.builder.clone(), self.shared.clone());
        let acceptor = self.tls.clone().map(TlsAcceptor::from);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let serve = async move {
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_reuseaddr(true).unwrap();
                socket.bind(address).unwrap();
                let listener = socket.listen(1024).unwrap();
                ready.send(()).unwrap();
                accept(listener, stopped, acceptor, handler, builder, shared).await;
            };
            LocalSet::new().block_on(&runtime, serve);
        });
        is_ready.recv().unwrap();
        self.running = Some((stop, thread));
    }

    /// Stops listening and ends all connections, as a process does that is killed.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(true);
            thread.join().unwrap();
        }
    }

    /// Has all connections say that they go away, and end with the streams that they have.
    pub fn go_away(&self) {
        self.shared.going.send_modify(|times| *times += 1);
    }

    /// The address as weir's configuration has it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Requests so far.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.shared.streams.lock().unwrap().iter().map(|(now, _)| now).sum()
    }

    /// The most requests that were in flight on one connection.
    pub fn most_on_one(&self) -> usize {
        self.shared.streams.lock().unwrap().iter().map(|(_, most)| *most).max().unwrap_or(0)
    }

    /// The head of the request that came last.
    pub fn last(&self) -> Request<()> {
        let last = self.shared.received.lock().unwrap().last().cloned();
        Request::from_parts(last.expect("the backend has received a request"), ())
    }
}

impl Drop for H2Backend {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Exchange {
    /// Answers with this head and text.
    pub async fn answer(mut self, head: Response<()>, text: &'static str) {
        let mut stream = self.respond.send_response(head, text.is_empty()).unwrap();
        if !text.is_empty() {
            // A client that is gone by now is no fault.
            let _ = stream.send_data(Bytes::from_static(text.as_bytes()), true);
        }
    }

    /// Sends the request's body back as it comes, trailers too.
    pub async fn echo(mut self) {
        let mut stream = self.respond.send_response(Response::new(()), false).unwrap();
        while let Some(Ok(piece)) = self.body.data().await {
            let len = piece.len();
            if send(&mut stream, piece).await.is_err() {
                return;
            }
            let _ = self.body.flow_control().release_capacity(len);
        }
        match self.body.trailers().await {
            Ok(Some(trailers)) => drop(stream.send_trailers(trailers)),
            _ => drop(stream.send_data(Bytes::new(), true)),
        }
    }

    /// The request's body to its end, and its trailers.
    pub async fn read(&mut self) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.body.data().await {
            let piece = piece?;
            bytes.extend_from_slice(&piece);
            self.body.flow_control().release_capacity(piece.len())?;
        }
        Ok((bytes, self.body.trailers().await?))
    }

    /// Resets the stream.
    pub fn reset(mut self, reason: Reason) {
        self.respond.send_reset(reason);
    }
}

/// Sends all of `bytes`, as the windows allow.
pub async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(room) => room?,
            None => return Err(Reason::CANCEL.into()),
        };
        stream.send_data(bytes.split_to(room.min(bytes.len())), false)?;
    }
    Ok(())
}

async fn accept(
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
    acceptor: Option<TlsAcceptor>,
    handler: Handler,
    builder: Builder,
    shared: Arc<Shared>,
) {
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            accepted = listener.accept() => {
                let (socket, _) = accepted.unwrap();
                socket.set_nodelay(true).unwrap();
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                shared.streams.lock().unwrap().push((0, 0));
                let (handler, builder, shared) = (handler.clone(), builder.clone(), shared.clone());
                let acceptor = acceptor.clone();
                tokio::task::spawn_local(async move {
                    shared.open.fetch_add(1, Ordering::SeqCst);
                    let _open = Counted(shared.clone(), None);
                    match acceptor {
                        None => serve(builder.handshake(socket).await, number, &handler, &shared).await,
                        Some(acceptor) => {
                            let Ok(sealed) = acceptor.accept(socket).await else { return };
                            serve(builder.handshake(sealed).await, number, &handler, &shared).await;
                        }
                    }
                });
            }
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    begun: Result<Connection<S, Bytes>, h2::Error>,
    number: usize,
    handler: &Handler,
    shared: &Arc<Shared>,
) {
    let Ok(mut connection) = begun else { return };
    let mut going = shared.going.subscribe();
    loop {
        let accepted = tokio::select! {
            _ = going.changed() => {
                connection.graceful_shutdown();
                continue;
            }
            accepted = connection.accept() => accepted,
        };
        let Some(Ok((request, respond))) = accepted else { return };
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let (request, body) = request.into_parts();
        {
            let mut received = shared.received.lock().unwrap();
            if received.len() > 1_000 {
                received.clear();
            }
            received.push(request.clone());
        }
        let stream = {
            let mut streams = shared.streams.lock().unwrap();
            let (now, most) = &mut streams[number];
            *now += 1;
            *most = (*most).max(*now);
            Counted(shared.clone(), Some(number))
        };
        let answering = handler(Exchange { request, body, respond, connection: number });
        tokio::task::spawn_local(async move {
            answering.await;
            drop(stream);
        });
    }
}

/// A connection, or a stream of one, that counts.
struct Counted(Arc<Shared>, Option<usize>);

impl Drop for Counted {
    fn drop(&mut self) {
        match self.1 {
            None => {
                self.0.open.fetch_sub(1, Ordering::SeqCst);
            }
            Some(number) => self.0.streams.lock().unwrap()[number].0 -= 1,
        }
    }
}
