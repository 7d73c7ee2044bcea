//! A syslog's socket: messages as syslog(3) sends them, and a syslog that is started again.

use crate::harness::{Backend, Weir, answers, wait_until};
use crate::logging;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

fn receiver(path: &Path) -> UnixDatagram {
    let _ = std::fs::remove_file(path);
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

fn message(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 65_536];
    let count = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..count].to_vec()).unwrap()
}

#[test]
fn each_line_is_a_message_and_a_syslog_that_comes_back_is_found() {
    let backend = Backend::http(answers::text("ok"));
    let path = std::env::temp_dir().join(format!("weir-access-syslog-{}", std::process::id()));
    let socket = receiver(&path);
    let keys = format!("format = \"$method $path\"\nto = \"syslog:{}\"", path.display());
    let weir = Weir::start(&logging(&[&backend], "", &keys));
    let mut client = weir.client();
    let of = |line: &str| format!("<134>weir[{}]: {line}", weir.pid());
    for path in ["/a", "/b"] {
        client.get(path);
        assert_eq!(message(&socket), of(&format!("GET {path}")));
    }
    drop(socket);
    client.get("/meanwhile");
    weir.wait_metric("weir_access_log_write_errors_total", &[], 1.0);
    let socket = receiver(&path);
    assert_eq!(message(&socket), of("GET /meanwhile"));
    client.get("/c");
    assert_eq!(message(&socket), of("GET /c"));
    // More than it takes at once: it is waited for, not by requests.
    (0..2_000).for_each(|_| assert_eq!(client.get("/many").status, 200));
    (0..2_000).for_each(|_| assert_eq!(message(&socket), of("GET /many")));
    wait_until("all are counted", || weir.metric("weir_access_log_lines_total", &[]) == 2_004.0);
    let _ = std::fs::remove_file(&path);
}
