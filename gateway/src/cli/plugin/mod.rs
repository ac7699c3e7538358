//! `gatewright plugin …`: for those who write plugins and bring them into force.

mod build;
mod check;
mod live;
mod new;
mod toolchain;

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::Failure;
use super::admin::Where;

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
    /// Check a module: what it is, whether it fits, and a dry run
    Check {
        /// The module
        file: PathBuf,
        /// Its configuration as JSON
        #[arg(long, default_value = "{}", value_name = "JSON")]
        config: String,
    },
    /// Print what a module is, without running anything of it
    Inspect {
        /// The module
        file: PathBuf,
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
        Command::Check { file, config } => check::check(&file, &config),
        Command::Inspect { file } => check::inspect(&file),
        Command::Push(push) => live::push(&push),
        Command::List { place } => live::list(&place),
        Command::History { name, place } => live::history(&place, &name),
        Command::Rollback { name, to, place } => live::rollback(&place, &name, to.as_deref()),
        Command::Promote { name, place } => live::promote(&place, &name),
    }
}
