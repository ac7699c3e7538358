//! The `gatewright` command.
//!
//! In: arguments. Out: an exit code: 0 when all is well, 1 when it is not, 2 when the arguments are wrong.

mod admin;
mod agent;
mod cache;
mod check;
mod demo;
mod drain;
mod log;
mod one_line;
mod plugin;
mod reload;
mod run;
mod sim;
mod status;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::config::value;
use crate::limits::Limits;

/// An edge gateway: reverse proxy, TLS, load balancing, static files.
#[derive(Parser)]
#[command(name = "gatewright", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT; SIGHUP reloads
    Run(ConfigFile),
    /// Check a configuration and print everything that is wrong with it
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// Do not fetch plugins from elsewhere; those of which there is no copy here are not checked
        #[arg(long)]
        offline: bool,
    },
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Have a running gateway read its configuration again
    Reload(admin::Where),
    /// Take an endpoint out of use in a running gateway: it gets no new requests and finishes those that it has
    Drain(drain::Arguments),
    /// Look at what a running gateway keeps in its cache, and throw it away
    #[command(subcommand)]
    Cache(cache::Command),
    /// Show the pools of a running gateway: which endpoints are well, why not, and how busy they are
    Status(status::Arguments),
    /// Make, build, test, measure and deploy plugins
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Try balancers against simulated backends, without a network, and compare them
    Sim(sim::Arguments),
    /// Serve a site and an API with several backends on this machine, to try things out
    Demo {
        /// Where to listen for http; https is one port higher, the admin address two
        #[arg(long, default_value_t = 8080, value_name = "PORT")]
        port: u16,
    },
    /// Serve the files of a folder
    Serve {
        /// The folder
        directory: PathBuf,
        /// List folders that have no index.html
        #[arg(long)]
        listing: bool,
        #[command(flatten)]
        common: one_line::Common,
    },
    /// Start a backend, tell a registry of it, watch over it, and take it out before it ends
    Agent(Box<agent::Arguments>),
    /// Pass all requests on to one backend or several
    Proxy {
        /// A backend: HOST:PORT, or https://HOST[:PORT], which is verified and asked by its own name (Host); may be
        /// given several times
        #[arg(long, required = true, value_name = "BACKEND", value_parser = one_line::backend)]
        to: Vec<one_line::Backend>,
        /// PEM file with the authorities that https backends are verified by, instead of the system's
        #[arg(long, value_name = "FILE")]
        upstream_ca: Option<String>,
        #[command(flatten)]
        common: one_line::Common,
    },
}

#[derive(clap::Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(long, short, default_value = "gateway.toml", value_name = "FILE")]
    config: PathBuf,
    /// The same without --config
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
}

impl ConfigFile {
    fn path(&self) -> &Path {
        self.file.as_deref().unwrap_or(&self.config)
    }
}

/// How long a command waits until a module is compiled.
#[derive(clap::Args)]
struct Compiling {
    /// Give up compiling a module after so long [default: as limits.plugin_compile_time]
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    compile_time: Option<Duration>,
}

impl Compiling {
    fn most(&self) -> Duration {
        self.compile_time.unwrap_or_else(|| Limits::default().plugin_compile_time)
    }
}

/// Does what the arguments say.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Agent(arguments) => {
            let ended = agent::run(*arguments);
            log::flush();
            return ended.unwrap_or_else(|Failure(message)| {
                complain(&message);
                ExitCode::FAILURE
            });
        }
        Command::Run(file) => run::from_file(file.path()),
        Command::Check { config, offline } => check::check(config.path(), offline),
        Command::Schema => print(format_args!("{:#}", crate::config::schema())),
        Command::Reload(place) => reload::reload(&place),
        Command::Drain(arguments) => drain::drain(&arguments),
        Command::Cache(command) => cache::run(&command),
        Command::Status(arguments) => status::status(&arguments),
        Command::Plugin(command) => plugin::run(command),
        Command::Sim(arguments) => sim::run(&arguments),
        Command::Demo { port } => demo::demo(port),
        Command::Serve { directory, listing, common } => one_line::serve(&directory, listing, &common),
        Command::Proxy { to, upstream_ca, common } => one_line::proxy(&to, upstream_ca.as_deref(), &common),
    };
    log::flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(message)) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

/// A line, or several, on standard output. That its reader has gone, as `head` does, is no failure.
fn print(line: impl Display) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure(format!("standard output: {error}"))),
        _ => Ok(()),
    }
}

/// The same on standard error, where it is of no use to complain once more.
fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Ends as for any other wrong argument of this command.
fn misuse(command: &str, message: &str) -> ! {
    let mut arguments = Arguments::command();
    // Only what is built knows the names above it.
    arguments.build();
    let command = arguments.find_subcommand_mut(command);
    command.map_or_else(Arguments::command, |command| command.clone()).error(ErrorKind::ValueValidation, message).exit()
}

/// What is printed before the command ends with 1.
struct Failure(String);

impl<E: std::fmt::Display> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.to_string())
    }
}
