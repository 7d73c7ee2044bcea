//! Every key of a health check: what is asked, and what counts as passed.

use crate::harness::{Backend, Handler, Then, Weir, answers, free_port, wait_until};
use crate::{pool_of, state, why};
use std::thread::sleep;
use std::time::Duration;

const OFTEN: &str = "interval = \"30ms\"\ninterval_down = \"30ms\"\nrise = 1\nfall = 1\n";

/// Answers checks of /up by `check`, everything else with a plain 200.
fn checked(check: Handler) -> Handler {
    let plain = answers::text("ok");
    answers::by(
        move |received, wire| {
            if received.line().contains("/up") { check(received, wire) } else { plain(received, wire) }
        },
    )
}

/// weir before `backend` with a check of these lines, once a first verdict is there. Unless they say so a check has as
/// long as a busy machine may need for it.
fn judged(backend: &Backend, check: &str) -> Weir {
    let timeout = if check.contains("timeout = ") { "" } else { "timeout = \"20s\"\n" };
    let health = format!("[pool.app.health]\n{OFTEN}{timeout}{check}");
    let weir = Weir::start(&pool_of("0", &[(backend, "")], &health));
    wait_until("the first check has ended", || state(&weir, 0) != "unchecked");
    weir
}

#[test]
fn the_request_is_made_of_path_method_host_and_headers() {
    let backend = Backend::http(checked(answers::text("ok")));
    let weir = judged(
        &backend,
        "path = \"/up?deep=1\"\nmethod = \"OPTIONS\"\nhost = \"app.internal:81\"\n\
         headers = { \"X-Check\" = \"weir\", \"Authorization\" = \"Bearer t\" }",
    );
    assert_eq!(state(&weir, 0), "up", "{}", why(&weir, 0));
    let check = backend.last();
    assert_eq!(check.line(), "OPTIONS /up?deep=1 HTTP/1.1");
    assert_eq!(check.fields.all("Host").collect::<Vec<_>>(), ["app.internal:81"]);
    assert_eq!(check.fields.get("X-Check"), Some("weir"));
    assert_eq!(check.fields.get("Authorization"), Some("Bearer t"));
    assert!(check.body.data.is_empty());
}

#[test]
fn without_these_keys_it_is_a_get_of_the_root_at_the_backends_own_address() {
    let backend = Backend::http(answers::text("ok"));
    let weir = judged(&backend, "");
    assert_eq!(state(&weir, 0), "up");
    let check = backend.last();
    assert_eq!(check.line(), "GET / HTTP/1.1");
    assert_eq!(check.fields.get("Host"), Some(backend.address().as_str()));
    assert_eq!(check.fields.get("User-Agent"), Some("weir-health"));
}

#[test]
fn statuses_and_bodies_decide_and_the_reason_is_told() {
    let long = "x".repeat(40_000) + "all is well";
    let status = |status: u16, body: &str| {
        format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let chunked =
        "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nall is\r\n5\r\n well\r\n0\r\n\r\n";
    let expect = "expect = \"200,204,300-399\"";
    let contains = "body_contains = \"all is well\"";
    for (case, keys, answer, up, reason) in [
        ("200 by default", "", status(200, ""), true, "first check passed"),
        ("399 by default", "", status(399, ""), true, "first check passed"),
        ("400 by default", "", status(400, ""), false, "status 400, expected 200-399"),
        ("500 by default", "", status(500, ""), false, "status 500, expected 200-399"),
        ("in the list", expect, status(204, ""), true, "first check passed"),
        ("in the range", expect, status(302, ""), true, "first check passed"),
        ("between them", expect, status(201, ""), false, "status 201, expected 200,204,300-399"),
        ("body at the end", contains, status(200, &long), true, "first check passed"),
        ("body in chunks", contains, chunked.into(), true, "first check passed"),
        ("another body", contains, status(200, "nothing"), false, "body does not contain \"all is well\""),
        ("no HTTP", "", "SSH-2.0-x\r\n\r\n".into(), false, "bad response"),
    ] {
        let backend = Backend::http(checked(answers::fixed_and_close(answer)));
        let weir = judged(&backend, &format!("path = \"/up\"\n{keys}"));
        assert_eq!(state(&weir, 0), if up { "up" } else { "down" }, "{case}: {}", why(&weir, 0));
        assert!(why(&weir, 0).contains(reason), "{case}: {}", why(&weir, 0));
        assert_eq!(weir.client().get("/").status, if up { 200 } else { 503 }, "{case}");
    }
}

#[test]
fn a_check_on_another_port_asks_there_and_only_there() {
    let backend = Backend::http(answers::text("ok"));
    let health = Backend::http(answers::text("ok"));
    let weir = judged(&backend, &format!("port = {}", health.port()));
    assert_eq!(state(&weir, 0), "up");
    assert_eq!((backend.requests(), health.requests() > 0), (0, true));
    assert_eq!(weir.client().get("/").status, 200);
    assert_eq!(backend.requests(), 1, "traffic goes to the backend's own port");
    drop(health);
    wait_until("nobody answers there", || state(&weir, 0) == "down");
    // By what, hangs on whether a check was under way when it went.
    assert!(why(&weir, 0).starts_with("a check failed: conn"), "{}", why(&weir, 0));
}

#[test]
fn a_tcp_check_asks_for_a_connection_and_nothing_more() {
    let mut backend = Backend::http(checked(answers::fixed("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")));
    let weir = judged(&backend, "type = \"tcp\"");
    assert_eq!(state(&weir, 0), "up");
    wait_until("several checks were made", || backend.connections() >= 5);
    assert_eq!(backend.requests(), 0);
    backend.stop();
    wait_until("connects are refused", || state(&weir, 0) == "down");
    assert_eq!(why(&weir, 0), "a check failed: connect refused");
}

#[test]
fn a_check_that_is_not_answered_in_time_has_failed() {
    let never = answers::by(|_, wire| {
        // Ends with the connection.
        let _ = wire.bytes(1);
        Ok(Then::Close)
    });
    let backend = Backend::http(checked(never));
    let weir = judged(&backend, "path = \"/up\"\ntimeout = \"100ms\"");
    assert_eq!(
        (state(&weir, 0), why(&weir, 0)),
        ("down".into(), "first check failed: timed out after 100ms".into())
    );
    let backend = Backend::http(checked(answers::delayed(Duration::from_millis(200), answers::text("ok"))));
    let weir = judged(&backend, "path = \"/up\"\ntimeout = \"20s\"");
    assert_eq!(state(&weir, 0), "up");
}

#[test]
fn a_body_that_never_ends_does_not_hold_a_check() {
    let endless = answers::by(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            wire.send("4\r\nbusy\r\n")?;
            sleep(Duration::from_millis(5));
        }
    });
    let backend = Backend::http(checked(endless));
    let weir = judged(&backend, "path = \"/up\"\ntimeout = \"200ms\"\nbody_contains = \"done\"");
    assert_eq!(
        (state(&weir, 0), why(&weir, 0)),
        ("down".into(), "first check failed: timed out after 200ms".into())
    );
}

#[test]
fn a_head_check_passes_without_a_body() {
    let backend = Backend::http(checked(answers::text("twelve bytes")));
    let weir = judged(&backend, "path = \"/up\"\nmethod = \"HEAD\"");
    assert_eq!(state(&weir, 0), "up");
    assert_eq!(backend.last().method(), "HEAD");
}

#[test]
fn a_backend_on_a_unix_socket_is_checked_too() {
    let path = std::env::temp_dir().join(format!("weir-checked-{}-{}.sock", std::process::id(), free_port()));
    let mut backend = Backend::http_unix(&path, checked(answers::text("ok")));
    let weir = judged(&backend, "path = \"/up\"");
    assert_eq!((state(&weir, 0), weir.client().get("/").status), ("up".into(), 200));
    backend.stop();
    wait_until("it refuses", || state(&weir, 0) == "down");
    drop(backend);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn pools_with_the_same_address_and_check_share_one_series_of_checks() {
    let backend = Backend::http(checked(answers::text("ok")));
    let address = backend.address();
    let pool = |name: &str, path: &str| {
        format!(
            "[[pool.{name}.backend]]\naddress = \"{address}\"\n[pool.{name}.health]\npath = \"{path}\"\n\
             interval = \"60s\"\njitter = 0.0\ntimeout = \"20s\"\n"
        )
    };
    let config = format!(
        "[runtime]\ncores = 1\n[[listener]]\naddress = \"127.0.0.1:{{web}}\"\npool = \"a\"\n{}{}{}",
        pool("a", "/up"),
        pool("b", "/up"),
        pool("c", "/up/other")
    );
    let weir = Weir::start(&config);
    wait_until("all are judged", || (0..3).all(|backend| state(&weir, backend) == "up"));
    let paths: Vec<String> = backend.received().iter().map(|check| check.line()).collect();
    assert_eq!(paths.iter().filter(|line| line.contains("/up ")).count(), 1, "{paths:?}");
    assert_eq!(paths.iter().filter(|line| line.contains("/up/other")).count(), 1, "{paths:?}");
}
