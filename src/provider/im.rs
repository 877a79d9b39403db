//! The IM provider: virtual machines of any cloud, through the Infrastructure Manager. A machine is the virtual machine
//! that bears its name; on is to add or start it, off to remove or stop it. What bears no name of ours is named and left.

mod auth;
pub mod client;
pub mod fragment;
pub mod infrastructure;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use tokio::sync::{Mutex, Semaphore};

use self::client::{Advice, ImClient, ImError};
use self::fragment::Fragment;
use super::off::Waiting;
use super::{Provider, ProviderError};
use crate::clock;
use crate::model::machine::{Off, Power};

const NAME: &str = "im";
/// All machines are seen by one question; an answer serves all who ask within this time.
const FRESH: Duration = Duration::from_secs(2);
/// Names that are asked for at once.
const AT_ONCE: usize = 8;
/// How long an order whose answer was lost may still come true unseen.
const UNCERTAIN: Duration = Duration::from_secs(30);

/// Machines of one infrastructure.
pub struct ImProvider {
    client: ImClient,
    infrastructure: String,
    /// How each machine is added, by its name.
    machines: BTreeMap<String, Fragment>,
    seen: Mutex<Seen>,
    orders: Semaphore,
    glance: Duration,
    patience: Duration,
}

/// What was last seen.
#[derive(Debug, Default)]
struct Seen {
    at: Option<Instant>,
    /// States by number.
    states: BTreeMap<String, String>,
    /// Names by number: they never change.
    names: BTreeMap<String, Option<String>>,
    /// Machines whose order had no answer, and when.
    uncertain: BTreeMap<String, Instant>,
    /// Strangers that were told of.
    told: BTreeSet<String>,
}

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Its number in the infrastructure.
    pub id: String,
    /// The name that it bears; empty when it bears none.
    pub name: String,
    /// Its state, as the Infrastructure Manager says it.
    pub state: String,
}

impl ImProvider {
    /// A provider for these machines of an infrastructure that is there.
    ///
    /// Orders are given `at_once` at a time; one to power off is waited for as long as `patience`.
    pub fn new(
        client: ImClient,
        infrastructure: String,
        machines: BTreeMap<String, Fragment>,
        at_once: usize,
        patience: Duration,
    ) -> Self {
        Self {
            client,
            infrastructure,
            machines,
            seen: Mutex::default(),
            orders: Semaphore::new(at_once),
            glance: Duration::from_secs(2),
            patience,
        }
    }

    /// The virtual machines that bear no machine's name: somebody else's, or left from before. They are never touched.
    pub async fn strangers(&self) -> Result<Vec<Vm>, ImError> {
        Ok(self.all().await?.into_iter().filter(|vm| !self.machines.contains_key(&vm.name)).collect())
    }

    /// All virtual machines there are.
    pub async fn all(&self) -> Result<Vec<Vm>, ImError> {
        Ok(self.look(Duration::ZERO).await?.into_values().flatten().collect())
    }

    /// Whether a machine's name is one of ours.
    pub fn knows(&self, name: &str) -> bool {
        self.machines.contains_key(name)
    }

    /// What is asked of the Infrastructure Manager besides.
    pub fn client(&self) -> &ImClient {
        &self.client
    }

    /// The infrastructure's ID.
    pub fn id(&self) -> &str {
        &self.infrastructure
    }

    /// A machine's virtual machine, if it has one.
    pub async fn vm(&self, machine: &str) -> Result<Option<Vm>, ImError> {
        Ok(self.find(machine, FRESH).await?.into_iter().next())
    }

    /// A machine's virtual machine as RADL, if it has one: its addresses and credentials stand there once it has them.
    pub async fn radl(&self, machine: &str) -> Result<Option<String>, ImError> {
        let Some(vm) = self.vm(machine).await? else { return Ok(None) };
        self.client.machine(&self.infrastructure, &vm.id).await.map(Some)
    }

    /// What configuring said so far.
    pub async fn messages(&self) -> Result<String, ImError> {
        self.client.messages(&self.infrastructure).await
    }

    async fn find(&self, machine: &str, age: Duration) -> Result<Vec<Vm>, ImError> {
        Ok(self.look(age).await?.remove(machine).unwrap_or_default())
    }

    /// All virtual machines by name, as seen at most `age` ago.
    async fn look(&self, age: Duration) -> Result<BTreeMap<String, Vec<Vm>>, ImError> {
        let now = clock::monotonic();
        self.look_since(now.checked_sub(age).unwrap_or(now)).await
    }

    /// The same, as seen at that time or later: who waits while another looks is served by the same answer.
    async fn look_since(&self, since: Instant) -> Result<BTreeMap<String, Vec<Vm>>, ImError> {
        let mut seen = self.seen.lock().await;
        if seen.at.is_none_or(|at| at < since) {
            let now = clock::monotonic();
            let states = self.client.states(&self.infrastructure).await?;
            let new: Vec<String> = states.keys().filter(|id| !seen.names.contains_key(*id)).cloned().collect();
            let found: Vec<_> = stream::iter(new)
                .map(|id| async move { (self.client.machine(&self.infrastructure, &id).await, id) })
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
            for (radl, id) in found {
                match radl {
                    Ok(radl) => {
                        let name = fragment::name(&radl, &id);
                        seen.names.insert(id, name);
                    }
                    // It went in between: the next look will not show it.
                    Err(error) if error.advice == Advice::Gone => {}
                    Err(error) => return Err(error),
                }
            }
            seen.names.retain(|id, _| states.contains_key(id));
            seen.states = states;
            seen.at = Some(now);
            self.tell_strangers(&mut seen);
        }
        let mut all: BTreeMap<String, Vec<Vm>> = BTreeMap::new();
        for (id, state) in &seen.states {
            let name = seen.names.get(id).cloned().flatten().unwrap_or_default();
            let vm = Vm { id: id.clone(), name: name.clone(), state: state.clone() };
            all.entry(name).or_default().push(vm);
        }
        Ok(all)
    }

    fn tell_strangers(&self, seen: &mut Seen) {
        for (id, name) in &seen.names {
            let known = name.as_ref().is_some_and(|name| self.machines.contains_key(name));
            if !known && seen.told.insert(id.clone()) {
                let name = name.as_deref().unwrap_or("without a name");
                tracing::warn!(vm = %id, %name, "a virtual machine that is none of ours is in the infrastructure; it is left alone");
            }
        }
    }

    async fn see(&self, machine: &str, age: Duration) -> Result<Power, ProviderError> {
        if !self.machines.contains_key(machine) {
            return Err(ProviderError::NoSuchMachine { provider: NAME, machine: machine.to_owned() });
        }
        let now = clock::monotonic();
        self.see_since(machine, now.checked_sub(age).unwrap_or(now)).await
    }

    async fn see_since(&self, machine: &str, since: Instant) -> Result<Power, ProviderError> {
        let all = self.look_since(since).await;
        let vms = all.map_err(|e| tell("status", machine, e))?.remove(machine).unwrap_or_default();
        let mut off = true;
        for vm in &vms {
            match vm.state.as_str() {
                "stopped" | "off" | "deleting" => {}
                // A failed one holds what it has until it is removed.
                "pending" | "running" | "configured" | "unconfigured" | "failed" => off = false,
                other => {
                    let reason = format!("vm {} is `{other}` by the Infrastructure Manager", vm.id);
                    return Err(ProviderError::Failed { what: "status", machine: machine.to_owned(), reason });
                }
            }
        }
        Ok(if off { Power::Off } else { Power::On })
    }

    async fn switch_on(&self, machine: &str) -> Result<(), ProviderError> {
        let fragment = self
            .machines
            .get(machine)
            .ok_or_else(|| ProviderError::NoSuchMachine { provider: NAME, machine: machine.to_owned() })?;
        let failed = |e: ImError| tell("power on", machine, e);
        let _turn = self.orders.acquire().await;
        self.settle(machine).await.map_err(failed)?;
        // What was added by us is known at once: the same look serves a burst of orders.
        let vms = self.find(machine, FRESH).await.map_err(failed)?;
        if let Some(vm) =
            vms.iter().find(|vm| matches!(vm.state.as_str(), "pending" | "running" | "configured" | "unconfigured"))
        {
            tracing::debug!(%machine, vm = %vm.id, "is there already");
            return Ok(());
        }
        let order = if let Some(vm) = vms.iter().find(|vm| matches!(vm.state.as_str(), "stopped" | "off")) {
            self.client.order(&self.infrastructure, &vm.id, "start").await
        } else {
            for vm in &vms {
                self.remove(&vm.id).await.map_err(failed)?;
            }
            let added = self.client.add(&self.infrastructure, &fragment.of(machine), fragment.configure).await;
            match added {
                Ok(new) if new.is_empty() => Err(ImError {
                    advice: Advice::Retry,
                    text: "the Infrastructure Manager answered that it was done, and made nothing".to_owned(),
                }),
                Ok(new) => {
                    let mut seen = self.seen.lock().await;
                    for id in new {
                        seen.names.insert(id.clone(), Some(machine.to_owned()));
                        seen.states.insert(id, "pending".to_owned());
                    }
                    return Ok(());
                }
                Err(error) => Err(error),
            }
        };
        let mut seen = self.seen.lock().await;
        seen.at = None;
        if order.as_ref().is_err_and(|error| error.advice == Advice::Retry) {
            seen.uncertain.insert(machine.to_owned(), clock::monotonic());
        }
        drop(seen);
        order.map_err(failed)
    }

    /// An order whose answer was lost may still be carried out: it is waited for before another is given.
    async fn settle(&self, machine: &str) -> Result<(), ImError> {
        let since = self.seen.lock().await.uncertain.get(machine).copied();
        let Some(since) = since else { return Ok(()) };
        while clock::monotonic().duration_since(since) < UNCERTAIN {
            if !self.find(machine, Duration::ZERO).await?.is_empty() {
                break;
            }
            tokio::time::sleep(self.glance).await;
        }
        self.seen.lock().await.uncertain.remove(machine);
        Ok(())
    }

    async fn remove(&self, vm: &str) -> Result<(), ImError> {
        match self.client.remove(&self.infrastructure, vm).await {
            Err(error) if error.advice == Advice::Gone && error.text.contains("VM") => Ok(()),
            other => other,
        }
    }

    async fn switch_off(&self, machine: &str) -> Result<(), ProviderError> {
        if self.see(machine, FRESH).await? == Power::Off {
            return Ok(());
        }
        let failed = |e: ImError| tell("power off", machine, e);
        let reuse = self.machines.get(machine).is_some_and(|fragment| fragment.reuse);
        let began = clock::monotonic();
        {
            let _turn = self.orders.acquire().await;
            for vm in self.find(machine, FRESH).await.map_err(failed)? {
                let done = if reuse && vm.state != "failed" {
                    self.client.order(&self.infrastructure, &vm.id, "stop").await
                } else {
                    self.remove(&vm.id).await
                };
                done.map_err(failed)?;
            }
        }
        // One look after a while serves all orders that were given meanwhile.
        let given = clock::monotonic();
        tokio::time::sleep(self.glance / 4).await;
        let waiting = Waiting { machine, began, patience: self.patience, glance: self.glance };
        let mut since = given;
        waiting
            .seen_off(Ok(()), || {
                let seen = self.see_since(machine, since);
                since = clock::monotonic() + self.glance / 2;
                seen
            })
            .await
    }

    async fn reboot(&self, machine: &str) -> Result<(), ProviderError> {
        let failed = |e: ImError| tell("power cycle", machine, e);
        let vms = self.find(machine, Duration::ZERO).await.map_err(failed)?;
        match vms.iter().find(|vm| vm.state != "failed") {
            Some(vm) => self.client.order(&self.infrastructure, &vm.id, "reboot").await.map_err(failed),
            None => self.switch_on(machine).await,
        }
    }
}

fn tell(what: &'static str, machine: &str, error: ImError) -> ProviderError {
    let (machine, reason) = (machine.to_owned(), error.text);
    match error.advice {
        Advice::Retry => ProviderError::Failed { what, machine, reason },
        Advice::GiveUp | Advice::Tell | Advice::Gone => ProviderError::Refused { what, machine, reason },
    }
}

impl Provider for ImProvider {
    fn name(&self) -> &'static str {
        NAME
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async move { Ok(self.machines.keys().cloned().collect()) })
    }

    fn power<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<Power, ProviderError>> {
        Box::pin(self.see(machine, FRESH))
    }

    fn power_on<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.switch_on(machine))
    }

    fn power_off<'a>(&'a self, machine: &'a str, _how: Off) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.switch_off(machine))
    }

    fn power_cycle<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.reboot(machine))
    }
}
