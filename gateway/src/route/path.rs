//! The normal form of a path, in which routes are compared.
//!
//! In: the path of a target as it stood on the wire. Out: an equivalent path (RFC 3986 section 6.2.2), borrowed when it
//! was normal already, as nearly all are; or why it is refused with 400. Invariant: the result begins with `/`, is made
//! of `pchar`, slashes and upper-case escapes only, and has no dot segments. The one exception is `*`, which stays.
//!
//! Escapes of unreserved characters are decoded, other escapes stay, in upper case; what may not stand in a path is
//! escaped. Then dot segments are resolved (section 5.2.4). Two slashes keep an empty segment between them. `%2F` stays
//! inside its segment.
//!
//! # No way round a route
//!
//! A route for `/admin/` may guard what lies below it, so a request that an upstream could take for one below `/admin/`
//! must not pass by another route. Upstreams differ in how they read a path. What has one meaning by RFC 3986 is
//! brought to it (`/x/../admin/`, `/%61dmin/`, `/x/%2e%2e/admin/`), and literals are compared decoded (`key`). Where
//! servers disagree, the request is refused rather than guessed at:
//!
//! - dots behind an encoded slash, a backslash or a parameter (`..%2fadmin`, `..\admin`, `..;/admin`), and dots that
//!   take back a segment that others see differently (`/x//../admin`, `/x%2fy/../admin`), are
//!   [`PathProblem::HiddenDots`];
//! - other paths with `//`, `%2F`, a backslash or `;` are matched as they are, and once more as the most lenient server
//!   would read them (`Wide`). When that reading goes to another route by way of a literal segment that the first
//!   reading did not see (`/admin%2fusers`, `//admin/`, `/admin;x/users`), no route matches. Otherwise they pass, so
//!   that `/@scope%2fname` and `/a//b` work as long as no route tells the two readings apart.
//!
//! Upstreams that decode twice or ignore case are not covered.

use std::borrow::Cow;

/// Why a path is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", self.text())]
pub enum PathProblem {
    /// It does not begin with a slash.
    Relative,
    /// A percent sign without two hexadecimal digits behind it.
    Escape,
    /// A NUL, escaped or not.
    Nul,
    /// Dot segments lead above the root.
    AboveRoot,
    /// Dot segments that some servers see and others do not.
    HiddenDots,
}

impl PathProblem {
    /// In words that a client may read.
    pub const fn text(self) -> &'static str {
        match self {
            PathProblem::Relative => "path does not begin with a slash",
            PathProblem::Escape => "malformed percent-escape in path",
            PathProblem::Nul => "NUL in path",
            PathProblem::AboveRoot => "path leads above the root",
            PathProblem::HiddenDots => "ambiguous dot segments in path",
        }
    }
}

const UNRESERVED: u8 = 1;
const PCHAR: u8 = 2;

/// RFC 3986 section 2.3 and 3.3.
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => UNRESERVED | PCHAR,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' => PCHAR,
            _ => 0,
        };
        byte += 1;
    }
    table
};

/// Whether a byte may stand in a segment as it is (`pchar` without escapes).
pub(super) fn is_pchar(byte: u8) -> bool {
    CLASS[byte as usize] & PCHAR != 0
}

/// Appends a byte as an escape.
pub(super) fn push_escape(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// The normal form of a path, without query.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, PathProblem> {
    if path == "*" || is_normal(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let mut segments = path.strip_prefix('/').ok_or(PathProblem::Relative)?.split('/').peekable();
    let mut out = String::with_capacity(path.len() + 8);
    while let Some(segment) = segments.next() {
        let start = out.len();
        out.push('/');
        push_normal(segment, &mut out)?;
        match dots(out.get(start + 1..).unwrap_or_default()) {
            Dots::None => continue,
            Dots::Hidden => return Err(PathProblem::HiddenDots),
            Dots::Same => out.truncate(start),
            Dots::Up => {
                out.truncate(start);
                let above = out.rfind('/').ok_or(PathProblem::AboveRoot)?;
                if is_disputed(out.get(above + 1..).unwrap_or_default()) {
                    return Err(PathProblem::HiddenDots);
                }
                out.truncate(above);
            }
        }
        // RFC 3986 section 5.2.4: a dot segment at the end leaves its slash.
        if segments.peek().is_none() {
            out.push('/');
        }
    }
    Ok(if out == path { Cow::Borrowed(path) } else { Cow::Owned(out) })
}

/// Whether a path is normal at first sight: no escapes, nothing to escape, no dot segments.
fn is_normal(path: &[u8]) -> bool {
    let mut before = 0;
    path.first() == Some(&b'/')
        && path.iter().enumerate().all(|(at, &byte)| {
            let opens_with_dot = byte == b'.' && before == b'/';
            before = byte;
            match byte {
                b'/' => true,
                _ if opens_with_dot => {
                    let rest = path.get(at..).unwrap_or_default();
                    let end = rest.iter().position(|&b| matches!(b, b'/' | b';')).unwrap_or(rest.len());
                    !matches!(rest.get(..end), Some(b"." | b".."))
                }
                _ => is_pchar(byte),
            }
        })
}

/// Appends the normal form of a segment.
fn push_normal(segment: &str, out: &mut String) -> Result<(), PathProblem> {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let (escaped, byte) = match byte {
            b'%' => {
                let digit = |b: Option<u8>| char::from(b.unwrap_or(b' ')).to_digit(16).ok_or(PathProblem::Escape);
                (true, (digit(bytes.next())? << 4 | digit(bytes.next())?) as u8)
            }
            byte => (false, byte),
        };
        let class = CLASS[usize::from(byte)];
        match byte {
            0 => return Err(PathProblem::Nul),
            _ if class & UNRESERVED != 0 || (class & PCHAR != 0 && !escaped) => out.push(char::from(byte)),
            _ => push_escape(byte, out),
        }
    }
    Ok(())
}

enum Dots {
    None,
    Same,
    Up,
    Hidden,
}

/// What a segment in normal form says by its dots.
fn dots(segment: &str) -> Dots {
    match segment {
        "." => Dots::Same,
        ".." => Dots::Up,
        _ if !segment.contains('.') => Dots::None,
        _ if pieces(segment).any(|piece| matches!(piece, "." | "..")) => Dots::Hidden,
        _ => Dots::None,
    }
}

/// The segments that a lenient server sees in one segment in normal form.
fn pieces(segment: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(segment);
    std::iter::from_fn(move || {
        let all = rest?;
        let cut = all.match_indices('%').map(|(at, _)| at).find(|&at| {
            matches!(all.as_bytes().get(at + 1..at + 3), Some(b"2F" | b"5C")) // slash and backslash
        });
        let piece = match cut {
            Some(at) => {
                rest = all.get(at + 3..);
                all.get(..at)?
            }
            None => rest.take()?,
        };
        // Parameters of a segment (RFC 3986 section 3.3), which some servers cut off.
        Some(piece.split(';').next().unwrap_or(piece))
    })
}

/// Whether servers disagree on what `..` behind this segment takes back.
fn is_disputed(segment: &str) -> bool {
    let mut pieces = pieces(segment);
    pieces.next().is_none_or(str::is_empty) || pieces.next().is_some()
}

/// How the most lenient server reads a path in normal form.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Wide {
    /// Encoded slashes and backslashes taken for slashes, several slashes for one, parameters cut off.
    pub(super) path: String,
    /// How many segments at the front are the same in both readings.
    pub(super) same: usize,
}

/// The lenient reading of a path in normal form; `None` when there is only one reading, as nearly always.
pub(super) fn wide(path: &str) -> Option<Wide> {
    let bytes = path.as_bytes();
    if memchr::memchr2(b'%', b';', bytes).is_none() && !bytes.windows(2).any(|pair| pair == b"//") {
        return None;
    }
    let mut wide = Wide { path: String::with_capacity(path.len()), same: 0 };
    let mut differs = false;
    let mut segments = path.strip_prefix('/')?.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let mut parts = pieces(segment).peekable();
        let unchanged = parts.peek() == Some(&segment) && (last || !segment.is_empty());
        differs |= !unchanged;
        wide.same += usize::from(!differs);
        while let Some(part) = parts.next() {
            if !part.is_empty() || (last && parts.peek().is_none()) {
                wide.path.push('/');
                wide.path.push_str(part);
            }
        }
    }
    differs.then_some(wide)
}

/// What of a segment in normal form is compared with literals: everything decoded but `%2F` and `%25`, so that no two
/// different segments have the same key.
pub(super) fn key(segment: &str) -> Cow<'_, [u8]> {
    let bytes = segment.as_bytes();
    if memchr::memchr(b'%', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let decoded = match (byte, behind) {
            (b'%', [high, low, ..]) if !matches!((high, low), (b'2', b'F' | b'5')) => {
                char::from(*high).to_digit(16).zip(char::from(*low).to_digit(16))
            }
            _ => None,
        };
        match decoded {
            Some((high, low)) => {
                out.push((high << 4 | low) as u8);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => out.push(byte),
        }
    }
    Cow::Owned(out)
}

/// The key of a literal of a pattern, which is written as in a URL; a percent sign that opens no escape stands for
/// itself.
pub(super) fn key_of_literal(literal: &str) -> Box<[u8]> {
    let mut normal = String::new();
    if push_normal(literal, &mut normal).is_err() {
        normal.clear();
        for byte in literal.bytes() {
            if is_pchar(byte) { normal.push(char::from(byte)) } else { push_escape(byte, &mut normal) }
        }
    }
    key(&normal).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_paths_are_borrowed() {
        for path in ["/", "/a", "/a/b.c/", "/.well-known/x", "/a//b", "/...", "/a;v=1/@b:c", "*", "/a%2Fb", "/%C3%BC"] {
            assert!(matches!(normalise(path), Ok(Cow::Borrowed(p)) if p == path), "{path}");
        }
    }

    #[test]
    fn equivalent_paths_have_one_form() {
        for (path, normal) in [
            ("/%61dmin/", "/admin/"),
            ("/x/../admin/", "/admin/"),
            ("/x/%2e%2E/admin/", "/admin/"),
            ("/./admin/.", "/admin/"),
            ("/admin/x/..", "/admin/"),
            ("/a/..", "/"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%3bb|\"", "/a%3Bb%7C%22"),
            ("/\u{fc}", "/%C3%BC"),
            ("/a//b/./c", "/a//b/c"),
        ] {
            assert_eq!(normalise(path).as_deref(), Ok(normal), "{path}");
        }
    }

    #[test]
    fn what_has_no_one_meaning_is_refused() {
        use PathProblem::*;
        for (path, problem) in [
            ("", Relative),
            ("a", Relative),
            ("/%", Escape),
            ("/%4", Escape),
            ("/%zz", Escape),
            ("/%+1", Escape),
            ("/%00", Nul),
            ("/a\0", Nul),
            ("/..", AboveRoot),
            ("/a/../../b", AboveRoot),
            ("/%2e%2e/", AboveRoot),
            ("/admin%2f..", HiddenDots),
            ("/x/..%2fadmin/", HiddenDots),
            ("/x/..%5cadmin/", HiddenDots),
            ("/x\\..\\admin", HiddenDots),
            ("/x/..;/admin/", HiddenDots),
            ("/x/.;a=b/admin/", HiddenDots),
            ("/x//../admin/", HiddenDots),
            ("/x/y%2fz/../admin/", HiddenDots),
            ("/x/;/../admin/", HiddenDots),
        ] {
            assert_eq!(normalise(path), Err(problem), "{path}");
        }
    }

    #[test]
    fn the_lenient_reading_is_made_only_when_it_differs() {
        for path in ["/", "/a/b/", "/a%20b", "/%252F", "*"] {
            assert_eq!(wide(path), None, "{path}");
        }
        for (path, reading, same) in [
            ("/admin%2Fusers", "/admin/users", 0),
            ("//admin/", "/admin/", 0),
            ("/x/admin;y/z", "/x/admin/z", 1),
            ("/x/a%5Cb", "/x/a/b", 1),
            ("/x//", "/x/", 1),
            ("/x%2F", "/x/", 0),
        ] {
            assert_eq!(wide(path), Some(Wide { path: reading.into(), same }), "{path}");
        }
    }

    #[test]
    fn keys_are_decoded_but_for_slash_and_percent() {
        assert_eq!(&*key("a%20b"), b"a b");
        assert_eq!(&*key("a%2Fb%252F"), b"a%2Fb%252F");
        assert_eq!(&*key_of_literal("caf\u{e9}"), "caf\u{e9}".as_bytes());
        assert_eq!(&*key_of_literal("100%"), b"100%25");
        assert_eq!(&*key_of_literal("%40a"), b"@a");
    }

    proptest! {
        #[test]
        fn normalising_is_total_and_idempotent(path in "[/a.%2fFeE5cC;\\\\\u{0}-\u{ff}]{0,40}") {
            for path in [path.clone(), format!("/{path}")] {
                let Ok(normal) = normalise(&path) else { continue };
                let again = normalise(&normal);
                prop_assert_eq!(again.as_deref(), Ok(&*normal));
                prop_assert!(normal == "*" || normal.starts_with('/'));
                prop_assert!(normal.bytes().all(|b| is_pchar(b) || b == b'/' || b == b'%'));
                let mut segments = normal.split('/');
                prop_assert!(segments.all(|segment| segment != "." && segment != ".."));
                if let Some(wide) = wide(&normal) {
                    prop_assert!(wide.path.starts_with('/'));
                    prop_assert!(!wide.path.contains("//"));
                    prop_assert!(wide.path.split('/').all(|segment| segment != "." && segment != ".."));
                }
            }
        }
    }
}
