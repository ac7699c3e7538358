//! The comparison as a page: one file that needs nothing else, in light and in dark.

use std::fmt::{Result, Write};

use super::chart::{Axis, Bars, Line, bars, lines};
use super::{Comparison, QUANTILES, busiest, percent, remarks, rows, time, work};
use crate::escape;
use crate::sim::Round;
use crate::sim::tally::{PIECES, Tally};

const STYLE: &str = include_str!("report.css");
/// Colours that there are; further contenders begin anew.
const COLOURS: usize = 6;
/// What the curve of percentiles shows, up to one in ten thousand.
const CURVE: usize = 80;
const NINES: f64 = 4.0;

/// The whole page.
pub fn html(comparison: &Comparison<'_>) -> String {
    let mut out = String::new();
    // A text takes everything.
    let _ = page(&mut out, comparison);
    out
}

fn page(out: &mut String, comparison: &Comparison<'_>) -> Result {
    writeln!(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>")?;
    writeln!(out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>")?;
    writeln!(out, "<title>Balancers compared</title><style>\n{STYLE}</style></head><body>")?;
    writeln!(out, "<h1>Balancers compared</h1>\n<ul class=\"legend\">")?;
    for (number, [name, version, config]) in comparison.contenders.iter().enumerate() {
        let config = if *config == "{}" { String::new() } else { format!(" <code>{}</code>", safe(config)) };
        let (name, version) = (safe(name), safe(version));
        writeln!(out, "<li><i class=\"c{}\"></i><b>{name}</b> <code>{version}</code>{config}</li>", number % COLOURS)?;
    }
    writeln!(
        out,
        "</ul>\n<p>Simulated with seed {}. Waits are those of clients that were answered or gave up.</p>",
        comparison.seed
    )?;
    summary(out, comparison)?;
    for round in comparison.rounds {
        section(out, comparison, round)?;
    }
    writeln!(out, "</body></html>")
}

fn safe(text: &str) -> String {
    let mut out = Vec::new();
    escape::html(&mut out, text);
    // What cannot stand in a page at all is left out.
    String::from_utf8_lossy(&out).chars().filter(|c| !c.is_control()).collect()
}

fn summary(out: &mut String, comparison: &Comparison<'_>) -> Result {
    writeln!(
        out,
        "<table><caption>p99, and errors where there are any. Best: the fewest errors (to 0.1%), then the shortest p99 (to 1%).</caption>"
    )?;
    write!(out, "<thead><tr><th>scenario</th>")?;
    for [name, ..] in &comparison.contenders {
        write!(out, "<th>{}</th>", safe(name))?;
    }
    writeln!(out, "</tr></thead><tbody>")?;
    for (number, round) in comparison.rounds.iter().enumerate() {
        write!(out, "<tr><th><a href=\"#s{number}\">{}</a></th>", safe(&round.scenario.name))?;
        for (result, best) in round.results.iter().zip(round.best()) {
            let class = if best { " class=\"best\"" } else { "" };
            let text = match result {
                Ok(tally) if tally.error_rate() > 0.0 => {
                    format!("{} ({})", time(tally.waited.quantile(0.99)), percent(tally.error_rate()))
                }
                Ok(tally) => time(tally.waited.quantile(0.99)),
                Err(_) => "not started".to_owned(),
            };
            write!(out, "<td{class}>{text}</td>")?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody></table>")
}

fn section(out: &mut String, comparison: &Comparison<'_>, round: &Round) -> Result {
    let number = comparison.rounds.iter().position(|other| std::ptr::eq(other, round)).unwrap_or(0);
    let (name, about) = (safe(&round.scenario.name), safe(&round.scenario.about));
    writeln!(
        out,
        "<section id=\"s{number}\"><h2>{name}</h2>\n<p>{about}</p>\n<p class=\"frame\">{}</p>",
        round.frame()
    )?;
    numbers(out, comparison, round)?;
    writeln!(out, "<div class=\"charts\">")?;
    curve(out, comparison, round)?;
    over_time(out, comparison, round)?;
    shares(out, comparison, round)?;
    writeln!(out, "</div></section>")
}

fn numbers(out: &mut String, comparison: &Comparison<'_>, round: &Round) -> Result {
    write!(out, "<table><thead><tr><th>plugin</th>")?;
    for (_, name) in QUANTILES {
        write!(out, "<th>{name}</th>")?;
    }
    writeln!(out, "<th>errors</th><th>retries</th><th>busiest</th><th>peak</th></tr></thead><tbody>")?;
    let mut told = String::new();
    for (([name, ..], result), best) in comparison.contenders.iter().zip(&round.results).zip(round.best()) {
        let name = safe(name);
        let class = if best { " class=\"best\"" } else { "" };
        match result {
            Err(why) => writeln!(out, "<tr><th>{name}</th><td colspan=\"8\">not started: {}</td></tr>", safe(why))?,
            Ok(tally) => {
                write!(out, "<tr{class}><th>{name}</th>")?;
                for (share, _) in QUANTILES {
                    write!(out, "<td>{}</td>", time(tally.waited.quantile(share)))?;
                }
                let (share, peak) = busiest(tally);
                let (errors, share) = (percent(tally.error_rate()), percent(share));
                writeln!(out, "<td>{errors}</td><td>{}</td><td>{share}</td><td>{peak}</td></tr>", tally.retries)?;
                for remark in remarks(tally) {
                    writeln!(told, "<li>{name}: {}</li>", safe(&remark))?;
                }
            }
        }
    }
    writeln!(out, "</tbody></table>")?;
    if told.is_empty() { Ok(()) } else { writeln!(out, "<ul>{told}</ul>") }
}

/// Those that ran: number, name and what came of it.
fn ran<'r>(comparison: &'r Comparison<'_>, round: &'r Round) -> impl Iterator<Item = (usize, String, &'r Tally)> {
    let all = comparison.contenders.iter().zip(&round.results).enumerate();
    all.filter_map(|(number, ([name, ..], result))| Some((number % COLOURS, safe(name), result.as_ref().ok()?)))
}

/// How long which share of clients waited: the further to the right, the fewer.
fn curve(out: &mut String, comparison: &Comparison<'_>, round: &Round) -> Result {
    let all: Vec<(usize, String, &Tally)> = ran(comparison, round).collect();
    let places = || (0..=CURVE).map(|step| step as f64 / CURVE as f64 * NINES);
    let wait = |tally: &Tally, place: f64| tally.waited.quantile(1.0 - 10f64.powf(-place));
    let times: Vec<u64> =
        all.iter().flat_map(|(_, _, tally)| places().skip(5).map(|place| wait(tally, place))).collect();
    let y = Axis::of_times("wait", times.iter().copied());
    let marks = [(0.5, "50%"), (0.9, "90%"), (0.99, "99%"), (0.999, "99.9%"), (0.9999, "99.99%")];
    let marks = marks.map(|(share, text): (f64, _)| (-(1.0 - share).log10(), text.to_owned()));
    let x = Axis::new("share of clients that waited no longer", 0.2, NINES, marks.into());
    let line = |(number, name, tally): &(usize, String, &Tally)| {
        let point = |place| (place, (wait(tally, place).max(1) as f64).log10());
        (*number, name.clone(), places().filter(|place| *place >= 0.2).map(point).collect::<Vec<_>>())
    };
    let drawn: Vec<_> = all.iter().map(line).collect();
    lines(out, "Wait by percentile", &x, &y, &borrowed(&drawn))
}

fn over_time(out: &mut String, comparison: &Comparison<'_>, round: &Round) -> Result {
    let all: Vec<(usize, String, &Tally)> = ran(comparison, round).collect();
    let waits = |tally: &Tally| tally.pieces.iter().map(|piece| piece.quantile(0.99)).collect::<Vec<u64>>();
    let times: Vec<u64> = all.iter().flat_map(|(_, _, tally)| waits(tally)).collect();
    let y = Axis::of_times("wait", times.iter().copied());
    let mark = |quarter: u64| (quarter as f64 / 4.0, time(round.plan.length / 4 * quarter));
    let x = Axis::new("time of the run", 0.0, 1.0, (0..=4).map(mark).collect());
    let line = |(number, name, tally): &(usize, String, &Tally)| {
        let point = |(piece, wait): (usize, u64)| ((piece as f64 + 0.5) / PIECES as f64, (wait as f64).log10());
        let known = waits(tally).into_iter().enumerate().filter(|(_, wait)| *wait > 0);
        (*number, name.clone(), known.map(point).collect::<Vec<_>>())
    };
    let drawn: Vec<_> = all.iter().map(line).collect();
    lines(out, "p99 over the run", &x, &y, &borrowed(&drawn))
}

type Drawn = (usize, String, Vec<(f64, f64)>);

fn borrowed(drawn: &[Drawn]) -> Vec<Line<'_>> {
    drawn.iter().map(|(number, name, points)| Line { number: *number, name, points: points.clone() }).collect()
}

/// Who had how much of the work, beside what it can do.
fn shares(out: &mut String, comparison: &Comparison<'_>, round: &Round) -> Result {
    let can = |member: &usize| {
        let group = round.plan.backends.get(*member).and_then(|place| round.scenario.backend.get(place.group));
        group.map_or(0.0, |group| f64::from(group.servers) / group.slow)
    };
    let all: f64 = (0..round.plan.backends.len()).map(|member| can(&member)).sum();
    let row = |row: super::Row| {
        let values = ran(comparison, round).map(|(number, _, tally)| {
            let (share, peak) = work(tally, &row);
            (number, share, format!("{}, peak {peak}", percent(share)))
        });
        let fair = row.members.iter().map(can).sum::<f64>() / all;
        Bars { name: safe(&row.name), fair, values: values.collect() }
    };
    let rows: Vec<Bars> = rows(round).into_iter().map(row).collect();
    bars(out, "Share of the requests, and peak load; the mark is the share of what backends can do", &rows)
}
