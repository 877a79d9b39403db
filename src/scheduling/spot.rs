//! A spot: a node of a cluster, or what a machine would become, and what is judged by it and the pod alone.

use std::collections::{BTreeMap, BTreeSet};

use super::class::Class;
use super::misfit::Misfit;
use super::{affinity, taints, volumes};
use crate::model::fact::Facts;
use crate::model::node::{Shape, Taint};
use crate::model::resources::Resources;

/// The label that every node has for itself.
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";

/// A node, or what a machine would become.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) taints: Vec<Taint>,
    pub(super) cordoned: bool,
    pub(super) used: Resources,
    pub(super) pods: BTreeMap<usize, u64>,
    pub(super) nominated: Vec<(i32, usize)>,
    /// The number of its look.
    pub(super) look: usize,
}

/// What nodes are like that differ by nothing but their names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Look {
    labels: BTreeMap<String, String>,
    named: bool,
    taints: Vec<Taint>,
}

impl Look {
    pub(super) fn of(shape: &Shape, taints: &[Taint]) -> Self {
        let mut labels = shape.labels.clone();
        let named = labels.remove(HOSTNAME).is_some();
        Self { labels, named, taints: taints.to_vec() }
    }
}

/// What the scheduler finds out before it looks at any node (its `PreFilter`).
pub(super) fn ahead(class: &Class, name: &str, facts: &Facts) -> Option<Misfit> {
    let nodes = class.affinity.as_deref().and_then(affinity::named_nodes);
    let unnamed = || affinity::mismatch(&BTreeMap::new(), class.affinity.as_deref(), name, &BTreeMap::new());
    if nodes.as_ref().is_some_and(BTreeSet::is_empty) {
        return unnamed();
    }
    volumes::wrong(class, facts)
        .or_else(|| volumes::zone_wrong(class, facts))
        .or_else(|| nodes.filter(|nodes| !nodes.contains(name)).and_then(|_| unnamed()))
}

/// NodeName, NodeUnschedulable, TaintToleration and NodeAffinity.
pub(super) fn named(class: &Class, spot: &Spot) -> Option<Misfit> {
    if let Some(node) = class.node.as_ref().filter(|node| **node != spot.name) {
        return Some(Misfit::NodeName { wants: node.clone() });
    }
    if spot.cordoned && !taints::tolerates_cordon(&class.tolerations) {
        return Some(Misfit::Unschedulable);
    }
    if let Some(taint) = taints::untolerated(&class.tolerations, &spot.taints) {
        return Some(Misfit::Taint { taint: taint.clone() });
    }
    affinity::mismatch(&class.node_selector, class.affinity.as_deref(), &spot.name, &spot.shape.labels)
}
