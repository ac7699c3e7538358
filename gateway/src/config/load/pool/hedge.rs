//! `[pool.NAME.hedge]`: a second endpoint for requests that take long.

use std::time::Duration;

use super::{At, Reader, file, value};
use crate::config::model::{Hedge, HedgeAfter};
use crate::config::problem::excerpt;

impl Reader<'_, '_> {
    pub(super) fn hedge(&mut self, at: &At<file::Hedge>) -> Hedge {
        let hedge = &at.value;
        let after = hedge.after.as_ref().map(|after| self.text(after, moment));
        let at_least = self.time(hedge.at_least.as_ref());
        let at_most = hedge.at_most.as_ref().and_then(|share| self.text(share, value::share));
        if let (Some(Some(HedgeAfter::Time(_))), Some(least)) = (after, &hedge.at_least) {
            self.report.at(&least.span, "has a meaning only where \"after\" is a percentile");
        }
        let after = after.flatten().unwrap_or(Hedge::AFTER);
        let least = match after {
            HedgeAfter::Percentile(_) => Hedge::AT_LEAST,
            HedgeAfter::Time(_) => Duration::ZERO,
        };
        Hedge { after, at_least: at_least.unwrap_or(least), at_most: at_most.unwrap_or(Hedge::AT_MOST) }
    }
}

/// `"p95"`, `"p99.9"`, `"50ms"`.
fn moment(text: &str) -> Result<HedgeAfter, String> {
    let wrong = || {
        let wrong = excerpt(text);
        format!("takes a percentile from \"p50\" to \"p99.9\", or a time such as \"50ms\", not {wrong:?}")
    };
    let Some(number) = text.strip_prefix('p') else {
        let time = value::duration(text).map_err(|_| wrong())?;
        return if time.is_zero() { Err("takes a time above 0".into()) } else { Ok(HedgeAfter::Time(time)) };
    };
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole, 2) || !digits(tenth, 1) {
        return Err(wrong());
    }
    let thousandths = whole.parse::<u32>().ok().zip(tenth.parse::<u32>().ok()).map(|(whole, tenth)| whole * 10 + tenth);
    thousandths.filter(|part| (500..=999).contains(part)).map(HedgeAfter::Percentile).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_percentiles_or_times() {
        for (text, part) in [("p50", 500), ("p95", 950), ("p99.9", 999), ("p99.0", 990)] {
            assert_eq!(moment(text), Ok(HedgeAfter::Percentile(part)), "{text}");
        }
        assert_eq!(moment("50ms"), Ok(HedgeAfter::Time(Duration::from_millis(50))));
        for wrong in ["", "p", "p5", "p49", "p100", "p99.99", "p9x", "p95%", "95", "0ms", "-1ms"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
