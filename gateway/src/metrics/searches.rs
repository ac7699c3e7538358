//! What is counted of the searches for members of pools.

use super::families as family;
use super::render::Text;

/// One pool's search.
#[derive(Clone, Debug, Default)]
pub struct SearchRow {
    /// The pool.
    pub pool: String,
    /// Where it looks.
    pub source: &'static str,
    /// Members that were found last.
    pub endpoints: usize,
    /// Whether the source answers.
    pub connected: bool,
    /// How often there were others.
    pub updates: u64,
    /// How often it did not answer, or not as it should.
    pub failures: u64,
}

pub(super) fn render(text: &mut Text, searches: &[SearchRow]) {
    let mut each = |family: &family::Family, count: fn(&SearchRow) -> u64| {
        text.family(family);
        for row in searches {
            text.line(family.name, &[("pool", &row.pool), ("source", row.source)], count(row));
        }
    };
    each(&family::FOUND, |row| row.endpoints as u64);
    each(&family::SEARCH_CONNECTED, |row| u64::from(row.connected));
    each(&family::SEARCH_UPDATES, |row| row.updates);
    each(&family::SEARCH_FAILURES, |row| row.failures);
}
