//! Heads of requests and responses for tests.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use gatewright_abi::{answer, bound, cache, edit, text};
use serde::{Deserialize, Serialize};

use super::record::Text;

/// The head of a request or response. What a plugin does to it is done to all copies.
///
/// ```
/// use gatewright_sdk::mock::{get, request};
///
/// let head = get("https://shop.example/cart?id=7").header("cookie", "user=alice").client("192.0.2.1");
/// let other = request("POST", "/login").protocol("HTTP/2");
/// # assert_eq!(head.field("Cookie").as_deref(), Some("user=alice"));
/// # assert_eq!(head.path(), "/cart?id=7");
/// # assert_eq!(other.path(), "/login");
/// ```
#[derive(Clone, Debug)]
pub struct Head(Rc<RefCell<Parts>>);

/// What a head is made of.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Parts {
    /// By number, as `request_text` knows them.
    texts: [Option<String>; text::COUNT as usize],
    fields: Vec<(String, Text)>,
    tags: Vec<(String, String)>,
    status: u16,
    /// Of the response that is still to come.
    #[serde(skip)]
    response: Vec<(String, Text)>,
    #[serde(skip)]
    cache: Cache,
}

/// What a plugin said to the cache about a request, or about a response.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cache {
    /// Parts that it added to the key.
    pub key: Vec<Vec<u8>>,
    /// It goes past the cache.
    pub bypass: bool,
    /// For how long the answer is fresh.
    pub ttl: Option<Duration>,
    /// It is not kept.
    pub no_store: bool,
    /// What it can be purged by, beside what it says itself.
    pub tags: Vec<String>,
}

/// A GET request for a URL, or a path of `http://localhost`, from 127.0.0.1 over HTTP/1.1.
pub fn get(url: &str) -> Head {
    request("GET", url)
}

/// A request for a URL, or a path of `http://localhost`, from 127.0.0.1 over HTTP/1.1.
pub fn request(method: &str, url: &str) -> Head {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let path_begins = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(path_begins);
    let (path, query) = split(target);
    let head = tcp("127.0.0.1")
        .with(text::METHOD, method)
        .with(text::SCHEME, scheme)
        .with(text::AUTHORITY, if authority.is_empty() { "localhost" } else { authority })
        .with(text::PATH, if path.is_empty() { "/" } else { path })
        .with(text::PROTOCOL, "HTTP/1.1");
    head.set(text::QUERY, query);
    if scheme == "https" { head.tls("TLSv1.3", authority) } else { head }
}

/// What is known of a TCP connection from this address.
pub fn tcp(client: &str) -> Head {
    Head(Rc::default()).with(text::CLIENT, client).with(text::REQUEST_ID, "test")
}

/// A response with this status.
pub fn response(status: u16) -> Head {
    let head = Head(Rc::default());
    head.0.borrow_mut().status = status;
    head
}

/// Path and query.
fn split(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

/// In the gateway it stands apart from the fields, and is shown as one of them.
const HOST: &[u8] = b"host";

impl Parts {
    fn host(&self) -> Option<Vec<u8>> {
        self.texts.get(text::AUTHORITY as usize).cloned().flatten().map(String::into_bytes)
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |what: u32| self.texts.get(what as usize).and_then(Option::as_deref).unwrap_or_default();
        match text(text::METHOD) {
            "" => write!(f, "TCP from {}", text(text::CLIENT))?,
            method => write!(f, "{method} {}://{}{}", text(text::SCHEME), text(text::AUTHORITY), text(text::PATH))?,
        }
        if let Some(query) = self.texts.get(text::QUERY as usize).and_then(Option::as_deref) {
            write!(f, "?{query}")?;
        }
        self.fields.iter().try_for_each(|(name, value)| write!(f, "; {name}: {}", value.0.escape_ascii()))
    }
}

impl From<&Parts> for Head {
    fn from(parts: &Parts) -> Head {
        Head(Rc::new(RefCell::new(parts.clone())))
    }
}

impl From<&Head> for Parts {
    fn from(head: &Head) -> Parts {
        head.0.borrow().clone()
    }
}

impl Head {
    fn set(&self, what: u32, value: Option<&str>) {
        if let Some(place) = self.0.borrow_mut().texts.get_mut(what as usize) {
            *place = value.map(str::to_owned);
        }
    }

    #[must_use]
    fn with(self, what: u32, value: &str) -> Head {
        self.set(what, Some(value));
        self
    }

    /// With one more field.
    #[must_use]
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Head {
        self.0.borrow_mut().fields.push((name.to_ascii_lowercase(), Text(value.as_ref().to_vec())));
        self
    }

    /// From this address.
    #[must_use]
    pub fn client(self, address: &str) -> Head {
        self.with(text::CLIENT, address)
    }

    /// Over `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    #[must_use]
    pub fn protocol(self, protocol: &str) -> Head {
        self.with(text::PROTOCOL, protocol)
    }

    /// Over TLS of this version, asking for this name.
    #[must_use]
    pub fn tls(self, version: &str, name: &str) -> Head {
        self.with(text::TLS_VERSION, version).with(text::TLS_NAME, name)
    }

    /// With a client certificate of this subject.
    #[must_use]
    pub fn tls_subject(self, subject: &str) -> Head {
        self.with(text::TLS_SUBJECT, subject)
    }

    /// On this route.
    #[must_use]
    pub fn route(self, name: &str) -> Head {
        self.with(text::ROUTE, name)
    }

    /// For this pool.
    #[must_use]
    pub fn pool(self, name: &str) -> Head {
        self.with(text::POOL, name)
    }

    /// With this id.
    #[must_use]
    pub fn request_id(self, id: &str) -> Head {
        self.with(text::REQUEST_ID, id)
    }

    /// The fields of this name that are to be set in the response to this request.
    pub fn response_fields(&self, name: &str) -> Vec<String> {
        let parts = self.0.borrow();
        let named = parts.response.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| String::from_utf8_lossy(&value.0).into_owned()).collect()
    }

    /// The first field of this name, as it is now.
    pub fn field(&self, name: &str) -> Option<String> {
        self.first(name.as_bytes()).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// All fields, as they are now.
    pub fn fields(&self) -> Vec<(String, String)> {
        let parts = self.0.borrow();
        parts
            .fields
            .iter()
            .map(|(name, value)| (name.clone(), String::from_utf8_lossy(&value.0).into_owned()))
            .collect()
    }

    /// Path and query, as they are now.
    pub fn path(&self) -> String {
        let parts = self.0.borrow();
        let text = |what: u32| parts.texts.get(what as usize).cloned().flatten();
        let query = text(text::QUERY).map(|query| format!("?{query}"));
        text(text::PATH).unwrap_or_default() + &query.unwrap_or_default()
    }

    /// The status, as it is now; 0 of a request.
    pub fn status(&self) -> u16 {
        self.0.borrow().status
    }

    /// A tag, as it is now.
    pub fn tag(&self, name: &str) -> Option<String> {
        self.0.borrow().tags.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// What was said to the cache about it, so far.
    pub fn cache(&self) -> Cache {
        self.0.borrow().cache.clone()
    }

    pub(super) fn say_to_cache(&self, what: u32, text: &[u8], seconds: u64) {
        let cache = &mut self.0.borrow_mut().cache;
        match what {
            cache::KEY => cache.key.push(text.to_vec()),
            cache::BYPASS => cache.bypass = true,
            cache::TTL => cache.ttl = Some(Duration::from_secs(seconds)),
            cache::NO_STORE => cache.no_store = true,
            _ => cache.tags.push(String::from_utf8_lossy(text).into_owned()),
        }
    }

    pub(super) fn text(&self, what: u32) -> Option<Vec<u8>> {
        self.0.borrow().texts.get(what as usize).cloned().flatten().map(String::into_bytes)
    }

    pub(super) fn first(&self, name: &[u8]) -> Option<Vec<u8>> {
        let parts = self.0.borrow();
        let found = parts.fields.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        let host = || name.eq_ignore_ascii_case(HOST).then(|| parts.host()).flatten();
        found.map(|(_, value)| value.0.clone()).or_else(host)
    }

    pub(super) fn each(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        let parts = self.0.borrow();
        if let Some(host) = parts.host().filter(|_| !parts.fields.iter().any(|(name, _)| name.as_bytes() == HOST)) {
            each(HOST, &host);
        }
        for (name, value) in &parts.fields {
            each(name.as_bytes(), &value.0);
        }
    }

    pub(super) fn cookie(&self, name: &[u8]) -> Option<Vec<u8>> {
        let parts = self.0.borrow();
        let lines = parts.fields.iter().filter(|(known, _)| known == "cookie");
        let mut pairs = lines.flat_map(|(_, value)| value.0.split(|byte| *byte == b';'));
        pairs.find_map(|pair| {
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            let (known, value) = pair.split_at_checked(equals)?;
            (known.trim_ascii() == name).then(|| value.get(1..).unwrap_or_default().trim_ascii().to_vec())
        })
    }

    pub(super) fn query_value(&self, name: &[u8]) -> Option<Vec<u8>> {
        let query = self.text(text::QUERY)?;
        query.split(|byte| *byte == b'&').find_map(|pair| {
            let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (known, value) = pair.split_at_checked(equals)?;
            (decoded(known) == name).then(|| decoded(value.get(1..).unwrap_or_default()))
        })
    }

    pub(super) fn tag_bytes(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.tag(str::from_utf8(name).ok()?).map(String::into_bytes)
    }

    pub(super) fn edit(&self, how: u32, name: &[u8], value: &[u8]) {
        change(&mut self.0.borrow_mut().fields, how, name, value);
    }

    /// Another pick for the same request: what the one before wanted of its response does not count.
    pub(super) fn clear_response(&self) {
        self.0.borrow_mut().response.clear();
    }

    pub(super) fn edit_response(&self, how: u32, name: &[u8], value: &[u8]) {
        change(&mut self.0.borrow_mut().response, how, name, value);
    }

    pub(super) fn set_path(&self, target: &[u8]) {
        let target = String::from_utf8_lossy(target);
        let (path, query) = split(&target);
        self.set(text::PATH, Some(path));
        if query.is_some() {
            self.set(text::QUERY, query);
        }
    }

    pub(super) fn set_status(&self, status: u16) {
        self.0.borrow_mut().status = status;
    }

    pub(super) fn set_tag(&self, name: &[u8], value: &[u8]) -> i32 {
        let (Ok(name), Ok(value)) = (str::from_utf8(name), str::from_utf8(value)) else { return answer::INVALID };
        if name.is_empty() || name.len() > bound::TAG_BYTES || value.len() > bound::TAG_BYTES {
            return answer::INVALID;
        }
        let tags = &mut self.0.borrow_mut().tags;
        tags.retain(|(known, _)| known != name);
        if tags.len() >= bound::TAGS {
            return answer::FULL;
        }
        tags.push((name.into(), value.into()));
        answer::DONE
    }
}

fn change(fields: &mut Vec<(String, Text)>, how: u32, name: &[u8], value: &[u8]) {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    if how != edit::ADD {
        fields.retain(|(known, _)| *known != name);
    }
    if how != edit::REMOVE {
        fields.push((name, Text(value.to_vec())));
    }
}

/// Whether a plugin may set this field to this.
pub(super) fn allows(name: &[u8], value: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let is_value = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    let is_ours = GATEWAYS_OWN.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name));
    !name.is_empty() && !is_ours && name.iter().all(is_token) && value.iter().all(is_value)
}

/// Whether a plugin may make this the path.
pub(super) fn is_path(path: &[u8]) -> bool {
    path.starts_with(b"/") && path.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#')
}

/// Fields about framing and the connection, and the host.
const GATEWAYS_OWN: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Without percent signs, and with spaces for pluses.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, others)) = rest.split_first() {
        let digits = others.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        let byte = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if byte.is_some() { others.get(2..).unwrap_or_default() } else { others };
    }
    decoded
}
