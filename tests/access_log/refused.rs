//! What cannot be opened, and what is no format: told before anything runs.

use crate::harness::{Backend, Program, Weir, answers, wait_until};
use crate::{lines_of, logging};
use nix::sys::signal::Signal;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A folder with a configuration of these keys.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, keys: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("weir-access-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let backend = Backend::http(answers::text("ok"));
        let text = logging(&[&backend], "", keys) + "[admin]\nlisten = []\n";
        let text = text.replace("{dir}", &dir.display().to_string()).replace("{web}", "0");
        std::fs::write(dir.join("weir.toml"), text).unwrap();
        Self(dir)
    }

    /// The exit code of `weir COMMAND`, and what it wrote.
    fn weir(&self, command: &str) -> (Option<i32>, String) {
        let file = self.0.join("weir.toml");
        let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
        weir.args([command, "--config"]).arg(file);
        let (status, out, log) = Program::run(&mut weir, Duration::from_secs(20));
        (status.code(), out + &log)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn where_lines_cannot_go_weir_does_not_start_and_check_and_doctor_say_so_before() {
    for (name, to, parts) in [
        (
            "folder",
            "{dir}/none/access.log",
            &["/none/access.log cannot be opened: No such file", "install -d"][..],
        ),
        ("is-one", "{dir}", &["cannot be opened: Is a directory", "name a file in it"]),
        ("syslog", "syslog:{dir}/log", &["the syslog at ", "/log cannot be opened", "start a syslog"]),
    ] {
        let folder = Folder::new(name, &format!("format = \"json\"\nto = \"{to}\""));
        let (code, said) = folder.weir("run");
        assert_eq!(code, Some(1), "{said}");
        let parts = ["access_log.to: "].iter().chain(parts);
        parts.for_each(|part| assert!(said.contains(part), "no {part:?} in {said}"));
        let (code, said) = folder.weir("check");
        assert_eq!(code, Some(0), "it may be right elsewhere: {said}");
        assert!(said.contains("access log"), "{said}");
        assert!(said.contains("cannot be opened here"), "{said}");
        let (_, said) = folder.weir("doctor");
        assert!(said.contains("access_log.to"), "{said}");
        assert!(!folder.0.join("none").exists(), "nothing is made");
    }
    let folder =
        Folder::new("fine", "format = \"json\"\nto = \"{dir}/access.log\"\nsample = 0.1\nslow = \"1s\"");
    let (code, said) = folder.weir("check");
    assert!(code == Some(0) && !said.contains("cannot be"), "{said}");
    assert!(said.contains("json") && said.contains("10 %") && said.contains("1s or longer"), "{said}");
    assert!(!folder.0.join("access.log").exists(), "a check makes no file");
}

#[test]
fn what_is_no_format_or_no_place_is_a_fault_with_its_line_and_a_remedy() {
    for (keys, parts) in [
        ("format = \"jsno\"", &["access_log.format", "\"jsno\" is no format", "did you mean \"json\"?"][..]),
        ("format = \"plain\"", &["use \"off\", \"common\""]),
        ("format = \"$client $sttaus\"", &["$sttaus\" (character 9)", "did you mean $status?"]),
        ("format = \"$client $http_cookie\"", &["$http_cookie", "no others are recorded"]),
        ("format = \"$client $\"", &["character 9 begins no variable"]),
        ("format = \"json\"\nto = \"access.log\"", &["access_log.to", "\"stderr\", \"syslog\""]),
        ("format = \"json\"\nto = \"syslog:log\"", &["access_log.to", "absolute path"]),
        ("format = \"json\"\nsample = 2", &["access_log.sample", "0 to 1"]),
        ("format = \"json\"\nslow = 5", &["access_log.slow", "unit"]),
        ("format = \"json\"\nfile = \"/x\"", &["access_log.file", "unknown key"]),
    ] {
        let folder = Folder::new("fault", keys);
        let (code, said) = folder.weir("check");
        assert_eq!(code, Some(2), "{keys}: {said}");
        assert!(said.contains("weir.toml:"), "{said}");
        parts.iter().for_each(|part| assert!(said.contains(part), "{keys}: no {part:?} in {said}"));
    }
}

/// The user "nobody", by its number.
const NOBODY: u32 = 65_534;

#[test]
fn the_file_is_made_by_the_user_that_weir_becomes_or_weir_does_not_start() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let dir = std::env::temp_dir().join(format!("weir-access-nobody-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let backend = Backend::http(answers::text("ok"));
    let log = dir.join("access.log");
    let keys = format!("format = \"common\"\nto = \"{}\"", log.display());
    let text = logging(&[&backend], "", &keys).replacen(
        "[runtime]",
        "[runtime]\nuser = \"65534\"\ngroup = \"65534\"",
        1,
    );
    let mut refused = Weir::spawn(&text);
    assert_eq!(refused.wait_exit(Duration::from_secs(20)).code(), Some(1));
    let said = refused.stderr();
    assert!(said.contains("cannot be opened: Permission denied") && said.contains("chown weir"), "{said}");
    chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
    let weir = Weir::start(&text);
    let file = std::fs::metadata(&log).unwrap();
    assert_eq!((file.uid(), file.gid()), (NOBODY, NOBODY));
    std::fs::rename(&log, dir.join("access.log.1")).unwrap();
    weir.signal(Signal::SIGUSR2);
    wait_until("it is opened again", || log.exists());
    assert_eq!(weir.client().get("/").status, 200);
    wait_until("the new file has the line", || lines_of(&log).len() == 1);
    let _ = std::fs::remove_dir_all(dir);
}
