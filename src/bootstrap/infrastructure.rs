//! Bringing an infrastructure up: it is made with the front-end in it, the workers are added, and each is waited for
//! until it has an address and whatever the Infrastructure Manager configures on it is configured.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;

use super::folder::{Folder, FolderError};
use super::progress::Progress;
use crate::clock;
use crate::model::machine::{Machine, Role};
use crate::provider::im::ImProvider;
use crate::provider::im::client::{Advice, ImClient, ImError};
use crate::provider::im::fragment;
use crate::provider::im::infrastructure::{FILE, Infrastructure};
use crate::provider::{Provider as _, ProviderError};

/// How often states are asked for.
const GLANCE: Duration = Duration::from_secs(2);
/// How often an infrastructure whose ID was lost is sought.
const SEARCHES: u32 = 5;
/// The file in which a key is kept that the cloud made.
const KEY: &str = "im.key";

/// Why an infrastructure did not come up.
#[derive(Debug, thiserror::Error)]
pub enum InfrastructureError {
    /// The state folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The Infrastructure Manager.
    #[error("the Infrastructure Manager: {0}")]
    Im(#[from] ImError),
    /// A machine.
    #[error(transparent)]
    Machine(#[from] ProviderError),
    /// It is not there any more.
    #[error(
        "infrastructure {id}: {reason}. If it is gone for good, `marea destroy` forgets it, and bootstrap makes another"
    )]
    Gone {
        /// Its ID.
        id: String,
        /// What was said.
        reason: String,
    },
    /// Machines that did not come so far.
    #[error("{}\n{messages}", .machines.iter().map(|(name, state)| format!("{name} is {state}")).collect::<Vec<_>>().join("; "))]
    Stuck {
        /// What each is.
        machines: BTreeMap<String, String>,
        /// The last lines of what configuring said.
        messages: String,
    },
    /// The document.
    #[error("the document has no system for the front-end `{0}`")]
    NoFrontEnd(String),
}

/// Makes the infrastructure unless it is there. Its ID is written down at once.
pub async fn make(
    known: &mut Infrastructure,
    client: &ImClient,
    front_end: &str,
    folder: &Folder,
    progress: &Progress,
) -> Result<String, InfrastructureError> {
    if let Some(id) = &known.id {
        return match client.states(id).await {
            Ok(_) => Ok(id.clone()),
            Err(error) if error.advice == Advice::Gone => {
                Err(InfrastructureError::Gone { id: id.clone(), reason: error.text })
            }
            Err(error) => Err(error.into()),
        };
    }
    let radl = known.first(front_end).ok_or_else(|| InfrastructureError::NoFrontEnd(front_end.to_owned()))?;
    // The mark is on disk before there is anything that bears it.
    write(known, folder)?;
    let id = match known.lost(client).await? {
        Some(id) => id,
        None => create(known, client, &radl, progress).await?,
    };
    progress.say(front_end, &format!("infrastructure {id}"));
    known.id = Some(id.clone());
    write(known, folder)?;
    Ok(id)
}

async fn create(
    known: &Infrastructure,
    client: &ImClient,
    radl: &str,
    progress: &Progress,
) -> Result<String, InfrastructureError> {
    progress.say("im", "making the infrastructure");
    let error = match client.create(radl).await {
        Ok(id) => return Ok(id),
        Err(error) => error,
    };
    if error.advice == Advice::Retry {
        // The answer was lost: it may be made all the same, and is not made twice.
        for _ in 0..SEARCHES {
            tokio::time::sleep(GLANCE).await;
            if let Ok(Some(id)) = known.lost(client).await {
                return Ok(id);
            }
        }
    }
    Err(error.into())
}

/// Writes down what is known.
pub fn write(known: &Infrastructure, folder: &Folder) -> Result<(), FolderError> {
    // It may hold what the document says of credentials.
    folder.write(FILE, &(serde_json::to_string_pretty(known).unwrap_or_default() + "\n"), 0o600)
}

/// Adds the machines that are not there yet and waits for all of them; then each is where its virtual machine is.
/// Answers with the key that the cloud made, where it made one.
pub async fn come_up(
    provider: &ImProvider,
    known: &mut Infrastructure,
    machines: &mut [Machine],
    network: Option<&str>,
    limit: Duration,
    folder: &Folder,
    progress: &Progress,
) -> Result<Option<PathBuf>, InfrastructureError> {
    for machine in &*machines {
        progress.say(&machine.name, "asking for a virtual machine");
    }
    let orders = machines.iter().map(|machine| provider.power_on(&machine.name));
    join_all(orders).await.into_iter().collect::<Result<Vec<()>, _>>()?;
    let configured: BTreeSet<&str> = machines
        .iter()
        .filter(|machine| known.fragments.get(&machine.pool).is_some_and(|fragment| fragment.configure))
        .map(|machine| machine.name.as_str())
        .collect();
    watch(provider, machines, &configured, limit, folder, progress).await?;
    images(provider, known, machines, folder, progress).await?;
    let mut key = None;
    for machine in machines {
        let radl = provider.radl(&machine.name).await?.unwrap_or_default();
        let Some(place) = fragment::place(&radl, network) else {
            let state = "there, and without an address".to_owned();
            let machines = BTreeMap::from([(machine.name.clone(), state)]);
            return Err(InfrastructureError::Stuck { machines, messages: String::new() });
        };
        machine.address = place.address;
        machine.port = place.port.unwrap_or(machine.port);
        machine.user = place.user.unwrap_or_else(|| machine.user.clone());
        if let Some(text) = place.private_key.filter(|_| machine.role == Role::FrontEnd) {
            folder.write(KEY, &(text.trim_end().to_owned() + "\n"), 0o600)?;
            key = Some(folder.path().join(KEY));
        }
        progress.say(&machine.name, &format!("is at {}", machine.address));
    }
    Ok(key)
}

/// An image of the first machine of each pool that is to have one (`ec3_golden_images`), now that it is configured: those
/// that are added later are made from it. Without one they are made as this one was, only slower.
async fn images(
    provider: &ImProvider,
    known: &mut Infrastructure,
    machines: &[Machine],
    folder: &Folder,
    progress: &Progress,
) -> Result<(), InfrastructureError> {
    let wanted: Vec<String> =
        known.terms.iter().filter(|(_, terms)| terms.golden).map(|(pool, _)| pool.clone()).collect();
    for pool in wanted.into_iter().filter(|pool| !known.images.contains_key(pool)).collect::<Vec<_>>() {
        let Some(machine) = machines.iter().find(|machine| machine.pool == pool && machine.role == Role::Worker) else {
            continue;
        };
        let Some(vm) = provider.vm(&machine.name).await? else { continue };
        match provider.client().snapshot(provider.id(), &vm.id, &format!("{}-{pool}", provider.id())).await {
            Ok(url) => {
                progress.say(&machine.name, &format!("its image, from which others of `{pool}` are made: {url}"));
                known.images.insert(pool, url);
                write(known, folder)?;
            }
            Err(error) => progress.say(&machine.name, &format!("no image is made of it: {error}")),
        }
    }
    Ok(())
}

/// Follows states and messages until every machine is what it is to be.
async fn watch(
    provider: &ImProvider,
    machines: &[Machine],
    configured: &BTreeSet<&str>,
    limit: Duration,
    folder: &Folder,
    progress: &Progress,
) -> Result<(), InfrastructureError> {
    let began = clock::monotonic();
    let (mut told, mut heard) = (BTreeMap::<String, String>::new(), 0);
    loop {
        let states: BTreeMap<String, String> =
            provider.all().await?.into_iter().map(|vm| (vm.name, vm.state)).collect();
        if !configured.is_empty() {
            let messages = provider.messages().await?;
            let news = messages.get(heard..).unwrap_or(&messages).to_owned();
            heard = messages.len();
            if !news.is_empty() {
                folder.log("im", &news);
                // Ansible rules its pages with stars.
                let says = |line: &&str| line.contains(char::is_alphanumeric);
                let last = news.lines().rev().map(|line| line.trim_end_matches('*').trim()).find(says);
                progress.say("im", last.unwrap_or_default());
            }
        }
        let mut waits = BTreeMap::new();
        let mut failed = false;
        for machine in machines {
            let name = &machine.name;
            let state = states.get(name).map_or("not there", String::as_str);
            if told.insert(name.clone(), state.to_owned()).is_none_or(|before| before != state) {
                progress.say(name, state);
            }
            let is_due = configured.contains(name.as_str());
            let done = state == "configured" || (state == "running" || state == "unconfigured") && !is_due;
            if !done {
                failed |= state == "failed" || state == "unconfigured";
                waits.insert(name.clone(), state.to_owned());
            }
        }
        if waits.is_empty() {
            return Ok(());
        }
        if failed || began.elapsed() >= limit {
            let messages = provider.messages().await.unwrap_or_default();
            let lines: Vec<&str> = messages.lines().filter(|line| !line.trim().is_empty()).collect();
            let messages = lines[lines.len().saturating_sub(12)..].join("\n");
            return Err(InfrastructureError::Stuck { machines: waits, messages });
        }
        tokio::time::sleep(GLANCE).await;
    }
}
