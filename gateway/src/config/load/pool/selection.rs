//! Which endpoints of a pool get requests, and what share of them.

use super::super::{Reader, file, value};
use crate::config::model::Selection;

impl Reader<'_, '_> {
    pub(super) fn selection(&mut self, pool: &file::Pool) -> Selection {
        let default = Selection::default();
        let below = pool.distrust_below.as_ref().and_then(|below| self.text(below, value::share_or_none));
        let factor = pool.spill_factor.as_ref().and_then(|factor| {
            let fits = (1.0..=100.0).contains(&factor.value);
            self.read(&factor.span, fits.then_some(factor.value).ok_or("takes a number from 1 to 100".into()))
        });
        Selection {
            distrust_below: below.unwrap_or(default.distrust_below),
            spill_factor: factor.unwrap_or(default.spill_factor),
        }
    }
}
