//! What the page shows: every backend, values that change, names as text, nothing from outside, on any width.

use crate::harness::{Load, Then, answers};
use crate::scene::{Scene, ask_as_browser, part, row};
use std::time::Duration;

const NAMES: [&str; 3] = ["one", "two", "three"];

#[test]
fn every_backend_has_a_row_and_values_change_under_load() {
    let Some(mut scene) = Scene::open(&NAMES) else { return };
    for (name, backend) in NAMES.iter().zip(&scene.backends) {
        let text = scene.browser.text(&format!("{}.textContent", row(name)));
        for part in [name, "up", "first check passed", &backend.address().to_string()] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert_eq!(scene.browser.text(&part("one", ".rate")), "0");
    assert_eq!(scene.browser.eval("document.querySelectorAll('#shards tbody tr').length"), 2);
    let load = Load::get(scene.weir.address("web"), 4, "/");
    let busy = |name| format!("Number.parseFloat({}) > 1", part(name, ".rate"));
    for name in NAMES {
        scene.browser.wait("requests are shown", &busy(name));
        scene.browser.wait("a latency is shown", &format!("/[µm]s/.test({})", part(name, "dl")));
        let lines = format!("{}.querySelectorAll('.spark path[d*=M]').length >= 4", row(name));
        scene.browser.wait("a sparkline is drawn", &lines);
        let bars =
            format!("/shard 0: \\d+, shard 1: \\d+/.test({}.querySelector('.bars').ariaLabel)", row(name));
        assert_eq!(scene.browser.eval(&bars), true);
    }
    let total = "document.querySelector('#tiles dd').textContent";
    scene.browser.wait("the total is shown", &format!("Number.parseFloat({total}) > 1"));
    scene
        .browser
        .wait("shards have turns", "document.querySelector('#shards td:nth-child(6)').textContent !== '0'");
    for phase in ["connect", "first_byte", "whole", "own"] {
        scene.browser.click(&format!("document.getElementById('phase-{phase}')"));
        let told = "/p50 .*[µm]s/.test(document.getElementById('heat').ariaLabel)";
        scene.browser.wait("the heat map has something of each phase, and says it", told);
        // Something is painted that is neither text nor line: far from grey.
        let colours = "(() => { const c = document.getElementById('heat'), o = new OffscreenCanvas(c.width, c.height), p = \
                       o.getContext('2d', { willReadFrequently: true }); p.drawImage(c, 0, 0); const d = p.getImageData(0, 0, \
                       c.width, c.height).data; let n = 0; for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 200 && \
                       Math.abs(d[i] - d[i + 2]) > 20) n++; return n; })() > 200";
        scene.browser.wait("cells are painted", colours);
    }
    load.stop();
    scene.browser.wait("quiet again", &format!("{} === '0'", part("one", ".rate")));
    scene.assert_sound();
}

#[test]
fn refusals_are_shown_by_cause() {
    let Some(mut scene) = Scene::open(&["one"]) else { return };
    let response = scene.weir.client().ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(response.status, 400);
    scene.browser.wait("a cause", "document.querySelector('#refusals tbody td')?.textContent === '400'");
    scene.assert_sound();
}

#[test]
fn failing_answers_stand_out_in_words() {
    let answer = answers::by(|request, wire| {
        let status = if request.line().contains("/bad") { "500 No" } else { "200 OK" };
        wire.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))?;
        Ok(Then::KeepAlive)
    });
    let Some(mut scene) = Scene::behind(&["one", "two"], answer, "") else { return };
    let url = scene.url();
    scene.browser.open(&url);
    scene.wait_rows(2);
    let noted = "document.getElementById('notes').innerText";
    scene.browser.wait("nothing stands out", &format!("{noted}.includes('Nothing.')"));
    let load = Load::get(scene.weir.address("web"), 1, "/bad");
    scene.browser.wait("it stands out", &format!("/\\d+ % of attempts failed/.test({noted})"));
    scene.browser.wait("it is marked", &format!("{}.querySelector('.errors.many')", row("one")));
    load.stop();
    scene.assert_sound();
}

#[test]
fn a_name_that_looks_like_markup_is_text() {
    let names = [
        "<img src=x onerror=\"document.title='taken'\">",
        "</script><script>document.title='taken'</script>",
        "a\"b' &amp; c/d?e#f%2F",
    ];
    let Some(mut scene) = Scene::open(&names) else { return };
    for name in names {
        assert_eq!(scene.browser.text(&part(name, ".name")), name);
        scene.browser.click(&crate::scene::button(name, "drain"));
        scene.wait_state(name, "draining");
        scene.agree_state(name, "draining");
        scene.browser.click(&crate::scene::button(name, "ready"));
        scene.wait_state(name, "up");
    }
    assert_eq!(scene.browser.eval("document.images.length + document.scripts.length"), 1);
    assert_eq!(scene.browser.text("document.title"), "weir");
    scene.assert_sound();
}

#[test]
fn a_browser_gets_the_page_at_the_root_too_and_no_one_else_does() {
    let Some(mut scene) = Scene::behind(&["one"], answers::text("hello"), "") else { return };
    let url = format!("http://localhost:{}/", scene.weir.port("admin"));
    scene.browser.open(&url);
    scene.wait_rows(1);
    assert!(scene.weir.admin("/").text().starts_with("weir\n\n"), "others get the index");
    for path in ["/", "/dashboard"] {
        let response = ask_as_browser(&scene.weir, path);
        assert_eq!(response.field("Content-Type"), Some("text/html; charset=utf-8"), "{path}");
        let policy = response.field("Content-Security-Policy").unwrap();
        for part in ["default-src 'none'", "frame-ancestors 'none'", "connect-src 'self'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(response.field("X-Content-Type-Options"), Some("nosniff"));
    }
}

#[test]
fn nothing_is_wider_than_a_phone() {
    let names = ["one", "a-backend-with-a-name-that-is-longer-than-any-phone-is-wide.example.internal:8080"];
    let Some(mut scene) = Scene::open(&names) else { return };
    let load = Load::start(
        scene.weir.address("web"),
        2,
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        Duration::from_millis(5),
        |_| true,
    );
    for width in [360, 412, 768, 1040, 1041, 1280, 1920] {
        scene.browser.size(width, 800);
        scene.browser.wait("laid out", &format!("innerWidth === {width}"));
        let over = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(scene.browser.eval(over), 0, "the page is to be scrolled sideways at {width}");
        // And nothing of a row lies outside of it.
        let outside = "[...document.querySelectorAll('.pool *')].filter((it) => \
             it.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && it.getBoundingClientRect().width > 1 && \
             !(innerWidth <= 1040 && it.closest('thead'))).map((it) => it.outerHTML.slice(0, 80))";
        assert_eq!(scene.browser.eval(outside), serde_json::json!([]), "at {width}");
    }
    load.stop();
}
