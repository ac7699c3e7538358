//! `gatewright sim`: balancers against scenarios, without a network.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Compiling, Failure, complain, misuse, print};
use crate::config::model;
use crate::config::problem::suggestion;
use crate::sim::report::{self, Comparison};
use crate::sim::{self, Arena, Contender, KNOWN, Scenario};

/// What a scenario's file may have.
const FILE_SIZE: u64 = 1 << 20;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Balancers to compare: modules (mine.wasm) and built-ins (builtin:p2c); all built-ins when none is given
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// Print the scenarios that there are
    #[arg(long)]
    list: bool,
    /// A scenario by its name, or a TOML file with one; may be given several times. All that there are when none is given
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Vec<String>,
    /// Requests of each run
    #[arg(long, short = 'n', default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    requests: u64,
    /// What chance begins with: the same seed, the same report
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// So many endpoints, instead of those of the scenario; its first group of backends makes up for it
    #[arg(long, value_name = "N")]
    endpoints: Option<usize>,
    /// So many gateways that know nothing of one another, instead of those of the scenario
    #[arg(long, value_name = "N")]
    gateways: Option<u32>,
    /// The configuration of the plugin as JSON. Given once it is for all modules, or for the only FILE; given several
    /// times, for each FILE in order
    #[arg(long, value_name = "JSON")]
    config: Vec<String>,
    #[command(flatten)]
    compiling: Compiling,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Also write them as a page with charts, in one file
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.list {
        return KNOWN.iter().try_for_each(|(name, _)| {
            let about = sim::known(name).map(|scenario| scenario.about).unwrap_or_default();
            print(format_args!("{name:<11} {about}"))
        });
    }
    // What plugins log stands beside what is printed here. Somebody else may have begun to log already.
    let _ = super::log::start(&model::Log::default());
    let scenarios = scenarios(arguments)?;
    let arena = Arena::new().map_err(Failure)?.patient(arguments.compiling.most());
    let contenders = contenders(arguments, &arena)?;
    let (began, runs) = (Instant::now(), scenarios.len() * contenders.len());
    let rounds = sim::compare(scenarios, &contenders, &arena, arguments.requests, arguments.seed).map_err(Failure)?;
    let took = began.elapsed();
    let of = |one: &'_ Contender| [one.name.clone(), one.version.clone(), one.config.clone()];
    let named: Vec<[String; 3]> = contenders.iter().map(of).collect();
    let comparison = Comparison {
        contenders: named.iter().map(|names| names.each_ref().map(String::as_str)).collect(),
        rounds: &rounds,
        seed: arguments.seed,
    };
    if let Some(file) = &arguments.report {
        let written = std::fs::write(file, report::html(&comparison));
        written.map_err(|error| format!("{}: {error}", file.display()))?;
    }
    match arguments.json {
        true => print(format_args!("{:#}", report::json(&comparison)))?,
        false => print(report::text(&comparison, std::io::stdout().is_terminal()).trim_end())?,
    }
    // Beside the report, which says nothing of this machine.
    complain(format_args!("{runs} runs of {} requests took {:.1} s", arguments.requests, took.as_secs_f64()));
    let failed = rounds.iter().flat_map(|round| &round.results).filter(|result| result.is_err()).count();
    if failed > 0 { Err(Failure(format!("{failed} of {runs} runs could not be started"))) } else { Ok(()) }
}

fn scenarios(arguments: &Arguments) -> Result<Vec<Scenario>, Failure> {
    let names: Vec<&str> = match &arguments.scenario[..] {
        [] => KNOWN.iter().map(|(name, _)| *name).collect(),
        names => names.iter().map(String::as_str).collect(),
    };
    let sized = |name: &str| {
        let scenario = named(name)?;
        let told = scenario.name.clone();
        let sized = scenario.resized(arguments.endpoints, arguments.gateways);
        sized.map_err(|wrong| Failure(format!("scenario {told}: {wrong}")))
    };
    names.into_iter().map(sized).collect()
}

/// A scenario by its name or from its file.
fn named(name: &str) -> Result<Scenario, Failure> {
    let path = Path::new(name);
    if let Some(scenario) = sim::known(name) {
        return Ok(scenario);
    }
    if path.extension().is_none_or(|extension| extension != "toml") && !path.is_file() {
        let known: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
        let meant = suggestion(name, known.iter().copied());
        let known = known.join(", ");
        return Err(Failure(format!("there is no scenario {name:?}{meant}; there are {known}; or name a TOML file")));
    }
    let told = |error: &dyn std::fmt::Display| Failure(format!("{name}: {error}"));
    let mut text = String::new();
    // One byte more than is taken, so that too large a file is seen to be one: what a device gives has no end.
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_SIZE + 1).read_to_string(&mut text));
    if read.map_err(|error| told(&error))? as u64 > FILE_SIZE {
        return Err(told(&format!("it has more than the {FILE_SIZE} bytes that are taken")));
    }
    let mut scenario = Scenario::parse(&text).map_err(|wrong| told(&wrong))?;
    if scenario.name.is_empty() {
        scenario.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    }
    Ok(scenario)
}

fn contenders(arguments: &Arguments, arena: &Arena) -> Result<Vec<Contender>, Failure> {
    let files = if arguments.files.is_empty() { sim::built_ins() } else { arguments.files.clone() };
    for config in &arguments.config {
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(config)
            .map_err(|error| format!("--config is no JSON object: {error}"))?;
    }
    let config = |number: usize, file: &str| match &arguments.config[..] {
        [] => "{}",
        [only] if files.len() == 1 || !sim::is_built_in(file) => only,
        [_] => "{}",
        several => several.get(number).map_or("{}", String::as_str),
    };
    if arguments.config.len() > 1 && arguments.config.len() != files.len() {
        let (configs, files) = (arguments.config.len(), files.len());
        misuse(
            "sim",
            &format!("--config is given {configs} times for {files} plugins: give it once, or once for each"),
        );
    }
    let contender = |(number, file): (usize, &String)| arena.contender(file, config(number, file)).map_err(Failure);
    let mut contenders = files.iter().enumerate().map(contender).collect::<Result<Vec<Contender>, Failure>>()?;
    sim::tell_apart(&mut contenders);
    Ok(contenders)
}
