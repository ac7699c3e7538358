//! What becomes of a response's fields when its content is coded otherwise.
//!
//! Pure. In: fields. Out: fields that are true for the content as it goes out.

use super::plan::DIGESTS;
use crate::http::encoding::Coding;
use crate::http::{Fields, name};

/// Says that the response depends on what codings the client takes (RFC 9110 section 12.5.5).
pub fn vary(fields: &mut Fields) {
    if fields.members(name::VARY).any(|member| member == b"*" || member.eq_ignore_ascii_case(b"accept-encoding")) {
        return;
    }
    // In one line with what is there: there are caches that read only one.
    let mut line: Vec<u8> = fields.members(name::VARY).collect::<Vec<_>>().join(&b", "[..]);
    if !line.is_empty() {
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(b"Accept-Encoding");
    // Made of what stood in fields.
    let _ = fields.set(name::VARY, &line);
}

/// Makes the fields those of content that was coded so here, or not at all.
///
/// Byte for byte it is not what the origin had, so its tag becomes weak (RFC 9110 section 8.8.1): that still answers
/// If-None-Match, which compares weakly, and can no longer join parts, which needs a strong one. Sums over the content do not hold
/// any more, nor does the offer of ranges of it.
pub fn recoded(fields: &mut Fields, coding: Option<Coding>) {
    for field in [name::CONTENT_LENGTH, name::CONTENT_ENCODING, name::ACCEPT_RANGES] {
        fields.remove(field);
    }
    for field in DIGESTS {
        fields.remove(field);
    }
    if let Some(coding) = coding {
        let _ = fields.append(name::CONTENT_ENCODING, coding.text().as_bytes());
    }
    weaken(fields);
}

/// A client that has the response as it was coded here asks for its weak tag, and is told of that one (RFC 9111 section 4.3.4: by
/// a strong tag it would look for another response to freshen).
pub fn not_modified(request: &Fields, response: &mut Fields) {
    let Some(tag) = response.value(name::ETAG).filter(|tag| tag.first() == Some(&b'"')) else { return };
    let mut has_weak = false;
    for known in request.members(name::IF_NONE_MATCH) {
        if known == tag {
            return;
        }
        has_weak |= known.strip_prefix(b"W/") == Some(tag);
    }
    if has_weak {
        weaken(response);
    }
}

fn weaken(fields: &mut Fields) {
    let Some(tag) = fields.value(name::ETAG).filter(|tag| tag.first() == Some(&b'"')) else { return };
    let weak = [b"W/", tag].concat();
    // It was a value before.
    let _ = fields.set(name::ETAG, &weak);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        list.iter().for_each(|(name, value)| fields.append(*name, value.as_bytes()).unwrap());
        fields
    }

    #[test]
    fn vary_is_one_line_that_names_each_field_once() {
        for (lines, expected) in [
            (&[][..], "Accept-Encoding"),
            (&["Origin"], "Origin, Accept-Encoding"),
            (&["Origin", "Cookie,Accept"], "Origin, Cookie, Accept, Accept-Encoding"),
            (&["accept-ENCODING"], "accept-ENCODING"),
            (&["*"], "*"),
        ] {
            let mut list = fields(&lines.iter().map(|line| ("vary", *line)).collect::<Vec<_>>());
            vary(&mut list);
            assert_eq!(list.values(name::VARY).collect::<Vec<_>>(), [expected.as_bytes()], "{lines:?}");
        }
    }

    #[test]
    fn nothing_stays_that_is_true_for_the_other_content_only() {
        let before = [
            ("etag", "\"a\""),
            ("content-length", "10"),
            ("content-encoding", "br"),
            ("accept-ranges", "bytes"),
            ("content-digest", "sha-256=:x:"),
            ("content-md5", "x"),
            ("content-type", "text/css"),
        ];
        let mut list = fields(&before);
        recoded(&mut list, Some(Coding::Gzip));
        let left: Vec<(&str, &[u8])> = list.iter().map(|(name, value)| (name.text(), value)).collect();
        assert_eq!(left, [("content-type", &b"text/css"[..]), ("content-encoding", b"gzip"), ("etag", b"W/\"a\"")]);
        recoded(&mut list, None);
        assert_eq!((list.text("etag"), list.contains("content-encoding")), (Some("W/\"a\""), false));
    }

    #[test]
    fn a_client_is_told_of_the_version_that_it_has() {
        for (known, tag, expected) in [
            ("W/\"a\"", "\"a\"", "W/\"a\""),
            ("\"a\"", "\"a\"", "\"a\""),
            ("W/\"a\", \"a\"", "\"a\"", "\"a\""),
            ("W/\"b\"", "\"a\"", "\"a\""),
            ("*", "\"a\"", "\"a\""),
            ("W/\"a\"", "W/\"a\"", "W/\"a\""),
        ] {
            let mut response = fields(&[("etag", tag)]);
            not_modified(&fields(&[("if-none-match", known)]), &mut response);
            assert_eq!(response.text("etag"), Some(expected), "{known} {tag}");
        }
    }
}
