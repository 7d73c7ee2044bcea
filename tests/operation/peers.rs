//! Other people's servers and clients: what weir and these tests both believe may still be wrong.

use crate::harness::{Backend, Program, Weir, answers, free_port, one_pool, require, wait_until};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A folder with files to serve, and a server of them as a process.
struct Server {
    port: u16,
    dir: PathBuf,
    _program: Program,
}

impl Server {
    /// Starts what `command` makes of a port and a folder with `page.txt` and `big.bin`.
    fn start(command: impl FnOnce(u16, &Path) -> Command) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("weir-peer-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("page.txt"), "a page\n").unwrap();
        std::fs::write(dir.join("big.bin"), big()).unwrap();
        let port = free_port();
        let program = Program::spawn(&mut command(port, &dir));
        wait_until("the server accepts", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        Self { port, dir, _program: program }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A third of a megabyte that is nowhere the same.
fn big() -> Vec<u8> {
    (0..350_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn weir_before(server: &Server, lines: &str) -> Weir {
    Weir::start(&format!(
        "[runtime]\ncores = \"0,1\"\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{{web}}\"\npool = \"app\"\n\
         [pool.app]\n{lines}\n[[pool.app.backend]]\nname = \"peer\"\naddress = \"127.0.0.1:{}\"\n",
        server.port
    ))
}

fn nginx(binary: PathBuf) -> Server {
    Server::start(|port, dir| {
        let dir_text = dir.display();
        let conf = format!(
            "daemon off;\nmaster_process off;\npid {dir_text}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n\
             access_log off;\nclient_body_temp_path {dir_text}/a;\nproxy_temp_path {dir_text}/b;\n\
             fastcgi_temp_path {dir_text}/c;\nuwsgi_temp_path {dir_text}/d;\nscgi_temp_path {dir_text}/e;\n\
             gzip on;\ngzip_proxied any;\ngzip_types *;\ngzip_min_length 1;\ngzip_http_version 1.0;\n\
             server {{\nlisten 127.0.0.1:{port};\nroot {dir_text};\n\
             location /status {{ return 418 \"teapot\\n\"; }}\n}}\n}}\n"
        );
        std::fs::write(dir.join("nginx.conf"), conf).unwrap();
        let mut command = Command::new(binary);
        command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf"));
        command
    })
}

#[test]
fn nginx_as_a_backend() {
    let Some(binary) = require("nginx") else { return };
    let server = nginx(binary);
    let weir = weir_before(
        &server,
        "[pool.app.health]\npath = \"/page.txt\"\ntimeout = \"20s\"\nbody_contains = \"a page\"",
    );
    let mut client = weir.client();
    for _ in 0..20 {
        let response = client.get("/page.txt");
        assert_eq!((response.status, response.text().as_str()), (200, "a page\n"));
        assert!(response.field("Server").unwrap().starts_with("nginx"));
    }
    assert_eq!(weir.metric("weir_upstream_connects_total", &[]), 1.0, "its connection is kept");
    assert_eq!(client.get("/big.bin").body, big());
    let tag = client.get("/page.txt").field("ETag").unwrap().to_owned();
    let again = client.ask(format!("GET /page.txt HTTP/1.1\r\nHost: h\r\nIf-None-Match: {tag}\r\n\r\n"));
    assert_eq!((again.status, again.body.len()), (304, 0));
    let range = client.ask("GET /big.bin HTTP/1.1\r\nHost: h\r\nRange: bytes=1000-1999\r\n\r\n");
    assert_eq!((range.status, range.body.as_slice()), (206, &big()[1_000..2_000]));
    let zipped = client.ask("GET /big.bin HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(zipped.field("Transfer-Encoding"), Some("chunked"), "made as it goes, so in chunks");
    assert!(zipped.body.starts_with(&[0x1f, 0x8b]), "gzip");
    let head = client.ask("HEAD /big.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((head.status, head.field("Content-Length"), head.body.len()), (200, Some("350000"), 0));
    assert_eq!(client.get("/status").status, 418);
    assert_eq!(client.get("/none").status, 404);
    let refused = client.ask("POST /page.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(refused.status, 405);
}

#[test]
fn haproxy_as_a_backend() {
    let Some(binary) = require("haproxy") else { return };
    let server = Server::start(|port, dir| {
        let conf = format!(
            "defaults\n mode http\n timeout client 10s\n timeout server 10s\n timeout connect 10s\n\
             frontend f\n bind 127.0.0.1:{port}\n\
             http-request return status 200 content-type text/plain lf-string \"%[path] %[req.hdr(x-forwarded-for)]\"\n"
        );
        std::fs::write(dir.join("haproxy.cfg"), conf).unwrap();
        let mut command = Command::new(binary);
        command.arg("-db").arg("-f").arg(dir.join("haproxy.cfg"));
        command
    });
    let weir = weir_before(&server, "[pool.app.health]\ntype = \"http\"\ntimeout = \"20s\"");
    let mut client = weir.client();
    for n in 0..20 {
        assert_eq!(client.get(&format!("/p/{n}")).text(), format!("/p/{n} 127.0.0.1"));
    }
    assert_eq!(weir.metric("weir_upstream_connects_total", &[]), 1.0, "its connection is kept");
}

#[test]
fn pythons_server_as_a_backend_which_speaks_http_1_0() {
    let Some(python) = require("python3") else { return };
    let server = Server::start(|port, dir| {
        let mut command = Command::new(python);
        command.args(["-m", "http.server", &port.to_string(), "--bind", "127.0.0.1", "--directory"]).arg(dir);
        command
    });
    let weir = weir_before(&server, "");
    let mut client = weir.client();
    for _ in 0..5 {
        let response = client.get("/page.txt");
        assert_eq!((response.version.as_str(), response.text().as_str()), ("HTTP/1.1", "a page\n"));
        assert_eq!(response.field("Connection"), None, "the client's connection stays");
    }
    assert_eq!(client.get("/big.bin").body, big());
    assert_eq!(client.get("/none").status, 404);
    let post = client.ask("POST /page.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(post.status, 501);
}

/// Runs a client to its end and gives its stdout.
///
/// # Panics
/// It fails.
fn output(command: &mut Command) -> String {
    let (status, out, log) = Program::run(command, Duration::from_secs(20));
    assert!(status.success(), "{command:?}: {status}\n{out}{log}");
    out
}

#[test]
fn curl_as_a_client() {
    let Some(curl) = require("curl") else { return };
    let backend = Backend::http(answers::echo());
    let config = one_pool(&[&backend], "", "")
        + "[[listener]]\nname = \"local\"\naddress = \"unix:{dir}/web.sock\"\npool = \"app\"\n";
    let weir = Weir::start(&config);
    let url = format!("http://{}/a?b=c", weir.address("web"));
    let curl = |arguments: &[&str]| output(Command::new(&curl).args(["-sS", "-m", "15"]).args(arguments));
    let head = curl(&["-i", &url]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("X-Target: /a?b=c\r\n"), "{head}");
    let head = curl(&["-I", &url]);
    assert!(head.contains("X-Method: HEAD\r\n"), "{head}");
    let connects = curl(&["-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} ", &url, &url]);
    assert_eq!(connects, "1 0 ", "the second goes over the same connection");
    let file = weir.dir().join("upload");
    std::fs::write(&file, big()).unwrap();
    let data = format!("@{}", file.display());
    for extra in
        [&[][..], &["-H", "Transfer-Encoding: chunked"], &["-H", "Expect: 100-continue"], &["-X", "PUT"]]
    {
        let to = weir.dir().join("download");
        let path = to.display().to_string();
        curl(&[&["--data-binary", &data, "-o", &path, &url], extra].concat());
        assert_eq!(std::fs::read(&to).unwrap(), big(), "{extra:?}");
    }
    assert_eq!(curl(&["-d", "form", "--http1.0", &url]), "form");
    let socket = weir.dir().join("web.sock").display().to_string();
    assert_eq!(curl(&["-d", "local", "--unix-socket", &socket, "http://any/"]), "local");
    let from = curl(&["-o", "/dev/null", "-w", "%{http_code}", "--interface", "127.0.0.9", &url]);
    assert_eq!((from.as_str(), backend.last().fields.get("X-Forwarded-For")), ("200", Some("127.0.0.9")));
}

/// Talks to the address in its first argument with Python's own client.
const PYTHON: &str = r#"
import http.client, sys
host, port = sys.argv[1].split(":")
c = http.client.HTTPConnection(host, int(port), timeout=10)
def ask(method, path, **how):
    c.request(method, path, **how)
    sock = c.sock
    r = c.getresponse()
    body = r.read()
    assert r.status == 200, (r.status, body)
    assert r.getheader("X-Method") == method and r.getheader("X-Target") == path, r.headers
    assert c.sock is sock and sock is not None, "the connection stays"
    return body
for n in range(10):
    assert ask("GET", "/%d" % n) == b""
assert ask("HEAD", "/h") == b""
assert ask("POST", "/p", body=b"x" * 100000) == b"x" * 100000
assert ask("PUT", "/p", body=(b"piece%d" % n for n in range(50)), encode_chunked=True,
           headers={"Transfer-Encoding": "chunked"}) == b"".join(b"piece%d" % n for n in range(50))
assert ask("DELETE", "/d") == b""
assert ask("OPTIONS", "/o") == b""
print("done")
"#;

#[test]
fn pythons_client() {
    let Some(python) = require("python3") else { return };
    let backend = Backend::http(answers::echo());
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let address = weir.address("web").to_string();
    assert_eq!(output(Command::new(python).args(["-c", PYTHON, &address])), "done\n");
    assert_eq!(weir.metric("weir_connections_accepted_total", &[]), 1.0);
}

#[test]
fn wrk_as_a_client_in_front_of_nginx() {
    let (Some(wrk), Some(binary)) = (require("wrk"), require("nginx")) else { return };
    let server = nginx(binary);
    let weir = weir_before(&server, "");
    let url = format!("http://{}/page.txt", weir.address("web"));
    let report = output(Command::new(wrk).args(["-t1", "-c20", "-d1s", "--timeout", "5s", &url]));
    assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
    let requests = report.lines().find_map(|line| line.trim().split_once(" requests in")).unwrap().0;
    assert!(requests.parse::<u64>().unwrap() > 100, "{report}");
    assert!(weir.metric("weir_requests_total", &[("class", "2xx")]) >= requests.parse().unwrap());
}

#[test]
fn h2load_as_a_client_of_http_1() {
    let Some(h2load) = require("h2load") else { return };
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let url = format!("http://{}/", weir.address("web"));
    let report = output(Command::new(h2load).args(["--h1", "-n", "2000", "-c", "20", &url]));
    assert!(report.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}");
    assert_eq!(weir.metric("weir_requests_total", &[("class", "2xx")]), 2_000.0);
}
