//! A spot: a node of a cluster, or what a machine would become, and what is judged by it and the pod alone.

use std::collections::{BTreeMap, BTreeSet};

use super::class::Class;
use super::counter::Count;
use super::misfit::Misfit;
use super::{affinity, taints, volumes};
use crate::model::fact::Facts;
use crate::model::node::{Shape, Taint};
use crate::model::resources::Resources;

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

/// The node's domain of a counter, when it is one.
pub(super) fn domain_of(
    domains: &mut BTreeMap<String, BTreeMap<String, u32>>,
    count: &Count,
    spot: &Spot,
) -> Option<u32> {
    let value = spot.shape.labels.get(&count.key)?;
    if !count.is_among(&spot.name, &spot.shape, &spot.taints) {
        return None;
    }
    let values = domains.entry(count.key.clone()).or_default();
    if let Some(known) = values.get(value) {
        return Some(*known);
    }
    let number = u32::try_from(values.len()).unwrap_or(u32::MAX);
    values.insert(value.clone(), number);
    Some(number)
}
