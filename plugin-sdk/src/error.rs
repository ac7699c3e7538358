//! Why a plugin cannot be configured, or does not take the state of another version.

use std::fmt;

/// A text for people: it stands in the gateway's log and in the answer to whoever loads the plugin.
///
/// `?` makes one of every error.
pub struct Error(String);

/// What can go wrong with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that says this.
    pub fn new(text: impl fmt::Display) -> Error {
        Error(text.to_string())
    }

    #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.0.into_bytes();
        // An error without a text is still one.
        if bytes.is_empty() {
            bytes.extend_from_slice(b"error");
        }
        bytes
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Error {
        Error::new(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `main` and `unwrap` show is the text.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
