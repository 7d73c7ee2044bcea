//! The README's picture: three backends under load, one of them dead. Made on demand, since it takes two minutes:
//!
//! `cargo test --release --test dashboard -- --ignored picture`

use crate::harness::{Handler, Load, answers};
use crate::scene::Scene;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Answers most requests soon, some later and a few much later, as backends do, and all of them later for a while.
fn uneven() -> Handler {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let (answer, began) = (answers::text("hello"), Instant::now());
    answers::by(move |request, wire| {
        // What looks like chance is chance enough for a picture.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let chance = |salt: u64| {
            let mixed = (number * 4 + salt + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / (1_u64 << 24) as f64
        };
        let about_normal = (chance(0) + chance(1) + chance(2) - 1.5) * 2.0;
        let tail = if chance(3) < 0.02 { 4.0 + 400.0 * chance(3) } else { 1.0 };
        let slow = if (45..65).contains(&began.elapsed().as_secs()) { 2.5 } else { 1.0 };
        sleep(Duration::from_secs_f64(0.001 * (0.6 * about_normal).exp() * tail * slow));
        answer(request, wire)
    })
}

#[test]
#[ignore = "makes a picture"]
fn the_picture_for_the_readme() {
    let config = "[admin]\nlisten = [\"127.0.0.1:{admin}\"]\n";
    let Some(mut scene) = Scene::behind(&["one", "two", "three"], uneven(), config) else { return };
    let load = |clients| {
        let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        Load::start(scene.weir.address("web"), clients, request, Duration::from_millis(4), |_| true)
    };
    let loads = [load(6), load(6)];
    let url = scene.url();
    scene.browser.open(&url);
    sleep(Duration::from_secs(90));
    scene.backends[1].stop();
    sleep(Duration::from_secs(22));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (dark, width, height, file) in [
        (true, 1280, 1060, "src/admin/dashboard/screenshot.webp"),
        (false, 1280, 1500, "target/dashboard-light.webp"),
        (true, 360, 2600, "target/dashboard-phone.webp"),
        (false, 768, 1900, "target/dashboard-tablet.webp"),
    ] {
        scene.browser.dark(dark);
        scene.browser.size_at(width, height, 2);
        // All is shown anew once a second.
        sleep(Duration::from_secs(2));
        scene.browser.picture(&folder.join(file));
    }
    for load in loads {
        load.stop();
    }
}
