//! The token: asked for once, kept for the tab, never in an address.

use crate::harness::answers;
use crate::scene::{Scene, button};

const SECRET: &str = "b5d1c0ffee5ecre7b5d1c0ffee5ecre7";

#[test]
fn the_page_asks_for_the_token_and_shows_nothing_without_it() {
    let file = std::env::temp_dir().join(format!("weir-dashboard-token-{}", std::process::id()));
    std::fs::write(&file, SECRET).unwrap();
    let admin = format!("[admin]\nlisten = [\"127.0.0.1:{{admin}}\"]\ntoken_file = \"{}\"\n", file.display());
    let scene = Scene::behind(&["one", "two"], answers::text("hello"), &admin);
    let Some(mut scene) = scene else { return };
    let url = scene.url();
    scene.browser.open(&url);
    let asks = "document.getElementById('ask').open && document.activeElement.id === 'token'";
    scene.browser.wait("it asks", asks);
    assert_eq!(scene.browser.text("document.getElementById('wrong').textContent"), "");
    scene.browser.write("not-the-token-at-all");
    scene.browser.press("Enter");
    scene
        .browser
        .wait("it says so", "document.getElementById('wrong').textContent === 'That is not the token.'");
    scene.browser.wait("it asks again", asks);
    assert!(
        !scene.browser.text("document.body.textContent").contains(&scene.backends[0].address().to_string())
    );
    scene.browser.write(SECRET);
    scene.browser.press("Enter");
    scene.wait_rows(2);
    scene.browser.click(&button("one", "drain"));
    scene.wait_state("one", "draining");
    // Kept when the page is loaded again, in this tab; and forgotten when that is asked for.
    scene.browser.open(&url);
    scene.browser.wait("live at once", "document.querySelector('#link').textContent === 'live'");
    scene.browser.click("document.getElementById('forget')");
    scene.browser.wait("it asks again", asks);
    assert_eq!(scene.browser.eval("sessionStorage.length + localStorage.length + document.cookie.length"), 0);
    let asked = scene.browser.requests();
    assert!(asked.iter().all(|url| !url.contains(SECRET)), "{asked:?}");
    // Only the 401s, which a browser reports by itself.
    let complaints = scene.browser.complaints();
    assert!(complaints.iter().all(|text| text.contains("401")), "{complaints:?}");
    let _ = std::fs::remove_file(file);
}
