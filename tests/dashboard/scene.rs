//! A weir with backends, a browser that shows its dashboard, and where things stand on the page.

use crate::harness::{Backend, Browser, Client, Handler, Weir, answers, wait_until};
use serde_json::{Value, json};

/// A weir whose dashboard is open.
pub(crate) struct Scene {
    pub(crate) browser: Browser,
    pub(crate) weir: Weir,
    pub(crate) backends: Vec<Backend>,
}

impl Scene {
    /// With a backend for each name; `None` without a browser.
    pub(crate) fn open(names: &[&str]) -> Option<Self> {
        let mut scene = Self::behind(names, answers::text("hello"), "")?;
        let url = scene.url();
        scene.browser.open(&url);
        scene.wait_rows(names.len());
        Some(scene)
    }

    /// As `open`, with these answers and further lines of configuration; the dashboard is not opened.
    pub(crate) fn behind(names: &[&str], answer: Handler, config: &str) -> Option<Self> {
        let browser = Browser::start()?;
        let backends: Vec<Backend> = names.iter().map(|_| Backend::http(answer.clone())).collect();
        let weir = Weir::start(&(pool_of(names, &backends) + config));
        Some(Self { browser, weir, backends })
    }

    /// The dashboard's address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/dashboard", self.weir.address("admin"))
    }

    /// Waits until so many backends are shown, and no others, and all of them are up.
    pub(crate) fn wait_rows(&mut self, count: usize) {
        let rows =
            "[...document.querySelectorAll('.backends tbody tr')].map((row) => row.dataset.state).join()";
        let all = vec!["up"; count].join(",");
        self.browser.wait(&format!("{count} rows"), &format!("{rows} === '{all}'"));
    }

    /// Waits until the page shows a backend in this state.
    pub(crate) fn wait_state(&mut self, name: &str, state: &str) {
        let shown = format!("{}.dataset.state === {}", row(name), json!(state));
        self.browser.wait(&format!("{name} is shown as {state}"), &shown);
    }

    /// Waits until weir itself says that a backend is in this state.
    pub(crate) fn agree_state(&self, name: &str, state: &str) {
        wait_until(&format!("weir says that {name} is {state}"), || self.backend(name)["state"] == state);
    }

    /// A backend as weir itself tells of it.
    pub(crate) fn backend(&self, name: &str) -> Value {
        let page = self.weir.admin("/backends").json();
        page["backends"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
    }

    /// No complaint came of the page, and it asked nobody but its weir.
    pub(crate) fn assert_sound(&mut self) {
        assert_eq!(self.browser.complaints(), [] as [&str; 0]);
        let own = format!("http://{}/", self.weir.address("admin"));
        let asked = self.browser.requests();
        let outside: Vec<&String> =
            asked.iter().filter(|url| !url.starts_with(&own) && !url.starts_with("data:")).collect();
        assert!(outside.is_empty(), "{outside:?}");
    }
}

/// Two shards, a listener, and a pool of backends that are checked often.
pub(crate) fn pool_of(names: &[&str], backends: &[Backend]) -> String {
    let mut config = "[runtime]\ncores = 2\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{web}\"\n\
                      pool = \"app\"\n[pool.app]\npolicy = \"round_robin\"\n[pool.app.health]\ntype = \"http\"\n\
                      path = \"/\"\ninterval = \"500ms\"\ninterval_down = \"500ms\"\ntimeout = \"500ms\"\nrise = 1\nfall = 2\n"
        .to_owned();
    for (name, backend) in names.iter().zip(backends) {
        // JSON writes text as TOML does.
        let (name, address) = (json!(name), backend.address());
        config.push_str(&format!("[[pool.app.backend]]\nname = {name}\naddress = \"{address}\"\n"));
    }
    config
}

/// The row of a backend, as an expression.
pub(crate) fn row(name: &str) -> String {
    let name = json!(name);
    format!(
        "[...document.querySelectorAll('.backends tbody tr')].find((row) => \
         row.querySelector('.name').textContent === {name})"
    )
}

/// A backend's button.
pub(crate) fn button(name: &str, verb: &str) -> String {
    format!("{}.querySelector('button.{verb}')", row(name))
}

/// What stands in a backend's row.
pub(crate) fn part(name: &str, selector: &str) -> String {
    format!("{}.querySelector('{selector}').textContent", row(name))
}

/// What the page tells of the last change.
pub(crate) const SAID: &str = "document.querySelector('#said').textContent";

/// An answer of JSON.
pub(crate) trait AsJson {
    fn json(&self) -> Value;
}

impl AsJson for crate::harness::Response {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }
}

/// An answer to a request for HTML.
pub(crate) fn ask_as_browser(weir: &Weir, path: &str) -> crate::harness::Response {
    let fields = "Host: localhost\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\nConnection: close";
    Client::connect(weir.address("admin")).ask(format!("GET {path} HTTP/1.1\r\n{fields}\r\n\r\n"))
}
