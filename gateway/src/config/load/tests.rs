use std::collections::BTreeSet;

use http::StatusCode;
use proptest::prelude::*;
use serde_json::Value as Json;
use toml::Value as Toml;

use super::*;
use crate::config::model::{
    Action, Balance, Canary, Certificates, Check, Eject, HostHeader, HostPattern, OciVersion, Plugin, PluginSource,
    Rewrite, Segment, TlsVersion, ValuePattern,
};
use crate::config::schema;
use crate::limits::TABLE;

const FILES: &[(&str, &str)] = &[
    ("behind-a-load-balancer.toml", include_str!("../../../../config/behind-a-load-balancer.toml")),
    ("gateway.toml", GATEWAY),
    ("grpc.toml", include_str!("../../../../config/grpc.toml")),
    ("minimal.toml", include_str!("../../../../config/minimal.toml")),
    ("mtls.toml", include_str!("../../../../config/mtls.toml")),
    ("reverse-proxy-tls.toml", include_str!("../../../../config/reverse-proxy-tls.toml")),
    ("static-site.toml", include_str!("../../../../config/static-site.toml")),
    ("websocket.toml", include_str!("../../../../config/websocket.toml")),
];

const GATEWAY: &str = include_str!("../../../../config/gateway.toml");

const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\n";

fn read(text: &str) -> Config {
    parse(text, Path::new("dir/g.toml")).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The problems of a file that has a listener in its first two lines.
fn wrong(text: &str) -> Vec<String> {
    let problems = parse(&format!("{LISTENER}{text}"), Path::new("g.toml")).err();
    problems.map(|all| all.problems.iter().map(Problem::to_string).collect()).unwrap_or_default()
}

/// That the file has one problem, and that this is said of it.
#[track_caller]
fn says(text: &str, expected: &str) {
    let problems = wrong(text);
    assert!(problems.len() == 1 && problems[0].contains(expected), "{text}\nexpected {expected}\n{problems:#?}");
}

/// The file with every `#key = value` as a setting.
fn uncommented(text: &str) -> String {
    let setting =
        |line: &&str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    text.lines().map(|line| if setting(&line) { &line[1..] } else { line }).collect::<Vec<_>>().join("\n")
}

fn without_places(mut config: Config) -> String {
    config.places.clear();
    config.marks.clear();
    config.warnings.clear();
    format!("{config:#?}")
}

/// All keys of a schema with their defaults, as `route.match.host`; forms of a union are put together.
fn keys(schema: &Json, path: &str, found: &mut Vec<(String, Option<Json>)>) {
    for union in ["anyOf", "oneOf"] {
        schema[union].as_array().into_iter().flatten().for_each(|form| keys(form, path, found));
    }
    if schema["items"].is_object() {
        keys(&schema["items"], path, found);
    }
    if schema["additionalProperties"].is_object() {
        keys(&schema["additionalProperties"], &format!("{path}*."), found);
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let name = format!("{path}{name}");
        found.push((name.clone(), schema.get("default").cloned()));
        keys(schema, &format!("{name}."), found);
    }
}

/// Calls `visit` with each key of a tree, by its path in the schema; what it says no to is taken out.
fn prune(value: &mut Toml, schema: &Json, path: &str, visit: &mut impl FnMut(&str, &Toml) -> bool) {
    for union in ["anyOf", "oneOf"] {
        schema[union].as_array().into_iter().flatten().for_each(|form| prune(value, form, path, visit));
    }
    match value {
        Toml::Array(items) => items.iter_mut().for_each(|item| prune(item, &schema["items"], path, visit)),
        Toml::Table(table) => table.retain(|name, value| {
            let mut name = format!("{path}{name}");
            let mut inner = &schema["properties"][&name[path.len()..]];
            if inner.is_null() && schema["additionalProperties"].is_object() {
                inner = &schema["additionalProperties"];
                name = format!("{path}*");
            }
            if inner.is_null() {
                return true;
            }
            let keep = name.ends_with('*') || visit(&name, value);
            prune(value, inner, &format!("{name}."), visit);
            keep
        }),
        _ => {}
    }
}

#[test]
fn every_file_that_comes_along_is_right() {
    for (name, text) in FILES {
        if let Err(problems) = parse(text, Path::new(name)) {
            panic!("{problems}");
        }
    }
    if let Err(problems) = parse(&uncommented(GATEWAY), Path::new("gateway.toml, uncommented")) {
        panic!("{problems}");
    }
}

#[test]
fn the_reference_file_has_every_key_with_its_true_default() {
    let schema = schema::schema();
    let mut known = Vec::new();
    keys(&schema, "", &mut known);
    assert!(known.len() > 100, "{known:#?}");

    let full: Toml = toml::from_str(&uncommented(GATEWAY)).unwrap();
    let mut missing: BTreeSet<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
    let mut defaults: BTreeSet<&str> =
        known.iter().filter(|(_, default)| default.is_some()).map(|(name, _)| name.as_str()).collect();
    let mut bare = full.clone();
    prune(&mut bare, &schema, "", &mut |name, value| {
        missing.remove(name);
        let json = serde_json::to_value(value).unwrap();
        let is_default = known.iter().any(|(known, default)| known == name && default.as_ref() == Some(&json));
        if is_default {
            defaults.remove(name);
        }
        !is_default
    });
    assert_eq!(missing, BTreeSet::new(), "keys that config/gateway.toml does not explain");
    assert_eq!(defaults, BTreeSet::new(), "keys that config/gateway.toml does not show with their default");
    let text = |value: &Toml| toml::to_string(value).unwrap();
    assert_ne!(text(&full), text(&bare));
    let (full, bare) = (without_places(read(&text(&full))), without_places(read(&text(&bare))));
    let differ = full.lines().zip(bare.lines()).find(|(full, bare)| full != bare);
    assert_eq!(differ, None, "a default that is none");
}

#[test]
fn a_body_with_what_looks_like_a_placeholder_is_warned_of() {
    let warnings = |text: &str| {
        let text =
            format!("[[listener]]\naddress = '127.0.0.1:0'\n[[route]]\nmatch = {{ path = '/u/{{id}}' }}\n{text}");
        read(&text).warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let line = "5:11: route[0].respond: warning: {client} is sent as it stands here: a body has no placeholders";
    assert_eq!(warnings("respond = 'you are {client}'"), [line]);
    let found = warnings("respond = { body = 'user {id}' }");
    assert!(found.len() == 1 && found[0].contains("route[0].respond.body: warning: {id} is sent"), "{found:?}");
    assert!(warnings("respond = '{\"status\": \"ok\", \"host\": {}}'").is_empty());
}

#[test]
fn an_unknown_limit_is_answered_with_the_nearest_or_with_where_they_stand() {
    let found = wrong("[limits]\nx = 1\nidle_tim = '1s'\n");
    assert!(
        found.iter().any(|line| line.contains("limits.x: unknown key; the ") && line.contains("README")),
        "{found:?}"
    );
    assert!(found.iter().any(|line| line.contains("did you mean \"idle_time\"?")), "{found:?}");
}

#[test]
fn the_schema_is_closed_explained_and_without_null() {
    fn look(schema: &Json, path: &str) {
        if schema["type"] == "object" {
            assert!(!schema["additionalProperties"].is_null(), "{path} takes any key");
        }
        assert_ne!(schema["type"], "null", "{path}");
        assert!(!schema["type"].is_array() && schema["$ref"].is_null(), "{path}: {schema}");
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            assert!(schema["description"].as_str().is_some_and(|text| text.len() > 5), "{path}.{name}: {schema}");
            look(schema, &format!("{path}.{name}"));
        }
        for inner in ["anyOf", "oneOf"].iter().flat_map(|union| schema[*union].as_array()).flatten() {
            look(inner, path);
        }
        for inner in ["items", "additionalProperties"].map(|key| &schema[key]).into_iter().filter(|s| s.is_object()) {
            look(inner, path);
        }
    }
    let schema = schema::schema();
    look(&schema, "");
    for row in TABLE {
        let default: Json = serde_json::from_str(row.default).unwrap();
        assert_eq!(schema["properties"]["limits"]["properties"][row.name]["default"], default);
    }
}

#[test]
fn keys_reach_the_model() {
    let config = read(&format!(
        r#"
        workers = 1_0
        {LISTENER}
        [[listener]]
        address = "[::1]:8443"
        protocols = ["h2"]
        tls = {{ certificates = [{{ certificate = "a.pem", key = "/b.key" }}], minimum = "1.3", client = {{ ca = "ca.pem" }} }}
        [pool.b]
        endpoints = ["127.0.0.1:1"]
        [pool.a]
        endpoints = ["a:80", {{ address = "[::1]:81", weight = 3 }}]
        balance = "round-robin"
        host = "fixed.example"
        timeouts = {{ connect = "250ms" }}
        [[route]]
        match = {{ host = "*.A.example", path = ["/x/{{id}}", "/y/{{id}}/"], header = {{ X-A = "1*", b = true }}, client = "10.1.2.3/8" }}
        pool = "b"
        rewrite = {{ path = "/{{id}}" }}
        body_limit = 5
        [[route]]
        match.path = "/r"
        redirect = {{ to = "/{{query}}", status = 307 }}
        [[route]]
        match.path = "/r"
        respond = "hi"
        [limits]
        header_time = "3s"
        body_size = "1MiB"
        connections = 5
        "#
    ));
    assert_eq!(config.workers, Some(10));
    let tls = config.listeners[1].tls.as_ref().unwrap();
    let Certificates::Files(files) = &tls.certificates else { panic!("{tls:?}") };
    assert_eq!((files[0].certificate.as_path(), files[0].key.as_path()), (Path::new("dir/a.pem"), Path::new("/b.key")));
    assert_eq!((tls.minimum, tls.client.as_ref().unwrap().required), (TlsVersion::Tls13, true));
    assert_eq!(config.place(Path::new("dir/a.pem")).unwrap().key, "listener[1].tls.certificates[0].certificate");
    assert_eq!(config.pools.iter().map(|pool| &*pool.name).collect::<Vec<_>>(), ["a", "b"]);
    let pool = &config.pools[0];
    assert_eq!((pool.balance, &pool.host), (turns(), &HostHeader::Fixed("fixed.example".into())));
    assert_eq!((pool.endpoints[1].endpoint.weight, pool.timeouts.connect), (3, Some(Duration::from_millis(250))));
    let queue = Some(Duration::from_secs(5));
    assert_eq!((pool.timeouts.first_byte, pool.timeouts.queue), (Some(Duration::from_secs(60)), queue));
    let route = &config.routes[0];
    assert_eq!(route.timeouts, Timeouts::default());
    assert_eq!(route.name, "*.a.example/x/{id}");
    assert_eq!(route.action, Action::Pool(1));
    assert_eq!(route.matches.hosts, [HostPattern::Wildcard(".a.example".into())]);
    assert_eq!(route.matches.paths[1].segments[1], Segment::Capture("id".into()));
    let headers: Vec<_> = route.matches.headers.iter().map(|(name, value)| (name.text(), value)).collect();
    assert_eq!(headers, [("x-a", &ValuePattern::Prefix("1".into())), ("b", &ValuePattern::Present)]);
    assert!(matches!(route.rewrite, Some(Rewrite::Path(_))));
    assert_eq!(route.body_limit, Some(5));
    let Action::Redirect(redirect) = &config.routes[1].action else { panic!() };
    assert_eq!(redirect.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!((&*config.routes[1].name, &*config.routes[2].name), ("/r", "/r#2"));
    assert_eq!((config.limits.header_time, config.limits.body_size), (Duration::from_secs(3), 1 << 20));
    assert_eq!(config.limits.connections, 5);
}

const SHA256: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

/// Four plugins in the lines from the third, `d`, `c`, `b` and `a`; a pool and a route can follow.
fn plugins() -> String {
    format!(
        "[plugin.d]\nsource = \"builtin:d\"\n[plugin.c]\nsource = \"oci://r.example/c:1\"\n\
         [plugin.b]\nsource = \"https://p.example/b\"\nsha256 = \"{SHA256}\"\n[plugin.a]\nsource = \"p/a.wasm\"\n"
    )
}

#[test]
fn plugins_reach_the_model() {
    let rest = format!(
        r#"
        deadline = "1s"
        configure_time = "1m"
        memory_size = "4GiB"
        sha256 = "{SHA256}"
        shadow = "1m"
        canary = {{ share = "12.5%", for = "30s" }}
        [plugin.a.config]
        spare = 100
        [pool.p]
        endpoints = ["a:80", {{ address = "b:80", priority = 100, zone = "z", metadata = {{ rack = "7", os = "" }} }}]
        balance = "c"
        fallback = "round-robin"
        [pool.q]
        endpoints = ["a:80"]
        balance = "d"
        [pool.r]
        endpoints = ["a:80"]
        [[route]]
        pool = "p"
        router = "b"
        filters = ["d", "a"]
        "#
    );
    let config = read(&format!("{LISTENER}{}{rest}", plugins()));
    assert_eq!(config.plugins.iter().map(|plugin| &*plugin.name).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    let mut sha256 = [0; 32];
    sha256[31] = 0xff;
    let a = Plugin {
        name: "a".into(),
        source: PluginSource::Path("dir/p/a.wasm".into()),
        sha256: Some(sha256),
        ca: None,
        credentials: None,
        plain_http: false,
        config: "{\"spare\":100}".into(),
        deadline: Duration::from_secs(1),
        configure_time: Duration::from_secs(60),
        memory_size: 4 << 30,
        shadow: Some(Duration::from_secs(60)),
        canary: Some(Canary { share: 1250, time: Duration::from_secs(30) }),
    };
    assert_eq!(config.plugins[0], a);
    let b = Plugin {
        name: "b".into(),
        source: PluginSource::Https("https://p.example/b".into()),
        sha256: Some(sha256),
        ca: None,
        credentials: None,
        plain_http: false,
        config: "{}".into(),
        deadline: Duration::from_millis(2),
        configure_time: Duration::from_secs(1),
        memory_size: 64 << 20,
        shadow: None,
        canary: None,
    };
    assert_eq!(config.plugins[1], b);
    let PluginSource::Oci(reference) = &config.plugins[2].source else { panic!("{:?}", config.plugins[2]) };
    assert_eq!((&*reference.repository, &reference.version), ("c", &OciVersion::Tag("1".into())));
    assert_eq!(config.plugins[3].source, PluginSource::BuiltIn("d".into()));
    assert_eq!(config.plugin_files().collect::<Vec<_>>(), [Path::new("dir/p/a.wasm")]);
    assert_eq!(config.named, [Named::Plugin("dir/p/a.wasm".into())]);
    assert_eq!(config.place(Path::new("dir/p/a.wasm")).unwrap().key, "plugin.a.source");

    let balance = |pool: usize| (config.pools[pool].balance, config.pools[pool].balancer);
    assert_eq!(balance(0), (turns(), Some(2)));
    assert_eq!(balance(1), (Balance::default(), Some(3)));
    assert_eq!(balance(2), (Balance::default(), None));
    let [plain, full] = config.pools[0].endpoints.as_slice() else { panic!() };
    assert_eq!((plain.priority, &*plain.zone, plain.metadata.len()), (0, "", 0));
    assert_eq!((full.priority, &*full.zone), (100, "z"));
    assert_eq!(full.metadata, [("os".into(), "".into()), ("rack".into(), "7".into())]);
    assert_eq!((config.routes[0].router, &*config.routes[0].filters), (Some(1), &[3, 0][..]));
}

#[test]
fn the_configuration_of_a_plugin_becomes_json_in_the_order_of_the_file() {
    let text = r#"
        [plugin.a]
        source = "a.wasm"
        [plugin.a.config]
        zebra = "a \"b\"\n\u0000é"
        hex = 0xff
        "a key" = { z = 1.0, a = [1e3, -2, true, []] }
        day = 1979-05-27
        time = 1979-05-27T07:32:00Z
        b.z = {}
        b.a = -9223372036854775808
        [plugin.a.config.table]
        c = 1
        [[plugin.a.config.list]]
        y = 1
        [[plugin.a.config.list]]
        x = 2
    "#;
    let config = read(&format!("{LISTENER}{text}"));
    assert_eq!(
        config.plugins[0].config,
        r#"{"zebra":"a \"b\"\n\u0000é","hex":255,"a key":{"z":1.0,"a":[1000.0,-2,true,[]]},"day":"1979-05-27","#
            .to_owned()
            + r#""time":"1979-05-27T07:32:00Z","b":{"z":{},"a":-9223372036854775808},"#
            + r#""table":{"c":1},"list":[{"y":1},{"x":2}]}"#
    );
    let parsed: Json = serde_json::from_str(&config.plugins[0].config).unwrap();
    assert_eq!(parsed["zebra"], "a \"b\"\n\0é");
}

#[test]
fn the_words_for_balancers_are_those_of_the_schema() {
    let schema = schema::schema();
    let forms = &schema["properties"]["pool"]["additionalProperties"]["properties"]["fallback"];
    let words: Vec<_> = forms["enum"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert!(words.iter().copied().eq(crate::stock::balancers()));
    for word in words {
        let read = |key: &str| {
            let plugin = "[plugin.a]\nsource = \"a\"\n";
            read(&format!("{LISTENER}{plugin}[pool.a]\nendpoints = [\"a:80\"]\n{key}")).pools[0].balance
        };
        assert_eq!(read(&format!("balance = {word:?}")), Balance::named(word).unwrap());
        assert_eq!(read(&format!("balance = \"a\"\nfallback = {word:?}")), Balance::named(word).unwrap());
    }
}

#[test]
fn a_plugin_goes_before_the_built_in_whose_name_it_bears() {
    let text = "[plugin.ring]\nsource = \"builtin:ring\"\n[pool.a]\nendpoints = [\"a:80\"]\nbalance = \"ring\"\nfallback = \"ring\"";
    let pool = &read(&format!("{LISTENER}{text}")).pools[0];
    assert_eq!((pool.balance.name(), pool.balancer), ("ring", Some(0)));
}

fn turns() -> Balance {
    Balance::named("round-robin").unwrap()
}

#[test]
fn plugins_are_fetched_as_they_say() {
    let keys = "ca = \"ca.pem\"\ncredentials = \"login\"\ndangerously_plain_http = true";
    let config = read(&format!("{LISTENER}[plugin.a]\nsource = \"oci://r.example/c:1\"\n{keys}"));
    let plugin = &config.plugins[0];
    assert_eq!(plugin.ca.as_deref(), Some(Path::new("dir/ca.pem")));
    assert_eq!(plugin.credentials.as_deref(), Some(Path::new("dir/login")));
    assert!(plugin.plain_http);
    let named = [Named::Authorities("dir/ca.pem".into()), Named::Credentials("dir/login".into())];
    assert_eq!(config.named, named);
    assert!(config.warnings.iter().any(|warning| warning.to_string().contains("give a tag another meaning")));
    assert_eq!(config.mark("plugin.a.source").map(|place| place.line), Some(4));
}

#[test]
fn plugins_are_checked() {
    let says = |keys: &str, expected: &str| says(&format!("[plugin.a]\n{keys}"), expected);
    let file = |keys: &str, expected: &str| says(&format!("source = \"a.wasm\"\n{keys}"), expected);
    says("", "3:1: plugin.a.source: is missing");
    says("source = 5", "plugin.a.source: takes a string such as \"plugins/fastest.wasm\"");
    says("source = \"\"", "4:10: plugin.a.source: takes a path");
    says("source = \"http://a/b\"", "4:10: plugin.a.source: takes the path of a file");
    says("source = \"oci://a/b\"", "4:10: plugin.a.source: names no tag");
    says("source = \"https://a/b\"", "3:1: plugin.a.sha256: is missing");
    says("source = \"https://a/b\"\nsha256 = 5", "5:10: plugin.a.sha256: takes a string");
    says("source = \"https://a/b\"\nsha256 = \"ab\"", "5:10: plugin.a.sha256: takes 64 hexadecimal digits");
    says("source = \"https://a/b\"\nsha265 = \"ab\"", "did you mean \"sha256\"?");
    says(&format!("source = \"builtin:a\"\nsha256 = {SHA256:?}"), "5:10: plugin.a.sha256: has a meaning only");
    for key in ["ca = \"ca.pem\"", "credentials = \"me\""] {
        file(key, "has a meaning only for what is fetched");
    }
    file("dangerously_plain_http = true", "5:26: plugin.a.dangerously_plain_http: has a meaning only for oci://");
    says("source = \"oci://a/b:1\"\ncredentials = \"\"", "5:15: plugin.a.credentials: takes a path");
    file("deadline = \"1001ms\"", "5:12: plugin.a.deadline: takes \"1ms\" to \"1s\"");
    file("deadline = \"0s\"", "plugin.a.deadline: takes \"1ms\" to \"1s\"");
    file("deadline = 2", "takes a time with its unit");
    file("configure_time = \"0s\"", "5:18: plugin.a.configure_time: takes a time above 0");
    file("memory_size = \"4097MiB\"", "5:15: plugin.a.memory_size: takes \"64KiB\" to \"4GiB\"");
    file("memory_size = 65535", "plugin.a.memory_size: takes \"64KiB\" to \"4GiB\"");
    file("shadow = \"0s\"", "5:10: plugin.a.shadow: takes a time above 0");
    file("canary = { share = \"10%\" }", "plugin.a.canary.for: is missing");
    file(
        "canary = { share = \"10\", for = \"1m\" }",
        "plugin.a.canary.share: takes a share from \"0.01%\" to \"100%\"",
    );
    file("fallback = \"p2c\"", "5:1: plugin.a.fallback: unknown key");
    file("config = \"x\"", "5:10: plugin.a.config: takes a table, not a string");
    file(
        "config = { a = [1, { \"b c\" = nan }] }",
        "5:30: plugin.a.config.a[1].\"b c\": takes a number that JSON can say",
    );
    file("config = { a = -inf }", "5:16: plugin.a.config.a: takes a number that JSON can say");
    file("config = { a = 9223372036854775808 }", "5:16: plugin.a.config.a: takes a whole number of at most 64 bits");
    file("[plugin.\"\"]\nsource = \"b\"", "takes a name");
    file("[[plugin.b]]\nsource = \"b\"", "write [plugin.b] with one bracket");
}

#[test]
fn those_who_name_plugins_are_checked() {
    let pool = |keys: &str, expected: &str| {
        says(&format!("{}[pool.a]\nendpoints = [\"a:80\"]\n{keys}", plugins()), expected);
    };
    let near = "[plugin.fastest]\nsource = \"f\"\n[pool.b]\nendpoints = [\"a:80\"]\nbalance = ";
    pool(&format!("{near}\"fastes\""), "not \"fastes\"; did you mean \"fastest\"?");
    pool(&format!("{near}\"p2\""), "did you mean \"p2c\"?");
    pool("balance = 5", "pool.a.balance: takes a string such as \"p2c\"");
    pool("balance = 5\nfallback = \"p2c\"", "pool.a.balance: takes a string");
    pool("balance = \"x\"\nfallback = \"p2c\"", "14:11: pool.a.balance: takes");
    pool("balance = \"a\"\nfallback = \"b\"", "15:12: pool.a.fallback: takes \"p2c\", \"round-robin\", \"random\"");
    pool("balance = \"a\"\nfallback = \"rnig\"", "not \"rnig\"; did you mean \"ring\"?");
    let only = "pool.a.fallback: has a meaning only where \"balance\" names a plugin";
    pool("fallback = \"p2c\"", &format!("14:12: {only}"));
    pool("balance = \"p2c\"\nfallback = \"p2c\"", &format!("15:12: {only}"));
    let endpoint = |keys: &str, expected: &str| {
        says(&format!("[pool.a]\nendpoints = [{{ address = \"a:80\", {keys} }}]"), expected);
    };
    endpoint("priority = 101", "pool.a.endpoints[0].priority: takes a whole number from 0 to 100");
    let selection = |keys: &str, expected: &str| says(&format!("[pool.a]\nendpoints = [\"a:80\"]\n{keys}"), expected);
    selection("distrust_below = 50", "pool.a.distrust_below: takes a string such as \"0%\"");
    selection("distrust_below = \"half\"", "takes a share from \"0%\" to \"100%\", not \"half\"");
    for factor in ["0.9", "101", "nan", "inf", "-1", "0"] {
        selection(&format!("spill_factor = {factor}"), "pool.a.spill_factor: takes a number from 1 to 100");
    }
    selection("spill_factor = \"2\"", "pool.a.spill_factor: takes a number");
    selection("slow_start = \"30\"", "pool.a.slow_start: takes a time such as");
    selection("slow_start = \"0s\"", "pool.a.slow_start: takes a time above 0");
    selection("slow_start = true", "pool.a.slow_start: takes");
    selection("slow_start = { curve = 1 }", "pool.a.slow_start.time: is missing");
    selection("slow_start = { time = \"1s\", curve = 11 }", "pool.a.slow_start.curve: takes a number from 0.1 to 10");
    selection("slow_start = { time = \"1s\", least = \"0%\" }", "pool.a.slow_start.least: takes a share from");
    selection("load = {}", "pool.a.load: needs \"path\" or \"headers = true\"");
    selection("load = { path = \"load\" }", "pool.a.load.path: takes a path");
    selection("load = { path = \"/a b\" }", "pool.a.load.path: takes a path");
    selection("load = { path = \"/l\", interval = \"10ms\" }", "pool.a.load.interval: takes at least \"100ms\"");
    selection("load = { headers = true, age = \"0s\" }", "pool.a.load.age: takes a time above 0");
    selection("load = { headers = true, metric = \"a=b\" }", "pool.a.load.metric: takes the name of a metric");
    selection("proxy_protocol = \"v2\"\nload = { path = \"/l\" }", "pool.a.load.path: cannot be asked for");
    endpoint("drain = 1", "pool.a.endpoints[0].drain: takes true or false");
    endpoint("zone = 5", "pool.a.endpoints[0].zone: takes a string");
    endpoint("metadata = { rack = 7 }", "pool.a.endpoints[0].metadata.rack: takes a string, not a whole number");
    endpoint("metadata = \"x\"", "pool.a.endpoints[0].metadata: takes a table");

    let route = |keys: &str, expected: &str| says(&format!("{}[[route]]\nrespond = \"\"\n{keys}", plugins()), expected);
    route("router = \"x\"", "14:10: route[0].router: there is no [plugin.x]");
    route("filters = [\"a\", \"x\"]", "14:17: route[0].filters[1]: there is no [plugin.x]");
    route("filters = [\"fastst\"]\n[plugin.fastest]\nsource = \"f\"", "did you mean \"fastest\"?");
    route("filters = [\"a\", \"b\", \"a\"]", "14:22: route[0].filters[2]: stands in this list already");
    route("filters = \"a\"", "route[0].filters: takes a list");
    let nine = ["\"a\""; 9].join(", ");
    route(&format!("filters = [{nine}]"), "14:11: route[0].filters: takes at most 8");
    // Whoever names a plugin that is wrong is not wrong for that.
    route("router = \"e\"\nfilters = [\"e\"]\n[plugin.e]\nsource = \"oci://\"", "plugin.e.source: names no");
    pool("balance = \"e\"\nfallback = \"p2c\"\n[plugin.e]\nsource = 5", "plugin.e.source: takes a string");
}

#[test]
fn all_problems_come_at_once_and_in_order() {
    let problems = parse(
        r#"wokers = 4
[[listener]]
address = "nowhere"
tls = 5

[pool.api]
endpoints = ["127.0.0.1:9001", { address = "b:80", weight = 0 }, "c:80"]
balance = "p3c"

[[route]]
match = { hots = "a.example", path = ["/a/{id}", "b"] }
pool = "apy"

[[route]]
match.method = "get"
redirect = "/{nope}"

[limits]
header_tine = "1s"
idle_time = 7
connections = "7"
"#,
        Path::new("etc/gateway.toml"),
    )
    .unwrap_err();
    assert_eq!(
        problems.to_string(),
        r#"etc/gateway.toml:1:1: wokers: unknown key; did you mean "workers"?
etc/gateway.toml:3:11: listener[0].address: takes an address and a port, such as "0.0.0.0:8080" or "[::]:8443", not "nowhere"
etc/gateway.toml:4:7: listener[0].tls: takes "dev", a list or a table, not a whole number
etc/gateway.toml:7:61: pool.api.endpoints[1].weight: takes a whole number from 1 to 65535
etc/gateway.toml:8:11: pool.api.balance: takes the name of a plugin or of a built-in balancer, not "p3c"; did you mean "p2c"?
etc/gateway.toml:11:11: route[0].match.hots: unknown key; did you mean "host"?
etc/gateway.toml:11:50: route[0].match.path[1]: takes a path that begins with a slash, not "b"
etc/gateway.toml:12:8: route[0].pool: there is no [pool.apy]; did you mean "api"?
etc/gateway.toml:15:16: route[1].match.method: methods are case-sensitive; did you mean "GET"?
etc/gateway.toml:16:12: route[1].redirect: does not know "{nope}". There are {scheme}, {host}, {path}, {query}, {uri}, {client}, {request_id} and what every path of the route captures
etc/gateway.toml:19:1: limits.header_tine: unknown key; did you mean "header_time"?
etc/gateway.toml:20:13: limits.idle_time: takes a time with its unit: write "7s"
etc/gateway.toml:21:15: limits.connections: takes a whole number: write 7 without quotes"#
    );
}

#[test]
fn brackets_that_are_too_few_or_too_many_are_named() {
    let one = |text: &str| match parse(text, Path::new("g")).unwrap_err().problems.as_slice() {
        [problem] => problem.to_string(),
        problems => panic!("{text}\n{problems:#?}"),
    };
    let listener = "[listener]\naddress = \"127.0.0.1:0\"\n";
    let two = "with two brackets on either side, once for each";
    assert_eq!(one(listener), format!("1:1: listener: takes a list: write [[listener]] {two} listener"));
    let route = "[route]\nrespond = \"a\"\n";
    assert_eq!(one(&format!("{LISTENER}{route}")), format!("3:1: route: takes a list: write [[route]] {two} route"));
    assert_eq!(one(&format!("{LISTENER}{route}{route}")), format!("5:2: write [[route]] {two} route"));
    assert_eq!(one(&format!("{listener}{LISTENER}")), format!("1:2: write [[listener]] {two} listener"));
    says("[[admin]]\naddress = \"127.0.0.1:1\"", "admin: takes one table: write [admin] with one bracket");
    says("[[pool.a]]\nendpoints = [\"a:80\"]", "pool.a: takes one table: write [pool.a]");
    // What stands in such a table is checked as if the brackets were right.
    let inner = wrong("[route]\nrespond = 5\nmatch.hots = \"a\"");
    assert!(inner.len() == 3 && inner[2].contains("route[0].match.hots"), "{inner:#?}");
}

#[test]
fn what_to_write_instead_is_said() {
    says("[limits]\ndrain_time = 30", "limits.drain_time: takes a time with its unit: write \"30s\"");
    says("[limits]\ndrain_time = \"30\"", "not \"30\"; write \"30s\"");
    says("[limits]\nbody_size = \"10m\"", "not \"10m\"; write \"10MiB\"");
    says("[admin]\naddress = 9901", "takes a string such as \"127.0.0.1:9901\", not a whole number");
    says("[admin]\naddress = \":9901\"", "for this machine alone \"127.0.0.1:9901\"");
    says("[pool.a]\nendpoints = [\"unix:/run/a.sock\"]", "unix sockets are not supported");
    says("[[route]]\nrespond = \"a\"\nmatch.path = \"^/api\"", "write \"/api/\" for it and everything below");
    says("[[route]]\nrespond = \"a\"\nmatch.header.Upgrade = \"websocket\"", "so this would never match; WebSockets");
    says("[[route]]\nrespond = \"a\"\nmatch.header.proxy-authorization = true", "so this would never match");
    says("[pool.a]\nendpoints = [\"a:80\"]\ntls = \"true\"", "takes true or false: write true without quotes");
}

#[test]
fn what_is_allowed_but_hardly_meant_is_warned_of() {
    let warnings = |text: &str| -> Vec<String> {
        read(&format!("{LISTENER}{text}")).warnings.iter().map(Problem::to_string).collect()
    };
    let twice =
        "[[route]]\nmatch.path = \"/a\"\nrespond = \"1\"\n[[route]]\nmatch = { path = \"/a\" }\nrespond = \"2\"\n";
    let said = "6:1: route[1]: warning: can never win: the route in line 3 goes before it and takes every request that \
                this one matches";
    assert_eq!(warnings(twice), [said]);
    let odd = "[[route]]\nmatch.path = [\"/a\", \"/users/:id\"]\nrespond = \"1\"\n";
    assert_eq!(
        warnings(odd),
        [
            "4:21: route[0].match.path[1]: warning: \":id\" is compared letter by letter; for any one segment write \"{id}\""
        ]
    );
    assert_eq!(warnings(""), ["1:1: warning: there is no [[route]]: every request is answered 404"]);
    let any = "[pool.api]\nendpoints = [\"a:80\"]\ntls = { dangerously_accept_any_certificate = true }\n\
               [[route]]\npool = \"api\"\n";
    let said = "5:46: pool.api.tls.dangerously_accept_any_certificate: warning: the endpoints of pool \"api\" are not";
    assert!(warnings(any)[0].starts_with(said), "{:?}", warnings(any));
    assert_eq!(warnings(&any.replace("true", "false")), [""; 0]);
    for (name, text) in FILES {
        assert_eq!(parse(text, Path::new(name)).unwrap().warnings, [], "{name}");
    }
}

#[test]
fn errors_of_syntax_name_their_place() {
    says("[pool.a\n", "3:");
    says("x = \n", "3:5: ");
    says("admin.address = \"ü\" \"\n", "3:21: ");
    let twice = wrong("a = 1\na = 2\nb = 1\nb = 1\n");
    assert_eq!(twice.len(), 2, "{twice:?}");
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(!wrong(&deep).is_empty());
    assert!(!wrong(&format!("a{} = 1", ".a".repeat(100_000))).is_empty());
    assert!(!wrong(&format!("[a{}]", ".a".repeat(70))).is_empty());
}

#[test]
fn a_problem_is_reported_once() {
    // What is unknown or of a wrong type is not also missing, and what names it is not wrong for that.
    says(
        "[pool.a]\nendpoint = [\"a:80\"]\nendpoints = [\"a:80\"]\n[[route]]\npool = \"a\"",
        "did you mean \"endpoints\"",
    );
    says("[pool.a]\nendpoints = 5\n[[route]]\npool = \"a\"", "endpoints: takes a list");
    says("[[route]]\npol = \"a\"", "did you mean \"pool\"");
    says(
        "[pool.a]\nendpoints = [\"a:80\"]\n[[route]]\npool = \"a\"\nrewrite = { paht = \"/\" }",
        "did you mean \"path\"",
    )
}

#[test]
fn listeners_are_checked() {
    assert!(parse("", Path::new("g")).unwrap_err().to_string().contains("without a [[listener]]"));
    says("[[listener]]\n", "3:1: listener[1].address: is missing");
    let two = "[[listener]]\naddress = \"[::]:80\"\n";
    says(&format!("{two}{two}"), "6:11: listener[2].address: [::]:80 was given in line 4 already");
    let mapped = two.replace("::", "::ffff:1.2.3.4");
    says(&format!("{mapped}{}", two.replace("[::]", "1.2.3.4")), "listener[2].address: 1.2.3.4:80 was given in line 4");
    says(&format!("{two}[admin]\naddress = \"[::]:80\""), "admin.address: [::]:80 was given in line 4");
    assert!(wrong(LISTENER).is_empty(), "port 0 may be given twice");
    says("tls = \"def\"", "takes \"dev\", not \"def\"; did you mean \"dev\"?");
    says("tls = []", "takes at least one");
    says("tls = [{ certificate = \"a\" }]", "listener[0].tls[0].key: is missing");
    says("tls = { certificates = \"dev\", minimum = \"1.1\" }", "takes \"1.2\" or \"1.3\"");
    says("tls = { certificates = \"dev\", client = { required = true } }", "client.ca: is missing");
    let client = "tls = { certificates = \"dev\", client = { ca = \"a\", subject_header = \"x\", san_header = ";
    says(&format!("{client}\"X\" }} }}"), "another part");
    says(&format!("{client}\"te\" }} }}"), "a meaning of its own");
    says("protocols = []", "at least one");
    says("protocols = [\"h3\"]", "takes \"h1\" or \"h2\"");
    says("proxy_protocol = [\"10.0.0.0/64\"]", "proxy_protocol[0]: takes a network");
}

#[test]
fn checks_of_health_and_ejection_are_checked() {
    let says = |keys: &str, expected: &str| says(&format!("[pool.a]\nendpoints = [\"a:80\"]\n{keys}"), expected);
    says("health = \"healthz\"", "pool.a.health: takes a path such as \"/healthz\"");
    says("health = {}", "needs a \"path\", or another \"kind\"");
    says("health = { pth = \"/\" }", "did you mean \"path\"");
    says("health = { path = \"/a b\" }", "takes a path");
    says("health = { kind = \"tcp\", path = \"/\" }", "health.path: has no meaning for this \"kind\"");
    says("health = { kind = \"grpc\", status = \"200\" }", "health.status: has no meaning");
    says("health = { path = \"/\", service = \"s\" }", "health.service: has no meaning");
    says("health = { path = \"/\", method = \"POST\" }", "takes \"GET\" or \"HEAD\"");
    says("health = { path = \"/\", method = \"HEAD\", body = \"x\" }", "no body in an answer to HEAD");
    says("health = { path = \"/\", status = [\"2xx\", \"399-200\"] }", "health.status[1]: takes a status");
    says("health = { path = \"/\", status = \"100\" }", "takes a status");
    says("health = { path = \"/\", status = [] }", "at least one");
    says("health = { path = \"/\", headers = { host = \"x\" } }", "beside \"headers\"");
    says("health = { path = \"/\", headers = { connection = \"x\" } }", "belongs to the connection");
    says("health = { path = \"/\", headers = { a = \"x\\ny\" } }", "without control characters");
    says("health = { path = \"/\", interval = \"9ms\" }", "takes at least \"10ms\"");
    says("health = { path = \"/\", rise = 0 }", "from 1 to 1000");
    says("health = { path = \"/\", port = 0 }", "from 1 to 65535");
    says("eject = { time = \"2m\", most_time = \"1m\" }", "eject.most_time: is shorter than \"time\"");
    says("eject = { success = \"120%\" }", "takes a share");
    says("eject = { latency = 1 }", "from 2 to 1000");
    let pool = |keys: &str| {
        let text = format!("{LISTENER}[pool.a]\nendpoints = [\"a:80\"]\n{keys}");
        read(&text).pools.remove(0)
    };
    let short = pool("health = \"/h?x\"\neject = true");
    assert_eq!(short.health, pool("health = { path = \"/h?x\", status = \"200-299\" }").health);
    assert_eq!(short.eject, Some(Eject::default()));
    assert_eq!(pool("eject = { failures = 0 }").eject.and_then(|eject| eject.failures), None);
    let rpc = pool("health = { kind = \"grpc\", interval = \"1s\" }").health.unwrap();
    assert_eq!(rpc.check, Check::Grpc { service: String::new(), host: None });
    assert_eq!((rpc.interval, rpc.unhealthy_interval), (Duration::from_secs(1), Duration::from_secs(1)));
}

#[test]
fn pools_are_checked() {
    let says = |keys: &str, expected: &str| says(&format!("[pool.a]\nendpoints = [\"a:80\"]\n{keys}"), expected);
    says("[pool.b]\nendpoints = []", "at least one");
    says("[pool.b]\nendpoints = [\"a\"]", "takes host and port");
    says("[pool.b]\nendpoints = [\"http://a:80\"]", "without \"http://\"");
    says("[pool.b]\nendpoints = [\"a:80\", \"A:80\"]", "already");
    says("[pool.b]\n", "pool.b.endpoints: is missing");
    says("discover = {}", "needs one of");
    says("discover = { fille = \"x\" }", "did you mean \"file\"");
    says("discover = { file = \"x\", etcd = [\"http://a\"], prefix = \"/\" }", "in one place: \"file\" or \"etcd\"");
    says("discover = { file = \"x\", prefix = \"/\" }", "\"prefix\" has a meaning only beside \"etcd\"");
    says("discover = { file = \"x\", resolvers = [\"10.0.0.1\"] }", "only beside \"dns\" or \"srv\"");
    says("discover = { dns = \"a\" }", "discover.dns: takes host and port");
    says("discover = { dns = \"10.0.0.1:80\" }", "discover.dns: takes a name");
    says("discover = { srv = \"_a._tcp.b:80\" }", "discover.srv: takes a host without a port");
    says("discover = { dns = \"a:80\", resolvers = [\"x\"] }", "resolvers[0]: takes an address and a port");
    says("discover = { etcd = [\"http://a\"] }", "needs the \"prefix\"");
    says("discover = { etcd = [\"http://a\"], prefix = \"\" }", "prefix: takes what the keys");
    says("discover = { etcd = [\"a:2379\"], prefix = \"/\" }", "etcd[0]: takes the address of a server");
    says("discover = { etcd = [], prefix = \"/\" }", "etcd: takes at least one");
    says("[pool.\"\"]\nendpoints = [\"a:80\"]", "takes a name");
    says("max_connections = 0", "from 1");
    says("max_requests = 0", "from 1");
    says("max_pool_requests = 0", "from 1");
    says("max_connections = 99999999999999999999999", "from 1");
    says("timeouts = { connect = \"0s\" }", "above 0");
    says("timeouts = { conect = \"1s\" }", "did you mean \"connect\"");
    says("host = \"a b\"", "takes \"preserve\"");
    says("tls = { certificate = \"a\" }", "needs its \"key\"");
    says("tls = { key = \"a\" }", "needs its \"certificate\"");
    says("tls = { name = \"a/b\" }", "takes a host name");
    says("tls = \"yes\"", "takes true or false or a table, not a string");
    says("hedge = { after = \"p10\" }", "takes a percentile from \"p50\"");
    says("hedge = { after = \"5ms\", at_least = \"1ms\" }", "only where \"after\" is a percentile");
    says("hedge = { at_most = \"5\" }", "takes a share");
    says("retry = { on = [\"conect\"] }", "connect");
    says("retry = { status = [404] }", "from 500");
    says("retry = { tries = 0 }", "from 1 to 10");
    says("retry = { budget = \"most\" }", "takes a share");
    says("retry = { buffer = \"65MiB\" }", "at most \"64MiB\"");
    says("retry = { pause = \"1s\", pause_most = \"10ms\" }", "below \"pause\"");
    says("hedge = { at_least = \"0ms\" }", "above 0");
    says("adaptive = \"yes\"", "takes true or false or a table");
    says("adaptive = { least = 0 }", "from 1");
    says("adaptive = { least = 5, most = 4 }", "below \"least\"");
    says("adaptive = { tolerance = 1 }", "from 1.1 to 10");
}

#[test]
fn routes_are_checked() {
    let says = |keys: &str, expected: &str| {
        says(&format!("[pool.a]\nendpoints = [\"a:80\"]\n[[route]]\n{keys}"), expected);
    };
    says("", "route[0]: needs one of");
    says("pool = \"a\"\nrespond = \"x\"", "stands beside \"pool\"");
    says("pool = \"a\"\nname = \"x\"\n[[route]]\npool = \"a\"\nname = \"x\"", "line 7 already");
    says("pool = \"a\"\nmatch.host = []", "at least one");
    says("pool = \"a\"\nmatch.header = { host = \"x\" }", "matched by \"host\"");
    says("pool = \"a\"\nmatch.header = { \"a b\" = \"x\" }", "route[0].match.header.\"a b\": \"a b\" is not a header");
    says("pool = \"a\"\nmatch.cookie = { a = 5 }", "takes true or false or a string");
    says("pool = \"a\"\ncache = true", "route[0].cache: unknown key");
    says("static = \"\"", "takes a path");
    says("static = { listing = true }", "static.root: is missing");
    says("redirect = \"www.example\"", "takes an address");
    says("redirect = { to = \"/\", status = 200 }", "takes 301, 302, 303, 307 or 308");
    says("respond = { status = 101 }", "from 200 to 599");
    says("respond = { status = 204, body = \"x\" }", "no body");
    says("respond = { type = \"html\" }", "media type");
    says("respond = \"x\"\nrewrite = { path = \"/\" }", "only on a route with a pool");
    says("respond = \"x\"\ntimeouts = { connect = \"1s\" }", "timeouts.connect: has a meaning only");
    says("pool = \"a\"\nrewrite = {}", "needs \"strip_prefix\"");
    says("pool = \"a\"\nrewrite = { path = \"/\", add_prefix = \"/x\" }", "cannot stand beside");
    says("pool = \"a\"\nrewrite = { path = \"/{id}\" }", "does not know \"{id}\"");
    says("pool = \"a\"\nmatch.path = [\"/{id}\", \"/b\"]\nrewrite = { path = \"/{id}\" }", "does not know \"{id}\"");
    says("pool = \"a\"\nmatch.path = [\"/{id}\", \"b\"]\nrewrite = { path = \"/{id}\" }", "begins with a slash");
    says("pool = \"a\"\nrequest_headers.set = { content-length = \"1\" }", "writes it itself");
    says("pool = \"a\"\nrequest_headers.set = { X-a = \"1\", x-A = \"1\" }", "set twice");
    says("pool = \"a\"\nrequest_headers.remove = [\"Host\"]", "can be set");
    says("pool = \"a\"\nresponse_headers.add = { a = \"x\\ny\" }", "control characters");
    says("pool = \"a\"\nbody_limit = \"1X\"", "takes a size");
    let right =
        "pool = \"a\"\nrequest_headers.set = { host = \"b\" }\nresponse_headers.add = { link = [\"a\", \"b\"] }";
    let text = format!("{LISTENER}[pool.a]\nendpoints = [\"a:80\"]\n[[route]]\n{right}");
    assert_eq!(read(&text).routes[0].response_headers.add.len(), 2);
}

#[test]
fn the_rest_is_checked() {
    says("[forwarded]\ntrusted = [\"x\"]", "forwarded.trusted[0]: takes a network");
    says("[forwarded]\nvia = \"a b\"", "takes one word");
    says("[forwarded]\nrequest_id = \"a b\"", "not a header name");
    says("[log]\nlevel = \"inof\"", "did you mean \"info\"");
    says("[access_log]\nformat = \"jsn\"", "did you mean \"json\"");
    says("[limits]\nconnections = 0", "cannot be 0");
    says("[limits]\nconnections = -1", "from 0 to 4294967295");
    says("[limits]\nbody_size = 1.5", "takes a size such as \"64KiB\" or a whole number, not a number with a fraction");
    let config =
        read(&format!("{LISTENER}[forwarded]\nrequest_id = \"\"\nvia = \"\"\n[access_log]\noutput = \"a.log\""));
    assert_eq!((config.forwarded.request_id, &*config.forwarded.via), (None, ""));
    assert_eq!(config.access_log.and_then(|log| log.file), Some(PathBuf::from("dir/a.log")));
}

#[test]
fn too_many_problems_are_counted() {
    let text: String = (0..5000).map(|number| format!("key{number} = 1\n")).collect();
    let problems = parse(&text, Path::new("g")).unwrap_err();
    assert_eq!((problems.problems.len(), problems.omitted), (1000, 4000));
}

#[test]
fn files_are_read_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("g.toml");
    let shown = |path: &Path| load(path).unwrap_err().to_string();
    assert!(shown(&file).contains("cannot be read"));
    std::fs::write(&file, format!("{LISTENER}[[route]]\nstatic = \"public\"")).unwrap();
    let config = load(&file).unwrap();
    assert!(
        matches!(&config.routes[0].action, Action::Static(folder_) if folder_.root == folder.path().join("public"))
    );
    std::fs::write(&file, b"a = 1\nb = \xff").unwrap();
    assert!(shown(&file).ends_with("g.toml:2:5: is not UTF-8 from here on"), "{}", shown(&file));
    std::fs::File::create(&file).unwrap().set_len(FILE_LIMIT + 1).unwrap();
    assert!(shown(&file).contains("larger than 16 MiB"));
}

/// A file that comes along, with some bytes taken out, doubled, or put in from elsewhere.
fn mutated() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\"",
        "'",
        "{",
        "}",
        "[",
        "]",
        "=",
        ".",
        ",",
        "\n",
        "#",
        "\u{0}",
        "é",
        "0",
        "-1",
        "true",
        "[[route]]\n",
        "[pool.a]\n",
        "match",
        "tls = \"dev\"\n",
        "1979-05-27",
        "nan",
        "{id}",
        "\"\"\"",
        "\r",
        "99999999999999999999",
    ]);
    let change = (any::<prop::sample::Index>(), 0usize..40, pieces);
    (0..FILES.len(), any::<bool>(), prop::collection::vec(change, 1..6)).prop_map(|(file, full, changes)| {
        let mut text = if full { uncommented(FILES[file].1) } else { FILES[file].1.to_owned() };
        for (at, length, piece) in changes {
            let place = |text: &str, at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
            let start = place(&text, at.index(text.len() + 1)).unwrap();
            let end = place(&text, start + length).unwrap();
            text.replace_range(start..end, piece);
        }
        text
    })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in mutated()) {
        if let Err(problems) = parse(&text, Path::new("g.toml")) {
            prop_assert!(!problems.problems.is_empty());
            let lines = text.matches('\n').count() + 1;
            prop_assert!(problems.problems.iter().all(|problem| (1..=lines).contains(&problem.line)), "{}", problems);
        }
    }

    #[test]
    fn no_noise_makes_it_panic(text in "\\PC*") {
        let _ = parse(&text, Path::new("g.toml"));
    }
}
