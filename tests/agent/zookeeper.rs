//! What ZooKeeper knows of a backend.

use std::time::Duration;

use tokio::time::Instant;

use super::Agent;
use crate::harness::etcd::free_port;
use crate::harness::zookeeper::ZooKeeper;
use crate::harness::{Gateway, eventually};

const POOL: &str = "
    [pool.a]
    discover = { zookeeper = ['<zookeeper>'], prefix = '/services/site' }
    [[route]]
    pool = 'a'
    [admin]
    address = '127.0.0.1:0'
    [limits]
    discovery_time = '20ms'";

async fn knows(zookeeper: &ZooKeeper, agent: Option<&Agent>) {
    let expected: Vec<String> = agent.map(|agent| format!("127.0.0.1:{}", agent.port)).into_iter().collect();
    let what = format!("ZooKeeper to know {expected:?}");
    eventually(&what, async || zookeeper.children("/services/site").await == expected).await;
}

/// It is known all the time for longer than a session lasts without a word.
async fn goes_on(zookeeper: &ZooKeeper) {
    let beyond = Instant::now() + Duration::from_secs(3);
    while Instant::now() < beyond {
        assert_eq!(zookeeper.children("/services/site").await.len(), 1);
    }
}

#[tokio::test]
async fn zookeeper_knows_a_backend_while_it_runs() {
    let Some(zookeeper) = ZooKeeper::start().await else { return };
    let gateway = Gateway::of(POOL).with("zookeeper", zookeeper.address()).start().await;
    let options = ["--weight", "3", "--zone", "west", "--metadata", "rack=7"];
    let gone = "127.0.0.1:9";
    let mut agent = Agent::start(&["--zookeeper", gone, "--zookeeper", &zookeeper.address()], &options);
    knows(&zookeeper, Some(&agent)).await;
    eventually("an answer", async || gateway.get("a/", &[]).await.text() == "hello").await;
    goes_on(&zookeeper).await;
    // Somebody takes it away: it comes back.
    let node = format!("/services/site/127.0.0.1:{}", agent.port);
    zookeeper.delete(&node).await;
    knows(&zookeeper, Some(&agent)).await;
    // So it does after it could not say a word for too long.
    agent.signal("STOP");
    knows(&zookeeper, None).await;
    agent.signal("CONT");
    knows(&zookeeper, Some(&agent)).await;
    eventually("an answer", async || gateway.get("a/", &[]).await.text() == "hello").await;
    agent.signal("TERM");
    // No request fails: the backend stays until everybody has heard that it goes.
    eventually("the gateway to hear of it", async || {
        let reply = gateway.get("a/", &[]).await;
        assert!(reply.text() == "hello" || reply.status() == 503, "{}", reply.status());
        reply.status() == 503
    })
    .await;
    assert!(zookeeper.children("/services/site").await.is_empty());
    assert_eq!(agent.code().await, Some(0));
}

#[tokio::test]
async fn zookeeper_forgets_a_backend_whose_agent_was_killed_and_its_successor_is_not_forgotten() {
    let Some(zookeeper) = ZooKeeper::start().await else { return };
    let (port, address) = (free_port(), zookeeper.address());
    let mut agent = Agent::start_at(port, &["--zookeeper", &address], &["--ttl", "4s"]);
    knows(&zookeeper, Some(&agent)).await;
    agent.kill();
    let owner = async || zookeeper.owner(&format!("/services/site/127.0.0.1:{port}")).await;
    let before = owner().await;
    // Its node is still there.
    let mut successor = Agent::start_at(port, &["--zookeeper", &address], &["--ttl", "4s"]);
    eventually("another to have it", async || owner().await.is_some_and(|owner| Some(owner) != before)).await;
    assert!(before.is_some());
    goes_on(&zookeeper).await;
    goes_on(&zookeeper).await;
    successor.kill();
    knows(&zookeeper, None).await;
}

#[tokio::test]
async fn zookeeper_knows_a_backend_again_after_it_was_away() {
    let Some(mut zookeeper) = ZooKeeper::start().await else { return };
    zookeeper.kill();
    let mut agent = Agent::start(&["--zookeeper", &zookeeper.address()], &["--ttl", "40s"]);
    eventually("the backend to be ready", async || agent.backend_is_there().await).await;
    zookeeper.run().await;
    knows(&zookeeper, Some(&agent)).await;
    let node = format!("/services/site/127.0.0.1:{}", agent.port);
    let before = zookeeper.owner(&node).await;
    zookeeper.kill();
    zookeeper.run().await;
    // The session goes on where it was: so the node goes long before it would by itself, and was nobody else's.
    assert_eq!((zookeeper.owner(&node).await, before.is_some()), (before, true));
    agent.signal("TERM");
    knows(&zookeeper, None).await;
    assert_eq!(agent.code().await, Some(0));
}

#[tokio::test]
async fn a_backend_that_has_to_start_again_is_not_known_meanwhile() {
    let Some(zookeeper) = ZooKeeper::start().await else { return };
    let options = ["--ready-path", "/index.html", "--patience", "1s", "--drain-time", "0s"];
    let agent = Agent::start(&["--zookeeper", &zookeeper.address()], &options);
    knows(&zookeeper, Some(&agent)).await;
    let file = agent.folder.path().join("index.html");
    std::fs::remove_file(&file).expect("to remove it");
    knows(&zookeeper, None).await;
    std::fs::write(&file, "hello").expect("a file");
    knows(&zookeeper, Some(&agent)).await;
}

#[tokio::test]
async fn what_an_agent_with_a_password_tells_others_can_only_read() {
    let Some(zookeeper) = ZooKeeper::start().await else { return };
    let gateway = Gateway::of(POOL).with("zookeeper", zookeeper.address()).start().await;
    let who = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(who.path(), "agent:secret\n").expect("a file");
    let credentials = who.path().display().to_string();
    let mut agent = Agent::start(&["--zookeeper", &zookeeper.address(), "--credentials", &credentials], &[]);
    knows(&zookeeper, Some(&agent)).await;
    eventually("an answer", async || gateway.get("a/", &[]).await.text() == "hello").await;
    let node = format!("/services/site/127.0.0.1:{}", agent.port);
    let mut other = zookeeper.session().await;
    assert_eq!(other.delete(&node).await, Err(-102));
    assert_eq!(other.create("/services/site/127.0.0.1:1", b"", false).await, Err(-102));
    agent.signal("TERM");
    knows(&zookeeper, None).await;
    assert_eq!(agent.code().await, Some(0));
}
