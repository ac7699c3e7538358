//! etcd's servers, of which one is asked after the other, over their gateway from JSON (`/v3/…`).
//!
//! In: what is wanted of the registry. Out: its answer, or why there is none. Says who it is when it has credentials, and again
//! when what it was told for that is not taken any more.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::dial::credentials;
use super::super::http::{ANSWER, Answer, Question, ask};
use super::wire::{self, Change, Key, Said};
use crate::config::model::{Registry, RegistryServer, UpstreamProtocol};
use crate::tls::UpstreamTls;

/// Asks etcd.
pub(super) struct Client {
    settings: Registry,
    /// The server that is asked now.
    at: usize,
    tls: Option<UpstreamTls>,
    token: Option<String>,
}

/// What becomes of keys from now on.
pub(super) struct Watch(Answer);

impl Client {
    /// One that begins with any of the servers, so that they share the work.
    pub(super) fn new(settings: &Registry) -> Client {
        let at = fastrand::usize(..settings.servers.len().max(1));
        Client { settings: settings.clone(), at, tls: None, token: None }
    }

    /// From now on the next server is asked, which has to be told anew who we are.
    pub(super) fn next(&mut self) {
        self.at = self.at.wrapping_add(1);
        self.token = None;
        self.tls = None;
    }

    /// All keys under a prefix, and their revision. One more than the most at the most.
    pub(super) async fn range(&mut self, prefix: &str, most: usize) -> Result<(Vec<Key>, i64), String> {
        let (key, range_end) = wire::under(prefix);
        let question = json!({ "key": key, "range_end": range_end, "limit": (most + 1).to_string() });
        wire::range(&self.answer("/v3/kv/range", &question).await?)
    }

    /// What becomes of the keys under a prefix, from this revision on.
    pub(super) async fn watch(&mut self, prefix: &str, revision: i64) -> Result<Watch, String> {
        Ok(Watch(self.ask("/v3/watch", &wire::watch(prefix, revision)).await?))
    }

    /// The id of a lease of so many seconds.
    pub(super) async fn grant(&mut self, seconds: u64) -> Result<i64, String> {
        wire::granted(&self.answer("/v3/lease/grant", &json!({ "TTL": seconds.to_string() })).await?)
    }

    /// Writes a key that goes with its lease.
    pub(super) async fn put(&mut self, key: &str, value: &str, lease: i64) -> Result<(), String> {
        let (key, value) = (wire::base64(key.as_bytes()), wire::base64(value.as_bytes()));
        let question = json!({ "key": key, "value": value, "lease": lease.to_string() });
        self.answer("/v3/kv/put", &question).await.map(drop)
    }

    /// Prolongs a lease; whether it was still there.
    pub(super) async fn keep(&mut self, lease: i64) -> Result<bool, String> {
        let mut answer = self.ask("/v3/lease/keepalive", &json!({ "ID": lease.to_string() })).await?;
        let line = tokio::time::timeout(ANSWER, answer.line()).await;
        let line = line.unwrap_or_else(|_| Err("no answer in time".to_owned()))?;
        wire::kept(&line.ok_or("it does not answer")?)
    }

    /// Ends a lease, and the keys with it.
    pub(super) async fn revoke(&mut self, lease: i64) -> Result<(), String> {
        self.answer("/v3/lease/revoke", &json!({ "ID": lease.to_string() })).await.map(drop)
    }

    /// Asks, and waits for all of the answer.
    async fn answer(&mut self, path: &str, question: &Value) -> Result<Vec<u8>, String> {
        let answer = self.ask(path, question).await?;
        whole(answer, ANSWER * 4).await
    }

    /// Asks; the answer has begun, and is no refusal.
    async fn ask(&mut self, path: &str, question: &Value) -> Result<Answer, String> {
        self.say_who_we_are().await?;
        let answer = self.once(path, question).await?;
        if answer.status == 200 {
            return Ok(answer);
        }
        // For the next attempt: the token may be too old.
        self.token = None;
        let status = answer.status;
        Err(wire::refusal(status, &whole(answer, ANSWER).await?))
    }

    async fn say_who_we_are(&mut self) -> Result<(), String> {
        let Some(file) = self.settings.credentials.as_ref().filter(|_| self.token.is_none()) else { return Ok(()) };
        let (name, password) = credentials(file)?;
        let answer = self.once("/v3/auth/authenticate", &json!({ "name": name, "password": password })).await?;
        let status = answer.status;
        let answer = whole(answer, ANSWER).await?;
        match status {
            200 => self.token = Some(wire::token(&answer)?),
            status => return Err(wire::refusal(status, &answer)),
        }
        Ok(())
    }

    async fn once(&mut self, path: &str, question: &Value) -> Result<Answer, String> {
        let servers = &self.settings.servers;
        let server: &RegistryServer = servers.get(self.at % servers.len().max(1)).ok_or("there is no server to ask")?;
        if server.tls && self.tls.is_none() {
            let tls = UpstreamTls::load(&self.settings.tls, UpstreamProtocol::H1);
            self.tls = Some(tls.map_err(|problem| problem.to_string())?);
        }
        // A server that has lost the others ends a watch, instead of saying nothing any more.
        let mut fields = vec![("grpc-metadata-hasleader", "true")];
        fields.extend(self.token.as_deref().map(|token| ("authorization", token)));
        ask(&Question { server, tls: self.tls.as_ref(), path, fields: &fields, body: question }).await
    }
}

impl Watch {
    /// What has changed; `None` when everything has to be read again.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Change>>, String> {
        let line = self.0.line().await?.ok_or("it closed the connection")?;
        match wire::watched(&line)? {
            Said::Changes(changes) => Ok(Some(changes)),
            Said::Compacted => Ok(None),
        }
    }
}

async fn whole(answer: Answer, time: Duration) -> Result<Vec<u8>, String> {
    let answer = tokio::time::timeout(time, answer.whole()).await;
    answer.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}
