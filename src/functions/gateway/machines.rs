//! Machines that are no nodes: the other ground that runs run on. The runner sees the same Jobs, whichever ground
//! they are on: here a Job is a run of its name on the machine that its event was given, which is on disk before
//! the machine hears of it. So whoever is killed, and whatever breaks, it is looked for where it may be, and nowhere
//! else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::Core;
use super::answer::Answer;
use super::flight::Flight;
use super::word::{Made, Word};
use crate::clock;
use crate::functions::event::job_name;
use crate::functions::machine::files::Run;
use crate::functions::machine::{Machine, Side, Started};
use crate::functions::places::Wanted;
use crate::functions::service::Service;
use crate::functions::settings::{MachineEntry, Settings};
use crate::functions::store::{Change, Kind, Record};
use crate::remote::{Access, Host};

/// A machine as it was last heard of.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// It can be reached, and takes runs.
    pub(super) open: bool,
    /// Since when it cannot be reached.
    pub(super) silent: Option<Instant>,
}

/// All that are declared.
#[derive(Default)]
pub(super) struct Machines(BTreeMap<String, (MachineEntry, Arc<Machine>)>);

impl Machines {
    /// Those of the settings.
    pub(super) fn open(settings: &Settings) -> anyhow::Result<Self> {
        if settings.machines.is_empty() {
            return Ok(Self::default());
        }
        let key = settings.ssh.key.clone().unwrap_or_else(|| settings.secrets.join("ssh-key"));
        std::fs::metadata(&key).with_context(|| {
            format!("there is no SSH key {} for the [[machine]]s; name another with [ssh] key", key.display())
        })?;
        let folder = settings.state.join("ssh");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        // Host keys are pinned at first contact.
        let (known_hosts, control) = (folder.join("known_hosts"), folder);
        let access = Access { key: Some(key), known_hosts, control, accept_new: true };
        let machine = |entry: &MachineEntry| {
            let (address, port, user) = (entry.address.clone(), entry.port, entry.user.clone());
            let host = Host { name: entry.name.clone(), address, port, user };
            let machine = Machine::new(host, Side::Own(settings.ssh.program.clone()), access.clone());
            (entry.name.clone(), (entry.clone(), Arc::new(machine)))
        };
        Ok(Self(settings.machines.iter().map(machine).collect()))
    }

    /// Listens to all of them, until nobody listens to us.
    pub(super) fn follow(&self, words: &mpsc::Sender<Word>) {
        for (name, (_, machine)) in &self.0 {
            let (sender, mut heard) = mpsc::channel(4);
            let (name, machine, words) = (name.clone(), machine.clone(), words.clone());
            tokio::spawn(async move { machine.hear(sender).await });
            tokio::spawn(async move {
                while let Some(heard) = heard.recv().await {
                    if words.send(Word::Machine(name.clone(), heard)).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    /// One of them.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Machine>> {
        self.0.get(name).map(|(_, machine)| machine)
    }

    /// As they are declared.
    pub(super) fn entries(&self) -> impl Iterator<Item = &MachineEntry> {
        self.0.values().map(|(entry, _)| entry)
    }
}

/// Starts a run on its machine.
pub(super) async fn make(
    core: &Core,
    service: &Service,
    flight: &Flight,
    name: &str,
    wanted: &Wanted,
    body: &[u8],
) -> Made {
    let Some(machine) = core.machines.get(name) else {
        return Made::Never(format!("there is no machine {name} any more"));
    };
    let secrets = if service.environment.secrets.is_empty() {
        BTreeMap::new()
    } else {
        match core.cluster.secret(&service.name).await {
            Ok(secrets) => secrets,
            Err(error) => return Made::Full(error.to_string()),
        }
    };
    let store = core.own_store();
    let run = Run {
        service,
        secrets: &secrets,
        id: flight.id,
        body,
        attempt: flight.attempt,
        sync: flight.kind == Kind::Run,
        machine: name,
        wanted,
        store: store.as_ref(),
    };
    let files = match run.tar() {
        Ok(files) => files,
        Err(reason) => return Made::Never(format!("no run can be written for it: {reason}")),
    };
    let (seq, attempt) = (flight.seq, flight.attempt);
    if let Err(fault) = core.store.change(vec![Change::Placed { seq, attempt, machine: Some(name.to_owned()) }]).await {
        return Made::Later(fault.to_string());
    }
    match machine.start(&flight.job(), &files).await {
        Ok(Started::There) => {}
        // It said so itself: the run is not there, and may go elsewhere.
        Ok(Started::Closed) => {
            let change = Change::Placed { seq, attempt, machine: None };
            if let Err(fault) = core.store.change(vec![change]).await {
                return Made::Later(fault.to_string());
            }
            return Made::Full(format!("the machine {name} takes no more runs"));
        }
        Ok(Started::Refused(reason)) => return Made::Full(format!("the machine {name}: {reason}")),
        // It may have been started: it is asked for there again, by its name.
        Err(error) => return Made::Full(error.to_string()),
    }
    match core.store.change(vec![Change::Made { seq, attempt, at: clock::now() }]).await {
        Ok(()) => Made::There,
        Err(fault) => Made::Later(fault.to_string()),
    }
}

/// What a run has written on its machine: of this attempt, or of the last that has left something. Nothing for a
/// run that was on no such machine.
pub(super) async fn log(core: &Core, record: &Record, attempt: Option<u32>) -> Result<Option<String>, Answer> {
    for number in (1..=record.attempt).rev().filter(|number| attempt.is_none_or(|wanted| wanted == *number)) {
        let Some(name) = core.store.machine_of(record.seq, number)? else { continue };
        let Some(machine) = core.machines.get(&name) else { continue };
        let job = job_name(&record.service, record.id, number);
        let log = machine.log(&job).await.map_err(|error| {
            Answer::not_now(format!("its log lies on the machine {name}: {error}; it is there when the machine is on"))
        })?;
        if log.is_some() {
            return Ok(log);
        }
    }
    Ok(None)
}
