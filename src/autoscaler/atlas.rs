//! The atlas: the state as a cluster that the scheduler's filters can be asked about. What is there is as it
//! is; a machine that is off or boots is as it will be, with what its DaemonSets will put on it.

use std::collections::BTreeMap;

use super::state::{State, is_live};
use super::view::{View, daemon_set_wants};
use crate::model::node::Node;
use crate::model::pod::Pod;
use crate::scheduling::{Cluster, Misfit};

/// The state as a cluster.
pub(super) struct Atlas {
    cluster: Cluster,
    nodes: BTreeMap<String, usize>,
}

impl Atlas {
    pub(super) fn of(state: &State, view: &View) -> Self {
        let mut atlas = Self { cluster: Cluster::new(state.facts.clone()), nodes: BTreeMap::new() };
        for (name, tracked) in &state.machines {
            let node = state.nodes.get(name);
            // A machine that is not up yet will be neither cordoned nor sick.
            let up = node.filter(|node| node.ready);
            let transient = up.map_or_else(Vec::new, Node::lasting);
            let cordoned = up.is_some_and(|node| node.cordoned);
            let number = atlas.cluster.add_node(name, &tracked.machine.shape, &transient, cordoned);
            atlas.nodes.insert(name.clone(), number);
            if up.is_none() {
                atlas.add_daemons(state, view, name, number);
            }
        }
        for (name, node) in state.nodes.iter().filter(|(name, _)| !state.machines.contains_key(*name)) {
            let number = atlas.cluster.add_node(name, &node.shape, &node.lasting(), node.cordoned);
            atlas.nodes.insert(name.clone(), number);
        }
        for pod in state.pods.values().filter(|pod| is_live(pod)) {
            if let Some(node) = pod.node.as_ref().and_then(|name| atlas.nodes.get(name)) {
                let class = atlas.cluster.class(pod);
                atlas.cluster.place(class, *node);
            }
        }
        for pod in state.pods.values().filter(|pod| is_live(pod) && pod.node.is_none()) {
            if let Some(node) = pod.nominated.as_ref().and_then(|name| atlas.nodes.get(name)) {
                let class = atlas.cluster.class(pod);
                atlas.cluster.nominate(class, *node, pod.priority);
            }
        }
        atlas
    }

    fn add_daemons(&mut self, state: &State, view: &View, name: &str, number: usize) {
        let shape = &state.machines[name].machine.shape;
        for (key, sample) in &state.daemon_sets {
            if !view.load(name).daemon_sets.contains(key) && daemon_set_wants(sample, name, shape) {
                let class = self.cluster.class(sample);
                self.cluster.place(class, number);
            }
        }
    }

    /// All that keeps the pod off this machine or node, in the scheduler's order. Nothing, when it fits.
    pub(super) fn misfits(&mut self, pod: &Pod, name: &str) -> Vec<Misfit> {
        let Some(node) = self.nodes.get(name).copied() else { return Vec::new() };
        let class = self.cluster.ask(pod);
        let misfits = self.cluster.misfits(class, node);
        if !misfits.is_empty() || pod.nominated.as_deref() == Some(name) {
            return misfits;
        }
        self.cluster.judge(class, node, pod.priority).into_iter().collect()
    }

    /// The first of them.
    pub(super) fn misfit(&mut self, pod: &Pod, name: &str) -> Option<Misfit> {
        self.misfits(pod, name).into_iter().next()
    }
}
