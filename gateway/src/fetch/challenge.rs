//! What a registry wants to know before it hands anything out: `WWW-Authenticate` (RFC 9110 section 11.6.1).
//!
//! Pure. In: the values of the field. Out: the challenges that are understood, in their order; what is malformed is left out.

use crate::http::fields::token_length;

/// A challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Challenge {
    /// Name and password.
    Basic,
    /// A token that is handed out at another place.
    Bearer {
        /// Where.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// For what.
        scope: Option<String>,
    },
}

/// A scheme in lower case, and its parameters.
type Scheme = (Vec<u8>, Vec<(String, String)>);

/// All challenges of a field.
pub(super) fn challenges<'v>(values: impl Iterator<Item = &'v [u8]>) -> Vec<Challenge> {
    values.flat_map(of_value).collect()
}

fn of_value(mut rest: &[u8]) -> Vec<Challenge> {
    let mut found: Vec<Scheme> = Vec::new();
    loop {
        rest = skip(rest, b" \t,");
        let (word, behind) = rest.split_at(token_length(rest));
        if word.is_empty() {
            break;
        }
        match trim_start(behind).strip_prefix(b"=") {
            // A parameter belongs to the scheme before it.
            Some(behind) => {
                let Some((value, behind)) = value(trim_start(behind)) else { break };
                let name = String::from_utf8_lossy(word).to_ascii_lowercase();
                if let Some((_, parameters)) = found.last_mut() {
                    parameters.push((name, value));
                }
                rest = behind;
            }
            None => {
                found.push((word.to_ascii_lowercase(), Vec::new()));
                rest = behind;
            }
        }
    }
    let read = |(scheme, parameters): Scheme| {
        let of = |name: &str| parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
        match scheme.as_slice() {
            b"basic" => Some(Challenge::Basic),
            b"bearer" => Some(Challenge::Bearer { realm: of("realm")?, service: of("service"), scope: of("scope") }),
            _ => None,
        }
    };
    found.into_iter().filter_map(read).collect()
}

/// A token or a quoted string, and what stands behind it.
fn value(bytes: &[u8]) -> Option<(String, &[u8])> {
    let Some(mut rest) = bytes.strip_prefix(b"\"") else {
        // More than a token may hold, since addresses are seen without quotes.
        let end = bytes.iter().position(|byte| b" \t,".contains(byte)).unwrap_or(bytes.len());
        let (value, rest) = bytes.split_at(end);
        return Some((String::from_utf8(value.to_vec()).ok()?, rest));
    };
    let mut value = Vec::new();
    loop {
        let (byte, behind) = rest.split_first()?;
        rest = behind;
        match byte {
            b'"' => return Some((String::from_utf8(value).ok()?, rest)),
            b'\\' => {
                let (byte, behind) = rest.split_first()?;
                value.push(*byte);
                rest = behind;
            }
            byte => value.push(*byte),
        }
    }
}

fn skip<'b>(bytes: &'b [u8], what: &[u8]) -> &'b [u8] {
    let end = bytes.iter().position(|byte| !what.contains(byte)).unwrap_or(bytes.len());
    bytes.get(end..).unwrap_or_default()
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    skip(bytes, b" \t")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Challenge> {
        challenges([text.as_bytes()].into_iter())
    }

    #[test]
    fn challenges_are_read() {
        let bearer = |scope: Option<&str>| Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("registry, one".into()),
            scope: scope.map(str::to_owned),
        };
        let text =
            r#"Bearer realm="https://auth.example/token",service="registry, one",scope="repository:a/b:pull,push""#;
        assert_eq!(read(text), [bearer(Some("repository:a/b:pull,push"))]);
        let text =
            r#"Negotiate, bearer Realm = https://auth.example/token , service="registry\, one", Basic realm="x""#;
        assert_eq!(read(text), [bearer(None), Challenge::Basic]);
        assert_eq!(read("Basic"), [Challenge::Basic]);
    }

    #[test]
    fn what_is_malformed_is_left_out() {
        for text in [
            "",
            ",",
            "Bearer",
            "Bearer realm",
            "Bearer realm=\"open",
            "=",
            "\"",
            "Digest realm=\"a\"",
            "Bearer realm=\"\\",
        ] {
            assert_eq!(read(text), [], "{text}");
        }
    }
}
