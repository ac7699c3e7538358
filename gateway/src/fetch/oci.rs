//! Modules out of registries, by the distribution specification of the OCI.
//!
//! In: a reference. Out: the module that its manifest names, or why not. Everything but the meaning of a tag is asked for by
//! its hash, so what was fetched before is not asked for again, and what is not what it should be is not taken. A tag
//! whose registry does not answer means what it meant when that last did.

use std::cell::RefCell;

use serde::Deserialize;

use super::address::Address;
use super::challenge::{Challenge, challenges};
use super::client::{Answer, Ask, Client, Plain};
use super::credentials::Credentials;
use super::error::{FetchError, What};
use super::manifest::{self, Next};
use super::store::Store;
use crate::config::model::{OciReference, OciVersion};
use crate::plugin::{Digest, MODULE_SIZE};

/// An index that leads to a manifest; more has no meaning.
const MANIFESTS: usize = 3;

/// The largest answer with a token.
const TOKEN_SIZE: u64 = 64 << 10;

/// One repository of a registry.
pub(super) struct Registry<'a> {
    pub(super) client: &'a Client<'a>,
    pub(super) store: &'a Store,
    pub(super) reference: &'a OciReference,
    pub(super) credentials: Option<(&'a std::path::Path, Credentials)>,
    /// Whether it may be asked at all.
    pub(super) online: bool,
    /// What it has let us in with.
    pub(super) authorization: RefCell<Option<String>>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry<'_> {
    /// The module.
    pub(super) async fn module(&self) -> Result<Vec<u8>, FetchError> {
        let wrong = |what: String| What::NoPlugin(what).at(self.reference);
        let mut manifest = self.first().await?;
        for _ in 0..MANIFESTS {
            match manifest::read(&manifest, MODULE_SIZE).map_err(wrong)? {
                Next::Manifest(digest) => manifest = self.manifest(&digest).await?,
                Next::Module(digest) => {
                    return self.blob(&digest, "blobs", "application/octet-stream, */*", MODULE_SIZE).await;
                }
            }
        }
        Err(wrong("its index leads to one index after the other".to_owned()))
    }

    /// The manifest that the reference names.
    async fn first(&self) -> Result<Vec<u8>, FetchError> {
        let tag = match &self.reference.version {
            OciVersion::Digest(digest) => return self.manifest(&Digest::known(*digest)).await,
            OciVersion::Tag(tag) => tag,
        };
        let reference = self.reference.to_string();
        match self.ask("manifests", tag, manifest::ACCEPT, manifest::SIZE).await {
            Ok(answer) => {
                let digest = Digest::of(&answer.body);
                self.store.keep(&digest, &answer.body);
                self.store.remember(&reference, &digest);
                Ok(answer.body)
            }
            Err(error) if error.is_silence() => {
                let kept = self.store.recall(&reference).and_then(|digest| Some((digest, self.store.blob(&digest)?)));
                let Some((digest, manifest)) = kept else { return Err(error) };
                if !error.is_offline() {
                    let digest = digest.short();
                    tracing::warn!(reference, %error, digest, "the registry could not be asked; what the tag meant last is used");
                }
                Ok(manifest)
            }
            Err(error) => Err(error),
        }
    }

    async fn manifest(&self, digest: &Digest) -> Result<Vec<u8>, FetchError> {
        self.blob(digest, "manifests", manifest::ACCEPT, manifest::SIZE).await
    }

    /// What has this hash, from here or from there.
    async fn blob(&self, digest: &Digest, kind: &str, accept: &str, most: u64) -> Result<Vec<u8>, FetchError> {
        if let Some(kept) = self.store.blob(digest) {
            return Ok(kept);
        }
        let answer = self.ask(kind, &format!("sha256:{digest}"), accept, most).await?;
        let found = Digest::of(&answer.body);
        if found != *digest {
            return Err(What::Digest { found, wanted: *digest }.at(&answer.address));
        }
        self.store.keep(digest, &answer.body);
        Ok(answer.body)
    }

    async fn ask(&self, kind: &str, what: &str, accept: &str, most: u64) -> Result<Answer, FetchError> {
        if !self.online {
            return Err(What::Offline.at(self.reference));
        }
        let OciReference { registry, repository, .. } = self.reference;
        let target = format!("/v2/{repository}/{kind}/{what}");
        let address = Address { plain: self.client.plain != Plain::Nobody, authority: registry.clone(), target };
        let known = self.authorization.borrow().clone();
        let ask = Ask { accept, authorization: known.as_deref(), most };
        let first = self.client.get(&address, &ask).await?;
        let (answer, tried) = match first.head.status.as_u16() {
            401 => {
                let (authorization, tried) = self.authorize(&first).await?;
                let ask = Ask { accept, authorization: Some(&authorization), most };
                let second = self.client.get(&address, &ask).await?;
                self.authorization.replace(Some(authorization));
                (second, tried)
            }
            _ => (first, "what it let in before".to_owned()),
        };
        match answer.head.status.as_u16() {
            200 => Ok(answer),
            status @ (401 | 403) => Err(What::Denied { status, tried }.at(&answer.address)),
            status => Err(What::Status(status).at(&answer.address)),
        }
    }

    /// What to say to somebody who wants to know who we are, and how it is told in an error.
    async fn authorize(&self, answer: &Answer) -> Result<(String, String), FetchError> {
        let denied = |tried: &str| What::Denied { status: 401, tried: tried.to_owned() }.at(&answer.address);
        // A place that a registry sent us to is nobody to be told anything.
        let at_home = answer.address.authority == self.reference.registry;
        let found = challenges(answer.head.fields.values("www-authenticate"));
        let ours = self.credentials.as_ref();
        let named = ours.map(|(path, credentials)| format!("{} of {}", credentials.kind(), path.display()));
        match (found.first().filter(|_| at_home), ours) {
            (Some(Challenge::Bearer { .. }), Some((_, credentials @ Credentials::Bearer(_))))
            | (Some(Challenge::Basic), Some((_, credentials))) => Ok((credentials.field(), named.unwrap_or_default())),
            (Some(Challenge::Bearer { realm, service, scope }), _) => {
                let scope = scope.clone().unwrap_or_else(|| format!("repository:{}:pull", self.reference.repository));
                let query = service.iter().map(|service| ("service", service.as_str())).chain([("scope", &*scope)]);
                let tried = named.unwrap_or_else(|| "an anonymous token".to_owned());
                let tried = format!("{tried} at {}", realm.split('?').next().unwrap_or_default());
                let token = self.token(realm, query, &tried).await?;
                Ok((format!("Bearer {token}"), tried))
            }
            (Some(Challenge::Basic), None) => Err(denied("nothing, since there are no credentials")),
            (None, _) => Err(denied("nothing, since it does not say what it wants")),
        }
    }

    async fn token<'q>(
        &self,
        realm: &str,
        query: impl Iterator<Item = (&'q str, &'q str)>,
        tried: &str,
    ) -> Result<String, FetchError> {
        let mut text = realm.to_owned();
        for (at, (name, value)) in query.enumerate() {
            text.push(if at == 0 && !realm.contains('?') { '?' } else { '&' });
            text.push_str(name);
            text.push('=');
            escape(&mut text, value);
        }
        let address = Address::parse(&text).filter(|address| self.client.plain.takes(address));
        let address = address.ok_or_else(|| {
            let realm: String = realm.chars().take(200).collect();
            What::NoPlugin(format!("its tokens are at {realm:?}, which is no https:// address")).at(self.reference)
        })?;
        let authorization = self.credentials.as_ref().map(|(_, credentials)| credentials.field());
        let ask = Ask { accept: "application/json", authorization: authorization.as_deref(), most: TOKEN_SIZE };
        let answer = self.client.get(&address, &ask).await?;
        match answer.head.status.as_u16() {
            200 => {}
            status @ (400 | 401 | 403) => {
                return Err(What::Denied { status, tried: tried.to_owned() }.at(&answer.address));
            }
            status => return Err(What::Status(status).at(&answer.address)),
        }
        let token = serde_json::from_slice::<Token>(&answer.body).ok();
        let token = token.and_then(|token| token.token.or(token.access_token));
        let token = token.filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
        token.ok_or_else(|| What::Broken("there is no token in it".to_owned()).at(&answer.address))
    }
}

/// For a query.
fn escape(text: &mut String, value: &str) {
    use std::fmt::Write;
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' | b',' => {
                text.push(char::from(byte));
            }
            // Writing to a text does not fail.
            byte => drop(write!(text, "%{byte:02X}")),
        }
    }
}
