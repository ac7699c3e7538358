//! What is wrong with a configuration, where, and what was probably meant.
//!
//! In: places and words from `load`. Out: lines such as `gateway.toml:12:9: route[2].match.hots: unknown key; did you
//! mean "host"?`, in the order of the file. At most [`LIMIT`] are kept; the rest is counted.

use std::fmt;
use std::path::{Path, PathBuf};

use super::model::Place;

/// How many problems of one file are kept.
pub const LIMIT: usize = 1000;

/// Keys longer than this are cut in messages and get no suggestion.
const NAME_LENGTH: usize = 64;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// From 1; 0 when the whole file is meant.
    pub line: usize,
    /// In characters, from 1; 0 when the whole file is meant.
    pub column: usize,
    /// Such as `route[2].match.host`, counted from 0; empty for errors of syntax.
    pub key: String,
    /// What is wrong and, where that is known, what would be right.
    pub message: String,
}

/// Everything that is wrong with one file, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file as it was named.
    pub file: PathBuf,
    /// Never empty.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub omitted: usize,
}

impl Problem {
    /// Something that is wrong at this place.
    pub fn new(place: Place, message: impl Into<String>) -> Problem {
        Problem { line: place.line, column: place.column, key: place.key, message: message.into() }
    }

    /// The same as a warning: `route[2]: warning: can never win`.
    pub fn warning(place: Place, message: impl std::fmt::Display) -> Problem {
        Problem::new(place, format!("warning: {message}"))
    }
}

impl Problems {
    /// In the order of the file, each once, and not more than are read. `None` when there are none.
    pub fn of(file: &Path, mut problems: Vec<Problem>, omitted: usize) -> Option<Problems> {
        problems.sort();
        problems.dedup();
        let more = problems.len().saturating_sub(LIMIT);
        problems.truncate(LIMIT);
        (!problems.is_empty()).then(|| Problems { file: file.to_owned(), problems, omitted: omitted + more })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            let end = if number == 0 { "" } else { "\n" };
            let space = if problem.line > 0 { "" } else { " " };
            write!(f, "{end}{}:{space}{problem}", self.file.display())?;
        }
        if self.omitted > 0 {
            write!(f, "\n{}: and {} more", self.file.display(), self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The one of `known` that was probably meant.
pub fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if written.len() > NAME_LENGTH {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let written = plain(written);
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= NAME_LENGTH)
        .map(|candidate| (likeness(&written, &plain(candidate)), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// From 0 to 1. In short words one wrong letter weighs too much, so those are counted too.
fn likeness(a: &str, b: &str) -> f64 {
    let slip = b.len() > 2 && strsim::osa_distance(a, b) <= 1;
    strsim::jaro_winkler(a, b).max(if slip { 0.9 } else { 0.0 })
}

/// `; did you mean "host"?`, or nothing.
pub fn suggestion<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(written, known).map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default()
}

/// A text from the file for a message or a key path: not longer than reads well.
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(NAME_LENGTH) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// `a`, `a or b`, `a, b or c`.
pub fn alternatives<S: AsRef<str>>(words: &[S]) -> String {
    match words {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(AsRef::as_ref).collect();
            format!("{} or {}", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_nonsense_is_not() {
        let keys = ["host", "path", "method", "header", "query", "cookie", "client"];
        assert_eq!(nearest("hots", keys), Some("host"));
        assert_eq!(nearest("Headers", keys), Some("header"));
        assert_eq!(nearest("max-connections", ["max_connections", "max_waiting"]), Some("max_connections"));
        assert_eq!(nearest("p3c", ["round-robin", "p2c"]), Some("p2c"));
        assert_eq!(nearest("zebra", keys), None);
        assert_eq!(nearest(&"host".repeat(1000), keys), None);
        assert_eq!(nearest("", keys), None);
    }

    #[test]
    fn problems_are_told_once_and_in_order() {
        let problem = |line| Problem { line, column: 1, key: "a".into(), message: "is wrong".into() };
        let file = Path::new("g.toml");
        let all = Problems::of(file, vec![problem(2), problem(1), problem(2)], 0).unwrap();
        assert_eq!(all.problems, [problem(1), problem(2)]);
        let many = Problems::of(file, (1..=LIMIT + 5).map(problem).collect(), 1).unwrap();
        assert_eq!((many.problems.len(), many.omitted), (LIMIT, 6));
        assert_eq!(Problems::of(file, Vec::new(), 0), None);
    }

    #[test]
    fn problems_read_one_a_line() {
        let problem = |line, key: &str| Problem { line, column: 9, key: key.into(), message: "is wrong".into() };
        let problems =
            Problems { file: "g.toml".into(), problems: vec![problem(0, ""), problem(12, "a.b")], omitted: 3 };
        assert_eq!(problems.to_string(), "g.toml: is wrong\ng.toml:12:9: a.b: is wrong\ng.toml: and 3 more");
    }
}
