//! A page, many requests at once and a WebSocket, in a browser that speaks HTTP/2 with weir.

use crate::harness::{Authority, Backend, Browser, Key, Socket, Weir, answers, one_pool};
use crate::scene::{BODY, listener};
use serde_json::json;
use tungstenite::Message;

/// Sends each message back, until the other side closes.
fn echo() -> Backend {
    Backend::raw(|wire, _| {
        let Socket::Tcp(stream) = wire.socket.try_clone().unwrap() else { return };
        drop(wire);
        let Ok(mut socket) = tungstenite::accept(stream) else { return };
        while let Ok(message) = socket.read() {
            if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).is_err() {
                return;
            }
        }
    })
}

#[test]
fn chromium_loads_a_page_and_a_hundred_more_and_talks_over_one_connection_of_http2() {
    let authority = Authority::new();
    let site = authority.server("site", &["localhost"], Key::Ecdsa);
    let Some(mut browser) =
        Browser::start_with(&[&format!("--ignore-certificate-errors-spki-list={}", site.pin)])
    else {
        return;
    };
    let (backend, chat) = (Backend::http(answers::text(BODY)), echo());
    let weir = Weir::start(&format!(
        "{}[[route]]\npath = \"/chat\"\npool = \"chat\"\n[[pool.chat.backend]]\naddress = \"{}\"\n",
        one_pool(&[&backend], &listener(&[&site], ""), ""),
        chat.address()
    ));
    let url = format!("https://localhost:{}/", weir.port("web"));
    browser.open(&url);
    browser.wait("the page is there", "document.body.innerText.includes('hello from the backend')");
    let protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol";
    assert_eq!(browser.text(protocol), "h2");
    let bodies = browser.eval(
        "Promise.all([...Array(100).keys()].map(async (n) => (await fetch('/' + n)).text()))\
         .then((bodies) => bodies.filter((body) => body.startsWith('hello')).length)",
    );
    assert_eq!(bodies, 100);
    let protocols =
        "[...new Set(performance.getEntriesByType('resource').map((entry) => entry.nextHopProtocol))]";
    assert_eq!(browser.eval(protocols), json!(["h2"]));
    let answered = browser.text(
        "new Promise((done, failed) => { const socket = new WebSocket(`wss://${location.host}/chat`); \
         socket.onopen = () => socket.send('are you there?'); socket.onerror = () => failed('no WebSocket'); \
         socket.onmessage = (message) => { socket.close(); done(message.data); }; })",
    );
    assert_eq!(answered, "are you there?");
    let accepted = weir.metric("weir_connections_accepted_total", &[]);
    // Chromium opens a second one at the beginning, in case the first takes long.
    assert!(accepted <= 3.0, "{accepted} connections");
}
