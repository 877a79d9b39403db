//! `marea functions`: the gateway itself, and what a person does with functions: apply an FDL file, list, run,
//! read logs, delete, and look after the events that failed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

pub mod apply;
pub mod client;
pub mod events;
pub mod first;
pub mod serve;

/// Functions: run a container for each object that comes into a bucket.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marea functions serve --config /etc/marea/functions.toml      be the gateway
  marea functions apply cowsay.yaml                             make or change what the file describes
  marea functions list                                          what there is
  marea functions run cowsay --input moo.txt --wait             run one, and wait for its result
  marea functions logs cowsay                                   its runs
  marea functions logs cowsay cowsay-0d3f...                    what one wrote
  marea functions events list                                   the dead letters
  marea functions events replay --all                           try them again

Where the gateway is: --endpoint, or MAREA_FUNCTIONS_ENDPOINT, or the `clusters` of the FDL file. Who asks: --user and
MAREA_FUNCTIONS_PASSWORD or --password-file; a password is never an argument.")]
pub struct FunctionsArgs {
    #[command(subcommand)]
    command: FunctionsCommand,
}

#[derive(Debug, Subcommand)]
enum FunctionsCommand {
    /// Be the gateway: OSCAR's API, the store's webhook and the queue.
    Serve(serve::ServeArgs),
    /// Make or change the functions of FDL files.
    ///
    /// What is as the file says is left alone. Functions for AWS are named and skipped.
    Apply(apply::ApplyArgs),
    /// List the functions of a cluster.
    List(apply::ListArgs),
    /// Run a function with an input.
    Run(apply::RunArgs),
    /// List a function's runs, or show what one of them wrote.
    Logs(apply::LogsArgs),
    /// Delete functions by name, or those of FDL files.
    ///
    /// Events that wait for them become dead letters. Buckets with objects in them stay.
    Delete(apply::DeleteArgs),
    /// Look after events: list, show, replay, purge.
    Events(events::EventsArgs),
}

/// Where the gateway is and who asks.
#[derive(Debug, Clone, Args)]
pub struct Access {
    /// The gateway's URL; without one, http://127.0.0.1:30301.
    #[arg(long, value_name = "URL", env = "MAREA_FUNCTIONS_ENDPOINT")]
    pub endpoint: Option<String>,
    /// The administrator's name.
    #[arg(long, value_name = "NAME", env = "MAREA_FUNCTIONS_USER", default_value = "oscar")]
    pub user: String,
    /// A file with the password; without one, MAREA_FUNCTIONS_PASSWORD is read.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Do not check the gateway's certificate.
    #[arg(long)]
    pub insecure: bool,
}

/// Does what was asked.
pub async fn run(args: FunctionsArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        FunctionsCommand::Serve(args) => serve::run(args).await,
        FunctionsCommand::Apply(args) => apply::apply(args).await,
        FunctionsCommand::List(args) => apply::list(args).await,
        FunctionsCommand::Run(args) => apply::run(args).await,
        FunctionsCommand::Logs(args) => apply::logs(args).await,
        FunctionsCommand::Delete(args) => apply::delete(args).await,
        FunctionsCommand::Events(args) => events::run(args).await,
    }
}
