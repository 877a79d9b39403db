//! `marea destroy`: removes all that a bootstrap made, and asks first.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::providers;
use crate::bootstrap::folder::Folder;
use crate::bootstrap::removal::{self, Entry, Removal};
use crate::config::{Loaded, ProviderKind};
use crate::model::machine::{Off, Power};
use crate::provider::Provider;
use crate::provider::im::client::Advice;
use crate::provider::im::infrastructure::Infrastructure;
use crate::provider::local::{LocalProvider, Settings};
use crate::remote::Access;

/// How long a machine that was powered on to be cleaned may take to answer.
const BOOT: Duration = Duration::from_secs(300);

/// What a cluster's state folder holds of this program; anything else in it stays.
const FILES: &[&str] = &[
    "admin.kubeconfig",
    "ansible.json",
    "kubeconfig",
    "cluster.json",
    "bootstrap.json",
    "bootstrap.lock",
    "known_hosts",
    "known_hosts.old",
    "daemon.log",
    "journal.db",
    "journal.db-wal",
    "journal.db-shm",
    "marea.lock",
    "marea.sock",
    "owner",
    "im.json",
    "im.key",
    "im-export.json",
    "removal.json",
];
const FOLDERS: &[&str] = &["log", "run", "ipmitool"];

/// Remove all that a bootstrap made on this computer: machines, their disks, the cluster in them.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  marea destroy\n  marea destroy --yes --config marea.toml\n\nMachines of your own keep their disks: Kubernetes, containerd, the daemon and all files of Marea are taken off them over SSH. With --config those that are off are powered on for it, and off again."
)]
pub struct DestroyArgs {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// The config, so that machines that are off can be powered on and cleaned
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Forget machines that cannot be reached, instead of keeping what is known about them for another try
    #[arg(long)]
    pub forget: bool,
}

/// Destroys the cluster of the state folder.
pub async fn run(args: DestroyArgs, state: &Path) -> anyhow::Result<ExitCode> {
    if !state.exists() {
        writeln!(std::io::stderr(), "nothing to destroy: {} does not exist", state.display())?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = match Loaded::read(args.config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            writeln!(std::io::stderr(), "{error}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let site = site(state)?;
    let folder = Folder::open(state)?;
    let removal = removal::read(&folder);
    if !args.yes && !agreed(state, site.is_some(), removal.as_ref())? {
        return Ok(ExitCode::from(2));
    }
    let _lock = folder.lock()?;
    if let Some(settings) = site {
        LocalProvider::open(settings)?.destroy_all().await?;
    }
    let infrastructure = Infrastructure::read(state).map_err(anyhow::Error::msg)?.and_then(|known| known.id);
    let in_cloud = infrastructure.is_some();
    if let Some(id) = infrastructure
        && !args.forget
    {
        destroy_infrastructure(&config, &id).await?;
    }
    if let Some(removal) = removal.filter(|_| !in_cloud)
        && !clean(&removal, &folder, &config).await?
        && !args.forget
    {
        writeln!(
            std::io::stderr(),
            "nothing was forgotten: mend what is said above and run it again, or give --forget"
        )?;
        return Ok(ExitCode::from(1));
    }
    for path in FILES.iter().map(|f| state.join(f)) {
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    for path in FOLDERS.iter().map(|f| state.join(f)) {
        match std::fs::remove_dir_all(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    // A folder that holds something of somebody else stays.
    let _in_use = std::fs::remove_dir(state);
    writeln!(std::io::stderr(), "destroyed the cluster of {}", state.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Destroys an infrastructure with all that is in it. One that is gone already is what is wanted.
async fn destroy_infrastructure(config: &Loaded, id: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.config.provider == ProviderKind::Im,
        "the machines are virtual ones of infrastructure {id}: give --config with provider = \"im\", or --forget to leave them as they are"
    );
    let client = providers::im_client(config).map_err(anyhow::Error::msg)?;
    match client.destroy(id).await {
        Err(error) if error.advice != Advice::Gone => {
            Err(anyhow::Error::new(error).context(format!("infrastructure {id} is not destroyed")))
        }
        _ => Ok(()),
    }
}

/// Cleans the machines side by side, the workers before the front-end; true when all are clean.
async fn clean(removal: &Removal, folder: &Folder, config: &Loaded) -> anyhow::Result<bool> {
    // Machines of this computer are not cleaned but removed.
    let local = config.config.provider == ProviderKind::Local;
    let provider =
        if local { None } else { Some(providers::declared(config, folder.path()).map_err(anyhow::Error::msg)?) };
    let mut access = providers::access(config, folder.path());
    // The key that was good for the last bootstrap, unless this config names one.
    access.key = access.key.or_else(|| removal.key.clone());
    let (front_end, workers) = removal.hosts.split_at(removal.hosts.len().min(1));
    let mut whole = true;
    for group in [workers, front_end] {
        let all = group.iter().map(|entry| clean_one(entry, &access, provider.as_deref()));
        for (entry, result) in group.iter().zip(futures::future::join_all(all).await) {
            match result {
                Ok(()) => writeln!(std::io::stderr(), "{}: clean", entry.name)?,
                Err(error) => {
                    whole = false;
                    writeln!(std::io::stderr(), "{}: not cleaned: {error:#}", entry.name)?;
                }
            }
        }
    }
    Ok(whole)
}

async fn clean_one(entry: &Entry, access: &Access, provider: Option<&dyn Provider>) -> anyhow::Result<()> {
    let asleep = match provider {
        Some(provider) => provider.power(&entry.name).await? == Power::Off,
        None => false,
    };
    let boot = if asleep { BOOT } else { Duration::from_secs(10) };
    if let Some(provider) = provider.filter(|_| asleep) {
        provider.power_on(&entry.name).await?;
    }
    let cleaned = removal::clean(entry, access, boot).await;
    if let Some(provider) = provider.filter(|_| asleep) {
        provider.power_off(&entry.name, Off::Graceful).await?;
    }
    Ok(cleaned?)
}

fn agreed(state: &Path, local: bool, removal: Option<&Removal>) -> anyhow::Result<bool> {
    let mut err = std::io::stderr();
    if !std::io::stdin().is_terminal() {
        writeln!(err, "marea: destroy asks before it acts, and there is no terminal to ask at; give --yes")?;
        return Ok(false);
    }
    let what = match removal {
        _ if local => "all its machines and the cluster in them".to_owned(),
        _ if Infrastructure::read(state).is_ok_and(|known| known.is_some()) => {
            "its infrastructure with all virtual machines in it".to_owned()
        }
        Some(removal) => {
            let names: Vec<&str> = removal.hosts.iter().map(|e| e.name.as_str()).collect();
            format!("Kubernetes and all that runs on it, off {}", names.join(", "))
        }
        None => "what is kept here about its machines".to_owned(),
    };
    write!(err, "This removes the cluster of {}: {what}. Type yes: ", state.display())?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    let yes = answer.trim() == "yes";
    if !yes {
        writeln!(err, "nothing was changed")?;
    }
    Ok(yes)
}

/// The local machines of a state folder, opened with the names that they were made with.
fn site(state: &Path) -> anyhow::Result<Option<Settings>> {
    let path = state.join("local/site.json");
    let text = match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let mark: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not what Marea wrote", path.display()))?;
    let word =
        |key: &str| mark[key].as_str().map(str::to_owned).with_context(|| format!("{} lacks `{key}`", path.display()));
    Ok(Some(Settings { scope: word("scope")?, subnet: word("subnet")?, ..Settings::new(state) }))
}
