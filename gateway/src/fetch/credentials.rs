//! Who we say that we are, from a file.
//!
//! One line `USER:PASSWORD`, or one line `Bearer TOKEN`; or a configuration of Docker's (`config.json`), whose `auths` have an
//! entry for the host. Nothing of it stands in any message.

use std::path::Path;

use serde::Deserialize;
use std::collections::BTreeMap;

use super::error::What;

/// Who we say that we are.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// A name and a password, as `Basic` writes them.
    Basic(String),
    /// A token.
    Bearer(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Docker {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    registrytoken: Option<String>,
}

/// The largest file.
const SIZE: u64 = 1 << 20;

impl Credentials {
    /// For this host, port included where it has one.
    pub(super) fn read(path: &Path, host: &str) -> Result<Credentials, What> {
        use std::io::Read;
        let wrong = |what: String| What::Credentials { file: path.to_owned(), what };
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(SIZE).read_to_string(&mut text));
        read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
        Credentials::of(text.trim(), host).map_err(wrong)
    }

    fn of(text: &str, host: &str) -> Result<Credentials, String> {
        if text.starts_with('{') {
            let docker = serde_json::from_str(text).map_err(|error| {
                // Where, and not what: that could be a password.
                format!("is no configuration of Docker's: line {}, column {}", error.line(), error.column())
            })?;
            return of_docker(docker, host);
        }
        if let Some(token) = text.strip_prefix("Bearer ") {
            let token = token.trim();
            let right = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
            return right.then(|| Credentials::Bearer(token.to_owned())).ok_or("holds no token".to_owned());
        }
        if text.contains(':') && text.lines().count() == 1 {
            return Ok(Credentials::Basic(encoded(text.as_bytes())));
        }
        Err("takes one line, USER:PASSWORD or Bearer TOKEN, or a config.json of Docker's".to_owned())
    }

    /// The field that tells them.
    pub(super) fn field(&self) -> String {
        match self {
            Credentials::Basic(encoded) => format!("Basic {encoded}"),
            Credentials::Bearer(token) => format!("Bearer {token}"),
        }
    }

    /// What they are, without telling them.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Credentials::Basic(_) => "the user",
            Credentials::Bearer(_) => "the token",
        }
    }
}

fn of_docker(docker: Docker, host: &str) -> Result<Credentials, String> {
    // Written with and without a scheme and a path.
    let bare = |name: &str| {
        let name = name.split_once("://").map_or(name, |(_, rest)| rest);
        name.split('/').next().unwrap_or(name).to_ascii_lowercase()
    };
    let found = docker.auths.iter().find(|(name, _)| bare(name) == host.to_ascii_lowercase());
    let Some((_, entry)) = found else {
        let helper = docker.creds_store.is_some() || !docker.cred_helpers.is_empty();
        let hint = if helper { "; credential helpers are not asked" } else { "" };
        return Err(format!("has no entry for {host} in \"auths\"{hint}"));
    };
    match entry {
        Entry { registrytoken: Some(token), .. } => Credentials::of(&format!("Bearer {token}"), host),
        Entry { username: Some(name), password: Some(password), .. } => {
            Ok(Credentials::Basic(encoded(format!("{name}:{password}").as_bytes())))
        }
        Entry { auth: Some(auth), .. } if is_base64(auth) => Ok(Credentials::Basic(auth.clone())),
        _ => Err(format!("has no user and password for {host}; credential helpers and identity tokens are not used")),
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && text.len().is_multiple_of(4) && body.bytes().all(|byte| ALPHABET.contains(&byte))
}

/// In base64 (RFC 4648 section 4), as `Basic` has it.
fn encoded(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = (word >> (18 - 6 * at) & 63) as usize;
            let digit = ALPHABET.get(digit).copied().filter(|_| at <= three.len());
            text.push(char::from(digit.unwrap_or(b'=')));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str) -> Result<String, String> {
        Credentials::of(text, "r.example:5000").map(|credentials| credentials.field())
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, wanted) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy"), ("\u{ff}?>", "w78/Pg==")]
        {
            assert_eq!(encoded(plain.as_bytes()), wanted);
        }
    }

    #[test]
    fn lines_and_dockers_configurations_are_read() {
        for (text, wanted) in [
            ("me:secret", "Basic bWU6c2VjcmV0"),
            ("Bearer abc.def", "Bearer abc.def"),
            (r#"{ "auths": { "r.example:5000": { "auth": "bWU6c2VjcmV0" } } }"#, "Basic bWU6c2VjcmV0"),
            (
                r#"{ "auths": { "https://R.example:5000/v1/": { "username": "me", "password": "secret" } } }"#,
                "Basic bWU6c2VjcmV0",
            ),
            (r#"{ "auths": { "r.example:5000": { "registrytoken": "abc" } } }"#, "Bearer abc"),
        ] {
            assert_eq!(field(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_of_no_use_is_told_without_secrets() {
        for (text, words) in [
            ("", "takes one line"),
            ("secret", "takes one line"),
            ("me:secret\nyou:secret", "takes one line"),
            ("Bearer ", "no token"),
            ("Bearer a secret", "no token"),
            (r#"{ "auths": { "r.example": { "auth": "secret" } } }"#, "no entry for r.example:5000"),
            (r#"{ "auths": {}, "credsStore": "secret" }"#, "helpers are not asked"),
            (r#"{ "auths": { "r.example:5000": { "auth": "secret!!" } } }"#, "no user and password"),
            (r#"{ "auths": { "r.example:5000": { "identitytoken": "secret" } } }"#, "no user and password"),
            (r#"{ "auths": "secret" }"#, "line 1, column"),
        ] {
            let said = field(text).unwrap_err();
            assert!(said.contains(words) && !said.contains("secret"), "{text}: {said}");
        }
    }
}
