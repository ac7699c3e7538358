//! `[pool.NAME]`.

use super::*;
use crate::config::model::{Check, Eject, Subset, Zone};
use crate::config::schema;

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

#[test]
fn pools_prefer_the_zone_of_the_gateway() {
    let zone = |top: &str, keys: &str| {
        let text = format!("{top}\n{LISTENER}[pool.a]\nendpoints = [\"a:80\"]\n{keys}");
        read(&text).pools[0].selection.zone.clone()
    };
    let plain = Zone { home: "b".into(), share: None, spill_factor: 1.0 };
    assert_eq!(zone("zone = \"b\"", ""), Some(plain.clone()));
    assert_eq!(zone("zone = \"b\"", "prefer_zone = true"), Some(plain));
    assert_eq!(zone("zone = \"b\"", "prefer_zone = false"), None);
    let full = Zone { home: "b".into(), share: Some(2500), spill_factor: 1.5 };
    assert_eq!(zone("zone = \"b\"", "prefer_zone = { share = \"25%\", spill_factor = 1.5 }"), Some(full));
    assert!(
        parse(&format!("zone = \"\"\n{LISTENER}"), Path::new("g"))
            .unwrap_err()
            .to_string()
            .contains("1:8: zone: takes a name")
    );
}

#[test]
fn subsets_are_chosen_by_the_name_of_the_gateway() {
    let subset = |top: &str, keys: &str| {
        let text = format!("{top}\n{LISTENER}[pool.a]\nendpoints = [\"a:80\"]\n{keys}");
        read(&text).pools[0].selection.subset.clone()
    };
    assert_eq!(subset("name = \"g\"", ""), None);
    assert_eq!(subset("name = \"g\"", "subset = 5"), Some(Subset { size: 5, name: "g".into() }));
    assert!(!subset("", "subset = 5").unwrap().name.is_empty(), "the host has a name");
    says("[pool.a]\nendpoints = [\"a:80\"]\nsubset = 0", "pool.a.subset: takes a whole number from 1");
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
    says("load = { path = \"/\", port = 0 }", "from 1 to 65535");
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
    says("discover = { zookeeper = [\"a\"] }", "needs the \"prefix\"");
    says("discover = { zookeeper = [\"a\"], prefix = \"a\" }", "prefix: takes the path of a node");
    says("discover = { zookeeper = [\"http://a\"], prefix = \"/a\" }", "zookeeper[0]: takes the address of a server");
    says("discover = { zookeeper = [\"a:1/b\"], prefix = \"/a\" }", "a chroot is the beginning of the prefix");
    says("discover = { zookeeper = [\"a\"], etcd = [\"http://a\"] }", "in one place: \"etcd\" or \"zookeeper\"");
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
