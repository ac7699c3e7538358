//! A record as a line: JSON, or the combined format of Apache and nginx.
//!
//! Whatever a client sent, the line is one line, the JSON is valid, and the quotes of the combined format hold. Each
//! field has room for so many bytes after escaping; together they stay below 16 KiB.

use std::io::Write;
use std::time::Duration;

use super::Record;
use super::stamp::Stamp;
use crate::escape;
use crate::http::Version;

const TARGET: usize = 8 * 1024;
const REFERER: usize = 2 * 1024;
const AGENT: usize = 1024;
const AUTHORITY: usize = 512;
const NAME: usize = 512;
const WORD: usize = 128;

/// `{"time":"2026-11-21T03:59:43.123Z","client":"192.0.2.7",…}`; what is not known is left out.
pub(super) fn json(out: &mut Vec<u8>, record: &Record<'_>, stamp: &mut Stamp) {
    let (second, millis) = stamp.rfc3339(record.time);
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(second.as_bytes());
    let _ = write!(out, ".{millis:03}Z\",\"client\":\"{}\"", record.client);
    if let Some(method) = record.method {
        text(out, "method", method.as_str().as_bytes(), WORD);
    }
    text(out, "scheme", record.scheme.text().as_bytes(), WORD);
    text(out, "authority", record.authority.as_bytes(), AUTHORITY);
    text(out, "target", record.target.as_bytes(), TARGET);
    text(out, "protocol", record.version.text().as_bytes(), WORD);
    if let Some(status) = record.status {
        number(out, "status", status.as_u16().into());
    }
    number(out, "bytes_in", record.bytes_in);
    number(out, "bytes_out", record.bytes_out);
    millis_of(out, "duration_ms", record.duration);
    if let Some(upstream) = record.upstream {
        text(out, "upstream", upstream.as_bytes(), NAME);
        number(out, "retries", record.retries.into());
    }
    if let Some(time) = record.upstream_first_byte {
        millis_of(out, "upstream_first_byte_ms", time);
    }
    let named = [("route", record.route), ("pool", record.pool), ("request_id", Some(record.request_id))];
    for (key, value) in named {
        if let Some(value) = value {
            text(out, key, value.as_bytes(), NAME);
        }
    }
    let words = [
        ("hedge", record.hedge),
        ("error", record.error),
        ("tls", record.tls),
        ("cache", record.cache),
        ("encoding", record.encoding),
    ];
    for (key, value) in words {
        if let Some(value) = value {
            text(out, key, value.as_bytes(), WORD);
        }
    }
    tags(out, record.tags);
    if let Some(agent) = record.user_agent {
        text(out, "user_agent", agent, AGENT);
    }
    if let Some(referer) = record.referer {
        text(out, "referer", referer, REFERER);
    }
    out.extend_from_slice(b"}\n");
}

/// `192.0.2.7 - - [21/Nov/2026:03:59:43 +0000] "GET / HTTP/1.1" 200 15 "-" "curl/8"`
pub(super) fn combined(out: &mut Vec<u8>, record: &Record<'_>, stamp: &mut Stamp) {
    let _ = write!(out, "{} - - [{}] \"", record.client, stamp.combined(record.time));
    match record.method {
        Some(method) => {
            escape::log(out, method.as_str().as_bytes(), WORD);
            out.push(b' ');
            escape::log(out, record.target.as_bytes(), TARGET);
            // Programs that read this format expect two numbers.
            let version = if record.version == Version::Http2 { "HTTP/2.0" } else { record.version.text() };
            let _ = write!(out, " {version}");
        }
        None => out.push(b'-'),
    }
    let status = record.status.map_or(0, |status| status.as_u16());
    let _ = write!(out, "\" {status:03} {} \"", record.bytes_out);
    escape::log(out, record.referer.unwrap_or(b"-"), REFERER);
    out.extend_from_slice(b"\" \"");
    escape::log(out, record.user_agent.unwrap_or(b"-"), AGENT);
    out.extend_from_slice(b"\"\n");
}

fn key(out: &mut Vec<u8>, key: &'static str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

/// `,"tags":{"name":"value",…}`
fn tags(out: &mut Vec<u8>, tags: &[(String, String)]) {
    for (number, (name, value)) in tags.iter().enumerate() {
        out.extend_from_slice(if number == 0 { b",\"tags\":{\"" } else { b",\"" });
        escape::json(out, name.as_bytes(), WORD);
        out.extend_from_slice(b"\":\"");
        escape::json(out, value.as_bytes(), WORD);
        out.push(b'"');
    }
    if !tags.is_empty() {
        out.push(b'}');
    }
}

fn text(out: &mut Vec<u8>, name: &'static str, value: &[u8], room: usize) {
    key(out, name);
    out.push(b'"');
    escape::json(out, value, room);
    out.push(b'"');
}

fn number(out: &mut Vec<u8>, name: &'static str, value: u64) {
    key(out, name);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn millis_of(out: &mut Vec<u8>, name: &'static str, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    number(out, name, micros / 1000);
    let _ = write!(out, ".{:03}", micros % 1000);
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::IpAddr;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::http::{Method, Scheme, StatusCode};
    use proptest::prelude::*;

    pub(in super::super) fn record<'a>() -> Record<'a> {
        Record {
            time: UNIX_EPOCH + Duration::from_millis(1_709_251_199_042),
            client: IpAddr::from([192, 0, 2, 7]),
            method: Some(&Method::GET),
            scheme: Scheme::Https,
            authority: "shop.example",
            target: "/a?b=c",
            version: Version::Http2,
            status: Some(StatusCode::BAD_GATEWAY),
            bytes_in: 0,
            bytes_out: 15,
            duration: Duration::from_micros(1234),
            upstream: Some("127.0.0.1:9001"),
            upstream_first_byte: None,
            retries: 1,
            hedge: None,
            route: Some("shop"),
            pool: Some("api"),
            request_id: "7f",
            error: Some("connect-failed"),
            tls: Some("1.3"),
            user_agent: Some(b"curl/8"),
            referer: None,
            cache: None,
            encoding: None,
            tags: &[],
        }
    }

    fn line(write: impl Fn(&mut Vec<u8>, &Record<'_>, &mut Stamp), record: &Record<'_>) -> String {
        let mut out = Vec::new();
        write(&mut out, record, &mut Stamp::default());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_json_line_holds_what_is_known() {
        assert_eq!(
            line(json, &record()),
            concat!(
                r#"{"time":"2024-02-29T23:59:59.042Z","client":"192.0.2.7","method":"GET","scheme":"https","#,
                r#""authority":"shop.example","target":"/a?b=c","protocol":"HTTP/2","status":502,"bytes_in":0,"#,
                r#""bytes_out":15,"duration_ms":1.234,"upstream":"127.0.0.1:9001","retries":1,"route":"shop","#,
                r#""pool":"api","request_id":"7f","error":"connect-failed","tls":"1.3","user_agent":"curl/8"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_combined_line_is_as_others_write_it() {
        assert_eq!(
            line(combined, &record()),
            "192.0.2.7 - - [29/Feb/2024:23:59:59 +0000] \"GET /a?b=c HTTP/2.0\" 502 15 \"-\" \"curl/8\"\n"
        );
        let broken = Record { method: None, status: None, ..record() };
        assert!(line(combined, &broken).contains("] \"-\" 000 15 \""));
    }

    #[test]
    fn a_line_has_a_bound_whatever_its_fields_hold() {
        let long = vec![0xff; 100_000];
        let name = "\u{1}".repeat(100_000);
        let time = SystemTime::now();
        let record = Record {
            time,
            authority: &name,
            target: &name,
            upstream: Some(&name),
            route: Some(&name),
            pool: Some(&name),
            request_id: &name,
            hedge: Some(&name),
            user_agent: Some(&long),
            referer: Some(&long),
            cache: Some(&name),
            tags: &[],
            ..record()
        };
        for line in [line(json, &record), line(combined, &record)] {
            assert!(line.len() <= 16 * 1024, "{}", line.len());
            assert!(line.contains("..."));
        }
    }

    proptest! {
        #[test]
        fn nothing_a_client_sends_makes_a_second_line(target: String, agent: Vec<u8>, referer: Vec<u8>) {
            let record = Record { target: &target, user_agent: Some(&agent), referer: Some(&referer), ..record() };
            let json = line(json, &record);
            prop_assert_eq!(json.matches('\n').count(), 1);
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(value["target"].as_str(), Some(&*target));
            let combined = line(combined, &record);
            prop_assert_eq!(combined.matches('\n').count(), 1);
            prop_assert_eq!(combined.matches('"').count(), 6);
            prop_assert!(combined.is_ascii());
        }
    }
}
