//! WebSocket through weir, by a client and a server that are not ours (tungstenite).

use crate::harness::{Backend, Socket, Weir, one_pool, wait_until, wait_up_to};
use nix::sys::signal::Signal;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::{Error, Message, WebSocket};

type Client = WebSocket<TcpStream>;

const SOON: Duration = Duration::from_secs(20);

/// Sends each message back, until the other side closes.
fn echo() -> Backend {
    Backend::raw(|wire, _| {
        let Socket::Tcp(stream) = wire.socket.try_clone().unwrap() else { return };
        drop(wire);
        let Ok(mut socket) = tungstenite::accept(stream) else { return };
        loop {
            match socket.read() {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    if socket.send(message).is_err() {
                        return;
                    }
                }
                // Pongs and the answer to a close are tungstenite's own; they leave with the next read.
                Ok(_) => {}
                Err(_) => return,
            }
        }
    })
}

fn connect(weir: &Weir) -> Client {
    let stream = TcpStream::connect(weir.address("web")).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_nodelay(true).unwrap();
    let (client, response) = tungstenite::client("ws://h.example/chat?room=1", stream).unwrap();
    assert_eq!(response.status(), 101);
    client
}

fn echoes(client: &mut Client, message: Message) {
    client.send(message.clone()).unwrap();
    let came = client.read().unwrap();
    assert!(came == message, "{} bytes sent, {} came", message.len(), came.len());
}

fn in_flight(weir: &Weir) -> u64 {
    let page: serde_json::Value = serde_json::from_str(&weir.admin("/backends").text()).unwrap();
    page["backends"].as_array().unwrap().iter().map(|backend| backend["in_flight"].as_u64().unwrap()).sum()
}

#[test]
fn messages_of_every_size_come_back_as_they_were() {
    let backend = echo();
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut client = connect(&weir);
    for text in ["", "a", "hello", "\u{e9}\u{1f600}", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"] {
        echoes(&mut client, Message::text(text));
    }
    for len in [1, 125, 126, 65_535, 65_536, 16 << 10, 1 << 20, 5 << 20] {
        echoes(&mut client, Message::binary(crate::judge::pattern(len)));
    }
    // Many on their way at once.
    for n in 0..200 {
        client.write(Message::text(n.to_string())).unwrap();
    }
    client.flush().unwrap();
    for n in 0..200 {
        assert_eq!(client.read().unwrap(), Message::text(n.to_string()));
    }
}

#[test]
fn fragmented_messages_come_whole_with_a_ping_between_their_pieces() {
    let backend = echo();
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut client = connect(&weir);
    let frame = |text: &str, opcode, last| Message::Frame(Frame::message(text.to_owned(), opcode, last));
    client.send(frame("one, ", OpCode::Data(Data::Text), false)).unwrap();
    client.send(Message::Ping("between".into())).unwrap();
    client.send(frame("two, ", OpCode::Data(Data::Continue), false)).unwrap();
    std::thread::sleep(Duration::from_millis(30));
    client.send(frame("three", OpCode::Data(Data::Continue), true)).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong("between".into()));
    assert_eq!(client.read().unwrap(), Message::text("one, two, three"));
}

#[test]
fn a_close_handshake_ends_both_connections() {
    let backend = echo();
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut client = connect(&weir);
    echoes(&mut client, Message::text("before"));
    client.close(Some(CloseFrame { code: CloseCode::Normal, reason: "done".into() })).unwrap();
    let Message::Close(Some(answer)) = client.read().unwrap() else { panic!("no answer to the close") };
    assert_eq!((answer.code, answer.reason.as_str()), (CloseCode::Normal, "done"));
    assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
    wait_until("the backend's connection has ended", || backend.open() == 0);
    // Its side is open until it lets go of it: whoever is told that all is over does.
    drop(client);
    wait_until("nothing is in flight", || in_flight(&weir) == 0);
}

#[test]
fn an_open_websocket_counts_as_in_flight() {
    let backend = echo();
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut clients: Vec<Client> = (0..3).map(|_| connect(&weir)).collect();
    wait_until("all are counted", || in_flight(&weir) == 3);
    clients.iter_mut().for_each(|client| echoes(client, Message::text("x")));
    assert_eq!(in_flight(&weir), 3);
    clients.pop();
    wait_until("one is gone", || in_flight(&weir) == 2);
    drop(clients);
    wait_until("none is left", || in_flight(&weir) == 0);
}

#[test]
fn a_silent_websocket_ends_after_tunnel_idle_and_one_that_pings_does_not() {
    let backend = echo();
    let weir = Weir::start(&one_pool(&[&backend], "", "[pool.app.timeouts]\ntunnel_idle = \"1s\"\n"));
    let (mut silent, mut alive) = (connect(&weir), connect(&weir));
    let began = Instant::now();
    for n in 0..12u8 {
        std::thread::sleep(Duration::from_millis(200));
        alive.send(Message::Ping(vec![n].into())).unwrap();
        assert_eq!(alive.read().unwrap(), Message::Pong(vec![n].into()));
    }
    silent.get_ref().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    match silent.read() {
        Err(Error::Io(error)) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "it has not ended"),
        Err(_) => {}
        Ok(message) => panic!("instead of its end came {message:?}"),
    }
    assert!(began.elapsed() >= Duration::from_millis(900));
    echoes(&mut alive, Message::text("still here"));
}

#[test]
fn a_websocket_lives_on_through_a_reload() {
    let (backend, other) = (echo(), echo());
    let mut weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut client = connect(&weir);
    echoes(&mut client, Message::text("before"));
    let admin = format!("[admin]\nlisten = [\"{}\"]\n", weir.address("admin"));
    // Another backend in its place, and another set of rules for the listener.
    for config in [one_pool(&[&backend], "max_head = \"16KiB\"", ""), one_pool(&[&other], "", "")] {
        let before = weir.stderr().matches("configuration loaded").count();
        weir.rewrite(&(config + &admin));
        weir.signal(Signal::SIGHUP);
        wait_until("it is loaded", || weir.stderr().matches("configuration loaded").count() > before);
        echoes(&mut client, Message::text("after"));
        echoes(&mut client, Message::binary(crate::judge::pattern(200_000)));
    }
    let mut new = connect(&weir);
    echoes(&mut new, Message::text("to the other"));
    assert_eq!(other.connections(), 1);
    client.close(None).unwrap();
    assert!(matches!(client.read(), Ok(Message::Close(_))));
}

#[test]
fn a_websocket_lives_on_through_a_takeover_and_the_old_process_waits_for_it() {
    let backend = echo();
    let config = one_pool(&[&backend], "", "");
    let mut old = Weir::start(&config);
    let mut client = connect(&old);
    echoes(&mut client, Message::text("before"));
    let new = old.successor(&config);
    for n in 0..20 {
        echoes(&mut client, Message::text(format!("after {n}")));
        let mut other = connect(&new);
        echoes(&mut other, Message::text("new"));
    }
    client.close(None).unwrap();
    assert!(matches!(client.read(), Ok(Message::Close(_))));
    drop(client);
    assert_eq!(old.wait_exit(SOON).code(), Some(0), "{}", old.stderr());
    wait_up_to(SOON, "the other clients are gone", || in_flight(&new) == 0);
}
