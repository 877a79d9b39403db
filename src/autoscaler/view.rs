//! The view: what each node carries, counted once a step, and the places that pods may be judged against.

use std::collections::{BTreeMap, BTreeSet};

use super::promise::settle;
use super::state::{State, Tracked, is_live, is_work};
use crate::model::machine::{RUNTIME, UDOCKER};
use crate::model::node::Shape;
use crate::model::pod::{HostPort, Owner, Pod, PodId};
use crate::model::resources::Resources;
use crate::scheduling::{Place, first_failing_static};

/// What one node carries.
#[derive(Debug, Clone, Default)]
pub(super) struct Load {
    /// What its DaemonSet pods ask for.
    pub(super) daemons: Resources,
    /// What the rest asks for.
    pub(super) rest: Resources,
    /// Host ports held.
    pub(super) ports: Vec<HostPort>,
    /// Pods that hold the machine on.
    pub(super) work: Vec<PodId>,
    /// Those of them that are not being deleted.
    pub(super) staying: usize,
    /// DaemonSets that have a pod here, by namespace and name.
    pub(super) daemon_sets: BTreeSet<String>,
    /// All pods that use its resources.
    pub(super) pods: Vec<PodId>,
}

/// What all nodes carry.
#[derive(Debug, Default)]
pub(super) struct View {
    loads: BTreeMap<String, Load>,
    empty: Load,
    /// By node: pods that the scheduler makes room for there.
    nominated: BTreeMap<String, Vec<PodId>>,
    /// Why machines are kept for what queues promise, by name.
    promised: BTreeMap<String, String>,
}

impl View {
    pub(super) fn of(state: &State) -> Self {
        let mut view = Self::default();
        for pod in state.pods.values().filter(|pod| is_live(pod)) {
            let Some(node) = &pod.node else {
                if let Some(node) = &pod.nominated {
                    view.nominated.entry(node.clone()).or_default().push(pod.id.clone());
                }
                continue;
            };
            let load = view.loads.entry(node.clone()).or_default();
            load.pods.push(pod.id.clone());
            if let Owner::DaemonSet(name) = &pod.owner {
                load.daemons.add(&pod.requests);
                load.daemon_sets.insert(format!("{}/{name}", pod.id.namespace));
            } else {
                load.rest.add(&pod.requests);
            }
            load.ports.extend(pod.host_ports.iter().cloned());
            if is_work(pod) {
                load.work.push(pod.id.clone());
                load.staying += usize::from(!pod.deleting);
            }
        }
        view
    }

    /// The same, with the places that promised pods will need.
    pub(super) fn with_promises(state: &State) -> Self {
        let mut view = Self::of(state);
        view.promised = settle(state, &view, state.now).kept;
        view
    }

    /// Why a machine is kept for a queue, when it is.
    pub(super) fn promised(&self, machine: &str) -> Option<&str> {
        self.promised.get(machine).map(String::as_str)
    }

    /// What a node carries.
    pub(super) fn load(&self, node: &str) -> &Load {
        self.loads.get(node).unwrap_or(&self.empty)
    }

    /// The pods that the scheduler makes room for on a node.
    pub(super) fn nominated(&self, node: &str) -> impl Iterator<Item = &PodId> {
        self.nominated.get(node).into_iter().flatten()
    }

    /// A node that is there, as a place.
    pub(super) fn place<'a>(&self, name: &'a str, shape: &'a Shape, cordoned: bool) -> Place<'a> {
        let load = self.load(name);
        let mut used = load.rest.clone();
        used.add(&load.daemons);
        Place { name, shape, cordoned, used, ports: load.ports.clone() }
    }

    /// What a machine will be once it is up, its DaemonSets counted, as a place.
    pub(super) fn future<'a>(&self, state: &State, tracked: &'a Tracked) -> Place<'a> {
        let machine = &tracked.machine;
        let load = self.load(&machine.name);
        let mut place = Place::empty(&machine.name, &machine.shape);
        for sample in state.daemon_sets.values() {
            if daemon_set_wants(sample, &machine.name, &machine.shape) {
                place.take(sample);
            }
        }
        place.used.raise_to(&load.daemons);
        place.used.add(&load.rest);
        place
    }
}

/// A DaemonSet's pod as a sample of what it puts on other nodes: without the node that it is bound to, and
/// without the field in its affinity that names that node, which the DaemonSet's controller wrote.
pub(super) fn sample(mut pod: Pod) -> Pod {
    pod.node = None;
    if let Some(terms) = &mut pod.affinity {
        for term in terms.iter_mut() {
            term.fields.clear();
        }
        if terms.iter().any(|term| term.labels.is_empty()) {
            pod.affinity = None;
        }
    }
    pod
}

/// True when the DaemonSet of this sample puts a pod on such a node.
pub(super) fn daemon_set_wants(sample: &Pod, name: &str, shape: &Shape) -> bool {
    let is_node = shape.labels.get(RUNTIME).is_none_or(|runtime| runtime != UDOCKER);
    is_node && first_failing_static(sample, &Place::empty(name, shape)).is_none()
}
