//! The program `marea`: reads the command line, does it, and turns the result into an exit code
//! (0 done, 1 the world failed, 2 used wrongly).

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // One TLS provider for the process; a second call (there is none) would only say that it is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = marea::cli::Cli::parse();
    marea::cli::log::start(cli.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return marea::cli::fail(&anyhow::Error::new(error).context("cannot start the runtime")),
    };
    let result = runtime.block_on(marea::cli::dispatch(cli));
    // Blocking work that was abandoned (a prompt, a child's output) must not hold the exit.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| marea::cli::fail(&error))
}
