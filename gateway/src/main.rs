//! The `gatewright` command.

fn main() -> std::process::ExitCode {
    gatewright::cli::main()
}
