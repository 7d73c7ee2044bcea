//! Quantities as characters: lines of the past, bars, shades.

/// From little to much, eight steps.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A block for a value on a scale that ends at `most`; what is above zero is more than the lowest step only if
/// it is more than an eighth.
fn block(value: f64, most: f64) -> char {
    let step = if most > 0.0 { (value / most * 8.0).ceil() as usize } else { 0 };
    BLOCKS[step.clamp(1, 8) - 1]
}

/// Values in their order, from zero to the largest of them; a blank where there was none.
pub(super) fn past(values: &[Option<f64>]) -> String {
    let most = peak(values).unwrap_or(0.0);
    values.iter().map(|value| value.map_or(' ', |value| block(value, most))).collect()
}

/// The largest of them.
pub(super) fn peak(values: &[Option<f64>]) -> Option<f64> {
    values.iter().flatten().copied().reduce(f64::max)
}

/// A block for each count, in at most so many cells: where there are more counts, the largest of several. A dot
/// for none. The scale ends at `most`, and not below 8, so that one exchange does not look like many.
pub(super) fn blocks(counts: &[u32], most: u32, cells: usize) -> String {
    let together = counts.len().div_ceil(cells.max(1)).max(1);
    let most = f64::from(most.max(8));
    let of = |several: &[u32]| match several.iter().max() {
        None | Some(0) => '·',
        Some(count) => block(f64::from(*count), most),
    };
    counts.chunks(together).map(of).collect()
}

/// A share as a bar of so many cells, the rest dotted.
pub(super) fn bar(share: f64, cells: usize) -> String {
    let filled = (share.clamp(0.0, 1.0) * cells as f64).round() as usize;
    "█".repeat(filled) + &"·".repeat(cells - filled)
}

/// From what share on a shade stands for it, and the shade.
pub(super) const SHADES: [(f64, char); 5] = [(0.0, '·'), (0.02, '░'), (0.1, '▒'), (0.3, '▓'), (0.6, '█')];

/// The step on [`SHADES`] of a share; `None`: there is nothing.
pub(super) fn shade(share: Option<f64>) -> Option<usize> {
    let share = share.filter(|share| *share > 0.0)?;
    SHADES.iter().rposition(|(from, _)| share >= *from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_become_characters_and_nothing_looks_like_something() {
        assert_eq!(past(&[Some(0.0), None, Some(1.0), Some(4.0), Some(8.0)]), "▁ ▁▄█");
        assert_eq!(past(&[Some(0.0), None]), "▁ ");
        assert_eq!(blocks(&[0, 1, 8, 4], 4, 8), "·▁█▄");
        assert_eq!(blocks(&[0, 1, 0, 16], 16, 2), "▁█");
        assert_eq!(blocks(&[], 0, 0), "");
        assert_eq!(bar(0.5, 4), "██··");
        assert_eq!(bar(7.0, 2), "██");
        assert_eq!(
            [None, Some(0.0), Some(0.001), Some(0.02), Some(1.0)].map(shade),
            [None, None, Some(0), Some(1), Some(4)]
        );
    }
}
