//! The command: what it prints, how it ends, which signals it obeys.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::harness::{Client, Origin, Raw, RawOrigin, Wire, certs, eventually, tls, within};
use crate::orders::{fresh, large};

fn command(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewright"));
    command.args(arguments);
    within_folder(command, folder)
}

fn within_folder(mut command: Command, folder: &TempDir) -> Command {
    command.current_dir(folder.path()).env("TMPDIR", folder.path()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A folder with this `gateway.toml`.
fn folder(config: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("gateway.toml"), config).expect("a file");
    folder
}

/// Runs to the end: exit code, standard output, standard error.
async fn run(folder: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        within("the command", command(folder, arguments).output()).await.expect("to run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("a code"), text(stdout), text(stderr))
}

/// A gateway that runs as a process of its own.
struct Process {
    child: Child,
    stdout: UnboundedReceiver<String>,
    stderr: UnboundedReceiver<String>,
}

/// The lines that come out of a pipe. They are read whether somebody asks for them or not: a full pipe would hold the gateway
/// up. With the receiver goes the pipe.
fn lines_of(pipe: impl AsyncRead + Send + Unpin + 'static) -> UnboundedReceiver<String> {
    let (sender, receiver) = unbounded_channel();
    let mut lines = BufReader::new(pipe).lines();
    tokio::spawn(async move {
        loop {
            let line = tokio::select! {
                () = sender.closed() => break,
                line = lines.next_line() => line,
            };
            let Ok(Some(line)) = line else { break };
            // Nobody reads it any more: the next turn ends this.
            let _ = sender.send(line);
        }
    });
    receiver
}

impl Process {
    fn start(folder: &TempDir, arguments: &[&str]) -> Process {
        Process::of(command(folder, arguments))
    }

    fn of(mut command: Command) -> Process {
        let mut child = command.spawn().expect("to start");
        let stdout = lines_of(child.stdout.take().expect("a pipe"));
        let stderr = lines_of(child.stderr.take().expect("a pipe"));
        Process { child, stdout, stderr }
    }

    /// The next line of the log that has this text, and the first address in it.
    async fn logs(&mut self, text: &str) -> Option<SocketAddr> {
        loop {
            let line = within(text, self.stderr.recv()).await.expect("more of the log");
            if line.contains(text) {
                return address_in(&line);
            }
        }
    }

    /// The next address on standard output that one may open.
    async fn prints(&mut self) -> SocketAddr {
        loop {
            let line = within("an address", self.stdout.recv()).await.expect("more output");
            let address = line.split_once("http://").and_then(|(_, address)| address_in(address));
            if let Some(address) = address {
                return address;
            }
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &*id]).status().expect("kill");
        assert!(sent.success());
    }

    async fn ends(&mut self) -> i32 {
        let status = within("the process to end", self.child.wait()).await.expect("to wait");
        status.code().expect("a code rather than a signal")
    }
}

/// The first `127.0.0.1:PORT` in a text.
fn address_in(text: &str) -> Option<SocketAddr> {
    let rest = &text[text.find("127.0.0.1:")?..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[tokio::test]
async fn a_process_that_says_much_is_not_held_up_by_the_harness() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "head -c 200000 /dev/zero | tr '\\0' '\\n' >&2"]);
    assert_eq!(Process::of(within_folder(shell, &folder(""))).ends().await, 0);
}

const HI: &str = "[log]\nformat = 'json'\n[[listener]]\naddress = '127.0.0.1:0'\n[[route]]\nrespond = 'hi'\n";

#[tokio::test]
async fn run_serves_until_sigterm_and_lets_requests_finish() {
    let origin = RawOrigin::start().await;
    let config =
        format!("{HI}[pool.slow]\nendpoints = ['{origin}']\n[[route]]\nmatch = {{ path = '/slow' }}\npool = 'slow'\n");
    let folder = folder(&config);
    let mut gateway = Process::start(&folder, &["run"]);
    let address = gateway.logs("listening").await.expect("an address");
    assert_eq!(Client::connect(address, Wire::H1).await.get("/").await.text(), "hi");
    let mut slow = Raw::connect(address).await;
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    gateway.signal("TERM");
    eventually("the port to be closed", async || tokio::net::TcpStream::connect(address).await.is_err()).await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow").await;
    assert_eq!(slow.response().await.text(), "slow");
    drop(slow);
    assert_eq!(gateway.ends().await, 0);
}

#[tokio::test]
async fn a_second_sigterm_ends_at_once_and_is_no_failure() {
    let origin = RawOrigin::start().await;
    let config = format!(
        "[log]\nformat = 'json'\n[[listener]]\naddress = '127.0.0.1:0'\n[pool.a]\nendpoints = ['{origin}']\n[[route]]\npool = 'a'\n"
    );
    let folder = folder(&config);
    let mut gateway = Process::start(&folder, &["run"]);
    let address = gateway.logs("listening").await.expect("an address");
    let mut client = Raw::connect(address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let _upstream = origin.accept().await;
    gateway.signal("TERM");
    gateway.logs("stopping").await;
    gateway.signal("TERM");
    gateway.logs("requests that took too long were cut").await;
    assert_eq!(gateway.ends().await, 0);
}

#[tokio::test]
async fn a_drain_that_runs_out_of_time_is_no_failure() {
    let origin = RawOrigin::start().await;
    let config = format!("{HI}[pool.a]\nendpoints = ['{origin}']\n[limits]\ndrain_time = '50ms'\n")
        .replace("respond = 'hi'", "pool = 'a'");
    let folder = folder(&config);
    let mut gateway = Process::start(&folder, &["run"]);
    let mut client = Raw::connect(gateway.logs("listening").await.expect("an address")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let _upstream = origin.accept().await;
    gateway.signal("INT");
    gateway.logs("requests that took too long were cut").await;
    assert_eq!(gateway.ends().await, 0);
}

#[tokio::test]
async fn sighup_reloads_and_a_bad_file_changes_nothing() {
    let folder = folder(HI);
    let file = folder.path().join("gateway.toml");
    let mut gateway = Process::start(&folder, &["run", "--config", "gateway.toml"]);
    let address = gateway.logs("listening").await.expect("an address");
    let mut client = Client::connect(address, Wire::H1).await;
    assert_eq!(client.get("/").await.text(), "hi");
    std::fs::write(&file, HI.replace("'hi'", "'ho'")).expect("a file");
    gateway.signal("HUP");
    eventually("the new answer", async || client.get("/").await.text() == "ho").await;
    std::fs::write(&file, "nonsense = 1").expect("a file");
    gateway.signal("HUP");
    gateway.logs("nonsense").await;
    assert_eq!(client.get("/").await.text(), "ho");
}

#[tokio::test]
async fn sighup_opens_the_access_log_anew_and_no_line_is_lost() {
    const ROTATIONS: usize = 10;
    const REQUESTS: usize = 100;
    let folder = folder(&format!("{HI}[access_log]\noutput = 'access.log'\n"));
    let log = folder.path().join("access.log");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let mut gateway = Process::start(&folder, &["run"]);
    let address = gateway.logs("listening").await.expect("an address");
    let mut client = Client::connect(address, Wire::H1).await;
    client.get("/before").await;
    eventually("the first line", async || read(&log).contains("/before")).await;
    let moved = folder.path().join("access.log.0");
    std::fs::rename(&log, &moved).expect("to rename");
    gateway.signal("HUP");
    // Nobody asks for anything, so it is the signal that does it.
    eventually("a new file", async || log.exists()).await;
    client.get("/after").await;
    eventually("the second line", async || read(&log).contains("/after")).await;
    assert_eq!((read(&moved).lines().count(), read(&log).lines().count()), (1, 1));
    // While requests come.
    let mut files = vec![log.clone(), moved];
    for rotation in 0..ROTATIONS {
        let moved = folder.path().join(format!("access.log.{}", files.len()));
        std::fs::rename(&log, &moved).expect("to rename");
        files.push(moved);
        gateway.signal("HUP");
        let asking = async {
            for number in 0..REQUESTS {
                client.get(&format!("/n{}", rotation * REQUESTS + number)).await;
            }
        };
        tokio::join!(asking, eventually("a new file", async || log.exists()));
    }
    let all = || files.iter().map(|file| read(file)).collect::<String>();
    eventually("all lines", async || all().lines().count() >= 2 + ROTATIONS * REQUESTS).await;
    let all = all();
    assert_eq!(all.lines().count(), 2 + ROTATIONS * REQUESTS);
    for number in 0..ROTATIONS * REQUESTS {
        assert_eq!(all.matches(&format!("\"/n{number}\"")).count(), 1, "{number}");
    }
}

#[tokio::test]
async fn clients_leave_open_files_to_upstreams() {
    let origin = RawOrigin::start().await;
    let folder = folder(&format!(
        "workers = 1\n[log]\nformat = 'json'\n[[listener]]\naddress = '127.0.0.1:0'\n[pool.a]\n\
         endpoints = ['{origin}']\n[[route]]\npool = 'a'\n"
    ));
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -Sn 30; ulimit -Hn 200; exec \"$0\" run", env!("CARGO_BIN_EXE_gatewright")]);
    let mut gateway = Process::of(within_folder(shell, &folder));
    gateway.logs("too few open files for `limits.connections`").await;
    let address = gateway.logs("listening").await.expect("an address");
    // More than the soft limit was, fewer than clients may have.
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(Raw::connect(address).await);
    }
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(Raw::connect(address).await);
    }
    gateway.logs("connection refused").await;
    let mut upstreams = Vec::new();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut upstream = origin.accept().await;
        upstream.request().await;
        upstreams.push(upstream);
    }
    for (client, upstream) in clients.iter_mut().zip(&mut upstreams) {
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!(client.response().await.text(), "hi");
    }
}

#[tokio::test]
async fn run_says_what_is_wrong_and_ends_with_1() {
    let folder = folder("[[route]]\nresponse = 'x'\n");
    let (code, _, errors) = run(&folder, &["run"]).await;
    assert_eq!(code, 1);
    assert!(errors.contains("gateway.toml:2:1: route[0].response: ") && errors.contains("respond"), "{errors}");
    let (code, _, errors) = run(&folder, &["run", "--config", "nowhere.toml"]).await;
    assert_eq!(code, 1);
    assert!(errors.contains("nowhere.toml"), "{errors}");
}

#[tokio::test]
async fn run_names_an_address_that_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = folder(&HI.replace("127.0.0.1:0", &address));
    let (code, _, errors) = run(&folder, &["run"]).await;
    assert_eq!(code, 1);
    assert!(errors.contains(&address) && errors.contains("listener[0].address"), "{errors}");
}

#[tokio::test]
async fn check_prints_every_problem_with_its_place() {
    let good = folder(HI);
    let (code, out, errors) = run(&good, &["check"]).await;
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(out.contains("ok"), "{out}");
    let config = "
[[listener]]
adress = '127.0.0.1:0'
[pool.a]
endpoints = []
[[route]]
pool = 'b'
[limits]
idle_time = 5
";
    let bad = folder(config);
    let (code, _, errors) = run(&bad, &["check", "--config", "gateway.toml"]).await;
    assert_eq!(code, 1);
    for part in [
        "gateway.toml:3:",
        "address",
        "gateway.toml:5:",
        "pool.a.endpoints",
        "gateway.toml:7:",
        "route[0].pool",
        "gateway.toml:9:",
        "limits.idle_time",
    ] {
        assert!(errors.contains(part), "no {part} in\n{errors}");
    }
}

#[tokio::test]
async fn check_opens_the_files_that_are_named() {
    let tls = "[[listener]]\naddress = '127.0.0.1:0'\ntls = [{ certificate = 'no.pem', key = 'no.key' }]\n[[route]]\nrespond = 'x'";
    let (code, _, errors) = run(&folder(tls), &["check"]).await;
    assert_eq!(code, 1);
    assert!(errors.contains("no.pem"), "{errors}");
}

#[tokio::test]
async fn check_opens_the_files_of_plugins() {
    let folder = folder(&format!("{HI}\n[plugin.a]\nsource = 'builtin:p2c'\n[plugin.b]\nsource = 'gateway.toml'\n"));
    let (code, _, errors) = run(&folder, &["check"]).await;
    assert_eq!(code, 1);
    assert!(errors.contains("plugin.b.source: not a valid WebAssembly module"), "{errors}");
    assert!(!errors.contains("plugin.a"), "{errors}");
    let missing = format!("{HI}\n[plugin.b]\nsource = 'no.wasm'\n[plugin.c]\nsource = '.'\n");
    std::fs::write(folder.path().join("gateway.toml"), missing).expect("to write");
    let (code, _, errors) = run(&folder, &["check"]).await;
    assert_eq!(code, 1);
    assert!(errors.contains("plugin.b.source: cannot be read"), "{errors}");
    assert!(errors.contains("plugin.c.source: cannot be read: it is no file"), "{errors}");
}

#[tokio::test]
async fn a_module_that_takes_too_long_to_compile_is_given_up_at_the_start() {
    let text = format!("{HI}\n[plugin.b]\nsource = 'b.wasm'\n[limits]\nplugin_compile_time = '50ms'\n");
    let folder = folder(&text);
    std::fs::write(folder.path().join("b.wasm"), fresh(large())).expect("to write");
    for command in ["check", "run"] {
        let (code, _, errors) = run(&folder, &[command]).await;
        assert_eq!(code, 1);
        let problem = "plugin.b.source: it was not compiled within 50ms (limits.plugin_compile_time)";
        assert!(errors.contains(problem), "{command}: {errors}");
    }
}

#[tokio::test]
async fn a_module_that_takes_too_long_to_compile_is_given_up_by_whoever_looks_at_it() {
    let folder = folder(HI);
    std::fs::write(folder.path().join("b.wasm"), large()).expect("to write");
    for command in [&["plugin", "check"][..], &["plugin", "inspect"], &["plugin", "bench"], &["sim"]] {
        let arguments = [command, &["b.wasm", "--compile-time", "50ms"]].concat();
        let (code, out, errors) = run(&folder, &arguments).await;
        assert_eq!((code, &*out), (1, ""), "{command:?}: {errors}");
        assert!(errors.contains("b.wasm: it was not compiled within 50ms"), "{command:?}: {errors}");
    }
}

#[tokio::test]
async fn a_configuration_may_be_named_without_its_option() {
    let folder = folder(HI);
    std::fs::write(folder.path().join("other.toml"), "listen = 1").expect("to write");
    for command in ["check", "run"] {
        let (code, _, errors) = run(&folder, &[command, "other.toml"]).await;
        assert_eq!(code, 1, "{command}: {errors}");
        assert!(errors.contains("other.toml:1:"), "{command}: {errors}");
        // One of the two would be forgotten.
        let (code, _, errors) = run(&folder, &[command, "other.toml", "--config", "gateway.toml"]).await;
        assert_eq!(code, 2, "{command}: {errors}");
    }
    let (code, out, errors) = run(&folder, &["check", "gateway.toml"]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(out.starts_with("gateway.toml: ok: "), "{out}");
}

#[tokio::test]
async fn check_looks_at_files_although_the_text_is_wrong_and_tells_each_once() {
    let config = "
[[listener]]
address = 'here'
tls = [{ certificate = 'no.pem', key = 'no.key' }]
[[listener]]
address = '127.0.0.1:0'
tls = { certificates = [{ certificate = 'no.pem', key = 'no.key' }], client = { ca = 'no-ca.pem' } }
[[route]]
static = 'no-folder'
[[route]]
match = { path = '/{x}/{x}' }
static = 'gateway.toml'
[access_log]
output = 'no-folder/access.log'
[limits]
idle_time = 'long'
";
    let folder = folder(config);
    let (code, _, errors) = run(&folder, &["check"]).await;
    assert_eq!(code, 1);
    let places: Vec<&str> = errors.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    let expected = [
        "listener[0].address:",
        "listener[0].tls[0].certificate:",
        "listener[0].tls[0].key:",
        "listener[1].tls.client.ca:",
        "route[0].static:",
        "route[1].match.path:",
        "route[1].static:",
        "access_log.output:",
        "limits.idle_time:",
    ];
    assert_eq!(places, expected, "{errors}");
    let (code, _, run_errors) = run(&folder, &["run"]).await;
    assert_eq!((code, run_errors), (1, errors));
    // Nothing is made, either when something is wrong or when all is well.
    let good = format!("{HI}[access_log]\noutput = 'access.log'\n");
    std::fs::write(folder.path().join("gateway.toml"), good).expect("a file");
    assert_eq!(run(&folder, &["check"]).await.0, 0);
    assert!(!folder.path().join("access.log").exists());
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_warned_of() {
    let folder = folder(&HI.replace(":0'", ":0'\ntls = [{ certificate = 'old.pem', key = 'old.key' }]"));
    let mut params = certs::server(&["a.example"]);
    params.not_after = rcgen::date_time_ymd(2020, 1, 31);
    let (certificate, key) = tls::pki().ca.sign(&params, &rcgen::PKCS_ECDSA_P256_SHA256);
    write(folder.path(), "old.pem", &certificate);
    write(folder.path(), "old.key", &key);
    let (code, _, errors) = run(&folder, &["check"]).await;
    let place = "gateway.toml:5:24: listener[0].tls[0].certificate: warning: ";
    let warning = format!("{place}old.pem: a certificate in it expired on 2020-01-31 00:00 UTC");
    assert_eq!((code, errors.trim_end()), (0, &*warning));
    let mut gateway = Process::start(&folder, &["run"]);
    gateway.logs(&warning).await;
}

#[tokio::test]
async fn a_reload_tells_each_problem_with_its_place_in_a_line_of_its_own() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("an address");
    let folder = folder(&format!("{HI}[admin]\naddress = '127.0.0.1:0'\n"));
    let file = folder.path().join("gateway.toml");
    let mut gateway = Process::start(&folder, &["run"]);
    gateway.logs("listening").await;
    let fixed = format!("workers = 3\n{HI}[admin]\naddress = '127.0.0.1:1'\n[cache]\ndisk = {{ folder = 'x' }}\n")
        .replace("[log]", "[log]\nlevel = 'warn'");
    std::fs::write(&file, fixed).expect("a file");
    gateway.logs("\"message\":\"the configuration was not reloaded, the old one stays in force\"").await;
    for place in ["1:11: workers", "2:1: log", "10:11: admin.address", "12:8: cache.disk"] {
        gateway.logs(&format!("\"message\":\"gateway.toml:{place}: cannot change without a restart\"")).await;
    }
    let more = format!("{HI}[admin]\naddress = '127.0.0.1:0'\n[[listener]]\naddress = '{taken}'\n");
    std::fs::write(&file, more).expect("a file");
    gateway.logs(&format!("\"message\":\"gateway.toml:10:11: listener[1].address: cannot listen on {taken}")).await;
}

#[tokio::test]
async fn a_file_without_routes_is_warned_of() {
    let (code, out, errors) = run(&folder("[[listener]]\naddress = '127.0.0.1:0'\n"), &["check"]).await;
    assert_eq!(code, 0);
    assert!(out.contains("0 routes") && errors.contains("warning: there is no [[route]]"), "{out}{errors}");
}

#[tokio::test]
async fn backends_that_do_not_go_together_are_answered_with_the_usage_of_the_command() {
    let (code, _, errors) = run(&folder(""), &["proxy", "--to", "a:80", "--to", "https://b"]).await;
    assert_eq!(code, 2);
    assert!(errors.contains("Usage: gatewright proxy") && errors.contains("--to: some backends"), "{errors}");
}

#[tokio::test]
async fn a_route_that_can_never_win_is_warned_of() {
    let folder = folder(&format!("{HI}[[route]]\nrespond = 'never'\n"));
    let (code, out, errors) = run(&folder, &["check"]).await;
    assert_eq!(code, 0);
    assert!(out.contains("ok"), "{out}");
    assert!(errors.starts_with("gateway.toml:7:1: route[1]: warning: can never win: the route in line 5 "), "{errors}");
    let mut gateway = Process::start(&folder, &["run"]);
    gateway.logs("can never win").await;
}

#[tokio::test]
async fn schema_prints_a_json_schema() {
    let (code, out, _) = run(&folder(""), &["schema"]).await;
    assert_eq!(code, 0);
    let schema: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert!(schema["properties"]["listener"].is_object() && schema["$schema"].is_string());
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_failure() {
    let folder = folder(&format!("{HI}[[route]]\nrespond = 'never'\n"));
    let gone = || std::io::pipe().expect("a pipe").1;
    for (arguments, code) in [(["schema", "", ""], 0), (["check", "", ""], 0), (["check", "-c", "nowhere"], 1)] {
        let arguments: Vec<&str> = arguments.into_iter().filter(|argument| !argument.is_empty()).collect();
        let mut quiet = command(&folder, &arguments);
        let quiet = quiet.stdout(gone()).spawn().expect("to start");
        let ended = within("the command", quiet.wait_with_output()).await.expect("to run");
        let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!errors.contains("panicked"), "{arguments:?}: {errors}");
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {errors}");
        let mut quiet = command(&folder, &arguments);
        let quiet = quiet.stderr(gone()).spawn().expect("to start");
        let ended = within("the command", quiet.wait_with_output()).await.expect("to run");
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}");
    }
    let mut quiet = command(&folder, &["plugin", "new", "mine"]);
    let ended = within("the command", quiet.stdout(gone()).spawn().expect("to start").wait_with_output()).await;
    assert_eq!(ended.expect("to run").status.code(), Some(0));
}

#[tokio::test]
async fn a_gateway_runs_on_when_nobody_reads_its_log() {
    let folder = folder(HI);
    let mut gateway = Process::start(&folder, &["run"]);
    let address = gateway.logs("listening").await.expect("an address");
    let Process { mut child, stdout: _stdout, stderr } = gateway;
    drop(stderr);
    let file = folder.path().join("gateway.toml");
    let mut client = Client::connect(address, Wire::H1).await;
    for text in ["ho", "hu"] {
        std::fs::write(&file, HI.replace("'hi'", &format!("'{text}'"))).expect("a file");
        eventually("the reload", async || client.get("/").await.text() == text).await;
    }
    assert_eq!(child.try_wait().expect("to ask"), None);
}

#[tokio::test]
async fn reload_orders_and_tells() {
    // A port that was free a moment ago.
    let admin = RawOrigin::start().await.to_string();
    let folder = folder(&format!("{HI}[admin]\naddress = '{admin}'\n"));
    let mut gateway = Process::start(&folder, &["run"]);
    let address = gateway.logs("listening").await.expect("an address");
    let file = folder.path().join("gateway.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text.replace("'hi'", "'ho'")).expect("a file");
    let (code, out, errors) = run(&folder, &["reload"]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(out.contains("reloaded"), "{out}");
    assert_eq!(Client::connect(address, Wire::H1).await.get("/").await.text(), "ho");
    std::fs::write(&file, "nonsense = 1").expect("a file");
    let (code, _, errors) = run(&folder, &["reload", "--admin", &admin]).await;
    assert_eq!(code, 1);
    assert!(errors.contains("nonsense"), "{errors}");
}

#[tokio::test]
async fn renewed_certificates_are_told() {
    let folder = folder(&HI.replace(":0'", ":0'\ntls = [{ certificate = 'server.pem', key = 'server.key' }]"));
    tls::write_files(folder.path());
    let mut gateway = Process::start(&folder, &["run"]);
    gateway.logs("listening").await;
    let (certificate, key) = certs::issue(&tls::pki().ca, &[tls::NAME]);
    // The pair is not one until both are written; a look in between leaves the old one in force.
    write(folder.path(), "server.key", &key);
    write(folder.path(), "server.pem", &certificate);
    gateway.logs("\"changes\":\"certificates renewed: server.pem\"").await;
    // The same once more is no news.
    gateway.signal("HUP");
    gateway.logs("nothing changed in the configuration").await;
}

#[tokio::test]
async fn reload_says_when_nobody_listens() {
    let address = RawOrigin::start().await.to_string();
    let (code, _, errors) = run(&folder(HI), &["reload", "--admin", &format!("http://{address}/")]).await;
    assert_eq!(code, 1);
    assert!(errors.contains(&address) && !errors.contains("SIGHUP"), "{errors}");
    let (code, _, errors) = run(&folder(HI), &["reload", "--admin", &format!("https://{address}")]).await;
    assert_eq!(code, 2);
    assert!(errors.contains("speaks http") && !errors.contains("tls"), "{errors}");
    let changed = folder(&format!("{HI}[admin]\naddress = '{address}'\n"));
    let (code, _, errors) = run(&changed, &["reload"]).await;
    assert_eq!(code, 1);
    assert!(errors.contains(&address) && errors.contains("--admin") && errors.contains("SIGHUP"), "{errors}");
    let (code, _, errors) = run(&folder(HI), &["reload"]).await;
    assert_eq!(code, 1);
    assert!(errors.contains("admin"), "{errors}");
}

#[tokio::test]
async fn serve_serves_a_folder() {
    let folder = folder("");
    write(folder.path(), "a.txt", "hello");
    let mut gateway = Process::start(&folder, &["serve", ".", "--listen", "127.0.0.1:0", "--listing"]);
    let mut client = Client::connect(gateway.prints().await, Wire::H1).await;
    assert_eq!(client.get("/a.txt").await.text(), "hello");
    assert!(client.get("/").await.text().contains("a.txt"));
    gateway.signal("INT");
    assert_eq!(gateway.ends().await, 0);
}

#[tokio::test]
async fn serve_says_when_there_is_no_such_folder() {
    let (code, _, errors) = run(&folder(""), &["serve", "nowhere", "--access-log", "no/log"]).await;
    assert_eq!(code, 1);
    assert!(errors.contains("DIRECTORY: ") && errors.contains("nowhere is not a folder"), "{errors}");
    assert!(errors.contains("--access-log: cannot write there"), "{errors}");
}

#[tokio::test]
async fn proxy_passes_on() {
    let origin = Origin::echo().await;
    let to = origin.to_string();
    let folder = folder("");
    let mut gateway = Process::start(&folder, &["proxy", "--to", &to, "--listen", "127.0.0.1:0"]);
    let mut client = Client::connect(gateway.prints().await, Wire::H2).await;
    assert_eq!(client.get("/x").await.seen()["target"], "/x");
}

#[tokio::test]
async fn proxy_verifies_backends_over_https() {
    let origin = Origin::start(Wire::H1Tls, crate::harness::echo).await;
    let backend = format!("https://{origin}/");
    let folder = folder("");
    tls::write_files(folder.path());
    let arguments = ["proxy", "--to", &backend, "--listen", "127.0.0.1:0"];
    let mut unverified = Process::start(&folder, &arguments);
    let mut client = Client::connect(unverified.prints().await, Wire::H1).await;
    assert_eq!(client.get("/").await.status, 502);
    let more = ["--upstream-ca", "ca.pem", "--access-log", "access.log"];
    let mut gateway = Process::start(&folder, &[&arguments[..], &more].concat());
    let mut client = Client::connect(gateway.prints().await, Wire::H1).await;
    let headers = client.get("/x").await.seen()["headers"].to_string();
    assert!(headers.contains(&origin.to_string()), "{headers}");
    let log = folder.path().join("access.log");
    eventually("a line", async || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("\"/x\""))).await;
}

#[tokio::test]
async fn an_access_log_on_standard_output_is_alone_there() {
    let folder = folder("");
    write(folder.path(), "a.txt", "hello");
    let mut gateway = Process::start(&folder, &["serve", ".", "--listen", "127.0.0.1:0", "--access-log", "stdout"]);
    let address = gateway.logs("http://").await.expect("an address");
    assert_eq!(Client::connect(address, Wire::H1).await.get("/a.txt").await.text(), "hello");
    let line = within("a line", gateway.stdout.recv()).await.expect("a line");
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["target"], "/a.txt");
}

#[tokio::test]
async fn what_is_wrong_without_a_file_is_told_by_the_option() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let folder = folder("");
    for (arguments, code, expected) in [
        (&["serve", ".", "--listen", &taken][..], 1, "--listen: cannot listen on "),
        (&["serve", "gateway.toml"], 1, "DIRECTORY: "),
        (&["serve", ".", "--access-log", "no/a.log"], 1, "--access-log: cannot write there: "),
        (&["proxy", "--to", "https://a", "--upstream-ca", "no.pem"], 1, "--upstream-ca: no.pem: "),
        (&["proxy", "--to", "a:80", "--to", "A:80"], 2, "--to: A:80 is given twice"),
        (&["proxy", "--to", "a:80", "--to", "https://b"], 2, "--to: some backends are https:// and some are not"),
        (&["proxy", "--to", "a:80", "--upstream-ca", "no.pem"], 2, "--upstream-ca: "),
        (&["proxy", "--to", "a"], 2, "write \"a:80\""),
    ] {
        let (ended, _, errors) = run(&folder, arguments).await;
        assert_eq!(ended, code, "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{errors}");
        for foreign in ["command line", "listener[", "pool.", "route[", "access_log"] {
            assert!(!errors.contains(foreign), "{errors}");
        }
    }
}

#[tokio::test]
async fn demo_shows_a_site_and_an_api() {
    let folder = folder("");
    let mut gateway = Process::start(&folder, &["demo", "--port", "0"]);
    let site = gateway.prints().await;
    let mut client = Client::connect(site, Wire::H1).await;
    let page = client.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert_eq!(client.get("/api/hello").await.status, 200);
    gateway.signal("TERM");
    drop(client);
    assert_eq!(gateway.ends().await, 0);
}

#[tokio::test]
async fn wrong_arguments_end_with_2() {
    for arguments in [&["fly"][..], &["run", "--fast"], &["proxy"], &["serve", ".", "--listen", "here"]] {
        let (code, _, errors) = run(&folder(""), arguments).await;
        assert_eq!(code, 2, "{arguments:?}");
        assert!(errors.contains("--help"), "{errors}");
    }
}

#[tokio::test]
async fn addresses_in_arguments_are_answered_with_what_to_write() {
    for (arguments, expected) in [
        (&["serve", ".", "--listen", ":8080"][..], "\"[::]:8080\""),
        (&["proxy", "--to", "a:80", "--listen", "localhost:8080"], "write \"127.0.0.1:8080\""),
        (&["serve", ".", "--listen", "::1:8085"], "write \"[::1]:8085\""),
        (&["reload", "--admin", "9901"], "\"127.0.0.1:9901\""),
    ] {
        let (code, _, errors) = run(&folder(""), arguments).await;
        assert_eq!(code, 2, "{arguments:?}");
        assert!(errors.contains(expected), "{errors}");
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a file");
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nobody() {
    let folder = folder(&format!("{HI}[admin]\naddress = '127.0.0.1:0'\n"));
    let mut child = command(&folder, &["run"]).spawn().expect("to start");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut next = async |text: &str| loop {
        let line = within(text, lines.next_line()).await.expect("to read").expect("more of the log");
        if line.contains(text) {
            return line;
        }
    };
    let admin = address_in(&next("at the admin address").await).expect("an address");
    let address = address_in(&next("\"listening\"").await).expect("an address");
    let wrong: String = (0..1000).map(|number| format!("wrong-{number} = 1\n")).collect();
    std::fs::write(folder.path().join("gateway.toml"), wrong).expect("a file");
    // Each leaves many lines; what a pipe and we hold is full long before the last.
    for _ in 0..100 {
        let mut raw = Raw::connect(admin).await;
        raw.send("POST /reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
        assert_eq!(raw.response().await.status(), 422);
    }
    assert_eq!(Client::connect(address, Wire::H1).await.get("/").await.text(), "hi");
    // What was dropped is told when somebody reads again.
    next("lines of this log were dropped").await;
}
