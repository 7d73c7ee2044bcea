//! The picture: latency over percentiles, one or two lines, as a file of its own that needs nothing else.
//!
//! Across, each step is ten times closer to 100 %, so that the slow few are seen; up, the latency is on a
//! logarithmic scale if it spans much, else on a linear one. No script, no font or picture from elsewhere; light
//! or dark as the reader's screen is; the second line is dashed, so that colour is not the only sign. Pure.

use crate::cli::table::length;
use hdrhistogram::Histogram;
use std::fmt::Write;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 916.0;
const TOP: f64 = 128.0;
const BOTTOM: f64 = 484.0;
/// Beyond this ratio of the largest to the smallest value, a linear scale shows only the largest.
const LINEAR_MAX: f64 = 12.0;
/// Points to each halving of the distance to 100 %.
const POINTS_PER_HALVING: u32 = 12;

const STYLE: &str = "\
  svg { color-scheme: light dark; font-family: system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; font-size: 14px }
  .paper { fill: #ffffff } text { fill: #1f2328 } .quiet { fill: #59636e }
  .grid { stroke: #d7dce1; stroke-width: 1 } .axis { fill: none; stroke: #59636e; stroke-width: 1 }
  .line { fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round }
  .first { stroke: #0a5dc2 } .second { stroke: #b4480b; stroke-dasharray: 8 6 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #14181d } text { fill: #e6eaee } .quiet { fill: #9aa5b1 }
    .grid { stroke: #303840 } .axis { stroke: #9aa5b1 }
    .first { stroke: #6cb0ff } .second { stroke: #ffa257 }
  }
";

/// A scale from latencies in µs to places from the bottom up.
struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    /// One on which these values have room, the largest a little below the top.
    fn over(low_us: u64, high_us: u64) -> Self {
        let (low, high) = (low_us.max(1) as f64, high_us.max(2) as f64);
        if high / low > LINEAR_MAX {
            Self { low: rounded_down(low), high: high * 1.15, logarithmic: true }
        } else {
            Self { low: 0.0, high: high * 1.08, logarithmic: false }
        }
    }

    fn y(&self, us: f64) -> f64 {
        let share = if self.logarithmic {
            (us.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            us / self.high
        };
        BOTTOM - share.clamp(0.0, 1.0) * (BOTTOM - TOP)
    }

    /// Where lines are drawn across: 1, 2 and 5 times powers of ten, or equal steps.
    fn marks(&self) -> Vec<f64> {
        if !self.logarithmic {
            let step = rounded_down(self.high / 4.0);
            return (0..).map(|n| f64::from(n) * step).take_while(|us| *us <= self.high).collect();
        }
        let decades = (self.high / self.low).log10();
        let steps: &[f64] = if decades > 3.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let first = 10f64.powf(self.low.log10().floor());
        (0..12)
            .flat_map(|decade| steps.iter().map(move |step| first * 10f64.powi(decade) * step))
            .filter(|us| (self.low * 0.999..=self.high).contains(us))
            .collect()
    }
}

/// The largest 1, 2 or 5 times a power of ten that is not over `value`.
fn rounded_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let step = [5.0, 2.0, 1.0].into_iter().find(|step| step * power <= value * 1.000_001);
    step.unwrap_or(1.0) * power
}

/// The picture of one or two distributions in µs, each with its name.
pub(super) fn svg(title: &str, subtitle: &str, lines: &[(&str, &Histogram<u64>)]) -> String {
    let most = lines.iter().map(|(_, histogram)| histogram.len()).max().unwrap_or(0);
    // So far that the slowest single request stands near the right edge.
    let nines = (most.max(1) as f64).log10().ceil().clamp(2.0, 5.0);
    let recorded = || lines.iter().map(|(_, histogram)| histogram).filter(|histogram| !histogram.is_empty());
    let low = recorded().map(|histogram| histogram.min()).min().unwrap_or(1);
    let scale = Scale::over(low, recorded().map(|histogram| histogram.max()).max().unwrap_or(1));

    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" role=\"img\" aria-labelledby=\"title\">\n<title id=\"title\">{title}: {subtitle}\
         </title>\n<style>\n{STYLE}</style>\n<rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text x=\"{LEFT}\" y=\"34\" font-size=\"20\" font-weight=\"600\">{title}</text>\n\
         <text x=\"{LEFT}\" y=\"56\" class=\"quiet\">{subtitle}</text>\n",
        title = escaped(&shortened(title)),
        subtitle = escaped(&shortened(subtitle)),
    );
    axes(&mut text, &scale, nines);
    for ((name, histogram), (class, y)) in lines.iter().zip([("first", 82.0), ("second", 106.0)]) {
        legend(&mut text, name, histogram, class, y);
        curve(&mut text, histogram, &scale, nines, class);
    }
    text.push_str("</svg>\n");
    text
}

/// Where a quantile stands.
fn x(quantile: f64, nines: f64) -> f64 {
    let share = -(1.0 - quantile).max(1e-12).log10() / nines;
    LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
}

// Into a String: cannot fail, here and below.
fn axes(text: &mut String, scale: &Scale, nines: f64) {
    for us in scale.marks() {
        let y = scale.y(us);
        let _ = writeln!(
            text,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
             <text class=\"quiet\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 10.0,
            y + 5.0,
            mark(us),
        );
    }
    let percentiles =
        [(0.0, "0 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
    for (quantile, name) in percentiles.into_iter().chain([(0.99999, "99.999 %")]) {
        if -(1.0f64 - quantile).log10() > nines + 0.01 {
            continue;
        }
        let x = x(quantile, nines);
        let _ = writeln!(
            text,
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>\
             <text class=\"quiet\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            BOTTOM + 22.0,
        );
    }
    let _ = writeln!(
        text,
        "<path class=\"axis\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/>\
         <text class=\"quiet\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">share of requests that took no longer{}</text>",
        (LEFT + RIGHT) / 2.0,
        BOTTOM + 46.0,
        if scale.logarithmic { " (latency on a logarithmic scale)" } else { "" },
    );
}

/// A latency at the axis: "0", "500 µs", "2 ms".
fn mark(us: f64) -> String {
    match us.round() as u64 {
        0 => "0".to_owned(),
        us if us < 1_000 => format!("{us} µs"),
        us if us < 1_000_000 => format!("{} ms", us as f64 / 1e3),
        us => format!("{} s", us as f64 / 1e6),
    }
}

fn legend(text: &mut String, name: &str, histogram: &Histogram<u64>, class: &str, y: f64) {
    let figures = if histogram.is_empty() {
        "nothing measured".to_owned()
    } else {
        let at = |quantile| length(histogram.value_at_quantile(quantile));
        format!("p50 {}, p99 {}, max {}", at(0.5), at(0.99), length(histogram.max()))
    };
    let _ = writeln!(
        text,
        "<path class=\"line {class}\" d=\"M{LEFT} {:.1}h40\"/><text x=\"{:.1}\" y=\"{y}\">{}\
         <tspan class=\"quiet\" dx=\"10\">{figures}</tspan></text>",
        y - 5.0,
        LEFT + 52.0,
        escaped(&shortened(name)),
    );
}

fn curve(text: &mut String, histogram: &Histogram<u64>, scale: &Scale, nines: f64, class: &str) {
    if histogram.is_empty() {
        return;
    }
    let mut path = format!("M{LEFT:.1} {:.1}", scale.y(histogram.min() as f64));
    for step in histogram.iter_quantiles(POINTS_PER_HALVING) {
        let at = x(step.quantile_iterated_to(), nines);
        let _ = write!(path, "L{at:.1} {:.1}", scale.y(step.value_iterated_to() as f64));
        if at >= RIGHT {
            break;
        }
    }
    let _ = writeln!(text, "<path class=\"line {class}\" d=\"{path}\"/>");
}

/// As much of a text as has room beside the figures.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Text that is no markup, without what XML does not allow at all.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap();
        values.into_iter().for_each(|us| histogram.record(us).unwrap());
        histogram
    }

    /// The points of the curves, line by line.
    fn points(text: &str) -> Vec<Vec<(f64, f64)>> {
        let curves = text.lines().filter(|line| line.starts_with("<path class=\"line") && line.contains('L'));
        let read = |line: &str| -> Vec<(f64, f64)> {
            let path = line.split(" d=\"M").nth(1).unwrap().split('"').next().unwrap();
            let point =
                |pair: &str| pair.split_once(' ').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()));
            path.split('L').map(|pair| point(pair).unwrap()).collect()
        };
        curves.map(read).collect()
    }

    #[test]
    fn a_curve_goes_to_the_right_and_up_and_stays_in_its_frame() {
        for values in
            [histogram(1..=20_000), histogram([5]), histogram([300; 50]), histogram([10, 3_600_000_000])]
        {
            let text = svg("t", "s", &[("a", &values), ("b", &values)]);
            let curves = points(&text);
            assert_eq!(curves.len(), 2, "{text}");
            for pair in curves.iter().flat_map(|curve| curve.windows(2)) {
                assert!(pair[0].0 <= pair[1].0 && pair[0].1 >= pair[1].1, "{pair:?}");
            }
            let inside = |(x, y): &(f64, f64)| (LEFT..=RIGHT).contains(x) && (TOP..=BOTTOM).contains(y);
            assert!(curves.iter().flatten().all(inside), "{curves:?}");
        }
    }

    #[test]
    fn the_scale_is_logarithmic_where_values_span_much_and_its_marks_are_round() {
        for (low, high, logarithmic, marks) in [
            (200, 900, false, &[0.0, 200.0, 400.0, 600.0, 800.0][..]),
            (100, 90_000, true, &[100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5]),
            (130, 5_000_000, true, &[100.0, 1e3, 1e4, 1e5, 1e6]),
        ] {
            let scale = Scale::over(low, high);
            assert_eq!(scale.logarithmic, logarithmic, "{low} to {high}");
            let found = scale.marks();
            let close =
                found.iter().zip(marks).all(|(found, mark)| (found - mark).abs() < 1e-6 * mark.max(1.0));
            assert!(close && found.len() == marks.len(), "{low} to {high}: {found:?}");
        }
    }

    #[test]
    fn names_cannot_be_markup_and_nothing_measured_is_said() {
        let text = svg("<b>&", "\"s\"\u{1}", &[("http://a/?b&c<", &histogram([]))]);
        assert!(text.contains("&lt;b&gt;&amp;") && text.contains("http://a/?b&amp;c&lt;"), "{text}");
        assert!(!text.contains("<b>") && !text.contains('\u{1}'), "{text}");
        assert!(text.contains("nothing measured"), "{text}");
    }

    #[test]
    fn it_needs_nothing_from_elsewhere() {
        let text = svg("t", "s", &[("a", &histogram([5]))]);
        for forbidden in ["<script", "href", "url(", "@import", "<image", "<foreignObject"] {
            assert!(!text.contains(forbidden), "{forbidden}");
        }
        assert_eq!(text.matches("http").count(), 1, "the name of SVG itself: {text}");
        assert!(text.contains("prefers-color-scheme: dark"));
    }
}
