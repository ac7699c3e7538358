//! Ten thousand endpoints, of which a hundred are others each time that somebody looks: in a gateway that is a process of its own, whose memory is its own.

use std::ops::Range;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::Response;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::harness::etcd::Etcd;
use crate::harness::{Client, Origin, Raw, Wire, eventually, full, guests, within};

const MEMBERS: usize = 10_000;
const CHANGED: usize = 100;
const ROUNDS: usize = 5;

/// A gateway before the members that stand in a book.
struct Crowd {
    gateway: Child,
    address: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    folder: tempfile::TempDir,
}

/// The member with this number: all of them are one origin.
fn member(number: usize, port: &str) -> String {
    format!("127.1.{}.{}:{port}", number / 250, number % 250 + 1)
}

/// Where the members stand.
enum Book {
    File,
    Etcd(Box<Etcd>),
}

impl Book {
    /// What a pool says of it.
    fn discover(&self) -> String {
        match self {
            Book::File => "{ file = 'members.json' }".to_owned(),
            Book::Etcd(etcd) => format!("{{ etcd = ['{}'], prefix = '/crowd/' }}", etcd.url()),
        }
    }

    /// Writes the members from this one on, in the place of those that stand there.
    async fn write(&self, folder: &Path, before: Range<usize>, first: usize, port: &str) {
        let now = first..first + MEMBERS;
        let etcd = match self {
            Book::Etcd(etcd) => etcd,
            Book::File => {
                let members: Vec<String> = now.map(|number| member(number, port)).collect();
                std::fs::write(folder.join("new.json"), serde_json::to_string(&members).unwrap()).unwrap();
                return std::fs::rename(folder.join("new.json"), folder.join("members.json")).unwrap();
            }
        };
        let key = |number: usize| format!("/crowd/{number}");
        let new: Vec<_> = now.clone().filter(|number| !before.contains(number)).collect();
        let put: Vec<_> = new.into_iter().map(|number| (key(number), member(number, port))).collect();
        let gone: Vec<_> = before.filter(|number| !now.contains(number)).map(key).collect();
        etcd.change(&put, &gone).await;
    }
}

impl Crowd {
    async fn start(book: &Book, port: &str) -> Crowd {
        let folder = tempfile::tempdir().unwrap();
        book.write(folder.path(), 0..0, 0, port).await;
        let mut text = format!(
            "workers = 2\n[log]\nformat = 'json'\n[[listener]]\naddress = '127.0.0.1:0'\n[admin]\naddress = '127.0.0.1:0'\n\
             [plugin.module]\nsource = '{}'\n",
            guests::wasm("gatewright-plugin-maglev").display()
        );
        for balance in ["p2c", "maglev", "module"] {
            text += &format!(
                "[pool.{balance}]\ndiscover = {}\nbalance = '{balance}'\n\
                 [[route]]\nmatch.path = '/{balance}'\npool = '{balance}'\n",
                book.discover()
            );
        }
        std::fs::write(folder.path().join("gateway.toml"), text).unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_gatewright"));
        command.arg("run").current_dir(folder.path()).env("TMPDIR", folder.path());
        command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut gateway = command.spawn().unwrap();
        let mut lines = BufReader::new(gateway.stderr.take().unwrap()).lines();
        let (mut address, mut admin) = (None, None);
        while address.is_none() || admin.is_none() {
            let line = within("the gateway to start", lines.next_line()).await.unwrap().expect("a line of the log");
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            let told = || line["fields"]["address"].as_str()?.parse().ok();
            match line["fields"]["message"].as_str() {
                Some("listening") => address = told(),
                Some(message) if message.contains("admin address") => admin = told(),
                _ => {}
            }
        }
        // Read on, so that it is not held up.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Crowd { gateway, address: address.unwrap(), admin: admin.unwrap(), folder }
    }

    async fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut raw = Raw::connect(self.admin).await;
        raw.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await;
        let response = raw.response().await;
        (response.status(), response.text())
    }

    /// Whether the member is one of this pool.
    async fn has(&self, pool: &str, member: &str) -> bool {
        self.ask("POST", &format!("/undrain?pool={pool}&address={member}")).await.0 == 200
    }

    /// MiB of memory that it has.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_endpoints_come_and_go_and_nobody_notices() {
    nobody_notices(Book::File).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_endpoints_come_and_go_by_etcd_and_nobody_notices() {
    let Some(etcd) = Etcd::start().await else { return };
    nobody_notices(Book::Etcd(Box::new(etcd))).await;
}

/// No client request fails, each change is seen, and what is gone is forgotten.
async fn nobody_notices(book: Book) {
    let answer = |_| async { Response::new(full("hi")) };
    let origin = Origin::start_everywhere(Wire::H1, answer).await;
    let port = origin.to_string().rsplit_once(':').unwrap().1.to_owned();
    let crowd = Crowd::start(&book, &port).await;
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let asking = ["/p2c", "/maglev", "/module"].map(|path| {
        let (over, served, address) = (over.clone(), served.clone(), crowd.address);
        tokio::spawn(async move {
            let mut client = Client::connect(address, Wire::H1).await;
            while !over.load(Ordering::Relaxed) {
                let response = client.get(path).await;
                assert_eq!(response.status, 200, "{path}");
                served.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let mut memory = 0;
    for round in 1..=ROUNDS {
        let first = round * CHANGED;
        let before = first - CHANGED..first - CHANGED + MEMBERS;
        book.write(crowd.folder.path(), before, first, &port).await;
        let (gone, new) = (member(first - 1, &port), member(first + MEMBERS - 1, &port));
        for pool in ["p2c", "maglev", "module"] {
            eventually("the new member", async || crowd.has(pool, &new).await).await;
            // A registry may be told of the one before it is told of the other.
            eventually("the old one to go", async || !crowd.has(pool, &gone).await).await;
        }
        let before = served.load(Ordering::Relaxed);
        eventually("more requests", async || served.load(Ordering::Relaxed) > before + 30).await;
        // By then what is only made once has been made.
        if round == 2 {
            memory = crowd.memory();
        }
    }
    over.store(true, Ordering::Relaxed);
    for one in asking {
        within("the last request", one).await.expect("no request to fail");
    }
    let grown = crowd.memory().saturating_sub(memory);
    assert!(grown < 64, "{grown} MiB more after {ROUNDS} rounds, {memory} before");
    let metrics = crowd.ask("GET", "/metrics").await.1;
    let count = |name: &str| {
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    assert_eq!(count("gatewright_plugin_faults_total{"), 0.0);
    assert_eq!(count("gatewright_discovery_endpoints{"), 3.0 * MEMBERS as f64);
}
