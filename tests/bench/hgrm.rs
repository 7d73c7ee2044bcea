//! A reader of `.hgrm` files, as strict as HdrHistogram's plotters are lenient.

/// A line: the value in ms, the share of all values up to it, and how many those are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) ms: f64,
    pub(crate) share: f64,
    pub(crate) count: u64,
}

/// A file's contents.
#[derive(Debug)]
pub(crate) struct Hgrm {
    pub(crate) rows: Vec<Row>,
    pub(crate) mean_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) total: u64,
}

impl Hgrm {
    /// Reads a file, and checks that it is consistent in itself.
    pub(crate) fn read(text: &str) -> Self {
        let mut lines = text.lines();
        let headings: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(headings, ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]);
        assert_eq!(lines.next(), Some(""));
        let (feet, rows): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with('#'));
        let rows: Vec<Row> = rows.iter().map(|line| row(line)).collect();
        let (mean_ms, _) = pair(feet[0], "Mean", "StdDeviation");
        let (max_ms, total) = pair(feet[1], "Max", "Total count");
        let (buckets, halves) = pair(feet[2], "Buckets", "SubBuckets");
        assert!(feet.len() == 3 && buckets > 0.0 && halves > 0.0, "{feet:?}");
        for two in rows.windows(2) {
            let ascend =
                two[0].ms <= two[1].ms && two[0].share < two[1].share && two[0].count <= two[1].count;
            assert!(ascend, "{two:?}");
        }
        let last = rows.last().unwrap();
        assert!(last.share == 1.0 && last.count == total as u64 && last.ms == max_ms, "{last:?} of {total}");
        Self { rows, mean_ms, max_ms, total: total as u64 }
    }

    /// How many values are over `ms`, at least and at most.
    pub(crate) fn over(&self, ms: f64) -> (u64, u64) {
        let below = self.rows.iter().filter(|row| row.ms <= ms).map(|row| row.count).max().unwrap_or(0);
        // Those of the first line beyond are over it, but for some that may be under.
        let above = self.rows.iter().find(|row| row.ms > ms).map_or(self.total, |row| row.count);
        (self.total - above, self.total - below)
    }
}

fn row(line: &str) -> Row {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (ms, share): (f64, f64) = (words[0].parse().unwrap(), words[1].parse().unwrap());
    match words.get(3) {
        Some(inverse) => {
            let inverse: f64 = inverse.parse().unwrap();
            assert!((inverse * (1.0 - share) - 1.0).abs() < 0.01, "{line}");
        }
        None => assert_eq!(share, 1.0, "only the last line has no inverse: {line}"),
    }
    Row { ms, share, count: words[2].parse().unwrap() }
}

/// "#[Max     =       10.007, Total count    =         1000]"
fn pair(line: &str, first: &str, second: &str) -> (f64, f64) {
    let inside = line.strip_prefix("#[").unwrap().strip_suffix(']').unwrap();
    let parts: Vec<(&str, &str)> = inside.split(',').map(|part| part.split_once('=').unwrap()).collect();
    assert_eq!(parts.iter().map(|(name, _)| name.trim()).collect::<Vec<_>>(), [first, second]);
    (parts[0].1.trim().parse().unwrap(), parts[1].1.trim().parse().unwrap())
}
