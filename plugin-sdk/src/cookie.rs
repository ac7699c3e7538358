//! Cookies that a plugin makes.

use std::fmt::Write;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::request::Request;

/// The name of a cookie, in a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name(String);

impl Name {
    /// One that is written in code.
    pub fn of(name: &str) -> Name {
        Name(name.to_owned())
    }

    /// As text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        let name = String::deserialize(deserializer)?;
        // A token: RFC 6265 section 4.1.1.
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        match !name.is_empty() && name.bytes().all(is_token) {
            true => Ok(Name(name)),
            false => Err(D::Error::custom(format_args!("{name:?} is no name of a cookie"))),
        }
    }
}

/// Writes what a cookie of the gateway's own says beside name, value and life: for the whole site, not for scripts, not with requests that
/// other sites have made up, and only over TLS if the client came so.
pub fn attributes(text: &mut String, request: &Request) {
    let secure = if request.scheme() == "https" { "; Secure" } else { "" };
    // A text takes everything.
    let _ = write!(text, "; Path=/; HttpOnly; SameSite=Lax{secure}");
}
