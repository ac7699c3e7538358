//! `gatewright plugin …`: for those who write plugins and bring them into force.

mod bench;
mod build;
mod check;
mod inspect;
mod interrupt;
mod live;
mod new;
mod progress;
mod replay;
mod sample;
mod test;
mod toolchain;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::admin::Where;
use super::{Compiling, Failure};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a crate for a new plugin, with a test
    New {
        /// Its name, such as fastest: lower case, digits and dashes
        name: String,
        /// What it decides
        #[arg(long, value_enum, default_value = "balancer")]
        kind: Kind,
        /// The folder of gatewright-sdk, instead of where this gateway was built
        #[arg(long, value_name = "FOLDER")]
        sdk: Option<PathBuf>,
    },
    /// Compile the plugin of a crate to WebAssembly
    Build {
        /// The folder of the crate
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// Where to put the module, instead of NAME.wasm in that folder
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Run the tests of a crate natively, then ask its module in the gateway's host what they asked, and compare
    Test {
        /// The folder of the crate
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// Further arguments for cargo test
        #[arg(last = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Check a module: what it is, whether it fits, and a dry run
    Check {
        /// The module
        file: PathBuf,
        /// Its configuration as JSON
        #[arg(long, default_value = "{}", value_name = "JSON")]
        config: String,
        #[command(flatten)]
        compiling: Compiling,
    },
    /// Print what a module is, what it wants and what for, without running anything of it
    Inspect {
        /// The module
        file: PathBuf,
        #[command(flatten)]
        compiling: Compiling,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure what a module costs by the call, beside the built-in of the same name if there is one
    Bench {
        /// The module
        file: PathBuf,
        /// Its configuration as JSON
        #[arg(long, default_value = "{}", value_name = "JSON")]
        config: String,
        #[command(flatten)]
        compiling: Compiling,
        /// How many calls of each kind
        #[arg(long, default_value_t = 200_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
        calls: u32,
        /// As JSON, with histograms
        #[arg(long)]
        json: bool,
    },
    /// Bring a module into force in a running gateway
    Push(live::Push),
    /// Print the plugins of a running gateway
    List {
        #[command(flatten)]
        place: Where,
    },
    /// Print the versions of a plugin that were in force
    History {
        /// The plugin's name
        name: String,
        #[command(flatten)]
        place: Where,
    },
    /// Go back to the version before, or end a trial
    Rollback {
        /// The plugin's name
        name: String,
        /// The version to go back to, as history prints it
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
        #[command(flatten)]
        place: Where,
    },
    /// End a trial: the version on trial comes into force
    Promote {
        /// The plugin's name
        name: String,
        #[command(flatten)]
        place: Where,
    },
}

/// What a plugin decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Kind {
    /// Which endpoint takes a request
    Balancer,
    /// Which route or pool a request goes to
    Router,
    /// What becomes of requests and responses on their way
    Filter,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::New { name, kind, sdk } => new::new(&name, kind, sdk),
        Command::Build { folder, output } => build::build(&folder, output.as_deref()),
        Command::Test { folder, arguments } => test::test(&folder, &arguments),
        Command::Check { file, config, compiling } => check::check(&file, &config, compiling.most()),
        Command::Inspect { file, compiling, json } => inspect::inspect(&file, compiling.most(), json),
        Command::Bench { file, config, compiling, calls, json } => {
            bench::bench(&file, &config, compiling.most(), calls as usize, json)
        }
        Command::Push(push) => live::push(&push),
        Command::List { place } => live::list(&place),
        Command::History { name, place } => live::history(&place, &name),
        Command::Rollback { name, to, place } => live::rollback(&place, &name, to.as_deref()),
        Command::Promote { name, place } => live::promote(&place, &name),
    }
}
