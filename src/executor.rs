//! The executor: does what the core decided. Every action runs in a task of its own under a limit of its
//! own, and whatever becomes of it, also a panic, comes back as an event. It chooses nothing.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use kube::Client;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::autoscaler::{Action, Event, What};
use crate::clock;
use crate::functions::machine::Machine as Door;
use crate::kubernetes::drain::{self, Patience};
use crate::kubernetes::tell;
use crate::metrics::Metrics;
use crate::model::machine::Power;
use crate::provider::{Provider, REFUSED, UNVERIFIED};

mod place;

use place::Found;

/// So long the runs of a machine that is no node are waited for before it is looked at again.
const RUNS: Duration = Duration::from_secs(5);

/// Limits of the actions: an outcome always comes, if only this one.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Seeing a machine's power.
    pub observe: Duration,
    /// Getting a power on under way.
    pub power_on: Duration,
    /// Powering off until it is seen off.
    pub power_off: Duration,
    /// A change of a Node object, retries included.
    pub node: Duration,
    /// A drain until the last pod is gone.
    pub drain: Duration,
    /// Observations at once: a rack of machines is not asked in one burst.
    pub observers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            observe: Duration::from_secs(15),
            power_on: Duration::from_mins(2),
            power_off: Duration::from_mins(3),
            node: Duration::from_secs(30),
            drain: Duration::from_mins(10),
            observers: 16,
        }
    }
}

/// Starts actions and keeps count of them. Dropped, it abandons what is under way; the next start of the
/// daemon takes the machines over as they are seen.
pub struct Executor {
    hands: Arc<Hands>,
    events: mpsc::Sender<Event>,
    metrics: Metrics,
    tasks: JoinSet<()>,
    addresses: BTreeMap<String, (String, u16)>,
}

/// What the work is done with.
struct Hands {
    provider: Arc<dyn Provider>,
    client: Client,
    limits: Limits,
    observers: Semaphore,
    /// Machines that are no nodes: what would be done to a node is done on them.
    doors: BTreeMap<String, Arc<Door>>,
    /// Which of their doors were found.
    found: Found,
}

impl Executor {
    /// Makes an executor that reports to `events`.
    pub fn new(
        provider: Arc<dyn Provider>,
        client: Client,
        limits: Limits,
        metrics: Metrics,
        events: mpsc::Sender<Event>,
        doors: BTreeMap<String, Arc<Door>>,
    ) -> Self {
        let observers = Semaphore::new(limits.observers.max(1));
        let hands = Arc::new(Hands { provider, client, limits, observers, doors, found: Found::default() });
        Self { hands, events, metrics, tasks: JoinSet::new(), addresses: BTreeMap::new() }
    }

    /// Starts the action and returns at once.
    pub fn start(&mut self, action: Action) {
        // Ended tasks are collected here, so that the set does not grow.
        while self.tasks.try_join_next().is_some() {}
        let (hands, events, metrics) = (self.hands.clone(), self.events.clone(), self.metrics.clone());
        let boots = matches!(action.what, What::PowerOn | What::PowerCycle);
        let watched = self.addresses.get(&action.machine).filter(|_| boots).cloned();
        self.tasks.spawn(async move {
            let quiet = action.what == What::Observe;
            let name = name(&action.what);
            if quiet {
                tracing::debug!(machine = %action.machine, reason = %action.reason, "observe");
            } else {
                tracing::info!(action = action.id, machine = %action.machine, reason = %action.reason, "{name}");
            }
            let (seen, error) = outcome(&hands, &action).await;
            if !quiet {
                metrics.action_ended(name, error.is_none());
                match &error {
                    None => tracing::info!(action = action.id, machine = %action.machine, "{name}: done"),
                    Some(error) => {
                        tracing::warn!(action = action.id, machine = %action.machine, %error, "{name}: failed");
                    }
                }
            }
            // When nobody listens any more the daemon is stopping, and the next one looks for itself.
            if let Some(seen) = seen {
                let _ = events.send(seen).await;
            }
            let (machine, failed) = (action.machine.clone(), error.is_some());
            let _ = events.send(Event::Done { action: action.id, machine: action.machine, error }).await;
            if let Some(declared) = watched.filter(|_| !failed) {
                let door = hands.doors.get(&machine).map(AsRef::as_ref);
                place::watch_boot(hands.provider.as_ref(), &machine, declared, door, &events).await;
            }
        });
    }

    /// Where machines are reached, so that a boot can be watched.
    #[must_use]
    pub fn with_addresses(mut self, addresses: BTreeMap<String, (String, u16)>) -> Self {
        self.addresses = addresses;
        self
    }

    /// Tells something of a machine as an event of its node. That it cannot be told stops nothing.
    pub fn tell(&mut self, machine: &str, reason: &'static str, message: String) {
        let (hands, machine) = (self.hands.clone(), machine.to_owned());
        self.tasks.spawn(async move {
            let told = tell::tell(&hands.client, &machine, reason, &message, clock::now());
            if let Ok(Err(error)) = tokio::time::timeout(hands.limits.node, told).await {
                tracing::debug!(%machine, %error, "no event could be written");
            }
        });
    }

    /// How many actions are under way.
    pub fn under_way(&mut self) -> usize {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.len()
    }
}

/// The action's name for logs and metrics.
pub fn name(what: &What) -> &'static str {
    match what {
        What::Observe => "observe",
        What::PowerOn => "power-on",
        What::PowerCycle => "power-cycle",
        What::Cordon => "cordon",
        What::Uncordon => "uncordon",
        What::Shun => "shun",
        What::Unshun => "unshun",
        What::Drain { .. } => "drain",
        What::PowerOff { .. } => "power-off",
        What::DeleteNode { .. } => "delete-node",
    }
}

/// Runs the action to its end, its limit or its panic.
async fn outcome(hands: &Hands, action: &Action) -> (Option<Event>, Option<String>) {
    let limits = hands.limits;
    let limit = match &action.what {
        What::Observe => limits.observe,
        What::PowerOn => limits.power_on,
        What::PowerOff { .. } | What::PowerCycle => limits.power_off,
        What::Cordon | What::Uncordon | What::Shun | What::Unshun | What::DeleteNode { .. } => limits.node,
        // The drain keeps its own time and can say which pod it waited for: this is only the net below.
        What::Drain { .. } => limits.drain + limits.node,
    };
    // An observation may wait for its turn; only its own work counts against its limit.
    let _turn = match &action.what {
        What::Observe => hands.observers.acquire().await.ok(),
        What::PowerOn
        | What::PowerCycle
        | What::PowerOff { .. }
        | What::Cordon
        | What::Uncordon
        | What::Shun
        | What::Unshun
        | What::Drain { .. }
        | What::DeleteNode { .. } => None,
    };
    let machine = || action.machine.clone();
    let result = match tokio::time::timeout(limit, AssertUnwindSafe(act(hands, action)).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(format!("a mistake in Marea: panic: {}", panic_text(panic.as_ref()))),
        Err(_) => {
            Err(format!("{} of `{}` did not end within {} s", name(&action.what), action.machine, limit.as_secs()))
        }
    };
    match result {
        Ok(seen) => (seen, None),
        Err(reason) if action.what == What::Observe => {
            // What two witnesses tell differently is asked again too, ever more rarely.
            let seen = if reason.contains(REFUSED) {
                Event::PowerRefused { machine: machine(), reason: reason.clone() }
            } else if reason.starts_with(UNVERIFIED) {
                Event::OffUnverified { machine: machine(), reason: reason.clone() }
            } else {
                Event::PowerUnseen { machine: machine(), reason: reason.clone() }
            };
            (Some(seen), Some(reason))
        }
        Err(reason) => (None, Some(reason)),
    }
}

async fn act(hands: &Hands, action: &Action) -> Result<Option<Event>, String> {
    let machine = action.machine.as_str();
    let (provider, client) = (&hands.provider, &hands.client);
    if let Some(door) = hands.doors.get(machine) {
        let text = |error: crate::remote::RemoteError| error.to_string();
        match &action.what {
            What::Cordon => return door.close().await.map(|()| None).map_err(text),
            What::Uncordon => return door.open().await.map(|()| None).map_err(text),
            What::Drain { .. } => {
                // Nothing can move a run to another machine: it is waited for.
                tokio::time::sleep(RUNS).await;
                return Ok(None);
            }
            // There is no such object: that it is wanted gone is all.
            What::DeleteNode { .. } | What::Shun | What::Unshun => return Ok(None),
            What::Observe | What::PowerOn | What::PowerCycle | What::PowerOff { .. } => {}
        }
    }
    match &action.what {
        What::Observe => {
            let power = provider.power(machine).await.map_err(|error| error.to_string())?;
            if let Some(door) = hands.doors.get(machine).filter(|_| power == Power::On) {
                hands.found.seek(provider.as_ref(), machine, door).await;
            }
            Ok(Some(Event::PowerSeen { machine: machine.to_owned(), power }))
        }
        What::PowerOn => provider.power_on(machine).await.map(|()| None).map_err(|error| error.to_string()),
        What::PowerCycle => provider.power_cycle(machine).await.map(|()| None).map_err(|error| error.to_string()),
        What::PowerOff { how } => {
            provider.power_off(machine, *how).await.map(|()| None).map_err(|error| error.to_string())
        }
        What::Cordon => drain::cordon(client, machine).await.map(|()| None).map_err(|error| error.to_string()),
        What::Uncordon => drain::uncordon(client, machine).await.map(|()| None).map_err(|error| error.to_string()),
        What::Shun | What::Unshun => {
            let shun = action.what == What::Shun;
            drain::shun(client, machine, shun).await.map(|()| None).map_err(|error| error.to_string())
        }
        What::Drain { pods } => {
            let patience = Patience { limit: hands.limits.drain, ..Patience::default() };
            drain::drain(client, machine, pods, patience).await.map(|()| None).map_err(|error| error.to_string())
        }
        What::DeleteNode { uid } => {
            drain::delete_node(client, machine, uid).await.map(|()| None).map_err(|error| error.to_string())
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
