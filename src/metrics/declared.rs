//! Every metric that weir exports, each declared once: name, help, kind, unit, labels.
//!
//! Only declarations. The exposition, the reference (`config/METRICS.md`) and the tests read them here, so a name or a
//! help text exists in one place.

/// What a metric's samples mean to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Stands for now.
    Gauge,
    /// A distribution: buckets, sum and count.
    Histogram,
}

impl Kind {
    /// Its word in an exposition.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things, or a share.
    One,
    /// Seconds; recorded in µs, divided in one place, the exposition.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// Its word in an exposition and at the end of names; `None`: things have none.
    pub const fn label(self) -> Option<&'static str> {
        match self {
            Self::One => None,
            Self::Seconds => Some("seconds"),
            Self::Bytes => Some("bytes"),
        }
    }
}

/// A metric's declaration.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Ends in its unit, and in `_total` if it is a counter.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What its samples mean.
    pub kind: Kind,
    /// What it counts.
    pub unit: Unit,
    /// Names of the labels, in the order in which their values are given.
    pub labels: &'static [&'static str],
}

/// Declares the metrics and the list of all of them.
macro_rules! metrics {
    ($($name:ident: $kind:ident $text:literal $unit:ident [$($label:literal),*] $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $name: Metric = Metric {
                name: $text,
                help: $help,
                kind: Kind::$kind,
                unit: Unit::$unit,
                labels: &[$($label),*],
            };
        )+

        /// All metrics, in the order in which they are exported.
        pub const ALL: &[&Metric] = &[$(&$name),+];
    };
}

/// What is a backend's own, so that a sum over a pool would say nothing: not there by pool.
pub const NOT_BY_POOL: &[&Metric] = &[&PROBES, &PROBE_TIME, &SHARE, &FAILOVER_LAST];

metrics! {
    BUILD: Gauge "weir_build_info" One ["version"]
        "Always 1; its label says which weir this is.";
    UPTIME: Gauge "weir_uptime_seconds" Seconds []
        "Time since the process began.";
    READY: Gauge "weir_ready" One []
        "1 while /readyz says so.";
    PROCESS_CPU: Counter "process_cpu_seconds_total" Seconds []
        "CPU time of all threads, user and system.";
    PROCESS_RESIDENT: Gauge "process_resident_memory_bytes" Bytes []
        "Memory that the process has in RAM.";
    PROCESS_VIRTUAL: Gauge "process_virtual_memory_bytes" Bytes []
        "Addresses that the process has taken.";
    PROCESS_OPEN: Gauge "process_open_fds" One []
        "Open descriptors.";
    PROCESS_OPEN_MAX: Gauge "process_max_fds" One []
        "Descriptors that the process may open.";
    PROCESS_STARTED: Gauge "process_start_time_seconds" Seconds []
        "When the process began, in Unix time.";
    SHARDS: Gauge "weir_shards" One ["state"]
        "Shards that serve, and shards that ended.";
    CONNECTIONS: Gauge "weir_connections" One ["shard"]
        "Open connections with clients.";
    CONNECTIONS_MAX: Gauge "weir_connections_max" One ["shard"]
        "Connections with clients that the shard may have: runtime.max_connections, or less for want of descriptors.";
    IMBALANCE: Gauge "weir_connections_imbalance" One []
        "The most connections with clients on one shard over the mean of all shards; 1 is even.";
    IDLE_UPSTREAM: Gauge "weir_upstream_connections_idle" One ["shard"]
        "Idle connections with backends, kept for the next request.";
    ACCEPTED: Counter "weir_connections_accepted_total" One ["shard"]
        "Connections accepted from clients.";
    ACCEPT_PAUSES: Counter "weir_accept_pauses_total" One ["shard"]
        "Times that accepting was paused, for want of descriptors or at the shard's limit of connections.";
    REFUSED_CONNECTIONS: Counter "weir_connections_refused_total" One ["listener", "cause"]
        "Connections closed at once, since the listener or the client had as many as the key named by cause allows.";
    EVICTED: Counter "weir_connections_evicted_total" One ["shard"]
        "Connections without an exchange that were ended for new ones, at runtime.max_connections.";
    HANDED_OVER: Counter "weir_connections_handed_over_total" One ["shard"]
        "Connections that the shard accepted and handed to one that had fewer.";
    LIVED_OUT: Counter "weir_connections_lived_out_total" One ["shard", "cause"]
        "Connections with clients that were over the listener's key named by cause (max_age, max_requests) when they ended.";
    UPSTREAM_LIVED_OUT: Counter "weir_upstream_connections_lived_out_total" One ["shard", "cause"]
        "Connections with backends that were closed, between exchanges, for the pool's upstream key named by cause.";
    NOT_KEPT: Counter "weir_not_kept_total" One ["shard"]
        "Answers not held, and request bodies not kept for a retry, since as much was kept already; raise runtime.buffers if it grows.";
    RING_TURNS: Counter "weir_ring_turns_total" One ["shard"]
        "Turns of the shard's loop.";
    RING_COMPLETIONS: Counter "weir_ring_completions_total" One ["shard"]
        "Completions that the shard's ring delivered.";
    RING_PARKS: Counter "weir_ring_parks_total" One ["shard"]
        "Times that the shard slept in the kernel.";
    RING_NO_BUFFERS: Counter "weir_ring_no_buffers_total" One ["shard"]
        "Receives that had to wait for a buffer; raise runtime.buffers if it grows.";
    RING_BUFFERS: Gauge "weir_ring_buffers_in_use" One ["shard"]
        "Receive buffers in use, out of runtime.buffers.";
    RING_BUFFERS_ALL: Gauge "weir_ring_buffers" One ["shard"]
        "Receive buffers that there are (runtime.buffers).";
    RING_PARKED: Counter "weir_ring_parked_seconds_total" Seconds ["shard"]
        "Time that the shard slept in the kernel; the rest is its load.";
    RING_SPUN: Counter "weir_ring_spun_seconds_total" Seconds ["shard"]
        "Time that the shard looked at its ring with nothing to do (runtime.spin).";
    LOOP_STALL: Histogram "weir_loop_stall_seconds" Seconds ["shard"]
        "From a completion in the shard's ring to its handling: the longest that each may have waited for the shard's loop.";
    ACCEPT_DELAY: Histogram "weir_accept_delay_seconds" Seconds ["shard"]
        "From the end of a client's handshake to its accept, to the kernel's tick; what the first of a turn waited, for all of the turn.";
    HANDSHAKES: Counter "weir_tls_handshakes_total" One ["side", "outcome"]
        "TLS handshakes with clients and with backends, by what they came to: full and resumed are done, the others failed.";
    HANDSHAKE_TIME: Histogram "weir_tls_handshake_seconds" Seconds ["shard"]
        "From the accept to the end of a client's TLS handshake, waits for the client and for its turn included.";
    TLS_VERSIONS: Counter "weir_tls_versions_total" One ["version"]
        "TLS handshakes with clients that were done, by the version that was agreed on.";
    HTTP2_CONNECTIONS: Gauge "weir_http2_connections" One ["shard"]
        "Connections with clients that speak HTTP/2, of those in weir_connections.";
    HTTP2_REQUESTS: Counter "weir_http2_requests_total" One ["shard"]
        "Requests that came over HTTP/2, each on a stream of its own.";
    REQUESTS: Counter "weir_requests_total" One ["pool", "backend", "class"]
        "Answers of a backend that were passed on, by the status's class.";
    CALLS: Counter "weir_grpc_calls_total" One ["pool", "backend", "status"]
        "Calls of gRPC whose answer was passed on whole, by the status that the backend ended them with; only statuses that there were.";
    IN_FLIGHT: Gauge "weir_in_flight" One ["pool", "backend"]
        "Exchanges assigned to a backend and not finished, as the shards last reported them.";
    RETRIES: Counter "weir_retries_total" One ["pool", "backend"]
        "Requests sent elsewhere after this backend failed them.";
    RETRIES_DENIED: Counter "weir_retries_denied_total" One ["pool", "backend"]
        "Failures of this backend that the pool's retry budget left no retry for.";
    FAILURES: Counter "weir_upstream_failures_total" One ["pool", "backend", "cause"]
        "Attempts that a backend failed.";
    CONNECTS: Counter "weir_upstream_connects_total" One ["pool", "backend"]
        "New connections made to a backend.";
    CONNECT_TIME: Counter "weir_upstream_connect_seconds_total" Seconds ["pool", "backend"]
        "Time that making new connections to a backend took, in all.";
    BYTES_IN: Counter "weir_request_body_bytes_total" Bytes ["pool", "backend"]
        "Body bytes passed from clients to a backend.";
    BYTES_OUT: Counter "weir_response_body_bytes_total" Bytes ["pool", "backend"]
        "Body bytes passed from a backend to clients.";
    REFUSALS: Counter "weir_refusals_total" One ["cause", "status"]
        "Requests that weir answered by itself (status), or gave up without an answer (status none).";
    STATE: Gauge "weir_backend_state" One ["pool", "backend", "state"]
        "1 for the state that the backend is in; by pool, how many backends are in it.";
    USABLE: Gauge "weir_backend_usable" One ["pool", "backend"]
        "1 while the backend may be picked; by pool, how many may.";
    TRANSITIONS: Counter "weir_backend_transitions_total" One ["pool", "backend"]
        "Changes of a backend's state.";
    PROBES: Counter "weir_probes_total" One ["pool", "backend", "result"]
        "Health checks of a backend that ended, passed or failed.";
    PROBE_TIME: Gauge "weir_probe_duration_seconds" Seconds ["pool", "backend"]
        "How long the last health check of a backend took.";
    WEIGHT: Gauge "weir_backend_weight" One ["pool", "backend"]
        "The backend's weight as it holds now, without slow start.";
    SHARE: Gauge "weir_backend_weight_share" One ["pool", "backend"]
        "Share of its weight that the backend has; below 1 during slow start.";
    EJECTIONS: Counter "weir_ejections_total" One ["pool", "backend"]
        "Times that the backend was ejected for what its exchanges came to.";
    FAILOVERS: Counter "weir_failovers_total" One ["pool", "backend"]
        "Times that the backend failed and every shard stopped picking it.";
    FAILOVER_TIME: Counter "weir_failover_seconds_total" Seconds ["pool", "backend"]
        "Time from the first failure of a backend until the last shard stopped picking it, in all.";
    FAILOVER_LAST: Gauge "weir_failover_last_seconds" Seconds ["pool", "backend"]
        "How long that took the last time.";
    FAILOVER_LOST: Counter "weir_failover_lost_total" One ["pool", "backend"]
        "Exchanges that clients saw fail from the first failure until the last shard stopped picking.";
    POOL_USABLE: Gauge "weir_pool_usable" One ["pool"]
        "Backends of the pool that may be picked.";
    POOL_PANIC: Gauge "weir_pool_panic" One ["pool"]
        "1 while so few backends are healthy that all get traffic (panic_below).";
    SHARD_STALLS: Counter "weir_shard_stalls_total" One ["shard"]
        "Times that the shard's heart did not beat for a second.";
    SHARD_STALLED: Gauge "weir_shard_stalled" One ["shard"]
        "1 while the shard's heart does not beat.";
    SHARD_BEAT: Gauge "weir_shard_heartbeat_age_seconds" Seconds ["shard"]
        "How long ago the shard's heart beat.";
    DEGRADED: Gauge "weir_degraded" One []
        "1 once a shard has ended, so that fewer cores serve than configured.";
    LOG_LINES: Counter "weir_access_log_lines_total" One []
        "Lines written to the access log.";
    LOG_DROPPED: Counter "weir_access_log_dropped_total" One ["shard"]
        "Lines of the access log that were dropped, because what takes them is too slow.";
    LOG_ERRORS: Counter "weir_access_log_write_errors_total" One []
        "Writes to the access log that failed; they are tried again.";
    SPANS: Counter "weir_trace_spans_exported_total" One []
        "Spans of sampled exchanges that the collector has taken.";
    SPANS_DROPPED: Counter "weir_trace_spans_dropped_total" One ["cause"]
        "Spans of sampled exchanges that were dropped, since the collector is too slow, unreachable or refuses them.";
    CONFIG: Gauge "weir_config_info" One ["hash"]
        "Always 1; its label is the hash of the configuration that holds.";
    CONFIG_GENERATION: Gauge "weir_config_generation" One []
        "Changes of what is served since the process began, by reloads and by operators.";
    RELOADS: Counter "weir_config_reloads_total" One ["result"]
        "Reloads of the configuration that succeeded, and that were refused.";
    RELOAD_SUCCESS: Gauge "weir_config_last_reload_success" One []
        "0 if the last reload of the configuration was refused.";
    RELOAD_TIME: Gauge "weir_config_last_reload_success_timestamp_seconds" Seconds []
        "When the configuration that holds was loaded, in Unix time.";
    NEEDS_RESTART: Gauge "weir_config_needs_restart" One []
        "Changes of the configuration file that only a restart can bring.";
    CERTIFICATE_DAYS: Gauge "weir_tls_certificate_days_left" One ["listener", "pool", "file"]
        "How many days the certificate in this file holds yet, less than 0 once it has expired: a listener's, or what a pool's backends are shown.";
    STAPLE_DAYS: Gauge "weir_tls_staple_days_left" One ["listener", "file"]
        "How many days the OCSP response for the certificate in this file holds yet; less than 0: it is not stapled.";
    VIEW_AGE: Histogram "weir_view_age_seconds" Seconds ["shard"]
        "Age of a shard's view of the other shards' in-flight counts, at each pick.";
    PHASES: Histogram "weir_phase_seconds" Seconds ["pool", "backend", "phase"]
        "Length of a part of an exchange: connect, first_byte, whole, and own, which is weir's share.";
}
