//! The page that a client sees when there is nothing better to send.
//!
//! In: a status, what may be said of the error, the request id, the request as far as it is known. Out: a small
//! complete response in the form that the client prefers: HTML, JSON, plain text, or a gRPC status. It says nothing of
//! versions, addresses or causes.

use std::io::Write;

use crate::escape;
use crate::http::accept::{self, Liked};
use crate::http::{Body, Fields, Method, RequestHead, ResponseHead, StatusCode, name};

/// What form a page takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// For browsers.
    Html,
    /// For programs that ask for it.
    Json,
    /// For everybody else, such as curl.
    Text,
    /// For gRPC clients: status 200, and the failure in `grpc-status`.
    Grpc,
}

impl Form {
    /// What the client prefers.
    pub(super) fn of(fields: &Fields) -> Form {
        let grpc = b"application/grpc";
        if fields.value(name::CONTENT_TYPE).is_some_and(|value| starts_with(value, grpc)) {
            return Form::Grpc;
        }
        let (mut html, mut json, mut text) = (Liked::default(), Liked::default(), Liked::default());
        for range in accept::ranges(fields) {
            html.consider(range, b"text/html", b"text/*");
            json.consider(range, b"application/json", b"application/*");
            json.consider(range, b"application/problem+json", b"");
            text.consider(range, b"text/plain", b"text/*");
        }
        // `*/*` alone is no wish for HTML: the one who sends it is most likely a person at a terminal.
        match html.quality.max(json.quality).max(text.quality) {
            0 => Form::Text,
            best if html.is_named() && html.quality == best => Form::Html,
            best if json.is_named() && json.quality == best => Form::Json,
            _ => Form::Text,
        }
    }
}

/// Makes the page. `explanation` may be empty; then a sentence for the status stands in its place. Without a request
/// (its head was broken) the form is plain text.
pub(super) fn page(
    request: Option<&RequestHead>,
    status: StatusCode,
    explanation: &str,
    id: &str,
) -> (ResponseHead, Body) {
    let form = request.map_or(Form::Text, |request| Form::of(&request.fields));
    let reason = status.canonical_reason().unwrap_or("Error");
    let sentence = sentence(status);
    if form == Form::Grpc {
        return grpc(status, if explanation.is_empty() { reason } else { explanation });
    }
    let body = match form {
        Form::Html => html(status, reason, sentence, explanation, id),
        Form::Json => json(status, reason, sentence, explanation, id),
        Form::Text | Form::Grpc => text(status, reason, sentence, explanation, id),
    };
    let content_type: &[u8] = match form {
        Form::Html => b"text/html; charset=utf-8",
        Form::Json => b"application/json",
        Form::Text | Form::Grpc => b"text/plain; charset=utf-8",
    };
    let mut fields = Fields::with_capacity(8, 192);
    // These values hold no control characters, so that none can be refused.
    let _ = fields.append(name::CONTENT_TYPE, content_type);
    let _ = fields.append(name::CONTENT_LENGTH, itoa::Buffer::new().format(body.len()).as_bytes());
    let _ = fields.append(name::CACHE_CONTROL, b"no-store");
    let _ = fields.append("x-content-type-options", b"nosniff");
    if status == StatusCode::METHOD_NOT_ALLOWED {
        // RFC 9110 section 15.5.6. Only static folders refuse a method by themselves.
        let _ = fields.append(name::ALLOW, b"GET, HEAD");
    }
    let mut head = ResponseHead::new(status);
    head.fields = fields;
    // RFC 9110 section 9.3.2: the fields as for GET, but no body.
    let is_head = request.is_some_and(|request| request.method == Method::HEAD);
    (head, if is_head { Body::Empty } else { Body::full(body) })
}

/// A response that is nothing but its head, as gRPC calls "Trailers-Only".
fn grpc(status: StatusCode, message: &str) -> (ResponseHead, Body) {
    // From "HTTP to gRPC Status Code Mapping" of the gRPC documentation.
    let code: &[u8] = match status.as_u16() {
        400 => b"13",
        401 => b"16",
        403 => b"7",
        404 => b"12",
        429 | 502 | 503 | 504 => b"14",
        _ => b"2",
    };
    let mut head = ResponseHead::new(StatusCode::OK);
    let mut text = Vec::with_capacity(message.len());
    for &byte in message.as_bytes() {
        match byte {
            b'%' | ..0x20 | 0x7f.. => {
                let _ = write!(text, "%{byte:02X}");
            }
            _ => text.push(byte),
        }
    }
    let _ = head.fields.append(name::CONTENT_TYPE, b"application/grpc");
    let _ = head.fields.append(name::GRPC_STATUS, code);
    let _ = head.fields.append("grpc-message", &text);
    (head, Body::Empty)
}

fn html(status: StatusCode, reason: &str, sentence: &str, explanation: &str, id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(640);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{0} {reason}</title>\n\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}}\
         small{{color:#666}}</style>\n<h1>{0} {reason}</h1>\n<p>{sentence}",
        status.as_u16()
    );
    if !explanation.is_empty() {
        out.extend_from_slice(b" (");
        escape::html(&mut out, explanation);
        out.push(b')');
    }
    out.extend_from_slice(b"</p>\n");
    if !id.is_empty() {
        out.extend_from_slice(b"<p><small>Request ");
        escape::html(&mut out, id);
        out.extend_from_slice(b"</small></p>\n");
    }
    out
}

fn json(status: StatusCode, reason: &str, sentence: &str, explanation: &str, id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let _ = write!(out, "{{\"status\":{},\"reason\":\"{reason}\",\"message\":\"{sentence}\"", status.as_u16());
    for (key, value) in [("detail", explanation), ("request_id", id)] {
        if !value.is_empty() {
            let _ = write!(out, ",\"{key}\":\"");
            escape::json(&mut out, value.as_bytes(), 1024);
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"}\n");
    out
}

fn text(status: StatusCode, reason: &str, sentence: &str, explanation: &str, id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let _ = write!(out, "{} {reason}\n\n{sentence}", status.as_u16());
    if !explanation.is_empty() {
        let _ = write!(out, " ({explanation})");
    }
    out.push(b'\n');
    if !id.is_empty() {
        let _ = writeln!(out, "Request {id}");
    }
    out
}

/// What a person may want to know. No quotes or angle brackets: it is used in all forms as it is.
fn sentence(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "The request could not be understood.",
        401 => "This needs a login.",
        403 => "You may not see this.",
        404 => "There is nothing at this address.",
        405 => "This address does not take requests of this kind.",
        408 => "The request took too long to arrive.",
        412 => "What was asked about has changed in the meantime.",
        413 => "The request is larger than is accepted here.",
        414 => "The address is longer than is accepted here.",
        416 => "The part that was asked for does not exist.",
        417 => "The request expects what cannot be given.",
        421 => "The request reached the wrong server; please try again.",
        429 => "There were too many requests; please wait a little.",
        431 => "The request carries more header fields than are accepted here.",
        500 => "Something went wrong here.",
        501 => "The request asks for something that is not available here.",
        502 => "The service behind this address did not answer properly.",
        503 => "The service behind this address is not available; please try again soon.",
        504 => "The service behind this address took too long to answer.",
        _ if status.is_client_error() => "The request cannot be served.",
        _ => "The request failed.",
    }
}

fn starts_with(value: &[u8], lower: &[u8]) -> bool {
    value.get(..lower.len()).is_some_and(|start| start.eq_ignore_ascii_case(lower))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Scheme, Version};

    fn request(method: Method, fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead {
            method,
            version: Version::Http11,
            scheme: Scheme::Http,
            authority: "a".into(),
            target: "/".into(),
            upgrade: None,
            fields: Fields::new(),
        };
        for (name, value) in fields {
            head.fields.append(*name, value.as_bytes()).unwrap();
        }
        head
    }

    fn full(body: Body) -> String {
        match body {
            Body::Full(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            _ => String::new(),
        }
    }

    #[test]
    fn the_form_is_what_the_client_prefers() {
        let rows = [
            ("", Form::Text),
            ("*/*", Form::Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Form::Html),
            ("application/json", Form::Json),
            ("application/json, text/plain, */*", Form::Json),
            ("text/html;q=0.5, application/json", Form::Json),
            ("application/json;q=0.5, text/html", Form::Html),
            ("application/json;q=0.5, */*", Form::Text),
            ("application/json;q=0, */*;q=0.1", Form::Text),
            ("text/plain, application/json;q=0.9", Form::Text),
            ("TEXT/HTML", Form::Html),
            ("application/problem+json", Form::Json),
            ("image/png", Form::Text),
            ("text/html;q=nonsense", Form::Html),
        ];
        for (accept, form) in rows {
            let head = request(Method::GET, &[("accept", accept)]);
            assert_eq!(Form::of(&head.fields), form, "{accept}");
        }
    }

    #[test]
    fn each_form_holds_status_and_id_and_its_own_length() {
        for (accept, start) in [("text/html", "<!doctype"), ("application/json", "{"), ("*/*", "502 Bad Gateway")] {
            let asked = request(Method::GET, &[("accept", accept)]);
            let (head, body) = page(Some(&asked), StatusCode::BAD_GATEWAY, "", "id<7>\"");
            let body = full(body);
            assert!(body.starts_with(start), "{body}");
            assert!(body.contains("502") && body.contains("Bad Gateway") && body.contains("id"));
            assert_eq!(head.fields.text(name::CONTENT_LENGTH), Some(body.len().to_string().as_str()));
            assert_eq!(head.fields.text(name::CACHE_CONTROL), Some("no-store"));
            let asked = request(Method::HEAD, &[("accept", accept)]);
            let (same, empty) = page(Some(&asked), StatusCode::BAD_GATEWAY, "", "id<7>\"");
            assert_eq!(same.fields.text(name::CONTENT_LENGTH), head.fields.text(name::CONTENT_LENGTH));
            assert!(empty.is_end());
        }
    }

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let asked = request(Method::GET, &[("accept", "text/html")]);
        let body = full(page(Some(&asked), StatusCode::BAD_REQUEST, "<b>", "<i>").1);
        assert!(body.contains("(&lt;b&gt;)") && body.contains("&lt;i&gt;") && !body.contains("<i>"));
        let asked = request(Method::GET, &[("accept", "application/json")]);
        let body = full(page(Some(&asked), StatusCode::BAD_REQUEST, "\"", "\\").1);
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((value["detail"].as_str(), value["request_id"].as_str()), (Some("\""), Some("\\")));
        assert!(full(page(None, StatusCode::BAD_REQUEST, "bad", "").1).starts_with("400 Bad Request\n"));
    }

    #[test]
    fn a_refused_method_is_told_which_are_taken() {
        let asked = request(Method::POST, &[]);
        let (head, _) = page(Some(&asked), StatusCode::METHOD_NOT_ALLOWED, "", "");
        assert_eq!(head.fields.text(name::ALLOW), Some("GET, HEAD"));
    }

    #[test]
    fn a_grpc_client_gets_a_grpc_status() {
        let asked = request(Method::POST, &[("content-type", "application/grpc+proto")]);
        for (status, code) in [(503, "14"), (404, "12"), (403, "7"), (500, "2"), (400, "13")] {
            let (head, body) = page(Some(&asked), StatusCode::from_u16(status).unwrap(), "50% é", "7");
            assert_eq!(head.status, StatusCode::OK);
            assert_eq!(head.fields.text(name::GRPC_STATUS), Some(code));
            assert_eq!(head.fields.text("grpc-message"), Some("50%25 %C3%A9"));
            assert!(body.is_end());
        }
    }
}
