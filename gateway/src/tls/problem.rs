//! Why a TLS configuration cannot be used: which file, and what is wrong with it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a TLS configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsProblem {
    /// Not there, or not ours to read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Larger than any certificate file is.
    #[error("{}: larger than {} bytes", path.display(), super::FILE_SIZE)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Broken PEM, as in a file that is only half written.
    #[error("{}: broken PEM: {what}", path.display())]
    BrokenPem {
        /// The file.
        path: PathBuf,
        /// What is broken.
        what: String,
    },
    /// Where certificates should be, there are none.
    #[error("{}: there is no certificate in it{hint}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What is in it instead, or nothing.
        hint: &'static str,
    },
    /// Where a private key should be, there is none.
    #[error("{}: there is no private key in it{hint}", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is in it instead, or nothing.
        hint: &'static str,
    },
    /// A certificate that cannot be understood.
    #[error("{}: a certificate in it cannot be used: {what}", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// A private key that cannot be used.
    #[error("{}: the private key cannot be used: {what}", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// Certificate and key are not a pair.
    #[error("{}: this private key does not belong to the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// A listener that would have no certificate at all.
    #[error("a TLS listener needs at least one certificate")]
    NoCertificates,
    /// `name` is neither a DNS name nor an IP address.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    BadName(String),
    /// The system's store of CAs is needed, but there is nothing in it.
    #[error("the system has no CA certificates{0}; name a file of them here")]
    NoSystemRoots(String),
    /// The cryptography library refused.
    #[error("cryptography: {0}")]
    Crypto(String),
}

impl TlsProblem {
    /// The file that is to blame.
    pub fn path(&self) -> Option<&Path> {
        match self {
            TlsProblem::Unreadable { path, .. }
            | TlsProblem::TooLarge { path }
            | TlsProblem::BrokenPem { path, .. }
            | TlsProblem::NoCertificate { path, .. }
            | TlsProblem::NoKey { path, .. }
            | TlsProblem::BadCertificate { path, .. }
            | TlsProblem::BadKey { path, .. }
            | TlsProblem::Mismatch { key: path, .. } => Some(path),
            TlsProblem::NoCertificates
            | TlsProblem::BadName(_)
            | TlsProblem::NoSystemRoots(_)
            | TlsProblem::Crypto(_) => None,
        }
    }
}
