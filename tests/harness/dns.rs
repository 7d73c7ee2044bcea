//! A DNS server of a few records on loopback, which can be told others, to fail, and to die.

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often it looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The server; it ends when dropped.
pub struct Dns {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    /// By name, with the TTL; the type is the record's.
    records: Mutex<BTreeMap<String, Vec<(u32, RData)>>>,
    fails: AtomicBool,
    ends: AtomicBool,
    questions: AtomicUsize,
}

impl Dns {
    /// Starts one without records.
    pub fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(LOOK_EVERY)).unwrap();
        let (address, state) = (socket.local_addr().unwrap(), Arc::new(State::default()));
        let own = state.clone();
        Self { address, state, thread: Some(thread::spawn(move || own.serve(&socket))) }
    }

    /// As `runtime.resolver` takes it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The addresses of a host ("app.test."), for so many seconds.
    pub fn host(&self, name: &str, ttl_s: u32, ips: &[Ipv4Addr]) {
        let data = ips.iter().map(|ip| (ttl_s, RData::A((*ip).into()))).collect();
        self.state.records.lock().unwrap().insert(name.to_owned(), data);
    }

    /// The records of a service: priority, weight, port, host.
    pub fn service(&self, name: &str, ttl_s: u32, records: &[(u16, u16, u16, &str)]) {
        let record = |&(priority, weight, port, host): &(u16, u16, u16, &str)| {
            (ttl_s, RData::SRV(SRV::new(priority, weight, port, Name::from_ascii(host).unwrap())))
        };
        let data = records.iter().map(record).collect();
        self.state.records.lock().unwrap().insert(name.to_owned(), data);
    }

    /// It answers everything with SERVFAIL from now on, or no more.
    pub fn fail(&self, fails: bool) {
        self.state.fails.store(fails, Ordering::SeqCst);
    }

    /// Questions that it was asked.
    pub fn questions(&self) -> usize {
        self.state.questions.load(Ordering::SeqCst)
    }

    /// Nobody is at its address any more.
    pub fn die(&mut self) {
        self.state.ends.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.state.ends.store(true, Ordering::SeqCst);
    }
}

impl State {
    fn serve(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        while !self.ends.load(Ordering::SeqCst) {
            // Nothing came for a while, or whoever had asked is gone.
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            let question = Message::from_vec(&buffer[..length]).unwrap();
            self.questions.fetch_add(1, Ordering::SeqCst);
            let _ = socket.send_to(&self.answer(&question).to_vec().unwrap(), from);
        }
    }

    fn answer(&self, question: &Message) -> Message {
        let query = question.queries[0].clone();
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        let records = self.records.lock().unwrap();
        if self.fails.load(Ordering::SeqCst) {
            answer.metadata.response_code = ResponseCode::ServFail;
        } else if let Some(records) = records.get(&query.name().to_string()) {
            let fitting = records.iter().filter(|(_, data)| data.record_type() == query.query_type());
            let record =
                |(ttl_s, data): &(u32, RData)| Record::from_rdata(query.name().clone(), *ttl_s, data.clone());
            answer.add_answers(fitting.map(record));
        } else {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        answer.add_query(query);
        answer
    }
}
