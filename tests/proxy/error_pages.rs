//! Pages of the listener's own in the place of weir's short answers: which refusal gets which, and what they
//! cost.

use crate::harness::{Backend, Client, Response, Weir, answers, one_pool, wait_still, wait_until};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A folder with pages, which goes with it.
struct Pages(PathBuf);

impl Pages {
    fn new(files: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("weir-pages-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let pages = Self(dir);
        files.iter().for_each(|(name, text)| fs::write(pages.file(name), text).unwrap());
        pages
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The key of a listener that gives each status its file.
    fn key(&self, pages: &[(&str, &str)]) -> String {
        let entry =
            |(status, name): &(&str, &str)| format!("\"{status}\" = \"{}\"", self.file(name).display());
        format!("error_pages = {{ {} }}\n", pages.iter().map(entry).collect::<Vec<_>>().join(", "))
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn assert_page(case: &str, response: &Response, status: u16, kind: &str, body: &str) {
    assert_eq!((response.status, response.text().as_str()), (status, body), "{case}");
    assert_eq!(response.field("Content-Type"), Some(kind), "{case}");
    assert!(response.field("Proxy-Status").is_some_and(|said| said.starts_with("weir; error=")), "{case}");
}

const HTML: &str = "text/html; charset=utf-8";

/// Sends each request on a connection of its own and expects the page of the status's class.
fn each_gets_the_class_page(weir: &Weir, requests: &[(u16, String)]) {
    for (status, request) in requests {
        let mut client = weir.client();
        client.send(request);
        let (kind, body) = if *status < 500 { (HTML, "<p>yours</p>") } else { ("application/json", "{}") };
        assert_page(&request[..request.len().min(60)], &client.response(), *status, kind, body);
        client.assert_closed();
    }
}

#[test]
fn every_refusal_of_a_request_gets_the_page_of_its_class() {
    let pages = Pages::new(&[("4xx.html", "<p>yours</p>"), ("5xx.json", "{}")]);
    let backend = Backend::http(answers::text("ok"));
    let listener = "max_head = \"1KiB\"\nmax_body = \"1KiB\"\nhead_timeout = \"300ms\"\n".to_owned()
        + &pages.key(&[("4xx", "4xx.html"), ("5xx", "5xx.json")]);
    let weir = Weir::start(&one_pool(&[&backend], &listener, ""));
    let head = |rest: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{rest}\r\n");
    each_gets_the_class_page(
        &weir,
        &[
            (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
            (400, "\x16\x03\x01\x02\x00".to_owned()),
            (400, head("Transfer-Encoding: chunked\r\n") + "x\r\n"),
            // Refused before they are whole.
            (408, "GET / HTTP/1.1\r\nHost: h\r\n".to_owned()),
            (414, format!("GET /{}", "x".repeat(2000))),
            (431, format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(2000))),
            (413, head("Content-Length: 1025\r\n")),
            (417, head("Expect: miracles\r\nContent-Length: 1\r\n")),
            (501, head("Transfer-Encoding: gzip\r\n")),
            (505, "GET / HTTP/2.0\r\nHost: h\r\n\r\n".to_owned()),
        ],
    );
    assert_eq!(weir.client().get("/").text(), "ok");
    assert_eq!(backend.requests(), 1, "nothing else was forwarded");
}

#[test]
fn a_status_without_a_page_keeps_the_short_text_with_the_causes_word() {
    let pages = Pages::new(&[("503.html", "<p>soon</p>")]);
    let backend = Backend::absent(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], &pages.key(&[("503", "503.html")]), ""));
    let response = weir.client().get("/");
    assert_eq!(response.status, 502);
    assert_eq!(
        response.text(),
        "502 Bad Gateway: could not connect to a backend (upstream_failed/connect)\n"
    );
    assert_eq!(
        response.field("Proxy-Status"),
        Some("weir; error=destination_unavailable; details=\"upstream_failed/connect\"")
    );
    let response = weir.client().ask("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(
        response.text(),
        "400 Bad Request: an HTTP/1.1 request has no Host (byte 16 of the request) (bad_head)\n"
    );
}

#[test]
fn what_fails_behind_weir_gets_its_page_and_the_connection_goes_on() {
    let pages =
        Pages::new(&[("502.svg", "<svg/>"), ("503.xml", "<a/>"), ("504.txt", "late"), ("404.html", "no")]);
    let keys = [("502", "502.svg"), ("503", "503.xml"), ("504", "504.txt"), ("404", "404.html")];
    let absent = Backend::absent(answers::text("ok"));
    let slow = Backend::http(answers::delayed(Duration::from_secs(2), answers::text("late")));
    let mut config = one_pool(&[&absent], &pages.key(&keys), "");
    config = config.replacen("pool = \"app\"\n", "", 1);
    let pool = |name: &str, address: &str, more: &str| {
        format!(
            "[[route]]\npath = \"/{name}\"\npool = \"{name}\"\n[pool.{name}]\n{more}\n\
             [[pool.{name}.backend]]\naddress = \"{address}\"\n"
        )
    };
    config += "[[route]]\npath = \"/app\"\npool = \"app\"\n";
    config += &pool("slow", &slow.address(), "[pool.slow.timeouts]\nresponse = \"200ms\"");
    config += &pool("none", &absent.address(), "[pool.none.health]\ntype = \"tcp\"\ninterval = \"50ms\"");
    let weir = Weir::start(&config);
    let down = |line: &str| line.contains("weir_pool_usable{pool=\"none\"} 0");
    wait_until("the checked backend is down", || weir.admin("/metrics").text().lines().any(down));
    let mut client = weir.client();
    for (path, status, kind, body) in [
        ("/app", 502, "image/svg+xml", "<svg/>"),
        ("/none", 503, "application/xml", "<a/>"),
        ("/slow", 504, "text/plain; charset=utf-8", "late"),
    ] {
        assert_page(path, &client.get(path), status, kind, body);
        // HEAD says how long the page is and has none of it; what follows on the connection is the next answer.
        let head = client.ask(format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let length = body.len().to_string();
        assert_eq!((head.status, head.field("Content-Length")), (status, Some(length.as_str())), "{path}");
    }
    assert_page("no route", &client.get("/else"), 404, HTML, "no");
    // What was refused before its head was parsed is known for a HEAD as well.
    let mut client = weir.client();
    client.send("HEAD /else HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.response_to("HEAD").field("Content-Length"), Some("2"));
    client.assert_closed();
}

#[test]
fn a_body_that_comes_too_slowly_gets_the_page_too() {
    let pages = Pages::new(&[("408.html", "slow")]);
    let backend = Backend::http(answers::echo());
    let listener = "body_min_rate_per_s = \"1MiB\"\n".to_owned() + &pages.key(&[("408", "408.html")]);
    let weir = Weir::start(&one_pool(&[&backend], &listener, ""));
    let mut client = weir.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
    assert_page("a slow body", &client.response(), 408, HTML, "slow");
}

#[test]
fn what_a_backend_answers_is_its_own_whatever_its_status() {
    let pages = Pages::new(&[("all.html", "weir's")]);
    let backend = Backend::http(answers::fixed("HTTP/1.1 503 Own\r\nContent-Length: 5\r\n\r\nmine!"));
    let keys = pages.key(&[("503", "all.html"), ("5xx", "all.html")]);
    let weir = Weir::start(&one_pool(&[&backend], &keys, ""));
    let response = weir.client().get("/");
    assert_eq!((response.status, response.text().as_str()), (503, "mine!"));
    assert_eq!(response.field("Proxy-Status"), None);
}

#[test]
fn who_hides_weirs_name_in_via_hides_it_here() {
    let backend = Backend::absent(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "via = \"\"\n", ""));
    let response = weir.client().get("/");
    assert_eq!((response.status, response.field("Proxy-Status")), (502, None));
}

fn refused(weir: &Weir) -> Client {
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\n\r\n");
    client
}

#[test]
fn clients_that_do_not_read_the_largest_page_cost_weir_no_copy_of_it() {
    const CLIENTS: usize = 500;
    let large = "x".repeat(64 << 10);
    let pages = Pages::new(&[("400.html", &large)]);
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], &pages.key(&[("400", "400.html")]), ""));
    assert_eq!(refused(&weir).response().text(), large);
    let before = weir.resident();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| refused(&weir)).collect();
    weir.wait_metric("weir_refusals_total", &[("cause", "bad_head")], CLIENTS as f64 + 1.0);
    let grown = weir.resident().saturating_sub(before);
    assert!(grown < CLIENTS * large.len() / 3, "{grown} bytes for {CLIENTS} clients");
    let client = clients.last_mut().unwrap();
    assert_eq!(client.response().text(), large);
    client.assert_closed();
}

/// The end of the file's name says what it is; weir does not look into it.
#[test]
fn a_page_is_sent_byte_for_byte() {
    let text = "<!doctype html>\r\n<p>Größe: 3 &lt; 4</p>\n\n";
    let pages = Pages::new(&[("400.html", text)]);
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], &pages.key(&[("400", "400.html")]), ""));
    assert_page("bytes", &refused(&weir).response(), 400, HTML, text);
}

/// What came after half a page would be taken for the rest of it.
#[test]
fn a_client_that_does_not_read_its_page_to_the_end_gets_no_answer_behind_it() {
    let large = "x".repeat(64 << 10);
    let pages = Pages::new(&[("502.html", &large)]);
    let backend = Backend::absent(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], &pages.key(&[("502", "502.html")]), ""));
    // Pipelined, until the kernel takes no more of what is not read.
    const REQUESTS: usize = 400;
    let mut client = weir.client();
    client.wire.socket.set_receive_buffer(4096);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(REQUESTS));
    let answered = || weir.metric("weir_refusals_total", &[("status", "502")]);
    wait_until("it is answered", || answered() > 0.0);
    let began = wait_still("the kernel takes no more", answered) as usize;
    assert!(began < REQUESTS, "the kernel took all {REQUESTS} pages");
    wait_until("weir gives it up", || weir.metric("weir_connections", &[]) == 0.0);
    // What had left is whole pages and perhaps a part of one; then a reset, in which some of that is lost.
    let mut whole = 0;
    while let Ok(Some(response)) = client.wire.response("GET") {
        assert_page("pipelined", &response, 502, HTML, &large);
        whole += 1;
    }
    assert!(whole < began, "{whole} of {began}");
    assert_eq!(answered() as usize, began, "nothing was answered behind it");
}
