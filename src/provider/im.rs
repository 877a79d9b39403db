//! The IM provider: virtual machines of any cloud, through the Infrastructure Manager. A machine is the virtual machine
//! that bears its name; on is to add or start it, off to remove or stop it. What bears no name of ours is named and left.

mod auth;
pub mod client;
pub mod fragment;
pub mod infrastructure;
mod orders;
mod sight;
pub mod vm;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use self::client::{Advice, ImClient, ImError};
use self::fragment::Fragment;
use self::orders::{Orders, Want};
use self::sight::{FRESH, Sight};
use self::vm::{Made, Vm};
use super::off::Waiting;
use super::{Provider, ProviderError, Whereabouts};
use crate::clock;
use crate::model::machine::{Off, Power};

const NAME: &str = "im";
/// How often a machine is looked at that is waited for.
const GLANCE: Duration = Duration::from_secs(2);

/// Machines of one infrastructure.
pub struct ImProvider {
    /// How each machine is added, by its name.
    machines: Arc<BTreeMap<String, Fragment>>,
    sight: Arc<Sight>,
    orders: Orders,
    patience: Duration,
    /// The network in which machines are reached.
    network: Option<String>,
}

impl ImProvider {
    /// A provider for these machines of an infrastructure that is there.
    ///
    /// At most `at_once` machines are in one order; one to power off is waited for as long as `patience`.
    pub fn new(
        client: ImClient,
        infrastructure: String,
        machines: BTreeMap<String, Fragment>,
        at_once: usize,
        patience: Duration,
    ) -> Self {
        let sight = Arc::new(Sight::new(client, infrastructure, machines.keys().cloned().collect()));
        let machines = Arc::new(machines);
        let orders = Orders::new(Arc::clone(&sight), Arc::clone(&machines), at_once, GLANCE);
        Self { sight, orders, patience, machines, network: None }
    }

    /// Machines are reached in this network of the document, in place of by their first address.
    #[must_use]
    pub fn with_network(self, network: Option<String>) -> Self {
        Self { network, ..self }
    }

    /// The virtual machines that bear no machine's name: somebody else's, or left from before. They are never touched.
    pub async fn strangers(&self) -> Result<Vec<Vm>, ImError> {
        Ok(self.all().await?.into_iter().filter(|vm| !self.knows(&vm.name)).collect())
    }

    /// All virtual machines there are, now.
    pub async fn all(&self) -> Result<Vec<Vm>, ImError> {
        Ok(self.sight.look(Duration::ZERO).await?.into_values().flatten().collect())
    }

    /// Whether a machine's name is one of ours.
    pub fn knows(&self, name: &str) -> bool {
        self.sight.is_ours(name)
    }

    /// What is asked of the Infrastructure Manager besides.
    pub fn client(&self) -> &ImClient {
        &self.sight.client
    }

    /// The infrastructure's ID.
    pub fn id(&self) -> &str {
        &self.sight.infrastructure
    }

    /// A machine's virtual machine, if it has one.
    pub async fn vm(&self, machine: &str) -> Result<Option<Vm>, ImError> {
        Ok(self.sight.look(FRESH).await?.remove(machine).unwrap_or_default().into_iter().next())
    }

    /// A machine's virtual machine as RADL, if it has one: its addresses and credentials stand there once it has them.
    pub async fn radl(&self, machine: &str) -> Result<Option<String>, ImError> {
        let Some(vm) = self.vm(machine).await? else { return Ok(None) };
        self.client().machine(self.id(), &vm.id).await.map(Some)
    }

    /// What configuring said so far.
    pub async fn messages(&self) -> Result<String, ImError> {
        self.client().messages(self.id()).await
    }

    fn is_ours(&self, machine: &str) -> Result<(), ProviderError> {
        let unknown = || ProviderError::NoSuchMachine { provider: NAME, machine: machine.to_owned() };
        if self.knows(machine) { Ok(()) } else { Err(unknown()) }
    }

    async fn see(&self, machine: &str) -> Result<Power, ProviderError> {
        self.is_ours(machine)?;
        let now = clock::monotonic();
        self.see_since(machine, now.checked_sub(FRESH).unwrap_or(now)).await
    }

    async fn see_since(&self, machine: &str, since: Instant) -> Result<Power, ProviderError> {
        let all = self.sight.look_since(since).await;
        let vms = all.map_err(|e| tell("status", machine, e))?.remove(machine).unwrap_or_default();
        let mut off = true;
        for vm in &vms {
            let strange =
                |reason: String| Err(ProviderError::Failed { what: "status", machine: machine.to_owned(), reason });
            if vm.made == Made::Hidden {
                return strange(format!(
                    "two virtual machines of the infrastructure have number {}, so that this one cannot be reached: remove it in its cloud",
                    vm.id
                ));
            }
            if vm.made == Made::Refused {
                continue;
            }
            match vm.state.as_str() {
                "stopped" | "off" | "deleting" => {}
                // A failed one holds what it has until it is removed.
                "pending" | "running" | "configured" | "unconfigured" | "failed" => off = false,
                other => return strange(format!("vm {} is `{other}` by the Infrastructure Manager", vm.id)),
            }
        }
        Ok(if off { Power::Off } else { Power::On })
    }

    async fn switch_on(&self, machine: &str) -> Result<(), ProviderError> {
        self.is_ours(machine)?;
        self.orders.give(Want::On, machine).await.map_err(|e| tell("power on", machine, e))
    }

    async fn switch_off(&self, machine: &str) -> Result<(), ProviderError> {
        if self.see(machine).await? == Power::Off {
            return Ok(());
        }
        let began = clock::monotonic();
        let order = self.orders.give(Want::Off, machine).await.map_err(|e| tell("power off", machine, e));
        // One look serves all orders that were given together.
        let mut since = clock::monotonic();
        tokio::time::sleep(GLANCE / 8).await;
        let waiting = Waiting { machine, began, patience: self.patience, glance: GLANCE };
        waiting
            .seen_off(order, || {
                let seen = self.see_since(machine, since);
                since = clock::monotonic() + GLANCE / 2;
                seen
            })
            .await
    }

    async fn place(&self, machine: &str) -> Whereabouts {
        let radl = self.radl(machine).await.ok().flatten();
        match radl.and_then(|radl| fragment::place(&radl, self.network.as_deref())) {
            Some(place) => Whereabouts::At { address: place.address, port: place.port },
            None => Whereabouts::Unknown,
        }
    }

    async fn reboot(&self, machine: &str) -> Result<(), ProviderError> {
        self.is_ours(machine)?;
        let failed = |e: ImError| tell("power cycle", machine, e);
        let vms = self.sight.look(Duration::ZERO).await.map_err(failed)?.remove(machine).unwrap_or_default();
        match vms.iter().find(|vm| vm.made == Made::Whole && vm.state != "failed") {
            Some(vm) => self.client().order(self.id(), &vm.id, "reboot").await.map_err(failed),
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

    fn whereabouts<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Whereabouts> {
        Box::pin(self.place(machine))
    }

    fn power<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<Power, ProviderError>> {
        Box::pin(self.see(machine))
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
