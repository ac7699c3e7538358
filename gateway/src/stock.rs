//! The plugins that are linked in, and their names: the one list of them.
//!
//! Each balancer needs no configuration, so that a pool can name it; routers have a `[plugin.NAME]` that says what they go by.
//! Invariant: a name stands for the same plugin everywhere.

use gatewright_sdk::native::Plugin;

/// A name, and how the plugin is come by.
pub type BuiltIn = (&'static str, fn() -> Plugin);

/// Balancers, the simplest first.
pub const BALANCERS: &[BuiltIn] = &[
    ("p2c", gatewright_plugin_p2c::plugin),
    ("round-robin", gatewright_plugin_round_robin::plugin),
    ("random", gatewright_plugin_random::plugin),
    ("least-requests", gatewright_plugin_least_requests::plugin),
    ("fastest", gatewright_plugin_fastest::plugin),
    ("peak-ewma", gatewright_plugin_peak_ewma::plugin),
    ("prequal", gatewright_plugin_prequal::plugin),
    ("reported-load", gatewright_plugin_reported_load::plugin),
    ("first-available", gatewright_plugin_first_available::plugin),
    ("maglev", gatewright_plugin_maglev::plugin),
    ("ring", gatewright_plugin_ring::plugin),
    ("sticky", gatewright_plugin_sticky::plugin),
];

/// Routers.
pub const ROUTERS: &[BuiltIn] = &[
    ("canary", gatewright_plugin_canary::plugin),
    ("read-write", gatewright_plugin_read_write::plugin),
    ("tenant", gatewright_plugin_tenant::plugin),
];

/// All of them.
pub fn all() -> impl Iterator<Item = BuiltIn> {
    BALANCERS.iter().chain(ROUTERS).copied()
}

/// The balancer of this name.
pub fn balancer(name: &str) -> Option<&'static str> {
    balancers().find(|known| *known == name)
}

/// The names of all balancers.
pub fn balancers() -> impl Iterator<Item = &'static str> {
    BALANCERS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_abi::kind;
    use gatewright_sdk::mock::{Mock, endpoint};

    #[test]
    fn balancers_need_no_configuration_and_each_is_what_its_list_says() {
        for (name, plugin) in BALANCERS {
            assert_eq!(plugin().kinds(), kind::BALANCER, "{name}");
            assert!(Mock::plugin(plugin(), "{}", [endpoint("10.0.0.1:80")]).is_ok(), "{name}");
        }
        assert!(ROUTERS.iter().all(|(_, plugin)| plugin().kinds() == kind::ROUTER));
        let mut names: Vec<_> = all().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all().count());
    }

    /// Each has a row in the guide, and nothing else has one.
    #[test]
    fn the_guide_names_all_of_them() {
        let guide =
            std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/README.md"))
                .unwrap();
        let balancers: Vec<&str> = rows(&guide, "| `balance = …` |").collect();
        assert!(balancers.iter().copied().eq(super::balancers()), "{balancers:?}");
        let routers: Vec<&str> = rows(&guide, "| `source = …` |").collect();
        assert!(routers.iter().copied().eq(ROUTERS.iter().map(|(name, _)| *name)), "{routers:?}");
    }

    /// The names in the first cells of a table.
    fn rows<'g>(guide: &'g str, head: &'g str) -> impl Iterator<Item = &'g str> {
        let table = guide.lines().skip_while(move |line| !line.starts_with(head)).skip(2);
        let rows = table.take_while(|line| line.starts_with('|'));
        rows.filter_map(|row| row.split('`').nth(1)).map(|name| name.trim_start_matches("builtin:"))
    }

    /// Every crate in `plugins/` is in the list, and the gateway's own folder knows no other.
    #[test]
    fn every_stock_plugin_is_linked_in() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
        let mut crates: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        crates.sort_unstable();
        let mut names: Vec<_> = all().map(|(name, _)| name).collect();
        names.sort_unstable();
        assert_eq!(crates, names);
    }
}
