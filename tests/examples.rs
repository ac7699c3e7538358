//! The scenarios of `examples/`, run as their README files say, on ports that are free.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use gatewright::{Running, config, tls};

use crate::harness::guests;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};

/// Nothing here takes long; a test that hangs should say so.
const PATIENCE: Duration = Duration::from_secs(10);

fn folder(scenario: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(scenario)
}

/// What `gatewright serve` does.
fn serve(root: &Path) -> Running {
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[route]]\nstatic = \".\"\n";
    gatewright::start(config::parse(text, &root.join("serve.toml")).unwrap()).unwrap()
}

/// The scenario's gateway: listeners on free ports, each port of a backend replaced by where that backend is.
fn run(scenario: &str, backends: &[(u16, SocketAddr)]) -> Running {
    let file = folder(scenario).join("gateway.toml");
    let mut config = config::load(&file).unwrap_or_else(|problems| panic!("{problems}"));
    config.access_log = None;
    config.admin = None;
    for listener in &mut config.listeners {
        listener.address.set_port(0);
    }
    for member in config.pools.iter_mut().flat_map(|pool| &mut pool.endpoints) {
        let endpoint = &mut member.endpoint;
        let written: SocketAddr = endpoint.address.parse().unwrap();
        let (_, backend) = backends.iter().find(|(port, _)| *port == written.port()).unwrap();
        endpoint.address = backend.to_string();
    }
    gatewright::start(config).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp
}

/// One request, and everything that comes back until the connection ends.
fn ask(connection: impl Read + Write, target: &str, fields: &str) -> String {
    ask_host(connection, "localhost:8080", target, fields)
}

/// The same of another host.
fn ask_host(mut connection: impl Read + Write, host: &str, target: &str, fields: &str) -> String {
    write!(connection, "GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{fields}\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

/// A TLS client that believes in the certificate of `tls = "dev"`.
fn over_tls(address: SocketAddr) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    let pem = &tls::dev_certificate().unwrap().pem;
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    rustls::StreamOwned::new(connection, connect(address))
}

#[test]
fn https_redirect_leads_to_https_and_from_there_to_the_backend() {
    let site = serve(&folder("https-redirect/site"));
    let gateway = run("https-redirect", &[(9001, site.addresses()[0])]);
    let [http, https] = gateway.addresses()[..] else { panic!("two listeners") };
    let redirect = ask(connect(http), "/index.html?a=b", "");
    assert!(redirect.starts_with("HTTP/1.1 308 "), "{redirect}");
    assert!(redirect.contains("location: https://localhost:8443/index.html?a=b\r\n"), "{redirect}");
    let page = ask(over_tls(https), "/index.html?a=b", "");
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("Served over TLS."), "{page}");
}

#[test]
fn canary_by_header_is_for_those_who_ask_for_it() {
    let (stable, canary) = (serve(&folder("canary-by-header/stable")), serve(&folder("canary-by-header/canary")));
    let gateway = run("canary-by-header", &[(9001, stable.addresses()[0]), (9002, canary.addresses()[0])]);
    let address = gateway.addresses()[0];
    for (fields, version) in [
        ("", "stable"),
        ("x-canary: yes\r\n", "canary"),
        ("x-canary: no\r\n", "stable"),
        ("cookie: a=b; canary=yes\r\n", "canary"),
        ("cookie: canary=no\r\n", "stable"),
    ] {
        let answer = ask(connect(address), "/", fields);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{fields:?}: {answer}");
        assert!(answer.contains(&format!("x-version: {version}\r\n")), "{fields:?}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{version}\n")), "{fields:?}: {answer}");
    }
}

/// Three backends of a scenario.
fn three(scenario: &str) -> Vec<Running> {
    ["one", "two", "three"].iter().map(|name| serve(&folder(scenario).join(name))).collect()
}

fn places(backends: &[Running]) -> Vec<(u16, SocketAddr)> {
    (9001..).zip(backends).map(|(port, backend)| (port, backend.addresses()[0])).collect()
}

/// The last line of an answer: which backend it came from.
fn backend(answer: &str) -> String {
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn sticky_sessions_keep_their_backend_until_it_is_gone() {
    let mut backends = three("sticky-sessions");
    let gateway = run("sticky-sessions", &places(&backends));
    let ask = |fields: &str| ask(connect(gateway.addresses()[0]), "/", fields);
    let cookie = |answer: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "))?;
        assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{line}");
        line.split(';').next().map(str::to_owned)
    };
    let first = ask("");
    let (home, given) = (backend(&first), cookie(&first).expect("a cookie"));
    assert!(given.starts_with("gatewright-app="), "{given}");
    for _ in 0..20 {
        let answer = ask(&format!("cookie: {given}\r\n"));
        assert_eq!((backend(&answer), cookie(&answer)), (home.clone(), None));
    }
    let gone = ["one", "two", "three"].iter().position(|name| *name == home).unwrap();
    drop(backends.remove(gone));
    let moved = ask(&format!("cookie: {given}\r\n"));
    let (other, taken) = (backend(&moved), cookie(&moved).expect("another cookie"));
    assert_ne!(other, home);
    let answer = ask(&format!("cookie: {taken}\r\n"));
    assert_eq!((backend(&answer), cookie(&answer)), (other, None));
}

#[test]
fn consistent_hashing_sends_each_user_to_one_backend() {
    let mut backends = three("consistent-hashing");
    let gateway = run("consistent-hashing", &places(&backends));
    // Another gateway, which knows nothing of the first, agrees with it.
    let other = run("consistent-hashing", &places(&backends));
    let home =
        |of: &Running, user: usize| backend(&ask(connect(of.addresses()[0]), "/", &format!("x-user: user-{user}\r\n")));
    let homes: Vec<String> = (0..30).map(|user| home(&gateway, user)).collect();
    assert!(["one", "two", "three"].iter().all(|name| homes.iter().any(|home| home == name)), "{homes:?}");
    for (user, at) in homes.iter().enumerate() {
        assert_eq!((&home(&gateway, user), &home(&other, user)), (at, at));
        assert_eq!(backend(&ask(connect(gateway.addresses()[0]), &format!("/?user=user-{user}"), "")), *at);
    }
    drop(backends.remove(0));
    for (user, at) in homes.iter().enumerate().filter(|(_, home)| *home != "one") {
        assert_eq!(home(&gateway, user), *at);
    }
    assert!(homes.iter().enumerate().filter(|(_, home)| *home == "one").all(|(user, _)| home(&gateway, user) != "one"));
}

#[test]
fn fastest_is_a_balancer_of_ones_own() {
    std::fs::copy(guests::wasm("fastest"), folder("fastest/fastest.wasm")).unwrap();
    let (one, two) = (serve(&folder("fastest/one")), serve(&folder("fastest/two")));
    let gateway = run("fastest", &[(9001, one.addresses()[0]), (9002, two.addresses()[0])]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let answer = ask(connect(gateway.addresses()[0]), "/", "");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        seen.insert(answer.lines().last().unwrap_or_default().to_owned());
    }
    // What nothing is known of counts as fast, so both had their turn.
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["one", "two"]);
    let metrics = gateway.metrics();
    assert!(metrics.contains("gatewright_plugin_info{plugin=\"fastest\",version=\""), "{metrics}");
    assert!(!metrics.contains("gatewright_plugin_faults_total{"), "{metrics}");
}

#[test]
fn tenants_go_to_their_own_pools_and_strangers_nowhere() {
    std::fs::copy(guests::wasm("tenants"), folder("tenants/tenants.wasm")).unwrap();
    let (acme, globex) = (serve(&folder("tenants/acme")), serve(&folder("tenants/globex")));
    let gateway = run("tenants", &[(9001, acme.addresses()[0]), (9002, globex.addresses()[0])]);
    for (host, status, body) in [("acme.example", 200, "acme\n"), ("globex.example", 200, "globex\n"), ("a.b", 404, "")]
    {
        let answer = ask_host(connect(gateway.addresses()[0]), host, "/", "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with(body), "{host}: {answer}");
    }
    assert!(gateway.metrics().contains("gatewright_plugin_tenants_strangers 1\n"), "{}", gateway.metrics());
}

#[test]
fn maintenance_is_for_those_without_the_key() {
    std::fs::copy(guests::wasm("maintenance"), folder("maintenance/maintenance.wasm")).unwrap();
    let site = serve(&folder("maintenance/site"));
    let gateway = run("maintenance", &[(9001, site.addresses()[0])]);
    let answer = ask(connect(gateway.addresses()[0]), "/", "");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\nWe will be back soon.\n"), "{answer}");
    assert!(answer.contains("retry-after: 60\r\n"), "{answer}");
    let answer = ask(connect(gateway.addresses()[0]), "/", "cookie: preview=open sesame\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("The new site.\n"), "{answer}");
    assert!(answer.contains("cache-control: no-store\r\n"), "{answer}");
}

#[test]
fn c_balancer_gives_the_first_three_of_four() {
    if !guests::has_clang() {
        return;
    }
    guests::compile(&mut Command::new(folder("c-balancer/build")));
    let (one, two) = (serve(&folder("c-balancer/one")), serve(&folder("c-balancer/two")));
    let gateway = run("c-balancer", &[(9001, one.addresses()[0]), (9002, two.addresses()[0])]);
    let answers: Vec<String> = (0..40).map(|_| ask(connect(gateway.addresses()[0]), "/", "")).collect();
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200 ")), "{answers:?}");
    let words: Vec<&str> = answers.iter().filter_map(|answer| answer.lines().last()).collect();
    // Smooth: whichever four in a row have three of the first.
    assert!(words.windows(4).all(|four| four.iter().filter(|word| **word == "one").count() == 3), "{words:?}");
    let metrics = gateway.metrics();
    assert!(!metrics.contains("gatewright_plugin_faults_total{"), "{metrics}");
}

#[test]
fn every_example_has_a_readme_and_stands_in_the_list() {
    let list = std::fs::read_to_string(folder("README.md")).unwrap();
    for entry in std::fs::read_dir(folder("")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            assert!(entry.path().join("README.md").is_file(), "{name} has no README.md");
            assert!(list.contains(&format!("]({name}/README.md)")), "{name} does not stand in examples/README.md");
        }
    }
}
