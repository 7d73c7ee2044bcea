//! Error pages over the life of a process: check, reload, weir's own user.

use crate::ctl::ctl;
use crate::harness::{Backend, Program, Weir, answers, one_pool, wait_until};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A page in a folder of its own, which goes with it.
struct Page(PathBuf);

impl Page {
    fn new(name: &str, text: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("weir-page-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("page.html"), text).unwrap();
        Self(dir)
    }

    fn file(&self) -> PathBuf {
        self.0.join("page.html")
    }

    fn config(&self, backend: &Backend) -> String {
        one_pool(&[backend], &format!("error_pages.400 = \"{}\"\n", self.file().display()), "")
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a refused client reads.
fn refused(weir: &Weir) -> String {
    weir.client().ask("GET / HTTP/1.1\r\n\r\n").text()
}

fn check(file: &Path) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["check", "--config"]).arg(file);
    let (status, out, log) = Program::run(&mut command, Duration::from_secs(10));
    (status.code(), out, log)
}

#[test]
fn a_reload_brings_a_changed_page_and_one_that_is_missing_changes_nothing() {
    let page = Page::new("reload", "one");
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&page.config(&backend));
    let mut held = weir.client();
    assert_eq!(held.get("/").text(), "ok");
    assert_eq!(refused(&weir), "one");
    fs::write(page.file(), "two").unwrap();
    assert_eq!(refused(&weir), "one", "a page is read by a reload and not before");
    let reloaded = ctl(&weir, "reload").done();
    assert!(reloaded.out.contains("its rules changed"), "{reloaded:?}");
    assert_eq!(refused(&weir), "two");
    fs::remove_file(page.file()).unwrap();
    let reloaded = ctl(&weir, "reload");
    assert_eq!(reloaded.code, Some(2), "{reloaded:?}");
    assert!(reloaded.log.contains("listener[0].error_pages.400") && reloaded.log.contains("cannot be read"));
    assert_eq!(refused(&weir), "two", "the one from before goes on");
    fs::write(page.file(), "three").unwrap();
    weir.signal(Signal::SIGHUP);
    wait_until("the third page holds", || refused(&weir) == "three");
    assert_eq!(held.get("/").text(), "ok", "and nobody's connection was touched");
}

#[test]
fn check_shows_the_pages_and_names_the_fault_of_a_file_with_line_and_key() {
    let page = Page::new("check", "<p>one</p>");
    let file = page.0.join("weir.toml");
    let text = format!(
        "[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:8080\"\npool = \"app\"\n[listener.error_pages]\n\
         \"5xx\" = \"{}\"\n[[pool.app.backend]]\naddress = \"127.0.0.1:1\"\n",
        page.file().display()
    );
    fs::write(&file, &text).unwrap();
    let (code, out, log) = check(&file);
    assert_eq!((code, log.as_str()), (Some(0), ""), "{out}");
    assert!(
        out.contains("error pages\n  web  5xx  ") && out.contains("page.html, 10 bytes, text/html"),
        "{out}"
    );
    let large = "x".repeat((64 << 10) + 1);
    for (bytes, wrong) in [
        (Some(large.as_bytes()), "has more than 64KiB"),
        (Some(b"\xff".as_slice()), "is not UTF-8"),
        (None, "cannot be read: No such file"),
    ] {
        match bytes {
            Some(bytes) => fs::write(page.file(), bytes).unwrap(),
            None => fs::remove_file(page.file()).unwrap(),
        }
        let (code, _, log) = check(&file);
        assert_eq!(code, Some(2), "{log}");
        assert!(log.contains("weir.toml:6: listener[0].error_pages.5xx: ") && log.contains(wrong), "{log}");
    }
}

#[test]
fn weirs_own_user_must_be_able_to_read_the_pages_again() {
    const NOBODY: u32 = 65_534;
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let page = Page::new("user", "one");
    fs::set_permissions(page.file(), fs::Permissions::from_mode(0o600)).unwrap();
    let backend = Backend::http(answers::text("ok"));
    let as_nobody = "[runtime]\nuser = \"65534\"\ngroup = \"65534\"";
    let weir = Weir::start(&page.config(&backend).replacen("[runtime]", as_nobody, 1));
    assert_eq!(refused(&weir), "one", "it was read before root was given up");
    assert!(weir.stderr().contains("may not read this error page"), "{}", weir.stderr());
    assert_eq!(ctl(&weir, "reload").code, Some(2));
    assert_eq!(refused(&weir), "one");
    chown(page.file(), Some(NOBODY), None).unwrap();
    fs::write(page.file(), "two").unwrap();
    ctl(&weir, "reload").done();
    assert_eq!(refused(&weir), "two");
}
