//! `[limits]`: each by its unit, and none so small that nothing could work any more.

use super::{Reader, file, value};
use crate::config::file::Size;
use crate::limits::{KINDS, Limits, TABLE, Unit, Value};

/// Bounds that may be 0, which then means none of it: no waiting, no reuse, no body.
const MAY_BE_ZERO: &[&str] = &[
    "body_min_rate",
    "body_size",
    "discard_size",
    "drain_time",
    "http2_continuation_frames",
    "http2_empty_frames_per_second",
    "http2_header_table_size",
    "upstream_idle_connections",
    "upstream_idle_time",
];

/// Bounds that a protocol bounds in turn: name, least, most, by what.
const RANGES: &[(&str, u64, u64, &str)] = &[
    ("http2_stream_window", 1, (1 << 31) - 1, "RFC 9113 section 6.9.1"),
    // A connection begins with this much, and no setting makes it less.
    ("http2_connection_window", 65_535, (1 << 31) - 1, "RFC 9113 section 6.9.2"),
    ("http2_header_list_size", 1, u32::MAX as u64, "RFC 9113 section 6.5.2"),
    ("http2_header_table_size", 0, u32::MAX as u64, "RFC 9113 section 6.5.2"),
];

impl Reader<'_, '_> {
    pub(super) fn limits(&mut self, written: &file::Limits) -> Limits {
        let mut limits = Limits::default();
        for (name, at) in &written.0 {
            let unit = TABLE.iter().zip(KINDS).find(|(row, _)| row.name == name).map(|(_, unit)| *unit);
            let set = bound(name, unit.unwrap_or(Unit::Count), &at.value).and_then(|value| {
                limits.set(name, value).map_err(|takes| match takes {
                    Some(takes) => format!("takes {takes}"),
                    None => "unknown key".into(),
                })
            });
            self.read(&at.span, set);
        }
        limits
    }
}

fn bound(name: &str, unit: Unit, written: &Size) -> Result<Value, String> {
    let value = match (unit, written) {
        (Unit::Time, Size::Text(text)) => Value::Time(value::duration(text)?),
        (Unit::Size, Size::Text(text)) => Value::Size(value::size(text)?),
        (Unit::Count, Size::Text(_)) => return Err("takes a whole number".into()),
        (_, Size::Bytes(number)) => Value::Count(*number),
    };
    let zero = match value {
        Value::Count(number) | Value::Size(number) => number == 0,
        Value::Time(time) => time.is_zero(),
    };
    if zero && !MAY_BE_ZERO.contains(&name) {
        return Err("cannot be 0: nothing would work any more".into());
    }
    if let (Value::Size(number) | Value::Count(number), Some((_, least, most, by))) =
        (value, RANGES.iter().find(|(range, ..)| *range == name))
        && !(*least..=*most).contains(&number)
    {
        return Err(format!("takes {least} to {most} bytes ({by})"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_special_bounds_exist() {
        let names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
        for name in MAY_BE_ZERO.iter().chain(RANGES.iter().map(|(name, ..)| name)) {
            assert!(names.contains(name), "{name}");
        }
    }

    #[test]
    fn written_defaults_are_the_defaults() {
        let mut limits = Limits::default();
        for (row, unit) in TABLE.iter().zip(KINDS) {
            let written = match serde_json::from_str(row.default).unwrap() {
                serde_json::Value::Number(number) => Size::Bytes(number.as_u64().unwrap()),
                serde_json::Value::String(text) => Size::Text(text),
                other => panic!("{other}"),
            };
            let value = bound(row.name, *unit, &written).unwrap();
            assert_eq!(limits.set(row.name, value), Ok(()));
            assert_eq!(limits, Limits::default(), "{}", row.name);
        }
    }

    #[test]
    fn zero_is_refused_where_nothing_would_work() {
        assert!(bound("connections", Unit::Count, &Size::Bytes(0)).is_err());
        assert!(bound("header_time", Unit::Time, &Size::Text("0s".into())).is_err());
        assert!(bound("drain_time", Unit::Time, &Size::Text("0s".into())).is_ok());
        assert!(bound("http2_connection_window", Unit::Size, &Size::Text("1KiB".into())).is_err());
    }
}
