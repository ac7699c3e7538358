//! A gateway from a few lines of configuration.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gatewright::Running;
use gatewright::balance::Endpoint;
use gatewright::config::model::Config;
use tempfile::TempDir;

use super::{Client, Frames, Message, Raw, Wire, tls};

/// A gateway that runs until this is dropped. Its folder holds the files of [`tls::write_files`].
pub(crate) struct Gateway {
    running: Option<Running>,
    values: Vec<(String, String)>,
    folder: TempDir,
}

/// A gateway to be started.
pub(crate) struct Builder {
    text: String,
    values: Vec<(String, String)>,
    folder: TempDir,
}

impl Gateway {
    /// One with this configuration, in which `<name>` stands for what is given by [`Builder::with`]. It has one worker and a
    /// cleartext listener, unless it says otherwise.
    pub(crate) fn of(text: &str) -> Builder {
        let folder = tempfile::tempdir().expect("a folder");
        tls::write_files(folder.path());
        Builder { text: text.to_owned(), values: Vec::new(), folder }
    }

    /// One that sends every request to this origin; further configuration may be added.
    pub(crate) fn to(origin: impl Display) -> Builder {
        Gateway::of("[pool.origin]\nendpoints = ['<origin>']\n[[route]]\npool = 'origin'\n").with("origin", origin)
    }

    /// Between a client and an origin that speak so.
    pub(crate) async fn between(client: Wire, upstream: Wire, origin: impl Display) -> Gateway {
        let listener = if client.is_tls() { "tls = [{ certificate = 'server.pem', key = 'server.key' }]" } else { "" };
        let protocol = if upstream.is_h2() { "h2" } else { "h1" };
        let pool = if upstream.is_tls() { "tls = { ca = 'ca.pem', name = 'localhost' }" } else { "" };
        let text = "
            [[listener]]
            address = '127.0.0.1:0'
            <listener>
            [pool.origin]
            endpoints = ['<origin>']
            protocol = '<protocol>'
            <pool>
            [[route]]
            pool = 'origin'";
        let gateway = Gateway::of(text).with("listener", listener).with("pool", pool);
        gateway.with("protocol", protocol).with("origin", origin).start().await
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    /// Of the first listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// Of all listeners, in the order of the configuration.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.running().addresses()
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A connection to the first listener.
    pub(crate) async fn raw(&self) -> Raw {
        Raw::connect(self.address()).await
    }

    /// The response to these bytes, over a connection of their own.
    pub(crate) async fn ask(&self, request: &str) -> Message {
        let mut raw = self.raw().await;
        raw.send(request).await;
        raw.response().await
    }

    /// The response to a GET of `http://{host}{target}` with these further fields.
    pub(crate) async fn get(&self, url: &str, fields: &[&str]) -> Message {
        let at = url.find('/').expect("a path");
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        self.ask(&format!("GET {} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", &url[at..], &url[..at])).await
    }

    /// A client of the first listener.
    pub(crate) async fn client(&self, wire: Wire) -> Client {
        Client::connect(self.address(), wire).await
    }

    /// A cleartext HTTP/2 connection to the first listener.
    pub(crate) async fn frames(&self) -> Frames {
        Frames::connect(self.raw().await).await
    }

    /// An endpoint as the gateway knows it.
    pub(crate) fn endpoint(&self, pool: &str, address: impl Display) -> Arc<Endpoint> {
        self.running().endpoint(pool, &address.to_string()).expect("an endpoint of the pool")
    }

    /// Where operators connect.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.running().admin().expect("an admin address")
    }

    /// The answer of the admin address.
    pub(crate) async fn admin(&self, method: &str, path: &str) -> (u16, String) {
        let mut raw = Raw::connect(self.admin_address()).await;
        raw.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await;
        let response = raw.response().await;
        (response.status(), response.text())
    }

    /// What it answers to an order with a body, as JSON.
    pub(crate) async fn order(&self, path: &str, body: &[u8]) -> (u16, serde_json::Value) {
        let mut raw = Raw::connect(self.admin_address()).await;
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        raw.send([head.as_bytes(), body].concat()).await;
        let response = raw.response().await;
        (response.status(), serde_json::from_str(&response.text()).unwrap_or_default())
    }

    /// The value of a metric, written with its labels as in `name{label="value"}`; 0 when it is not there. Metrics whose labels
    /// begin like that are added up.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (status, text) = self.admin("GET", "/metrics").await;
        assert_eq!(status, 200);
        let lines = text.lines().filter_map(|line| line.strip_prefix(name.trim_end_matches('}')));
        let lines = lines.filter(|rest| rest.starts_with(['{', ' ', ',', '}']));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The lines of `access.log` in JSON, when there are so many.
    pub(crate) async fn log_lines(&self, count: usize) -> Vec<serde_json::Value> {
        let file = self.folder().join("access.log");
        let read = || std::fs::read_to_string(&file).unwrap_or_default();
        super::eventually("the lines of the log", async || read().lines().count() >= count).await;
        let lines: Vec<_> = read().lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        assert_eq!(lines.len(), count, "{lines:?}");
        lines
    }

    /// A reload with this configuration.
    pub(crate) async fn apply(&self, text: &str) -> Result<String, String> {
        let config = parse(&fill(text, &self.values), self.folder.path())?;
        let running = self.running();
        off_runtime(|| running.apply(config)).map_err(|error| error.to_string())
    }

    /// Ends it politely; the future is over when it is.
    pub(crate) fn stop(&mut self) -> impl Future<Output = ()> + use<> {
        let running = self.running.take().expect("it runs");
        let stopping = tokio::task::spawn_blocking(move || running.stop());
        async { super::within("the gateway to stop", stopping).await.expect("to stop") }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let running = self.running.take();
        off_runtime(|| drop(running));
    }
}

impl Builder {
    /// What `<name>` stands for.
    pub(crate) fn with(mut self, name: &str, value: impl Display) -> Builder {
        self.values.push((format!("<{name}>"), value.to_string()));
        self
    }

    /// More of the configuration.
    pub(crate) fn and(mut self, text: &str) -> Builder {
        self.text.push('\n');
        self.text.push_str(text);
        self
    }

    /// A file in the gateway's folder.
    pub(crate) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Builder {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
        self
    }

    /// Runs it.
    pub(crate) async fn start(self) -> Gateway {
        let config = parse(&fill(&self.text, &self.values), self.folder.path()).expect("a configuration");
        let running = off_runtime(|| gatewright::start(config)).expect("a gateway");
        Gateway { running: Some(running), values: self.values, folder: self.folder }
    }

    /// Runs it from a file, which it watches.
    pub(crate) async fn start_file(self) -> Gateway {
        let path = self.write();
        let running = off_runtime(|| gatewright::start_file(&path)).expect("a gateway");
        Gateway { running: Some(running), values: self.values, folder: self.folder }
    }

    /// Writes the configuration into the folder, as `gateway.toml`.
    fn write(&self) -> PathBuf {
        let path = self.folder.path().join("gateway.toml");
        std::fs::write(&path, whole(&fill(&self.text, &self.values))).expect("a file");
        path
    }
}

fn fill(text: &str, values: &[(String, String)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// With what a configuration needs and a test does not care for.
fn whole(text: &str) -> String {
    let listener = if text.contains("[[listener]]") { "" } else { "[[listener]]\naddress = '127.0.0.1:0'\n" };
    let workers = if text.trim_start().starts_with("workers") { "" } else { "workers = 1\n" };
    format!("{workers}{text}\n{listener}")
}

fn parse(text: &str, folder: &Path) -> Result<Config, String> {
    let text = whole(text);
    gatewright::config::parse(&text, &folder.join("gateway.toml")).map_err(|problems| format!("{problems}\n{text}"))
}

/// The gateway's calls block, and may run a runtime of their own.
fn off_runtime<T: Send>(call: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(call).join().expect("no panic"))
}
