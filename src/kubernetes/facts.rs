//! Facts: what decisions ask for besides pods and nodes, from the API into the model.

use std::collections::BTreeMap;

use k8s_openapi::api::{core::v1 as core, policy::v1 as policy, storage::v1 as storage};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::constraints::{requirements, selector};
use crate::model::fact::{
    Attachment, Budget, Capacity, Claim, ClaimRef, Class, Driver, Fact, Namespace, NodeDrivers, Volume,
};
use crate::model::pod::Term;
use crate::model::resources::quantity;

/// Said by the volume controller on a claim whose binding is complete.
const BOUND: &str = "pv.kubernetes.io/bind-completed";
/// Said by the scheduler on a claim whose volume is to be provisioned for a node.
const SELECTED: &str = "volume.kubernetes.io/selected-node";
/// The storage class, as it was said before there was a field for it; it still wins.
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// A namespace.
pub fn namespace(object: &core::Namespace) -> Fact {
    let meta = &object.metadata;
    Fact::Namespace(Namespace { name: name(meta), labels: meta.labels.clone().unwrap_or_default() })
}

/// A PersistentVolumeClaim.
pub fn claim(object: &core::PersistentVolumeClaim) -> Fact {
    let meta = &object.metadata;
    let spec = object.spec.clone().unwrap_or_default();
    let note = |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key)).cloned();
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    Fact::Claim(Claim {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: name(meta),
        uid: meta.uid.clone().unwrap_or_default(),
        owner: owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone()),
        deleting: meta.deletion_timestamp.is_some(),
        lost: object.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost"),
        class: note(OLD_CLASS).or(spec.storage_class_name).unwrap_or_default(),
        volume: spec.volume_name.filter(|name| !name.is_empty()),
        bound: note(BOUND).is_some(),
        selected_node: note(SELECTED),
        modes: spec.access_modes.unwrap_or_default(),
        size: spec.resources.and_then(|resources| resources.requests).as_ref().and_then(storage_size),
        selector: spec.selector.as_ref().and_then(|one| selector(Some(one))),
        block: spec.volume_mode.as_deref() == Some("Block"),
        attributes_class: spec.volume_attributes_class_name.unwrap_or_default(),
    })
}

/// A PersistentVolume.
pub fn volume(object: &core::PersistentVolume) -> Fact {
    let meta = &object.metadata;
    let spec = object.spec.clone().unwrap_or_default();
    let old_class = meta.annotations.as_ref().and_then(|all| all.get(OLD_CLASS)).cloned();
    let required = spec.node_affinity.and_then(|affinity| affinity.required);
    // A term that cannot be read reaches no node.
    let term = |term: &core::NodeSelectorTerm| {
        let labels = requirements(term.match_expressions.as_deref());
        let fields = requirements(term.match_fields.as_deref());
        labels.and_then(|labels| Ok(Term { labels, fields: fields? })).unwrap_or_default()
    };
    Fact::Volume(Volume {
        name: name(meta),
        labels: meta.labels.clone().unwrap_or_default(),
        affinity: required.map(|required| required.node_selector_terms.iter().map(term).collect()),
        class: old_class.or(spec.storage_class_name).unwrap_or_default(),
        size: spec.capacity.as_ref().and_then(storage_size).unwrap_or_default(),
        modes: spec.access_modes.unwrap_or_default(),
        block: spec.volume_mode.as_deref() == Some("Block"),
        attributes_class: spec.volume_attributes_class_name.unwrap_or_default(),
        available: object.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Available"),
        deleting: meta.deletion_timestamp.is_some(),
        claim: spec.claim_ref.map(|claim| ClaimRef {
            namespace: claim.namespace.unwrap_or_default(),
            name: claim.name.unwrap_or_default(),
            uid: claim.uid.unwrap_or_default(),
        }),
        csi: spec.csi.map(|csi| (csi.driver, csi.volume_handle)),
    })
}

/// A StorageClass.
pub fn class(object: &storage::StorageClass) -> Fact {
    let term = |term: &core::TopologySelectorTerm| {
        term.match_label_expressions.iter().flatten().map(|one| (one.key.clone(), one.values.clone())).collect()
    };
    Fact::Class(Class {
        name: name(&object.metadata),
        provisioner: object.provisioner.clone(),
        waits: object.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
        topologies: object.allowed_topologies.iter().flatten().map(term).collect(),
    })
}

/// A CSIDriver.
pub fn driver(object: &storage::CSIDriver) -> Fact {
    Fact::Driver(Driver { name: name(&object.metadata), capacity: object.spec.storage_capacity.unwrap_or_default() })
}

/// A CSINode.
pub fn node_drivers(object: &storage::CSINode) -> Fact {
    let limit = |one: &storage::CSINodeDriver| {
        let count = one.allocatable.as_ref().and_then(|allocatable| allocatable.count);
        (one.name.clone(), count.and_then(|count| u32::try_from(count).ok()))
    };
    let limits: BTreeMap<String, Option<u32>> = object.spec.drivers.iter().map(limit).collect();
    Fact::NodeDrivers(NodeDrivers { node: name(&object.metadata), limits })
}

/// A CSIStorageCapacity.
pub fn capacity(object: &storage::CSIStorageCapacity) -> Fact {
    let meta = &object.metadata;
    let largest = object.maximum_volume_size.as_ref().or(object.capacity.as_ref());
    Fact::Capacity(Capacity {
        name: format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), name(meta)),
        class: object.storage_class_name.clone(),
        nodes: selector(object.node_topology.as_ref()),
        largest: largest.and_then(|Quantity(text)| quantity(text)),
    })
}

/// A VolumeAttachment.
pub fn attachment(object: &storage::VolumeAttachment) -> Fact {
    Fact::Attachment(Attachment {
        name: name(&object.metadata),
        node: object.spec.node_name.clone(),
        driver: object.spec.attacher.clone(),
        volume: object.spec.source.persistent_volume_name.clone(),
    })
}

/// A PodDisruptionBudget. One whose controller has not seen its last change allows nothing.
pub fn budget(object: &policy::PodDisruptionBudget) -> Fact {
    let meta = &object.metadata;
    let current = |status: &&policy::PodDisruptionBudgetStatus| status.observed_generation >= meta.generation;
    let allowed = object.status.as_ref().filter(current).map_or(0, |status| status.disruptions_allowed);
    Fact::Budget(Budget {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: name(meta),
        selector: object.spec.as_ref().and_then(|spec| selector(spec.selector.as_ref())),
        allowed: u32::try_from(allowed).unwrap_or_default(),
    })
}

fn name(meta: &ObjectMeta) -> String {
    meta.name.clone().unwrap_or_default()
}

fn storage_size(list: &BTreeMap<String, Quantity>) -> Option<u64> {
    list.get("storage").and_then(|Quantity(text)| quantity(text))
}
