//! The atlas: the state as a cluster that the scheduler's filters can be asked about. What is there is as it
//! is; a machine that boots is as it will be, with what its DaemonSets will put on it. A machine that is off is
//! not there, for the scheduler would not count it either: to be asked about, it enters for a moment.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::solve::compile::Kin;
use super::solve::sites::Sites;
use super::state::{State, is_live};
use super::survey::{Sight, names, sight};
use super::view::{View, daemon_set_wants};
use crate::model::fact::{Fact, FactId};
use crate::model::pod::Pod;
use crate::scheduling::{Class, Cluster, Misfit};

/// The state as a cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct Atlas {
    cluster: Cluster,
    nodes: BTreeMap<String, usize>,
    /// Nodes that must be set down anew, whatever they look like.
    worn: BTreeSet<String>,
    /// Nodes that are taken as they will be.
    coming: BTreeSet<String>,
}

/// A pod that was put on a node of the atlas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Put {
    class: usize,
    node: usize,
}

impl Atlas {
    pub(super) fn of(state: &State, view: &View, now: Timestamp) -> Self {
        let mut atlas = Self { cluster: Cluster::new(state.facts.clone()), ..Self::default() };
        for name in names(state) {
            atlas.set(state, view, name, now);
        }
        atlas
    }

    /// Sets one node down as it is now, or takes it away when there is none.
    pub(super) fn set(&mut self, state: &State, view: &View, name: &str, now: Timestamp) {
        self.leave(name);
        if let Some(sight) = sight(state, name, now).filter(|sight| sight.standing.is_there()) {
            self.enter(state, view, name, &sight);
        }
    }

    /// Sets one node down as it is now, unless it is there as it is.
    pub(super) fn refresh(&mut self, state: &State, view: &View, name: &str, now: Timestamp) {
        let worn = self.worn.remove(name) || self.coming.contains(name);
        let there = sight(state, name, now).filter(|sight| sight.standing.is_there());
        let same = match (&there, self.nodes.get(name)) {
            (Some(sight), Some(node)) => {
                !sight.comes && self.cluster.is_like(*node, sight.shape, &sight.transient, sight.cordoned)
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if worn || !same {
            self.set(state, view, name, now);
        }
    }

    /// A pod has changed.
    pub(super) fn change(&mut self, before: Option<&Pod>, after: Option<&Pod>) {
        for (pod, comes) in [(before, false), (after, true)] {
            let Some(pod) = pod.filter(|pod| is_live(pod)) else { continue };
            let Some(name) = &pod.node else {
                self.worn.extend(pod.nominated.clone());
                continue;
            };
            let Some(node) = self.nodes.get(name).copied().filter(|_| !self.coming.contains(name)) else { continue };
            let class = self.cluster.class(pod);
            if comes { self.cluster.place(class, node) } else { self.cluster.unplace(class, node) }
        }
    }

    /// A fact, no namespace, has changed or is gone.
    pub(super) fn fact(&mut self, fact: Result<&Fact, &FactId>) {
        match fact {
            Ok(fact) => self.cluster.facts_mut().apply(fact.clone()),
            Err(id) => self.cluster.facts_mut().remove(id),
        }
    }

    /// True when it remembers much that is nowhere any more.
    pub(super) fn is_wasteful(&self) -> bool {
        self.cluster.is_wasteful()
    }

    /// The pods on nodes of those classes that matter, by site.
    pub(super) fn kin(&self, sites: &Sites, matters: impl Fn(&Class) -> bool) -> Vec<Kin> {
        let all: Vec<_> = self.cluster.placed().filter(|(class, _)| matters(class)).collect();
        // Few are looked up by name; for many the two lists of names are gone through side by side.
        let few = all.iter().map(|(_, on)| on.len()).sum::<usize>() * 16 < self.nodes.len();
        let site_of = if few { Vec::new() } else { self.sites_of(sites) };
        let site = |node: usize| {
            if few { sites.find(self.cluster.name(node)?) } else { site_of.get(node).copied().flatten() }
        };
        let at = |(node, pods): (&usize, &u64)| Some((site(*node)?, u32::try_from(*pods).unwrap_or(u32::MAX)));
        all.into_iter()
            .map(|(class, on)| Kin { class: class.clone(), at: on.iter().filter_map(at).collect() })
            .collect()
    }

    /// By node: its site. Both are in the order of their names.
    fn sites_of(&self, sites: &Sites) -> Vec<Option<usize>> {
        let count = self.nodes.values().max().map_or(0, |most| most + 1);
        let (mut site_of, mut site) = (vec![None; count], 0);
        for (name, node) in &self.nodes {
            while site < sites.len() && sites.name(site) < name.as_str() {
                site += 1;
            }
            if site < sites.len() && sites.name(site) == name {
                site_of[*node] = Some(site);
            }
        }
        site_of
    }

    /// An off machine is taken as booting from now on.
    pub(super) fn wake(&mut self, state: &State, view: &View, name: &str) {
        if let Some(tracked) = state.machines.get(name) {
            self.leave(name);
            self.enter(state, view, name, &Sight::future(tracked));
        }
    }

    /// Takes a node away, with all that is on it.
    pub(super) fn leave(&mut self, name: &str) {
        if let Some(node) = self.nodes.remove(name) {
            self.cluster.remove_node(node);
            self.coming.remove(name);
        }
    }

    fn enter(&mut self, state: &State, view: &View, name: &str, sight: &Sight<'_>) {
        let node = self.cluster.add_node(name, sight.shape, &sight.transient, sight.cordoned);
        self.nodes.insert(name.to_owned(), node);
        let load = view.load(name);
        if sight.comes {
            self.coming.insert(name.to_owned());
            for (key, sample) in &state.daemon_sets {
                if !load.has(key) && daemon_set_wants(sample, name, sight.shape) {
                    let class = self.cluster.class(sample);
                    self.cluster.place(class, node);
                }
            }
        }
        for pod in load.pods.iter().filter_map(|id| state.pods.get(id)) {
            let class = self.cluster.class(pod);
            self.cluster.place(class, node);
        }
        for pod in view.nominated(name).filter_map(|id| state.pods.get(id)).filter(|pod| is_live(pod)) {
            let class = self.cluster.class(pod);
            self.cluster.nominate(class, node, pod.priority);
        }
    }

    /// All that keeps the pod off this machine or node, in the scheduler's order. Nothing, when it fits. A machine
    /// that is not up is judged as it will be: neither cordoned nor sick.
    pub(super) fn misfits(&mut self, state: &State, view: &View, pod: &Pod, name: &str, now: Timestamp) -> Vec<Misfit> {
        let up = state.nodes.get(name).is_some_and(|node| node.ready);
        let coming = sight(state, name, now).is_some_and(|sight| sight.comes && sight.standing.is_there());
        let as_it_is = !state.machines.contains_key(name) || up || coming;
        if !as_it_is {
            self.wake(state, view, name);
        }
        let misfits = self.judged(pod, name);
        if !as_it_is {
            self.set(state, view, name, now);
        }
        misfits
    }

    fn judged(&mut self, pod: &Pod, name: &str) -> Vec<Misfit> {
        let Some(node) = self.nodes.get(name).copied() else { return Vec::new() };
        let class = self.cluster.ask(pod);
        let misfits = self.cluster.misfits(class, node);
        if !misfits.is_empty() || pod.nominated.as_deref() == Some(name) {
            return misfits;
        }
        self.cluster.judge(class, node, pod.priority).into_iter().collect()
    }

    /// Puts a pod on a node that is there, if all the filters agree.
    pub(super) fn put(&mut self, pod: &Pod, name: &str) -> Option<Put> {
        let node = self.nodes.get(name).copied()?;
        let class = self.cluster.ask(pod);
        if self.cluster.judge(class, node, pod.priority).is_some() {
            return None;
        }
        self.cluster.place(class, node);
        Some(Put { class, node })
    }

    /// Takes a pod away that was put.
    pub(super) fn take(&mut self, put: Put) {
        self.cluster.unplace(put.class, put.node);
    }
}
