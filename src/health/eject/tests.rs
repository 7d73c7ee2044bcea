//! Ejections by what an operator sees, and what holds after any history.

use super::*;
use proptest::prelude::*;

const RULE: Eject = Eject {
    consecutive_failures: 5,
    error_share: 0.5,
    window: Micros::from_s(10),
    base_time: Micros::from_s(10),
    max_share: 0.5,
    latency_factor: 0.0,
};

/// Some time after the clock's zero.
fn at(ms: u64) -> Instant {
    Instant::from_us(1_000_000_000 + ms * 1000)
}

/// A pool whose backends' runs are kept as `balance` keeps them.
struct Pool {
    ejector: Ejector,
    runs: Vec<(u32, Instant)>,
}

impl Pool {
    fn new(rule: Eject, count: u32) -> Self {
        let mut ejector = Ejector::new(rule);
        let members: Vec<_> = (0..count).map(|id| (id, Others::Usable)).collect();
        assert_eq!(ejector.set_members(&members, at(0)), []);
        Self { ejector, runs: vec![(0, Instant::NEVER); count as usize] }
    }

    fn delta(&mut self, id: u32, passed: u64, failed: u64, now: Instant) -> Delta {
        let (run, began) = &mut self.runs[id as usize];
        if passed > 0 {
            *run = 0;
        }
        if *run == 0 && failed > 0 {
            *began = now;
        }
        *run += failed as u32;
        let (run, first_failed_at) = (*run, *began);
        Delta { passed, failed, run, first_failed_at, last: "truncated", ..Delta::default() }
    }

    /// So many passed, then so many failed.
    fn exchanges(&mut self, id: u32, passed: u64, failed: u64, ms: u64) -> Vec<Change> {
        let delta = self.delta(id, passed, failed, at(ms));
        self.ejector.observe(id, &delta, at(ms))
    }

    fn trials(&mut self, id: u32, passed: u64, failed: u64, ms: u64) -> Vec<Change> {
        let delta = self.delta(id, passed, failed, at(ms));
        let delta = Delta { trials_passed: passed, trials_failed: failed, ..delta };
        self.ejector.observe(id, &delta, at(ms))
    }

    /// So many that passed and took so long.
    fn timed(&mut self, id: u32, count: u64, us: u64, ms: u64) -> Vec<Change> {
        let log2_sum = count * ((us as f64).log2() * 256.0) as u64;
        let delta = Delta { timed: count, log2_sum, ..self.delta(id, count, 0, at(ms)) };
        self.ejector.observe(id, &delta, at(ms))
    }

    fn members(&mut self, others: &[Others], ms: u64) -> Vec<Change> {
        let members: Vec<_> = (0..).zip(others.iter().copied()).collect();
        self.ejector.set_members(&members, at(ms))
    }

    fn out(&self, id: u32) -> Option<Out> {
        self.ejector.ejection(id).map(|ejection| ejection.out)
    }
}

fn texts(changes: &[Change]) -> Vec<(u32, &str)> {
    changes.iter().map(|change| (change.backend, &*change.why)).collect()
}

#[test]
fn failures_in_a_row_eject_and_passed_trials_readmit() {
    let mut pool = Pool::new(RULE, 3);
    assert_eq!(pool.exchanges(1, 3, 4, 100), []);
    let changes = pool.exchanges(1, 0, 1, 250);
    assert_eq!(texts(&changes), [(1, "ejected for 10s: 5 failures in a row, the last: truncated")]);
    assert_eq!(changes[0].ruling, Ruling::Ejected { until: at(10_250) });
    assert_eq!(changes[0].first_failed, at(100));
    assert_eq!((pool.ejector.next(), pool.out(1)), (at(10_250), Some(Out::Ejected)));
    // What was still under way.
    assert_eq!(pool.exchanges(1, 1, 9, 300), []);
    assert_eq!(pool.ejector.tick(at(10_249)), []);
    let changes = pool.ejector.tick(at(10_250));
    let text = "on trial, after it was ejected for 10s: 5 failures in a row, the last: truncated";
    assert_eq!((texts(&changes), changes[0].ruling), (vec![(1, text)], Ruling::Tried));
    assert_eq!(pool.exchanges(1, 0, 3, 10_300), [], "what was under way still");
    assert_eq!(pool.trials(1, 4, 0, 10_400), []);
    let changes = pool.trials(1, 1, 0, 10_500);
    assert_eq!(texts(&changes), [(1, "readmitted: 5 trials passed in a row")]);
    assert_eq!((pool.out(1), pool.ejector.next()), (None, Instant::NEVER));
    assert_eq!(pool.exchanges(1, 0, 4, 10_600), [], "judged by what comes from now on");
    assert_eq!(pool.exchanges(1, 0, 1, 10_700).len(), 1);
}

#[test]
fn a_failed_trial_ejects_for_longer_up_to_a_cap_and_a_long_time_well_forgets() {
    let mut pool = Pool::new(RULE, 2);
    let mut now = 0;
    pool.exchanges(0, 0, 5, now);
    for expected_s in [20, 40, 80, 160, 320, 320, 320] {
        now = (pool.ejector.next().as_us() - at(0).as_us()) / 1000;
        assert_eq!(pool.ejector.tick(at(now))[0].ruling, Ruling::Tried);
        pool.trials(0, 2, 0, now);
        let changes = pool.trials(0, 0, 1, now);
        let length = Micros::from_s(expected_s);
        assert_eq!(changes[0].why, format!("ejected for {length}: a trial failed: truncated"));
        assert_eq!(pool.ejector.next(), at(now) + length);
    }
    now += 320_000;
    pool.ejector.tick(at(now));
    pool.trials(0, 5, 0, now);
    // Each hundred seconds forget one.
    for (well_s, expected_s) in [(99, 320), (400, 40), (150, 40), (10_000, 10), (99, 20)] {
        now += well_s * 1000;
        let changes = pool.exchanges(0, 1, 5, now);
        assert!(
            changes[0].why.starts_with(&format!("ejected for {}", Micros::from_s(expected_s))),
            "{well_s}"
        );
        now += expected_s * 1000;
        pool.ejector.tick(at(now));
        assert_eq!(pool.trials(0, 5, 0, now).len(), 1);
    }
}

#[test]
fn a_share_of_failures_ejects_within_a_second_of_load_even_after_a_good_past() {
    for (case, past, per_100ms) in [("fresh", 0, 10), ("a good past", 100, 10), ("a busy one", 100, 200)] {
        let mut pool = Pool::new(RULE, 4);
        for ms in (0..past).map(|n| n * 100) {
            assert_eq!(pool.exchanges(2, per_100ms, 0, ms), [], "{case}");
        }
        let begins = past * 100;
        let ejected = (0..20).find_map(|n| {
            let ms = begins + n * 100;
            // Every other, so never five in a row.
            let changes: Vec<_> =
                (0..per_100ms).flat_map(|n| pool.exchanges(2, 1 - n % 2, n % 2, ms)).collect();
            (!changes.is_empty()).then_some((ms - begins, changes))
        });
        let (after_ms, changes) = ejected.unwrap();
        assert!(after_ms < 1_000, "{case}: after {after_ms} ms");
        assert!(changes[0].why.starts_with("ejected for 10s: 50 % of "), "{case}: {}", changes[0].why);
        assert_eq!(changes[0].first_failed, at(begins), "{case}");
    }
}

#[test]
fn few_failures_and_a_small_share_do_not_eject() {
    let mut pool = Pool::new(RULE, 2);
    for ms in (0..100).map(|n| n * 2_600) {
        assert_eq!(pool.exchanges(0, 0, 1, ms), [], "too few to make a share of");
        assert_eq!(pool.exchanges(0, 1, 0, ms + 1_300), []);
    }
    let mut pool = Pool::new(RULE, 2);
    for ms in (0..2_000).map(|n| n * 10) {
        assert_eq!(pool.exchanges(0, 6, 4, ms), [], "4 of 10");
    }
    let mut pool = Pool::new(Eject { error_share: 0.0, consecutive_failures: 0, ..RULE }, 2);
    for ms in (0..100).map(|n| n * 10) {
        assert_eq!(pool.exchanges(0, 0, 9, ms), [], "neither is asked for");
    }
}

#[test]
fn a_share_of_the_pool_is_rounded_down_but_to_one_at_least() {
    for (max_share, expected) in [
        (0.5, [0, 0, 1, 1, 2, 2, 3]),
        (0.0, [0; 7]),
        (0.1, [0, 0, 1, 1, 1, 1, 1]),
        (1.0, [0, 0, 2, 3, 4, 5, 6]),
    ] {
        let found: Vec<_> = (0..7).map(|count| ejected_max(count, max_share)).collect();
        assert_eq!(found, expected, "{max_share}");
    }
    assert_eq!(ejected_max(10, 0.3), 3);
    for (count, out) in [(1, 0), (2, 1), (3, 1), (4, 2)] {
        let mut pool = Pool::new(RULE, count);
        (0..count).for_each(|id| drop(pool.exchanges(id, 0, 5, 100)));
        assert_eq!((0..count).filter(|&id| pool.out(id).is_some()).count(), out, "of {count}");
    }
}

#[test]
fn the_last_usable_one_stays_is_said_once_and_goes_when_another_comes_back() {
    use Others::{Aside, Down, Usable};
    let mut pool = Pool::new(Eject { max_share: 1.0, ..RULE }, 3);
    assert_eq!(pool.members(&[Usable, Down, Aside], 50), []);
    let changes = pool.exchanges(0, 0, 5, 100);
    let text =
        "not ejected: no other backend of its pool is usable; 5 failures in a row, the last: truncated";
    assert_eq!((texts(&changes), changes[0].ruling), (vec![(0, text)], Ruling::HeldBack));
    for ms in [200, 5_000, 14_000, 23_000] {
        assert_eq!(pool.exchanges(0, 0, 1, ms), [], "said already");
    }
    let changes = pool.members(&[Usable, Usable, Aside], 23_500);
    assert_eq!(texts(&changes), [(0, "ejected for 10s: 9 failures in a row, the last: truncated")]);
    // And now the other way: the last usable one goes.
    let changes = pool.members(&[Usable, Down, Aside], 24_000);
    assert_eq!(texts(&changes), [(0, "readmitted: no other backend of its pool is usable")]);
}

#[test]
fn a_held_back_one_goes_when_another_is_readmitted_and_not_if_it_is_well_again() {
    for (well, expected) in [(0, 2), (1, 1)] {
        let mut pool = Pool::new(RULE, 2);
        pool.exchanges(0, 0, 5, 0);
        assert_eq!(pool.exchanges(1, 0, 5, 9_900)[0].ruling, Ruling::HeldBack);
        pool.ejector.tick(at(10_000));
        pool.exchanges(1, 30 * well, 0, 10_100);
        let changes = pool.trials(0, 5, 0, 10_200);
        assert_eq!(changes.len(), expected, "{changes:?}");
        assert_eq!(pool.out(1).is_some(), well == 0);
    }
}

/// Response times say nothing where no factor is set, not even of one that was held back for its failures.
#[test]
fn nobody_is_too_slow_where_no_latency_factor_is_set() {
    let mut pool = Pool::new(RULE, 6);
    for ms in 0..20 {
        for id in 0..6 {
            let us = if id == 0 { 100_000 } else { 1_000 };
            assert_eq!(pool.timed(id, 20, us, ms * 100), []);
        }
    }
    // Three are out, so a fourth is held back; then it is well, and one of them comes in.
    for id in 1..4 {
        pool.exchanges(id, 0, 5, 2_000);
    }
    assert_eq!(pool.exchanges(0, 0, 5, 2_100)[0].ruling, Ruling::HeldBack);
    assert_eq!(pool.exchanges(0, 30, 0, 2_200), []);
    let changes = pool.ejector.forgive(1, at(2_300));
    assert_eq!(texts(&changes), [(1, "readmitted: the operator said so")]);
    assert_eq!(pool.out(0), None);
}

#[test]
fn an_ejection_outlasts_its_check_and_a_backend_that_is_down_is_not_ejected() {
    use Others::{Down, Usable};
    let mut pool = Pool::new(RULE, 3);
    pool.exchanges(0, 0, 5, 0);
    pool.members(&[Down, Down, Usable], 1_000);
    assert_eq!(pool.exchanges(1, 0, 9, 1_100), []);
    assert_eq!(pool.members(&[Usable, Usable, Usable], 2_000), []);
    assert_eq!(pool.out(0), Some(Out::Ejected));
    assert_eq!(pool.exchanges(1, 0, 4, 2_100), [], "what it failed before is not counted");
    pool.ejector.tick(at(10_000));
    pool.members(&[Down, Usable, Usable], 11_000);
    assert_eq!(pool.ejector.next(), Instant::NEVER, "it waits for its check");
    pool.members(&[Usable, Usable, Usable], 900_000);
    assert_eq!((pool.out(0), pool.ejector.tick(at(1_199_999))), (Some(Out::Trials), vec![]));
    assert_eq!(
        texts(&pool.ejector.tick(at(1_200_000))),
        [(0, "readmitted: no exchange fit for a trial came in 5m")]
    );
}

#[test]
fn the_operator_forgives() {
    let mut pool = Pool::new(RULE, 2);
    pool.exchanges(0, 0, 5, 0);
    assert_eq!(texts(&pool.ejector.forgive(0, at(1_000))), [(0, "readmitted: the operator said so")]);
    assert_eq!(pool.exchanges(0, 0, 4, 1_100), []);
    assert!(pool.exchanges(0, 0, 1, 1_200)[0].why.starts_with("ejected for 10s"), "not repeated");
}

#[test]
fn another_process_goes_on_where_this_one_was() {
    let mut pool = Pool::new(RULE, 3);
    pool.exchanges(0, 0, 5, 0);
    pool.ejector.tick(at(10_000));
    pool.trials(0, 0, 1, 10_000);
    let mut new = Pool::new(RULE, 3);
    (0..3).for_each(|id| new.ejector.restore(id, pool.ejector.carried(id).unwrap()));
    assert_eq!(new.ejector.ejection(0), pool.ejector.ejection(0));
    assert_eq!((new.ejector.next(), new.out(1)), (at(30_000), None));
    new.ejector.tick(at(30_000));
    assert!(new.trials(0, 0, 1, 30_100)[0].why.starts_with("ejected for 40s"));
}

fn slow_rule() -> Eject {
    Eject { latency_factor: 5.0, ..RULE }
}

#[test]
fn a_backend_far_slower_than_its_peers_goes_within_a_second_and_is_not_readmitted_while_slow() {
    for count in [2, 3, 5] {
        let mut pool = Pool::new(slow_rule(), count);
        let mut ejected = None;
        for ms in (0..14_000).step_by(50) {
            // After ten good seconds.
            let slow = if ms < 10_000 { 2_000 } else { 100_000 };
            let peers = (1..count).flat_map(|id| pool.timed(id, 10, 2_000, ms)).count();
            assert_eq!(peers, 0);
            let changes = [pool.timed(0, 2, slow, ms), pool.ejector.tick(at(ms))].concat();
            if ejected.is_none() && !changes.is_empty() {
                ejected = Some((ms, changes));
            }
        }
        let (ms, changes) = ejected.unwrap();
        assert!((10_200..11_000).contains(&ms), "{count}: {ms}");
        assert!(changes[0].why.contains(" times slower than the pool's median"), "{}", changes[0].why);
        pool.ejector.tick(at(25_000));
        (1..count).for_each(|id| drop(pool.timed(id, 10, 2_000, 25_000)));
        let log2_sum = (100_000_f64.log2() * 256.0) as u64;
        let slow = Delta { passed: 1, trials_passed: 1, timed: 1, log2_sum, ..Delta::default() };
        let changes = pool.ejector.observe(0, &slow, at(25_100));
        assert_eq!(
            texts(&changes),
            [(0, "ejected for 20s: a trial was 50 times slower than the pool's median")]
        );
    }
}

#[test]
fn what_slows_the_whole_pool_or_by_little_ejects_nobody() {
    for (case, fast_us, slow_us, whole) in
        [("a database stalls", 2_000, 500_000, true), ("microseconds", 80, 2_000, false)]
    {
        let mut pool = Pool::new(slow_rule(), 3);
        for ms in (0..6_000).step_by(20) {
            let slow = |id| if ms >= 3_000 && (whole || id == 0) { slow_us } else { fast_us };
            for id in 0..3 {
                let changes = [pool.timed(id, 10, slow(id), ms), pool.ejector.tick(at(ms))].concat();
                assert_eq!(changes, [], "{case}");
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Exchanges(u32, u64, u64),
    Trials(u32, u64, u64),
    Timed(u32, u64),
    Others(u32, Others),
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let id = 0..6_u32;
    let others = prop_oneof![3 => Just(Others::Usable), 1 => Just(Others::Down), 1 => Just(Others::Aside)];
    let step = prop_oneof![
        4 => (id.clone(), 0..3_u64, 0..7_u64).prop_map(|(id, p, f)| Step::Exchanges(id, p, f)),
        3 => (id.clone(), 0..4_u64, 0..10_u64).prop_map(|(id, p, f)| Step::Trials(id, p, f / 8)),
        2 => (id.clone(), 1_000..200_000_u64).prop_map(|(id, us)| Step::Timed(id, us)),
        2 => (id, others).prop_map(|(id, others)| Step::Others(id, others)),
    ];
    prop::collection::vec((0..4_000_u64, step), 1..150)
}

/// Whether `changes` at `ms` are right: never more than the share, never the last usable, each time no shorter.
/// `last`: how long each backend was ejected for last, and when.
fn judge(
    pool: &Pool,
    others: &[Others],
    changes: &[Change],
    max_share: f64,
    ms: u64,
    last: &mut [(Micros, u64)],
) -> Result<(), TestCaseError> {
    let counted = others.iter().filter(|&&others| others != Others::Aside).count();
    let out = |id: usize| pool.out(id as u32).is_some();
    for change in changes {
        let Ruling::Ejected { until } = change.ruling else { continue };
        let id = change.backend as usize;
        prop_assert!(out(id));
        let trial = change.why.contains("a trial");
        let all = (0..others.len()).filter(|&id| others[id] != Others::Aside && out(id)).count();
        prop_assert!(trial || all <= ejected_max(counted, max_share), "{all} of {counted} out");
        let remains = (0..others.len()).any(|id| others[id] == Others::Usable && !out(id));
        prop_assert!(trial || remains, "the last usable one");
        let (before, at_ms) = last[id];
        let length = until.since(at(ms));
        prop_assert!(length <= Micros::from_s(320));
        // A hundred seconds well forget one repetition.
        prop_assert!(length >= before || ms - at_ms >= 100_000, "{length} after {before}");
        last[id] = (length, ms);
    }
    Ok(())
}

proptest! {
    #[test]
    fn never_more_than_the_share_never_the_last_usable_and_each_time_no_shorter(
        count in 1..6_u32,
        max_share in 0.0..1.0_f64,
        steps in steps(),
    ) {
        let mut pool = Pool::new(Eject { max_share, ..slow_rule() }, count);
        let mut others = vec![Others::Usable; count as usize];
        let mut last = vec![(Micros::ZERO, 0_u64); count as usize];
        let mut ms = 0;
        for (later, step) in steps {
            ms += later;
            // What was due is judged by who was there then, not by what the step makes of it.
            let due = pool.ejector.tick(at(ms));
            judge(&pool, &others, &due, max_share, ms, &mut last)?;
            let changes = match step {
                Step::Exchanges(id, p, f) if id < count => pool.exchanges(id, p, f, ms),
                Step::Trials(id, p, f) if id < count && p + f > 0 => pool.trials(id, p, f, ms),
                Step::Timed(id, us) if id < count => pool.timed(id, 9, us, ms),
                Step::Others(id, new) if id < count => {
                    others[id as usize] = new;
                    pool.members(&others, ms)
                }
                _ => continue,
            };
            prop_assert!(pool.ejector.next() > at(ms), "what is due was done");
            judge(&pool, &others, &changes, max_share, ms, &mut last)?;
            let out = |id: usize| pool.out(id as u32).is_some();
            let usable = |id: &usize| others[*id] == Others::Usable;
            let nobody = (0..others.len()).filter(usable).all(out);
            prop_assert!(!nobody || (0..others.len()).filter(usable).count() == 0, "nobody serves");
        }
    }
}
