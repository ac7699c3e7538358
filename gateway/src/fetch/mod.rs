//! Modules of plugins from elsewhere: over https, and out of registries.
//!
//! In: a configuration. Out: for each plugin whose source is not on this machine its module, or why it is not to be had. The
//! bytes are those that are demanded (`sha256`, or the digests of a registry), or there are none. What was fetched is kept on
//! disk under its hash, and not asked for again; so a gateway starts without its network, too.
//!
//! It is fetched before a configuration is compiled, on the control path, and never waited for there: signals and operators are
//! answered meanwhile. Bounds: `limits.plugin_download_time` for each plugin, [`MODULE_SIZE`], a few at the same time.

mod address;
mod challenge;
mod client;
mod credentials;
mod error;
mod manifest;
mod oci;
mod store;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::config::model::{Config, OciReference, OciVersion, Plugin, PluginSource};
use crate::limits::Limits;
use crate::plugin::{Digest, MODULE_SIZE};
use address::Address;
use client::{Ask, Client, Plain};
use credentials::Credentials;
pub use error::{FetchError, What};
use oci::Registry;
pub use store::Store;

/// How many plugins are fetched at the same time.
const AT_ONCE: usize = 4;

/// The folder in which modules are kept.
pub const FOLDER: &str = "modules";

/// Modules by the names of their plugins.
#[derive(Default)]
pub struct Fetched(BTreeMap<String, Result<Vec<u8>, FetchError>>);

impl Fetched {
    /// Nothing, of all that would have to be fetched.
    pub fn none(config: &Config) -> Fetched {
        let missing = |plugin: Plugin| (plugin.name.clone(), Err(What::Offline.at(plugin.name)));
        Fetched(wanted(config, None).into_iter().map(missing).collect())
    }

    /// The module of a plugin; `None`: it was not asked for.
    pub fn module(&self, plugin: &str) -> Option<Result<&[u8], &FetchError>> {
        self.0.get(plugin).map(|found| found.as_deref())
    }

    /// The plugins of which there is no copy here, when the network was not to be used.
    pub fn offline(&self) -> impl Iterator<Item = &str> {
        let is_offline = |found: &Result<_, FetchError>| found.as_ref().is_err_and(FetchError::is_offline);
        self.0.iter().filter(move |(_, found)| is_offline(found)).map(|(name, _)| name.as_str())
    }
}

/// The plugins of a configuration that have to be fetched. Those that are pinned and were in force `before` are there already.
pub fn wanted(config: &Config, before: Option<&Config>) -> Vec<Plugin> {
    let is_there = |plugin: &Plugin| {
        let old = before.and_then(|before| before.plugins.iter().find(|old| old.name == plugin.name));
        let tag =
            matches!(&plugin.source, PluginSource::Oci(reference) if matches!(reference.version, OciVersion::Tag(_)));
        !tag && old.is_some_and(|old| old.is_same_module(plugin))
    };
    let elsewhere = |plugin: &&Plugin| matches!(plugin.source, PluginSource::Https(_) | PluginSource::Oci(_));
    config.plugins.iter().filter(elsewhere).filter(|plugin| !is_there(plugin)).cloned().collect()
}

/// Fetches them. Has to run where tasks may stay on their thread. `online`: whether anybody is asked, beside the store.
pub async fn fetch(plugins: Vec<Plugin>, limits: &Limits, store: &Rc<Store>, online: bool) -> Fetched {
    let turns = Rc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    let limits = Arc::new(limits.clone());
    for plugin in plugins {
        let (turns, limits, store) = (turns.clone(), limits.clone(), store.clone());
        tasks.spawn_local(async move {
            let _turn = turns.acquire().await;
            let module = one(&plugin, &limits, &store, online).await;
            (plugin.name, module)
        });
    }
    let mut fetched = Fetched::default();
    while let Some(done) = tasks.join_next().await {
        // One that panicked has said so, and its plugin is told to be missing.
        fetched.0.extend(done.ok());
    }
    fetched
}

/// The same, for whoever has nothing else to do meanwhile.
pub fn fetch_and_wait(plugins: Vec<Plugin>, limits: &Limits, store: Store, online: bool) -> std::io::Result<Fetched> {
    if plugins.is_empty() {
        return Ok(Fetched::default());
    }
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())?;
        let fetched = runtime.block_on(fetch(plugins, limits, &Rc::new(store), online));
        // A name that is still being looked up is waited for by nobody.
        runtime.shutdown_background();
        Ok(fetched)
    };
    // Whoever waits may be running tasks, and may not run others below them.
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(std::io::Error::other("fetching plugins failed")))
}

async fn one(plugin: &Plugin, limits: &Limits, store: &Store, online: bool) -> Result<Vec<u8>, FetchError> {
    match &plugin.source {
        PluginSource::Https(address) => https(plugin, address, limits, store, online).await,
        PluginSource::Oci(reference) => oci(plugin, reference, limits, store, online).await,
        PluginSource::Path(_) | PluginSource::BuiltIn(_) => Err(What::Offline.at(&plugin.name)),
    }
}

async fn https(
    plugin: &Plugin,
    text: &str,
    limits: &Limits,
    store: &Store,
    online: bool,
) -> Result<Vec<u8>, FetchError> {
    let wrong = |what: What| what.at(text);
    let address = Address::parse(text).ok_or_else(|| wrong(What::NoPlugin("is no address".to_owned())))?;
    let wanted = plugin.sha256.map(Digest::known);
    let wanted = wanted.ok_or_else(|| wrong(What::NoPlugin("is taken only with a sha256".to_owned())))?;
    if let Some(kept) = store.blob(&wanted) {
        return Ok(kept);
    }
    if !online {
        return Err(wrong(What::Offline));
    }
    let credentials = credentials(plugin, &address.authority).map_err(wrong)?;
    let client = Client::new(limits, plugin.ca.as_deref(), Plain::Nobody);
    let authorization = credentials.as_ref().map(|(_, credentials)| credentials.field());
    let ask = Ask { accept: "application/wasm, */*", authorization: authorization.as_deref(), most: MODULE_SIZE };
    let answer = client.get(&address, &ask).await?;
    match answer.head.status.as_u16() {
        200 => {}
        status @ (401 | 403) => {
            let tried = credentials.map(|(path, credentials)| format!("{} of {}", credentials.kind(), path.display()));
            let tried = tried.unwrap_or_else(|| "nothing, since there are no credentials".to_owned());
            return Err(What::Denied { status, tried }.at(&answer.address));
        }
        status => return Err(What::Status(status).at(&answer.address)),
    }
    let found = Digest::of(&answer.body);
    if found != wanted {
        return Err(What::Digest { found, wanted }.at(&answer.address));
    }
    store.keep(&wanted, &answer.body);
    Ok(answer.body)
}

async fn oci(
    plugin: &Plugin,
    reference: &OciReference,
    limits: &Limits,
    store: &Store,
    online: bool,
) -> Result<Vec<u8>, FetchError> {
    let home = Address { plain: false, authority: reference.registry.clone(), target: "/".to_owned() };
    let plain = match plugin.plain_http {
        true => Plain::Everybody,
        // Who can listen on this machine's own interface can read our memory, too.
        false if home.is_loopback() && plugin.ca.is_none() => Plain::Loopback,
        false => Plain::Nobody,
    };
    let credentials =
        if online { credentials(plugin, &home.authority).map_err(|what| what.at(reference))? } else { None };
    let client = Client::new(limits, plugin.ca.as_deref(), plain);
    let authorization = RefCell::default();
    Registry { client: &client, store, reference, credentials, online, authorization }.module().await
}

fn credentials<'p>(plugin: &'p Plugin, host: &str) -> Result<Option<(&'p Path, Credentials)>, What> {
    let read = |path: &'p std::path::PathBuf| Ok((path.as_path(), Credentials::read(path, host)?));
    plugin.credentials.as_ref().map(read).transpose()
}
