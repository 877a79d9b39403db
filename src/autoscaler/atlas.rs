//! The atlas: the state as a cluster that the scheduler's filters can be asked about. What is there is as it
//! is; a machine that boots is as it will be, with what its DaemonSets will put on it. A machine that is off is
//! not there, for the scheduler would not count it either: to be asked about, it enters for a moment.

use std::collections::{BTreeMap, BTreeSet};

use super::pods::is_live;
use super::solve::compile::Kin;
use super::solve::sites::Sites;
use crate::model::fact::{Fact, FactId};
use crate::model::pod::Pod;
use crate::scheduling::{Class, Cluster, Misfit};

/// The state as a cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct Atlas {
    pub(super) cluster: Cluster,
    pub(super) nodes: BTreeMap<String, usize>,
    /// Nodes that must be set down anew, whatever they look like.
    pub(super) worn: BTreeSet<String>,
    /// Nodes that are taken as they will be.
    pub(super) coming: BTreeSet<String>,
}

/// A pod that was put on a node of the atlas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Put {
    class: usize,
    node: usize,
}

impl Atlas {
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

    /// Takes a node away, with all that is on it.
    pub(super) fn leave(&mut self, name: &str) {
        if let Some(node) = self.nodes.remove(name) {
            self.cluster.remove_node(node);
            self.coming.remove(name);
        }
    }

    pub(super) fn judged(&mut self, pod: &Pod, name: &str) -> Vec<Misfit> {
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
