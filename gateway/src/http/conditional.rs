//! Conditional requests (RFC 9110 section 13), as pure decisions.
//!
//! In: the fields of a GET or HEAD request, and what is known of the version that there is. Out: whether to answer, and whether the
//! ranges of the request hold.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::http::{Fields, name};

/// What tells one version from another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validators<'a> {
    /// The entity tag with its quotes, and `W/` before it when it is weak.
    pub tag: Option<&'a [u8]>,
    /// The second of the last change.
    pub modified: Option<u64>,
}

/// What the conditions come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

impl<'a> Validators<'a> {
    /// The tag without the mark of weakness.
    fn opaque(&self) -> Option<&'a [u8]> {
        self.tag.map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag))
    }

    /// RFC 9110 section 8.8.3.2: weak tags are the same as none.
    fn is_strongly(&self, weak: bool, other: &[u8]) -> bool {
        !weak && self.tag == Some(other)
    }
}

/// RFC 9110 section 13.2.2, step by step, as the origin of a response takes them.
pub fn evaluate(fields: &Fields, known: Validators<'_>) -> Verdict {
    if fields.contains(name::IF_MATCH) {
        // Section 13.1.1: the strong comparison.
        if !any_tag(fields, name::IF_MATCH, |weak, other| known.is_strongly(weak, other)) {
            return Verdict::Failed;
        }
    } else if date(fields, name::IF_UNMODIFIED_SINCE).zip(known.modified).is_some_and(|(since, at)| at > since) {
        return Verdict::Failed;
    }
    match is_known(fields, known) {
        true => Verdict::NotModified,
        false => Verdict::Proceed,
    }
}

/// Whether the client has this version already (sections 13.1.2 and 13.1.3): all that a cache looks at (RFC 9111 section 4.3.2).
pub fn is_known(fields: &Fields, known: Validators<'_>) -> bool {
    if fields.contains(name::IF_NONE_MATCH) {
        // The weak comparison, and If-Modified-Since does not count beside it.
        return any_tag(fields, name::IF_NONE_MATCH, |_, other| known.opaque() == Some(other));
    }
    date(fields, name::IF_MODIFIED_SINCE).zip(known.modified).is_some_and(|(since, at)| at <= since)
}

/// RFC 9110 section 13.1.5: whether `Range` is to be obeyed. Tags compare strongly, dates exactly.
pub fn range_holds(fields: &Fields, known: Validators<'_>) -> bool {
    match fields.value(name::IF_RANGE) {
        None => true,
        Some(value) if value.starts_with(b"\"") || value.starts_with(b"W/") => {
            known.is_strongly(false, value) && !value.starts_with(b"W/")
        }
        Some(_) => known.modified.is_some() && date(fields, name::IF_RANGE) == known.modified,
    }
}

/// A time as a Unix second.
pub fn second(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since: Duration| since.as_secs())
}

/// In any of the three forms; nothing for what is no date, which is as if the field were not there.
fn date(fields: &Fields, field: crate::http::Known) -> Option<u64> {
    httpdate::parse_http_date(fields.text(field)?).ok().map(second)
}

/// Whether one of the tags is found good, or the field is `*`.
fn any_tag(fields: &Fields, field: crate::http::Known, good: impl Fn(bool, &[u8]) -> bool) -> bool {
    fields.values(field).any(|value| value == b"*" || tags(value).any(|(weak, tag)| good(weak, tag)))
}

/// The entity tags of a list: whether weak, and with quotes. A backslash in a tag escapes nothing (section 8.8.3), so
/// this is not the list of quoted strings that other fields hold. Ends at what is no tag.
fn tags(value: &[u8]) -> impl Iterator<Item = (bool, &[u8])> {
    let mut rest = value;
    std::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let (weak, tag) = match rest.strip_prefix(b"W/") {
            Some(tag) => (true, tag),
            None => (false, rest),
        };
        let end = tag.strip_prefix(b"\"")?.iter().position(|&b| b == b'"')? + 2;
        let (tag, after) = tag.split_at_checked(end)?;
        rest = after;
        Some((weak, tag))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: Validators<'_> = Validators { tag: Some(b"\"a\""), modified: Some(784_111_777) };
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sunday, 06-Nov-94 08:49:36 GMT";
    const AFTER: &str = "Sun Nov  6 08:49:38 1994";

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in list {
            fields.append(*name, value.as_bytes()).unwrap();
        }
        fields
    }

    #[test]
    fn conditions_are_looked_at_in_their_order() {
        use Verdict::{Failed, NotModified, Proceed};
        let rows: &[(&[(&str, &str)], Verdict)] = &[
            (&[], Proceed),
            (&[("if-match", "\"a\"")], Proceed),
            (&[("if-match", "*")], Proceed),
            (&[("if-match", "\"b\", \"a\"")], Proceed),
            (&[("if-match", "W/\"a\"")], Failed),
            (&[("if-match", "\"b\"")], Failed),
            (&[("if-match", "a")], Failed),
            (&[("if-unmodified-since", SAME)], Proceed),
            (&[("if-unmodified-since", BEFORE)], Failed),
            (&[("if-unmodified-since", "soon")], Proceed),
            (&[("if-match", "\"a\""), ("if-unmodified-since", BEFORE)], Proceed),
            (&[("if-none-match", "\"a\"")], NotModified),
            (&[("if-none-match", "W/\"a\"")], NotModified),
            (&[("if-none-match", "\"b\\\", \"a\"")], NotModified),
            (&[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"b\"")], Proceed),
            (&[("if-none-match", "\"b\""), ("if-modified-since", SAME)], Proceed),
            (&[("if-modified-since", SAME)], NotModified),
            (&[("if-modified-since", AFTER)], NotModified),
            (&[("if-modified-since", BEFORE)], Proceed),
            (&[("if-modified-since", "never")], Proceed),
            (&[("if-match", "\"b\""), ("if-none-match", "\"a\"")], Failed),
            (&[("if-match", "\"a\""), ("if-none-match", "\"a\"")], NotModified),
        ];
        for (list, verdict) in rows {
            assert_eq!(evaluate(&fields(list), KNOWN), *verdict, "{list:?}");
        }
    }

    #[test]
    fn a_range_holds_only_for_the_very_same() {
        let rows = [("\"a\"", true), ("W/\"a\"", false), ("\"b\"", false), (SAME, true), (AFTER, false), ("x", false)];
        for (value, holds) in rows {
            assert_eq!(range_holds(&fields(&[("if-range", value)]), KNOWN), holds, "{value}");
        }
        assert!(range_holds(&Fields::new(), KNOWN));
    }

    #[test]
    fn a_weak_tag_is_known_and_no_more() {
        let weak = Validators { tag: Some(b"W/\"a\""), modified: None };
        for tag in ["\"a\"", "W/\"a\""] {
            assert_eq!(evaluate(&fields(&[("if-none-match", tag)]), weak), Verdict::NotModified, "{tag}");
            assert_eq!(evaluate(&fields(&[("if-match", tag)]), weak), Verdict::Failed, "{tag}");
            assert!(!range_holds(&fields(&[("if-range", tag)]), weak), "{tag}");
        }
        // Nothing is known of when it changed.
        for field in ["if-modified-since", "if-unmodified-since"] {
            assert_eq!(evaluate(&fields(&[(field, SAME)]), weak), Verdict::Proceed, "{field}");
        }
        assert!(!range_holds(&fields(&[("if-range", SAME)]), weak));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_and_tags_keep_their_quotes(value: Vec<u8>) {
            for (_, tag) in tags(&value) {
                prop_assert!(tag.len() >= 2 && tag.starts_with(b"\"") && tag.ends_with(b"\""));
            }
        }
    }
}
