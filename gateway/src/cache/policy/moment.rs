//! Dates (RFC 9110 section 5.6.7), as caches have to read them (RFC 9111 section 4.2).
//!
//! In: the value of a field. Out: Unix seconds, or nothing where it is no date, which is for the caller to understand. Letters
//! count in any case. A zone other than GMT, and a day of the week that the date does not fall on, make it no date.

/// The second that a date means; 0 for all before 1970. `now` tells the century where the year has two digits.
pub fn read(value: &[u8], now: u64) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let mut words = [""; 6];
    let mut count = 0;
    for word in text.split(' ') {
        *words.get_mut(count)? = word;
        count += 1;
    }
    let (name, date, time) = match words.get(..count)? {
        // Sun, 06 Nov 1994 08:49:37 GMT
        [name, day, month, year, time, zone] if is_gmt(zone) => {
            (short(name.strip_suffix(',')?)?, (digits(day, 2)?, self::month(month)?, digits(year, 4)?), time)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        [name, date, time, zone] if is_gmt(zone) => {
            let (day, rest) = date.split_once('-')?;
            let (month, year) = rest.split_once('-')?;
            let year = century(digits(year, 2)?, now);
            (long(name.strip_suffix(',')?)?, (digits(day, 2)?, self::month(month)?, year), time)
        }
        // Sun Nov  6 08:49:37 1994
        [name, month, "", day, time, year] => {
            (short(name)?, (digits(day, 1)?, self::month(month)?, digits(year, 4)?), time)
        }
        [name, month, day, time, year] => {
            (short(name)?, (digits(day, 2)?, self::month(month)?, digits(year, 4)?), time)
        }
        _ => return None,
    };
    let days = days(date)?;
    // The first day of 1970 was a Thursday, which is the fourth here.
    if (days + 4).rem_euclid(7) != name {
        return None;
    }
    let second = days * 86_400 + clock(time)?;
    Some(u64::try_from(second).unwrap_or(0))
}

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn is_gmt(zone: &str) -> bool {
    zone.eq_ignore_ascii_case("GMT")
}

fn long(name: &str) -> Option<i64> {
    DAYS.iter().position(|day| day.eq_ignore_ascii_case(name)).and_then(|at| i64::try_from(at).ok())
}

fn short(name: &str) -> Option<i64> {
    let is_meant = |day: &&str| day.get(..3).is_some_and(|day| day.eq_ignore_ascii_case(name));
    DAYS.iter().position(is_meant).and_then(|at| i64::try_from(at).ok())
}

/// From 1.
fn month(name: &str) -> Option<i64> {
    MONTHS.iter().zip(1..).find(|(month, _)| month.eq_ignore_ascii_case(name)).map(|(_, number)| number)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// A year that would lie more than fifty years ahead is of the century before.
fn century(year: i64, now: u64) -> i64 {
    // Close enough for a rule about years.
    let present = 1970 + i64::try_from(now / 31_556_952).unwrap_or(0);
    let year = present - present.rem_euclid(100) + year;
    if year > present + 50 {
        year - 100
    } else if year <= present - 50 {
        year + 100
    } else {
        year
    }
}

/// Since 1970.
fn days((day, month, year): (i64, i64, i64)) -> Option<i64> {
    let is_leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = |month| match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=length(month)).contains(&day) {
        return None;
    }
    let before = year - 1;
    let years = before * 365 + before / 4 - before / 100 + before / 400;
    let months: i64 = (1..month).map(length).sum();
    // From the first day of the year 1.
    Some(years + months + day - 1 - 719_162)
}

fn clock(text: &str) -> Option<i64> {
    let mut parts = text.split(':').map(|part| digits(part, 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    // The last second of a day may be a leap second.
    let fits = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    fits.then_some(hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_795_298_400;
    const THEN: Option<u64> = Some(784_111_777);

    #[test]
    fn three_forms_are_read_in_any_case_and_nothing_else() {
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", THEN),
            ("SUN, 06 nov 1994 08:49:37 gmt", THEN),
            ("Sunday, 06-Nov-94 08:49:37 GMT", THEN),
            ("Sun Nov  6 08:49:37 1994", THEN),
            ("Sun Nov 06 08:49:37 1994", THEN),
            ("Wed, 31 Dec 1969 23:59:59 GMT", Some(0)),
            ("Sat, 31 Dec 2016 23:59:60 GMT", Some(1_483_228_800)),
            ("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400)),
            ("Mon, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 UTC", None),
            ("Sun, 06 Nov 1994 08:49:37 +0100", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 6 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06  Nov 1994 08:49:37 GMT", None),
            ("Sun 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06-Nov-1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 94 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 24:00:00 GMT", None),
            ("Sun, 06 Nov 1994 8:49:37 GMT", None),
            ("Thu, 29 Feb 1900 00:00:00 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("0", None),
            ("", None),
        ] {
            assert_eq!(read(text.as_bytes(), NOW), expected, "{text}");
        }
    }

    #[test]
    fn two_digits_mean_the_year_that_is_nearest() {
        // It is 2026: 2076 is fifty years ahead and 2077 is more.
        assert_eq!(century(76, NOW), 2076);
        assert_eq!(century(77, NOW), 1977);
        assert_eq!((century(26, NOW), century(94, NOW), century(0, NOW)), (2026, 1994, 2000));
        let late = NOW + 60 * 31_556_952;
        assert_eq!(
            (century(30, late), century(87, late), century(36, late), century(37, late)),
            (2130, 2087, 2136, 2037)
        );
    }

    proptest! {
        #[test]
        fn every_second_is_read_as_it_is_written(second in 0u64..253_402_300_800) {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            prop_assert_eq!(read(text.as_bytes(), NOW), Some(second));
            prop_assert_eq!(read(text.to_uppercase().as_bytes(), NOW), Some(second));
        }

        #[test]
        fn whatever_comes_is_taken(value: Vec<u8>, now: u64) {
            let _ = read(&value, now);
        }

        #[test]
        fn what_another_reader_takes_is_taken(text in "(Sun|Mon|Tue|Wed|Thu|Fri|Sat), [0-3][0-9] (Jan|Feb|Jun|Dec) (19[7-9]|20[0-9])[0-9] [0-2][0-9]:[0-6][0-9]:[0-6][0-9] GMT") {
            if let Ok(time) = httpdate::parse_http_date(&text) {
                let second = time.duration_since(UNIX_EPOCH).unwrap().as_secs();
                prop_assert_eq!(read(text.as_bytes(), NOW), Some(second));
            }
        }
    }
}
