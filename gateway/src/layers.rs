//! Which module may know which, held by a test.
//!
//! Read from the source: every `crate::…` outside tests is an edge from the module it stands in to the one it names.
//! [`ALLOWED`] has all of them. A new edge is a decision: put it into the table with the code that needs it, or turn the
//! dependency round. [`PURE`] are the leaves, which do no input or output and are told the time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Each module and what it may use: a module as a whole, or only what begins with a path.
const ALLOWED: &[(&str, &[&str])] = &[
    // The data path.
    (
        "worker",
        &[
            "access_log",
            "balance",
            "cache",
            "clock",
            "compress::Press",
            "discovery",
            "files",
            "http::Control",
            "limits",
            "listener",
            "metrics",
            "plugin",
            "snapshot",
            "upstream",
        ],
    ),
    (
        "listener",
        &[
            "clock",
            "config::model",
            "error",
            "http",
            "limits",
            "metrics",
            "notice",
            "proxy",
            "proxy_protocol",
            "tls",
            "worker",
        ],
    ),
    ("tls", &["config::model", "http::Tcp"]),
    // The codecs know no route, pool or file. `clock` is for deadlines and the date.
    ("http", &["clock", "error", "limits"]),
    (
        "proxy",
        &[
            "balance",
            "cache",
            "clock",
            "compress",
            "config::model",
            "error",
            "http",
            "listener::Listener",
            "metrics",
            "notice",
            "plugin",
            "policy",
            "respond",
            "route",
            "snapshot",
            "tls::TlsFacts",
            "upstream",
            "worker",
        ],
    ),
    ("route", &["config::model", "http"]),
    ("policy", &["clock", "error", "http", "proxy", "route", "snapshot"]),
    ("cache", &["clock", "error", "http", "notice", "vault"]),
    ("files", &["clock", "config::model", "error", "escape", "http", "limits"]),
    ("balance", &["config::model", "http::head"]),
    // Knows nothing of HTTP, files or routes.
    ("plugin", &["balance", "stock", "vault"]),
    (
        "upstream",
        &[
            "balance",
            "clock",
            "config::model",
            "error",
            "http",
            "limits",
            "metrics",
            "notice",
            "plugin",
            "proxy_protocol",
            "tls",
        ],
    ),
    // Knows bodies and fields, and no route, pool or cache.
    ("compress", &["config::model", "error", "http", "limits", "metrics"]),
    (
        "respond",
        &[
            "access_log",
            "clock",
            "config::model",
            "error",
            "escape",
            "http",
            "metrics",
            "plugin",
            "policy",
            "proxy",
            "route",
            "upstream",
        ],
    ),
    // The control path.
    (
        "cli",
        &[
            "agent", "balance", "config", "examine", "fetch", "limits", "plugin", "reload", "run", "sim", "stock",
            "vault",
        ],
    ),
    (
        "run",
        &[
            "admin",
            "balance",
            "config",
            "control",
            "discovery",
            "examine",
            "fetch",
            "health",
            "listener",
            "metrics",
            "plugin",
            "reload",
            "snapshot",
            "tls",
            "vault",
            "worker",
        ],
    ),
    (
        "control",
        &[
            "admin",
            "balance",
            "config::model",
            "fetch",
            "plugin",
            "reload",
            "sampling",
            "snapshot",
            "tls",
            "vault",
            "worker",
        ],
    ),
    // Asks endpoints for their load, over the HTTP/1.1 of upstreams.
    ("sampling", &["balance", "config::model", "error", "http", "notice", "upstream", "worker"]),
    // Asks endpoints over the HTTP of upstreams, with connections of its own.
    (
        "health",
        &[
            "balance",
            "config::model",
            "error",
            "http",
            "metrics::PoolId",
            "notice",
            "proxy_protocol",
            "snapshot",
            "tls",
            "upstream",
            "worker::Shared",
        ],
    ),
    // Knows the types of values that HTTP defines, not how HTTP is spoken.
    ("config", &["http::FieldName", "http::Scheme", "http::encoding", "http::fields", "limits", "stock"]),
    (
        "snapshot",
        &[
            "access_log",
            "balance",
            "cache",
            "config",
            "fetch",
            "files",
            "http::FieldName",
            "limits",
            "metrics",
            "plugin",
            "route",
            "tls",
            "upstream",
            "stock",
        ],
    ),
    // Asks servers over the HTTP/1.1 of upstreams; which plugins run is not its business.
    ("fetch", &["config::model", "error", "http", "limits", "plugin", "tls", "vault"]),
    // Asks registries over the HTTP/1.1 of upstreams.
    (
        "discovery",
        &["config::model", "config::value", "http", "limits", "metrics::SearchRow", "notice", "snapshot::Found", "tls"],
    ),
    ("agent", &["config::model", "discovery"]),
    ("examine", &["config", "fetch", "metrics", "plugin", "snapshot", "tls"]),
    ("reload", &["config", "examine", "listener", "plugin", "snapshot", "tls", "worker"]),
    (
        "admin",
        &[
            "balance",
            "cache",
            "clock",
            "config::model",
            "config::problem",
            "config::value",
            "error",
            "http",
            "limits",
            "metrics",
            "plugin",
            "reload",
            "snapshot",
            "worker",
        ],
    ),
    // Plugins as the gateway runs them, before backends that are only thought of.
    ("sim", &["balance", "config::model", "config::problem", "config::value", "escape", "limits", "plugin", "stock"]),
    // Shared.
    ("access_log", &["config::model", "escape", "http", "limits", "metrics"]),
    ("clock", &["error"]),
    ("error", &[]),
    ("escape", &[]),
    ("limits", &[]),
    ("metrics", &["http"]),
    ("notice", &[]),
    ("proxy_protocol", &["config::model"]),
    // Names, and what is linked in under them.
    ("stock", &[]),
    ("vault", &[]),
];

/// Modules that know one another, by circles. Nothing else does: everything that is not here points one way.
const KNOTS: &[&[&str]] = &[
    // A worker owns its listeners, whose connections run exchanges, which hold their worker. The stages take an
    // exchange and stand beside the path that calls them.
    &["listener", "policy", "proxy", "respond", "worker"],
];

/// Leaves: files and folders without input, output and clocks.
const PURE: &[&str] = &[
    "access_log/format.rs",
    "cache/disk/desk.rs",
    "cache/disk/format.rs",
    "cache/disk/index.rs",
    "cache/disk/orders.rs",
    "cache/disk/state.rs",
    "cache/policy",
    "access_log/stamp.rs",
    "agent/watchdog.rs",
    "balance/concurrency/controller.rs",
    "balance/shares.rs",
    "balance/turn.rs",
    "compress/codec",
    "compress/dress.rs",
    "compress/load.rs",
    "compress/plan.rs",
    "config/diff.rs",
    "config/file",
    "config/hint.rs",
    "config/model",
    "config/pattern.rs",
    "config/problem.rs",
    "config/schema.rs",
    "config/shadow.rs",
    "config/shape.rs",
    "config/value",
    "config/value.rs",
    "control/lanes.rs",
    "discovery/dns/message.rs",
    "discovery/etcd/wire.rs",
    "discovery/members.rs",
    "discovery/zookeeper/wire.rs",
    "error.rs",
    "escape.rs",
    "fetch/address.rs",
    "fetch/challenge.rs",
    "fetch/manifest.rs",
    "files/pattern.rs",
    "http/conditional.rs",
    "http/ranges.rs",
    "files/resolve.rs",
    "files/site.rs",
    "files/types.rs",
    "health/outlier.rs",
    "health/term.rs",
    "health/verdict.rs",
    "http/claims.rs",
    "http/encoding.rs",
    "http/fields.rs",
    "http/h1/decode.rs",
    "http/h1/framing.rs",
    "http/h1/lines.rs",
    "http/h1/parse.rs",
    "http/h2/flood.rs",
    "http/h2/flow.rs",
    "http/h2/frame.rs",
    "http/h2/head.rs",
    "http/h2/hpack",
    "http/h2/settings.rs",
    "http/head.rs",
    "http/hygiene.rs",
    "http/upgrade.rs",
    "limits.rs",
    "proxy/forwarded.rs",
    "proxy_protocol.rs",
    "respond/page.rs",
    "route",
    "sim/backend.rs",
    "sim/chance.rs",
    "sim/engine",
    "sim/engine.rs",
    "sim/events.rs",
    "sim/histogram.rs",
    "sim/plan.rs",
    "sim/report",
    "sim/request.rs",
    "sim/scenario.rs",
    "sim/tally.rs",
    "tls/choose.rs",
    "tls/identity.rs",
    "upstream/tried.rs",
];

/// What a leaf does not touch.
const IMPURE: &[&str] = &[
    "tokio::",
    "std::fs",
    "std::thread",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "Instant::now",
    "SystemTime::now",
    ".elapsed()",
    "crate::clock",
    "static mut",
];

/// A source file: its path below `src`, its code without comments and tests.
struct Source {
    path: String,
    code: String,
}

impl Source {
    /// The top-level module that it belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }
}

/// All sources but tests, and but those that only join the modules.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            let name = file.file_stem().unwrap().to_str().unwrap();
            if name == "tests" {
                continue;
            }
            if file.is_dir() {
                folders.push(file);
            } else if file.extension().is_some_and(|extension| extension == "rs") {
                let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                sources.push(Source { code: code_of(&std::fs::read_to_string(&file).unwrap()), path });
            }
        }
    }
    sources.retain(|source| !["lib.rs", "main.rs", "layers.rs", "docs.rs"].contains(&source.path.as_str()));
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

/// The text up to the tests, which stand last in a file, without comments.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let opens_tests = |next: &&str| next.contains("mod ") && next.trim_end().ends_with('{');
        if line == "#[cfg(test)]" && lines.peek().is_some_and(opens_tests) {
            break;
        }
        if !line.trim_start().starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// Every path behind `crate::`, with the braces of `use` taken apart.
fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        // `in crate::…` is a visibility.
        if !(before.is_alphanumeric() || before == '_' || before == '$' || code[..at].ends_with("(in ")) {
            tree("", &code[at + "crate::".len()..], &mut paths);
        }
    }
    paths
}

/// Adds the paths of one tree; what follows it.
fn tree<'a>(prefix: &str, text: &'a str, paths: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = tree(prefix, rest, paths).trim_start();
            match rest.strip_prefix(',') {
                Some(next) if !next.trim_start().starts_with('}') => rest = next,
                _ => return rest.trim_start_matches([',', ' ', '\n']).strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let path = match (prefix, name) {
        ("", _) => name.to_owned(),
        (_, "self" | "") => prefix.to_owned(),
        _ => format!("{prefix}::{name}"),
    };
    match rest.strip_prefix("::") {
        Some(below) if !below.starts_with('<') => tree(&path, below, paths),
        _ => {
            paths.push(path);
            rest
        }
    }
}

/// The module that a path leads to. What the crate itself offers comes from `run`.
fn target(path: &str) -> &str {
    match path.split("::").next().unwrap_or_default() {
        "start" | "start_file" | "Running" | "StartError" => "run",
        module => module,
    }
}

#[test]
fn modules_use_only_what_they_may() {
    let mut unused: BTreeSet<(&str, &str)> =
        ALLOWED.iter().flat_map(|(module, allowed)| allowed.iter().map(|path| (*module, *path))).collect();
    let mut wrong = Vec::new();
    for source in sources() {
        let module = source.module().to_owned();
        let Some((module, allowed)) = ALLOWED.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: the module {module} is not in the table", source.path));
            continue;
        };
        for path in paths(&source.code).iter().filter(|path| target(path) != *module) {
            let full = if target(path) == "run" { "run" } else { path.as_str() };
            let fits = |may: &&&str| full.strip_prefix(**may).is_some_and(|r| r.is_empty() || r.starts_with("::"));
            match allowed.iter().find(fits) {
                Some(may) => drop(unused.remove(&(*module, *may))),
                None => wrong.push(format!(
                    "{}: uses crate::{path}; {module} may use {}",
                    source.path,
                    if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") }
                )),
            }
        }
    }
    assert!(wrong.is_empty(), "edges that are not allowed:\n  {}", wrong.join("\n  "));
    assert!(unused.is_empty(), "edges that nobody needs any more, to be taken out of the table: {unused:?}");
}

#[test]
fn only_the_known_modules_run_in_a_circle() {
    let edges: BTreeMap<&'static str, BTreeSet<&'static str>> =
        ALLOWED.iter().map(|(module, to)| (*module, to.iter().map(|path| target(path)).collect())).collect();
    let reach = |from: &'static str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(at) = next.pop() {
            next.extend(edges.get(at).into_iter().flatten().copied().filter(|to| seen.insert(*to)));
        }
        seen
    };
    let reach: BTreeMap<&str, BTreeSet<&'static str>> = edges.keys().map(|module| (*module, reach(module))).collect();
    let knots: BTreeSet<BTreeSet<&str>> = edges
        .keys()
        .filter(|module| reach[**module].contains(**module))
        .map(|module| reach[module].iter().copied().filter(|other| reach[*other].contains(module)).collect())
        .collect();
    let known: BTreeSet<BTreeSet<&str>> = KNOTS.iter().map(|knot| knot.iter().copied().collect()).collect();
    assert_eq!(knots, known, "left: the circles that there are; right: those that are known");
}

#[test]
fn leaves_do_no_input_or_output_and_ask_no_clock() {
    let sources = sources();
    for leaf in PURE {
        let of_leaf = |source: &&Source| source.path == **leaf || source.path.starts_with(&format!("{leaf}/"));
        let files: Vec<&Source> = sources.iter().filter(of_leaf).collect();
        assert!(!files.is_empty(), "{leaf} is not there any more");
        for source in files {
            for word in IMPURE {
                assert!(!source.code.contains(word), "{}: is a pure leaf but says {word:?}", source.path);
            }
        }
    }
}

#[test]
fn paths_are_read_out_of_use_trees() {
    let code = "use crate::a;\nuse crate::b::{self, c, d::{e, F},};\nlet x = crate::g::h(crate::i::J::<u8>::k());\n\
                pub(crate) use x::y;\npub(in crate::z) struct S;";
    assert_eq!(paths(code), ["a", "b", "b::c", "b::d::e", "b::d::F", "g::h", "i::J"]);
    assert_eq!(
        code_of("a\n// crate::b\n#[cfg(test)]\nmod tests;\nc\n#[cfg(test)]\nmod tests {\n}"),
        "a\n#[cfg(test)]\nmod tests;\nc\n"
    );
}
