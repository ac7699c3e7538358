//! Whether a response is compressed, decompressed or left alone.
//!
//! Pure. In: the route's word, what the client said, the head of the response and how long its body is. Out: what is to be done.

use crate::config::model::Compress;
use crate::http::encoding::{self, Accepted, Coded, Coding};
use crate::http::fields::trim;
use crate::http::{Fields, Known, RequestHead, ResponseHead, StatusCode, name};

/// What the client said, as it came: the route or a plugin may change the request before the response is there.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The codings that it takes.
    pub accepted: Accepted,
    /// RFC 9111 section 5.2.1.6.
    pub no_transform: bool,
}

/// What is to be done with a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Another client could get it in another coding.
    pub varies: bool,
    /// It is coded so, and that is to be taken away.
    pub decode: Option<Coding>,
    /// It is to be coded so.
    pub encode: Option<Coding>,
}

impl Asked {
    /// Reads a request. Takes the range out of one that would go on where it stopped by nothing but a date: what it has may be
    /// compressed, and what it would get is not (RFC 9110 section 14.2: a server may ignore ranges). Where responses are kept, the
    /// origin is asked for them as they are: each is compressed here once, and one entry is for all.
    pub fn of(request: &mut RequestHead, terms: &Compress, is_kept: bool) -> Asked {
        let asked = Asked { accepted: Accepted::of(&request.fields), no_transform: no_transform(&request.fields) };
        let by_date = request.fields.value(name::IF_RANGE).is_some_and(|value| !is_tag(value));
        if by_date && asked.accepted.choose(&terms.encodings).is_some() {
            request.fields.remove(name::RANGE);
            request.fields.remove(name::IF_RANGE);
        }
        if is_kept {
            // It is a value.
            let _ = request.fields.set(name::ACCEPT_ENCODING, b"identity");
        }
        asked
    }
}

/// What is to be done with a response of that length, when it is known.
pub fn plan(terms: &Compress, asked: Asked, head: &ResponseHead, length: Option<u64>) -> Plan {
    let fields = &head.fields;
    let media = fields.value(name::CONTENT_TYPE).map(essence);
    // gRPC compresses its messages itself, and its clients read no codings.
    let is_grpc = media.is_some_and(is_grpc);
    if no_transform(fields) || is_grpc {
        return Plan::default();
    }
    let is_listed = media.is_some_and(|media| terms.types.iter().any(|range| range.holds(media)));
    let only_varies = |varies| Plan { varies, ..Plan::default() };
    match head.status {
        status if status.is_informational() => return Plan::default(),
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => return Plan::default(),
        // RFC 9110 sections 15.4.5 and 15.3.7: these say what a 200 would; mostly its type is not known any more.
        StatusCode::NOT_MODIFIED => return only_varies(media.is_none() || is_listed),
        StatusCode::PARTIAL_CONTENT => return only_varies(is_listed),
        _ if fields.contains(name::CONTENT_RANGE) || length == Some(0) => return Plan::default(),
        _ => {}
    }
    let coded = encoding::coded(fields);
    let decode = match coded {
        Coded::Plain => None,
        Coded::Once(coding) => Some(coding),
        Coded::Otherwise => return Plan::default(),
    };
    // The sum of a coded body says nothing of how long it is.
    let is_large = decode.is_some() || length.is_none_or(|length| length >= terms.at_least);
    let may_encode = is_listed && is_large && !DIGESTS.iter().any(|field| fields.contains(*field));
    let varies = decode.is_some() || may_encode;
    let decode = decode.filter(|coding| !asked.accepted.takes(*coding));
    if asked.no_transform || (coded != Coded::Plain && decode.is_none()) {
        return only_varies(varies);
    }
    let encode = if may_encode { asked.accepted.choose(&terms.encodings) } else { None };
    Plan { varies, decode, encode }
}

/// Whether each piece of a response is wanted as soon as it is there.
pub fn is_prompt(content_type: Option<&[u8]>) -> bool {
    const PROMPT: [&[u8]; 3] = [b"text/event-stream", b"application/x-ndjson", b"application/jsonl"];
    content_type.map(essence).is_some_and(|media| PROMPT.iter().any(|prompt| media.eq_ignore_ascii_case(prompt)))
}

/// Fields that hold a sum over the content as it is (RFC 9530, and those before it).
pub const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// A media type without its parameters.
fn essence(content_type: &[u8]) -> &[u8] {
    trim(content_type.split(|&byte| byte == b';').next().unwrap_or_default())
}

fn is_grpc(media: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let (start, rest) = media.split_at_checked(GRPC.len()).unwrap_or_default();
    start.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b'-'))
}

/// RFC 9111 sections 5.2.1.6 and 5.2.2.6.
fn no_transform(fields: &Fields) -> bool {
    says(fields, name::CACHE_CONTROL, b"no-transform")
}

fn says(fields: &Fields, field: Known, wanted: &[u8]) -> bool {
    fields.members(field).any(|member| member.eq_ignore_ascii_case(wanted))
}

/// Whether `If-Range` holds an entity tag, and no date (RFC 9110 section 13.1.5).
fn is_tag(value: &[u8]) -> bool {
    matches!(value, [b'"', ..] | [b'W', b'/', ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Levels, MediaRange};
    use crate::http::{Method, Scheme, Version};
    use Coding::{Brotli, Gzip, Zstd};

    fn terms() -> Compress {
        Compress {
            types: Compress::TYPES.into_iter().map(MediaRange::new).collect(),
            at_least: Compress::AT_LEAST,
            encodings: Compress::ENCODINGS.to_vec(),
            levels: Levels::DEFAULT,
            cached_levels: Levels::CACHED,
        }
    }

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        list.iter().for_each(|(name, value)| fields.append(*name, value.as_bytes()).unwrap());
        fields
    }

    fn request(list: &[(&str, &str)]) -> RequestHead {
        RequestHead {
            method: Method::GET,
            version: Version::Http11,
            scheme: Scheme::Http,
            authority: String::new(),
            target: "/".to_owned(),
            upgrade: None,
            fields: fields(list),
        }
    }

    fn planned(asked: &[(&str, &str)], status: u16, response: &[(&str, &str)], length: Option<u64>) -> Plan {
        let asked = Asked::of(&mut request(asked), &terms(), false);
        let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        head.fields = fields(response);
        plan(&terms(), asked, &head, length)
    }

    const ALL: (&str, &str) = ("accept-encoding", "gzip, br, zstd");
    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

    fn only_varies() -> Plan {
        Plan { varies: true, decode: None, encode: None }
    }

    fn encode(coding: Coding) -> Plan {
        Plan { varies: true, decode: None, encode: Some(coding) }
    }

    #[test]
    fn what_may_become_smaller_is_compressed_as_the_client_likes_it() {
        let large = Some(5000);
        for (asked, status, response, length, expected) in [
            (&[ALL][..], 200, &[JSON][..], large, encode(Zstd)),
            (&[("accept-encoding", "gzip")], 200, &[JSON], large, encode(Gzip)),
            (&[ALL], 200, &[JSON], None, encode(Zstd)),
            (&[ALL], 404, &[JSON], large, encode(Zstd)),
            (&[], 200, &[JSON], large, only_varies()),
            (&[("accept-encoding", "identity;q=0")], 200, &[JSON], large, only_varies()),
            (&[ALL, ("cache-control", "max-age=0, No-Transform")], 200, &[JSON], large, only_varies()),
            (&[ALL], 200, &[JSON], Some(1023), Plan::default()),
            (&[ALL], 200, &[JSON], Some(0), Plan::default()),
            (&[ALL], 200, &[("content-type", "image/png")], large, Plan::default()),
            (&[ALL], 200, &[("content-type", "text/event-stream")], None, Plan::default()),
            (&[ALL], 200, &[("content-type", "application/grpc+json")], None, Plan::default()),
            (&[ALL], 200, &[], large, Plan::default()),
            (&[ALL], 200, &[JSON, ("cache-control", "private,no-transform")], large, Plan::default()),
            (&[ALL], 200, &[JSON, ("content-digest", "sha-256=:x:")], large, Plan::default()),
            (&[ALL], 200, &[JSON, ("content-range", "bytes 0-1/2")], large, Plan::default()),
            (&[ALL], 204, &[JSON], Some(0), Plan::default()),
            (&[ALL], 206, &[JSON, ("content-range", "bytes 0-1/2")], large, only_varies()),
            (&[ALL], 304, &[], Some(0), only_varies()),
            (&[ALL], 304, &[("content-type", "image/png")], Some(0), Plan::default()),
        ] {
            assert_eq!(
                planned(asked, status, response, length),
                expected,
                "{asked:?} {status} {response:?} {length:?}"
            );
        }
    }

    #[test]
    fn what_is_compressed_already_is_left_so_for_those_who_take_it() {
        let (br, gzip) = (("content-encoding", "br"), ("accept-encoding", "gzip"));
        let decode = |encode| Plan { varies: true, decode: Some(Brotli), encode };
        for (asked, response, expected) in [
            (&[ALL][..], &[JSON, br][..], only_varies()),
            (&[], &[JSON, br], only_varies()),
            (&[gzip], &[JSON, br], decode(Some(Gzip))),
            (&[gzip], &[("content-type", "image/png"), br], decode(None)),
            (&[("accept-encoding", "")], &[JSON, br], decode(None)),
            (&[gzip, ("cache-control", "no-transform")], &[JSON, br], only_varies()),
            (&[gzip], &[JSON, br, ("cache-control", "no-transform")], Plan::default()),
            (&[gzip], &[JSON, ("content-encoding", "br, gzip")], Plan::default()),
            (&[gzip], &[JSON, ("content-encoding", "exi")], Plan::default()),
        ] {
            assert_eq!(planned(asked, 200, response, Some(10)), expected, "{asked:?} {response:?}");
        }
    }

    #[test]
    fn what_may_be_compressed_is_not_resumed_by_its_date() {
        const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (encodings, held, left) in
            [("gzip", DATE, false), ("gzip", "\"a\"", true), ("gzip", "W/\"a\"", true), ("", DATE, true)]
        {
            let mut request = request(&[("accept-encoding", encodings), ("range", "bytes=5-"), ("if-range", held)]);
            Asked::of(&mut request, &terms(), false);
            assert_eq!(request.fields.contains(name::RANGE), left, "{encodings} {held}");
        }
    }
}
