//! From a path in a request to a path below a folder.
//!
//! In: the path as it stood on the wire, percent-encoded, without a query. Out: the same path decoded once, made of plain
//! names, to be put behind the folder and a slash. Invariant: whatever came in, no name of the result is empty, begins with
//! a dot (but `.well-known` at the top), or holds a slash, a backslash or a control character. So the result names something
//! below the folder as far as names go; where symbolic links lead is seen when the file is opened. What the configuration adds
//! (`try_files`, siblings) is put around such names and leads as little out as they do.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::config::model::Candidate;
use crate::http::encoding::Coding;

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

/// What a path may turn out to be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ask {
    /// No slash at the end: a folder is redirected.
    File,
    /// A slash at the end: a file is not found.
    Folder,
    /// The client's path says nothing of it, because it was rewritten.
    Either,
    /// The configuration names a file: a folder is not found.
    Name,
}

impl Ask {
    /// What a client asks for that sent the one path, of which the other is left below the folder.
    pub fn of(path_below: &str, client_path: &str) -> Ask {
        match (path_below.ends_with('/'), client_path.ends_with('/')) {
            (true, _) => Ask::Folder,
            (false, true) if path_below.is_empty() => Ask::Folder,
            (false, true) => Ask::Either,
            (false, false) => Ask::File,
        }
    }
}

/// Where to look for `names`, as [`resolve`] gives them, by one of the paths to try; `None`: this one is not for such a request.
pub fn candidate<'a>(candidate: &'a Candidate, names: &'a str, ask: Ask) -> Option<(Cow<'a, str>, Ask)> {
    let Candidate { before, after, takes_path } = candidate;
    if !takes_path {
        return Some((before.into(), Ask::Name));
    }
    // Nothing can be added to a name that is not there: "/docs/" has no "/docs/.html".
    let adds_to_name = !after.is_empty() && !after.starts_with('/');
    if adds_to_name && (names.is_empty() || ask == Ask::Folder) {
        return None;
    }
    let ask = if after.is_empty() { ask } else { Ask::Name };
    if before.is_empty() && after.is_empty() {
        return Some((names.into(), ask));
    }
    Some((format!("{before}{names}{after}").into(), ask))
}

/// Where the sibling of a file is, of this coding.
pub fn sibling(path: &str, coding: Coding) -> Option<String> {
    let extension = match coding {
        Coding::Gzip => "gz",
        Coding::Brotli => "br",
        Coding::Zstd => "zst",
        Coding::Deflate => return None,
    };
    Some(format!("{path}.{extension}"))
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
    fn each_spelling_of_a_way_out_is_refused() {
        let (mut hidden, mut malformed) = (0, 0);
        let dots =
            ["..", "%2e%2e", "%2E.", ".%2e", "%2e%2E", "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae", "..%00", "..;", "%u002e"];
        let slashes = ["/", "%2f", "%2F", "%5c", "\\", "%c0%af", "%e0%80%af"];
        for (dots, slash) in dots.into_iter().flat_map(|dots| slashes.map(|slash| (dots, slash))) {
            for path in [format!("/{dots}{slash}etc/passwd"), format!("/a{slash}{dots}{slash}{dots}{slash}etc/passwd")]
            {
                match resolved(&path) {
                    Err(Refused::Hidden) => hidden += 1,
                    Err(Refused::Malformed) => malformed += 1,
                    Ok(names) => panic!("{path}: {names:?}"),
                }
            }
        }
        assert_eq!((hidden + malformed, malformed > 0), (140, true));
    }

    #[test]
    fn odd_unicode_is_a_name_or_refused() {
        // No form is made another: a name is what the folder says it is, and leads nowhere else.
        for name in ["．．", "‥", "∕", "／", "＼", "e\u{301}", "\u{202e}txt.exe", "\u{feff}", "\u{200b}", "\u{85}"]
        {
            let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
            assert_eq!(resolved(&format!("/{encoded}/x")), Ok((format!("/{name}/x"), false)), "{encoded}");
        }
        // Half of a pair of UTF-16, more than Unicode has, cut short, a byte that follows nothing.
        for name in ["%ed%a0%80", "%f4%90%80%80", "%e2%82", "%80", "%fe", "%c1%9c"] {
            assert_eq!(resolved(&format!("/{name}")), Err(Refused::Hidden), "{name}");
        }
    }

    #[test]
    fn a_redirect_stays_on_this_host() {
        assert_eq!(with_slash("/a/b", None), "./b/");
        assert_eq!(with_slash("//evil.example", Some("x=/")), "./evil.example/?x=/");
        assert_eq!(with_slash("/a:b", None), "./a:b/");
    }

    fn tried(before: &str, after: &str, takes_path: bool) -> Candidate {
        Candidate { before: before.into(), after: after.into(), takes_path }
    }

    #[test]
    fn paths_to_try_are_made_of_the_names() {
        let rows = [
            (Candidate::path(), "/a", Ask::File, Some(("/a", Ask::File))),
            (Candidate::path(), "", Ask::Folder, Some(("", Ask::Folder))),
            (tried("", ".html", true), "/a/b", Ask::File, Some(("/a/b.html", Ask::Name))),
            (tried("", ".html", true), "", Ask::Folder, None),
            (tried("", ".html", true), "/a", Ask::Folder, None),
            (tried("", "/x", true), "/a", Ask::Folder, Some(("/a/x", Ask::Name))),
            (tried("/old", "", true), "/a", Ask::Either, Some(("/old/a", Ask::Either))),
            (tried("/index.html", "", false), "/a", Ask::Folder, Some(("/index.html", Ask::Name))),
        ];
        for (one, names, ask, expected) in rows {
            let expected = expected.map(|(path, ask)| (Cow::Borrowed(path), ask));
            assert_eq!(candidate(&one, names, ask), expected, "{one:?} {names}");
        }
        assert_eq!(sibling("/a.js", Coding::Zstd).as_deref(), Some("/a.js.zst"));
        assert_eq!(sibling("/a.js", Coding::Deflate), None);
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
