//! Sites: all nodes there are or could be, kept as numbers from one decision to the next, so that a decision
//! need not read them all again. A site changes only when its node, its machine or its pods do.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use super::board::Vector;
use crate::model::node::{Shape, Taint};
use crate::model::pod::HostPort;
use crate::model::resources::Resources;

/// Numbers given to things as they are met. Only ever looked up: what is iterated over has an order.
pub(super) type Numbers<K, V> = HashMap<K, V, FixedState>;

/// What a site is at present.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// No node, and none that could be.
    #[default]
    Absent,
    /// A node that takes no pods.
    Present,
    /// A node that takes pods.
    Ready,
    /// A machine that will soon be such a node.
    Coming,
    /// A machine that could be powered on.
    Off,
}

impl Standing {
    /// True for a node that is there or coming: to topology it is a domain.
    pub fn is_there(self) -> bool {
        matches!(self, Self::Present | Self::Ready | Self::Coming)
    }
}

/// One node as it is or would be.
#[derive(Debug, Clone, Default)]
pub struct Site {
    /// Its class of shape.
    pub shape: usize,
    /// What is free.
    pub free: Vector,
    /// What is free of extended resources, by their number.
    pub extended: Vec<u64>,
    /// Host ports held.
    pub ports: Vec<HostPort>,
    /// What it is.
    pub standing: Standing,
}

/// Nodes that are equal to any pod that does not name them: all labels but the host name, taints, cordon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Look {
    /// Labels without the host name's.
    pub labels: BTreeMap<String, String>,
    /// It has a host name.
    pub named: bool,
    /// Taints, those of its health included.
    pub taints: Vec<Taint>,
    /// Cordoned.
    pub cordoned: bool,
}

/// The label that every node has for itself.
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";

/// All sites, in the order of their names.
#[derive(Debug, Clone, Default)]
pub struct Sites {
    names: Vec<String>,
    all: Vec<Site>,
    looks: Vec<Look>,
    numbers: Numbers<Look, usize>,
    /// Names of extended resources.
    resources: Vec<String>,
}

/// A node to be set down as a site.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What it offers.
    pub shape: &'a Shape,
    /// Taints of its health.
    pub transient: &'a [Taint],
    /// Cordoned.
    pub cordoned: bool,
    /// What the pods on it ask for.
    pub used: &'a Resources,
    /// The host ports that they hold.
    pub ports: &'a [HostPort],
    /// What it is.
    pub standing: Standing,
}

impl Sites {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// A site's name.
    pub fn name(&self, site: usize) -> &str {
        &self.names[site]
    }

    /// The site of that name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.binary_search_by(|other| other.as_str().cmp(name)).ok()
    }

    /// A site.
    pub fn site(&self, site: usize) -> &Site {
        &self.all[site]
    }

    /// What nodes of a shape are like.
    pub fn looks(&self) -> &[Look] {
        &self.looks
    }

    /// Names of extended resources, by their number.
    pub fn resources(&self) -> &[String] {
        &self.resources
    }

    /// Sets a site down, new or changed.
    pub fn set(&mut self, name: &str, seen: Seen<'_>) {
        let site = Site {
            shape: self.look(&seen),
            free: free(&seen.shape.allocatable, seen.used),
            extended: self.extended(&seen.shape.allocatable, seen.used),
            ports: seen.ports.to_vec(),
            standing: seen.standing,
        };
        match self.names.binary_search_by(|other| other.as_str().cmp(name)) {
            Ok(at) => self.all[at] = site,
            Err(at) => {
                self.names.insert(at, name.to_owned());
                self.all.insert(at, site);
            }
        }
    }

    /// Takes a site as something else from now on.
    pub fn stand(&mut self, site: usize, standing: Standing) {
        self.all[site].standing = standing;
    }

    /// Forgets a site.
    pub fn remove(&mut self, name: &str) {
        if let Some(at) = self.find(name) {
            self.names.remove(at);
            self.all.remove(at);
        }
    }

    fn look(&mut self, seen: &Seen<'_>) -> usize {
        let mut labels = seen.shape.labels.clone();
        let named = labels.remove(HOSTNAME).is_some();
        let taints = seen.shape.taints.iter().chain(seen.transient).cloned().collect();
        let look = Look { labels, named, taints, cordoned: seen.cordoned };
        if let Some(number) = self.numbers.get(&look) {
            return *number;
        }
        let number = self.looks.len();
        self.looks.push(look.clone());
        self.numbers.insert(look, number);
        number
    }

    fn extended(&mut self, all: &Resources, used: &Resources) -> Vec<u64> {
        for name in all.extended.keys() {
            if !self.resources.contains(name) {
                self.resources.push(name.clone());
            }
        }
        if all.extended.is_empty() {
            return Vec::new();
        }
        let of = |amounts: &Resources, name: &String| amounts.extended.get(name).copied().unwrap_or_default();
        self.resources.iter().map(|name| of(all, name).saturating_sub(of(used, name))).collect()
    }
}

fn free(all: &Resources, used: &Resources) -> Vector {
    [
        all.cpu_milli.saturating_sub(used.cpu_milli),
        all.memory.saturating_sub(used.memory),
        all.ephemeral.saturating_sub(used.ephemeral),
        all.pods.saturating_sub(used.pods),
    ]
}

/// What a pod asks for, as a vector.
pub(super) fn want(requests: &Resources) -> Vector {
    [requests.cpu_milli, requests.memory, requests.ephemeral, requests.pods.max(1)]
}
