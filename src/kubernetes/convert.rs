//! Conversion: the API server's Pod and Node into the model's. What decides is kept, the rest is dropped
//! here, so that ten thousand pods cost megabytes and not hundreds of them.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{self as api, NodeSelectorRequirement};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::CORDONED;
use super::requests::{amounts, is_sidecar, of_pod};
use crate::model::node::{Effect, Node, Shape, Taint};
use crate::model::pod::{HostPort, Operator, Owner, Phase, Pod, PodId, Requirement, Term, Toleration};
use crate::model::resources::Resources;

/// Taints under this prefix come and go with a node's health (`not-ready`, `unschedulable`, pressure):
/// a machine that is switched on again starts without them.
const LIFECYCLE: &str = "node.kubernetes.io/";

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
    Node {
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        created: created(meta),
        ready: ready.is_some_and(|condition| condition.status == "True"),
        heartbeat: ready.and_then(|condition| condition.last_heartbeat_time.as_ref()).map(|time| time.0),
        cordoned: spec.and_then(|spec| spec.unschedulable).unwrap_or_default(),
        cordoned_by_us: meta.annotations.as_ref().is_some_and(|all| all.contains_key(CORDONED)),
        shape: Shape {
            allocatable: status.and_then(|status| status.allocatable.as_ref()).map_or_else(Resources::default, amounts),
            labels: meta.labels.clone().unwrap_or_default(),
            taints: spec
                .and_then(|spec| spec.taints.as_deref())
                .unwrap_or_default()
                .iter()
                .filter(|taint| !taint.key.starts_with(LIFECYCLE))
                .filter_map(|taint| {
                    Some(Taint {
                        key: taint.key.clone(),
                        value: taint.value.clone().unwrap_or_default(),
                        effect: effect(&taint.effect)?,
                    })
                })
                .collect(),
            seen: true,
        },
    }
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

fn affinity(spec: &api::PodSpec, not_judged: &mut Vec<String>) -> Option<Vec<Term>> {
    let required =
        spec.affinity.as_ref()?.node_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref()?;
    let terms = required.node_selector_terms.iter().map(|term| {
        let labels = requirements(term.match_expressions.as_deref());
        let fields = requirements(term.match_fields.as_deref());
        match (labels, fields) {
            (Ok(labels), Ok(fields)) => Term { labels, fields },
            (Err(operator), _) | (_, Err(operator)) => {
                // An empty term matches no node, so the pod is named as hosted by none, with this reason.
                not_judged.push(format!("node affinity with operator `{operator}`"));
                Term::default()
            }
        }
    });
    Some(terms.collect())
}

fn requirements(list: Option<&[NodeSelectorRequirement]>) -> Result<Vec<Requirement>, String> {
    let read = |requirement: &NodeSelectorRequirement| {
        let operator = match requirement.operator.as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => Operator::Gt,
            "Lt" => Operator::Lt,
            other => return Err(other.to_owned()),
        };
        let values = requirement.values.clone().unwrap_or_default();
        Ok(Requirement { key: requirement.key.clone(), operator, values })
    };
    list.unwrap_or_default().iter().map(read).collect()
}

/// Names the hard constraints that the fit does not look at. Preferences are left out: they never count.
fn not_judged(spec: &api::PodSpec) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(affinity) = &spec.affinity {
        let required = |terms: Option<&Vec<api::PodAffinityTerm>>| terms.is_some_and(|terms| !terms.is_empty());
        let with = affinity.pod_affinity.as_ref();
        if required(with.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref())) {
            names.push("pod affinity".to_owned());
        }
        let without = affinity.pod_anti_affinity.as_ref();
        if required(without.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref())) {
            names.push("pod anti-affinity".to_owned());
        }
    }
    for constraint in spec.topology_spread_constraints.as_deref().unwrap_or_default() {
        if constraint.when_unsatisfiable == "DoNotSchedule" {
            names.push(format!("topology spread over `{}`", constraint.topology_key));
        }
    }
    for volume in spec.volumes.as_deref().unwrap_or_default() {
        if let Some(claim) = &volume.persistent_volume_claim {
            names.push(format!("persistent volume claim `{}`", claim.claim_name));
        } else if volume.ephemeral.is_some() {
            names.push(format!("ephemeral volume `{}`", volume.name));
        }
    }
    for claim in spec.resource_claims.as_deref().unwrap_or_default() {
        names.push(format!("resource claim `{}`", claim.name));
    }
    if let Some(scheduler) = spec.scheduler_name.as_deref().filter(|name| *name != "default-scheduler") {
        names.push(format!("scheduler `{scheduler}`"));
    }
    names
}
