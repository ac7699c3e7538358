//! `[plugin.NAME]`, and those who name plugins.

use serde_json::Value as Json;

use super::*;
use crate::config::model::{Canary, OciVersion, Plugin, PluginSource};

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
    selection("prefer_zone = \"a\"", "pool.a.prefer_zone: takes true or false or a table");
    selection("prefer_zone = { share = \"0%\" }", "pool.a.prefer_zone.share: takes a share from");
    selection("prefer_zone = { spill_factor = 0.5 }", "pool.a.prefer_zone.spill_factor: takes a number from 1 to 100");
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
