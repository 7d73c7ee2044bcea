//! `weir demo`: three backends and a balancer in one process, to play with.
//!
//! The balancer is the real one: its configuration is TOML text that goes the way of every file. Here:
//! that text, the ports, what is printed. Not here: the backends (`backends.rs`) and their server.

mod backends;
mod server;

use super::{FAILED, say, tell};
use crate::config::{self, ListenAddress};
use crate::serve::{self, Addresses};
use crate::sys;
use backends::Backends;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

// The ports, as far as nobody else has them.
const LISTENER_PORT: u16 = 8080;
const BACKEND_PORTS: [u16; 3] = [9101, 9102, 9103];
const SWITCHBOARD_PORT: u16 = 9100;
const ADMIN_PORT: u16 = 9900;
/// How long the greeting waits for the first checks, in tries of [`TRY_EVERY`]: checks run every 500ms.
const TRIES: u32 = 50;
const TRY_EVERY: Duration = Duration::from_millis(100);

/// Runs the demo until a signal ends it; the exit code.
pub(super) fn demo() -> u8 {
    match start() {
        Ok(code) => code,
        Err(error) => {
            tell(error);
            FAILED
        }
    }
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("the demo's backends cannot be started: {0}")]
    Backends(#[from] io::Error),
    #[error("the demo's configuration is refused:\n{0}")]
    Config(#[from] config::Faults),
    #[error(transparent)]
    Start(#[from] serve::StartError),
}

fn start() -> Result<u8, DemoError> {
    let backends = Backends::start(BACKEND_PORTS)?;
    let switchboard = backends.switchboard(SWITCHBOARD_PORT)?;
    let (listener, admin) = free_ports()?;
    let text = toml(listener, admin, &backends, sys::cpu::available().len());
    let checked = config::parse(&text, "demo")?;
    let switches = switchboard.address();
    Ok(serve::run(checked.config, move |addresses| greet(addresses, backends, switches))?)
}

/// Ports for the listener and the admin surface. They are held together until both are known, or the
/// same could be found twice, and let go then, for weir binds its own.
fn free_ports() -> io::Result<(SocketAddr, SocketAddr)> {
    let (listener, admin) = (server::bind_near(LISTENER_PORT)?, server::bind_near(ADMIN_PORT)?);
    Ok((listener.local_addr()?, admin.local_addr()?))
}

/// Two shards where there are two cores: enough to see that they share one view, and a demo should not
/// take every core of a large machine.
fn toml(listener: SocketAddr, admin: SocketAddr, backends: &Backends, cores: usize) -> String {
    let mut text = format!(
        r#"
[runtime]
cores = {}
max_connections = 200
grace = "1s"

[admin]
listen = ["{admin}"]

[[listener]]
name = "web"
address = "{listener}"
pool = "app"

[pool.app]
policy = "round_robin"

[pool.app.health]
type = "http"
path = "/health"
interval = "500ms"
interval_down = "500ms"
timeout = "400ms"
rise = 1
fall = 2
"#,
        cores.clamp(1, 2)
    );
    for backend in backends.iter() {
        let (name, address) = (backend.name, backend.server.address());
        // Into a String: cannot fail.
        let _ = write!(text, "\n[[pool.app.backend]]\nname = \"{name}\"\naddress = \"{address}\"\n");
    }
    text
}

/// From here on the demo talks and listens on threads of its own: the caller serves.
fn greet(addresses: &Addresses, backends: Backends, switchboard: SocketAddr) {
    let typed = io::stdin().is_terminal();
    let text = greeting(addresses, &backends, switchboard, typed);
    let admin = addresses.admin.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    });
    let talk = move || {
        if let Some(admin) = admin {
            await_checks(admin, backends.iter().count());
        }
        say(text);
        if typed {
            backends.obey(io::stdin().lock());
        }
    };
    if let Err(error) = thread::Builder::new().name("demo-talk".into()).spawn(talk) {
        tell(format_args!("no thread for the demo's terminal: {error}"));
    }
}

/// Waits until all backends have passed their first health check, so that what the greeting promises is
/// true when it is read; gives up after a while, and the log says why.
#[allow(clippy::disallowed_methods, reason = "a thread of the demo's own, no shard")]
fn await_checks(admin: SocketAddr, backends: usize) {
    for _ in 0..TRIES {
        if page(admin).is_ok_and(|text| text.matches("\"usable\": true").count() == backends) {
            return;
        }
        thread::sleep(TRY_EVERY);
    }
}

/// The admin page about the backends, head and all.
fn page(admin: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, TRY_EVERY)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    write!(stream, "GET /backends HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn greeting(addresses: &Addresses, backends: &Backends, switchboard: SocketAddr, typed: bool) -> String {
    let url = |address: &ListenAddress| match address {
        ListenAddress::Tcp(address) => format!("http://{address}"),
        ListenAddress::Unix(path) => format!("unix:{}", path.display()),
    };
    let web = addresses.listeners.first().map(|(_, address)| url(address)).unwrap_or_default();
    let admin = addresses.admin.first().map(url).unwrap_or_default();
    let asked = addresses.admin.first().map(ToString::to_string).unwrap_or_default();
    let listed: Vec<String> = (1..)
        .zip(backends.iter())
        .map(|(n, backend)| {
            format!("             {n} {:6} http://{}/", backend.name, backend.server.address())
        })
        .collect();
    let by_number =
        if typed { "\n  type 1, 2 or 3 and Enter, here: once to kill, again to revive; or" } else { "" };
    format!(
        "
  Open the dashboard:  {admin}/dashboard

weir demo: three backends, one listener, health checks every 500ms

  weir       {web}/
  admin      {admin}/backends  (and /metrics, /healthz, /readyz)
  backends
{listed}

Try it, and watch the dashboard
  for i in 1 2 3 4 5 6; do curl -s {web}/; done

Kill a backend, revive it{by_number}
  curl -X POST http://{switchboard}/kill/two
  curl -X POST http://{switchboard}/revive/two

Take one out and back while it runs, by the dashboard's buttons or in another terminal (and see {program} ctl --help)
  {program} ctl --admin {asked} drain app one
  {program} ctl --admin {asked} ready app one
  {program} ctl --admin {asked} backends

A killed backend is out of the rotation after two failed checks, and back after one that passes; the log
says when. Ctrl-C ends it all.
",
        listed = listed.join("\n"),
        program = program(),
    )
}

/// How this program is called from the folder that it was started in: `cargo run` puts it on no PATH.
fn program() -> String {
    let called = || {
        let (program, folder) = (std::env::current_exe().ok()?, std::env::current_dir().ok()?);
        Some(program.strip_prefix(folder).ok()?.display().to_string())
    };
    called().unwrap_or_else(|| "weir".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{Check, Cores};

    #[test]
    fn its_configuration_is_accepted_without_a_warning_and_names_what_runs() {
        let backends = Backends::start([0; 3]).unwrap();
        let (listener, admin) = free_ports().unwrap();
        let checked = config::parse(&toml(listener, admin, &backends, 64), "demo").unwrap();
        assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
        assert_eq!(checked.config.runtime.cores, Cores::Count(2));
        assert_eq!(checked.config.listeners[0].address, ListenAddress::Tcp(listener));
        let pool = &checked.config.pools[0];
        let named: Vec<&str> = pool.backends.iter().map(|backend| backend.name.as_str()).collect();
        assert_eq!(named, ["one", "two", "three"]);
        assert!(
            matches!(&pool.health.as_ref().unwrap().check, Check::Http(check) if check.path == "/health")
        );
    }

    #[test]
    fn one_core_is_enough() {
        let (listener, admin) = free_ports().unwrap();
        let text = toml(listener, admin, &Backends::start([0; 3]).unwrap(), 1);
        assert_eq!(config::parse(&text, "demo").unwrap().config.runtime.cores, Cores::Count(1));
    }

    #[test]
    fn the_greeting_speaks_of_typing_only_to_a_terminal_and_names_real_addresses() {
        let backends = Backends::start([0; 3]).unwrap();
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = Addresses {
            listeners: vec![("web".into(), ListenAddress::Tcp(at(4001)))],
            admin: vec![ListenAddress::Tcp(at(4002))],
        };
        let text = greeting(&addresses, &backends, at(4003), false);
        let own = backends.iter().map(|backend| backend.server.address().to_string());
        for address in
            ["127.0.0.1:4001", "127.0.0.1:4002", "127.0.0.1:4003"].map(String::from).into_iter().chain(own)
        {
            assert!(text.contains(&address), "{address}: {text}");
        }
        // What a new user looks at first.
        let first = text.lines().find(|line| !line.is_empty()).unwrap();
        assert!(first.ends_with("http://127.0.0.1:4002/dashboard"), "{first}");
        assert!(!text.contains("Enter"));
        assert!(greeting(&addresses, &backends, at(4003), true).contains("Enter"));
    }

    #[test]
    fn a_page_is_told_from_a_refused_connection() {
        let backends = Backends::start([0; 3]).unwrap();
        let first = &backends.iter().next().unwrap().server;
        assert!(page(first.address()).unwrap().contains(" 200 "));
        first.kill();
        assert!(page(first.address()).is_err());
    }
}
