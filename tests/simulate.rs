//! `gatewright sim`, run as the command that it is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::guests;
use crate::harness::modules::plugin;

/// Runs it to its end: whether it went well, standard output, standard error.
fn sim(folder: &TempDir, arguments: &[&str]) -> (bool, String, String) {
    // It takes all processors that there are: one at a time leaves some of them to the other tests.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewright"));
    let done = command.arg("sim").args(arguments).current_dir(folder.path()).output().expect("to start");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (done.status.success(), text(done.stdout), text(done.stderr))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// The results of these plugins in this scenario, as JSON.
fn results(folder: &TempDir, arguments: &[&str]) -> Vec<Value> {
    let (done, out, errors) = sim(folder, &[&["--json"], arguments].concat());
    assert!(done, "{errors}");
    let all: Value = serde_json::from_str(&out).expect("JSON");
    all["scenarios"][0]["results"].as_array().expect("results").clone()
}

/// A plugin in the text format that traps at this call.
fn traps(folder: &TempDir, name: &str, call: &str) -> PathBuf {
    let does = |this: &str, otherwise: &str| if this == call { "unreachable".to_owned() } else { otherwise.to_owned() };
    let body = format!(
        r#"(func (export "gw_configure") (param i32 i32 i32) (result i64) {})
        (func (export "gw_pick") (param i32) (result i64) {})"#,
        does("configure", "(i64.const 0)"),
        does("pick", "(i64.const 0)")
    );
    let file = folder.path().join(format!("{name}.wasm"));
    std::fs::write(&file, plugin("", &body)).expect("a file");
    file
}

#[test]
fn with_one_slow_backend_the_less_busy_of_two_beats_taking_turns() {
    let results = results(&folder(), &["builtin:p2c", "builtin:round-robin", "--scenario", "slow", "-n", "10000"]);
    let [p2c, turns] = &results[..] else { panic!("{results:?}") };
    let p99 = |result: &Value| result["p99"].as_u64().expect("a time");
    assert!(p99(p2c) * 2 < p99(turns), "{} and {}", p99(p2c), p99(turns));
    assert_eq!((&p2c["best"], &turns["best"]), (&true.into(), &false.into()));
    assert_eq!((&p2c["plugin"], &p2c["error_rate"]), (&"p2c".into(), &0.0.into()));
    let slow = |result: &Value| result["endpoints"][9]["share"].as_f64().expect("a share");
    assert!(slow(p2c) < 0.04 && (0.09..0.11).contains(&slow(turns)), "{} and {}", slow(p2c), slow(turns));
}

#[test]
fn the_same_seed_gives_the_same_report_to_the_byte() {
    let folder = folder();
    let told = |seed: &str, form: &[&str]| {
        let arguments = ["--seed", seed, "-n", "2000", "--scenario", "gateways", "--scenario", "flapping"];
        let (done, out, errors) = sim(&folder, &[&arguments[..], form].concat());
        assert!(done, "{errors}");
        out
    };
    assert_eq!(told("7", &["--json"]), told("7", &["--json"]));
    // The report names the seed; what it tells of is another run, too.
    let results =
        |seed: &str| serde_json::from_str::<Value>(&told(seed, &["--json"])).expect("JSON")["scenarios"].clone();
    assert_ne!(results("7"), results("8"));
    let page = |name: &str| {
        let text = told("7", &["--report", name]);
        (text, std::fs::read_to_string(folder.path().join(name)).expect("a page"))
    };
    assert_eq!(page("one.html"), page("two.html"));
}

#[test]
fn a_module_decides_as_the_same_source_does_that_is_linked_in() {
    let folder = folder();
    let balancers = guests::stock();
    let balancers = balancers.iter().filter(|(name, _)| gatewright::stock::balancer(name).is_some());
    let pairs: Vec<[String; 2]> =
        balancers.map(|(name, module)| [module.display().to_string(), format!("builtin:{name}")]).collect();
    let contenders = pairs.as_flattened().iter().map(String::as_str);
    let scenarios = ["--scenario", "sizes", "--scenario", "flapping", "--scenario", "gateways"];
    let arguments: Vec<&str> = contenders.chain(scenarios).chain(["--json", "--seed", "11", "-n", "600"]).collect();
    let (done, out, errors) = sim(&folder, &arguments);
    assert!(done, "{errors}");
    let told: Value = serde_json::from_str(&out).expect("JSON");
    for scenario in told["scenarios"].as_array().expect("scenarios") {
        let mut results = scenario["results"].as_array().expect("results").clone();
        results.iter_mut().for_each(|result| result["plugin"] = Value::Null);
        for (pair, results) in pairs.iter().zip(results.chunks_exact(2)) {
            assert_eq!(results[0], results[1], "{}: {}", pair[1], scenario["name"]);
            assert!(results[0]["faults"].as_object().is_none_or(|faults| faults.is_empty()), "{}", results[0]);
        }
    }
    let retries = &told["scenarios"][1]["results"][0]["retries"];
    assert!(retries.as_u64() > Some(0), "retries are shown to it too");
}

#[test]
fn who_looks_at_latency_serves_the_slowest_hundredth_twice_as_fast_when_one_backend_is_slow() {
    let names = ["peak-ewma", "prequal", "fastest", "least-requests", "round-robin"];
    let names = names.map(|name| format!("builtin:{name}"));
    let arguments: Vec<&str> = names.iter().map(String::as_str).chain(["--scenario", "slow", "-n", "10000"]).collect();
    let results = results(&folder(), &arguments);
    let p99 = |place: usize| results[place]["p99"].as_u64().expect("a time");
    let (least, turns) = (p99(3), p99(4));
    for place in 0..3 {
        let found = p99(place);
        assert!(found * 2 <= turns && found < least, "{}: {found}, {least}, {turns}", names[place]);
        assert_eq!(results[place]["error_rate"], 0.0);
    }
}

#[test]
fn a_plugin_that_traps_is_reported_and_the_fallback_serves() {
    let folder = folder();
    traps(&folder, "bad", "pick");
    let arguments = ["bad.wasm", "builtin:p2c", "--scenario", "equal", "-n", "3000"];
    let results = results(&folder, &arguments);
    let bad = &results[0];
    assert_eq!((&bad["faults"]["trap"], &bad["quarantined_gateways"]), (&21.into(), &1.into()));
    assert_eq!((&bad["without_plugin"], &bad["error_rate"]), (&3000.into(), &0.0.into()));
    let (done, out, _) = sim(&folder, &arguments);
    assert!(done && out.contains("bad: faults of the plugin: trap 21, absent "), "{out}");
    assert!(out.contains("bad: 1 gateway stopped calling it"), "{out}");
}

#[test]
fn a_plugin_that_cannot_be_started_does_not_end_the_others() {
    let folder = folder();
    traps(&folder, "bad", "configure");
    let (done, out, errors) = sim(&folder, &["bad.wasm", "builtin:p2c", "--scenario", "few", "-n", "1000"]);
    assert!(!done && errors.contains("1 of 2 runs could not be started"), "{errors}");
    assert!(out.contains("not started: gw_configure: it trapped"), "{out}");
    assert!(out.lines().any(|line| line.starts_with("  p2c ") && line.ends_with('*')), "{out}");
}

#[test]
fn what_is_not_there_is_refused_with_what_was_meant() {
    let folder = folder();
    std::fs::write(folder.path().join("none.toml"), "load = 0.5\n").expect("a file");
    std::fs::write(folder.path().join("wrong.toml"), "[[backend]]\nslwo = 3\n").expect("a file");
    for (arguments, words) in [
        (&["--scenario", "flaping"][..], "there is no scenario \"flaping\"; did you mean \"flapping\"?"),
        (&["--scenario", "zebra"], "there are equal, slow, failing,"),
        (&["--scenario", "absent.toml"], "absent.toml: No such file"),
        (&["--scenario", "none.toml"], "none.toml: there is no backend"),
        (&["--scenario", "wrong.toml"], "unknown field `slwo`"),
        (&["--scenario", "slow", "--endpoints", "1"], "scenario slow: it needs more than 1 endpoint"),
        (&["--scenario", "slow", "--gateways", "0"], "gateways takes 1 to 100"),
        (&["builtin:p3c"], "there is no built-in \"p3c\"; did you mean \"p2c\"?"),
        (&["absent.wasm"], "absent.wasm: No such file"),
        (&["none.toml"], "none.toml: not a valid WebAssembly module"),
        (&["builtin:p2c", "--config", "[1]"], "--config is no JSON object"),
        (&["builtin:p2c", "--config", "{}", "--config", "{}"], "--config is given 2 times for 1 plugins"),
        (&["--requests", "0"], "invalid value '0'"),
    ] {
        let (done, out, errors) = sim(&folder, arguments);
        assert!(!done && errors.contains(words), "{arguments:?}: {errors}");
        assert_eq!(out, "", "{arguments:?}");
    }
}

#[test]
fn a_configuration_reaches_the_module_it_is_for() {
    let module = guests::wasm("fastest");
    let (folder, module) = (folder(), module.to_str().expect("a path"));
    let run = |config: &[&str]| {
        let arguments = [&[module, "builtin:p2c", "--scenario", "few", "-n", "500"], config].concat();
        sim(&folder, &arguments)
    };
    let (done, out, errors) = run(&["--config", "{\"spare\": 50}"]);
    assert!(done && out.contains("fastest: ") && out.contains("{\"spare\": 50}"), "{out}{errors}");
    let (done, out, _) = run(&["--config", "{\"spare\": \"x\"}"]);
    assert!(!done && out.contains("not started: config: spare: invalid type: string \"x\""), "{out}");
}

#[test]
fn all_scenarios_run_when_none_is_named_and_a_table_compares() {
    let folder = folder();
    let (done, listed, _) = sim(&folder, &["--list"]);
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(done && names.contains(&"cold-start") && names.len() >= 10, "{listed}");
    let (done, out, errors) = sim(&folder, &["-n", "300"]);
    assert!(done, "{errors}");
    let (_, table) = out.split_once("all scenarios: p99").expect("a table of all");
    assert!(names.iter().all(|name| table.contains(&format!("\n  {name} "))), "{table}");
    assert!(table.contains(" *") && out.is_ascii(), "{out}");
}

#[test]
fn endpoints_and_gateways_can_be_others() {
    let folder = folder();
    traps(&folder, "bad", "pick");
    let results =
        results(&folder, &["bad.wasm", "--scenario", "slow", "--endpoints", "1000", "--gateways", "3", "-n", "20000"]);
    assert_eq!(results[0]["endpoints"].as_array().map(Vec::len), Some(1000));
    assert_eq!(results[0]["quarantined_gateways"], 3);
}

#[test]
fn the_scenario_of_the_example_runs() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/simulation/checkout.toml");
    let results = results(&folder(), &["--scenario", file.to_str().expect("a path"), "-n", "5000"]);
    assert_eq!(results.len(), gatewright::stock::BALANCERS.len());
    assert!(results[0]["retries"].as_u64() > Some(0), "one of its backends restarts");
}

#[test]
fn the_page_is_well_formed_and_needs_nothing_else() {
    let folder = folder();
    traps(&folder, "a&b<c>\"d", "configure");
    let scenario = "name = '<b>&'\nabout = '\"x\" <script>'\n[[backend]]\nname = '<i>'\n[[backend]]\n";
    std::fs::write(folder.path().join("odd.toml"), scenario).expect("a file");
    let arguments =
        ["a&b<c>\"d.wasm", "builtin:p2c", "builtin:round-robin", "--scenario", "odd.toml", "--scenario", "many"];
    sim(&folder, &[&arguments[..], &["-n", "1000", "--report", "page.html"]].concat());
    let page = std::fs::read_to_string(folder.path().join("page.html")).expect("a page");
    for outside in ["http:", "https:", "src=", "url(", "@import", "<script", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let body = page.strip_prefix("<!DOCTYPE html>").expect("a page");
    let mut open: Vec<&str> = Vec::new();
    for (number, piece) in body.split('<').enumerate() {
        let (tag, text) = piece.split_once('>').unwrap_or(("", piece));
        assert!(!text.contains('>') || open.last() == Some(&"style"), "{piece}");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().expect("a name");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        match (tag.starts_with('/'), tag.ends_with('/')) {
            _ if number == 0 => {}
            (true, _) => assert_eq!(open.pop(), Some(name), "{tag}"),
            (false, true) => {}
            (false, false) => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(page.contains("&lt;b&gt;&amp;") && page.contains("prefers-color-scheme: dark"));
    assert!(page.matches("<svg").count() >= 6 && !page.contains("NaN"));
}
