//! Certificates that are renewed while there is traffic, one or thousands; and files of no use, which change nothing.

use crate::harness::{
    Authority, Backend, Weir, answers, cpu_time, cpu_time_of, one_pool, wait_until, wait_up_to,
};
use crate::in_front_of;
use crate::seal::Sealed;
use nix::sys::signal::Signal;
use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls::version::TLS13;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long thousands of certificates may take on a busy machine, unoptimised, by a thread that gives way to all: with
/// the lowest priority it has a hundredth of a core that others want.
const PATIENCE: Duration = Duration::from_secs(900);

/// As `rename` does it: nobody sees half a file.
fn replace(path: &Path, by: &Path) {
    let draft = path.with_extension("draft");
    fs::copy(by, &draft).unwrap();
    fs::rename(draft, path).unwrap();
}

fn loaded(weir: &Weir) -> usize {
    weir.stderr().lines().filter(|line| line.contains("configuration loaded")).count()
}

fn refused(weir: &Weir) -> usize {
    weir.stderr().lines().filter(|line| line.contains("configuration not loaded")).count()
}

/// The certificate that whoever comes now is shown.
fn shown(weir: &Weir, client: &Arc<ClientConfig>) -> Vec<u8> {
    let sealed = Sealed::connect(weir.address("web"), &Arc::new(forgetful(client)), 100_000);
    sealed.tls.peer_certificates().unwrap()[0].to_vec()
}

/// The same client, without sessions.
fn forgetful(client: &Arc<ClientConfig>) -> ClientConfig {
    let mut client = ClientConfig::clone(client);
    client.resumption = rustls::client::Resumption::disabled();
    client
}

fn ask(sealed: &mut Sealed) {
    let request = sealed.seal(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    sealed.send(&request, 100_000);
    let answer = sealed.read(b"HTTP/1.1 200 OK\r\n".len());
    assert_eq!(answer, b"HTTP/1.1 200 OK\r\n");
    let mut rest = Vec::new();
    while !rest.ends_with(b"\r\n\r\nok") {
        rest.extend(sealed.read(1));
    }
}

/// Clients that ask over and over, and shake hands anew now and then.
struct Clients {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    /// The longest that a request took, in milliseconds.
    longest: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(address: SocketAddr, client: &Arc<ClientConfig>, count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, longest) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let start = |_| {
            let (stop, asked, longest) = (stop.clone(), asked.clone(), longest.clone());
            let client = client.clone();
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let mut began = Instant::now();
                    let mut sealed = Sealed::connect(address, &client, 100_000);
                    for _ in 0..20 {
                        ask(&mut sealed);
                        longest.fetch_max(began.elapsed().as_millis() as usize, Ordering::SeqCst);
                        asked.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(1));
                        began = Instant::now();
                    }
                }
            })
        };
        Self { threads: (0..count).map(start).collect(), stop, asked, longest }
    }

    /// The longest that a request took since this was asked last.
    fn longest(&self) -> Duration {
        Duration::from_millis(self.longest.swap(0, Ordering::SeqCst) as u64)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Ends them; one that has lost something has panicked.
    fn lose_nothing(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn a_renewed_certificate_is_shown_from_the_reload_on_and_no_connection_ends() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("ok"));
    let (a, b) = (authority.issue("a", &["localhost"]), authority.issue("b", &["localhost"]));
    let files = authority.issue("a", &["localhost"]);
    let tls = format!("[listener.tls]\nalpn = [\"http/1.1\"]\ncertificates = [{{ {} }}]", files.keys());
    let weir = Weir::start(&one_pool(&[&backend], &tls, ""));
    let client = authority.client_config(&[&TLS13], None);
    let mut held = Sealed::connect(weir.address("web"), &client, 100_000);
    ask(&mut held);
    let clients = Clients::start(weir.address("web"), &client, 3);
    let mut last = shown(&weir, &client);
    for round in 0..10 {
        let next = if round % 2 == 0 { &a } else { &b };
        replace(&files.key, &next.key);
        replace(&files.cert, &next.cert);
        weir.signal(Signal::SIGHUP);
        wait_until("it is loaded", || loaded(&weir) == round + 1);
        let now = shown(&weir, &client);
        assert_ne!(now, last);
        last = now;
        let asked = clients.asked();
        wait_until("traffic goes on", || clients.asked() > asked + 20);
    }
    ask(&mut held);
    clients.lose_nothing();
    assert!(weir.stderr().contains(&format!("{} was read", files.cert.display())), "{}", weir.stderr());
}

#[test]
fn a_file_of_no_use_changes_nothing_is_named_with_line_and_key_and_can_be_mended() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("ok"));
    let weir = in_front_of(&backend, &authority, "");
    let client = authority.client_config(&[&TLS13], None);
    let mut held = Sealed::connect(weir.address("web"), &client, 100_000);
    let before = shown(&weir, &client);
    let text = fs::read_to_string(weir.dir().join("weir.toml")).unwrap();
    let path = |key: &str| {
        let line = text.lines().find(|line| line.starts_with("certificates")).unwrap();
        let (_, rest) = line.split_once(&format!("{key} = \"")).unwrap();
        PathBuf::from(rest.split('"').next().unwrap())
    };
    let (cert, key) = (path("cert"), path("key"));
    let renewed = authority.issue("renewed", &["localhost"]);
    let line = text.lines().position(|line| line.starts_with("certificates")).unwrap() + 1;
    replace(&cert, &renewed.cert);
    for (round, (at, said)) in [("key", "is not the key of"), ("cert", "cannot be read")].iter().enumerate() {
        if *at == "cert" {
            fs::remove_file(&cert).unwrap();
        }
        weir.signal(Signal::SIGHUP);
        wait_until("it is refused", || refused(&weir) == round + 1);
        let place = format!("weir.toml:{line}: listener[0].tls.certificates[0].{at}: ");
        let log = weir.stderr();
        assert!(log.contains(&place) && log.contains(said), "{place} {said}\n{log}");
        assert_eq!(shown(&weir, &client), before, "everything is as it was");
    }
    assert_eq!(weir.metric("weir_config_last_reload_success", &[]), 0.0);
    ask(&mut held);
    replace(&key, &renewed.key);
    replace(&cert, &renewed.cert);
    weir.signal(Signal::SIGHUP);
    wait_until("it is loaded", || loaded(&weir) == 1);
    assert_ne!(shown(&weir, &client), before);
    ask(&mut held);
}

#[test]
fn a_watched_certificate_is_loaded_once_it_is_renewed() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("ok"));
    let files = authority.issue("a", &["localhost"]);
    let tls = format!("[listener.tls]\nalpn = [\"http/1.1\"]\ncertificates = [{{ {} }}]", files.keys());
    let config = one_pool(&[&backend], &tls, "").replace("cores = 1\n", "cores = 1\nwatch = true\n");
    let weir = Weir::start(&config);
    let client = authority.client_config(&[&TLS13], None);
    let before = shown(&weir, &client);
    let renewed = authority.issue("b", &["localhost"]);
    replace(&files.key, &renewed.key);
    replace(&files.cert, &renewed.cert);
    wait_until("it is shown", || shown(&weir, &client) != before);
    assert!(weir.stderr().contains("certificates' files changed"), "{}", weir.stderr());
}

/// Completions so far, and those of them that waited for their shard for over 5 ms: of one page, since both grow.
fn completions(weir: &Weir) -> (u64, u64) {
    let page = weir.admin("/metrics").text();
    let below = |le: &str| -> u64 {
        let start = "weir_loop_stall_seconds_bucket{";
        let of =
            page.lines().filter(|line| line.starts_with(start) && line.contains(&format!("le=\"{le}\"")));
        of.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    };
    (below("+Inf"), below("+Inf") - below("0.005"))
}

/// Writes so many certificates, each for a name of its own, and their key; the entries of `certificates`.
fn many(dir: &Path, count: usize, key: &KeyPair) -> String {
    let path = dir.join("many.key");
    fs::write(&path, key.serialize_pem()).unwrap();
    let entry = |n: usize| {
        let cert = dir.join(format!("many-{n}.pem"));
        let params = CertificateParams::new(vec![format!("{n}.many.test")]).unwrap();
        fs::write(&cert, params.self_signed(key).unwrap().pem()).unwrap();
        format!("{{ cert = \"{}\", key = \"{}\" }},\n", cert.display(), path.display())
    };
    (0..count).map(entry).collect()
}

#[test]
fn to_read_thousands_of_certificates_and_to_let_go_of_them_is_no_work_of_the_shards() {
    let authority = Authority::new();
    let dir = authority.dir().to_owned();
    let backend = Backend::http(answers::text("ok"));
    let own = authority.issue("localhost", &["localhost"]);
    let entries = many(&dir, 2_000, &KeyPair::generate().unwrap());
    let config = |entries: &str| {
        one_pool(
            &[&backend],
            &format!("[listener.tls]\ncertificates = [{{ {} }},\n{entries}]", own.keys()),
            "",
        )
    };
    // Nobody asks for anything, so that what the shard does is what the reload has it do.
    let mut weir = Weir::start(&format!("[log]\nlevel = \"debug\"\n{}", config("")));
    let pid = weir.pid();
    let spent = || (cpu_time_of(pid, "weir-shard"), cpu_time(pid));
    let before = spent();
    let let_go =
        |weir: &Weir| weir.stderr().lines().filter(|line| line.contains("is used by nobody")).count();
    let mut let_go_before = 0;
    for (times, text) in [config(&entries), config(&entries), config("")].iter().enumerate() {
        let_go_before = let_go(&weir);
        weir.rewrite(&format!("[log]\nlevel = \"debug\"\n{text}"));
        weir.signal(Signal::SIGHUP);
        wait_up_to(PATIENCE, "it is loaded", || loaded(&weir) == times + 1);
    }
    // It goes after a while, on a thread that looks whether anybody uses it still.
    wait_up_to(PATIENCE, "what held before is let go of", || let_go(&weir) > let_go_before);
    let after = spent();
    let (shard, all) = (after.0 - before.0, after.1 - before.1);
    eprintln!("the shard had {shard:?} of {all:?}");
    assert!(shard < all / 4, "{shard:?} of {all:?}");
}

#[test]
fn five_thousand_certificates_are_loaded_beside_the_traffic_and_unchanged_ones_are_not_read_again() {
    let authority = Authority::new();
    let dir = authority.dir().to_owned();
    let backend = Backend::http(answers::text("ok"));
    let own = authority.issue("localhost", &["localhost"]);
    let key = KeyPair::generate().unwrap();
    let entries = many(&dir, 5_000, &key);
    let config = |entries: &str| {
        let tls = format!(
            "[listener.tls]\nalpn = [\"http/1.1\"]\ncertificates = [{{ {} }},\n{entries}]",
            own.keys()
        );
        one_pool(&[&backend], &tls, "")
    };
    let mut weir = Weir::start(&config(""));
    let client = authority.client_config(&[&TLS13], None);
    let clients = Clients::start(weir.address("web"), &client, 4);
    wait_until("traffic flows", || clients.asked() > 100);
    let mut reload = |text: &str, times: usize| {
        weir.rewrite(text);
        let (asked, (all, late)) = (clients.asked(), completions(&weir));
        clients.longest();
        let began = Instant::now();
        weir.signal(Signal::SIGHUP);
        wait_up_to(PATIENCE, "it is loaded", || loaded(&weir) == times);
        let took = began.elapsed();
        let longest = clients.longest();
        let (asked, (now, now_late)) = (clients.asked() - asked, completions(&weir));
        let (all, late) = (now - all, now_late - late);
        eprintln!(
            "reload {times}: {took:?}, {asked} requests meanwhile, the longest {longest:?}, {late} of {all} \
             completions waited for over 5 ms"
        );
        (took, asked, longest)
    };
    // A shard that waited for the reload, or had it to do, would let everybody wait for as long as it takes.
    let (took, asked, longest) = reload(&config(&entries), 1);
    assert!(longest < took / 3 && asked > 40, "{longest:?} of {took:?}, in which {asked} were served");
    reload(&config(&entries), 2);
    fs::write(
        dir.join("many-17.pem"),
        CertificateParams::new(vec!["new.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem(),
    )
    .unwrap();
    reload(&config(&entries), 3);
    clients.lose_nothing();
    let log = weir.stderr();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("configuration loaded")).collect();
    assert!(lines[1].contains("nothing changed"), "{}", lines[1]);
    assert!(lines[2].contains("many-17.pem was read") && !lines[2].contains("more changes"), "{}", lines[2]);
}
