//! From a path in a request to a path below a folder.
//!
//! In: the path as it stood on the wire, percent-encoded, without a query. Out: the same path decoded once, made of plain
//! names, to be put behind the folder and a slash. Invariant: whatever came in, no name of the result is empty, begins with
//! a dot (but `.well-known` at the top), or holds a slash, a backslash or a control character. So the result names something
//! below the folder as far as names go; where symbolic links lead is looked at when the file is open.

use std::fmt::Write as _;

/// Why a path names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// `%` without two hexadecimal digits behind it, or NUL.
    #[error("bad percent-encoding in the path")]
    Malformed,
    /// Such a file is never served.
    #[error("no such file")]
    Hidden,
}

/// Adds the names of `path` to `out`, each behind a slash. `Ok(true)`: the path ended with a slash, or names nothing but
/// the folder itself.
pub fn resolve(path: &str, out: &mut Vec<u8>) -> Result<bool, Refused> {
    let base = out.len();
    let mut first = true;
    // Decoding comes after splitting, so that an encoded slash stands inside a name, where it is refused.
    for segment in path.split('/') {
        if segment.is_empty() {
            continue;
        }
        out.push(b'/');
        let start = out.len();
        decode(segment.as_bytes(), out)?;
        let name = out.get(start..).unwrap_or_default();
        let served = is_plain(name) || (first && name == b".well-known");
        if !served {
            return Err(Refused::Hidden);
        }
        first = false;
    }
    Ok(path.ends_with('/') || out.len() == base)
}

/// Decodes once: `%252e` is the name `%2e`, not a dot.
fn decode(segment: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
    let mut rest = segment;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let [high, low, after @ ..] = rest else { return Err(Refused::Malformed) };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return Err(Refused::Malformed) };
        match (high * 16 + low) as u8 {
            0 => return Err(Refused::Malformed),
            byte => out.push(byte),
        }
        rest = after;
    }
    Ok(())
}

/// Names are UTF-8 here. That also refuses the overlong forms in which `.` and `/` have been smuggled. Normal forms are
/// left alone: a name is what the folder says it is.
fn is_plain(name: &[u8]) -> bool {
    !name.starts_with(b".")
        && name.iter().all(|&b| b >= 0x20 && b != 0x7f && b != b'/' && b != b'\\')
        && std::str::from_utf8(name).is_ok()
}

/// Where a client that asked for a folder without a slash at the end should ask. Relative to what it asked for, so it holds
/// whatever stands before this gateway, and cannot lead to another host (`//evil.example`).
pub fn with_slash(path: &str, query: Option<&str>) -> String {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let mut location = format!("./{name}/");
    if let Some(query) = query {
        let _ = write!(location, "?{query}");
    }
    location
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resolved(path: &str) -> Result<(String, bool), Refused> {
        let mut out = Vec::new();
        let slash = resolve(path, &mut out)?;
        Ok((String::from_utf8(out).unwrap(), slash))
    }

    #[test]
    fn plain_paths_are_decoded_once() {
        let rows = [
            ("", "", true),
            ("/", "", true),
            ("a.html", "/a.html", false),
            ("/a/b/", "/a/b", true),
            ("//a//b", "/a/b", false),
            ("/%61%20b", "/a b", false),
            ("/%252e%252e/x", "/%2e%2e/x", false),
            ("/caf%C3%A9", "/café", false),
            ("/.well-known/acme", "/.well-known/acme", false),
            ("/a..b/c.", "/a..b/c.", false),
        ];
        for (path, expected, slash) in rows {
            assert_eq!(resolved(path), Ok((expected.to_string(), slash)), "{path}");
        }
    }

    #[test]
    fn ways_out_and_hidden_names_are_refused() {
        for path in [
            "/..",
            "/../etc/passwd",
            "/a/../../b",
            "/%2e%2e/b",
            "/%2E./b",
            "/.%2e/b",
            "/a/..%2fb",
            "/a%2fb",
            "/a%5c..%5cb",
            "/a\\b",
            "/./a",
            "/.git/config",
            "/a/.well-known/x",
            "/.well-known/../x",
            "/.well-known/.x",
            "/..;/x",
            "/%c0%ae%c0%ae/x",
            "/%e0%80%ae",
            "/%ff",
            "/a%0a",
            "/a%7f",
            "/a%1bb",
        ] {
            assert_eq!(resolved(path), Err(Refused::Hidden), "{path}");
        }
        for path in ["/%", "/%1", "/%zz", "/a%00.html", "/%2", "/%+1"] {
            assert_eq!(resolved(path), Err(Refused::Malformed), "{path}");
        }
    }

    #[test]
    fn a_redirect_stays_on_this_host() {
        assert_eq!(with_slash("/a/b", None), "./b/");
        assert_eq!(with_slash("//evil.example", Some("x=/")), "./evil.example/?x=/");
        assert_eq!(with_slash("/a:b", None), "./a:b/");
    }

    proptest! {
        #[test]
        fn whatever_comes_in_stays_below(path in "(/|%2f|%5c|\\\\|\\.|%2e|%2E|%25|%00|a|%c0%ae|é|~){0,12}") {
            if let Ok((out, _)) = resolved(&path) {
                for name in out.split('/').skip(1) {
                    prop_assert!(!name.is_empty() && !name.starts_with('.'));
                    prop_assert!(!name.contains(['\\', '\0']));
                }
                prop_assert!(out.is_empty() || out.starts_with('/'));
            }
        }

        #[test]
        fn any_text_is_taken_without_panic(path: String) {
            let _ = resolved(&path);
            prop_assert!(with_slash(&path, None).starts_with("./"));
        }
    }
}
