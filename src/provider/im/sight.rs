//! Sight: what the Infrastructure Manager has, as it says itself. Nothing that was only ordered is in it, and what was
//! seen before a look that failed is not believed again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::client::{Advice, ImClient, ImError};
use super::vm::{Made, Vm};
use crate::clock;

/// All machines are seen by one question; an answer serves all who ask within this time.
pub(super) const FRESH: Duration = Duration::from_secs(2);

/// Sees the virtual machines of one infrastructure.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) client: ImClient,
    pub(super) infrastructure: String,
    /// The machines of ours.
    ours: BTreeSet<String>,
    seen: Mutex<Seen>,
}

/// What was last seen.
#[derive(Debug, Default)]
struct Seen {
    at: Option<Instant>,
    vms: Vec<Vm>,
    /// Names by number, as far as they are sure.
    names: BTreeMap<String, String>,
    /// Numbers may stand for others than they did: an order to add is under way, or the server may have been started
    /// again. All names are asked for at each look, until all that is there is whole.
    unsure: bool,
    /// Strangers that were told of.
    told: BTreeSet<String>,
}

impl Sight {
    pub(super) fn new(client: ImClient, infrastructure: String, ours: BTreeSet<String>) -> Self {
        Self { client, infrastructure, ours, seen: Mutex::default() }
    }

    pub(super) fn is_ours(&self, name: &str) -> bool {
        self.ours.contains(name)
    }

    /// All virtual machines by name, as seen at most `age` ago.
    pub(super) async fn look(&self, age: Duration) -> Result<BTreeMap<String, Vec<Vm>>, ImError> {
        let now = clock::monotonic();
        self.look_since(now.checked_sub(age).unwrap_or(now)).await
    }

    /// The same, as seen at that time or later: who waits while another looks is served by the same answer.
    pub(super) async fn look_since(&self, since: Instant) -> Result<BTreeMap<String, Vec<Vm>>, ImError> {
        let mut seen = self.seen.lock().await;
        if seen.at.is_none_or(|at| at < since) {
            seen.at = None;
            let now = clock::monotonic();
            match self.all(&mut seen).await {
                Ok(vms) => seen.vms = vms,
                Err(error) => {
                    seen.unsure |= error.advice == Advice::Retry;
                    return Err(error);
                }
            }
            seen.at = Some(now);
            self.tell_strangers(&mut seen);
        }
        let mut all: BTreeMap<String, Vec<Vm>> = BTreeMap::new();
        for vm in &seen.vms {
            all.entry(vm.name.clone()).or_default().push(vm.clone());
        }
        Ok(all)
    }

    async fn all(&self, seen: &mut Seen) -> Result<Vec<Vm>, ImError> {
        // At this question the server asks its clouds.
        let states = self.client.states(&self.infrastructure).await?;
        // A number that went without our doing may be given again.
        seen.unsure |= seen.names.keys().any(|id| !states.contains_key(id));
        if seen.unsure || states.keys().any(|id| !seen.names.contains_key(id)) {
            let all = self.client.whole(&self.infrastructure).await?;
            seen.unsure = all.iter().any(|vm| vm.made != Made::Whole);
            seen.names = all.iter().map(|vm| (vm.id.clone(), vm.name.clone())).collect();
            return Ok(all);
        }
        let vm = |(id, state): (String, String)| {
            let name = seen.names.get(&id)?.clone();
            Some(Vm { id, name, state, made: Made::Whole })
        };
        Ok(states.into_iter().filter_map(vm).collect())
    }

    /// Numbers may stand for others than they did: said when an order to add begins, and when it has ended.
    pub(super) async fn doubt(&self) {
        let mut seen = self.seen.lock().await;
        seen.at = None;
        seen.unsure = true;
    }

    /// What was seen is old: it was changed by us.
    pub(super) async fn changed(&self, removed: &[String]) {
        let mut seen = self.seen.lock().await;
        seen.at = None;
        seen.names.retain(|id, _| !removed.contains(id));
    }

    fn tell_strangers(&self, seen: &mut Seen) {
        for vm in &seen.vms {
            if !self.ours.contains(&vm.name) && seen.told.insert(vm.id.clone()) {
                let name = if vm.name.is_empty() { "without a name" } else { &vm.name };
                tracing::warn!(vm = %vm.id, %name, "a virtual machine that is none of ours is in the infrastructure; it is left alone");
            }
        }
    }
}
