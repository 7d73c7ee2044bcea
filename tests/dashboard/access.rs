//! Who can use the page, as axe-core judges it: in the light and in the dark, on a desk and on a phone.
//!
//! axe-core is not ours to keep here (MPL-2.0): `WEIR_AXE` names its `axe.min.js`, as `.ci/run` fetches it. Without
//! it the test is skipped, under `WEIR_TESTS=all` it fails.

use crate::harness::Load;
use crate::scene::{Scene, button};
use serde_json::json;

#[test]
fn axe_finds_no_serious_fault() {
    let Some(file) = std::env::var_os("WEIR_AXE") else {
        assert!(std::env::var("WEIR_TESTS").as_deref() != Ok("all"), "WEIR_AXE does not name axe.min.js");
        println!("skipped: WEIR_AXE does not name axe.min.js");
        return;
    };
    let axe = std::fs::read_to_string(file).unwrap();
    let Some(mut scene) = Scene::open(&["one", "two", "three"]) else { return };
    let load = Load::get(scene.weir.address("web"), 2, "/");
    scene.backends[2].stop();
    scene.wait_state("three", "down");
    scene.browser.wait("a cell is painted", "/p50 /.test(document.getElementById('heat').ariaLabel)");
    scene.browser.eval(&format!("{axe}; 0"));
    let faults = "axe.run(document, { resultTypes: ['violations'] }).then((came) => came.violations\
        .filter((it) => it.impact === 'serious' || it.impact === 'critical')\
        .flatMap((it) => it.nodes.map((node) => `${it.impact} ${it.id}: ${node.html.slice(0, 200)} ${node.failureSummary}`)))";
    for dark in [false, true] {
        for width in [1280, 360] {
            scene.browser.dark(dark);
            scene.browser.size(width, 900);
            scene.browser.wait("laid out", &format!("innerWidth === {width}"));
            assert_eq!(scene.browser.eval(faults), json!([]), "dark: {dark}, width: {width}");
        }
        scene.browser.click(&button("one", "weight"));
        assert_eq!(scene.browser.eval(faults), json!([]), "dark: {dark}, a dialog");
        scene.browser.press("Escape");
    }
    // The judge sees what is wrong: a button that says nothing.
    scene.browser.eval("document.body.append(document.createElement('button'))");
    let found = scene.browser.eval(faults);
    assert!(found.to_string().contains("button-name"), "{found}");
    load.stop();
}
