//! A plugin's configuration, from the JSON text that the gateway makes of the table `config`; and times in it, written as
//! the gateway's own are.
//!
//! ```
//! # use gatewright_sdk::prelude::*;
//! #[derive(Deserialize)]
//! struct Config {
//!     #[serde(deserialize_with = "gatewright_sdk::config::duration")]
//!     window: Duration,
//! }
//! ```

use std::borrow::Cow;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};

/// The configuration of a plugin that needs none. Any key in it is an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Errors begin with the path of the key that is wrong.
pub(crate) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    let mut json = serde_json::Deserializer::from_slice(text);
    serde_path_to_error::deserialize(&mut json).or_else(|error| {
        // `()` is the natural way to say that there is none; JSON has it as null.
        if text == b"{}"
            && let Ok(none) = serde_json::from_slice(b"null")
        {
            return Ok(none);
        }
        let path = error.path().to_string();
        let what = error.into_inner().to_string();
        // Line and column are those of the JSON text, which nobody has seen.
        let what = what.rfind(" at line ").and_then(|end| what.get(..end)).unwrap_or(&what);
        // A dot stands for the whole; a question mark for what broke off before its key was read.
        let bare = matches!(path.as_str(), "." | "?");
        Err(if bare { Error::new(what) } else { Error::new(format_args!("{path}: {what}")) })
    })
}

/// A time such as `"250ms"`, `"2s"`, `"1m30s"` or `"1h"`: for `#[serde(deserialize_with = "…")]`.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Duration, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    time(&text).ok_or_else(|| {
        D::Error::custom(format_args!("takes a time such as \"250ms\", \"2s\", \"1m30s\" or \"1h\", not {text:?}"))
    })
}

/// The same where nothing may be said: beside `#[serde(default)]`.
pub fn optional_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

fn time(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum: u64 = 0;
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit)?;
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        sum = number.parse::<u64>().ok()?.checked_mul(milliseconds)?.checked_add(sum)?;
        rest = after;
    }
    Some(Duration::from_millis(sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_those_of_the_gateway() {
        for (text, ms) in [("250ms", 250), ("2s", 2000), ("1m30s", 90_000), ("1d", 86_400_000), ("0s", 0)] {
            assert_eq!(time(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "1.5s", "5 s", "99999999999999999999s", "-1s"] {
            assert_eq!(time(text), None, "{text}");
        }
        #[derive(Deserialize, Debug)]
        #[allow(dead_code)]
        struct Timed {
            #[serde(deserialize_with = "duration")]
            window: Duration,
        }
        let wrong = parse::<Timed>(br#"{"window": "5"}"#).unwrap_err().to_string();
        assert_eq!(wrong, r#"window: takes a time such as "250ms", "2s", "1m30s" or "1h", not "5""#);
    }

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[allow(dead_code)]
        spare: u32,
        #[serde(default)]
        #[allow(dead_code)]
        zones: Vec<Zone>,
    }

    #[derive(Deserialize, Debug)]
    #[allow(dead_code)]
    struct Zone {
        weight: u8,
    }

    fn error(text: &str) -> String {
        parse::<Config>(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn errors_say_which_key_is_wrong_and_why() {
        assert_eq!(error(r#"{"spare": "x"}"#), r#"spare: invalid type: string "x", expected u32"#);
        assert_eq!(error("{}"), "missing field `spare`");
        assert_eq!(error(r#"{"spar": 1}"#), "spar: unknown field `spar`, expected `spare` or `zones`");
        let text = r#"{"spare": 1, "zones": [{"weight": 1}, {"weight": 300}]}"#;
        assert_eq!(error(text), "zones[1].weight: invalid value: integer `300`, expected u8");
        assert_eq!(
            parse::<NoConfig>(b"{\"x\": 1}").unwrap_err().to_string(),
            "x: unknown field `x`, there are no fields"
        );
        assert_eq!(parse::<NoConfig>(b"{}").unwrap(), NoConfig {});
        assert_eq!(parse::<()>(b"{}").ok(), Some(()));
        assert!(parse::<()>(b"{\"x\": 1}").is_err());
        assert_eq!(error("{"), "EOF while parsing an object");
    }
}
