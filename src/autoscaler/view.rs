//! The view: what each node carries, counted as pods come and go, and the places that pods may be judged against.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::chart::Chart;
use super::daemon_set;
use super::pods::{is_live, is_work};
use super::state::State;
use super::tracked::{Phase, Tracked};
use crate::model::fact::{Fact, FactId};
use crate::model::node::Shape;
use crate::model::pod::{HostPort, Owner, Pod, PodId};
use crate::model::resources::Resources;
use crate::scheduling::Place;

/// What one node carries.
#[derive(Debug, Clone, Default)]
pub(super) struct Load {
    /// What its DaemonSet pods ask for.
    pub(super) daemons: Resources,
    /// What the rest asks for.
    pub(super) rest: Resources,
    /// Host ports held.
    pub(super) ports: Vec<HostPort>,
    /// Pods that hold the machine on, in order.
    pub(super) work: Vec<PodId>,
    /// Those of them that are not being deleted.
    pub(super) staying: usize,
    /// DaemonSets that have a pod here, by namespace and name, and how many.
    daemon_sets: BTreeMap<String, usize>,
    /// All pods that use its resources.
    pub(super) pods: BTreeSet<PodId>,
    /// Among the busy nodes it stands at this number.
    stands: usize,
}

impl Load {
    /// True when the DaemonSet has a pod here.
    pub(super) fn has(&self, daemon_set: &str) -> bool {
        self.daemon_sets.contains_key(daemon_set)
    }

    fn add(&mut self, pod: &Pod) {
        if let Owner::DaemonSet(name) = &pod.owner {
            self.daemons.add(&pod.requests);
            *self.daemon_sets.entry(format!("{}/{name}", pod.id.namespace)).or_default() += 1;
        } else {
            self.rest.add(&pod.requests);
        }
        self.ports.extend(pod.host_ports.iter().cloned());
        self.pods.insert(pod.id.clone());
        if is_work(pod) {
            let at = self.work.binary_search(&pod.id).unwrap_or_else(|at| at);
            self.work.insert(at, pod.id.clone());
            self.staying += usize::from(!pod.deleting);
        }
    }

    fn remove(&mut self, pod: &Pod) {
        if let Owner::DaemonSet(name) = &pod.owner {
            self.daemons.subtract(&pod.requests);
            let key = format!("{}/{name}", pod.id.namespace);
            if let Some(count) = self.daemon_sets.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.daemon_sets.remove(&key);
                }
            }
        } else {
            self.rest.subtract(&pod.requests);
        }
        for port in &pod.host_ports {
            if let Some(at) = self.ports.iter().position(|held| held == port) {
                self.ports.remove(at);
            }
        }
        self.pods.remove(&pod.id);
        if let Ok(at) = self.work.binary_search(&pod.id) {
            self.work.remove(at);
            self.staying -= usize::from(!pod.deleting);
        }
    }
}

/// How many pods hold a node on, and which node.
pub(super) type Busy = (usize, String);

/// What all nodes carry.
#[derive(Debug, Default)]
pub(super) struct View {
    loads: BTreeMap<String, Load>,
    empty: Load,
    /// The nodes that are held on by pods, those with the fewest first.
    busy: BTreeSet<Busy>,
    /// By node: pods that the scheduler makes room for there.
    nominated: BTreeMap<String, BTreeSet<PodId>>,
    /// Why machines are kept for what queues promise, by name.
    promised: BTreeMap<String, String>,
    chart: Mutex<Chart>,
}

/// The node that a pod uses, or has room made for it on.
fn whereabouts(pod: &Pod) -> Option<(&String, bool)> {
    if !is_live(pod) {
        return None;
    }
    pod.node.as_ref().map(|node| (node, true)).or_else(|| pod.nominated.as_ref().map(|node| (node, false)))
}

impl View {
    pub(super) fn of(state: &State) -> Self {
        let mut view = Self::default();
        for pod in state.pods.values() {
            view.add(pod);
        }
        for (name, load) in view.loads.iter_mut().filter(|(_, load)| !load.work.is_empty()) {
            load.stands = load.work.len();
            view.busy.insert((load.stands, name.clone()));
        }
        view
    }

    /// Gives a node its place among the busy ones.
    fn rank(&mut self, node: &String) {
        let Some(load) = self.loads.get_mut(node).filter(|load| load.stands != load.work.len()) else { return };
        let before = std::mem::replace(&mut load.stands, load.work.len());
        if load.stands > 0 {
            self.busy.insert((load.stands, node.clone()));
        }
        self.busy.remove(&(before, node.clone()));
    }

    /// The nodes that are held on by pods, those with the fewest first, that come after this one.
    pub(super) fn busy_after(&self, one: Option<&Busy>) -> impl Iterator<Item = &Busy> {
        let from = one.map_or(Bound::Unbounded, Bound::Excluded);
        self.busy.range((from, Bound::Unbounded))
    }

    fn add(&mut self, pod: &Pod) {
        match whereabouts(pod) {
            Some((node, true)) => match self.loads.get_mut(node) {
                Some(load) => load.add(pod),
                None => self.loads.entry(node.clone()).or_default().add(pod),
            },
            Some((node, false)) => drop(self.nominated.entry(node.clone()).or_default().insert(pod.id.clone())),
            None => {}
        }
    }

    fn remove(&mut self, pod: &Pod) {
        match whereabouts(pod) {
            Some((node, true)) => {
                if let Some(load) = self.loads.get_mut(node) {
                    load.remove(pod);
                    if load.pods.is_empty() {
                        self.busy.remove(&(load.stands, node.clone()));
                        self.loads.remove(node);
                    }
                }
            }
            Some((node, false)) => {
                if let Some(pods) = self.nominated.get_mut(node) {
                    pods.remove(&pod.id);
                }
            }
            None => {}
        }
    }

    /// Takes in pods that have changed, with what they were before. Answers with the nodes that this is about.
    pub(super) fn take_in(&mut self, state: &State, news: BTreeMap<PodId, Option<Pod>>) -> BTreeSet<String> {
        let mut nodes = BTreeSet::new();
        for (id, before) in news {
            let after = state.pods.get(&id);
            for pod in [before.as_ref(), after].into_iter().flatten() {
                nodes.extend(whereabouts(pod).map(|(node, _)| node.clone()));
            }
            if let Some(pod) = &before {
                self.remove(pod);
            }
            if let Some(pod) = after {
                self.add(pod);
            }
            self.chart().change(before.as_ref(), after);
        }
        for node in &nodes {
            self.rank(node);
        }
        nodes
    }

    /// Takes in why machines are kept for what queues promise. Answers with those that were kept before.
    pub(super) fn promise(&mut self, kept: BTreeMap<String, String>) -> BTreeSet<String> {
        let before = self.promised_names();
        self.promised = kept;
        before
    }

    /// The machines that are kept for what queues promise.
    pub(super) fn promised_names(&self) -> BTreeSet<String> {
        self.promised.keys().cloned().collect()
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

    /// The chart that goes with it.
    pub(super) fn chart(&self) -> MutexGuard<'_, Chart> {
        self.chart.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has happened to these nodes; or, all that is to come to machines is another than before.
    pub(super) fn disturb(&mut self, names: &BTreeSet<String>, all: bool) {
        let chart = self.chart.get_mut().unwrap_or_else(PoisonError::into_inner);
        if all {
            *chart = Chart::default();
        }
        chart.disturb(names);
    }

    /// A fact has changed, or is gone.
    pub(super) fn fact(&mut self, fact: Result<&Fact, &FactId>) {
        self.chart.get_mut().unwrap_or_else(PoisonError::into_inner).fact(fact);
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
            if daemon_set::wants(sample, &machine.name, &machine.shape) {
                place.take(sample);
            }
        }
        place.used.raise_to(&load.daemons);
        place.used.add(&load.rest);
        place
    }
}

/// The nodes that are Ready and take pods.
pub(super) fn ready_places<'a>(state: &'a State, view: &View) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    for (name, node) in state.nodes.iter().filter(|(_, node)| node.ready && !node.cordoned) {
        match state.machines.get(name) {
            None => places.push(view.place(name, &node.shape, false)),
            Some(tracked) if matches!(tracked.phase, Phase::On { unready_since: None, .. }) => {
                places.push(view.place(name, &tracked.machine.shape, false));
            }
            Some(_) => {}
        }
    }
    places
}
