//! Why a module could not be fetched: where, what happened, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

use crate::plugin::Digest;

/// Why a module could not be fetched.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {what}")]
pub struct FetchError {
    /// Who was asked.
    pub address: String,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug, thiserror::Error)]
pub enum What {
    /// Nobody answers there.
    #[error("cannot connect: {0}")]
    NoConnection(String),
    /// Somebody does, but not with TLS that is trusted.
    #[error("{why}{}", if *.own { "" } else { "; \"ca\" names the authorities to trust, when not the system's" })]
    Tls {
        /// In plain words.
        why: &'static str,
        /// Whether the authorities are given.
        own: bool,
    },
    /// No answer, or not all of it.
    #[error("the answer cannot be read: {0}")]
    Broken(String),
    /// It takes too long.
    #[error("not fetched within {0:?} (limits.plugin_download_time)")]
    Late(Duration),
    /// An answer that is no module.
    #[error("answered {0}{hint}", hint = hint(*.0))]
    Status(u16),
    /// We are not let in.
    #[error("answered {status}: not allowed; tried {tried}{hint}", hint = credentials_hint(.tried))]
    Denied {
        /// The status.
        status: u16,
        /// As whom.
        tried: String,
    },
    /// A file with credentials is of no use.
    #[error("{}: {what}", .file.display())]
    Credentials {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The authorities to trust cannot be read.
    #[error("{0}")]
    Authorities(String),
    /// Sent from one place to the next.
    #[error("redirected more than {0} times")]
    Redirects(usize),
    /// Sent to where nothing is fetched from.
    #[error("redirected to {0:?}; only https:// is followed")]
    RedirectTo(String),
    /// Larger than a module may be.
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    /// Another thing than the one that is demanded.
    #[error("its sha256 is {found}, but {wanted} is demanded; if it was changed on purpose, demand the new one")]
    Digest {
        /// What is there.
        found: Digest,
        /// What should be.
        wanted: Digest,
    },
    /// What a registry has there is no plugin.
    #[error("{0}")]
    NoPlugin(String),
    /// The network was not to be used.
    #[error("was not fetched, and no copy of it is kept here")]
    Offline,
}

impl What {
    /// Of this address.
    pub(super) fn at(self, address: impl ToString) -> FetchError {
        FetchError { address: address.to_string(), what: self }
    }
}

impl FetchError {
    /// Whether nothing was learned about what is there, so that what is known from before may serve.
    pub fn is_silence(&self) -> bool {
        match self.what {
            What::NoConnection(_) | What::Tls { .. } | What::Broken(_) | What::Late(_) | What::Offline => true,
            What::Status(status) => status >= 500 || status == 429,
            _ => false,
        }
    }

    /// Whether it was not even tried.
    pub fn is_offline(&self) -> bool {
        matches!(self.what, What::Offline)
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        404 | 410 => ": it is not there; look at its name and version",
        429 => ": too many requests; try again later",
        500.. => ": it has a problem of its own; try again later",
        _ => "",
    }
}

fn credentials_hint(tried: &str) -> &'static str {
    if tried.contains(" of ") { "" } else { "; give \"credentials\"" }
}
