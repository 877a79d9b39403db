//! `marea im`: the virtual machines of the infrastructure as the Infrastructure Manager has them. Those that are no
//! machine of ours are named here, and removed here, when a person says so.

#![expect(clippy::print_stdout, reason = "this is what the command is for")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::providers;
use crate::config::Loaded;
use crate::provider::im::ImProvider;
use crate::provider::im::infrastructure::Infrastructure;

/// The virtual machines of an infrastructure.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  marea im list --config marea.toml       those of nobody's are marked\n  \
                        marea im remove 7 --config marea.toml   a virtual machine that is no machine of ours\n  \
                        marea im messages --config marea.toml   what configuring said")]
pub struct ImArgs {
    #[command(subcommand)]
    command: Verb,
    /// The config; without one, /etc/marea/marea.toml
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/marea/marea.toml")]
    pub config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the virtual machines: number, name, state, whose
    List,
    /// Remove virtual machines that are no machine of ours
    Remove {
        /// Their numbers
        #[arg(required = true)]
        numbers: Vec<String>,
    },
    /// Print what configuring said
    Messages,
}

/// Does it.
pub async fn run(args: ImArgs, state: &Path) -> anyhow::Result<ExitCode> {
    let opened = Loaded::read(Some(&args.config)).map_err(|e| e.to_string()).and_then(|config| {
        let known = Infrastructure::read(state)?;
        let known =
            known.ok_or("no infrastructure was made or taken over in this state folder: see `marea bootstrap`")?;
        providers::im(&config, &known)
    });
    let provider = match opened {
        Ok(provider) => provider,
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error}")?;
            return Ok(ExitCode::from(2));
        }
    };
    match args.command {
        Verb::List => list(&provider).await?,
        Verb::Remove { numbers } => return remove(&provider, &numbers).await,
        Verb::Messages => println!("{}", provider.messages().await?.trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(provider: &ImProvider) -> anyhow::Result<()> {
    let mut all = provider.all().await?;
    all.sort_by_key(|vm| (vm.id.parse::<u64>().unwrap_or(u64::MAX), vm.id.clone()));
    println!("{:<6}  {:<24}  {:<13}  WHOSE", "VM", "NAME", "STATE");
    for vm in all {
        let name = if vm.name.is_empty() { "-" } else { &vm.name };
        let whose = if provider.knows(&vm.name) { "ours" } else { "nobody's: `marea im remove` removes it" };
        println!("{:<6}  {name:<24}  {:<13}  {whose}", vm.id, vm.state);
    }
    Ok(())
}

async fn remove(provider: &ImProvider, numbers: &[String]) -> anyhow::Result<ExitCode> {
    let all = provider.all().await?;
    // All are looked at before one is removed.
    for number in numbers {
        let vm = all.iter().find(|vm| vm.id == *number);
        let refusal = match vm {
            None => format!("there is no virtual machine {number} in infrastructure {}", provider.id()),
            Some(vm) if provider.knows(&vm.name) => {
                format!(
                    "virtual machine {number} is machine `{}`: power it off by `marea power off {}`",
                    vm.name, vm.name
                )
            }
            Some(_) => continue,
        };
        writeln!(std::io::stderr(), "error: {refusal}; nothing was removed")?;
        return Ok(ExitCode::from(2));
    }
    let removed = provider.client().remove(provider.id(), numbers, true).await;
    removed.with_context(|| format!("virtual machines {} are not removed", numbers.join(", ")))?;
    for number in numbers {
        println!("removed virtual machine {number}");
    }
    Ok(ExitCode::SUCCESS)
}
