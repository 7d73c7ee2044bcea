//! A real browser: headless Chromium with one page, driven over its DevTools protocol.
//!
//! Clicks and keys are the browser's own events and not calls of a script, so what lies under something else,
//! or cannot be reached by the keyboard, is not reached here either. What the page asks of the network, and
//! what it complains of, is kept.

use super::program::Program;
use super::wait::{require, wait_up_to};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

/// A browser has much to do before its first page, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running browser. It ends when dropped, with all its processes.
pub struct Browser {
    program: Program,
    profile: PathBuf,
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    calls: u64,
    requests: Vec<String>,
    complaints: Vec<String>,
}

impl Browser {
    /// Starts Chromium with an empty page of 1280 × 900; `None` if there is none on this machine.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// As `start`, with further arguments.
    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let chromium = require("chromium")?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let profile = std::env::temp_dir().join(format!("weir-browser-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&profile).unwrap();
        let mut command = Command::new(chromium);
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-extensions", "--remote-debugging-port=0", "--log-level=3"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(arguments)
            .arg("about:blank")
            .env("HOME", &profile)
            .process_group(0);
        let program = Program::spawn(&mut command);
        let socket = connect(&profile);
        let (requests, complaints) = (Vec::new(), Vec::new());
        let mut browser = Self { program, profile, socket, session: None, calls: 0, requests, complaints };
        let page = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = json!({"targetId": page["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attached);
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.size(1280, 900);
        Some(browser)
    }

    /// Opens an address.
    pub fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", json!({"url": url}));
        assert!(opened.get("errorText").is_none(), "{url}: {opened}");
    }

    /// What an expression of the page's script comes to; a promise is waited for.
    ///
    /// # Panics
    /// It throws.
    pub fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut came = self.call("Runtime.evaluate", asked);
        assert!(came.get("exceptionDetails").is_none(), "{expression}: {came}");
        came["result"]["value"].take()
    }

    /// An expression's text.
    pub fn text(&mut self, expression: &str) -> String {
        let value = self.eval(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression} is {value}")).to_owned()
    }

    /// Waits until an expression holds. As long as it throws it does not: the page may not be there yet.
    ///
    /// # Panics
    /// It does not; with what is seen instead.
    pub fn wait(&mut self, what: &str, expression: &str) {
        let expression =
            format!("(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()");
        let began = Instant::now();
        while self.eval(&expression) != true {
            if began.elapsed() > PATIENCE {
                let seen = self.text("document.body.innerText");
                let complaints = self.complaints();
                panic!("waited {PATIENCE:?} in vain until {what}: {expression}\n{complaints:?}\n{seen}");
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Clicks in the middle of the element that an expression comes to, once it stays where it is.
    ///
    /// # Panics
    /// Something else is there.
    pub fn click(&mut self, element: &str) {
        let place = self.eval(&format!(
            "(async () => {{ const it = {element}; it.scrollIntoView({{ block: 'center', behavior: 'instant' }}); \
             const place = () => {{ const box = it.getBoundingClientRect(); \
             return {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }}; }}; \
             for (let before; ; ) {{ const now = place(); \
             if (before && before.x === now.x && before.y === now.y) break; \
             before = now; await new Promise((done) => setTimeout(done, 100)); }} \
             const {{ x, y }} = place(), at = document.elementFromPoint(x, y); \
             return {{ x, y, there: it === at || it.contains(at) }}; }})()"
        ));
        assert_eq!(place["there"], true, "{element} is covered: {place}");
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let event =
                json!({"type": kind, "x": place["x"], "y": place["y"], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Presses a key, such as "Tab", "Enter" or "ArrowLeft".
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "ArrowLeft" => (37, ""),
            "ArrowRight" => (39, ""),
            _ => panic!("what code has {key}?"),
        };
        let mut event = json!({"key": key, "code": key, "windowsVirtualKeyCode": code});
        for kind in [if text.is_empty() { "rawKeyDown" } else { "keyDown" }, "keyUp"] {
            event["type"] = kind.into();
            event["text"] = if kind == "keyDown" { text } else { "" }.into();
            self.call("Input.dispatchKeyEvent", event.clone());
        }
    }

    /// Types a text where the focus is.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Makes the page so large, in CSS pixels; a narrow one is a phone's.
    pub fn size(&mut self, width: u32, height: u32) {
        self.size_at(width, height, 1);
    }

    /// As `size`, with so many of the screen's pixels to one of CSS.
    pub fn size_at(&mut self, width: u32, height: u32, ratio: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
        // A picture has none.
        self.call("Emulation.setScrollbarsHidden", json!({"hidden": ratio > 1}));
    }

    /// Has the page in the dark, or not.
    pub fn dark(&mut self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// Writes what is seen to a file, as WebP.
    pub fn picture(&mut self, file: &Path) {
        let came = self.call("Page.captureScreenshot", json!({"format": "webp", "quality": 80}));
        let picture = data_encoding::BASE64.decode(came["data"].as_str().unwrap().as_bytes()).unwrap();
        std::fs::write(file, picture).unwrap();
    }

    /// What was asked of the network so far, in the order in which it was.
    pub fn requests(&mut self) -> Vec<String> {
        self.eval("0"); // and with its answer come the events before it
        self.requests.clone()
    }

    /// Errors and warnings in the console so far, exceptions too.
    pub fn complaints(&mut self) -> Vec<String> {
        self.eval("0");
        self.complaints.clone()
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut call = json!({"id": self.calls, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            call["sessionId"] = session.as_str().into();
        }
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            let message = self.socket.read().unwrap_or_else(|error| panic!("{method}: {error}"));
            let Message::Text(text) = message else { continue };
            let mut came: Value = serde_json::from_str(&text).unwrap();
            if came["id"] == self.calls {
                assert!(came.get("error").is_none(), "{method}: {came}");
                return came["result"].take();
            }
            self.note(&came);
        }
    }

    fn note(&mut self, event: &Value) {
        let told = &event["params"];
        match event["method"].as_str().unwrap_or("") {
            "Network.requestWillBeSent" => {
                self.requests.push(told["request"]["url"].as_str().unwrap().to_owned());
            }
            "Runtime.exceptionThrown" => self.complaints.push(told["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" if told["type"] == "error" || told["type"] == "warning" => {
                self.complaints.push(told["args"].to_string());
            }
            "Log.entryAdded" if told["entry"]["level"] == "error" || told["entry"]["level"] == "warning" => {
                self.complaints.push(told["entry"]["text"].as_str().unwrap_or("?").to_owned());
            }
            _ => {}
        }
    }
}

/// Connects to the browser at the address that it writes into its profile.
fn connect(profile: &Path) -> WebSocket<TcpStream> {
    let mut written = None;
    wait_up_to(PATIENCE, "the browser says where it listens", || {
        let text = std::fs::read_to_string(profile.join("DevToolsActivePort")).unwrap_or_default();
        written = text.split_once('\n').map(|(port, path)| (port.to_owned(), path.trim().to_owned()));
        written.as_ref().is_some_and(|(_, path)| !path.is_empty())
    });
    let (port, path) = written.unwrap();
    let stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    tungstenite::client(format!("ws://127.0.0.1:{port}{path}"), stream).unwrap().0
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helpers are in its group, and may have ended already.
        let _ = killpg(Pid::from_raw(self.program.pid() as i32), Signal::SIGKILL);
        // They write until they are dead.
        for _ in 0..200 {
            if std::fs::remove_dir_all(&self.profile).is_ok() {
                break;
            }
            sleep(Duration::from_millis(10));
        }
    }
}
