//! What the buttons do, by mouse and by keyboard, and what is asked first.

use crate::harness::{Client, answers};
use crate::scene::{AsJson, SAID, Scene, button, part};

#[test]
fn a_click_drains_a_backend_and_another_brings_it_back() {
    let Some(mut scene) = Scene::open(&["one", "two", "three"]) else { return };
    scene.browser.click(&button("two", "drain"));
    scene.browser.wait("it is told", &format!("{SAID}.includes('two of pool app is draining')"));
    scene.wait_state("two", "draining");
    scene.agree_state("two", "draining");
    let labels = [("backend", "two"), ("pool", "app")];
    assert_eq!(scene.weir.metric("weir_backend_usable", &labels), 0.0);
    let mut client = scene.weir.client();
    (0..12).for_each(|_| assert_eq!(client.get("/page").status, 200));
    let came = scene.backends[1].received();
    assert!(came.iter().all(|request| !request.line().contains("/page")), "a request after the drain");
    assert_eq!(scene.browser.text(&format!("{}.ariaDisabled", button("two", "drain"))), "true");
    scene.browser.click(&button("two", "ready"));
    scene.wait_state("two", "up");
    scene.agree_state("two", "up");
    assert_eq!(scene.weir.metric("weir_backend_usable", &labels), 1.0);
    let moved = "document.querySelector('#transitions').textContent.includes('an operator made it ready')";
    scene.browser.wait("the transition is shown", moved);
    scene.assert_sound();
}

#[test]
fn a_weight_is_changed() {
    let Some(mut scene) = Scene::open(&["one", "two"]) else { return };
    scene.browser.click(&button("one", "weight"));
    scene.browser.wait("it is asked for", "document.activeElement.id === 'weight'");
    let asked = scene.browser.text("document.getElementById('t-weigh').textContent");
    assert_eq!(asked, "Weight of one in pool app");
    scene.browser.eval("document.activeElement.select()");
    scene.browser.write("17");
    scene.browser.press("Enter");
    scene.browser.wait("it is shown", &format!("{} === ' 17'", part("one", "button.weight b")));
    assert_eq!(scene.backend("one")["weight"], 17);
    // What the form does not take is not sent; and Escape leaves it.
    scene.browser.click(&button("one", "weight"));
    scene.browser.eval("document.activeElement.select()");
    scene.browser.write("0");
    scene.browser.press("Enter");
    assert_eq!(scene.browser.eval("document.getElementById('weigh').open"), true);
    scene.browser.press("Escape");
    scene.browser.wait("it is closed", "!document.getElementById('weigh').open");
    assert_eq!(scene.backend("one")["weight"], 17);
    scene.assert_sound();
}

#[test]
fn the_last_usable_backend_is_not_drained_unasked() {
    let Some(mut scene) = Scene::open(&["one", "two"]) else { return };
    scene.browser.click(&button("one", "drain"));
    scene.wait_state("one", "draining");
    scene.browser.click(&button("two", "drain"));
    scene.browser.wait("it asks", "document.getElementById('sure').open");
    let asked = scene.browser.text("document.getElementById('sure').textContent");
    assert!(
        asked.contains("last usable backend of pool app") && asked.contains("two of pool app is draining"),
        "{asked}"
    );
    assert_eq!(scene.backend("two")["state"], "up", "nothing was done yet");
    // The focus is on what does no harm.
    scene.browser.press("Enter");
    scene.browser.wait("it is closed", "!document.getElementById('sure').open");
    assert_eq!(scene.backend("two")["state"], "up");
    scene.browser.click(&button("two", "drain"));
    scene.browser.wait("it asks again", "document.getElementById('sure').open");
    scene.browser.click("document.querySelector('#sure .danger')");
    scene.wait_state("two", "draining");
    scene
        .browser
        .wait("it is said", "document.getElementById('notes').textContent.includes('no usable backend')");
    scene.assert_sound();
}

#[test]
fn the_keyboard_reaches_every_button_and_names_its_backend() {
    let Some(mut scene) = Scene::open(&["one", "two"]) else { return };
    let focused = |scene: &mut Scene| {
        scene.browser.text(
            "(() => { const it = document.activeElement, style = getComputedStyle(it); \
             const seen = style.outlineStyle !== 'none' && it.matches(':focus-visible'); \
             return `${it.textContent.trim() || it.id}${seen ? '' : ' (not seen)'}`; })()",
        )
    };
    let mut reached = Vec::new();
    for _ in 0..60 {
        scene.browser.press("Tab");
        let at = focused(&mut scene);
        assert!(!at.ends_with("(not seen)") || at.starts_with("To the") || at.len() > 200, "{at}");
        reached.push(at);
        if reached.last().is_some_and(|at| at == "Drain two of pool app") {
            break;
        }
    }
    for label in [
        "Drain one of pool app",
        "Ready one of pool app",
        "Weight 1 one of pool app",
        "Drain two of pool app",
    ] {
        assert!(reached.iter().any(|at| at == label), "{label} is not among {reached:?}");
    }
    scene.browser.press("Enter");
    scene.wait_state("two", "draining");
    scene.agree_state("two", "draining");
    assert_eq!(focused(&mut scene), "Drain two of pool app", "the focus stays");
    scene.browser.eval("document.getElementById('phase-whole').focus()");
    scene.browser.press("ArrowRight");
    assert_eq!(focused(&mut scene), "weir’s own");
    let selected = "document.activeElement.ariaSelected === 'true'";
    assert_eq!(scene.browser.eval(selected), true);
    scene.assert_sound();
}

#[test]
fn a_refusal_is_told_in_words() {
    let Some(mut scene) = Scene::open(&["one", "two"]) else { return };
    // It goes while the page still shows it.
    let remove =
        "(() => fetch('/pools/app/backends/two', { method: 'DELETE' }).then((answer) => answer.status))()";
    assert_eq!(scene.browser.eval(remove), 200);
    scene.browser.wait("its row goes", "document.querySelectorAll('.backends tbody tr').length === 1");
    let drain = "fetch('/pools/app/backends/two/drain', { method: 'POST' }).then((answer) => answer.json())";
    assert_eq!(scene.browser.eval(drain)["code"], "no_backend");
    // And where weir takes no change from a page: at a name, which others may have made to lead here.
    let url = format!("http://weir.localhost:{}/dashboard", scene.weir.port("admin"));
    scene.browser.open(&url);
    scene.wait_rows(1);
    scene.browser.wait("it only looks", "!document.getElementById('looking').hidden");
    let hidden = format!("{}.checkVisibility()", button("one", "drain"));
    assert_eq!(scene.browser.eval(&hidden), false);
    let refused =
        "fetch('/pools/app/backends/one/drain', { method: 'POST' }).then((answer) => answer.status)";
    assert_eq!(scene.browser.eval(refused), 403);
    assert_eq!(scene.backend("one")["state"], "up");
}

#[test]
fn a_page_of_another_origin_changes_nothing() {
    let Some(mut scene) = Scene::behind(&["one", "two"], answers::text("hello"), "") else { return };
    // A page of another port of the same host, as near as another origin comes.
    let page = format!("http://{}/", scene.weir.address("web"));
    scene.browser.open(&page);
    scene.browser.wait("it is there", "document.readyState === 'complete' && location.port !== ''");
    let admin = scene.weir.address("admin");
    for mode in ["cors", "no-cors"] {
        let post = format!(
            "fetch('http://{admin}/pools/app/backends/one/drain', {{ method: 'POST', mode: '{mode}' }})\
             .then((answer) => answer.type, () => 'refused')"
        );
        let came = scene.browser.text(&post);
        assert!(came == "opaque" || came == "refused", "{came}");
        assert_eq!(scene.backend("one")["state"], "up", "{mode}");
    }
    let json = Client::connect(admin).get("/live?once=true").json();
    assert!(
        json["live"]["transitions"].as_array().unwrap().iter().all(|it| it["to"] != "draining"),
        "{json}"
    );
}
