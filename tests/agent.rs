//! The agent beside a backend: what the registry knows of it, and how both end.

mod zookeeper;

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::harness::etcd::{Etcd, free_port};
use crate::harness::{Client, Gateway, Raw, RawOrigin, Wire, eventually, within};

const POOL: &str = "
    [pool.a]
    discover = { etcd = ['<etcd>'], prefix = '/services/site/' }
    [[route]]
    pool = 'a'
    [admin]
    address = '127.0.0.1:0'
    [limits]
    discovery_time = '20ms'";

/// An agent with `gatewright serve` as its backend.
struct Agent {
    child: Child,
    /// Of the backend.
    port: u16,
    /// Where the agent answers.
    desk: u16,
    folder: TempDir,
}

impl Agent {
    fn start(registry: &[&str], options: &[&str]) -> Agent {
        Agent::start_at(free_port(), registry, options)
    }

    fn start_at(port: u16, registry: &[&str], options: &[&str]) -> Agent {
        let address = format!("127.0.0.1:{port}");
        let gatewright = env!("CARGO_BIN_EXE_gatewright");
        Agent::run(registry, options, port, &[gatewright, "serve", ".", "--listen", &address])
    }

    fn run(registry: &[&str], options: &[&str], port: u16, command: &[&str]) -> Agent {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("index.html"), "hello").expect("a file");
        let (address, desk) = (format!("127.0.0.1:{port}"), free_port());
        let listen = format!("127.0.0.1:{desk}");
        let mut agent = Command::new(env!("CARGO_BIN_EXE_gatewright"));
        agent.args(["agent", "--name", "site", "--address", &address, "--listen", &listen]).args(registry);
        if !options.contains(&"--ttl") {
            agent.args(["--ttl", "2s"]);
        }
        agent.args(options).arg("--").args(command);
        agent.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = agent.kill_on_drop(true).spawn().expect("an agent");
        Agent { child, port, desk, folder }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill");
        assert!(sent.success());
    }

    /// Ends it as the system does when there is no memory left.
    fn kill(&mut self) {
        let _ = self.child.start_kill();
    }

    async fn code(&mut self) -> Option<i32> {
        within("the agent to end", self.child.wait()).await.expect("an end").code()
    }

    /// Whether its desk answers.
    async fn is_up(&self) -> bool {
        tokio::net::TcpStream::connect(("127.0.0.1", self.desk)).await.is_ok()
    }

    /// What its desk answers.
    async fn asks(&self, target: &str) -> (u16, String) {
        let mut client = Client::connect(([127, 0, 0, 1], self.desk).into(), Wire::H1).await;
        let reply = client.get(target).await;
        (reply.status.as_u16(), reply.text().to_owned())
    }

    /// Whether the backend takes connections.
    async fn backend_is_there(&self) -> bool {
        tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn knows(etcd: &Etcd, count: u64) {
    eventually(&format!("{count} keys"), async || etcd.count("/services/site/").await == count).await;
}

#[tokio::test]
async fn a_backend_is_known_while_it_runs() {
    let Some(etcd) = Etcd::start().await else { return };
    let gateway = Gateway::of(POOL).with("etcd", etcd.url()).start().await;
    let mut agent =
        Agent::start(&["--etcd", &etcd.url()], &["--weight", "3", "--zone", "west", "--metadata", "rack=7"]);
    knows(&etcd, 1).await;
    eventually("an answer", async || gateway.get("a/", &[]).await.text() == "hello").await;
    assert_eq!(agent.asks("/health").await, (200, "ok\n".to_owned()));
    eventually("memory to be measured", async || {
        let (status, load) = agent.asks("/load").await;
        let load: serde_json::Value = serde_json::from_str(&load).expect("JSON");
        assert_eq!(status, 200);
        load["named_metrics"]["resident_bytes"].as_u64() > Some(100_000) && load["mem_utilization"].as_f64() > Some(0.0)
    })
    .await;
    // It lives longer than its lease.
    let beyond = tokio::time::Instant::now() + Duration::from_secs(3);
    while tokio::time::Instant::now() < beyond {
        assert_eq!(gateway.get("a/", &[]).await.text(), "hello");
        assert_eq!(etcd.count("/services/site/").await, 1);
    }
    agent.signal("TERM");
    // No request fails: the backend stays until everybody has heard that it goes.
    eventually("the gateway to hear of it", async || {
        let reply = gateway.get("a/", &[]).await;
        assert!(reply.text() == "hello" || reply.status() == 503, "{}", reply.status());
        reply.status() == 503
    })
    .await;
    assert_eq!(etcd.count("/services/site/").await, 0);
    assert_eq!(agent.code().await, Some(0));
    assert!(!agent.backend_is_there().await);
}

#[tokio::test]
async fn a_backend_whose_agent_was_killed_is_forgotten() {
    let Some(etcd) = Etcd::start().await else { return };
    let mut agent = Agent::start(&["--etcd", &etcd.url()], &[]);
    knows(&etcd, 1).await;
    assert!(agent.backend_is_there().await);
    agent.kill();
    // It does not outlive its agent.
    eventually("the backend to end", async || !agent.backend_is_there().await).await;
    knows(&etcd, 0).await;
}

#[tokio::test]
async fn the_command_that_ends_takes_itself_out_and_its_code_is_passed_on() {
    let Some(etcd) = Etcd::start().await else { return };
    let port = free_port();
    let listen = "import socket, sys, time\ns = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n\
                  while not __import__('os').path.exists('end'): time.sleep(0.02)\nsys.exit(7)";
    let command = ["python3", "-c", listen, &port.to_string()];
    let mut agent = Agent::run(&["--etcd", &etcd.url()], &["--restarts", "0"], port, &command);
    knows(&etcd, 1).await;
    std::fs::write(agent.folder.path().join("end"), "").expect("a file");
    assert_eq!(agent.code().await, Some(7));
    assert_eq!(etcd.count("/services/site/").await, 0);
}

#[tokio::test]
async fn a_backend_that_answers_no_more_is_started_again() {
    let Some(etcd) = Etcd::start().await else { return };
    let agent = Agent::start(
        &["--etcd", &etcd.url()],
        &["--ready-path", "/index.html", "--patience", "1s", "--drain-time", "0s"],
    );
    knows(&etcd, 1).await;
    // The file goes, and with it the answer.
    let file = agent.folder.path().join("index.html");
    std::fs::remove_file(&file).expect("to remove it");
    eventually("it to be unwell", async || agent.asks("/health").await == (503, "it does not answer\n".to_owned()))
        .await;
    knows(&etcd, 0).await;
    std::fs::write(&file, "hello").expect("a file");
    knows(&etcd, 1).await;
    eventually("it to be well", async || agent.asks("/health").await.0 == 200).await;
}

#[tokio::test]
async fn too_much_memory_for_too_long_is_a_reason_to_start_anew_as_often_as_allowed() {
    let Some(etcd) = Etcd::start().await else { return };
    let options = ["--max-memory", "0.01%", "--patience", "100ms", "--drain-time", "0s", "--restarts", "1"];
    let mut agent = Agent::start(&["--etcd", &etcd.url()], &options);
    knows(&etcd, 1).await;
    // The second time is the last.
    let code = tokio::time::timeout(Duration::from_secs(30), agent.child.wait()).await.expect("an end");
    assert_eq!(code.expect("an end").code(), Some(1));
    assert_eq!(etcd.count("/services/site/").await, 0);
}

#[tokio::test]
async fn requests_under_way_are_held_against_what_is_too_much() {
    let origin = RawOrigin::start().await;
    let address: SocketAddr = origin.to_string().parse().expect("an address");
    let options = ["--max-requests", "1", "--patience", "1h"];
    // No registry is needed for that.
    let agent = Agent::run(&["--etcd", "http://127.0.0.1:9"], &options, address.port(), &["sleep", "1000"]);
    let health = async |expected: (u16, &str)| {
        eventually(expected.1, async || {
            agent.is_up().await && agent.asks("/health").await == (expected.0, format!("{}\n", expected.1))
        })
        .await;
    };
    health((200, "ok")).await;
    let mut idle = Raw::connect(address).await;
    let mut clients = [Raw::connect(address).await, Raw::connect(address).await];
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\n\r\n").await;
    }
    health((503, "it has too many requests")).await;
    let load: serde_json::Value = serde_json::from_str(&agent.asks("/load").await.1).expect("JSON");
    let named = &load["named_metrics"];
    assert_eq!((&named["connections"], &named["requests"]), (&3.into(), &2.into()), "{load}");
    assert_eq!(load["application_utilization"], 2.0, "{load}");
    drop(clients);
    health((200, "ok")).await;
    idle.send("G").await;
}

#[tokio::test]
async fn a_registry_that_comes_late_is_told() {
    let Some(mut etcd) = Etcd::start().await else { return };
    etcd.kill();
    let agent = Agent::start(&["--etcd", &etcd.url()], &[]);
    eventually("the backend to be ready", async || agent.backend_is_there().await).await;
    etcd.run().await;
    knows(&etcd, 1).await;
    // It knows it again after it was away.
    etcd.kill();
    etcd.run().await;
    knows(&etcd, 1).await;
}

#[tokio::test]
async fn a_command_that_cannot_be_started_is_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_gatewright"));
    agent.args([
        "agent",
        "--name",
        "a",
        "--address",
        "127.0.0.1:1",
        "--etcd",
        "http://127.0.0.1:9",
        "--",
        "./not-there",
    ]);
    let ended = within("the agent to end", agent.current_dir(folder.path()).output()).await.expect("an end");
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("./not-there: No such file"), "{said}");
}
