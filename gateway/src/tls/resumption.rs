//! What lets a client resume a session: ticket keys, and a cache for TLS 1.2 clients without tickets.
//!
//! Both outlive a reload, so that a thousand clients need not make a thousand full handshakes after it. They are shared
//! only by listeners with the same certificate files and the same demands on client certificates: a ticket says who its
//! client proved to be, and one from a listener that asks for nothing must not open one that asks. A changed CA file
//! counts as a changed demand, so nobody comes back by a ticket whom the new CAs would not admit.
//!
//! Locks are taken here, but by handshakes only, never by requests.

use std::collections::HashMap;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use aws_lc_rs::digest;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};

use super::TlsProblem;
use crate::config::model::{Certificates, Tls};

/// Sessions that are kept for TLS 1.2 clients without tickets, by listener. About 200 bytes each.
pub(super) const CACHED_SESSIONS: usize = 2048;
/// The same where sessions hold the client's certificates, some kilobytes each.
const CACHED_SESSIONS_WITH_CERTIFICATES: usize = 256;

/// What equal listeners share.
pub(super) struct Resumption {
    pub(super) ticketer: Arc<dyn ProducesTickets>,
    pub(super) sessions: Arc<dyn StoresServerSessions>,
}

type Key = [u8; 32];

/// Those that any [`super::ServerTls`] still holds.
static SHARED: LazyLock<Mutex<HashMap<Key, Weak<Resumption>>>> = LazyLock::new(Mutex::default);

impl Resumption {
    /// What listeners of this configuration share; `client_ca` is what the CA file holds.
    pub(super) fn shared(tls: &Tls, client_ca: Option<&[u8]>) -> Result<Arc<Resumption>, TlsProblem> {
        let key = key(tls, client_ca);
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shared.get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let size = if client_ca.is_some() { CACHED_SESSIONS_WITH_CERTIFICATES } else { CACHED_SESSIONS };
        let resumption = Arc::new(Resumption {
            ticketer: Ticketer::new().map_err(|error| TlsProblem::Crypto(error.to_string()))?,
            sessions: ServerSessionMemoryCache::new(size),
        });
        shared.retain(|_, held| held.strong_count() > 0);
        shared.insert(key, Arc::downgrade(&resumption));
        Ok(resumption)
    }
}

impl fmt::Debug for Resumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resumption")
    }
}

/// Equal for the same listener before and after a reload, also when its certificates were renewed in place.
fn key(tls: &Tls, client_ca: Option<&[u8]>) -> Key {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut part = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    match &tls.certificates {
        Certificates::Dev => part(b"dev"),
        Certificates::Files(files) => {
            part(b"files");
            part(&(files.len() as u64).to_be_bytes());
            files.iter().for_each(|files| part(files.certificate.as_os_str().as_bytes()));
        }
    }
    match (&tls.client, client_ca) {
        (Some(client), Some(ca)) => {
            part(if client.required { b"required" } else { b"optional" });
            part(ca);
        }
        _ => part(b"no client certificates"),
    }
    let mut key = Key::default();
    key.copy_from_slice(context.finish().as_ref());
    key
}
