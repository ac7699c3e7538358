//! Files that are right and files that are wrong, by table; what the tests of all tables share stands here.

mod compress;
mod folder;
mod listener;
mod noise;
mod plugin;
mod pool;
mod reference;
mod route;
mod words;

use http::StatusCode;

use super::*;
use crate::config::model::{
    Action, Balance, Certificates, HostHeader, HostPattern, Rewrite, Segment, TlsVersion, ValuePattern,
};

const FILES: &[(&str, &str)] = &[
    ("behind-a-load-balancer.toml", include_str!("../../../../../config/behind-a-load-balancer.toml")),
    ("gateway.toml", GATEWAY),
    ("grpc.toml", include_str!("../../../../../config/grpc.toml")),
    ("minimal.toml", include_str!("../../../../../config/minimal.toml")),
    ("mtls.toml", include_str!("../../../../../config/mtls.toml")),
    ("reverse-proxy-tls.toml", include_str!("../../../../../config/reverse-proxy-tls.toml")),
    ("static-site.toml", include_str!("../../../../../config/static-site.toml")),
    ("websocket.toml", include_str!("../../../../../config/websocket.toml")),
];

const GATEWAY: &str = include_str!("../../../../../config/gateway.toml");

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
        body_min_rate = 0
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
    assert_eq!((route.body_limit, route.body_min_rate), (Some(5), Some(0)));
    let Action::Redirect(redirect) = &config.routes[1].action else { panic!() };
    assert_eq!(redirect.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!((&*config.routes[1].name, &*config.routes[2].name), ("/r", "/r#2"));
    assert_eq!((config.limits.header_time, config.limits.body_size), (Duration::from_secs(3), 1 << 20));
    assert_eq!(config.limits.connections, 5);
}

fn turns() -> Balance {
    Balance::named("round-robin").unwrap()
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
    says("[cache]\ndisk = {}", "cache.disk");
    says("[cache]\ndisk = { folder = \"\" }", "takes a path");
    says("[cache]\ndisk = { folder = \"x\", size = \"1KiB\" }", "takes at least \"1MiB\"");
    says("[cache]\ndisk = { folder = \"x\", files = 0 }", "takes a whole number from 1");
    says("[limits]\nbody_size = 1.5", "takes a size such as \"64KiB\" or a whole number, not a number with a fraction");
    let config =
        read(&format!("{LISTENER}[forwarded]\nrequest_id = \"\"\nvia = \"\"\n[access_log]\noutput = \"a.log\""));
    assert_eq!((config.forwarded.request_id, &*config.forwarded.via), (None, ""));
    assert_eq!(config.access_log.and_then(|log| log.file), Some(PathBuf::from("dir/a.log")));
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
