//! TLS towards clients and towards upstreams.
//!
//! In: the configuration's certificate, key and CA files, and connected sockets. Out: [`ServerTls`] and [`UpstreamTls`],
//! immutable and shared by all workers; encrypted streams with the facts that the request path needs.
//!
//! Invariants: a problem with a file names that file and says what is wrong with it; loading either gives a whole
//! configuration or changes nothing; there is no early data, so nothing can be replayed; a session is resumed only under the
//! same demands on client certificates under which it was made.
//!
//! Limits: PEM files by [`FILE_SIZE`], unsent records of one connection by [`WRITE_BUFFER`], cached sessions by
//! `resumption::CACHED_SESSIONS`, a client's identity by `identity::TEXT_SIZE`, a handshake message by rustls (64 KiB).
//! Time is the caller's: it puts a time-out around [`accept`] and [`UpstreamTls::connect`].
//!
//! An idle connection holds about 8 KiB: one read buffer of 4 KiB (rustls allocates it before it reads, and shrinks back
//! to it), the keys, and the peer's certificates if there are any. Write buffers are freed as they empty.
//!
//! Writes are bounded: at most [`WRITE_BUFFER`] bytes are encrypted ahead of the socket, then `poll_write` is pending.
//! `poll_write_vectored` makes records across slice borders and sends them with one `writev`, so a head and the start of
//! its body cost one record and one system call.

mod choose;
mod dev;
mod identity;
mod pem;
mod problem;
mod resumption;
mod server;
mod upstream;
pub mod watch;

#[cfg(test)]
#[path = "../../../tests/harness/certs.rs"]
mod certs;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

use crate::config::model::CertificateFiles;
pub use dev::{DevCertificate, dev_certificate};
pub use identity::ClientIdentity;
pub use problem::TlsProblem;
pub use server::{Accepted, HandshakeFailure, ServerTls, TlsFacts, accept};
pub use upstream::{UpstreamTls, failure as upstream_failure};
pub use watch::{Stamps, contents, files};

/// The largest certificate, key or CA file that is read. A bundle of every public CA has about 250 KiB.
pub const FILE_SIZE: u64 = 4 * 1024 * 1024;

/// How many bytes of records one connection holds that its socket has not taken yet: four records of the largest size,
/// which go out with one `writev`.
pub const WRITE_BUFFER: usize = 64 * 1024;

/// Everything that is wrong with a certificate and its key, at once.
pub fn problems_of_pair(files: &CertificateFiles) -> Vec<TlsProblem> {
    pem::problems(files)
}

/// What there is to be warned of in a file with a certificate that can be used: that it is out of its time.
pub fn warnings_of_certificate(path: &Path) -> Vec<String> {
    pem::out_of_time(path, SystemTime::now()).unwrap_or_default()
}

/// What is wrong with a file of authorities.
pub fn problem_of_authorities(path: &Path) -> Option<TlsProblem> {
    pem::read(path).and_then(|text| pem::roots(path, &text)).err()
}

const ALPN_H1: &[u8] = b"http/1.1";
const ALPN_H2: &[u8] = b"h2";

/// The cryptography of this process. Given to every configuration, so that no other crate's choice can replace it.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    PROVIDER.clone()
}
