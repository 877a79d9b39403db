//! Scheduling: does a pod fit a node, as kube-scheduler would say? The filters of its default profile, in
//! its order, on our own trimmed model. The first that fails is the reason, as it is in the pod's events.
//!
//! `Cluster` judges with everything: other pods, volumes, topology. `Place` judges one node by itself, which is
//! all that many questions need. Preferences never count. What is not judged at all (claims of devices, say) is
//! named in `Pod::not_judged`.

use std::fmt;

use crate::model::fact::Facts;
use crate::model::node::{Shape, Taint};
use crate::model::pod::{HostPort, Pod};
use crate::model::resources::Resources;

mod affinity;
mod class;
pub mod cluster;
mod counter;
mod misfit;
mod resources;
mod selector;
mod spot;
mod taints;
mod topology;
mod volumes;

pub use self::affinity::accepts;
pub use self::class::Class;
pub use self::cluster::Cluster;
pub use self::misfit::{Filter, Misfit};
pub use self::selector::{Whose, selects, term_selects};
pub use self::taints::tolerates;

/// A node to be judged by itself: one that is there, one that boots, or one that a machine would become.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// The node's name.
    pub name: &'a str,
    /// What it offers.
    pub shape: &'a Shape,
    /// It is cordoned.
    pub cordoned: bool,
    /// What the pods on it ask for, in all.
    pub used: Resources,
    /// The host ports that they hold.
    pub ports: Vec<HostPort>,
}

impl<'a> Place<'a> {
    /// A place with nothing on it.
    pub fn empty(name: &'a str, shape: &'a Shape) -> Self {
        Self { name, shape, cordoned: false, used: Resources::default(), ports: Vec::new() }
    }

    /// Puts a pod on it.
    pub fn take(&mut self, pod: &Pod) {
        self.used.add(&pod.requests);
        self.ports.extend(pod.host_ports.iter().cloned());
    }
}

/// The first filter that keeps the pod off this place, its company elsewhere and its volumes left aside, or
/// `None` when the pod fits.
pub fn first_failing_filter(pod: &Pod, place: &Place<'_>) -> Option<Misfit> {
    first_failing_static(pod, place).or_else(|| first_failing_dynamic(pod, place))
}

/// The filters whose verdict does not depend on what else is on the place: worth asking once.
pub fn first_failing_static(pod: &Pod, place: &Place<'_>) -> Option<Misfit> {
    if let Some(node) = pod.node.as_ref().filter(|node| *node != place.name) {
        return Some(Misfit::NodeName { wants: node.clone() });
    }
    if place.cordoned && !taints::tolerates_cordon(&pod.tolerations) {
        return Some(Misfit::Unschedulable);
    }
    if let Some(taint) = taints::untolerated(&pod.tolerations, &place.shape.taints) {
        return Some(Misfit::Taint { taint: taint.clone() });
    }
    affinity::mismatch(&pod.node_selector, pod.affinity.as_deref(), place.name, &place.shape.labels)
}

/// The filters whose verdict depends on what else is on the place.
pub fn first_failing_dynamic(pod: &Pod, place: &Place<'_>) -> Option<Misfit> {
    resources::ports(&pod.host_ports, place.ports.iter())
        .or_else(|| resources::shortages(&pod.requests, &place.shape.allocatable, &place.used).next())
}

/// Why the pod's volumes keep it off a node of this name and shape, whichever other pods are there: its claims
/// must be usable, and their volumes reach the node or be to be had there.
pub fn first_failing_volume(pod: &Pod, name: &str, shape: &Shape, facts: &Facts) -> Option<Misfit> {
    if pod.claims.is_empty() {
        return None;
    }
    let class = Class::of(pod);
    volumes::wrong(&class, facts)
        .or_else(|| volumes::zone_wrong(&class, facts))
        .or_else(|| volumes::unreachable(&class, name, shape, facts))
        .or_else(|| volumes::other_zone(&class, shape, facts))
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let equals = if self.value.is_empty() { "" } else { "=" };
        write!(f, "{}{equals}{}:{:?}", self.key, self.value, self.effect)
    }
}

#[cfg(test)]
mod tests;
