//! Gateways with plugins from elsewhere: at the start, at a reload, without their network, and while they wait.

use std::process::Stdio;
use std::time::SystemTime;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::*;
use crate::harness::modules::picks;
use crate::harness::{Gateway, Origin};

/// A module that nobody had before this run, whatever an earlier one has kept.
fn fresh(index: u32) -> Vec<u8> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_nanos();
    // A section of its own, which means nothing.
    [picks(index), vec![0, 18, 1, b'u'], now.to_le_bytes().to_vec()].concat()
}

/// The configuration of a gateway whose balancer has these keys.
fn balanced(keys: &str) -> String {
    format!(
        "[plugin.mine]\n{keys}\n[pool.a]\nendpoints = ['<one>', '<two>']\nbalance = 'mine'\n[[route]]\npool = 'a'\n\
         [admin]\naddress = '127.0.0.1:0'"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_runs_what_it_has_fetched_and_takes_no_other() {
    let (one, two, shelf) = (Origin::says("one").await, Origin::says("two").await, Shelf::over(Wire::H1Tls).await);
    let (first, second) = (fresh(1), fresh(0));
    shelf.put("/first", &first);
    shelf.put("/second", &second);
    let config = balanced(&https(&shelf, "/first", &first));
    let gateway = Gateway::of(&config).with("one", &one).with("two", &two).start().await;
    let mut client = gateway.client(Wire::H1).await;
    assert_eq!(client.get("/").await.text(), "two");
    let said = gateway.apply(&balanced(&https(&shelf, "/second", b"other"))).await.expect_err("it was taken");
    assert!(said.contains("plugin.mine.source") && said.contains(&sha256(&second)), "{said}");
    assert!(said.contains(&sha256(b"other")), "{said}");
    assert_eq!(client.get("/").await.text(), "two");
    gateway.apply(&balanced(&https(&shelf, "/second", &second))).await.expect("to change");
    assert_eq!(client.get("/").await.text(), "one");
    // What is in force and cannot change is not asked for again.
    let asked = shelf.origin().requests();
    gateway.apply(&balanced(&https(&shelf, "/second", &second))).await.expect("to stay");
    assert_eq!((shelf.origin().requests(), client.get("/").await.text()), (asked, "one"));
    // Nor when it is used otherwise, and its source has gone.
    let keys = https(&shelf, "/second", &second);
    shelf.close().await;
    gateway.apply(&balanced(&format!("{keys}\ndeadline = '3ms'"))).await.expect("to change");
    assert_eq!(client.get("/").await.text(), "one");
}

/// A gateway that begins to fetch its next plugin, from a server that the test speaks for.
async fn waiting(one: &Origin, two: &Origin) -> (Gateway, RawOrigin, crate::harness::Raw, Vec<u8>) {
    let origin = RawOrigin::start_tls("http/1.1").await;
    let module = fresh(0);
    let config = balanced("source = 'mine.wasm'");
    let gateway = Gateway::of(&config).with("one", one).with("two", two).file("mine.wasm", picks(1)).start_file().await;
    let text = std::fs::read_to_string(gateway.folder().join("gateway.toml")).expect("a file");
    let keys = format!("source = 'https://{origin}/mine'\nsha256 = '{}'\nca = 'ca.pem'", sha256(&module));
    let draft = gateway.folder().join("draft");
    std::fs::write(&draft, text.replace("source = 'mine.wasm'", &keys)).expect("to write");
    std::fs::rename(draft, gateway.folder().join("gateway.toml")).expect("to put in place");
    let mut asked = origin.accept().await;
    asked.request().await;
    (gateway, origin, asked, module)
}

#[tokio::test]
async fn while_a_plugin_is_fetched_everything_else_goes_on() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let (gateway, _origin, mut asked, module) = waiting(&one, &two).await;
    let mut client = gateway.client(Wire::H1).await;
    for _ in 0..3 {
        assert_eq!(gateway.admin("GET", "/healthz").await.0, 200);
        assert_eq!(client.get("/").await.text(), "two");
    }
    asked.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", module.len())).await;
    asked.send(&module).await;
    eventually("the fetched plugin", async || client.get("/").await.text() == "one").await;
}

#[tokio::test]
async fn a_gateway_that_stops_waits_for_no_plugin() {
    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let (mut gateway, _origin, mut asked, _) = waiting(&one, &two).await;
    gateway.stop().await;
    assert!(asked.rest().await.0.is_empty());
}

/// Runs the command with what it keeps in the folder.
fn command(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewright"));
    command.args(arguments).current_dir(site.folder.path()).env_remove("CACHE_DIRECTORY").kill_on_drop(true);
    command.env("XDG_CACHE_HOME", site.folder.path().join("cache")).stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

/// A configuration whose plugin is a module of this shelf.
fn configured(site: &Site, shelf: &Shelf) {
    shelf.put("/mine", picks(0));
    let config =
        balanced(&https(shelf, "/mine", &picks(0))).replace("<one>", "localhost:1").replace("<two>", "localhost:2");
    let config = format!("[[listener]]\naddress = '127.0.0.1:0'\n{config}");
    std::fs::write(site.folder.path().join("gateway.toml"), config).expect("a file");
}

async fn checked(site: &Site, arguments: &[&str]) -> (bool, String) {
    let done = within("the check", command(site, arguments).output()).await.expect("to run");
    (done.status.success(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
}

#[tokio::test]
async fn a_check_fetches_plugins_or_says_that_it_has_not() {
    let (site, shelf) = (Site::new(), Shelf::over(Wire::H1Tls).await);
    configured(&site, &shelf);
    let (well, said) = checked(&site, &["check"]).await;
    assert!(well && shelf.origin().requests() == 1, "{said}");
    let (well, said) = checked(&site, &["check", "--offline"]).await;
    assert!(well && said.contains("plugin \"mine\" was not fetched") && shelf.origin().requests() == 1, "{said}");
    assert!(!site.folder.path().join("cache").exists(), "a check keeps nothing");
    shelf.put("/mine", picks(1));
    let (well, said) = checked(&site, &["check"]).await;
    assert!(!well && said.contains("gateway.toml:4:10: plugin.mine.source: https://"), "{said}");
    assert!(said.contains(&sha256(&picks(1))), "{said}");
}

#[tokio::test]
async fn a_gateway_that_is_stopped_while_it_starts_waits_for_no_plugin() {
    let (site, origin) = (Site::new(), RawOrigin::start_tls("http/1.1").await);
    let keys = format!("source = 'https://{origin}/mine'\nsha256 = '{}'\nca = 'ca.pem'", sha256(b""));
    let config = balanced(&keys).replace("<one>", "localhost:1").replace("<two>", "localhost:2");
    let config = format!("[[listener]]\naddress = '127.0.0.1:0'\n{config}");
    std::fs::write(site.folder.path().join("gateway.toml"), config).expect("a file");
    let mut gateway = command(&site, &["run"]).spawn().expect("to start");
    let mut asked = origin.accept().await;
    asked.request().await;
    let id = gateway.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(id.expect("a process"), rustix::process::Signal::TERM).expect("to signal");
    assert!(within("the end", gateway.wait()).await.expect("to end").success());
}

#[tokio::test]
async fn a_gateway_starts_again_without_its_network() {
    let (site, shelf) = (Site::new(), Shelf::over(Wire::H1Tls).await);
    configured(&site, &shelf);
    let start = async || {
        let mut gateway = command(&site, &["run"]).spawn().expect("to start");
        let mut lines = BufReader::new(gateway.stderr.take().expect("a pipe")).lines();
        let mut said = String::new();
        while let Some(line) = within("the log", lines.next_line()).await.expect("to read") {
            said += &line;
            if line.contains("listening") {
                return Ok(());
            }
        }
        Err(said)
    };
    start().await.expect("to start");
    assert_eq!(shelf.origin().requests(), 1);
    shelf.close().await;
    start().await.expect("to start");
    std::fs::remove_dir_all(site.folder.path().join("cache/gatewright/modules")).expect("a folder");
    let said = start().await.expect_err("without its plugin");
    assert!(said.contains("plugin.mine.source: https://") && said.contains("cannot connect"), "{said}");
}
