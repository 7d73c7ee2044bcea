//! Both sides against each other, in one process: what is handed over, and who goes on when one of them dies.

use super::give::{Incumbent, give};
use super::meeting::MeetingPoint;
use super::protocol::{self, FromNew, FromOld, Hello, Offer, Offered, PROTOCOL};
use super::take::{TakeoverRefused, take_from};
use crate::config::ListenAddress;
use crate::control::spread;
use crate::fleet::{Carried, CarriedPool};
use crate::sys::handoff::{Peer, connect_at_once};
use crate::tls::HandedKeys;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};

/// What happened to the incumbent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Happened {
    Promised(bool),
    SteppedDown(Vec<String>),
}

struct Process {
    sockets: Vec<Arc<OwnedFd>>,
    address: String,
    refuses: Option<&'static str>,
    happened: mpsc::Sender<Happened>,
}

impl Incumbent for Process {
    fn addresses(&self) -> Vec<String> {
        vec![self.address.clone()]
    }

    fn offer(&self) -> Result<(Offer, Vec<Arc<OwnedFd>>), String> {
        if let Some(why) = self.refuses {
            return Err(why.to_owned());
        }
        let pool = CarriedPool { name: "app".into(), ..CarriedPool::default() };
        let offered = Offered { address: self.address.clone(), sockets: self.sockets.len(), lent: false };
        let carried = Carried { version: 1, pools: vec![pool], names: vec![] };
        Ok((
            Offer { listeners: vec![offered], admin: vec![], carried, ticket_keys: HandedKeys::default() },
            self.sockets.clone(),
        ))
    }

    fn promised(&self, promised: bool) {
        self.happened.send(Happened::Promised(promised)).unwrap();
    }

    fn step_down(&self, successor: Peer, taken: &[String]) {
        assert_eq!(successor.pid, std::process::id() as i32);
        self.happened.send(Happened::SteppedDown(taken.to_vec())).unwrap();
    }
}

/// An incumbent on a thread, with `count` sockets, all of one listener.
struct Running {
    address: SocketAddr,
    folder: PathBuf,
    happened: mpsc::Receiver<Happened>,
    thread: Option<JoinHandle<()>>,
}

static FOLDERS: Mutex<u32> = Mutex::new(0);

impl Running {
    fn start(count: usize, refuses: Option<&'static str>) -> Self {
        let number = {
            let mut folders = FOLDERS.lock().unwrap();
            *folders += 1;
            *folders
        };
        let folder = std::env::temp_dir().join(format!("weir-takeover-{}-{number}", std::process::id()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sockets = (0..count).map(|_| Arc::new(OwnedFd::from(listener.try_clone().unwrap()))).collect();
        let (tell, happened) = mpsc::channel();
        let process = Process { sockets, address: address.to_string(), refuses, happened: tell };
        let point = MeetingPoint::open_in(&folder).unwrap();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, give(point, process)).unwrap();
        });
        Self { address, folder, happened, thread: Some(thread) }
    }

    fn connect(&self) -> UnixStream {
        let file = std::fs::read_dir(&self.folder).unwrap().next().unwrap().unwrap();
        connect_at_once(&file.path()).unwrap()
    }

    fn happened(&self) -> Happened {
        self.happened.recv_timeout(std::time::Duration::from_secs(10)).unwrap()
    }

    /// Hands over once, so that the thread ends.
    fn end(mut self) {
        take_from(vec![self.connect()], vec![self.address.to_string()]).unwrap().serving().unwrap();
        self.thread.take().unwrap().join().unwrap();
        assert_eq!(std::fs::read_dir(&self.folder).unwrap().count(), 0, "its socket's file is gone");
        std::fs::remove_dir(&self.folder).unwrap();
    }
}

#[test]
fn sockets_and_state_go_over_and_the_old_one_steps_down_when_told() {
    // More than go into one message.
    let old = Running::start(300, None);
    let mut new = take_from(vec![old.connect()], vec![old.address.to_string()]).unwrap();
    assert_eq!(old.happened(), Happened::Promised(true));
    assert_eq!(new.pid(), std::process::id() as i32);
    assert_eq!(new.carried().unwrap().pools[0].name, "app");
    assert!(new.listener(&ListenAddress::Tcp("127.0.0.1:1".parse().unwrap())).is_empty());
    let mut sockets = new.listener(&ListenAddress::Tcp(old.address));
    assert_eq!(sockets.len(), 300);
    new.serving().unwrap();
    assert_eq!(old.happened(), Happened::SteppedDown(vec![old.address.to_string()]));
    let client = TcpStream::connect(old.address).unwrap();
    let (_, from) = TcpListener::from(sockets.remove(0)).accept().unwrap();
    assert_eq!(from, client.local_addr().unwrap());
    old.thread.unwrap().join().unwrap();
    std::fs::remove_dir(&old.folder).unwrap();
}

#[test]
fn a_successor_that_dies_before_it_serves_has_changed_nothing() {
    let old = Running::start(1, None);
    drop(take_from(vec![old.connect()], vec![old.address.to_string()]).unwrap());
    assert_eq!(old.happened(), Happened::Promised(true));
    assert_eq!(old.happened(), Happened::Promised(false));
    old.end();
}

#[test]
fn only_one_takes_over_at_a_time() {
    let old = Running::start(1, None);
    let first = take_from(vec![old.connect()], vec![old.address.to_string()]).unwrap();
    for _ in 0..3 {
        let second = take_from(vec![old.connect()], vec![old.address.to_string()]);
        let refused = second.err().unwrap().to_string();
        assert!(refused.contains("another process is taking over already"), "{refused}");
        // Nor does who only looks around disturb it.
        drop(old.connect());
    }
    drop(first);
    assert_eq!((old.happened(), old.happened()), (Happened::Promised(true), Happened::Promised(false)));
    old.end();
}

#[test]
fn whoever_listens_elsewhere_is_left_alone() {
    let old = Running::start(1, None);
    let nobody = take_from(vec![old.connect()], vec!["127.0.0.1:1".to_owned()]).err().unwrap();
    assert!(nobody.to_string().contains("no running weir of this user listens on 127.0.0.1:1"), "{nobody}");
    assert!(old.happened.try_recv().is_err());
    let other = Running::start(1, None);
    let both = vec![old.connect(), other.connect()];
    assert_eq!(other.address, {
        let mut new = take_from(both, vec![other.address.to_string()]).unwrap();
        assert_eq!(new.listener(&ListenAddress::Tcp(other.address)).len(), 1);
        other.address
    });
    old.end();
    other.end();
}

#[test]
fn an_incumbent_that_will_not_says_why() {
    let old = Running::start(1, Some("it is shutting down"));
    let refused = take_from(vec![old.connect()], vec![old.address.to_string()]).err().unwrap();
    assert!(
        matches!(&refused, TakeoverRefused::Refused { why, .. } if why == "it is shutting down"),
        "{refused}"
    );
    assert!(old.happened.try_recv().is_err());
    std::fs::remove_dir_all(&old.folder).unwrap();
}

/// What a successor says to a running weir that answers its connect with `bytes`.
fn greeted_by(bytes: &[u8]) -> TakeoverRefused {
    let (mut old, new) = UnixStream::pair().unwrap();
    old.write_all(bytes).unwrap();
    drop(old);
    take_from(vec![new], vec!["127.0.0.1:80".to_owned()]).err().unwrap()
}

#[test]
fn another_protocol_is_refused_with_both_versions_and_what_to_do() {
    let hello = Hello { protocol: PROTOCOL + 1, weir: "9.9.9".into(), addresses: vec![] };
    let refused = greeted_by(&protocol::frame(&FromOld::Hello(hello)).unwrap()).to_string();
    for part in ["9.9.9", env!("CARGO_PKG_VERSION"), "SIGTERM", "without --takeover"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let mut later = br#"{"hello":{"protocol":2,"weir":"3.0","new":{}}}"#.to_vec();
    later.splice(..0, (later.len() as u32).to_be_bytes());
    assert!(matches!(greeted_by(&later), TakeoverRefused::Version { theirs: 2, .. }));
}

#[test]
fn nonsense_silence_and_an_end_are_refused() {
    for (bytes, said) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "more than any has"),
        (b"\0\0\0\x02{}", "is none"),
        (b"\0\0\0\x09", "hung up"),
        (b"", "hung up"),
    ] {
        let refused = greeted_by(bytes).to_string();
        assert!(refused.contains(said) && refused.contains("it serves on"), "{said}: {refused}");
    }
}

#[test]
fn an_offer_of_something_else_than_a_listener_of_that_address_is_refused() {
    let old = Running::start(0, None);
    // The socket of another address.
    let stranger = Arc::new(OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap()));
    let (tell, _happened) = mpsc::channel();
    let address = "127.0.0.1:1".to_owned();
    let process =
        Process { sockets: vec![stranger], address: address.clone(), refuses: None, happened: tell };
    let folder = old.folder.join("wrong");
    let point = MeetingPoint::open_in(&folder).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, give(point, process)).unwrap();
    });
    let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
    let refused = take_from(vec![connect_at_once(&file.path()).unwrap()], vec![address]).err().unwrap();
    assert!(refused.to_string().contains("does not listen there"), "{refused}");
    std::fs::remove_dir_all(&old.folder).unwrap();
}

#[test]
fn what_the_new_process_says_out_of_turn_is_refused() {
    let old = Running::start(1, None);
    let mut stream = old.connect();
    stream
        .write_all(&protocol::frame(&FromNew::Serving { taken: vec![old.address.to_string()] }).unwrap())
        .unwrap();
    let mut stream = old.connect();
    stream.write_all(&protocol::frame(&FromNew::Take { protocol: PROTOCOL + 1 }).unwrap()).unwrap();
    drop(stream);
    old.end();
}

#[test]
fn every_socket_is_accepted_on_by_one_shard_and_only_shards_beyond_them_have_none() {
    for sockets in 0..9 {
        for shards in 1..7 {
            let spread: Vec<Vec<usize>> = spread(sockets, shards).map(Iterator::collect).collect();
            let mut all: Vec<usize> = spread.concat();
            all.sort_unstable();
            assert_eq!(all, (0..sockets).collect::<Vec<_>>(), "{sockets} on {shards}");
            let without = spread.iter().filter(|own| own.is_empty()).count();
            assert_eq!(without, shards.saturating_sub(sockets), "{sockets} on {shards}");
        }
    }
}
