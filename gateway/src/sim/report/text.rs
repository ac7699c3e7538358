//! The comparison for a terminal: tables, and with bars and lines of blocks where those can be drawn.

use std::fmt::Write;

use super::{Comparison, QUANTILES, busiest, percent, remarks, rows, time, work};
use crate::sim::Round;
use crate::sim::tally::Tally;

/// Eighths of a block, from the left and from below.
const BARS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
const LINES: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// How wide the longest bar is.
const WIDTH: usize = 40;

/// The whole comparison; `drawn`: with bars.
pub fn text(comparison: &Comparison<'_>, drawn: bool) -> String {
    let mut out = String::new();
    // A text takes everything.
    let _ = write_all(&mut out, comparison, drawn);
    out
}

fn write_all(out: &mut String, comparison: &Comparison<'_>, drawn: bool) -> std::fmt::Result {
    for [name, version, config] in &comparison.contenders {
        let config = if *config == "{}" { String::new() } else { format!(" {config}") };
        writeln!(out, "{name}: {version}{config}")?;
    }
    writeln!(out, "seed {}", comparison.seed)?;
    for round in comparison.rounds {
        write_round(out, comparison, round, drawn)?;
    }
    if comparison.rounds.len() > 1 {
        summary(out, comparison)?;
    }
    Ok(())
}

fn write_round(out: &mut String, comparison: &Comparison<'_>, round: &Round, drawn: bool) -> std::fmt::Result {
    writeln!(out, "\n{}: {}\n{}\n", round.scenario.name, round.scenario.about, round.frame())?;
    let mut lines = vec![heading()];
    for ((name, result), best) in names(comparison).zip(&round.results).zip(round.best()) {
        let mut line = vec![name.to_owned()];
        match result {
            Ok(tally) => {
                line.extend(numbers(tally));
                line.push(if best { "*" } else { "" }.to_owned());
            }
            Err(why) => line.push(format!("not started: {why}")),
        }
        lines.push(line);
    }
    table(out, &lines)?;
    for (name, result) in names(comparison).zip(&round.results) {
        for remark in result.iter().flat_map(remarks) {
            writeln!(out, "  {name}: {remark}")?;
        }
    }
    if drawn {
        draw(out, comparison, round)?;
    }
    endpoints(out, comparison, round)
}

fn names<'c>(comparison: &'c Comparison<'_>) -> impl Iterator<Item = &'c str> {
    comparison.contenders.iter().map(|[name, ..]| *name)
}

fn heading() -> Vec<String> {
    let quantiles = QUANTILES.iter().map(|(_, name)| *name);
    let all = [""].into_iter().chain(quantiles).chain(["errors", "retries", "busiest", "peak", ""]);
    all.map(str::to_owned).collect()
}

fn numbers(tally: &Tally) -> Vec<String> {
    let mut numbers: Vec<String> = QUANTILES.iter().map(|(share, _)| time(tally.waited.quantile(*share))).collect();
    let (share, peak) = busiest(tally);
    numbers.extend([percent(tally.error_rate()), tally.retries.to_string(), percent(share), peak.to_string()]);
    numbers
}

/// Columns under one another: the first to the left, the others to the right. A line with two cells is a remark.
fn table(out: &mut String, lines: &[Vec<String>]) -> std::fmt::Result {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let cells = lines.iter().filter(|line| line.len() == columns);
    let width = |column: usize| {
        let of = |line: &Vec<String>| line.get(column).map_or(0, |cell| cell.chars().count());
        if column == 0 { lines.iter().map(of).max() } else { cells.clone().map(of).max() }.unwrap_or(0)
    };
    for line in lines {
        let mut row = String::from("  ");
        for (column, cell) in line.iter().enumerate() {
            match (column, line.len() == columns) {
                (0, _) => write!(row, "{cell:<0$}", width(0))?,
                (_, true) => write!(row, "  {cell:>0$}", width(column))?,
                (_, false) => write!(row, "  {cell}")?,
            }
        }
        writeln!(out, "{}", row.trim_end())?;
    }
    Ok(())
}

/// Bars of the slowest hundredth, and how it went over time.
fn draw(out: &mut String, comparison: &Comparison<'_>, round: &Round) -> std::fmt::Result {
    let wide = names(comparison).map(|name| name.chars().count()).max().unwrap_or(0);
    let tallies =
        || names(comparison).zip(&round.results).filter_map(|(name, result)| Some((name, result.as_ref().ok()?)));
    let p99 = |tally: &Tally| tally.waited.quantile(0.99);
    let most = tallies().map(|(_, tally)| p99(tally)).max().unwrap_or(0);
    writeln!(out, "\n  p99")?;
    for (name, tally) in tallies() {
        writeln!(out, "  {name:<wide$}  {} {}", bar(p99(tally), most), time(p99(tally)))?;
    }
    let pieces = |tally: &Tally| tally.pieces.iter().map(|piece| piece.quantile(0.99)).collect::<Vec<u64>>();
    let most = tallies().flat_map(|(_, tally)| pieces(tally)).max().unwrap_or(0);
    writeln!(out, "  p99 over the run, up to {}", time(most))?;
    for (name, tally) in tallies() {
        writeln!(out, "  {name:<wide$}  {}", sparkline(&pieces(tally), most))?;
    }
    Ok(())
}

/// A bar for a part of the most.
fn bar(value: u64, most: u64) -> String {
    let eighths = ((value as f64 / most.max(1) as f64) * (WIDTH * 8) as f64).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    let rest = (eighths % 8).checked_sub(1).and_then(|rest| BARS.get(rest));
    bar.extend(rest);
    if bar.is_empty() { BARS[0].to_string() } else { bar }
}

/// A column for each value, by its part of the most.
fn sparkline(values: &[u64], most: u64) -> String {
    let column = |value: &u64| {
        let height = (*value as f64 / most.max(1) as f64 * 7.0).round() as usize;
        LINES.get(height).copied().unwrap_or('█')
    };
    values.iter().map(column).collect()
}

/// Who had how much to do.
fn endpoints(out: &mut String, comparison: &Comparison<'_>, round: &Round) -> std::fmt::Result {
    writeln!(out, "\n  share of the requests and peak load, by endpoint\n")?;
    let mut lines = vec![vec![String::new(), "weight".to_owned()]];
    lines.iter_mut().for_each(|line| line.extend(names(comparison).map(str::to_owned)));
    for row in rows(round) {
        let mut line = vec![row.name.clone(), row.weight.to_string()];
        line.extend(round.results.iter().map(|result| match result {
            Ok(tally) => {
                let (share, peak) = work(tally, &row);
                format!("{} {peak:>4}", percent(share))
            }
            Err(_) => "-".to_owned(),
        }));
        lines.push(line);
    }
    table(out, &lines)
}

/// All scenarios in one table.
fn summary(out: &mut String, comparison: &Comparison<'_>) -> std::fmt::Result {
    writeln!(out, "\nall scenarios: p99, and errors where there are any\n")?;
    let mut lines = vec![[""].into_iter().chain(names(comparison)).map(str::to_owned).collect::<Vec<String>>()];
    for round in comparison.rounds {
        let mut line = vec![round.scenario.name.clone()];
        line.extend(round.results.iter().zip(round.best()).map(|(result, best)| cell(result, best)));
        lines.push(line);
    }
    let won = |at: usize| comparison.rounds.iter().filter(|round| round.best().get(at) == Some(&true)).count();
    let mut last = vec!["best".to_owned()];
    last.extend((0..comparison.contenders.len()).map(|at| format!("{} of {}  ", won(at), comparison.rounds.len())));
    lines.push(last);
    table(out, &lines)?;
    writeln!(out, "\n* best: the fewest errors (to 0.1%), then the shortest p99 (to 1%)")
}

fn cell(result: &Result<Tally, String>, best: bool) -> String {
    let mark = if best { " *" } else { "  " };
    match result {
        Err(_) => format!("not started{mark}"),
        Ok(tally) if tally.error_rate() > 0.0 => {
            format!("{} ({}){mark}", time(tally.waited.quantile(0.99)), percent(tally.error_rate()))
        }
        Ok(tally) => format!("{}{mark}", time(tally.waited.quantile(0.99))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_and_lines_follow_their_values() {
        assert_eq!(bar(100, 100).chars().count(), WIDTH);
        assert_eq!((bar(50, 100), bar(0, 100)), ("█".repeat(WIDTH / 2), "▏".to_owned()));
        assert_eq!(bar(1, 80), "▌");
        assert_eq!(sparkline(&[0, 50, 100, 200], 100), "▁▅██");
        assert_eq!(sparkline(&[0, 0], 0), "▁▁");
    }

    #[test]
    fn columns_stand_under_one_another() {
        let line = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<String>>();
        let mut out = String::new();
        let lines =
            [line(&["", "p50", "p99"]), line(&["a name", "1", "1000"]), line(&["b", "not started: it trapped"])];
        table(&mut out, &lines).unwrap();
        assert_eq!(out, "          p50   p99\n  a name    1  1000\n  b       not started: it trapped\n");
    }
}
