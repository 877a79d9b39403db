//! Conversion: the API server's Pod and Node into the model's. What decides is kept, the rest is dropped
//! here, so that ten thousand pods cost megabytes and not hundreds of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::constraints::{affinity, apart, claims, disks, local, moving, near, not_judged, spread};
use super::requests::{amounts, is_sidecar, of_pod};
use super::{ALL_OR_NONE, CORDONED, DO_NOT_DISRUPT, LEAVING, SCALE_DOWN_DISABLED};
use crate::model::node::{Effect, Node, Shape, Taint};
use crate::model::pod::{Group, HostPort, Owner, Phase, Pod, PodId, Toleration};
use crate::model::resources::Resources;

/// Taints under this prefix come and go with a node's health (`not-ready`, `unschedulable`, pressure):
/// a machine that is switched on again starts without them.
const LIFECYCLE: &str = "node.kubernetes.io/";
/// The taint of a cordoned node, which says the same as `spec.unschedulable`.
const CORDON: &str = "node.kubernetes.io/unschedulable";

/// Turns a pod into the model's.
pub fn pod(object: &api::Pod) -> Pod {
    let meta = &object.metadata;
    let spec = object.spec.clone().unwrap_or_default();
    let status = object.status.as_ref();
    let unschedulable = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default()
        .iter()
        .any(|c| c.type_ == "PodScheduled" && c.status == "False" && c.reason.as_deref() == Some("Unschedulable"));
    let mut not_judged = not_judged(&spec);
    let affinity = affinity(&spec, &mut not_judged);
    Pod {
        id: pod_id(meta),
        uid: meta.uid.clone().unwrap_or_default(),
        created: created(meta),
        phase: match status.and_then(|status| status.phase.as_deref()) {
            Some("Running") => Phase::Running,
            Some("Succeeded") => Phase::Succeeded,
            Some("Failed") => Phase::Failed,
            Some("Unknown") => Phase::Unknown,
            // A pod that has no phase yet has just been made.
            _ => Phase::Pending,
        },
        node: spec.node_name.clone().filter(|name| !name.is_empty()),
        unschedulable,
        gated: spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()),
        deleting: meta.deletion_timestamp.is_some(),
        owner: owner(meta),
        requests: of_pod(object),
        node_selector: spec.node_selector.clone().unwrap_or_default(),
        affinity,
        tolerations: spec.tolerations.as_deref().unwrap_or_default().iter().filter_map(toleration).collect(),
        host_ports: host_ports(&spec),
        priority: spec.priority.unwrap_or_default(),
        labels: meta.labels.clone().unwrap_or_default(),
        spread: spread(&spec, meta),
        pod_affinity: near(&spec, meta),
        pod_anti_affinity: apart(&spec, meta),
        claims: claims(&spec, meta),
        disks: disks(&spec),
        nominated: status.and_then(|status| status.nominated_node_name.clone()).filter(|name| !name.is_empty()),
        never_preempts: spec.preemption_policy.as_deref() == Some("Never"),
        group: group(meta),
        moving: moving(meta),
        local: local(&spec, meta),
        not_judged,
    }
}

/// Turns a node into the model's.
pub fn node(object: &api::Node) -> Node {
    let meta = &object.metadata;
    let spec = object.spec.as_ref();
    let status = object.status.as_ref();
    let ready = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default()
        .iter()
        .find(|condition| condition.type_ == "Ready");
    let taints = spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default().iter().filter_map(taint);
    // Our own is a preference, and none of the node's shape.
    let (ours, taints): (Vec<_>, Vec<_>) = taints.partition(|taint: &Taint| taint.key == LEAVING);
    let (transient, lasting): (Vec<_>, Vec<_>) =
        taints.into_iter().partition(|taint: &Taint| taint.key.starts_with(LIFECYCLE));
    let note = |key: &&str| meta.annotations.as_ref().and_then(|all| all.get(*key)).is_some_and(|text| text == "true");
    Node {
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        created: created(meta),
        ready: ready.is_some_and(|condition| condition.status == "True"),
        heartbeat: ready.and_then(|condition| condition.last_heartbeat_time.as_ref()).map(|time| time.0),
        boot_id: status
            .and_then(|status| status.node_info.as_ref())
            .map(|info| info.boot_id.clone())
            .filter(|id| !id.is_empty()),
        cordoned: spec.and_then(|spec| spec.unschedulable).unwrap_or_default(),
        cordoned_by_us: meta.annotations.as_ref().is_some_and(|all| all.contains_key(CORDONED)),
        kept_by: [DO_NOT_DISRUPT, SCALE_DOWN_DISABLED].into_iter().find(note).map(str::to_owned),
        shunned: !ours.is_empty(),
        transient: transient.into_iter().filter(|taint| taint.key != CORDON).collect(),
        shape: Shape {
            allocatable: status.and_then(|status| status.allocatable.as_ref()).map_or_else(Resources::default, amounts),
            labels: meta.labels.clone().unwrap_or_default(),
            taints: lasting,
            drivers: BTreeMap::new(),
            seen: true,
        },
    }
}

/// The group that a pod is placed with, all or none: Kueue's of plain pods, or a Job's whose pods are marked.
fn group(meta: &ObjectMeta) -> Option<Group> {
    let (labels, annotations) = (meta.labels.as_ref(), meta.annotations.as_ref());
    let label = |key| labels.and_then(|all| all.get(key));
    let count = |key| annotations.and_then(|all| all.get(key)).and_then(|text| text.parse().ok());
    let named =
        |name: &String, size| Group { name: format!("{}/{name}", meta.namespace.as_deref().unwrap_or_default()), size };
    let kueue = || Some(named(label("kueue.x-k8s.io/pod-group-name")?, count("kueue.x-k8s.io/pod-group-total-count")?));
    let job = || Some(named(label("batch.kubernetes.io/job-name")?, count(ALL_OR_NONE)?));
    kueue().or_else(job)
}

/// A pod's name from its metadata.
pub(super) fn pod_id(meta: &ObjectMeta) -> PodId {
    PodId { namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone().unwrap_or_default() }
}

fn created(meta: &ObjectMeta) -> Timestamp {
    meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

fn owner(meta: &ObjectMeta) -> Owner {
    if meta.annotations.as_ref().is_some_and(|all| all.contains_key("kubernetes.io/config.mirror")) {
        return Owner::Mirror;
    }
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    match owners.iter().find(|owner| owner.controller == Some(true)) {
        None => Owner::Bare,
        Some(owner) if owner.kind == "Node" => Owner::Mirror,
        Some(owner) if owner.kind == "DaemonSet" => Owner::DaemonSet(owner.name.clone()),
        Some(owner) => Owner::Controller(format!("{}/{}", owner.kind, owner.name)),
    }
}

fn taint(object: &api::Taint) -> Option<Taint> {
    let value = object.value.clone().unwrap_or_default();
    Some(Taint { key: object.key.clone(), value, effect: effect(&object.effect)? })
}

fn effect(text: &str) -> Option<Effect> {
    match text {
        "NoSchedule" => Some(Effect::NoSchedule),
        "PreferNoSchedule" => Some(Effect::PreferNoSchedule),
        "NoExecute" => Some(Effect::NoExecute),
        _ => None,
    }
}

/// A toleration that cannot be understood tolerates nothing: better no machine than one that does not serve.
fn toleration(object: &api::Toleration) -> Option<Toleration> {
    let exists = match object.operator.as_deref() {
        None | Some("" | "Equal") => false,
        Some("Exists") => true,
        Some(_) => return None,
    };
    let effect = match object.effect.as_deref() {
        None | Some("") => None,
        Some(text) => Some(effect(text)?),
    };
    Some(Toleration {
        key: object.key.clone().unwrap_or_default(),
        exists,
        value: object.value.clone().unwrap_or_default(),
        effect,
    })
}

fn host_ports(spec: &api::PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.as_deref().unwrap_or_default().iter().filter(|c| is_sidecar(c));
    let mut ports: Vec<HostPort> = spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.as_deref().unwrap_or_default())
        .filter_map(|port| {
            let number = u16::try_from(port.host_port?).ok().filter(|number| *number > 0)?;
            Some(HostPort {
                ip: port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned()),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                port: number,
            })
        })
        .collect();
    ports.sort();
    ports.dedup();
    ports
}
