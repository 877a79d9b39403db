//! Scheduling: does a pod fit a node, as kube-scheduler would say? The filters of its default profile, in
//! its order, on our own trimmed model. The first that fails is the reason, as it is in the pod's events.
//!
//! Preferences never count. What is not judged yet is named in `Pod::not_judged`: the filters that are to
//! come (topology spread, pod affinity, volumes) go after `resources`, with what they need in `Place`.

use std::fmt;

use crate::model::node::{Shape, Taint};
use crate::model::pod::{HostPort, Pod};
use crate::model::resources::Resources;

mod affinity;
mod misfit;
mod taints;

pub use self::affinity::accepts;
pub use self::misfit::Misfit;
pub use self::taints::tolerates;

/// A node to be judged: one that is there, one that boots, or one that a machine would become.
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

/// The first filter of kube-scheduler's default profile that keeps the pod off this place, or `None` when
/// the pod fits.
pub fn first_failing_filter(pod: &Pod, place: &Place<'_>) -> Option<Misfit> {
    first_failing_static(pod, place).or_else(|| ports(pod, place)).or_else(|| resources(pod, place))
}

/// The filters whose verdict does not depend on what else is on the place: worth asking once.
pub fn first_failing_static(pod: &Pod, place: &Place<'_>) -> Option<Misfit> {
    if place.cordoned && !taints::tolerates_cordon(pod) {
        return Some(Misfit::Unschedulable);
    }
    if let Some(node) = pod.node.as_ref().filter(|node| *node != place.name) {
        return Some(Misfit::NodeName { wants: node.clone() });
    }
    if let Some(taint) = taints::untolerated(pod, place.shape) {
        return Some(Misfit::Taint { taint: taint.clone() });
    }
    affinity::mismatch(pod, place.name, place.shape)
}

/// The filters whose verdict depends on what else is on the place.
pub fn first_failing_dynamic(pod: &Pod, place: &Place<'_>) -> Option<Misfit> {
    ports(pod, place).or_else(|| resources(pod, place))
}

/// NodePorts: two pods may not hold one port of one protocol on one address, and `0.0.0.0` is every address.
fn ports(pod: &Pod, place: &Place<'_>) -> Option<Misfit> {
    let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
    let clash = |wanted: &HostPort, held: &HostPort| {
        wanted.port == held.port
            && wanted.protocol == held.protocol
            && (any(&wanted.ip) || any(&held.ip) || wanted.ip == held.ip)
    };
    pod.host_ports
        .iter()
        .find(|wanted| wanted.port != 0 && place.ports.iter().any(|held| clash(wanted, held)))
        .map(|port| Misfit::HostPort { port: port.clone() })
}

/// NodeResourcesFit: the count of pods first; then only what the pod asks for is compared, so that a pod
/// that asks for none of a resource fits a node that is short of it.
fn resources(pod: &Pod, place: &Place<'_>) -> Option<Misfit> {
    let (wanted, all, used) = (&pod.requests, &place.shape.allocatable, &place.used);
    if used.pods.saturating_add(1) > all.pods {
        return Some(Misfit::TooManyPods { most: all.pods });
    }
    let short = |name: &str, wanted: u64, all: u64, used: u64| {
        let free = all.saturating_sub(used);
        (wanted > 0 && wanted > free).then(|| Misfit::Short { resource: name.to_owned(), wanted, free, all })
    };
    short("cpu", wanted.cpu_milli, all.cpu_milli, used.cpu_milli)
        .or_else(|| short("memory", wanted.memory, all.memory, used.memory))
        .or_else(|| short("ephemeral-storage", wanted.ephemeral, all.ephemeral, used.ephemeral))
        .or_else(|| {
            wanted.extended.iter().find_map(|(name, wanted)| {
                let of = |amounts: &Resources| amounts.extended.get(name).copied().unwrap_or_default();
                short(name, *wanted, of(all), of(used))
            })
        })
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let equals = if self.value.is_empty() { "" } else { "=" };
        write!(f, "{}{equals}{}:{:?}", self.key, self.value, self.effect)
    }
}

#[cfg(test)]
mod tests;
