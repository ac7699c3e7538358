//! The way of an author, as one would type it: a new crate, its tests, its module, and the module in a gateway.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::modules::plugin;
use crate::harness::{Gateway, Origin, Wire, guests};

/// Compiled once for all tests and runs: what a new crate depends on is always the same.
fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/authors")
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env("CARGO_TARGET_DIR", target());
    command.output().expect("to start")
}

fn gatewright(arguments: &[&str], folder: &Path) -> (bool, String) {
    let done = run(env!("CARGO_BIN_EXE_gatewright"), arguments, folder);
    (done.status.success(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn from_an_empty_folder_to_a_balancer_that_serves_and_to_the_next_and_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (done, text) = gatewright(&["plugin", "new", "mine"], folder.path());
    assert!(done && text.contains("[plugin.mine]\n"), "{text}");
    let krate = folder.path().join("mine");
    let (done, text) = gatewright(&["plugin", "test"], &krate);
    assert!(done && text.contains("the module says the same to all 3 calls of 1 test\n"), "{text}");
    let (done, text) = gatewright(&["plugin", "build"], &krate);
    assert!(done && text.contains("mine.wasm: balancer, ") && text.contains("sha256: "), "{text}");
    let (done, text) = gatewright(&["plugin", "check", "mine.wasm", "--config", "{\"most\": 5}"], &krate);
    assert!(done && text.contains("pick: 1000 calls"), "{text}");
    let (done, text) = gatewright(&["plugin", "check", "mine.wasm", "--config", "{\"most\": \"x\"}"], &krate);
    assert!(!done && text.contains("config: most: invalid type: string \"x\", expected u32"), "{text}");

    let simulate =
        ["sim", "mine.wasm", "builtin:p2c", "--scenario", "slow", "--requests", "2000", "--report", "r.html"];
    let (done, text) = gatewright(&simulate, &krate);
    assert!(done && text.contains("slow: ten backends, one of them ten times slower"), "{text}");
    assert!(std::fs::read_to_string(krate.join("r.html")).expect("a report").contains("</html>"));

    let (one, two) = (Origin::says("one").await, Origin::says("two").await);
    let module = std::fs::read(krate.join("mine.wasm")).expect("a module");
    let text = "
        [plugin.mine]
        source = 'mine.wasm'
        [pool.a]
        endpoints = ['127.0.0.1:1', '<one>', '<two>']
        balance = 'mine'
        [[route]]
        pool = 'a'
        [admin]
        address = '127.0.0.1:0'";
    let gateway = Gateway::of(text).with("one", &one).with("two", &two).file("mine.wasm", module).start_file().await;
    let mut client = gateway.client(Wire::H1).await;
    // The first endpoint is as little busy as the others, and refuses: the second try is for one that was not tried.
    assert_eq!(client.get("/").await.text(), "one");

    // Another idea, tried while requests come.
    let source = krate.join("src/lib.rs");
    let old = std::fs::read_to_string(&source).expect("a source");
    let new = old.replace(".min_by_key(|endpoint| endpoint.active())", ".last()");
    assert_ne!(old, new);
    std::fs::write(&source, new).expect("to write");
    let (done, text) = gatewright(&["plugin", "build"], &krate);
    assert!(done, "{text}");
    let admin = gateway.admin_address().to_string();
    let order = |arguments: &[&str]| {
        let arguments = [&["plugin"], arguments, &["--admin", &admin]].concat();
        gatewright(&arguments, &krate)
    };
    let mut busy = gateway.client(Wire::H1).await;
    let traffic = tokio::spawn(async move {
        loop {
            assert_eq!(busy.get("/").await.status, 200);
        }
    });
    let (done, text) =
        tokio::task::block_in_place(|| order(&["push", "mine", "mine.wasm", "--canary", "50%", "--for", "100ms"]));
    assert!(done && text.contains("on trial (canary)") && text.contains(" is in force\n"), "{text}");
    traffic.abort();
    assert_eq!(client.get("/").await.text(), "two");
    let (done, text) = tokio::task::block_in_place(|| order(&["rollback", "mine"]));
    assert!(done, "{text}");
    assert_eq!(client.get("/").await.text(), "one");
}

#[test]
fn the_other_kinds_build_too_and_what_is_wrong_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    for kind in ["router", "filter"] {
        let (done, text) = gatewright(&["plugin", "new", kind, "--kind", kind], folder.path());
        assert!(done, "{text}");
        let (done, text) = gatewright(&["plugin", "test", kind], folder.path());
        assert!(done && text.contains("the module says the same to all 3 calls of 1 test\n"), "{text}");
        let (done, text) = gatewright(&["plugin", "build", kind], folder.path());
        assert!(done && text.contains(&format!("{kind}.wasm: {kind}, ")), "{text}");
    }
    // Each call that does something is tried, and what it wants is told.
    let (done, text) = gatewright(&["plugin", "check", "filter/filter.wasm"], folder.path());
    for words in [
        "  on_request: 1000 calls, ",
        "the last: answered with 401; ",
        "  on_response: 1000 calls, ",
        "; response: remove server\n",
    ] {
        assert!(done && text.contains(words) && !text.contains("on_fetch: 1000"), "{text}");
    }
    let late = plugin("", r#"(func (export "gw_on_response") (result i64) unreachable)"#);
    std::fs::write(folder.path().join("late.wasm"), late).expect("to write");
    let (done, text) = gatewright(&["plugin", "check", "late.wasm"], folder.path());
    assert!(!done && text.contains("on_response: trap"), "{text}");
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero.toml")).expect("a link");
    for (arguments, words) in [
        (&["plugin", "new", "router"][..], "router is there already"),
        (&["plugin", "new", "No Name"], "is no name for a crate"),
        (&["plugin", "build", "nowhere"], "nowhere/Cargo.toml is not there: this is no crate"),
        (&["plugin", "check", "router/Cargo.toml"], "not a valid WebAssembly module"),
        (&["plugin", "check", "none.wasm"], "none.wasm: No such file"),
        (&["plugin", "inspect", "router"], "router: "),
        // What gives bytes without an end.
        (&["plugin", "inspect", "/dev/zero"], "/dev/zero: has more than the 16777216 bytes"),
        (&["sim", "--scenario", "zero.toml"], "zero.toml: it has more than the 1048576 bytes"),
    ] {
        let (done, text) = gatewright(arguments, folder.path());
        assert!(!done && text.contains(words), "{arguments:?}: {text}");
    }
}

#[test]
fn a_module_is_asked_what_its_source_was_asked_and_where_they_differ_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let (done, text) = gatewright(&["plugin", "new", "anything"], folder.path());
    assert!(done, "{text}");
    std::fs::write(folder.path().join("anything/src/lib.rs"), include_str!("authors/anything.rs")).expect("a source");
    let (done, text) =
        gatewright(&["plugin", "test", "anything", "--", "--lib", "--", "--skip", "width"], folder.path());
    assert!(
        done && text.contains("the module says the same to all ") && text.contains(" calls of 5 tests\n"),
        "{text}"
    );
    // Natively an address has 64 bits.
    let (done, text) = gatewright(&["plugin", "test", "anything", "--", "--lib"], folder.path());
    let told = "tests::width: the module does not do what its source does natively
  call 2: a pick, of anything::Anything, anything::Anything, anything::Anything
  natively:       endpoint 1
  in the gateway: endpoint 0
  config:         {\"how\": \"width\"}
  request:        GET http://shop.example/cart
  endpoint 0:     10.0.0.1:80 id=";
    assert!(!done && text.contains(told), "{text}");
    let (done, text) = gatewright(&["plugin", "test", "anything", "--", "--lib", "--", "nothing"], folder.path());
    assert!(!done && text.contains("no test uses gatewright_sdk::mock"), "{text}");
}

#[test]
fn what_a_call_costs_is_told_for_both_forms() {
    let module = guests::wasm("gatewright-plugin-p2c");
    let file = module.to_str().expect("a path");
    let here = Path::new(".");
    let (done, text) = gatewright(&["plugin", "bench", file, "--calls", "300", "--json"], here);
    let told: Value = serde_json::from_str(&text).expect("JSON");
    assert!(done && told["calls"] == 300 && told["sha256"].as_str().is_some_and(|hash| hash.len() == 64), "{text}");
    let results = told["results"].as_array().expect("results");
    let of = |row: &Value| (row["endpoints"].as_u64(), row["form"].as_str().map(str::to_owned));
    let expected =
        [3, 30, 300].into_iter().flat_map(|size| ["wasm", "native"].map(|form| (Some(size), Some(form.to_owned()))));
    assert!(results.iter().map(of).eq(expected), "{text}");
    for row in results {
        let ns = |name: &str| row[name].as_u64().expect("a number");
        assert!(ns("p50_ns") <= ns("p90_ns") && ns("p90_ns") <= ns("p99_ns") && ns("p99_ns") <= ns("most_ns"), "{row}");
        let buckets = row["histogram"].as_array().expect("buckets");
        assert_eq!(buckets.iter().filter_map(|bucket| bucket["calls"].as_u64()).sum::<u64>(), 300, "{row}");
    }
    let filter = guests::wasm("maintenance");
    let config = r#"{"key": "open sesame", "retry_after": 1}"#;
    let filter = filter.to_str().expect("a path");
    let (done, text) = gatewright(&["plugin", "bench", filter, "--calls", "300", "--config", config], here);
    let rows: Vec<&str> = text.lines().filter(|line| line.contains(" wasm ")).collect();
    assert!(
        done && rows.len() == 2 && rows[0].starts_with("on_request ") && rows[1].starts_with("on_response "),
        "{text}"
    );
    for (arguments, words) in [
        (&["plugin", "bench", filter, "--calls", "300"][..], "config: missing field `key`"),
        (&["plugin", "bench", filter, "--config", "[]"], "--config is no JSON object"),
        (&["plugin", "bench", filter, "--calls", "0"], "0 is not in 1..=10000000"),
    ] {
        let (done, text) = gatewright(arguments, here);
        assert!(!done && text.contains(words), "{arguments:?}: {text}");
    }
}

#[test]
fn what_a_module_wants_is_told_and_what_for() {
    let module = guests::wasm("tenants");
    let file = module.to_str().expect("a path");
    let (done, text) = gatewright(&["plugin", "inspect", file], Path::new("."));
    assert!(done && text.starts_with(&format!("{file}: router, ")), "{text}");
    for line in [
        "  interface: version 1",
        "    request_text         reads method, scheme, host, path, query, client and TLS of the request",
        "    metric_add           counts in a metric",
        "    gw_route             picks routes and pools",
    ] {
        assert!(text.lines().any(|told| told == line), "{line:?} in {text}");
    }
    assert!(!text.contains("reads of endpoints"), "{text}");
    let (done, text) = gatewright(&["plugin", "inspect", file, "--json"], Path::new("."));
    let told: Value = serde_json::from_str(&text).expect("JSON");
    assert!(done && told["kinds"] == serde_json::json!(["router"]) && told["abi"] == 1, "{text}");
    let module = guests::wasm("gatewright-plugin-p2c");
    let (_, text) = gatewright(&["plugin", "inspect", module.to_str().expect("a path")], Path::new("."));
    assert!(text.contains("    active               requests under way, before each pick\n"), "{text}");
}
