//! What changed between two configurations, in words for the line that a reload logs.
//!
//! Pure. Things are told apart by what people call them: a listener by its address, plugins, pools and routes by their
//! names.
//! The line stays short: of many things only the first are named. What stands in certificate
//! files is for the caller to compare.

use std::collections::HashMap;
use std::fmt::{Display, Write};
use std::hash::Hash;
use std::path::Path;

use super::model::{Action, Config, Mirror, Named, Pool, Route};

/// How many things of a kind are named.
const NAMED: usize = 5;

/// What `after` has that `before` had not, and the other way round; empty when nothing changed.
pub fn diff(before: &Config, after: &Config) -> String {
    let mut words = String::new();
    things(
        &mut words,
        "listeners",
        before.listeners.iter().map(|listener| (listener.address, listener)),
        after.listeners.iter().map(|listener| (listener.address, listener)),
        |before, after| before == after,
    );
    things(
        &mut words,
        "plugins",
        before.plugins.iter().map(|plugin| (&*plugin.name, plugin)),
        after.plugins.iter().map(|plugin| (&*plugin.name, plugin)),
        |before, after| before == after,
    );
    things(
        &mut words,
        "pools",
        before.pools.iter().map(|pool| (&*pool.name, pool)),
        after.pools.iter().map(|pool| (&*pool.name, pool)),
        |one, other| same_pool(one, before, other, after),
    );
    things(
        &mut words,
        "routes",
        before.routes.iter().map(|route| (&*route.name, route)),
        after.routes.iter().map(|route| (&*route.name, route)),
        |one, other| same_route(one, before, other, after),
    );
    for (name, same) in [
        ("workers", before.workers == after.workers),
        ("admin", before.admin == after.admin),
        ("forwarded", before.forwarded == after.forwarded),
        ("access_log", before.access_log == after.access_log),
        ("log", before.log == after.log),
        ("cache", before.cache_disk == after.cache_disk),
        ("limits", before.limits == after.limits),
    ] {
        if !same {
            sentence(&mut words, format_args!("{name} changed"));
        }
    }
    if words.is_empty() && !same_order(&before.routes, &after.routes) {
        words.push_str("routes in another order");
    }
    words
}

/// Which certificates are others than before although the configuration is the same, in words.
pub fn renewed(words: &mut String, named: &[Named], changed: impl Fn(&Path) -> bool) {
    let mut certificates = Vec::new();
    let mut authorities = Vec::new();
    for named in named {
        match named {
            Named::Pair(files) if changed(&files.certificate) || changed(&files.key) => {
                certificates.push(files.certificate.display().to_string());
            }
            Named::Authorities(path) if changed(path) => authorities.push(path.display().to_string()),
            _ => {}
        }
    }
    for (what, mut files) in [("certificates", certificates), ("authorities", authorities)] {
        files.sort_unstable();
        files.dedup();
        if !files.is_empty() {
            sentence(words, format_args!("{what} renewed: {}", names(&files)));
        }
    }
}

/// Plugins are named by indexes, which move when another plugin comes or goes.
fn same_plugins<'a>(
    one: impl IntoIterator<Item = &'a usize>,
    before: &Config,
    other: impl IntoIterator<Item = &'a usize>,
    after: &Config,
) -> bool {
    let one = one.into_iter().map(|at| before.plugins.get(*at).map(|plugin| &plugin.name));
    one.eq(other.into_iter().map(|at| after.plugins.get(*at).map(|plugin| &plugin.name)))
}

fn same_pool(one: &Pool, before: &Config, other: &Pool, after: &Config) -> bool {
    same_plugins(&one.balancer, before, &other.balancer, after)
        && *one == Pool { balancer: one.balancer, ..other.clone() }
}

/// A route names its pool by an index, too.
fn same_route(one: &Route, before: &Config, other: &Route, after: &Config) -> bool {
    let actions = match (&one.action, &other.action) {
        (Action::Pool(one), Action::Pool(other)) => {
            before.pools.get(*one).map(|pool| &pool.name) == after.pools.get(*other).map(|pool| &pool.name)
        }
        (one, other) => one == other,
    };
    let name = |config: &Config, mirror: Option<Mirror>| Some(config.pools.get(mirror?.pool)?.name.clone());
    let indexes = |mirror: Option<Mirror>| mirror.map(|mirror| Mirror { pool: 0, ..mirror });
    let mirrors = name(before, one.mirror) == name(after, other.mirror) && indexes(one.mirror) == indexes(other.mirror);
    actions
        && mirrors
        && same_plugins(&one.router, before, &other.router, after)
        && same_plugins(&one.filters, before, &other.filters, after)
        && *one
            == Route {
                action: one.action.clone(),
                mirror: one.mirror,
                router: one.router,
                filters: one.filters.clone(),
                ..other.clone()
            }
}

fn same_order(before: &[Route], after: &[Route]) -> bool {
    before.iter().map(|route| &route.name).eq(after.iter().map(|route| &route.name))
}

fn things<K: Copy + Eq + Hash + Display, T>(
    words: &mut String,
    kind: &str,
    before: impl Iterator<Item = (K, T)>,
    after: impl Iterator<Item = (K, T)>,
    same: impl Fn(&T, &T) -> bool,
) {
    // Several may share a name (listeners on port 0), and are then taken in their order.
    let number = |seen: &mut HashMap<K, usize>, key| {
        let number = seen.entry(key).or_default();
        *number += 1;
        (key, *number)
    };
    let mut seen = HashMap::new();
    let before: Vec<_> = before.map(|(key, thing)| (number(&mut seen, key), thing)).collect();
    seen.clear();
    let after: Vec<_> = after.map(|(key, thing)| (number(&mut seen, key), thing)).collect();
    let old: HashMap<_, _> = before.iter().map(|(key, thing)| (*key, thing)).collect();
    let new: HashMap<_, _> = after.iter().map(|(key, thing)| (*key, thing)).collect();

    let added: Vec<K> = after.iter().filter(|(key, _)| !old.contains_key(key)).map(|(key, _)| key.0).collect();
    let removed: Vec<K> = before.iter().filter(|(key, _)| !new.contains_key(key)).map(|(key, _)| key.0).collect();
    let differs = |key, thing| old.get(key).is_some_and(|before| !same(before, thing));
    let changed: Vec<K> = after.iter().filter(|(key, thing)| differs(key, thing)).map(|(key, _)| key.0).collect();
    for (what, keys) in [("added", added), ("changed", changed), ("removed", removed)] {
        if !keys.is_empty() {
            sentence(words, format_args!("{kind} {what}: {}", names(&keys)));
        }
    }
}

fn names<K: Display>(keys: &[K]) -> String {
    let named: Vec<_> = keys.iter().take(NAMED).map(K::to_string).collect();
    match keys.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn sentence(words: &mut String, more: impl Display) {
    let comma = if words.is_empty() { "" } else { "; " };
    // Writing to a String does not fail.
    let _ = write!(words, "{comma}{more}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::CertificateFiles;
    use crate::config::parse;

    const BASE: &str =
        "[[listener]]\naddress = \"127.0.0.1:80\"\n[pool.b]\nendpoints = [\"b:80\"]\n[[route]]\npool = \"b\"\n";

    fn change(before: &str, after: &str) -> String {
        let read = |text: &str| parse(text, Path::new("g.toml")).unwrap();
        diff(&read(before), &read(after))
    }

    #[test]
    fn what_is_the_same_is_not_mentioned() {
        assert_eq!(change(BASE, BASE), "");
        assert_eq!(change(BASE, &format!("# Moved down.\n{BASE}")), "");
    }

    #[test]
    fn things_are_named() {
        let more =
            "[pool.a]\nendpoints = [\"a:80\"]\n[[listener]]\naddress = \"127.0.0.1:81\"\n[limits]\nconnections = 5\n";
        let more = format!("{BASE}{more}");
        // The route is the same, although its pool has another index now.
        assert_eq!(change(BASE, &more), "listeners added: 127.0.0.1:81; pools added: a; limits changed");
        assert_eq!(change(&more, BASE), "listeners removed: 127.0.0.1:81; pools removed: a; limits changed");
        let other = BASE.replace("b:80", "c:80").replace("pool = \"b\"", "respond = \"b\"");
        assert_eq!(change(BASE, &other), "pools changed: b; routes changed: /");
    }

    #[test]
    fn plugins_are_named_and_may_move() {
        let uses = "balance = \"m\"\nfallback = \"p2c\"\n[[route]]\npool = \"b\"\nrouter = \"m\"\nfilters = [\"m\"]\n";
        let plugin = |name: &str| format!("[plugin.{name}]\nsource = \"{name}.wasm\"\n");
        let base = format!("{}{}", BASE.replace("[[route]]\npool = \"b\"\n", uses), plugin("m"));
        let more = format!("{base}{}", plugin("a"));
        // Pool and route are the same, although their plugin has another index now.
        assert_eq!(change(&base, &more), "plugins added: a");
        assert_eq!(change(&more, &base), "plugins removed: a");
        assert_eq!(change(&base, &format!("{base}config = {{ spare = 1 }}\n")), "plugins changed: m");
        assert_eq!(change(&more, &more.replace("balance = \"m\"", "balance = \"a\"")), "pools changed: b");
        assert_eq!(change(&more, &more.replace("router = \"m\"", "router = \"a\"")), "routes changed: /");
        assert_eq!(change(&more, &more.replace("[\"m\"]", "[\"m\", \"a\"]")), "routes changed: /");
    }

    #[test]
    fn many_things_are_counted() {
        let routes: String = (0..12).map(|n| format!("[[route]]\nmatch.path = \"/{n}\"\nrespond = \"\"\n")).collect();
        let said = change(BASE, &format!("{BASE}{routes}"));
        assert_eq!(said, "routes added: /0, /1, /2, /3, /4 and 7 more");
    }

    #[test]
    fn renewed_certificates_are_named_once() {
        let pair = |name: &str| {
            let file = |end: &str| format!("{name}.{end}").into();
            Named::Pair(CertificateFiles { certificate: file("pem"), key: file("key") })
        };
        let named = [pair("b"), pair("a"), pair("b"), Named::Authorities("ca.pem".into())];
        let said = |changed: &[&str]| {
            let mut words = String::from("limits changed");
            renewed(&mut words, &named, |path| changed.iter().any(|changed| Path::new(changed) == path));
            words
        };
        assert_eq!(said(&[]), "limits changed");
        assert_eq!(said(&["b.key", "a.pem"]), "limits changed; certificates renewed: a.pem, b.pem");
        assert_eq!(said(&["ca.pem"]), "limits changed; authorities renewed: ca.pem");
    }

    #[test]
    fn order_counts_when_nothing_else_changed() {
        let route = |path: &str| format!("[[route]]\nmatch.path = \"{path}\"\nrespond = \"\"\n");
        let (a, b) = (route("/a"), route("/b"));
        assert_eq!(change(&format!("{BASE}{a}{b}"), &format!("{BASE}{b}{a}")), "routes in another order");
    }
}
