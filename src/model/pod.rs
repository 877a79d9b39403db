//! A pod, trimmed to what decides: where it is, what it asks for, and which nodes it accepts.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::node::Effect;
use super::resources::Resources;
pub use super::selector::{Operator, Requirement, Selector, Term};

/// A pod's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PodId {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl From<PodId> for String {
    fn from(id: PodId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for PodId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(format!("`{text}` is not NAMESPACE/NAME")),
        }
    }
}

/// How far a pod's life has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Not started.
    #[default]
    Pending,
    /// Started, not finished.
    Running,
    /// All containers ended well.
    Succeeded,
    /// A container ended badly for good.
    Failed,
    /// Its node is out of reach.
    Unknown,
}

/// Who makes a pod again when it goes, which decides whether it holds a machine on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// Nobody: evicted, it is gone.
    #[default]
    Bare,
    /// A DaemonSet, by name: it belongs to the node and does not hold it on.
    DaemonSet(String),
    /// Kubelet itself (a static pod's mirror).
    Mirror,
    /// Another controller, as `Kind/name`.
    Controller(String),
}

/// A toleration: which taints the pod puts up with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Toleration {
    /// Key; empty with `Exists` tolerates every key.
    pub key: String,
    /// True for `Exists`, false for `Equal`.
    pub exists: bool,
    /// Value for `Equal`.
    pub value: String,
    /// The effect, or every effect.
    pub effect: Option<Effect>,
}

/// A port of the host that a container asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostPort {
    /// Address, `0.0.0.0` for all.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Port number.
    pub port: u16,
}

/// A required pod affinity or anti-affinity term: some other pods, and how near them counts as beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct PodTerm {
    /// Which pods; `None` for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Of these namespaces,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// and of the namespaces that this selects; `None` for no others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// The node label whose value a node must share with theirs.
    pub topology_key: String,
}

/// A topology spread constraint that must hold (`DoNotSchedule`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Spread {
    /// By how much the pods in a domain may outnumber those in the emptiest.
    pub max_skew: u32,
    /// The node label whose values are the domains.
    pub topology_key: String,
    /// Which pods of the pod's namespace are counted, `matchLabelKeys` included; `None` for none.
    pub selector: Option<Selector>,
    /// While there are fewer domains than this, the emptiest counts as having no pods.
    pub min_domains: u32,
    /// Only nodes that the pod's selector and node affinity accept are domains.
    pub honors_affinity: bool,
    /// Only nodes whose taints the pod tolerates are domains.
    pub honors_taints: bool,
}

/// A claim that the pod mounts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClaimUse {
    /// The PersistentVolumeClaim, in the pod's namespace.
    pub claim: String,
    /// It is made for this pod and goes with it (a generic ephemeral volume).
    #[serde(default)]
    pub ephemeral: bool,
}

/// A disk that the pod mounts by itself and that not every other pod may mount beside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "disk", rename_all = "kebab-case")]
pub enum Disk {
    /// A GCE persistent disk.
    Gce {
        /// Its name.
        name: String,
        /// Only to read.
        read_only: bool,
    },
    /// An AWS EBS volume.
    Aws {
        /// Its id.
        volume: String,
    },
    /// An iSCSI device.
    Iscsi {
        /// Its qualified name.
        iqn: String,
        /// Only to read.
        read_only: bool,
    },
    /// A Ceph RBD image.
    Rbd {
        /// The cluster's monitors.
        monitors: Vec<String>,
        /// The pool.
        pool: String,
        /// The image.
        image: String,
        /// Only to read.
        read_only: bool,
    },
}

/// Pods of which all get a place or none.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group {
    /// Its name, as `NAMESPACE/NAME`.
    pub name: String,
    /// How many pods belong to it.
    pub size: u32,
}

/// What is said on a pod about its being moved so that its machine can go off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moving {
    /// Nothing.
    #[default]
    Unsaid,
    /// It may be (`cluster-autoscaler.kubernetes.io/safe-to-evict: "true"`).
    Free,
    /// It may not (`karpenter.sh/do-not-disrupt: "true"`, or safe-to-evict `"false"`).
    Never,
    /// Not before it is so many milliseconds old (`karpenter.sh/do-not-disrupt: "30m"`).
    NotBefore(i64),
}

impl Moving {
    fn is_unsaid(&self) -> bool {
        *self == Self::Unsaid
    }
}

/// A pod as the API server shows it. Preferences are left out: they never count.
#[expect(clippy::struct_excessive_bools, reason = "they are the API's, and any of them may hold with any other")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its name.
    pub id: PodId,
    /// Its UID.
    pub uid: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its phase.
    pub phase: Phase,
    /// The node it is bound to.
    pub node: Option<String>,
    /// The scheduler said `Unschedulable`.
    pub unschedulable: bool,
    /// It has scheduling gates: not demand yet.
    pub gated: bool,
    /// It is being deleted.
    pub deleting: bool,
    /// Who makes it again.
    pub owner: Owner,
    /// What it asks for: containers, init containers, sidecars and overhead, as the scheduler counts, with `pods` = 1.
    pub requests: Resources,
    /// `spec.nodeSelector`.
    pub node_selector: BTreeMap<String, String>,
    /// Required node affinity: any one term; `None` when there is none.
    pub affinity: Option<Vec<Term>>,
    /// What it tolerates.
    pub tolerations: Vec<Toleration>,
    /// Host ports.
    pub host_ports: Vec<HostPort>,
    /// Its priority.
    pub priority: i32,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Topology spread constraints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<Spread>,
    /// Required pod affinity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_affinity: Vec<PodTerm>,
    /// Required pod anti-affinity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_anti_affinity: Vec<PodTerm>,
    /// The claims it mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimUse>,
    /// The disks it mounts by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Disk>,
    /// The node that the scheduler makes room on for it (`status.nominatedNodeName`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nominated: Option<String>,
    /// It waits rather than have others evicted (`preemptionPolicy: Never`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never_preempts: bool,
    /// The pods that it must be placed with, all or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// What is said about its being moved.
    #[serde(default, skip_serializing_if = "Moving::is_unsaid")]
    pub moving: Moving,
    /// Its volumes on the node's own disk, whose content would be lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<String>,
    /// Constraints that it has and that the fit does not judge yet, named for `marea why`.
    #[serde(default)]
    pub not_judged: Vec<String>,
}
