//! A plugin's configuration, from the JSON text that the gateway makes of the table `config`.

use serde::Deserialize;
use serde::de::DeserializeOwned;

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

#[cfg(test)]
mod tests {
    use super::*;

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
