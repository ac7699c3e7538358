//! A server of ZooKeeper that lives as long as the test that started it, and a client that is not the gateway's.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::etcd::free_port;

const JAR: &str = "/usr/share/java/zookeeper.jar";
/// What it needs for TLS, which its own list leaves out.
const CLASSES: &str =
    "/usr/share/java/zookeeper.jar:/usr/share/java/netty-codec.jar:/usr/share/java/netty-resolver.jar";

/// A server of ZooKeeper.
pub(crate) struct ZooKeeper {
    child: Option<Child>,
    port: u16,
    secure: u16,
    folder: TempDir,
    tls: bool,
}

/// A session, which lasts ten minutes without a word.
pub(crate) struct Session {
    tcp: TcpStream,
    turn: i32,
}

impl ZooKeeper {
    /// One of its own; none, and a word about it, where ZooKeeper is not installed.
    pub(crate) async fn start() -> Option<ZooKeeper> {
        ZooKeeper::launch(false).await
    }

    /// One that is also asked over TLS, with the certificate of the harness.
    pub(crate) async fn start_tls() -> Option<ZooKeeper> {
        ZooKeeper::launch(true).await
    }

    async fn launch(tls: bool) -> Option<ZooKeeper> {
        let java = Command::new("java").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if java.is_err() || !std::path::Path::new(JAR).exists() {
            eprintln!("SKIPPED: ZooKeeper is not installed (Debian: apt-get install zookeeper)");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        super::tls::write_files(folder.path());
        let mut zookeeper = ZooKeeper { child: None, port: free_port(), secure: free_port(), folder, tls };
        zookeeper.write_settings();
        zookeeper.run().await;
        Some(zookeeper)
    }

    fn write_settings(&self) {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let (data, port) = (file("data"), self.port);
        let mut settings = format!(
            "tickTime=500\nmaxSessionTimeout=600000\nmaxClientCnxns=0\nadmin.enableServer=false\ndataDir={data}\n\
             clientPort={port}\nclientPortAddress=127.0.0.1\nforceSync=no\npreAllocSize=64\n"
        );
        if self.tls {
            // Certificate and key in one file.
            let both = ["server.key", "server.pem"].map(|name| std::fs::read_to_string(file(name)).expect("a file"));
            std::fs::write(file("store.pem"), both.concat()).expect("a file");
            settings.push_str(&format!(
                "secureClientPort={}\nsecureClientPortAddress=127.0.0.1\nssl.clientAuth=none\n\
                 serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n\
                 ssl.keyStore.location={}\nssl.keyStore.type=PEM\nssl.trustStore.location={}\nssl.trustStore.type=PEM\n",
                self.secure,
                file("store.pem"),
                file("ca.pem"),
            ));
        }
        std::fs::write(file("zoo.cfg"), settings).expect("a file");
    }

    /// Starts it, again if need be, with what it knew before.
    pub(crate) async fn run(&mut self) {
        let mut command = Command::new("java");
        // It lives for seconds: what makes it fast after minutes only makes it slow to start.
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx128m", "-cp", CLASSES]);
        command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(self.folder.path().join("zoo.cfg"));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("ZooKeeper to start"));
        // On a machine that is busy with other tests it takes its time.
        super::within_a_minute(async {
            // One that asks while the server begins may never get an answer.
            let patience = Duration::from_secs(1);
            while !matches!(tokio::time::timeout(patience, Session::begin(self.port)).await, Ok(Some(_))) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
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
    pub(crate) fn address(&self) -> String {
        match self.tls {
            true => format!("tls://127.0.0.1:{}", self.secure),
            false => format!("127.0.0.1:{}", self.port),
        }
    }

    /// A session with it.
    pub(crate) async fn session(&self) -> Session {
        super::within("a session", Session::begin(self.port)).await.expect("a session")
    }

    /// Makes a node that stays, and those above it.
    pub(crate) async fn create(&self, path: &str, data: &str) {
        let mut session = self.session().await;
        for (end, _) in path.match_indices('/').skip(1) {
            // It may be there.
            let _ = session.create(&path[..end], b"", false).await;
        }
        session.create(path, data.as_bytes(), false).await.expect("a node");
    }

    /// Has a node say something else.
    pub(crate) async fn set(&self, path: &str, data: &[u8]) {
        let body = [text(path.as_bytes()), text(data), vec![0xff; 4]].concat();
        self.session().await.ask(5, &body).await.expect("to be taken");
    }

    /// Takes a node away.
    pub(crate) async fn delete(&self, path: &str) {
        self.session().await.delete(path).await.expect("to be taken");
    }

    /// The session that a node goes with; none where there is no node.
    pub(crate) async fn owner(&self, path: &str) -> Option<i64> {
        let body = [text(path.as_bytes()), vec![0]].concat();
        let stat = self.session().await.ask(3, &body).await.ok()?;
        Some(i64::from_be_bytes(stat[44..52].try_into().expect("a number")))
    }

    /// The names of a node's children; none where there is no node.
    pub(crate) async fn children(&self, path: &str) -> Vec<String> {
        let mut session = self.session().await;
        let body = [text(path.as_bytes()), vec![0]].concat();
        let Ok(list) = session.ask(8, &body).await else { return Vec::new() };
        let mut rest = &list[4..];
        let mut names = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk() {
            let (name, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            names.push(String::from_utf8(name.to_vec()).expect("a name"));
            rest = after;
        }
        names
    }
}

impl Session {
    async fn begin(port: u16) -> Option<Session> {
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        // No version, nothing seen, ten minutes, no session, and a password of as many zeros.
        let body = [vec![0; 12], 600_000u32.to_be_bytes().to_vec(), vec![0; 8], text(&[0; 16]), vec![0]].concat();
        tcp.write_all(&text(&body)).await.ok()?;
        let mut session = Session { tcp, turn: 0 };
        session.frame().await.map(|_| session)
    }

    /// Makes a node, which goes with the session or stays.
    pub(crate) async fn create(&mut self, path: &str, data: &[u8], ephemeral: bool) -> Result<(), i32> {
        let anyone = [vec![0, 0, 0, 1, 0, 0, 0, 31], text(b"world"), text(b"anyone")].concat();
        let body = [text(path.as_bytes()), text(data), anyone, vec![0, 0, 0, u8::from(ephemeral)]].concat();
        self.ask(1, &body).await.map(drop)
    }

    /// Takes a node away, if it may.
    pub(crate) async fn delete(&mut self, path: &str) -> Result<(), i32> {
        self.ask(2, &[text(path.as_bytes()), vec![0xff; 4]].concat()).await.map(drop)
    }

    /// From now on it is somebody with this password.
    pub(crate) async fn authenticate(&mut self, who: &str) {
        let body = [vec![0xff, 0xff, 0xff, 0xfc, 0, 0, 0, 100, 0, 0, 0, 0], text(b"digest"), text(who.as_bytes())];
        self.tcp.write_all(&text(&body.concat())).await.expect("to send");
        self.frame().await.expect("an answer");
    }

    /// Makes a node that nobody else may read.
    pub(crate) async fn create_private(&mut self, path: &str, data: &[u8]) {
        let own = [vec![0, 0, 0, 1, 0, 0, 0, 31], text(b"auth"), text(b"")].concat();
        let body = [text(path.as_bytes()), text(data), own, vec![0; 4]].concat();
        self.ask(1, &body).await.expect("a node");
    }

    /// The answer to a question, or the number of an error.
    async fn ask(&mut self, operation: i32, body: &[u8]) -> Result<Vec<u8>, i32> {
        self.turn += 1;
        let frame = [&self.turn.to_be_bytes(), &operation.to_be_bytes(), body].concat();
        self.tcp.write_all(&text(&frame)).await.expect("to send");
        let answer = super::within("an answer of ZooKeeper", self.frame()).await.expect("an answer");
        match i32::from_be_bytes(answer[12..16].try_into().expect("a number")) {
            0 => Ok(answer[16..].to_vec()),
            error => Err(error),
        }
    }

    async fn frame(&mut self) -> Option<Vec<u8>> {
        let mut frame = vec![0; self.tcp.read_u32().await.ok()? as usize];
        self.tcp.read_exact(&mut frame).await.ok()?;
        Some(frame)
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.kill();
    }
}

/// With its length before it.
pub(crate) fn text(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}
