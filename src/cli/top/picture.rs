//! What is known of weir: now, and the last ten minutes, laid out over as many columns as there are.
//!
//! Pure. Kept by `state`, read by `draw` and `once`.

use super::feed::News;
use crate::admin::live::model::{Figures, History, Live, LiveBackend, LivePool, Slot};

/// How much of the past is shown, in ms.
const SPAN_MS: u64 = 600_000;

/// What is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Picture {
    /// The latest news; `None`: there were none yet.
    pub(super) live: Option<Live>,
    /// Length of a slot in seconds.
    pub(super) slot_s: u64,
    bounds_us: Vec<u64>,
    slots: Vec<Slot>,
}

/// How one phase's lengths lay in the past: a row for each range of lengths, the longest first.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Heat {
    pub(super) rows: Vec<HeatRow>,
}

/// One range of lengths.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HeatRow {
    /// Up to here, in µs; `None`: longer than all that is told apart.
    pub(super) up_to_us: Option<u64>,
    /// By column, oldest first: the share of what came then, 0 to 1; `None`: nothing came then.
    pub(super) shares: Vec<Option<f64>>,
}

impl Picture {
    /// Takes in what weir has told.
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::History(history) => self.begin(history),
            News::Slot(slot) => {
                self.slots.retain(|other| other.at_ms != slot.at_ms);
                self.slots.push(slot);
                self.forget();
            }
            News::Live(live) => {
                self.live = Some(*live);
                self.forget();
            }
            News::Lost(..) => {}
        }
    }

    /// A stream begins. A new process knows less of the past than is known here.
    fn begin(&mut self, history: History) {
        let History { slot_s, bounds_us, slots } = history;
        let first = slots.first().map_or(u64::MAX, |slot| slot.at_ms);
        if self.slot_s == slot_s && self.bounds_us == bounds_us {
            self.slots.retain(|slot| slot.at_ms < first);
        } else {
            self.slots.clear();
        }
        self.slots.extend(slots);
        (self.slot_s, self.bounds_us) = (slot_s, bounds_us);
    }

    fn forget(&mut self) {
        let begin = self.end_ms().saturating_sub(SPAN_MS + self.slot_ms());
        self.slots.retain(|slot| slot.at_ms >= begin);
    }

    fn slot_ms(&self) -> u64 {
        self.slot_s.saturating_mul(1_000)
    }

    /// The right edge of the past.
    fn end_ms(&self) -> u64 {
        let last = self.slots.last().map_or(0, |slot| slot.at_ms.saturating_add(self.slot_ms()));
        self.live.as_ref().map_or(last, |live| live.at_ms)
    }

    /// The pools, in the configuration's order.
    pub(super) fn pools(&self) -> &[LivePool] {
        self.live.as_ref().map_or(&[], |live| &live.pools)
    }

    /// Every backend with its pool, in the order in which they are shown.
    pub(super) fn backends(&self) -> impl Iterator<Item = (&LivePool, &LiveBackend)> {
        self.pools().iter().flat_map(|pool| pool.backends.iter().map(move |backend| (pool, backend)))
    }

    /// The most that one shard has in flight at one backend: the bars' scale.
    pub(super) fn in_flight_max(&self) -> u32 {
        self.backends()
            .flat_map(|(_, backend)| backend.in_flight_per_shard.iter().copied())
            .max()
            .unwrap_or(0)
    }

    /// One figure of a backend over the last ten minutes, oldest first; where several values meet in a column,
    /// the largest, so that no peak is lost. The last column is now.
    pub(super) fn past(
        &self,
        pool: &str,
        backend: &LiveBackend,
        columns: usize,
        figure: impl Fn(&Figures) -> Option<f64>,
    ) -> Vec<Option<f64>> {
        let mut values = vec![None; columns];
        let mut put = |column: usize, value: Option<f64>| {
            if let Some(place) = values.get_mut(column) {
                *place = match (*place, value) {
                    (Some(one), Some(two)) => Some(f64::max(one, two)),
                    (one, two) => one.or(two),
                };
            }
        };
        for slot in &self.slots {
            let of_it = |other: &&crate::admin::live::model::BackendSlot| {
                other.backend == backend.name && other.pool == pool
            };
            let Some(found) = slot.backends.iter().find(of_it) else { continue };
            self.columns_of(slot, columns).for_each(|column| put(column, figure(&found.figures)));
        }
        put(columns.saturating_sub(1), figure(&backend.figures));
        values
    }

    /// The columns that a slot covers, of so many.
    fn columns_of(&self, slot: &Slot, columns: usize) -> std::ops::Range<usize> {
        let begin = self.end_ms().saturating_sub(SPAN_MS);
        let over = slot.at_ms.saturating_add(self.slot_ms());
        if over <= begin || columns == 0 {
            return 0..0;
        }
        let place = |at_ms: u64| at_ms.saturating_sub(begin).min(SPAN_MS) as usize * columns;
        let (from, to) = (place(slot.at_ms) / SPAN_MS as usize, place(over).div_ceil(SPAN_MS as usize));
        from.min(columns - 1)..to.min(columns)
    }

    /// How the lengths of one phase lay over the last ten minutes, in at most so many rows. What never came is
    /// left out above and below.
    pub(super) fn heat(&self, phase: &str, columns: usize, rows_max: usize) -> Heat {
        let buckets = self.bounds_us.len() + 1;
        let mut counts = vec![vec![0_u64; buckets]; columns];
        for slot in &self.slots {
            let Some(found) = slot.phases.iter().find(|other| other.phase == phase) else { continue };
            for column in self.columns_of(slot, columns) {
                let into = counts[column].iter_mut().zip(&found.counts);
                into.for_each(|(sum, count)| *sum = sum.saturating_add(*count));
            }
        }
        let came = |bucket: &usize| counts.iter().any(|column| column[*bucket] > 0);
        let Some(first) = (0..buckets).find(came) else { return Heat { rows: Vec::new() } };
        let last = (0..buckets).rev().find(came).unwrap_or(first);
        let together = (last - first + 1).div_ceil(rows_max.max(1));
        let row = |from: usize| {
            let range = from..(from + together).min(buckets);
            let share = |column: &Vec<u64>| {
                let all: u64 = column.iter().sum();
                let here: u64 = column[range.clone()].iter().sum();
                (all > 0).then(|| here as f64 / all as f64)
            };
            HeatRow {
                up_to_us: self.bounds_us.get(range.end - 1).copied(),
                shares: counts.iter().map(share).collect(),
            }
        };
        let mut rows: Vec<HeatRow> = (first..=last).step_by(together).map(row).collect();
        rows.reverse();
        Heat { rows }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::scene;
    use super::*;
    use crate::admin::live::model::PhaseCounts;

    fn slot(at_s: u64, counts: &[u64]) -> Slot {
        let phases = vec![PhaseCounts { phase: "whole".to_owned(), counts: counts.to_vec() }];
        Slot { at_ms: at_s * 1_000, phases, backends: Vec::new() }
    }

    fn of(slots: Vec<Slot>) -> Picture {
        let mut picture = Picture::default();
        picture.hear(News::History(History { slot_s: 10, bounds_us: vec![100, 200, 400, 800], slots }));
        picture
    }

    #[test]
    fn lengths_lie_in_time_the_longest_above_and_what_never_came_is_left_out() {
        let picture = of(vec![slot(1_000, &[0, 3, 1, 0, 0]), slot(1_590, &[0, 0, 0, 2, 0])]);
        let heat = picture.heat("whole", 60, 10);
        let bounds: Vec<_> = heat.rows.iter().map(|row| row.up_to_us).collect();
        assert_eq!(bounds, [Some(800), Some(400), Some(200)]);
        assert_eq!(heat.rows[2].shares[0], Some(0.75));
        assert_eq!(heat.rows[1].shares[0], Some(0.25));
        assert_eq!(heat.rows[0].shares[59], Some(1.0));
        assert!(heat.rows.iter().all(|row| row.shares[1..59].iter().all(Option::is_none)));
        assert!(picture.heat("connect", 60, 10).rows.is_empty());
    }

    #[test]
    fn rows_that_do_not_fit_are_put_together_and_the_unbounded_one_says_so() {
        let picture = of(vec![slot(1_000, &[1, 1, 1, 0, 1])]);
        let heat = picture.heat("whole", 3, 2);
        let rows: Vec<_> = heat.rows.iter().map(|row| (row.up_to_us, row.shares[2])).collect();
        assert_eq!(rows, [(None, Some(0.25)), (Some(400), Some(0.75))]);
    }

    #[test]
    fn a_new_process_adds_to_the_past_that_is_known_and_what_is_old_goes() {
        let mut picture = of(vec![slot(1_000, &[1, 0, 0, 0, 0]), slot(1_010, &[1, 0, 0, 0, 0])]);
        let begun = vec![slot(1_010, &[0, 1, 0, 0, 0])];
        picture.hear(News::History(History {
            slot_s: 10,
            bounds_us: vec![100, 200, 400, 800],
            slots: begun,
        }));
        assert_eq!(picture.slots.iter().map(|slot| slot.at_ms).collect::<Vec<_>>(), [1_000_000, 1_010_000]);
        assert_eq!(picture.slots[1].phases[0].counts[1], 1);
        picture.hear(News::Slot(slot(1_610, &[1, 0, 0, 0, 0])));
        assert_eq!(picture.slots.len(), 2);
        picture.hear(News::History(History { slot_s: 5, bounds_us: vec![100], slots: Vec::new() }));
        assert!(picture.slots.is_empty());
    }

    #[test]
    fn a_figure_of_the_past_keeps_its_peaks_and_ends_with_now() {
        let mut picture = Picture::default();
        scene::told(scene::busy()).into_iter().for_each(|news| picture.hear(news));
        let (pool, backend) = picture.backends().next().unwrap();
        let past = |columns| picture.past(&pool.name, backend, columns, |f| f.p99_us.map(|us| us as f64));
        let fine = past(60);
        let peak = fine.iter().flatten().copied().fold(0.0, f64::max);
        let coarse = past(7);
        assert_eq!(coarse.iter().flatten().copied().fold(0.0, f64::max), peak);
        assert!(fine[59] >= backend.figures.p99_us.map(|us| us as f64));
        assert!(past(0).is_empty() && past(600).len() == 600);
    }
}
