//! One picture as plain text: for scripts, for `watch`, for a log.

use super::draw::{ago, lost, rate, share, step};
use super::picture::Picture;
use crate::admin::live::model::{Figures, Live, LiveBackend, LivePool};
use crate::cli::table::{Column, Paint, age, count, length, numbers, percent, printable, table, words};

const NONE: &str = "-";

/// How many of the last transitions are told.
const TRANSITIONS: usize = 10;

/// All that is known, as tables.
pub(super) fn text(picture: &Picture, admin: &str, paint: Paint) -> String {
    let Some(live) = &picture.live else { return String::new() };
    [
        head(live, admin),
        backends(picture, paint),
        phases(live, paint),
        shards(live, paint),
        transitions(live, paint),
    ]
    .join("\n")
}

fn micros(us: Option<u64>) -> String {
    us.map_or(NONE.to_owned(), length)
}

fn head(live: &Live, admin: &str) -> String {
    let ready = match (&live.why, live.ready) {
        (_, true) => "ready".to_owned(),
        (why, false) => format!("not ready: {}", printable(why.as_deref().unwrap_or(NONE))),
    };
    let Figures { requests_per_s, error_share, in_flight, p50_us, p90_us, p99_us, p99_9_us } = live.total;
    let mut text = format!(
        "weir {}  {admin}  up {}  {ready}\n\
         {} req/s  errors {}  refused {}/s  in flight {}  p50 {}  p90 {}  p99 {}  p99.9 {}\n",
        printable(&live.version),
        age(live.uptime_s),
        rate(requests_per_s),
        share(error_share),
        rate(live.refusals_per_s),
        count(in_flight.into()),
        micros(p50_us),
        micros(p90_us),
        micros(p99_us),
        micros(p99_9_us),
    );
    for pool in live.pools.iter().filter(|pool| pool.panic) {
        let name = printable(&pool.name);
        text.push_str(&format!("pool {name} is in panic: too few are healthy, so all get traffic\n"));
    }
    text
}

fn backends(picture: &Picture, paint: Paint) -> String {
    const COLUMNS: [Column; 13] = [
        words("POOL"),
        words("BACKEND"),
        words("STATE"),
        words("SINCE"),
        numbers("WEIGHT"),
        numbers("IN-FLIGHT"),
        words("BY SHARD"),
        numbers("REQ/S"),
        numbers("ERRORS"),
        numbers("P50"),
        numbers("P99"),
        numbers("P99.9"),
        words("WHY"),
    ];
    let row = |(pool, backend): (&LivePool, &LiveBackend)| {
        let figures = &backend.figures;
        let by_shard: Vec<String> = backend.in_flight_per_shard.iter().map(u32::to_string).collect();
        let mut weight = backend.weight.to_string();
        if backend.share < 1.0 {
            weight = format!("{weight} at {}", percent(backend.share));
        }
        vec![
            pool.name.clone(),
            backend.name.clone(),
            backend.state.clone(),
            age(backend.since_s),
            if backend.backup { format!("backup {weight}") } else { weight },
            count(figures.in_flight.into()),
            by_shard.join(" "),
            rate(figures.requests_per_s),
            share(figures.error_share),
            micros(figures.p50_us),
            micros(figures.p99_us),
            micros(figures.p99_9_us),
            backend.why.clone(),
        ]
    };
    let rows: Vec<_> = picture.backends().map(row).collect();
    if rows.is_empty() { "there are no backends\n".to_owned() } else { table(&COLUMNS, &rows, paint) }
}

fn phases(live: &Live, paint: Paint) -> String {
    const COLUMNS: [Column; 5] =
        [words("PHASE"), numbers("P50"), numbers("P90"), numbers("P99"), numbers("P99.9")];
    let rows: Vec<_> = live
        .phases
        .iter()
        .map(|phase| {
            let marks = [phase.p50_us, phase.p90_us, phase.p99_us, phase.p99_9_us];
            std::iter::once(phase.phase.replace('_', " ")).chain(marks.map(micros)).collect()
        })
        .collect();
    table(&COLUMNS, &rows, paint)
}

fn shards(live: &Live, paint: Paint) -> String {
    const COLUMNS: [Column; 10] = [
        numbers("SHARD"),
        words("STATE"),
        numbers("CONNECTIONS"),
        numbers("IN-FLIGHT"),
        numbers("LOAD"),
        numbers("TURNS/S"),
        numbers("STALL P50"),
        numbers("STALL P99"),
        numbers("VIEW P99"),
        numbers("BUFFERS"),
    ];
    let rows: Vec<_> = live
        .shards
        .iter()
        .map(|shard| {
            vec![
                shard.number.to_string(),
                shard.state.clone(),
                count(shard.connections.into()),
                count(shard.in_flight.into()),
                percent(shard.load),
                rate(shard.turns_per_s),
                micros(shard.stall_p50_us),
                micros(shard.stall_p99_us),
                micros(shard.view_age_p99_us),
                count(shard.buffers_in_use),
            ]
        })
        .collect();
    table(&COLUMNS, &rows, paint)
}

fn transitions(live: &Live, paint: Paint) -> String {
    const COLUMNS: [Column; 7] = [
        numbers("AGO"),
        words("POOL"),
        words("BACKEND"),
        words("FROM → TO"),
        numbers("FAILOVER"),
        numbers("LOST"),
        words("WHY"),
    ];
    let rows: Vec<_> = live
        .transitions
        .iter()
        .take(TRANSITIONS)
        .map(|transition| {
            vec![
                ago(live, transition),
                transition.pool.clone(),
                transition.backend.clone(),
                step(transition),
                micros(transition.failover_us),
                lost(transition),
                transition.why.clone(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "no backend has changed its state\n".to_owned();
    }
    table(&COLUMNS, &rows, paint)
}

#[cfg(test)]
mod tests {
    use super::super::scene;
    use super::*;

    #[test]
    fn all_of_it_is_told_in_lines() {
        let mut picture = Picture::default();
        scene::told(scene::busy()).into_iter().for_each(|news| picture.hear(news));
        let text = text(&picture, "127.0.0.1:9900", Paint::Plain);
        let expected = "\
weir 0.1.0  127.0.0.1:9900  up 3h 5m  ready
2,469 req/s  errors 0.4 %  refused 0.5/s  in flight 7  p50 840 µs  p90 1.68 ms  p99 3.36 ms  p99.9 8.40 ms
";
        assert!(text.starts_with(expected), "{text}");
        for part in [
            "app     two",
            "3 checks failed: connection refused (os error 111)",
            "backup 10 at 50 %",
            "own",
            "stalled",
            "up → down",
            "new → up",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }
}
