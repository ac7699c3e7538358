//! `zone` and `name`: which gateway this is, among those that share a configuration.

use super::{At, Reader, value};

/// Which gateway this is.
#[derive(Clone, Default)]
pub(super) struct Identity {
    /// Where it stands.
    pub(super) zone: Option<String>,
    /// What it is called.
    pub(super) name: String,
}

impl Reader<'_, '_> {
    /// As the file says, or else the environment; its name is that of the host when nobody says another.
    pub(super) fn identity(&mut self, zone: Option<&At<String>>, name: Option<&At<String>>) -> Identity {
        let zone = self.told(zone, "GATEWRIGHT_ZONE");
        let name = self.told(name, "GATEWRIGHT_NAME");
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        Identity { zone, name: name.unwrap_or_else(host) }
    }

    fn told(&mut self, written: Option<&At<String>>, variable: &str) -> Option<String> {
        match written {
            Some(text) => self.text(text, value::name),
            None => std::env::var(variable).ok().filter(|text| !text.is_empty()),
        }
    }
}
