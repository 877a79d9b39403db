//! A fact: what decides besides pods and nodes: namespaces, for the selectors of pod affinity, all that ties a
//! pod's volumes to nodes, and how many pods may be evicted. Each is trimmed to what decides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::selector::{Selector, Term};

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum Fact {
    /// A namespace.
    Namespace(Namespace),
    /// A PersistentVolumeClaim.
    Claim(Claim),
    /// A PersistentVolume.
    Volume(Volume),
    /// A StorageClass.
    Class(Class),
    /// A CSIDriver.
    Driver(Driver),
    /// A CSINode: the drivers that a node has.
    NodeDrivers(NodeDrivers),
    /// A CSIStorageCapacity: what a driver can still provision somewhere.
    Capacity(Capacity),
    /// A VolumeAttachment.
    Attachment(Attachment),
    /// A PodDisruptionBudget.
    Budget(Budget),
}

/// Which kind of fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactKind {
    /// A namespace.
    Namespace,
    /// A PersistentVolumeClaim.
    Claim,
    /// A PersistentVolume.
    Volume,
    /// A StorageClass.
    Class,
    /// A CSIDriver.
    Driver,
    /// A CSINode.
    NodeDrivers,
    /// A CSIStorageCapacity.
    Capacity,
    /// A VolumeAttachment.
    Attachment,
    /// A PodDisruptionBudget.
    Budget,
}

/// A fact's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FactId {
    /// Its kind.
    pub kind: FactKind,
    /// Its name; `NAMESPACE/NAME` for what lives in a namespace.
    pub name: String,
}

/// A namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A PersistentVolumeClaim.
#[expect(clippy::struct_excessive_bools, reason = "they are the API's, and any of them may hold with any other")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Claim {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The UID of the pod that it was made for, when it is of an ephemeral volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// It is being deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleting: bool,
    /// Its volume is gone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// The storage class, empty for none.
    pub class: String,
    /// The volume it is bound to, or is meant for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// The binding is complete.
    pub bound: bool,
    /// The node that its volume is being provisioned for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected_node: Option<String>,
    /// Access modes (`ReadWriteOnce` and so on).
    pub modes: Vec<String>,
    /// Bytes asked for, when any.
    pub size: Option<u64>,
    /// Which volumes it accepts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// It wants a raw block device, not a file system.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub block: bool,
    /// Its volume attributes class, empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub attributes_class: String,
}

/// A PersistentVolume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its labels, which may name its zone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The nodes that reach it: any one term; `None` for all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Vec<Term>>,
    /// The storage class, empty for none.
    pub class: String,
    /// Bytes.
    pub size: u64,
    /// Access modes.
    pub modes: Vec<String>,
    /// It is a raw block device.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub block: bool,
    /// Its volume attributes class, empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub attributes_class: String,
    /// It is free.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub available: bool,
    /// It is being deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleting: bool,
    /// The claim that it is bound to or kept for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimRef>,
    /// The CSI driver and the volume's handle there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csi: Option<(String, String)>,
}

/// The claim that a volume is kept for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID; empty while only its name is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// A StorageClass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Who provisions its volumes.
    pub provisioner: String,
    /// `WaitForFirstConsumer`: a claim is bound when its first pod is scheduled.
    pub waits: bool,
    /// Where volumes may be provisioned: any one term, and of it every key with one of its values; none for anywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topologies: Vec<Vec<(String, Vec<String>)>>,
}

/// A CSIDriver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Driver {
    /// Its name.
    pub name: String,
    /// It publishes its capacity, and the scheduler heeds it.
    pub capacity: bool,
}

/// The CSI drivers of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeDrivers {
    /// The node.
    pub node: String,
    /// By driver: how many volumes it can attach there, when it says.
    pub limits: BTreeMap<String, Option<u32>>,
}

/// What a driver can still provision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capacity {
    /// Its namespace and name.
    pub name: String,
    /// The storage class it is about.
    pub class: String,
    /// The nodes it is about; `None` for none.
    pub nodes: Option<Selector>,
    /// The size of the largest volume, in bytes, when known.
    pub largest: Option<u64>,
}

/// A volume that is attached to a node, or is about to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// The node.
    pub node: String,
    /// The CSI driver.
    pub driver: String,
    /// The PersistentVolume, when it is one.
    pub volume: Option<String>,
}

/// A PodDisruptionBudget: how many of these pods may be evicted now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which pods of its namespace; `None` for none.
    pub selector: Option<Selector>,
    /// How many may go at present.
    pub allowed: u32,
}

/// All facts, each kind by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Namespaces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<String, Namespace>,
    /// Claims, by `NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Claim>,
    /// Volumes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Volume>,
    /// Storage classes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, Class>,
    /// CSI drivers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub drivers: BTreeMap<String, Driver>,
    /// The drivers of each node.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_drivers: BTreeMap<String, NodeDrivers>,
    /// Capacities, by `NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub capacities: BTreeMap<String, Capacity>,
    /// Attachments.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attachments: BTreeMap<String, Attachment>,
    /// Budgets, by `NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub budgets: BTreeMap<String, Budget>,
}

impl Fact {
    /// Its name.
    pub fn id(&self) -> FactId {
        let (kind, name) = match self {
            Self::Namespace(one) => (FactKind::Namespace, one.name.clone()),
            Self::Claim(one) => (FactKind::Claim, format!("{}/{}", one.namespace, one.name)),
            Self::Volume(one) => (FactKind::Volume, one.name.clone()),
            Self::Class(one) => (FactKind::Class, one.name.clone()),
            Self::Driver(one) => (FactKind::Driver, one.name.clone()),
            Self::NodeDrivers(one) => (FactKind::NodeDrivers, one.node.clone()),
            Self::Capacity(one) => (FactKind::Capacity, one.name.clone()),
            Self::Attachment(one) => (FactKind::Attachment, one.name.clone()),
            Self::Budget(one) => (FactKind::Budget, format!("{}/{}", one.namespace, one.name)),
        };
        FactId { kind, name }
    }
}

impl Facts {
    /// Takes one in, in place of an older one of its name.
    pub fn apply(&mut self, fact: Fact) {
        let FactId { name, .. } = fact.id();
        match fact {
            Fact::Namespace(one) => drop(self.namespaces.insert(name, one)),
            Fact::Claim(one) => drop(self.claims.insert(name, one)),
            Fact::Volume(one) => drop(self.volumes.insert(name, one)),
            Fact::Class(one) => drop(self.classes.insert(name, one)),
            Fact::Driver(one) => drop(self.drivers.insert(name, one)),
            Fact::NodeDrivers(one) => drop(self.node_drivers.insert(name, one)),
            Fact::Capacity(one) => drop(self.capacities.insert(name, one)),
            Fact::Attachment(one) => drop(self.attachments.insert(name, one)),
            Fact::Budget(one) => drop(self.budgets.insert(name, one)),
        }
    }

    /// Forgets one.
    pub fn remove(&mut self, id: &FactId) {
        match id.kind {
            FactKind::Namespace => drop(self.namespaces.remove(&id.name)),
            FactKind::Claim => drop(self.claims.remove(&id.name)),
            FactKind::Volume => drop(self.volumes.remove(&id.name)),
            FactKind::Class => drop(self.classes.remove(&id.name)),
            FactKind::Driver => drop(self.drivers.remove(&id.name)),
            FactKind::NodeDrivers => drop(self.node_drivers.remove(&id.name)),
            FactKind::Capacity => drop(self.capacities.remove(&id.name)),
            FactKind::Attachment => drop(self.attachments.remove(&id.name)),
            FactKind::Budget => drop(self.budgets.remove(&id.name)),
        }
    }
}

impl FromIterator<Fact> for Facts {
    fn from_iter<I: IntoIterator<Item = Fact>>(facts: I) -> Self {
        let mut all = Self::default();
        for fact in facts {
            all.apply(fact);
        }
        all
    }
}
