//! What a pool does about failures: retries, ejection, slow start, panic mode, the pool it falls back to.

use super::*;
use weir::config::{GrpcStatus, OnShardLoss, RetryOn};

fn pool(rest: &str) -> String {
    format!("[pool.rest]\n{rest}{REST}")
}

const NONE: RetryOn = RetryOn {
    connect: false,
    no_response: false,
    truncated: false,
    response_timeout: false,
    statuses: Vec::new(),
    grpc: Vec::new(),
};

#[test]
fn every_key_about_failures_is_read() {
    let text = pool(
        "slow_start = \"3s\"\npanic_below = 0.25\n\
         retry = { attempts = 3, on = [\"truncated\", \"response_timeout\"], hold = \"2KiB\", budget = 0.5, \
         budget_min_per_s = 0, body_buffer = \"0B\" }\n\
         eject = { consecutive_failures = 7, error_share = 0.0, window = \"1s\", base_time = \"30s\", \
         max_share = 1.0, latency_factor = 3 }\n[[pool.rest.backend]]\naddress = \"h:1\"",
    );
    let config = config(&format!("[runtime]\nwatch = true\non_shard_loss = \"exit\"\n{text}"));
    assert!(config.runtime.watch);
    assert_eq!(config.runtime.on_shard_loss, OnShardLoss::Exit);
    let pool = &config.pools[0];
    assert_eq!((pool.slow_start, pool.panic_below), (Micros::from_s(3), 0.25));
    let on = RetryOn { truncated: true, response_timeout: true, ..NONE };
    let retry = Retry { attempts: 3, on, hold: 2048, budget: 0.5, budget_min_per_s: 0, body_buffer: 0 };
    assert_eq!(pool.retry, retry);
    let eject = Eject {
        consecutive_failures: 7,
        error_share: 0.0,
        window: Micros::from_s(1),
        base_time: Micros::from_s(30),
        max_share: 1.0,
        latency_factor: 3.0,
    };
    assert_eq!(pool.eject, Some(eject));
}

#[test]
fn an_empty_section_of_ejection_switches_it_on_and_retries_are_on_without_one() {
    let read = |text: &str| checked(&pool(text)).config.pools.remove(0);
    assert_eq!(read("eject = {}").eject, Some(Eject::default()));
    assert_eq!(read("").eject, None);
    assert_eq!(read("retry = {}"), read(""));
}

#[test]
fn what_is_tried_again_is_a_list_in_any_order() {
    for (on, expected) in [
        (
            "[\"503\", \"connect\", \"500\", \"503\"]",
            RetryOn { connect: true, statuses: vec![500, 503], ..NONE },
        ),
        ("[\"no_response\"]", RetryOn { no_response: true, ..NONE }),
        ("[\"400\", \"599\"]", RetryOn { statuses: vec![400, 599], ..NONE }),
        (
            "[\"grpc-unavailable\", \"503\", \"grpc-aborted\", \"grpc-unavailable\"]",
            RetryOn { statuses: vec![503], grpc: vec![GrpcStatus::Aborted, GrpcStatus::Unavailable], ..NONE },
        ),
        ("[]", NONE),
    ] {
        assert_eq!(checked(&pool(&format!("retry.on = {on}"))).config.pools[0].retry.on, expected, "{on}");
    }
}

#[test]
fn values_about_failures_that_cannot_be_are_faults() {
    for (line, key, wrong, remedy) in [
        ("retry.attempts = 11", "retry.attempts", "more than 10", "0 to 10"),
        ("retry.on = \"connect\"", "retry.on", "not a list", "write a list: on = [\"connect\""),
        ("retry.on = [\"conect\"]", "retry.on[0]", "not known", "did you mean \"connect\"?"),
        (
            "retry.on = [\"connect\", \"timeout\"]",
            "retry.on[1]",
            "not known",
            "\"response_timeout\", or a status",
        ),
        ("retry.on = [\"no-response\"]", "retry.on[0]", "not known", "did you mean \"no_response\"?"),
        ("retry.on = [503]", "retry.on[0]", "503 is not a string", "write \"503\""),
        ("retry.on = [\"200\"]", "retry.on[0]", "no status of a failure", "from 400 to 599"),
        ("retry.on = [\"399\"]", "retry.on[0]", "no status of a failure", "from 400 to 599"),
        ("retry.on = [\"600\"]", "retry.on[0]", "no status of a failure", "from 400 to 599"),
        ("retry.on = [\"5xx\"]", "retry.on[0]", "no status", "each status for itself"),
        ("retry.on = [\"500-503\"]", "retry.on[0]", "no status", "each status for itself"),
        (
            "retry.on = [\"grpc-unavailble\"]",
            "retry.on[0]",
            "no status of gRPC",
            "did you mean \"grpc-unavailable\"?",
        ),
        (
            "retry.on = [\"grpc-503\"]",
            "retry.on[0]",
            "no status of gRPC",
            "stands one of cancelled, unknown, ",
        ),
        ("retry.on = [\"grpc-ok\"]", "retry.on[0]", "no status of a failure", "\"grpc-unavailable\""),
        ("retry.on = [\"UNAVAILABLE\"]", "retry.on[0]", "not known", "did you mean \"grpc-unavailable\"?"),
        ("retry.on = [\"grpc_data_loss\"]", "retry.on[0]", "not known", "did you mean \"grpc-data-loss\"?"),
        ("retry.hold = 1", "retry.hold", "no unit", "\"1KiB\""),
        ("retry.hold = \"17MiB\"", "retry.hold", "more than 16MiB", "\"16MiB\""),
        ("retry.budget = 20", "retry.budget", "not a share", "0 to 1"),
        ("retry.budget_min_per_s = -1", "retry.budget_min_per_s", "less than 0", "use 0 to"),
        ("retry.body_buffer = \"1GiB\"", "retry.body_buffer", "more than 16MiB", "\"16MiB\""),
        ("retry = true", "retry", "not a section", "write [pool.rest.retry]"),
        ("eject.consecutive_failures = 1.5", "eject.consecutive_failures", "not a whole", "use 0 to"),
        ("eject.error_share = 1.1", "eject.error_share", "not a share", "0 to 1"),
        ("eject.window = \"0s\"", "eject.window", "less than 100ms", "\"1h\""),
        ("eject.base_time = \"25h\"", "eject.base_time", "more than 24h", "\"10ms\""),
        ("eject.max_share = -0.5", "eject.max_share", "not a share", "0 to 1"),
        ("eject.latency_factor = 0.5", "eject.latency_factor", "not a factor", "above 1"),
        ("eject.latency_factor = 1", "eject.latency_factor", "not a factor", "above 1"),
        ("eject.latency_factor = nan", "eject.latency_factor", "not a factor", "or 0 for none"),
        ("eject = true", "eject", "not a section", "write [pool.rest.eject]"),
        ("slow_start = 30", "slow_start", "no unit", "\"30s\""),
        ("slow_start = \"25h\"", "slow_start", "more than 24h", "\"24h\""),
        ("panic_below = 50", "panic_below", "not a share", "0 to 1"),
        ("fallback = \"rst\"", "fallback", "no pool \"rst\"", "did you mean \"rest\"?"),
        ("fallback = 1", "fallback", "1 is not a string", "write \"1\""),
    ] {
        let text = pool(line);
        one(&faults(&text), (&text, 2, &format!("pool.rest.{key}"), wrong, remedy));
    }
}

#[test]
fn settings_about_failures_that_contradict_each_other_are_warnings() {
    const SECOND: &str = "\n[[pool.rest.backend]]\naddress = \"h:1\"";
    for (lines, line, key, wrong, remedy) in [
        ("retry.attempts = 0\nretry.on = [\"500\"]", 3, "retry.on", "attempts = 0", "raise attempts"),
        ("retry.attempts = 0\nretry.hold = \"1KiB\"", 3, "retry.hold", "attempts = 0", "raise attempts"),
        ("retry.on = []", 2, "retry.on", "nothing is tried again", "attempts = 0"),
        ("retry.budget = 0\nretry.budget_min_per_s = 0", 2, "retry.budget", "no retry", "raise one"),
        (
            "retry.on = [\"500\"]\nretry.hold = \"1KiB\"",
            3,
            "retry.hold",
            "\"truncated\"",
            "add \"truncated\"",
        ),
        ("retry.on = [\"truncated\"]\nretry.hold = \"0B\"", 3, "retry.hold", "held back", "raise hold"),
        ("retry.on = [\"grpc-unavailable\"]", 2, "retry", "gRPC needs HTTP/2", "protocol = \"h2\""),
        ("eject.consecutive_failures = 0\neject.error_share = 0", 2, "eject", "nothing ejects", "raise"),
        ("eject.max_share = 0", 2, "eject", "lets nothing be ejected", "raise it"),
        ("panic_below = 0.5", 2, "panic_below", "ever counts as down", "[pool.rest.health]"),
    ] {
        let text = pool(&format!("{lines}{SECOND}"));
        one(&checked(&text).warnings, (&text, line, &format!("pool.rest.{key}"), wrong, remedy));
    }
    let text = format!("[runtime]\nbuffers = 16\nbuffer_size = \"4KiB\"\n{}", pool("retry.hold = \"65KiB\""));
    let row = (text.as_str(), 5, "pool.rest.retry.hold", "65KiB are more than all", "runtime.buffers");
    one(&checked(&text).warnings, row);
    assert_eq!(checked(&text.replace("65KiB", "64KiB")).warnings, []);
    let text = pool("eject = {}");
    one(&checked(&text).warnings, (&text, 2, "pool.rest.eject", "the only backend", "add another"));
    let text = format!("[runtime]\nstate_file = \"/x\"\n[admin]\nlisten = []\n{REST}");
    let row = (text.as_str(), 2, "runtime.state_file", "without an admin surface", "admin.listen");
    one(&checked(&text).warnings, row);
}

#[test]
fn settings_about_failures_that_belong_together_are_no_warnings() {
    for lines in [
        "retry.attempts = 0",
        "retry.hold = \"0B\"",
        "retry.on = [\"500\"]",
        "retry.budget = 0",
        "panic_below = 0.5\nhealth = {}",
        "slow_start = \"1s\"",
    ] {
        assert_eq!(checked(&pool(lines)).warnings, [], "{lines}");
    }
    // The one name may have many addresses.
    for address in ["app.internal:80", "_http._tcp.app.internal"] {
        let text = pool("eject = {}").replace("127.0.0.1:2", address);
        assert_eq!(checked(&text).warnings, [], "{address}");
    }
}

/// Pools of a backend each, every one with its fallback; the first stands on line 1.
fn chain(links: &[(&str, &str)]) -> String {
    let pool = |(name, fallback): &(&str, &str)| {
        let fallback =
            if fallback.is_empty() { "health = {}".to_owned() } else { format!("fallback = \"{fallback}\"") };
        format!("[pool.{name}]\n{fallback}\n[[pool.{name}.backend]]\naddress = \"app:1\"\n")
    };
    links.iter().map(pool).collect::<String>() + REST
}

#[test]
fn a_fallback_is_a_pool_that_may_stand_anywhere_and_counts_as_used() {
    let text = chain(&[("b", "a"), ("c", ""), ("a", "")]).replace("pool = \"rest\"", "pool = \"b\"");
    let Checked { config, warnings } = checked(&text);
    assert_eq!(
        config.pools.iter().map(|pool| pool.fallback).collect::<Vec<_>>(),
        [Some(2), None, None, None]
    );
    let unused: Vec<_> = warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(unused, ["pool.c", "pool.rest"]);
}

#[test]
fn a_chain_of_fallbacks_that_leads_back_is_one_fault_with_its_names() {
    for (links, line, key, wrong) in [
        (&[("a", "a")][..], 2, "pool.a.fallback", "began: a → a"),
        (&[("a", "b"), ("b", "a")], 2, "pool.a.fallback", "began: a → b → a"),
        (&[("a", "b"), ("b", "c"), ("c", "b")], 6, "pool.b.fallback", "began: b → c → b"),
        (&[("a", "c"), ("b", "a"), ("c", "b")], 2, "pool.a.fallback", "began: a → c → b → a"),
    ] {
        let text = chain(links);
        one(&faults(&text), (&text, line, key, wrong, "remove the fallback"));
    }
    let two = faults(&chain(&[("a", "a"), ("b", "c"), ("c", "b")]));
    assert_eq!(two.len(), 2, "{two:#?}");
}

#[test]
fn a_fallback_that_is_never_needed_is_a_warning() {
    let text =
        chain(&[("a", "rest")]).replacen("app:1", "10.0.0.1:1", 1).replace("pool = \"rest\"", "pool = \"a\"");
    one(&checked(&text).warnings, (&text, 2, "pool.a.fallback", "ever counts as down", "[pool.a.eject]"));
}
