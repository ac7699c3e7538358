//! `[pool.NAME.adaptive]`: a limit of requests that the pool finds by itself.

use super::{At, Either, Reader, file};
use crate::config::model::Adaptive;

impl Reader<'_, '_> {
    pub(super) fn adaptive(&mut self, at: &At<Either<bool, file::Adaptive>>) -> Option<Adaptive> {
        let default = Adaptive::default();
        let written = match &at.value {
            Either::Short(wanted) => return wanted.then_some(default),
            Either::Long(written) => written,
        };
        let least = written.least.as_ref().map_or(default.least, |least| least.value);
        let most = written.most.as_ref().map_or(default.most.max(least), |most| most.value);
        if let Some(written) = written.most.as_ref().filter(|_| most < least) {
            self.report.at(&written.span, "is below \"least\"");
        }
        let tolerance = written.tolerance.as_ref().and_then(|at| {
            let right = (1.1..=10.0).contains(&at.value).then_some(at.value);
            self.read(&at.span, right.ok_or_else(|| "takes a number from 1.1 to 10".to_owned()))
        });
        let tolerance = tolerance.unwrap_or(default.tolerance);
        Some(Adaptive { least: least.min(most), most, tolerance })
    }
}
