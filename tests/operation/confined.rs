//! weir as `config/` confines it: under Docker's seccomp profile, under the unit's filter, in a pod.
//!
//! A profile is loaded by `tests/harness/under_seccomp.py` with libseccomp, as a container's runtime loads it,
//! but that what it does not name ends the process: a call that weir came to make and the profile lacks is seen
//! here, and not by who runs it.

use crate::harness::{Backend, Load, Program, Weir, answers, free_port, one_pool, require, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a program that only looks may take.
const LOOK: Duration = Duration::from_secs(60);

/// What the script says where there is no libseccomp.
const NO_LIBSECCOMP: i32 = 77;

/// The unit's exposure by `systemd-analyze security`, in tenths, is at most this; 0 is none, 100 is all. What is
/// left is what a proxy is for: the network, and ports below 1024.
const EXPOSURE_MAX: &str = "17";

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A command that confines what it becomes; `None` if this machine cannot.
fn confining(mode: &str, profile: &Path) -> Option<Command> {
    let python = require("python3")?;
    let script = at("tests/harness/under_seccomp.py");
    let confine = || {
        let mut command = Command::new(&python);
        command.arg(&script).arg(mode).arg(profile);
        command
    };
    let (status, _, log) = Program::run(confine().arg("/bin/true"), LOOK);
    if status.code() == Some(NO_LIBSECCOMP) {
        assert!(std::env::var("WEIR_TESTS").as_deref() != Ok("all"), "libseccomp is not installed");
        println!("skipped: libseccomp is not installed {log}");
        return None;
    }
    Some(confine())
}

/// weir under a profile, to the letter.
fn weir_under(profile: &Path) -> Option<Command> {
    let mut command = confining("--kill", profile)?;
    command.arg(env!("CARGO_BIN_EXE_weir"));
    Some(command)
}

/// Serves, is asked and changed, loads its file again, hands over, drains: all under `profile`.
fn lives_under(profile: &Path) {
    let Some(command) = weir_under(profile) else { return };
    let backend = Backend::http(answers::text("ok"));
    let runtime = "[runtime]\nstate_file = \"{dir}/state.json\"\nwatch = true";
    let config = one_pool(&[&backend], "", "[pool.app.health]\ninterval = \"100ms\"\n");
    let config = config.replacen("[runtime]", runtime, 1)
        + "[[listener]]\nname = \"file\"\naddress = \"unix:{dir}/web.sock\"\npool = \"app\"\n\
           [access_log]\nformat = \"json\"\nto = \"{dir}/access.log\"\n";
    let mut first = Weir::start_by(command, &config);
    let load = Load::get(first.address("web"), 4, "/");
    wait_until("traffic flows", || load.counts().ok > 200);

    for arguments in
        [&["backends"][..], &["weight", "app", "0", "7"], &["reload"], &["reopen-logs"], &["shards"]]
    {
        let mut ctl = weir_under(profile).unwrap();
        ctl.args(["ctl", "--admin", &first.address("admin").to_string()]).args(arguments);
        let (status, _, log) = Program::run(&mut ctl, LOOK);
        assert!(status.success(), "{arguments:?}: {status} {log}");
    }
    first.rewrite(&config.replace("100ms", "150ms"));
    first.signal(Signal::SIGHUP);
    wait_until("it is loaded", || first.stderr().contains("configuration loaded"));

    let mut second = first.spawn_successor_by(weir_under(profile).unwrap(), &config);
    wait_until("the successor serves", || second.stderr().contains("has taken over"));
    assert!(first.wait_exit(Duration::from_secs(40)).success(), "{}", first.stderr());
    let before = load.counts().ok;
    wait_until("traffic still flows", || load.counts().ok > before + 100);
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost, counts.unconnected), (0, 0, 0), "{counts:?}");
    second.signal(Signal::SIGTERM);
    assert!(second.wait_exit(Duration::from_secs(40)).success(), "{}", second.stderr());

    let mut check = weir_under(profile).unwrap();
    let (status, ..) = Program::run(check.args(["check", "--config"]).arg(at("config/demo.toml")), LOOK);
    assert!(status.success(), "{status}");
}

#[test]
fn all_that_weir_does_is_in_the_containers_profile() {
    lives_under(&at("config/seccomp.json"));
}

#[test]
fn dropping_privileges_is_in_the_containers_profile() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let Some(command) = weir_under(&at("config/seccomp.json")) else { return };
    let backend = Backend::http(answers::text("ok"));
    let user = "[runtime]\nuser = \"65534\"\ngroup = \"65534\"";
    let weir = Weir::start_by(command, &one_pool(&[&backend], "", "").replacen("[runtime]", user, 1));
    assert_eq!(weir.client().get("/").text(), "ok");
}

#[test]
fn what_a_proxy_has_no_use_for_is_refused_by_the_containers_profile() {
    let Some(mut command) = confining("--try", &at("config/seccomp.json")) else { return };
    let (status, tried, log) = Program::run(&mut command, LOOK);
    assert!(status.success(), "{status} {log}");
    for expected in [
        "ptrace EPERM",
        "mount EPERM",
        "init_module EPERM",
        "unshare EPERM",
        "fork EPERM",
        // libc then tries clone, whose flags a filter can see.
        "clone3 ENOSYS",
        "bpf EPERM",
        "socket(AF_NETLINK) EPERM",
        "socket(AF_PACKET) EPERM",
        "socket(AF_ALG) EPERM",
        "ioctl(TIOCSTI) EPERM",
        "socket(AF_INET) done",
        // Its arguments are wrong, but it is not forbidden.
        "io_uring_setup EFAULT",
    ] {
        assert!(tried.lines().any(|line| line == expected), "{expected} is not in\n{tried}");
    }
}

/// The calls of one of systemd's sets.
fn set(systemd_analyze: &Path, name: &str, into: &mut BTreeSet<String>) {
    let (status, out, log) = Program::run(Command::new(systemd_analyze).args(["syscall-filter", name]), LOOK);
    assert!(status.success(), "{name}: {log}");
    for line in out.lines().skip(1).map(str::trim).filter(|line| !line.starts_with('#')) {
        if line.starts_with('@') {
            set(systemd_analyze, line, into);
        } else {
            into.insert(line.to_owned());
        }
    }
}

/// The unit's filter as a profile: its lines in their order, `~` takes out.
fn profile_of_the_unit(systemd_analyze: &Path) -> Value {
    let unit = std::fs::read_to_string(at("config/weir.service")).unwrap();
    // What every unit may do, so that its program can be executed at all.
    let mut allowed = BTreeSet::new();
    set(systemd_analyze, "@default", &mut allowed);
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (out, names) = line.strip_prefix('~').map_or((false, line), |names| (true, names));
        let mut named = BTreeSet::new();
        for name in names.split_whitespace() {
            if name.starts_with('@') {
                set(systemd_analyze, name, &mut named);
            } else {
                named.insert(name.to_owned());
            }
        }
        if out {
            allowed.retain(|name| !named.contains(name));
        } else {
            allowed.extend(named);
        }
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            // As RestrictNamespaces= does it.
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": allowed.iter().filter(|name| *name != "clone3").collect::<Vec<_>>(), "action": "SCMP_ACT_ALLOW"},
        ],
    })
}

#[test]
fn all_that_weir_does_is_in_the_units_filter() {
    let Some(systemd_analyze) = require("systemd-analyze") else { return };
    let profile = std::env::temp_dir().join(format!("weir-unit-filter-{}.json", std::process::id()));
    let text = profile_of_the_unit(&systemd_analyze);
    assert!(!text.to_string().contains("\"ptrace\"") && text.to_string().contains("\"io_uring_enter\""));
    std::fs::write(&profile, text.to_string()).unwrap();
    lives_under(&profile);
    std::fs::remove_file(&profile).unwrap();
}

#[test]
fn the_units_are_right_and_expose_little() {
    let Some(systemd_analyze) = require("systemd-analyze") else { return };
    let dir = std::env::temp_dir().join(format!("weir-units-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (service, socket) = (dir.join("weir.service"), dir.join("weir.socket"));
    let text = std::fs::read_to_string(at("config/weir.service")).unwrap();
    // Where it is installed there is none here.
    std::fs::write(&service, text.replace("/usr/local/bin/weir", env!("CARGO_BIN_EXE_weir"))).unwrap();
    std::fs::copy(at("config/weir.socket"), &socket).unwrap();
    let mut verify = Command::new(&systemd_analyze);
    let (status, out, log) = Program::run(verify.arg("verify").args([&service, &socket]), LOOK);
    assert!(status.success() && !log.contains("weir."), "{out}{log}");
    let mut security = Command::new(&systemd_analyze);
    security.args(["security", "--offline=true", "--threshold", EXPOSURE_MAX]).arg(&service);
    let (status, out, log) = Program::run(&mut security, LOOK);
    assert!(status.success(), "{out}{log}");
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Python that prints a file's YAML documents as JSON, checked against Kubernetes' schemas if the package
/// kubernetes-validate is there.
const READ: &str = r"
import json, sys
try:
    import yaml
except ImportError:
    sys.exit(77)
documents = list(yaml.safe_load_all(open(sys.argv[1], encoding='utf-8')))
try:
    import kubernetes_validate
except ImportError:
    print('kubernetes-validate is not installed: the schemas are not checked', file=sys.stderr)
else:
    for document in documents:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
print(json.dumps(documents))
";

/// The documents of `config/kubernetes.yaml`; `None` if this machine cannot read YAML.
fn manifest() -> Option<Vec<Value>> {
    let mut python = Command::new(require("python3")?);
    let (status, out, log) = Program::run(python.args(["-c", READ]).arg(at("config/kubernetes.yaml")), LOOK);
    if status.code() == Some(77) {
        assert!(std::env::var("WEIR_TESTS").as_deref() != Ok("all"), "python3-yaml is not installed");
        println!("skipped: python3-yaml is not installed");
        return None;
    }
    assert!(status.success(), "{log}");
    print!("{log}");
    Some(serde_json::from_str(&out).unwrap())
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    documents.iter().find(|document| document["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// The number after `name = "` in seconds: "10s".
fn seconds(config: &str, name: &str) -> u64 {
    let line = config.lines().find_map(|line| line.strip_prefix(&format!("{name} = \""))).unwrap();
    line.split_once("s\"").unwrap().0.parse().unwrap()
}

#[test]
fn the_pod_has_no_privilege_and_its_limits_fit_what_weir_is_told() {
    let Some(documents) = manifest() else { return };
    let pod = &of_kind(&documents, "Deployment")["spec"]["template"]["spec"];
    let (shared, container) = (&pod["securityContext"], &pod["containers"][0]);
    let own = &container["securityContext"];
    assert_eq!(shared["runAsNonRoot"], true);
    assert_eq!(shared["seccompProfile"]["type"], "Localhost");
    assert_eq!(
        (&own["allowPrivilegeEscalation"], &own["readOnlyRootFilesystem"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(own["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    of_kind(&documents, "Service");
    of_kind(&documents, "PodDisruptionBudget");

    let config = of_kind(&documents, "ConfigMap")["data"]["weir.toml"].as_str().unwrap();
    let stop = seconds(config, "shutdown_delay") + seconds(config, "grace");
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > stop, "{stop}");
    let cores: u64 = container["resources"]["requests"]["cpu"].as_str().unwrap().parse().unwrap();
    assert!(config.contains(&format!("\ncores = {cores}\n")), "{config}");

    // A machine with one core checks it for one.
    let file = std::env::temp_dir().join(format!("weir-pod-{}-{}.toml", std::process::id(), free_port()));
    std::fs::write(&file, config.replace("\ncores = 2\n", "\ncores = \"0\"\n")).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_weir"));
    let (status, out, log) = Program::run(check.args(["check", "--config"]).arg(&file), LOOK);
    std::fs::remove_file(&file).unwrap();
    assert!(status.success() && !log.contains("warning"), "{log}");
    let memory = out.lines().find_map(|line| line.trim().strip_prefix("memory")).unwrap();
    let (number, unit) = memory.trim().split_once(' ').unwrap();
    assert!(unit.starts_with("MiB"), "{memory}");
    let at_worst = number.parse::<f64>().unwrap() * cores as f64;
    assert_eq!(container["resources"]["limits"]["memory"], "1536Mi");
    assert!(at_worst * 1.5 < 1536.0, "{at_worst} MiB of 1536");
}
