//! What routers and filters decide.

use std::borrow::Cow;

use crate::encoded::{self, Pairs};

/// Where a request goes: what a router decides.
///
/// Routes and pools are those of the gateway's configuration; a name that it does not have is a fault of the plugin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// To the route that the gateway's table found.
    CarryOn,
    /// To the route of this name.
    Named(Cow<'static, str>),
    /// To the pool of this name; everything else as the route says that was found.
    Pool(Cow<'static, str>),
    /// Elsewhere: the client is told where.
    Redirect(Redirect),
    /// Nowhere: this is the response.
    Answer(Answer),
    /// Nowhere: the client gets the gateway's page for this status, from 400 to 599.
    Refuse(u16),
}

impl Route {
    /// To the route of this name.
    pub fn named(name: impl Into<Cow<'static, str>>) -> Route {
        Route::Named(name.into())
    }

    /// To the pool of this name.
    pub fn pool(name: impl Into<Cow<'static, str>>) -> Route {
        Route::Pool(name.into())
    }

    /// Elsewhere: 301, 302, 303, 307 or 308, and where.
    pub fn redirect(status: u16, location: impl Into<Cow<'static, str>>) -> Route {
        Route::Redirect(Redirect { status, location: location.into() })
    }

    /// Nowhere: the client gets the gateway's page for this status.
    pub fn refuse(status: u16) -> Route {
        Route::Refuse(status)
    }
}

impl From<Answer> for Route {
    fn from(answer: Answer) -> Route {
        Route::Answer(answer)
    }
}

/// What becomes of a request or response: what a filter decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes on, with the changes that were made to it.
    CarryOn,
    /// It does not: the client gets the gateway's page for this status, from 400 to 599.
    Refuse(u16),
    /// It does not: the client is told to go elsewhere.
    Redirect(Redirect),
    /// It does not: the client gets this.
    Answer(Answer),
}

impl Verdict {
    /// The client gets the gateway's page for this status.
    pub fn refuse(status: u16) -> Verdict {
        Verdict::Refuse(status)
    }

    /// Elsewhere: 301, 302, 303, 307 or 308, and where.
    pub fn redirect(status: u16, location: impl Into<Cow<'static, str>>) -> Verdict {
        Verdict::Redirect(Redirect { status, location: location.into() })
    }
}

impl From<Answer> for Verdict {
    fn from(answer: Answer) -> Verdict {
        Verdict::Answer(answer)
    }
}

/// Where a client is told to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The value of `location`.
    pub location: Cow<'static, str>,
}

/// A response of the plugin's own.
///
/// ```
/// # use gatewright_sdk::prelude::*;
/// let answer = Answer::new(429).header("retry-after", "1").body("Too many requests\n");
/// assert_eq!(answer.status(), 429);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    status: u16,
    fields: Vec<u8>,
    body: Cow<'static, [u8]>,
}

impl Answer {
    /// A response with this status, from 200 to 599, without fields or body.
    pub fn new(status: u16) -> Answer {
        Answer { status, fields: Vec::new(), body: Cow::Borrowed(&[]) }
    }

    /// With one more field. Its length is not for the plugin to say.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Answer {
        encoded::push(&mut self.fields, name.as_bytes(), value.as_ref());
        self
    }

    /// With this body: 64 KiB at the most.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Answer {
        self.body = body.into().0;
        self
    }

    /// Its status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Its fields.
    pub fn fields(&self) -> Pairs<'_> {
        Pairs::of(&self.fields)
    }

    /// Its body.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// Its fields as they cross the boundary.
    #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
    pub(crate) fn encoded_fields(&self) -> &[u8] {
        &self.fields
    }
}

/// A body: made of text or bytes that are owned or last for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Body(Cow<'static, [u8]>);

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Body(Cow::Borrowed(text.as_bytes()))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Body(Cow::Owned(text.into_bytes()))
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Body {
        Body(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body(Cow::Owned(bytes))
    }
}
