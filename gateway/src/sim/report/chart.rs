//! Charts as SVG that stands within a page. Colours are classes, so that the page decides on them, in light and in dark.

use std::fmt::{Result, Write};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 26.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// Of the longest bar, in a chart of bars.
const BAR: f64 = 305.0;
/// Where bars begin.
const BARS: f64 = 150.0;

/// One direction of a chart.
pub(super) struct Axis {
    /// What it measures, already safe in HTML.
    pub(super) name: &'static str,
    low: f64,
    high: f64,
    /// Where a number stands.
    marks: Vec<(f64, String)>,
}

/// One line.
pub(super) struct Line<'a> {
    /// Whose: which class it has.
    pub(super) number: usize,
    /// Whose, safe in HTML.
    pub(super) name: &'a str,
    /// In the axes' units.
    pub(super) points: Vec<(f64, f64)>,
}

/// Bars of one row.
pub(super) struct Bars {
    /// What the row is, safe in HTML.
    pub(super) name: String,
    /// What would be right, from 0 to 1.
    pub(super) fair: f64,
    /// By contender: class, value from 0 to 1, and the value in words.
    pub(super) values: Vec<(usize, f64, String)>,
}

impl Axis {
    /// Over a range, with marks.
    pub(super) fn new(name: &'static str, low: f64, high: f64, marks: Vec<(f64, String)>) -> Axis {
        // Nothing is divided by nothing.
        Axis { name, low, high: if high > low { high } else { low + 1.0 }, marks }
    }

    /// Times in nanoseconds, by their logarithm: marks at 1, 2 and 5 of each decade, or at 1 when there are many.
    pub(super) fn of_times(name: &'static str, times: impl Iterator<Item = u64> + Clone) -> Axis {
        let known = times.filter(|time| *time > 0);
        let (low, high) = (known.clone().min().unwrap_or(1_000_000), known.max().unwrap_or(10_000_000));
        let (low, high) = ((low as f64).log10() - 0.05, (high as f64).log10() + 0.05);
        let steps: &[u64] = if high - low > 2.0 { &[1] } else { &[1, 2, 5] };
        let decades = low.floor().max(0.0) as u32..=high.ceil().clamp(0.0, 19.0) as u32;
        let marks = decades
            .flat_map(|decade| steps.iter().filter_map(move |step| 10u64.checked_pow(decade)?.checked_mul(*step)));
        let marks = marks.map(|time| ((time as f64).log10(), super::time(time)));
        let marks = marks.filter(|(at, _)| (low..=high).contains(at)).collect();
        Axis::new(name, low, high, marks)
    }

    fn part(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// Lines over two axes.
pub(super) fn lines(out: &mut String, title: &str, x: &Axis, y: &Axis, lines: &[Line<'_>]) -> Result {
    let across = |value: f64| LEFT + x.part(value) * (WIDTH - LEFT - RIGHT);
    let up = |value: f64| HEIGHT - BOTTOM - y.part(value) * (HEIGHT - TOP - BOTTOM);
    write!(
        out,
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">"
    )?;
    for (value, text) in &y.marks {
        let at = up(*value);
        write!(out, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>", WIDTH - RIGHT)?;
        write!(out, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>", LEFT - 6.0, at + 4.0)?;
    }
    for (value, text) in &x.marks {
        let (at, foot) = (across(*value), HEIGHT - BOTTOM);
        write!(out, "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{foot:.1}\"/>")?;
        write!(out, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>", foot + 15.0)?;
    }
    let (middle, foot) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 6.0);
    write!(out, "<text class=\"name\" x=\"{middle:.1}\" y=\"{foot:.1}\" text-anchor=\"middle\">{}</text>", x.name)?;
    for line in lines.iter().filter(|line| !line.points.is_empty()) {
        write!(out, "<polyline class=\"line c{}\" points=\"", line.number)?;
        for (place, (one, other)) in line.points.iter().enumerate() {
            write!(out, "{}{:.1},{:.1}", if place == 0 { "" } else { " " }, across(*one), up(*other))?;
        }
        write!(out, "\"><title>{}</title></polyline>", line.name)?;
    }
    out.write_str("</svg></figure>")
}

/// Bars, a row for each endpoint or group.
pub(super) fn bars(out: &mut String, title: &str, rows: &[Bars]) -> Result {
    let of_row = |row: &Bars| row.values.len() as f64 * 13.0 + 9.0;
    let height = rows.iter().map(of_row).sum::<f64>() + 6.0;
    let all = rows.iter().flat_map(|row| row.values.iter().map(|(_, value, _)| *value).chain([row.fair]));
    let most = all.fold(f64::MIN_POSITIVE, f64::max);
    write!(
        out,
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{title}\">"
    )?;
    let mut top = 4.0;
    for row in rows {
        let middle = top + (of_row(row) - 9.0) / 2.0 + 4.0;
        write!(out, "<text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>", BARS - 8.0, row.name)?;
        for (place, (number, value, words)) in row.values.iter().enumerate() {
            let (y, wide) = (top + place as f64 * 13.0, (value / most * BAR).max(0.5));
            write!(
                out,
                "<rect class=\"bar c{number}\" x=\"{BARS}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"11\"><title>{words}</title></rect>"
            )?;
            write!(out, "<text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{words}</text>", BARS + BAR + 8.0, y + 9.0)?;
        }
        let fair = BARS + row.fair / most * BAR;
        let foot = top + of_row(row) - 8.0;
        write!(
            out,
            "<line class=\"fair\" x1=\"{fair:.1}\" x2=\"{fair:.1}\" y1=\"{:.1}\" y2=\"{foot:.1}\"/>",
            top - 2.0
        )?;
        top += of_row(row);
    }
    out.write_str("</svg></figure>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_marked_where_they_are_round() {
        let marks = |low, high| {
            let axis = Axis::of_times("", [low, 0, high].into_iter());
            axis.marks.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(marks(1_500_000, 30_000_000), "2.00 ms 5.00 ms 10.0 ms 20.0 ms");
        assert_eq!(marks(1_500_000, 3_000_000_000), "10.0 ms 100 ms 1.00 s");
        assert!(Axis::of_times("", [0u64].into_iter()).high > 0.0);
    }

    #[test]
    fn a_line_stays_within_its_chart() {
        let mut out = String::new();
        let axis = || Axis::new("", 0.0, 1.0, Vec::new());
        let line = Line { number: 0, name: "a", points: vec![(-1.0, f64::NAN), (0.5, 0.5), (2.0, 7.0)] };
        lines(&mut out, "t", &axis(), &axis(), &[line]).unwrap();
        assert!(out.contains("299.0,116.0 534.0,12.0"), "{out}");
    }
}
