//! A server of etcd that lives as long as the test that started it.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Client, Raw, Wire, full};

/// A server of etcd.
pub(crate) struct Etcd {
    child: Option<Child>,
    port: u16,
    peers: u16,
    folder: TempDir,
    tls: bool,
    /// What it is told besides, once users have to say who they are.
    token: Option<String>,
}

impl Etcd {
    /// One of its own; none, and a word about it, where etcd is not installed.
    pub(crate) async fn start() -> Option<Etcd> {
        Etcd::launch(false).await
    }

    /// One that is asked over TLS, with the certificate of the harness.
    pub(crate) async fn start_tls() -> Option<Etcd> {
        Etcd::launch(true).await
    }

    async fn launch(tls: bool) -> Option<Etcd> {
        if Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            eprintln!("SKIPPED: etcd is not installed (Debian: apt-get install etcd-server)");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        super::tls::write_files(folder.path());
        let (port, peers) = (free_port(), free_port());
        let mut etcd = Etcd { child: None, port, peers, folder, tls, token: None };
        etcd.run().await;
        Some(etcd)
    }

    /// Starts it, again if need be, with what it knew before.
    pub(crate) async fn run(&mut self) {
        let (client, peer) = (self.url(), format!("http://127.0.0.1:{}", self.peers));
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let mut command = Command::new("etcd");
        command.args(["--data-dir", &file("data"), "--name", "one", "--initial-cluster", &format!("one={peer}")]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        // A disk that is busy with other tests is no reason to elect somebody else.
        command.args(["--heartbeat-interval", "500", "--election-timeout", "5000", "--initial-election-tick-advance"]);
        if self.tls {
            command.args(["--cert-file", &file("server.pem"), "--key-file", &file("server.key")]);
        }
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("etcd to start"));
        super::eventually("etcd to answer", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
                && self.try_ask("/v3/kv/range", &json!({ "key": "AA==" })).await.is_some()
        })
        .await;
    }

    /// Ends it at once, as a machine does that is switched off.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("to end it");
            child.wait().expect("its end");
        }
    }

    /// Where it is asked.
    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.tls { "https" } else { "http" }, self.port)
    }

    /// Writes a key.
    pub(crate) async fn put(&self, key: &str, value: &str) {
        self.ask("/v3/kv/put", &json!({ "key": base64(key), "value": base64(value) })).await;
    }

    /// Takes a key away.
    pub(crate) async fn delete(&self, key: &str) {
        self.ask("/v3/kv/deleterange", &json!({ "key": base64(key) })).await;
    }

    /// Writes and takes away very many keys: some at a time, as many as etcd takes.
    pub(crate) async fn change(&self, put: &[(String, String)], delete: &[String]) {
        let put =
            put.iter().map(|(key, value)| json!({ "requestPut": { "key": base64(key), "value": base64(value) } }));
        let delete = delete.iter().map(|key| json!({ "requestDeleteRange": { "key": base64(key) } }));
        let all: Vec<Value> = put.chain(delete).collect();
        for some in all.chunks(100) {
            self.ask("/v3/kv/txn", &json!({ "success": some })).await;
        }
    }

    /// How many keys begin so.
    pub(crate) async fn count(&self, prefix: &str) -> u64 {
        let end = format!("{}0", prefix.trim_end_matches('/'));
        let question = json!({ "key": base64(prefix), "range_end": base64(&end), "count_only": true });
        let answer = self.ask("/v3/kv/range", &question).await;
        answer["count"].as_str().map_or(0, |count| count.parse().expect("a number"))
    }

    /// From now on users have to say who they are: `root`, with this password.
    pub(crate) async fn demand(&mut self, password: &str) {
        self.ask("/v3/auth/user/add", &json!({ "name": "root", "password": password })).await;
        self.ask("/v3/auth/role/add", &json!({ "name": "root" })).await;
        self.ask("/v3/auth/user/grant", &json!({ "user": "root", "role": "root" })).await;
        self.ask("/v3/auth/enable", &json!({})).await;
        let who = json!({ "name": "root", "password": password });
        self.token = self.ask("/v3/auth/authenticate", &who).await["token"].as_str().map(str::to_owned);
    }

    /// Its answer to a question that it must answer.
    pub(crate) async fn ask(&self, path: &str, question: &Value) -> Value {
        self.try_ask(path, question).await.unwrap_or_else(|| panic!("{path}: no answer"))
    }

    async fn try_ask(&self, path: &str, question: &Value) -> Option<Value> {
        let address = ([127, 0, 0, 1], self.port).into();
        let raw = match self.tls {
            true => Raw::connect_tls(address, &[]).await,
            false => Raw::connect(address).await,
        };
        let mut client = Client::over(raw, Wire::H1).await;
        let mut request = client.request("POST", path);
        if let Some(token) = &self.token {
            request = request.header("authorization", token);
        }
        let reply = client.exchange(request.body(full(question.to_string())).expect("a request")).await.ok()?;
        (reply.status == 200).then(|| serde_json::from_slice(&reply.body).expect("JSON"))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that is free now, and not one of those that the system gives to whoever asks for any: until it is used it stays free.
pub(crate) fn free_port() -> u16 {
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| fastrand::u16(10_000..32_000)).find(free).expect("a port")
}

pub(crate) fn base64(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.as_bytes().chunks(3).flat_map(|three| {
        let word = (0..3).fold(0u32, |word, at| word << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        (0..4).map(
            move |at| if at > three.len() { '=' } else { char::from(ALPHABET[(word >> (18 - 6 * at) & 63) as usize]) },
        )
    });
    digits.collect()
}
