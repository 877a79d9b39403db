//! A pod, trimmed to what decides: where it is, what it asks for, and which nodes it accepts.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::node::Effect;
use super::resources::Resources;

/// A pod's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Not started.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// Nobody: evicted, it is gone.
    Bare,
    /// A DaemonSet, by name: it belongs to the node and does not hold it on.
    DaemonSet(String),
    /// Kubelet itself (a static pod's mirror).
    Mirror,
    /// Another controller, as `Kind/name`.
    Controller(String),
}

/// How a node selector compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Operator {
    /// The value is one of these.
    In,
    /// The value is none of these, or the key is absent.
    NotIn,
    /// The key is there.
    Exists,
    /// The key is absent.
    DoesNotExist,
    /// The value, an integer, is greater.
    Gt,
    /// The value, an integer, is smaller.
    Lt,
}

/// One comparison on a node's label (or field).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// Label key, or `metadata.name` for a field.
    pub key: String,
    /// How it compares.
    pub operator: Operator,
    /// What it compares with.
    #[serde(default)]
    pub values: Vec<String>,
}

/// One term of a required node affinity: all of it must hold. A term with nothing in it matches no node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Term {
    /// On labels.
    pub labels: Vec<Requirement>,
    /// On fields; Kubernetes knows only `metadata.name`.
    pub fields: Vec<Requirement>,
}

/// A toleration: which taints the pod puts up with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostPort {
    /// Address, `0.0.0.0` for all.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Port number.
    pub port: u16,
}

/// A pod as the API server shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Constraints that it has and that the fit does not judge yet, named for `marea why`.
    #[serde(default)]
    pub not_judged: Vec<String>,
}
