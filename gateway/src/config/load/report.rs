//! Collects problems while a file is read, and knows where each value stands in it.
//!
//! Positions are byte ranges of the text; the walk over the tree records the key path of every range, so that a later
//! check needs no more than the range which serde handed it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use crate::config::model::Place;
use crate::config::problem::{LIMIT, Problem, Problems};

/// Where a value stands, in bytes.
pub(super) type Span = Range<usize>;

/// The problems found so far.
pub(super) struct Report<'t> {
    text: &'t str,
    /// Where each line begins.
    lines: Vec<usize>,
    paths: HashMap<(usize, usize), String>,
    /// Tables that lost a key because it was unknown or of a wrong type.
    damaged: HashSet<(usize, usize)>,
    problems: Vec<Problem>,
    omitted: usize,
    warnings: Vec<Problem>,
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str) -> Report<'t> {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Report {
            text,
            lines,
            paths: HashMap::new(),
            damaged: HashSet::new(),
            problems: Vec::new(),
            omitted: 0,
            warnings: Vec::new(),
        }
    }

    /// Line and column of a byte, both from 1, the column in characters.
    pub(super) fn position(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|&start| start <= at).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        // Counted by first bytes of characters, so that no offset can fall between two bytes of one.
        let before = self.text.as_bytes().get(start..at.min(self.text.len())).unwrap_or_default();
        (line, 1 + before.iter().filter(|&&byte| byte & 0xc0 != 0x80).count())
    }

    /// Remembers the key path of a value. Of two values with one range the inner one, which comes last, is meant.
    pub(super) fn name(&mut self, span: Span, path: &str) {
        self.paths.insert((span.start, span.end), path.to_owned());
    }

    /// The key path of a value.
    pub(super) fn path(&self, span: &Span) -> &str {
        self.paths.get(&(span.start, span.end)).map_or("", String::as_str)
    }

    /// Where a value stands, for people.
    pub(super) fn place(&self, span: &Span) -> Place {
        let (line, column) = self.position(span.start);
        Place { line, column, key: self.path(span).to_owned() }
    }

    /// Where all the values stand whose key path is one of these.
    pub(super) fn places(&self, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Place> {
        let found = self.paths.iter().filter(|(_, path)| wanted(path));
        found.map(|(&(start, end), path)| (path.clone(), self.place(&(start..end)))).collect()
    }

    /// Reports a problem with the value at this place.
    pub(super) fn at(&mut self, span: &Span, message: impl Into<String>) {
        let place = self.place(span);
        self.push(Problem::new(place, message));
    }

    /// Warns of the value at this place.
    pub(super) fn warn(&mut self, span: &Span, message: impl std::fmt::Display) {
        if self.warnings.len() < LIMIT {
            let place = self.place(span);
            self.warnings.push(Problem::warning(place, message));
        }
    }

    /// What was warned of so far, in the order of the file.
    pub(super) fn warnings(&mut self) -> Vec<Problem> {
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.sort();
        warnings
    }

    /// Reports a problem with a key of this path.
    pub(super) fn key(&mut self, span: &Span, path: String, message: impl Into<String>) {
        let (line, column) = self.position(span.start);
        self.push(Problem::new(Place { line, column, key: path }, message));
    }

    /// Notes that a table is not whole any more, so that what it lacks is not reported again.
    pub(super) fn damage(&mut self, table: &Span) {
        self.damaged.insert((table.start, table.end));
    }

    /// Whether a table lost keys about which something has been said already.
    pub(super) fn is_damaged(&self, table: &Span) -> bool {
        self.damaged.contains(&(table.start, table.end))
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether further problems are only counted.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() >= LIMIT
    }

    /// Everything that was found, in the order of the file.
    pub(super) fn finish(self, file: &Path) -> Option<Problems> {
        Problems::of(file, self.problems, self.omitted)
    }

    fn push(&mut self, problem: Problem) {
        if self.is_full() {
            self.omitted += 1;
        } else {
            self.problems.push(problem);
        }
    }
}
