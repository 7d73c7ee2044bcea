//! Names against a DNS server of a few records on loopback.

use super::look_up;
use super::*;
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::LocalSet;
use tokio::time::timeout;

/// A DNS server that can be told other records and to be silent.
#[derive(Clone)]
struct Server(Rc<State>);

struct State {
    address: SocketAddr,
    /// By name; the type is the record's.
    records: RefCell<BTreeMap<String, Vec<(u32, RData)>>>,
    answers: Cell<ResponseCode>,
    /// It does not answer at all.
    silent: Cell<bool>,
    /// It fails for these records alone.
    fails_for: Cell<Option<RecordType>>,
    questions: Cell<usize>,
}

impl Server {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let state = State {
            address: socket.local_addr().unwrap(),
            records: RefCell::default(),
            answers: Cell::new(ResponseCode::NoError),
            silent: Cell::new(false),
            fails_for: Cell::new(None),
            questions: Cell::new(0),
        };
        let server = Self(Rc::new(state));
        spawn_local(server.clone().serve(socket));
        server
    }

    async fn serve(self, socket: UdpSocket) {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let answer = self.answer(&question);
            if self.0.silent.get() {
                continue;
            }
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    }

    fn answer(&self, question: &Message) -> Message {
        assert_eq!(question.metadata.message_type, MessageType::Query);
        self.0.questions.set(self.0.questions.get() + 1);
        let query = question.queries[0].clone();
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        let fails = self.0.fails_for.get() == Some(query.query_type());
        answer.metadata.response_code = if fails { ResponseCode::ServFail } else { self.0.answers.get() };
        if answer.metadata.response_code == ResponseCode::NoError {
            match self.0.records.borrow().get(&query.name().to_string()) {
                None => answer.metadata.response_code = ResponseCode::NXDomain,
                Some(records) => {
                    let fitting = records.iter().filter(|(_, data)| data.record_type() == query.query_type());
                    answer.add_answers(
                        fitting
                            .map(|(ttl, data)| Record::from_rdata(query.name().clone(), *ttl, data.clone())),
                    );
                }
            }
        }
        answer.add_query(query);
        answer
    }

    fn hosts(&self, name: &str, ttl: u32, ips: &[&str]) {
        let data = ips.iter().map(|ip| match ip.parse().unwrap() {
            IpAddr::V4(ip) => (ttl, RData::A(ip.into())),
            IpAddr::V6(ip) => (ttl, RData::AAAA(ip.into())),
        });
        self.0.records.borrow_mut().insert(name.to_owned(), data.collect());
    }

    fn service(&self, name: &str, records: &[(u16, u16, u16, &str)]) {
        let data = records.iter().map(|&(priority, weight, port, target)| {
            (5, RData::SRV(SRV::new(priority, weight, port, Name::from_ascii(target).unwrap())))
        });
        self.0.records.borrow_mut().insert(name.to_owned(), data.collect());
    }

    fn names(&self) -> Names {
        Names::new(Some(self.0.address))
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(LocalSet::new().run_until(async {
        timeout(Duration::from_secs(60), test).await.expect("the test takes too long");
    }));
}

fn host(name: &str) -> BackendAddress {
    BackendAddress::Name(name.to_owned(), 8080)
}

fn texts(found: &Found) -> Vec<String> {
    let text = |resolved: &ResolvedAddress| {
        let weight = resolved.weight.map_or_else(String::new, |weight| format!(" weight {weight}"));
        format!("{}{weight}{}", resolved.address, if resolved.backup { " backup" } else { "" })
    };
    found.as_ref().map_or_else(|failed| vec![failed.to_string()], |all| all.iter().map(text).collect())
}

async fn next(told: &mut UnboundedReceiver<(u64, Found)>) -> (u64, Vec<String>) {
    let (key, found) = told.recv().await.unwrap();
    (key, texts(&found))
}

#[test]
fn a_host_has_all_its_addresses_always_in_the_same_order() {
    run(async {
        let server = Server::start().await;
        for ips in [["10.0.0.2", "10.0.0.1"], ["10.0.0.1", "10.0.0.2"]] {
            server.hosts("app.test.", 60, &ips);
            let found = server.names().first(&host("app.test")).await;
            assert_eq!(texts(&found), ["10.0.0.1:8080", "10.0.0.2:8080"]);
        }
        server.hosts("six.test.", 60, &["::1"]);
        assert_eq!(texts(&server.names().first(&host("six.test")).await), ["[::1]:8080"]);
    });
}

#[test]
fn a_name_that_cannot_be_looked_up_says_why() {
    run(async {
        let server = Server::start().await;
        server.hosts("empty.test.", 60, &[]);
        server.service("_gone._tcp.test.", &[(0, 0, 0, ".")]);
        for (address, expected) in [
            (host("none.test"), "cannot look up \"none.test\": no such name"),
            (host("empty.test"), "cannot look up \"empty.test\": it has no such record"),
            (
                BackendAddress::Service("_gone._tcp.test".into()),
                "cannot look up \"_gone._tcp.test\": its SRV records say that there is no such service",
            ),
        ] {
            assert_eq!(texts(&server.names().first(&address).await), [expected]);
        }
        server.0.answers.set(ResponseCode::ServFail);
        let found = server.names().first(&host("app.test")).await;
        assert!(found.unwrap_err().cause.contains("Server Failure"), "its own word");
    });
}

#[test]
fn a_server_that_is_silent_holds_nothing_up_for_long_and_is_asked_again() {
    run(async {
        let server = Server::start().await;
        let names = server.names();
        server.hosts("app.test.", 60, &["10.0.0.1"]);
        server.0.silent.set(true);
        let began = Instant::now();
        let found = names.first(&host("app.test")).await;
        assert_eq!(texts(&found), ["cannot look up \"app.test\": no DNS server answered in time"]);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        server.0.silent.set(false);
        assert_eq!(texts(&names.first(&host("app.test")).await), ["10.0.0.1:8080"]);
    });
}

#[test]
fn a_look_up_of_which_half_failed_is_good_only_with_its_ipv4_half() {
    run(async {
        let server = Server::start().await;
        server.hosts("app.test.", 60, &["10.0.0.1", "::1"]);
        for (fails_for, expected) in
            [(None, Ok(2)), (Some(RecordType::AAAA), Ok(1)), (Some(RecordType::A), Err(()))]
        {
            server.0.fails_for.set(fails_for);
            let found = server.names().first(&host("app.test")).await;
            assert_eq!(found.map(|all| all.len()).map_err(drop), expected, "{fails_for:?}");
        }
    });
}

#[test]
fn what_needs_no_dns_is_found_without_any() {
    run(async {
        let server = Server::start().await;
        server.0.answers.set(ResponseCode::ServFail);
        for (address, expected) in [
            (host("localhost"), "127.0.0.1:8080"),
            (host("a.localhost"), "127.0.0.1:8080"),
            (host("127.0.0.9"), "127.0.0.9:8080"),
            (BackendAddress::Tcp(([10, 0, 0, 1], 80).into()), "10.0.0.1:80"),
            (BackendAddress::Unix("/run/app.sock".into()), "unix:/run/app.sock"),
        ] {
            assert_eq!(texts(&server.names().first(&address).await), [expected]);
        }
        assert_eq!(server.0.questions.get(), 0);
    });
}

#[test]
fn a_service_has_ports_weights_and_backups() {
    run(async {
        let server = Server::start().await;
        server.hosts("a.test.", 60, &["10.0.0.3", "10.0.0.1"]);
        server.hosts("b.test.", 60, &["10.0.0.2"]);
        for (case, records, expected) in [
            (
                "priorities",
                &[(20, 9, 81, "b.test."), (10, 0, 80, "a.test."), (10, 5, 80, "none.test.")][..],
                &["10.0.0.1:80 weight 1", "10.0.0.3:80 weight 1", "10.0.0.2:81 weight 9 backup"][..],
            ),
            (
                "weights beyond a backend's",
                &[(0, 65_535, 80, "b.test."), (0, 1_000, 81, "b.test."), (0, 1, 82, "b.test.")],
                &["10.0.0.2:80 weight 256", "10.0.0.2:81 weight 3", "10.0.0.2:82 weight 1"],
            ),
            (
                "the same twice",
                &[(5, 7, 80, "b.test."), (1, 2, 80, "b.test."), (1, 4, 80, "b.test.")],
                &["10.0.0.2:80 weight 4"],
            ),
        ] {
            server.service("_http._tcp.test.", records);
            let found = server.names().first(&BackendAddress::Service("_http._tcp.test".into())).await;
            assert_eq!(texts(&found), expected, "{case}");
        }
    });
}

#[test]
fn a_name_that_moves_is_told_at_its_ttl_and_a_server_that_fails_once() {
    run(async {
        let server = Server::start().await;
        let names = server.names();
        let (to, mut told) = unbounded_channel();
        server.hosts("app.test.", 0, &["10.0.0.1"]);
        names.watch(7, host("app.test"), to);
        assert_eq!(next(&mut told).await, (7, vec!["10.0.0.1:8080".to_owned()]));
        for ip in ["10.0.0.2", "10.0.0.3"] {
            server.hosts("app.test.", 0, &[ip]);
            let began = Instant::now();
            assert_eq!(next(&mut told).await, (7, vec![format!("{ip}:8080")]));
            assert!(began.elapsed() < Duration::from_secs(3), "after {:?}", began.elapsed());
        }
        server.0.answers.set(ResponseCode::ServFail);
        assert!(told.recv().await.unwrap().1.is_err());
        // It is tried again, and not told again.
        let asked = server.0.questions.get();
        while server.0.questions.get() < asked + 4 {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(told.is_empty());
        server.0.answers.set(ResponseCode::NoError);
        assert_eq!(next(&mut told).await.1, ["10.0.0.3:8080"], "it holds again");
    });
}

#[test]
fn a_doubted_name_is_looked_up_before_its_ttl_but_at_most_once_a_second() {
    run(async {
        let server = Server::start().await;
        let names = server.names();
        let (to, mut told) = unbounded_channel();
        server.hosts("app.test.", 300, &["10.0.0.1"]);
        let began = Instant::now();
        names.watch(1, host("app.test"), to.clone());
        assert_eq!(next(&mut told).await.1, ["10.0.0.1:8080"]);
        let asked = server.0.questions.get();
        server.hosts("app.test.", 300, &["10.0.0.2"]);
        (0..100).for_each(|_| names.doubt(1));
        assert_eq!(next(&mut told).await.1, ["10.0.0.2:8080"]);
        assert!((1.0..3.0).contains(&began.elapsed().as_secs_f64()), "after {:?}", began.elapsed());
        assert!(server.0.questions.get() <= 2 * asked, "one look-up for a hundred doubts");
        // What is forgotten is not told, whatever is doubted.
        names.forget(1);
        names.doubt(1);
        drop(to);
        assert_eq!(told.recv().await, None);
    });
}

#[test]
fn an_address_that_would_be_no_good_backend_is_left_out_where_there_are_others() {
    let usable = |ips: &[&str]| {
        let no_six = |ip: IpAddr| ip.is_ipv4();
        let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        look_up::usable(ips, no_six).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(usable(&["2001:db8::1", "10.0.0.2", "10.0.0.1", "10.0.0.2"]), "10.0.0.1 10.0.0.2", "no route");
    assert_eq!(usable(&["2001:db8::2", "2001:db8::1"]), "2001:db8::1 2001:db8::2", "no others");
    let ips = |ips: &[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
    assert_eq!(look_up::usable(ips(&["::1", "127.0.0.1"]), |_| true), ips(&["127.0.0.1"]), "this host");
    let both = ips(&["10.0.0.1", "2001:db8::1"]);
    assert_eq!(look_up::usable(both.clone(), |_| true), both);
}

#[test]
fn a_look_up_that_fails_is_tried_less_and_less_often() {
    let waits: Vec<u64> = [1, 2, 3, 4, 5, 6, 40, u32::MAX].map(|n| retry_in(n).as_secs()).to_vec();
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
}
