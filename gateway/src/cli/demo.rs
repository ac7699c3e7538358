//! `gatewright demo`: a site and an API with several backends, all in this process.
//!
//! The backends are real: they listen on loopback ports and speak HTTP, so that what is seen is the gateway at work.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Failure, log, print, run};
use crate::config::{self, model};

const BACKENDS: [(&str, u64); 3] = [("ada", 2), ("grace", 2), ("edsger", 60)];

/// Runs the demonstration.
pub(super) fn demo(port: u16) -> Result<(), Failure> {
    if port > u16::MAX - 2 {
        return Err(Failure(format!("--port {port}: https and the admin address need the two ports above it")));
    }
    let site = write_site()?;
    let backends =
        BACKENDS.iter().map(|(name, delay)| start_backend(name, *delay)).collect::<std::io::Result<Vec<_>>>()?;
    let text = configuration(port, &site, &backends);
    let file = site.join("../gateway.toml");
    std::fs::write(&file, &text)?;
    let config: model::Config = config::parse(&text, &file)?;
    log::start(&model::Log { level: "info".into(), json: false })?;
    let folder = site.parent().map(Path::to_owned);
    let ended = run::run(async {
        let gateway = crate::start_file(&file).map_err(|error| {
            let hint = "Is something else running there? Try another port: gatewright demo --port 9090";
            Failure(format!("{error}\n\n{hint}"))
        })?;
        let addresses = gateway.addresses();
        print(welcome(&addresses, gateway.admin(), &file.canonicalize().unwrap_or(file), &config))?;
        Ok(gateway)
    });
    if let Some(folder) = folder {
        // Nothing of the demonstration stays; that a file of it is in use is no reason to fail.
        let _ = std::fs::remove_dir_all(folder);
    }
    ended
}

fn configuration(port: u16, site: &Path, backends: &[SocketAddr]) -> String {
    let next = |step: u16| port.checked_add(step).filter(|_| port > 0).unwrap_or(0);
    let endpoints: Vec<String> = backends.iter().map(|backend| format!("\"{backend}\"")).collect();
    let (endpoints, site) = (endpoints.join(", "), site.display());
    let (secure, admin) = (next(1), next(2));
    format!(
        r#"# The configuration of the demonstration. Change it while it runs: the gateway sees it and takes it over.

[[listener]]
address = "127.0.0.1:{port}"

[[listener]]
address = "127.0.0.1:{secure}"
tls = "dev"

[pool.api]
endpoints = [{endpoints}]
balance = "p2c"
health = {{ path = "/", interval = "2s" }}
eject = true

[[route]]
match = {{ path = "/api/" }}
pool = "api"
rewrite = {{ strip_prefix = "/api" }}

[[route]]
match = {{ path = "/hello/{{name}}" }}
redirect = {{ to = "/api/greet?{{name}}", status = 302 }}

[[route]]
match = {{ path = "/" }}
static = '{site}'

[admin]
address = "127.0.0.1:{admin}"
"#
    )
}

fn welcome(addresses: &[SocketAddr], admin: Option<SocketAddr>, file: &Path, config: &model::Config) -> String {
    let [http, https] = [0, 1].map(|index| addresses.get(index).map(ToString::to_string).unwrap_or_default());
    let admin = admin.map(|admin| admin.to_string()).unwrap_or_default();
    let (file, endpoints) = (file.display(), config.pools.iter().map(|pool| pool.endpoints.len()).sum::<usize>());
    format!(
        "
Gatewright is running, with {endpoints} backends behind it.

  a site               http://{http}/
  the same over TLS    https://{https}/     (a certificate that nobody signed: curl -k)
  an API               http://{http}/api/
  metrics              http://{admin}/metrics
  what is in force     http://{admin}/status

Things to try:

  curl http://{http}/api/hello                   which backend answers? one of the three is slow
  for i in 1 2 3 4 5 6; do curl -s http://{http}/api/; done
  curl -k --http2 -I https://{https}/             HTTP/2
  curl -i http://{http}/hello/world              a redirect
  curl -i http://{http}/missing                  an error page; with -H 'accept: application/json' for programs
  curl -s http://{admin}/metrics | grep requests_total
  gatewright status --admin {admin} --watch    which backends are used, and how they do

Change {file}
and save it: the gateway takes it over while requests run. Stop with ctrl-c.
"
    )
}

fn write_site() -> std::io::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("gatewright-demo-{}", std::process::id()));
    let site = folder.join("site");
    std::fs::create_dir_all(&site)?;
    std::fs::write(site.join("index.html"), include_str!("demo/index.html"))?;
    std::fs::write(site.join("style.css"), include_str!("demo/style.css"))?;
    site.canonicalize()
}

/// A small HTTP/1.1 server that says its name.
fn start_backend(name: &'static str, delay_ms: u64) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::Builder::new().name(format!("backend-{name}")).spawn(move || {
        for tcp in listener.incoming().flatten() {
            // A connection that fails is its client's loss only.
            let serve = move || drop(backend_connection(tcp, name, delay_ms));
            let _ = std::thread::Builder::new().spawn(serve);
        }
    })?;
    Ok(address)
}

fn backend_connection(tcp: TcpStream, name: &str, delay_ms: u64) -> std::io::Result<()> {
    let mut writer = tcp.try_clone()?;
    let mut reader = BufReader::new(tcp);
    loop {
        let (mut line, mut length) = (String::new(), 0u64);
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let target = line.split(' ').nth(1).unwrap_or("/").to_owned();
        loop {
            let mut field = String::new();
            if reader.read_line(&mut field)? == 0 || field.trim().is_empty() {
                break;
            }
            if let Some(value) = field.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        std::io::copy(&mut std::io::Read::take(&mut reader, length), &mut std::io::sink())?;
        std::thread::sleep(Duration::from_millis(delay_ms));
        let body = format!("{}\n", serde_json::json!({ "backend": name, "target": target, "took_ms": delay_ms }));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
        write!(writer, "{head}: {}\r\n\r\n{body}", body.len())?;
    }
}
