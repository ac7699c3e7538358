//! The `gatewright` command.

/// Half the time of the system's allocator on the request path, and it gives memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    gatewright::cli::main()
}
