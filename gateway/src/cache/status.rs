//! What the cache had to do with a request: one spelling for Cache-Status (RFC 9211), logs and metrics.

use std::fmt::Write;

use crate::http::{Fields, StatusCode, name};

/// The cache's name in Cache-Status.
const NAME: &str = "gatewright";

/// Hit, or why the request went on (RFC 9211 sections 2.1 and 2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CacheStatus {
    /// It was answered from the cache.
    Hit,
    /// The route, or the request, goes past the cache.
    #[default]
    Bypass,
    /// The method is none that a cache answers.
    Method,
    /// Nothing is kept under its URL.
    UriMiss,
    /// Nothing is kept that answers its fields.
    VaryMiss,
    /// It demands more than what is kept.
    Request,
    /// What is kept is stale.
    Stale,
    /// A part of what was asked for is kept.
    Partial,
}

/// What is told of a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// Hit or not.
    pub status: CacheStatus,
    /// What the origin answered.
    pub answered: Option<StatusCode>,
    /// Whether that is kept now.
    pub stored: bool,
    /// Whether it waited for another's request.
    pub collapsed: bool,
    /// For how long it is still fresh, in seconds.
    pub ttl: Option<i64>,
    /// It is the cache's own answer: nothing was kept, and nobody was asked.
    pub is_local: bool,
    /// More of why.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    /// Every one.
    pub const EVERY: [CacheStatus; 8] = [
        CacheStatus::Hit,
        CacheStatus::Bypass,
        CacheStatus::Method,
        CacheStatus::UriMiss,
        CacheStatus::VaryMiss,
        CacheStatus::Request,
        CacheStatus::Stale,
        CacheStatus::Partial,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            CacheStatus::Hit => "hit",
            CacheStatus::Bypass => "bypass",
            CacheStatus::Method => "method",
            CacheStatus::UriMiss => "uri-miss",
            CacheStatus::VaryMiss => "vary-miss",
            CacheStatus::Request => "request",
            CacheStatus::Stale => "stale",
            CacheStatus::Partial => "partial",
        }
    }
}

impl Told {
    /// Of a request that came to this.
    pub fn new(status: CacheStatus) -> Told {
        Told { status, ..Told::default() }
    }

    /// Adds this cache to those that handled a response (RFC 9211 section 2): those nearer to the origin stand before it.
    pub fn write(&self, fields: &mut Fields) {
        let mut text = Line::default();
        // Cannot fail: what does not fit is left out.
        let _ = self.put(&mut text);
        let _ = fields.append(name::CACHE_STATUS, &text.0);
    }

    fn put(&self, out: &mut Line) -> std::fmt::Result {
        out.write_str(NAME)?;
        if self.status == CacheStatus::Hit {
            out.write_str("; hit")?;
        } else if !self.is_local {
            out.write_str("; fwd=")?;
            out.write_str(self.status.word())?;
        }
        if let Some(status) = self.answered {
            out.write_str("; fwd-status=")?;
            out.write_str(status.as_str())?;
        }
        if let Some(ttl) = self.ttl {
            out.write_str("; ttl=")?;
            out.write_str(itoa::Buffer::new().format(ttl))?;
        }
        if self.stored {
            out.write_str("; stored")?;
        }
        if self.collapsed {
            out.write_str("; collapsed")?;
        }
        if let Some(detail) = self.detail {
            out.write_str("; detail=")?;
            out.write_str(detail)?;
        }
        Ok(())
    }
}

/// Text on the stack.
#[derive(Default)]
struct Line(smallvec::SmallVec<[u8; 128]>);

impl Write for Line {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(told: &Told) -> String {
        let mut fields = Fields::new();
        told.write(&mut fields);
        fields.text(name::CACHE_STATUS).unwrap().to_owned()
    }

    #[test]
    fn what_happened_is_written_as_rfc_9211_says() {
        let hit = Told { ttl: Some(-7), ..Told::new(CacheStatus::Hit) };
        assert_eq!(written(&hit), "gatewright; hit; ttl=-7");
        let miss =
            Told { answered: Some(StatusCode::OK), stored: true, collapsed: true, ..Told::new(CacheStatus::UriMiss) };
        assert_eq!(written(&miss), "gatewright; fwd=uri-miss; fwd-status=200; stored; collapsed");
        let own = Told { is_local: true, detail: Some("only-if-cached"), ..Told::new(CacheStatus::Request) };
        assert_eq!(written(&own), "gatewright; detail=only-if-cached");
        let past = Told { detail: Some("private"), ..Told::default() };
        assert_eq!(written(&past), "gatewright; fwd=bypass; detail=private");
    }

    #[test]
    fn others_stay_before_it() {
        let mut fields = Fields::new();
        fields.append(name::CACHE_STATUS, b"origin; hit").unwrap();
        Told::new(CacheStatus::UriMiss).write(&mut fields);
        assert_eq!(fields.members(name::CACHE_STATUS).count(), 2);
    }
}
