//! States of backends, of the process's readiness and of its end: each explained.
//!
//! The matches have no `_`, so that a state that is new does not build before it is explained.

use super::explanation::{Explanation, Kind};
use crate::control::NotReady;
use crate::fleet::ExitReason;
use crate::health::Condition;

/// A state of a backend.
pub(super) fn condition(condition: Condition) -> Explanation {
    const WHY: (&str, &str) = ("weir ctl backends", "since when, and why, in the last column");
    const LOG: (&str, &str) = ("the log", "\"backend is …\", with `from` and `why`, once for each change");
    let of = |title, text| Explanation::new(Kind::State, condition.word(), title, text);
    match condition {
        Condition::NoCheck => of(
            "it gets traffic; nothing checks it",
            "The pool has no [pool.NAME.health], so a backend always counts as up. One that dies is noticed by the \
             requests that fail there, each of which is tried elsewhere if that is safe.",
        )
        .act(&["Add [pool.NAME.health]; and [pool.NAME.eject] for backends that live and fail."]),
        Condition::Unchecked => of(
            "no check of it has ended yet, so it gets no traffic",
            "weir has just started, or the backend was just added. The first check decides, within \
             pool.NAME.health.timeout (1s).",
        )
        .look(&[WHY])
        .act(&["Wait. If it stays so for longer than the timeout, look at the log: weir may be short of memory or \
                descriptors for its checks."]),
        Condition::Up => of(
            "its check passes, and it gets its share of the traffic",
            "During pool.NAME.slow_start its share grows from 5 % to the whole; weir_backend_weight_share says how \
             far it is. A backup gets traffic only when no other backend is usable.",
        )
        .look(&[WHY]),
        Condition::Down => of(
            "its check fails, so it gets no traffic",
            "pool.NAME.health.fall (3) checks in a row failed. It is checked on, every interval_down, and comes back \
             after rise (2) that pass. The backend's fault, or that of a check that asks for something that it does \
             not answer.",
        )
        .look(&[
            WHY,
            ("weir_probes_total{result=\"failed\"}", "how many checks failed"),
            ("curl -v http://ADDRESS/PATH", "as the check asks: method, path, host of pool.NAME.health"),
        ])
        .act(&[
            "Start or mend the backend.",
            "Or mend the check: path, host, expect (\"200-399\"), timeout (1s) of pool.NAME.health.",
            "If all go down at once it is more likely the check or the network: pool.NAME.panic_below = 0.3 then \
             sends traffic to all.",
        ]),
        Condition::Ejected => of(
            "its exchanges failed, so it gets no traffic for a while",
            "What [pool.NAME.eject] says happened: failures in a row, a share of failures, or answers far slower \
             than the others'. It is out for base_time (10s), doubled with each repetition up to 32 times; then it is \
             on trial. Its check may well pass meanwhile.",
        )
        .look(&[
            WHY,
            ("weir_upstream_failures_total", "what failed there, by cause"),
            ("weir_ejections_total", "how often it was ejected"),
        ])
        .act(&[
            "Mend the backend; weir ctl ready POOL NAME then readmits it at once.",
            "If it is ejected for nothing: raise consecutive_failures (5) or error_share (0.5), or set \
             latency_factor to 0.",
        ]),
        Condition::Trial => of(
            "it was ejected, and gets a trickle of requests to see",
            "One request in 100 ms, and only such as can be tried again elsewhere, so that no client pays. Five that \
             pass in a row readmit it; one that fails ejects it again, for twice as long.",
        )
        .look(&[WHY])
        .act(&["Wait; or weir ctl ready POOL NAME readmits it at once."]),
        Condition::Draining => of(
            "an operator drains it: what is under way ends, nothing new begins",
            "By weir ctl drain. It is checked on. The state outlives a restart only with runtime.state_file, and ends \
             when the backend's configuration changes.",
        )
        .look(&[WHY, ("weir_in_flight", "what is still under way there")])
        .act(&["weir ctl ready POOL NAME sends it traffic again, as its check says."]),
        Condition::Maintenance => of(
            "an operator took it out, and it is not checked",
            "By weir ctl maintenance. What was under way ends, nothing new begins. The state outlives a restart only \
             with runtime.state_file, and ends when the backend's configuration changes.",
        )
        .look(&[WHY, LOG])
        .act(&["weir ctl ready POOL NAME has it checked, and sends it traffic once a check has passed."]),
    }
}

/// All reasons for not being ready; what they say of a particular pool does not matter.
pub(super) fn reasons() -> [NotReady; 4] {
    [NotReady::ShuttingDown, NotReady::NoShard, NotReady::Unchecked(String::new()), NotReady::Unheard]
}

/// Why weir is not ready.
pub(super) fn not_ready(reason: &NotReady) -> Explanation {
    let of = |word, title, text| Explanation::new(Kind::NotReady, word, title, text);
    match reason {
        NotReady::ShuttingDown => of(
            "shutting_down",
            "a signal came, or a successor has taken over",
            "From SIGTERM or SIGINT on, /readyz answers 503, so that whoever stands in front sends no more. weir goes \
             on accepting for runtime.shutdown_delay (0s), then finishes what it has within runtime.grace (30s).",
        )
        .act(&["Set runtime.shutdown_delay longer than what stands in front takes to notice, such as \"10s\"."]),
        NotReady::NoShard => of(
            "no_shard",
            "no shard is left that serves",
            "Every shard's thread has ended, and the process is about to. A fault of weir or of the host.",
        )
        .look(&[("weir ctl shards", "what each of them ended with"), ("the log", "\"shard ended\", with `error`")])
        .act(&["Restart weir, and report the log's lines: this should not happen."]),
        NotReady::Unchecked(_) => of(
            "unchecked",
            "the first health checks of a pool have not ended",
            "A pool has no usable backend and one whose first check is still under way, so it is not known whether \
             traffic could be served. A pool that is known to be down does not make weir unready: others may be up.",
        )
        .look(&[("weir ctl backends", "which backends are unchecked")])
        .act(&["Wait for pool.NAME.health.timeout (1s)."]),
        NotReady::Unheard => of(
            "unheard",
            "some shard does not know yet which backends are usable",
            "What the first checks have found is on its way to the shards: a matter of milliseconds, at the start alone. \
             If it stays, a shard does not run.",
        )
        .look(&[("weir ctl shards", "what each of them does, and for how long")]),
    }
}

/// What the process's exit code says, for each way to its end.
pub(super) const fn exit_reason(reason: ExitReason) -> &'static str {
    match reason {
        ExitReason::Drained => "told to end, and all that was under way was finished",
        ExitReason::GraceOver => "told to end, and grace was over first",
        ExitReason::SecondSignal => "told to end twice, so work was cut off",
        ExitReason::NoShardLeft => "no shard was left that serves",
        ExitReason::ShardLost => "a shard died, with runtime.on_shard_loss = \"exit\"",
    }
}

/// All ways to the end.
pub(super) const EXIT_REASONS: [ExitReason; 5] = [
    ExitReason::Drained,
    ExitReason::GraceOver,
    ExitReason::SecondSignal,
    ExitReason::NoShardLeft,
    ExitReason::ShardLost,
];

/// The exit codes of all commands.
pub(super) const EXIT: Explanation = Explanation::new(
    Kind::Exit,
    "exit",
    "the exit codes of weir's commands",
    "0 all is well. 1 the host refused: a taken port, no io_uring; or, of weir ctl, weir refused or could not. 2 the \
     arguments or the configuration are wrong, something is missing (weir doctor), or the word is unknown (weir \
     explain). 3 weir ctl found no weir to ask.",
)
.look(&[("stderr", "each line of what went wrong begins with \"weir: \"")])
.act(&[
    "Of 2: weir check --config FILE lists all faults of a file with line and remedy. A supervisor should not \
     restart on it, and config/weir.service does not.",
    "Of 3: say where weir is, by --admin or WEIR_ADMIN; admin.listen in its file has the address.",
]);
