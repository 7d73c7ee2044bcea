//! weir between a client and servers of gRPC's own library.

use crate::harness::{Authority, Key, Program, Weir, free_port, require, wait_up_to};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

/// What the files of the servers' certificate are called.
const OWN: &str = "own";

/// The name that the servers' certificates have.
const NAME: &str = "app.internal";

/// Longest that a scenario may take: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A Python that has gRPC and its health protocol; `None`: there is none here.
fn python() -> Option<PathBuf> {
    static FOUND: LazyLock<Option<PathBuf>> = LazyLock::new(find_python);
    FOUND.clone()
}

fn find_python() -> Option<PathBuf> {
    let python = match std::env::var_os("WEIR_GRPC_PYTHON") {
        Some(python) => PathBuf::from(python),
        // Where the gate puts it.
        None => match Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target/grpc/bin/python3")) {
            python if python.exists() => python.to_owned(),
            _ => require("python3")?,
        },
    };
    let mut asked = Command::new(&python);
    asked.args(["-c", "import grpc, grpc_health.v1.health"]);
    let (status, _, why) = Program::run(&mut asked, PATIENCE);
    if !status.success() {
        assert!(std::env::var("WEIR_TESTS").as_deref() != Ok("all"), "no grpcio: {why}");
        println!("skipped: {} has no grpcio (WEIR_GRPC_PYTHON names another Python)", python.display());
        return None;
    }
    Some(python)
}

/// One of the Python programs beside this file.
fn program(python: &Path, file: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(format!("{}/tests/grpc/{file}", env!("CARGO_MANIFEST_DIR")));
    // Proxies of the host are none of the tests' business.
    for name in ["http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        command.env_remove(name);
    }
    command
}

/// An authority that has issued a certificate for [`NAME`] and for loopback.
pub(crate) fn seal() -> Authority {
    let authority = Authority::new();
    authority.server(OWN, &[NAME, "127.0.0.1"], Key::Ecdsa);
    authority
}

/// The certificate that [`seal`] has issued, and its key.
fn own_files(seal: &Authority) -> [String; 2] {
    ["pem", "key"].map(|ending| seal.dir().join(format!("{OWN}.{ending}")).display().to_string())
}

/// A server of gRPC's own library. Killed when dropped.
pub(crate) struct Server {
    python: PathBuf,
    pub(crate) port: u16,
    arguments: Vec<String>,
    program: Program,
}

impl Server {
    /// Starts one and waits until it listens.
    pub(crate) fn start(python: &Path, name: &str, seal: Option<&Authority>) -> Self {
        let port = free_port();
        let files = seal.map(own_files);
        let arguments = [port.to_string(), name.to_owned()].into_iter().chain(files.into_iter().flatten());
        let arguments: Vec<String> = arguments.collect();
        let program = Self::launch(python, &arguments);
        Self { python: python.to_owned(), port, arguments, program }
    }

    fn launch(python: &Path, arguments: &[String]) -> Program {
        let program = Program::spawn(program(python, "server.py").args(arguments));
        wait_up_to(PATIENCE, "the server listens", || program.stdout().contains("ready"));
        program
    }

    /// Kills it, as a crash does, and starts it again on the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.program = Self::launch(&self.python, &self.arguments);
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.program.signal(nix::sys::signal::Signal::SIGKILL);
        self.program.wait_exit(PATIENCE);
    }

    /// Tells it, in its own ear, how to be from now on.
    pub(crate) fn set(&self, wish: &str, seal: Option<&Authority>) {
        run(&self.python, self.port, seal, &["control", "Set", wish]);
    }

    /// What it has seen so far.
    pub(crate) fn seen(&self, seal: Option<&Authority>) -> Value {
        let told = run(&self.python, self.port, seal, &["control", "Seen"]);
        serde_json::from_str(&told).unwrap()
    }
}

/// Runs a scenario of the client's to its good end; what it has written.
fn run(python: &Path, port: u16, seal: Option<&Authority>, arguments: &[&str]) -> String {
    let (status, stdout, stderr) = Program::run(&mut client(python, port, seal, arguments), PATIENCE);
    assert!(status.success(), "{arguments:?}: {stderr}");
    stdout
}

fn client(python: &Path, port: u16, seal: Option<&Authority>, arguments: &[&str]) -> Command {
    let mut command = program(python, "client.py");
    command.arg(format!("127.0.0.1:{port}")).args(arguments);
    if let Some(seal) = seal {
        command.arg("--ca").arg(seal.cert()).args(["--name", NAME]);
    }
    command
}

/// weir before one or more servers, all of it in the clear or all of it over TLS.
pub(crate) struct Scene {
    pub(crate) weir: Weir,
    pub(crate) servers: Vec<Server>,
    pub(crate) seal: Option<Authority>,
    python: PathBuf,
}

impl Scene {
    /// `lines`: of the pool, where sections may follow. `None`: the library is missing here.
    pub(crate) fn start(seal: Option<Authority>, servers: usize, lines: &str) -> Option<Self> {
        let python = python()?;
        let start = |number: usize| Server::start(&python, &number.to_string(), seal.as_ref());
        let servers: Vec<Server> = (0..servers).map(start).collect();
        let tls = seal.as_ref().map_or((String::new(), String::new()), |seal| {
            let (ca, [cert, key]) = (seal.cert().display().to_string(), own_files(seal));
            (
                format!("[listener.tls]\ncertificates = [{{ cert = \"{cert}\", key = \"{key}\" }}]\n"),
                format!("[pool.app.tls]\nca = \"{ca}\"\nserver_name = \"{NAME}\"\n"),
            )
        });
        let mut config = format!(
            "[runtime]\ncores = \"0,0\"\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{{web}}\"\n\
             pool = \"app\"\n{}[pool.app]\n{lines}\n[pool.app.upstream]\nprotocol = \"h2\"\n{}",
            tls.0, tls.1
        );
        for (name, server) in servers.iter().enumerate() {
            let port = server.port;
            config.push_str(&format!(
                "[[pool.app.backend]]\nname = \"{name}\"\naddress = \"127.0.0.1:{port}\"\n"
            ));
        }
        Some(Self { weir: Weir::start(&config), servers, seal, python })
    }

    /// Runs a scenario of the client's through weir; what it has written.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        run(&self.python, self.weir.port("web"), self.seal.as_ref(), arguments)
    }

    /// Begins one, with stdin held open.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Command {
        client(&self.python, self.weir.port("web"), self.seal.as_ref(), arguments)
    }

    /// What a server has seen.
    pub(crate) fn seen(&self, server: usize) -> Value {
        self.servers[server].seen(self.seal.as_ref())
    }

    /// Tells a server how to be.
    pub(crate) fn set(&self, server: usize, wish: &str) {
        self.servers[server].set(wish, self.seal.as_ref());
    }

    /// Kills a server and starts it again.
    pub(crate) fn restart(&mut self, server: usize) {
        self.servers[server].restart();
    }
}

/// In the clear, and over TLS on both sides.
pub(crate) fn either_way(lines: &str, scenario: impl Fn(&Scene)) {
    for seal in [None, Some(seal())] {
        let Some(scene) = Scene::start(seal, 1, lines) else { return };
        scenario(&scene);
    }
}
