//! `marea power on|off`, `marea enable`, `marea disable`: what a person wants of one machine.

#![expect(clippy::print_stdout, reason = "this is what the command is for")]

use std::path::Path;
use std::process::ExitCode;

use serde::Deserialize;

use super::socket::{Daemon, segment};

/// Power a machine on or off through the daemon.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  marea power on wn-1\n  marea power off wn-1     drains first; PodDisruptionBudgets hold"
)]
pub struct PowerArgs {
    /// What to do.
    #[command(subcommand)]
    pub order: PowerOrder,
}

/// On or off.
#[derive(Debug, clap::Subcommand)]
pub enum PowerOrder {
    /// Power it on now, whether or not pods wait.
    On {
        /// The machine.
        name: String,
    },
    /// Drain it, then power it off.
    Off {
        /// The machine.
        name: String,
    },
}

/// Let the daemon power a machine again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  marea enable wn-1")]
pub struct EnableArgs {
    /// The machine.
    pub name: String,
}

/// Make the daemon leave a machine alone, as it is now.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  marea disable wn-1     before somebody opens its case")]
pub struct DisableArgs {
    /// The machine.
    pub name: String,
}

/// Orders a machine on or off.
pub async fn run(args: PowerArgs, state: &Path) -> anyhow::Result<ExitCode> {
    match args.order {
        PowerOrder::On { name } => order(state, &name, "on").await,
        PowerOrder::Off { name } => order(state, &name, "off").await,
    }
}

/// Gives a machine to the daemon.
pub async fn enable(args: EnableArgs, state: &Path) -> anyhow::Result<ExitCode> {
    order(state, &args.name, "enable").await
}

/// Takes a machine from the daemon.
pub async fn disable(args: DisableArgs, state: &Path) -> anyhow::Result<ExitCode> {
    order(state, &args.name, "disable").await
}

#[derive(Deserialize)]
struct Done {
    done: String,
}

async fn order(state: &Path, name: &str, order: &str) -> anyhow::Result<ExitCode> {
    let daemon = Daemon::find(state)?;
    let answer: Done = daemon.post(&format!("/v1/machines/{}/{order}", segment(name))).await?;
    println!("{}", answer.done);
    Ok(ExitCode::SUCCESS)
}
