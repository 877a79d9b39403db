//! `marea destroy`: removes all that a bootstrap made, and asks first.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::bootstrap::folder::Folder;
use crate::provider::local::{LocalProvider, Settings};

/// What a cluster's state folder holds of this program; anything else in it stays.
const FILES: &[&str] = &[
    "admin.kubeconfig",
    "kubeconfig",
    "cluster.json",
    "bootstrap.json",
    "bootstrap.lock",
    "known_hosts",
    "known_hosts.old",
    "daemon.log",
    "journal.sqlite",
    "journal.sqlite-wal",
    "journal.sqlite-shm",
    "lock",
];
const FOLDERS: &[&str] = &["log", "run"];

/// Remove all that a bootstrap made on this computer: machines, their disks, the cluster in them.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  marea destroy\n  marea destroy --yes\n\nMachines of the provider `command` are left as they are: only what is kept about them here is removed."
)]
pub struct DestroyArgs {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// Destroys the cluster of the state folder.
pub async fn run(args: DestroyArgs, state: &Path) -> anyhow::Result<ExitCode> {
    if !state.exists() {
        writeln!(std::io::stderr(), "nothing to destroy: {} does not exist", state.display())?;
        return Ok(ExitCode::SUCCESS);
    }
    let site = site(state)?;
    if !args.yes && !agreed(state, site.is_some())? {
        return Ok(ExitCode::from(2));
    }
    let folder = Folder::open(state)?;
    let _lock = folder.lock()?;
    if let Some(settings) = site {
        LocalProvider::open(settings)?.destroy_all().await?;
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

fn agreed(state: &Path, local: bool) -> anyhow::Result<bool> {
    let mut err = std::io::stderr();
    if !std::io::stdin().is_terminal() {
        writeln!(err, "marea: destroy asks before it acts, and there is no terminal to ask at; give --yes")?;
        return Ok(false);
    }
    let what = if local { "all its machines and the cluster in them" } else { "what is kept here about its machines" };
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
