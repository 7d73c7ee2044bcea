//! What is shown when something dies: a backend, and weir itself.

use crate::harness::{Backend, Browser, Client, Load, Program, answers, free_port, wait_up_to};
use crate::scene::{Scene, part, pool_of};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

#[test]
fn a_killed_backend_is_shown_as_down_with_why_and_since_when() {
    let Some(mut scene) = Scene::open(&["one", "two", "three"]) else { return };
    let load = Load::get(scene.weir.address("web"), 2, "/");
    scene.browser.wait("traffic", &format!("Number.parseFloat({}) > 1", part("two", ".rate")));
    scene.backends[1].stop();
    scene.wait_state("two", "down");
    assert!(scene.browser.text(&part("two", ".why")).contains("refused"));
    assert_eq!(scene.browser.text(&part("two", "td .pill")), "down", "a word, not only a colour");
    let first = "document.querySelector('#transitions li').textContent";
    scene
        .browser
        .wait("the transition", &format!("/two of app.*up.*down.*Failed over in [\\d.]+ m?s/.test({first})"));
    let spoken = "document.getElementById('spoken').textContent.includes('two of pool app is down')";
    scene.browser.wait("it is told aloud", spoken);
    let noted = "document.getElementById('notes').textContent.includes('two of pool app is down')";
    scene.browser.wait("it stands out", noted);
    assert_eq!(scene.browser.text("document.title"), "(1 down) weir");
    scene.backends[1].revive();
    scene.wait_state("two", "up");
    load.stop();
    scene.assert_sound();
}

/// A weir on ports of the test's own, so that another can follow it there.
fn start(file: &std::path::Path, admin: SocketAddr) -> Program {
    let weir = Program::spawn(Command::new(env!("CARGO_BIN_EXE_weir")).arg("run").arg("--config").arg(file));
    wait_up_to(Duration::from_secs(30), "weir answers", || {
        std::net::TcpStream::connect(admin).is_ok() && Client::connect(admin).get("/readyz").status == 200
    });
    weir
}

#[test]
fn a_lost_connection_is_said_and_comes_back_by_itself() {
    let Some(mut browser) = Browser::start() else { return };
    let backends = [Backend::http(answers::text("hello"))];
    let (web, admin) = (free_port(), SocketAddr::from(([127, 0, 0, 1], free_port())));
    let config = pool_of(&["one"], &backends).replace("{web}", &web.to_string());
    let file = std::env::temp_dir().join(format!("weir-dashboard-{}.toml", std::process::id()));
    std::fs::write(&file, format!("{config}[admin]\nlisten = [\"{admin}\"]\n")).unwrap();
    let mut first = start(&file, admin);
    browser.open(&format!("http://{admin}/dashboard"));
    let live = "document.querySelector('#link').textContent === 'live'";
    browser.wait("it is live", live);
    first.kill();
    browser.wait("it is said", "document.querySelector('#link').textContent === 'connection lost'");
    let line = "document.querySelector('#lost p').textContent";
    browser.wait(
        "since when, and what will be done",
        &format!("/from \\d\\d:\\d\\d:\\d\\d.*Trying again/.test({line})"),
    );
    let shown = browser.eval("document.querySelectorAll('.backends tbody tr').length");
    assert_eq!(shown, 1, "what was known stays");
    let _second = start(&file, admin);
    browser.wait("it is live again", live);
    assert_eq!(browser.eval("document.getElementById('lost').hidden"), true);
    let complaints = browser.complaints();
    let expected = ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "ERR_CONNECTION_RESET"];
    assert!(complaints.iter().all(|text| expected.iter().any(|part| text.contains(part))), "{complaints:?}");
    let _ = std::fs::remove_file(file);
}
