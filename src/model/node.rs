//! A node: the Kubernetes Node that a machine becomes, trimmed to what decides.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::resources::Resources;

/// What a taint does to pods that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// New pods are not scheduled.
    NoSchedule,
    /// The scheduler avoids the node: a preference, which never counts here.
    PreferNoSchedule,
    /// New pods are not scheduled and running ones are evicted.
    NoExecute,
}

/// A taint on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value, empty when it has none.
    #[serde(default)]
    pub value: String,
    /// What it does.
    pub effect: Effect,
}

/// What a pod's fit is judged against: remembered when the machine is off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shape {
    /// What pods may use.
    pub allocatable: Resources,
    /// The node's labels.
    pub labels: BTreeMap<String, String>,
    /// The node's lasting taints (those that Kubernetes itself puts on a sick or cordoned node are left out).
    pub taints: Vec<Taint>,
    /// The CSI drivers that were seen on it, and how many volumes of each it can attach, when they say.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub drivers: BTreeMap<String, Option<u32>>,
    /// True when this was read from a real node; false when it is a declaration.
    pub seen: bool,
}

/// A node as the API server shows it.
#[expect(clippy::struct_excessive_bools, reason = "they are the API's, and any of them may hold with any other")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name, which is its machine's.
    pub name: String,
    /// Its UID: a node that was deleted and registered again has another.
    pub uid: String,
    /// When the object was made.
    pub created: Timestamp,
    /// The Ready condition is True.
    pub ready: bool,
    /// When kubelet last reported Ready's condition, if ever.
    pub heartbeat: Option<Timestamp>,
    /// The kernel's number of this boot: another after each power on.
    #[serde(default)]
    pub boot_id: Option<String>,
    /// Cordoned (`spec.unschedulable`).
    pub cordoned: bool,
    /// Cordoned by Marea: it carries our annotation, so we may uncordon it.
    pub cordoned_by_us: bool,
    /// The annotation by which somebody keeps it on, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_by: Option<String>,
    /// Marea asks the scheduler to put new pods elsewhere where it can: the node carries our `PreferNoSchedule`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shunned: bool,
    /// Taints that come and go with its health (`node.kubernetes.io/...`), the cordon's left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transient: Vec<Taint>,
    /// What fit is judged against.
    pub shape: Shape,
}

/// Taints that Kubernetes takes off a node in the moment after it is Ready.
const PASSING: [&str; 4] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/network-unavailable",
    "node.cloudprovider.kubernetes.io/uninitialized",
];

impl Node {
    /// The taints of its health that do not go by themselves when it is Ready. To take the others for lasting would
    /// wake a second machine beside one that has just come.
    pub fn lasting(&self) -> Vec<Taint> {
        self.transient.iter().filter(|t| !(self.ready && PASSING.contains(&&*t.key))).cloned().collect()
    }
}
