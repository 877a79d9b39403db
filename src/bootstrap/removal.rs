//! Removal: what takes a cluster off machines that are somebody's own. It is noted before a bootstrap changes the first
//! of them, so that `marea destroy` needs neither the document nor the recipes, and half a bootstrap goes away too.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::folder::{Folder, FolderError};
use super::plan::Plan;
use crate::remote::{Access, Connection, Host, RemoteError};

/// The file in the state folder.
const FILE: &str = "removal.json";

/// How long the removal may take on one machine.
const LIMIT: Duration = Duration::from_secs(300);

/// What is noted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The private key that opens the machines.
    pub key: Option<PathBuf>,
    /// Each machine.
    pub hosts: Vec<Entry>,
}

/// One machine and its script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The machine.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Its SSH port.
    pub port: u16,
    /// Its user.
    pub user: String,
    /// What removes everything.
    pub script: String,
    /// Nobody here is root on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_home: bool,
}

/// Why a machine was not cleaned.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// It was not reached.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The script failed.
    #[error("the removal ended with exit code {code}: {output}")]
    Failed {
        /// Its exit code.
        code: i32,
        /// Its last lines.
        output: String,
    },
}

/// Notes how the machines of a plan are cleaned. Machines that an earlier plan had stay noted.
pub fn note(folder: &Folder, plan: &Plan, key: Option<&Path>) -> Result<(), FolderError> {
    let mut hosts: Vec<Entry> = plan
        .hosts
        .iter()
        .map(|host| {
            let m = &host.machine;
            let (name, address, user) = (m.name.clone(), m.address.clone(), m.user.clone());
            Entry { name, address, port: m.port, user, script: host.removal(), at_home: host.is_at_home() }
        })
        .collect();
    let earlier = read(folder).unwrap_or_default().hosts;
    hosts.extend(earlier.into_iter().filter(|e| !plan.hosts.iter().any(|h| h.machine.name == e.name)));
    let removal = Removal { key: key.map(Path::to_owned), hosts };
    folder.write(FILE, &(serde_json::to_string_pretty(&removal).unwrap_or_default() + "\n"), 0o600)
}

/// What was noted, if anything was.
pub fn read(folder: &Folder) -> Option<Removal> {
    serde_json::from_str(&std::fs::read_to_string(folder.path().join(FILE)).ok()?).ok()
}

/// Cleans one machine, which may take `boot` to answer.
pub async fn clean(entry: &Entry, access: &Access, boot: Duration) -> Result<(), RemovalError> {
    let host =
        Host { name: entry.name.clone(), address: entry.address.clone(), port: entry.port, user: entry.user.clone() };
    let connection = Connection::wait(&host, access, boot).await?;
    let connection = if entry.at_home { connection.as_ordinary_user() } else { connection };
    let outcome = connection.run(&entry.script, LIMIT).await?;
    connection.close().await;
    match outcome.code {
        0 => Ok(()),
        code => Err(RemovalError::Failed { code, output: outcome.last_lines(5).join("; ") }),
    }
}
