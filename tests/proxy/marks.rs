//! Request ids and trace contexts: what goes up, what comes down, and who is believed.

use crate::harness::{Backend, Client, Response, Then, Weir, answers, one_pool};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::time::Duration;

const IDS: &str = "request_id = \"X-Request-Id\"";
const TRUSTING: &str = "request_id = \"X-Request-Id\"\ntrusted_proxies = [\"127.0.0.1\"]";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
}

/// The one id of an answer.
fn id_of(response: &Response) -> String {
    let ids: Vec<&str> = response.fields.all("X-Request-Id").collect();
    let [id] = ids.as_slice() else { panic!("{ids:?} in {:?}", response.fields) };
    (*id).to_owned()
}

/// The one id that the backend got last.
fn id_at(backend: &Backend) -> String {
    let head = backend.last().fields;
    let ids: Vec<&str> = head.all("X-Request-Id").collect();
    let [id] = ids.as_slice() else { panic!("{ids:?} in {head:?}") };
    (*id).to_owned()
}

/// RFC 9562 §4, §5.7.
fn assert_is_uuid_7(id: &str) {
    let digits: Vec<&str> = id.split('-').collect();
    let lengths: Vec<usize> = digits.iter().map(|part| part.len()).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
    assert!(id.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f' | '-')), "{id}");
    assert!(digits[2].starts_with('7') && "89ab".contains(&digits[3][..1]), "{id}");
}

#[test]
fn a_request_gets_an_id_that_goes_up_and_down_and_grows() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], IDS, ""));
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let (before, mut client) = (now(), weir.client());
    let mut ids = Vec::new();
    for _ in 0..20 {
        let id = id_of(&client.get("/"));
        assert_eq!(id, id_at(&backend));
        assert_is_uuid_7(&id);
        ids.push(id);
    }
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let made = u128::from_str_radix(&ids[0].replace('-', "")[..12], 16).unwrap();
    assert!((before - 2_000..now() + 2_000).contains(&made), "{made} is not now");
}

#[test]
fn a_trusted_peers_id_is_kept_if_it_is_one_and_nobody_elses() {
    let backend = Backend::http(answers::text("ok"));
    for (case, listener, fields, kept) in [
        ("a trusted peer's", TRUSTING, "x-request-id: Root=1-67891233-abc\r\n", Some("Root=1-67891233-abc")),
        ("a client's", IDS, "X-Request-Id: mine\r\n", None),
        ("one with a space", TRUSTING, "X-Request-Id: a b\r\n", None),
        ("one beyond ASCII", TRUSTING, "X-Request-Id: \u{e4}\r\n", None),
        ("one twice", TRUSTING, "X-Request-Id: a\r\nX-Request-Id: a\r\n", None),
        ("a look-alike", TRUSTING, "X_Request_Id: a\r\n", None),
    ] {
        let weir = Weir::start(&one_pool(&[&backend], listener, ""));
        let id = id_of(&weir.client().ask(get(fields)));
        assert_eq!(id, id_at(&backend), "{case}");
        let text = backend.last().text();
        assert!(!text.contains("X_Request") && !text.contains("mine"), "{case}: {text}");
        match kept {
            Some(kept) => assert_eq!(id, kept, "{case}"),
            None => assert_is_uuid_7(&id),
        }
    }
    let long = format!("X-Request-Id: {}\r\n", "a".repeat(129));
    let weir = Weir::start(&one_pool(&[&backend], TRUSTING, ""));
    assert_is_uuid_7(&id_of(&weir.client().ask(get(&long))));
}

#[test]
fn without_the_key_ids_pass_both_ways_untouched() {
    let backend =
        Backend::http(answers::fixed("HTTP/1.1 200 OK\r\nX-Request-Id: b\r\nContent-Length: 0\r\n\r\n"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let response = weir.client().ask(get("X-Request-Id: a b\r\nX_Request_Id: c\r\n"));
    assert_eq!(id_of(&response), "b");
    assert!(backend.last().text().contains("X-Request-Id: a b\r\nX_Request_Id: c\r\n"));
}

#[test]
fn the_answers_own_id_gives_way_and_interim_responses_are_left_alone() {
    let answer = "HTTP/1.1 103 Early Hints\r\nX-Request-Id: early\r\n\r\n\
                  HTTP/1.1 200 OK\r\nx-request-id: its own\r\nX_Request_Id: too\r\nContent-Length: 2\r\n\r\nok";
    let backend = Backend::http(answers::fixed(answer));
    let weir = Weir::start(&one_pool(&[&backend], IDS, ""));
    let mut client = weir.client();
    let early = client.ask(get(""));
    assert_eq!((early.status, id_of(&early).as_str()), (103, "early"));
    let last = client.response();
    assert_eq!((last.status, id_of(&last)), (200, id_at(&backend)));
    assert_eq!(last.field("X_Request_Id"), None);
}

#[test]
fn pipelined_requests_a_head_and_a_body_in_pieces_each_have_their_own() {
    let backend = Backend::http(answers::by(|received, wire| {
        let id = received.fields.get("X-Request-Id").unwrap();
        // Which id it was is in the answer, so that none can be another's.
        wire.send(format!("HTTP/1.1 200 OK\r\nAsked: {id}\r\nContent-Length: 4\r\n\r\n"))?;
        if received.method() != "HEAD" {
            wire.send("body")?;
        }
        Ok(Then::KeepAlive)
    }));
    let weir = Weir::start(&one_pool(&[&backend], IDS, ""));
    let mut client = weir.client();
    let mut ids = BTreeSet::new();
    let mut heard = |client: &mut Client, method: &str| {
        let response = client.response_to(method);
        let id = id_of(&response);
        assert_eq!(response.field("Asked"), Some(id.as_str()));
        ids.insert(id);
    };
    client.send(format!("{0}{0}HEAD / HTTP/1.1\r\nHost: h\r\n\r\n{0}", get("")));
    ["GET", "GET", "HEAD", "GET"].iter().for_each(|method| heard(&mut client, method));
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc");
    client.assert_silent(Duration::from_millis(50));
    client.send("def");
    heard(&mut client, "POST");
    assert_eq!(ids.len(), 5);
}

#[test]
fn all_attempts_of_an_exchange_have_one_id_and_one_span() {
    let failing = Backend::http(answers::fixed("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"));
    let good = Backend::http(answers::text("ok"));
    let retry = "[pool.app.retry]\non = [\"503\"]\nbudget = 1.0\n";
    let config = one_pool(&[&failing, &good], IDS, retry);
    let weir = Weir::start(&format!("{config}[tracing]\n"));
    let mut client = weir.client();
    while failing.requests() == 0 {
        assert_eq!(id_of(&client.get("/")), id_at(&good));
    }
    let context = |backend: &Backend| backend.last().fields.get("traceparent").unwrap().to_owned();
    assert_eq!((id_at(&failing), context(&failing)), (id_at(&good), context(&good)));
}

#[test]
fn weirs_own_answers_have_the_id_too() {
    let absent = Backend::absent(answers::text("never"));
    let config = one_pool(&[&absent], TRUSTING, "").replace("pool = \"app\"\n", "head_timeout = \"200ms\"\n");
    let weir = Weir::start(&format!("{config}[[route]]\npath = \"/there\"\npool = \"app\"\n"));
    let mut client = weir.client();
    let there = get("X-Request-Id: kept\r\n").replace("GET /", "GET /there");
    // On one connection, which goes on.
    for _ in 0..2 {
        let response = client.ask(&there);
        assert_eq!((response.status, id_of(&response).as_str()), (502, "kept"));
    }
    for (case, request, status, kept) in [
        ("no route", get("X-Request-Id: kept\r\n"), 404, true),
        ("a body that is too large", there.replace("kept", "kept\r\nContent-Length: 9999999999"), 413, true),
        ("no head for anybody", "GET / HTTP/1.1\r\nX-Request-Id: kept\r\n\r\n".to_owned(), 400, false),
        ("no HTTP", "nonsense\r\n\r\n".to_owned(), 400, false),
        ("an unfinished head", "GET / HTTP/1.1\r\n".to_owned(), 408, false),
        (
            "the last hop's",
            "OPTIONS / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\nX-Request-Id: kept\r\n\r\n".to_owned(),
            204,
            true,
        ),
    ] {
        let response = weir.client().ask(request);
        let id = id_of(&response);
        assert_eq!(response.status, status, "{case}");
        assert_eq!(id == "kept", kept, "{case}: {id}");
        if !kept {
            assert_is_uuid_7(&id);
        }
    }
    let mut client = weir.client();
    client.send(there.replace("GET ", "HEAD "));
    let response = client.response_to("HEAD");
    assert_eq!((response.status, id_of(&response).as_str()), (502, "kept"));
}

#[test]
fn an_upgrade_has_it_in_its_101() {
    let backend = Backend::raw(|mut wire, _| {
        let head = String::from_utf8(wire.head().unwrap().unwrap()).unwrap();
        let id = head.lines().find_map(|line| line.strip_prefix("X-Request-Id: ")).unwrap().to_owned();
        wire.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\n{id}"
        ))
        .unwrap();
    });
    let weir = Weir::start(&one_pool(&[&backend], IDS, ""));
    let mut client = weir.client();
    let response = client.ask(get("Connection: Upgrade\r\nUpgrade: a\r\n"));
    assert_eq!(response.status, 101);
    assert_eq!(client.rest(), id_of(&response).into_bytes());
}

#[test]
fn a_new_rule_holds_for_connections_that_are_open() {
    let backend = Backend::http(answers::text("ok"));
    let mut weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut client = weir.client();
    assert_eq!(client.get("/").field("X-Request-Id"), None);
    weir.rewrite(&format!("{}[tracing]\n", one_pool(&[&backend], "request_id = \"Trace-Id\"", "")));
    weir.signal(Signal::SIGHUP);
    weir.wait_metric("weir_config_reloads_total", &[("result", "succeeded")], 1.0);
    let response = client.get("/");
    assert_is_uuid_7(response.field("Trace-Id").unwrap());
    assert!(backend.last().fields.get("traceparent").is_some());
}

/// What goes up of such a request in `traceparent`, taken apart, and in `tracestate`.
fn traced(weir: &Weir, backend: &Backend, fields: &str) -> (Vec<String>, Vec<String>) {
    assert_eq!(weir.client().ask(get(fields)).status, 200);
    let head = backend.last().fields;
    let all = |name| head.all(name).map(str::to_owned).collect::<Vec<_>>();
    let parents = all("traceparent");
    let [parent] = parents.as_slice() else { panic!("{parents:?}") };
    let parts: Vec<String> = parent.split('-').map(str::to_owned).collect();
    let lengths: Vec<usize> = parts.iter().map(String::len).collect();
    assert_eq!((parts[0].as_str(), lengths), ("00", vec![2, 32, 16, 2]), "{parent}");
    (parts, all("tracestate"))
}

#[test]
fn a_trace_is_continued_or_begun_and_a_trusted_peer_says_whether_it_is_sampled() {
    let backend = Backend::http(answers::text("ok"));
    let state = "tracestate: a=b\r\ntracestate: c=d\r\n";
    for (case, trusts, sample, fields, continues, flags) in [
        ("trusted, sampled", true, 0.0, format!("traceparent: 00-{TRACE}-{SPAN}-01\r\n{state}"), true, "01"),
        (
            "trusted, not sampled",
            true,
            1.0,
            format!("traceparent: 00-{TRACE}-{SPAN}-00\r\n{state}"),
            true,
            "00",
        ),
        (
            "not trusted, sampled",
            false,
            0.0,
            format!("traceparent: 00-{TRACE}-{SPAN}-01\r\n{state}"),
            true,
            "00",
        ),
        (
            "not trusted, not sampled",
            false,
            1.0,
            format!("traceparent: 00-{TRACE}-{SPAN}-00\r\n{state}"),
            true,
            "01",
        ),
        ("none", true, 1.0, String::new(), false, "01"),
        ("a state alone", true, 0.0, state.to_owned(), false, "00"),
        ("one that is none", true, 1.0, format!("traceparent: 00-{TRACE}-{SPAN}\r\n{state}"), false, "01"),
        (
            "of a later version",
            true,
            0.0,
            format!("traceparent: 01-{TRACE}-{SPAN}-01-x\r\n{state}"),
            true,
            "01",
        ),
    ] {
        let trusted = if trusts { "trusted_proxies = [\"127.0.0.1\"]" } else { "" };
        let config = one_pool(&[&backend], trusted, "");
        let weir = Weir::start(&format!("{config}[tracing]\nsample = {sample:.1}\n"));
        let (parent, states) = traced(&weir, &backend, &fields);
        assert_eq!(parent[1] == TRACE, continues, "{case}: {parent:?}");
        assert_ne!(parent[2], SPAN, "{case}");
        assert_eq!(parent[3], flags, "{case}");
        assert_eq!(states, if continues { vec!["a=b", "c=d"] } else { vec![] }, "{case}");
    }
}

#[test]
fn each_request_is_a_step_of_its_own_and_all_weirs_sample_the_same_traces() {
    let backend = Backend::http(answers::text("ok"));
    let config = format!("{}[tracing]\nsample = 0.5\n", one_pool(&[&backend], "", ""));
    let weirs = [Weir::start(&config), Weir::start(&config)];
    let (mut spans, mut flags) = (BTreeSet::new(), [BTreeSet::new(), BTreeSet::new()]);
    for number in 0..40u64 {
        let trace = format!(
            "{:032x}",
            u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        );
        let fields = format!("traceparent: 00-{trace}-{SPAN}-00\r\n");
        for (weir, flags) in weirs.iter().zip(&mut flags) {
            let (parent, _) = traced(weir, &backend, &fields);
            assert!(spans.insert(parent[2].clone()));
            flags.insert((trace.clone(), parent[3].clone()));
        }
    }
    assert_eq!(flags[0], flags[1]);
    let sampled = flags[0].iter().filter(|(_, flag)| flag == "01").count();
    assert!((5..=35).contains(&sampled), "{sampled} of 40");
}

#[test]
fn without_the_section_contexts_pass_untouched() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let fields = format!("Traceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: a\r\n");
    weir.client().ask(get(&fields));
    assert!(backend.last().text().contains(&fields));
    weir.client().ask(get(""));
    assert!(backend.last().fields.get("traceparent").is_none());
}
