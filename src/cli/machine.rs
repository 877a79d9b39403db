//! `marea machine`: local machines by hand, below everything that decides. For looking into trouble; a machine that is
//! switched here is switched again by a daemon that thinks otherwise.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::model::machine::Off;
use crate::provider::local::{LocalError, LocalProvider, MachineSpec, Settings};
use crate::provider::{Provider as _, ProviderError};

/// Makes, switches and removes local machines by hand.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  marea machine create w1 --address 10.77.0.11 --cpus 1 --memory-mib 2048\n  \
                        marea machine on w1\n  marea machine list\n  marea machine off w1 --hard\n  marea machine destroy --all")]
pub struct MachineArgs {
    /// Prefix of all names made outside the state folder
    #[arg(long, default_value = "marea", value_name = "WORD")]
    pub scope: String,
    /// Private network of the machines
    #[arg(long, default_value = "10.77.0.0/24", value_name = "NETWORK")]
    pub subnet: String,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List machines: name, address, size, power
    List,
    /// Make a machine, powered off; repeating it is safe
    Create {
        /// Host name
        name: String,
        /// Address in the private network
        #[arg(long)]
        address: Ipv4Addr,
        /// CPUs, at most those of this computer
        #[arg(long, default_value_t = 1)]
        cpus: u32,
        /// Memory in MiB
        #[arg(long, default_value_t = 2048, value_name = "MIB")]
        memory_mib: u64,
        /// Do not show it the bundle: like a machine that is not on this computer
        #[arg(long)]
        without_bundle: bool,
    },
    /// Power machines on
    On {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Power machines off
    Off {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// Cut the power instead of asking
        #[arg(long)]
        hard: bool,
    },
    /// Cut the power of machines and remove them
    Destroy {
        /// Their names
        #[arg(required_unless_present = "all")]
        names: Vec<String>,
        /// All machines, and everything made for them
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
}

/// Runs the command on the machines of a state folder. `bundle` is shown in machines that are created.
pub async fn run(args: MachineArgs, state: &Path, bundle: Option<&Path>) -> anyhow::Result<ExitCode> {
    match act(args, state, bundle).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if is_input(&error) => {
            writeln!(std::io::stderr(), "error: {error:#}")?;
            Ok(ExitCode::from(2))
        }
        Err(error) => Err(error),
    }
}

/// Whether it is the command line that is wrong, and not the world.
fn is_input(error: &anyhow::Error) -> bool {
    let local = matches!(error.downcast_ref(), Some(LocalError::Input(_) | LocalError::NoMachine(_)));
    local || matches!(error.downcast_ref(), Some(ProviderError::NoSuchMachine { .. }))
}

async fn act(args: MachineArgs, state: &Path, bundle: Option<&Path>) -> anyhow::Result<()> {
    let local = LocalProvider::open(Settings { scope: args.scope, subnet: args.subnet, ..Settings::new(state) })?;
    match args.command {
        Verb::List => list(&local).await,
        Verb::Create { name, address, cpus, memory_mib, without_bundle } => {
            local.check_computer()?;
            local.ensure_base(|step| drop(writeln!(std::io::stderr(), "{step}"))).await?;
            let bundle = bundle.filter(|_| !without_bundle).map(Path::to_path_buf);
            Ok(local.create(MachineSpec { name, address, cpus, memory: memory_mib << 20, bundle }).await?)
        }
        Verb::On { names } => {
            let all = names.iter().map(|name| local.power_on(name));
            Ok(futures::future::try_join_all(all).await.map(drop)?)
        }
        Verb::Off { names, hard } => {
            let how = if hard { Off::Hard } else { Off::Graceful };
            let all = names.iter().map(|name| local.power_off(name, how));
            Ok(futures::future::try_join_all(all).await.map(drop)?)
        }
        Verb::Destroy { all: true, .. } => Ok(local.destroy_all().await?),
        Verb::Destroy { names, .. } => {
            for name in names {
                local.destroy(&name).await?;
            }
            Ok(())
        }
    }
}

async fn list(local: &LocalProvider) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    for spec in local.machines().await? {
        let seen = local.see(&spec.name).await.with_context(|| format!("looking at `{}`", spec.name))?;
        let power = match (seen.processes.is_empty(), seen.init, seen.attended) {
            (true, ..) => "off",
            (false, Some(_), true) => "on",
            (false, Some(_), false) => "on (console lost)",
            (false, None, _) => "between on and off",
        };
        let memory = spec.memory >> 20;
        writeln!(out, "{:<16} {:<15} {:>2} cpu {memory:>7} MiB  {power}", spec.name, spec.address, spec.cpus)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        machine: MachineArgs,
    }

    #[test]
    fn the_command_line_holds_together() {
        <Line as clap::CommandFactory>::command().debug_assert();
    }

    #[tokio::test]
    async fn what_cannot_be_is_said_with_exit_code_2() {
        let state = tempfile::tempdir().unwrap();
        let line = <Line as clap::Parser>::try_parse_from(["x", "--scope", "NO", "list"]).unwrap();
        let code = run(line.machine, state.path(), None).await.unwrap();
        assert_eq!(code, ExitCode::from(2));
    }
}
