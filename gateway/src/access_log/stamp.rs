//! Points in time as text, in UTC. The text of a second is made once.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The text of the last second that was asked for.
#[derive(Default, Debug)]
pub(super) struct Stamp {
    second: Option<u64>,
    rfc3339: String,
    combined: String,
}

impl Stamp {
    /// `2026-11-21T03:59:43`, to which fraction and zone are to be added, and the milliseconds.
    pub(super) fn rfc3339(&mut self, time: SystemTime) -> (&str, u32) {
        let millis = self.set(time);
        (&self.rfc3339, millis)
    }

    /// `21/Nov/2026:03:59:43 +0000`
    pub(super) fn combined(&mut self, time: SystemTime) -> &str {
        self.set(time);
        &self.combined
    }

    fn set(&mut self, time: SystemTime) -> u32 {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != Some(since.as_secs()) {
            self.second = Some(since.as_secs());
            let (year, month, day) = date(since.as_secs() / 86_400);
            let second = since.as_secs() % 86_400;
            let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
            let name = usize::try_from(month - 1).ok().and_then(|at| MONTHS.get(at)).unwrap_or(&"???");
            self.rfc3339 = format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}");
            self.combined = format!("{day:02}/{name}/{year:04}:{h:02}:{m:02}:{s:02} +0000");
        }
        since.subsec_millis()
    }
}

/// Year, month and day of a day since 1970, in the Gregorian calendar. Counts in eras of 400 years that begin in March,
/// so that the leap day is the last of its year.
fn date(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_second_is_written_both_ways() {
        let mut stamp = Stamp::default();
        let time = UNIX_EPOCH + Duration::from_millis(1_709_251_199_042);
        assert_eq!(stamp.rfc3339(time), ("2024-02-29T23:59:59", 42));
        assert_eq!(stamp.combined(time), "29/Feb/2024:23:59:59 +0000");
        assert_eq!(stamp.rfc3339(time + Duration::from_secs(1)).0, "2024-03-01T00:00:00");
        assert_eq!(stamp.rfc3339(UNIX_EPOCH - Duration::from_secs(1)).0, "1970-01-01T00:00:00");
    }

    proptest! {
        #[test]
        fn dates_are_those_of_the_http_format(second in 0u64..200_000_000_000) {
            let http = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            let (year, month, day) = date(second / 86_400);
            let ours = format!("{day:02} {} {year:04}", MONTHS[month as usize - 1]);
            prop_assert!(http.contains(&ours), "{} {}", http, ours);
        }
    }
}
