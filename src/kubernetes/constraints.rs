//! Constraints: which nodes and which company a pod accepts, from its spec into the model. Preferences are
//! dropped here. What the fit does not judge is named.

use k8s_openapi::api::core::v1::{self as api, NodeSelectorRequirement};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::{DO_NOT_DISRUPT, SAFE_TO_EVICT};
use crate::model::pod::{ClaimUse, Disk, Moving, Operator, PodTerm, Requirement, Selector, Spread, Term};

/// Names the volumes of a pod that may be lost, separated by commas.
const SAFE_VOLUMES: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

/// A label selector of the API; one that is not there selects nothing, and so does one that cannot be read.
pub(super) fn selector(object: Option<&LabelSelector>) -> Option<Selector> {
    let object = object?;
    let equal = |(key, value): (&String, &String)| Requirement {
        key: key.clone(),
        operator: Operator::In,
        values: vec![value.clone()],
    };
    let mut requirements: Vec<Requirement> = object.match_labels.iter().flatten().map(equal).collect();
    for expression in object.match_expressions.iter().flatten() {
        let operator = match expression.operator.as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            _ => return None,
        };
        let values = expression.values.clone().unwrap_or_default();
        requirements.push(Requirement { key: expression.key.clone(), operator, values });
    }
    Some(Selector { requirements })
}

/// Topology spread constraints that must hold.
pub(super) fn spread(spec: &api::PodSpec, meta: &ObjectMeta) -> Vec<Spread> {
    let hard = |one: &&api::TopologySpreadConstraint| one.when_unsatisfiable == "DoNotSchedule";
    let read = |one: &api::TopologySpreadConstraint| {
        let mut selected = selector(one.label_selector.as_ref());
        // The keys mean: those that have the pod's own values. The scheduler does not heed them without a selector.
        if let Some(selected) = &mut selected {
            for key in one.match_label_keys.iter().flatten() {
                if let Some(value) = meta.labels.as_ref().and_then(|labels| labels.get(key)) {
                    let same = Requirement { key: key.clone(), operator: Operator::In, values: vec![value.clone()] };
                    if !selected.requirements.contains(&same) {
                        selected.requirements.push(same);
                    }
                }
            }
        }
        Spread {
            max_skew: u32::try_from(one.max_skew).unwrap_or_default(),
            topology_key: one.topology_key.clone(),
            selector: selected,
            min_domains: one.min_domains.and_then(|least| u32::try_from(least).ok()).unwrap_or(1),
            honors_affinity: one.node_affinity_policy.as_deref() != Some("Ignore"),
            honors_taints: one.node_taints_policy.as_deref() == Some("Honor"),
        }
    };
    spec.topology_spread_constraints.iter().flatten().filter(hard).map(read).collect()
}

/// Required pod affinity.
pub(super) fn near(spec: &api::PodSpec, meta: &ObjectMeta) -> Vec<PodTerm> {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.pod_affinity.as_ref());
    terms(affinity.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_deref()), meta)
}

/// Required pod anti-affinity.
pub(super) fn apart(spec: &api::PodSpec, meta: &ObjectMeta) -> Vec<PodTerm> {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    terms(affinity.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_deref()), meta)
}

/// The API server has already turned `matchLabelKeys` and `mismatchLabelKeys` into parts of the selector.
fn terms(list: Option<&[api::PodAffinityTerm]>, meta: &ObjectMeta) -> Vec<PodTerm> {
    let read = |one: &api::PodAffinityTerm| {
        let mut namespaces = one.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && one.namespace_selector.is_none() {
            namespaces.extend(meta.namespace.clone());
        }
        PodTerm {
            selector: selector(one.label_selector.as_ref()),
            namespaces,
            namespace_selector: selector(one.namespace_selector.as_ref()),
            topology_key: one.topology_key.clone(),
        }
    };
    list.unwrap_or_default().iter().map(read).collect()
}

/// The claims it mounts. That of an ephemeral volume is named after the pod and the volume.
pub(super) fn claims(spec: &api::PodSpec, meta: &ObjectMeta) -> Vec<ClaimUse> {
    let read = |volume: &api::Volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(ClaimUse { claim: claim.claim_name.clone(), ephemeral: false }),
        (None, Some(_)) => {
            let pod = meta.name.as_deref().unwrap_or_default();
            Some(ClaimUse { claim: format!("{pod}-{}", volume.name), ephemeral: true })
        }
        (None, None) => None,
    };
    spec.volumes.iter().flatten().filter_map(read).collect()
}

/// The disks it mounts by itself, of the kinds that pods cannot share freely.
pub(super) fn disks(spec: &api::PodSpec) -> Vec<Disk> {
    let mut disks = Vec::new();
    for volume in spec.volumes.iter().flatten() {
        if let Some(disk) = &volume.gce_persistent_disk {
            disks.push(Disk::Gce { name: disk.pd_name.clone(), read_only: disk.read_only.unwrap_or_default() });
        }
        if let Some(disk) = &volume.aws_elastic_block_store {
            disks.push(Disk::Aws { volume: disk.volume_id.clone() });
        }
        if let Some(disk) = &volume.iscsi {
            disks.push(Disk::Iscsi { iqn: disk.iqn.clone(), read_only: disk.read_only.unwrap_or_default() });
        }
        if let Some(disk) = &volume.rbd {
            disks.push(Disk::Rbd {
                monitors: disk.monitors.clone(),
                pool: disk.pool.clone().unwrap_or_default(),
                image: disk.image.clone(),
                read_only: disk.read_only.unwrap_or_default(),
            });
        }
    }
    disks
}

/// Volumes on the node's own disk, by Cluster Autoscaler's rule: a directory of the node, or an empty one that is not
/// in memory, but for those that the pod names as safe to lose.
pub(super) fn local(spec: &api::PodSpec, meta: &ObjectMeta) -> Vec<String> {
    let safe = meta.annotations.as_ref().and_then(|all| all.get(SAFE_VOLUMES)).map(String::as_str).unwrap_or_default();
    let is_safe = |name: &str| safe.split(',').any(|one| one.trim() == name);
    let is_local = |volume: &&api::Volume| {
        let empty = volume.empty_dir.as_ref().is_some_and(|one| one.medium.as_deref() != Some("Memory"));
        (empty || volume.host_path.is_some()) && !is_safe(&volume.name)
    };
    spec.volumes.iter().flatten().filter(is_local).map(|volume| volume.name.clone()).collect()
}

/// What its annotations say about its being moved. A length of time that cannot be read is taken for ever.
pub(super) fn moving(meta: &ObjectMeta) -> Moving {
    let note = |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str);
    match (note(SAFE_TO_EVICT), note(DO_NOT_DISRUPT)) {
        (Some("false"), _) | (_, Some("true")) => Moving::Never,
        (_, Some(text)) if text != "false" => go_duration(text).map_or(Moving::Never, Moving::NotBefore),
        (Some("true"), _) => Moving::Free,
        _ => Moving::Unsaid,
    }
}

/// Milliseconds of a length of time as Go writes it, in whole hours, minutes and seconds: `1h30m`.
fn go_duration(text: &str) -> Option<i64> {
    let (mut sum, mut rest) = (0i64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let (unit, length) = match &rest[digits..] {
            unit if unit.starts_with("ms") => (1, 2),
            unit if unit.starts_with('h') => (3_600_000, 1),
            unit if unit.starts_with('m') => (60_000, 1),
            unit if unit.starts_with('s') => (1_000, 1),
            _ => return None,
        };
        sum = sum.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + length..];
    }
    (!text.is_empty()).then_some(sum)
}

/// Required node affinity. A term with an operator that is not known matches nothing, and is named.
pub(super) fn affinity(spec: &api::PodSpec, not_judged: &mut Vec<String>) -> Option<Vec<Term>> {
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

pub(super) fn requirements(list: Option<&[NodeSelectorRequirement]>) -> Result<Vec<Requirement>, String> {
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

/// Names the hard constraints that the fit does not look at: such a pod is reported, never guessed about.
pub(super) fn not_judged(spec: &api::PodSpec) -> Vec<String> {
    let mut names = Vec::new();
    for volume in spec.volumes.as_deref().unwrap_or_default() {
        // The scheduler counts these as volumes of the CSI driver that took them over.
        let moved = volume.azure_disk.is_some() || volume.cinder.is_some() || volume.portworx_volume.is_some();
        if moved || volume.gce_persistent_disk.is_some() || volume.aws_elastic_block_store.is_some() {
            names.push(format!("the limit on attached volumes for in-tree volume `{}`", volume.name));
        }
    }
    for claim in spec.resource_claims.as_deref().unwrap_or_default() {
        names.push(format!("resource claim `{}`", claim.name));
    }
    if spec.host_network == Some(true) && spec.host_users == Some(false) {
        names.push("user namespaces with the host's network, which a node must declare".to_owned());
    }
    if let Some(scheduler) = spec.scheduler_name.as_deref().filter(|name| *name != "default-scheduler") {
        names.push(format!("scheduler `{scheduler}`"));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(notes: &[(&str, &str)]) -> Moving {
        let annotations = notes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        moving(&ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() })
    }

    #[test]
    fn what_annotations_say_about_moving_a_pod() {
        for (notes, expected) in [
            (&[][..], Moving::Unsaid),
            (&[(SAFE_TO_EVICT, "true")], Moving::Free),
            (&[(SAFE_TO_EVICT, "false")], Moving::Never),
            (&[(DO_NOT_DISRUPT, "true")], Moving::Never),
            (&[(DO_NOT_DISRUPT, "false")], Moving::Unsaid),
            (&[(DO_NOT_DISRUPT, "1h30m5s")], Moving::NotBefore(5_405_000)),
            (&[(DO_NOT_DISRUPT, "soon")], Moving::Never),
            (&[(DO_NOT_DISRUPT, "true"), (SAFE_TO_EVICT, "true")], Moving::Never),
            (&[(DO_NOT_DISRUPT, "false"), (SAFE_TO_EVICT, "true")], Moving::Free),
        ] {
            assert_eq!(said(notes), expected, "{notes:?}");
        }
    }

    #[test]
    fn volumes_that_would_be_lost() {
        let volume = |name: &str| api::Volume { name: name.to_owned(), ..api::Volume::default() };
        let empty = |medium: Option<&str>| {
            Some(api::EmptyDirVolumeSource { medium: medium.map(str::to_owned), size_limit: None })
        };
        let spec = api::PodSpec {
            volumes: Some(vec![
                api::Volume { empty_dir: empty(None), ..volume("scratch") },
                api::Volume { empty_dir: empty(Some("Memory")), ..volume("shm") },
                api::Volume { empty_dir: empty(None), ..volume("cache") },
                api::Volume { host_path: Some(api::HostPathVolumeSource::default()), ..volume("host") },
                api::Volume { secret: Some(api::SecretVolumeSource::default()), ..volume("secret") },
            ]),
            ..api::PodSpec::default()
        };
        let safe = [(SAFE_VOLUMES.to_owned(), "tmp, cache".to_owned())].into();
        assert_eq!(local(&spec, &ObjectMeta { annotations: Some(safe), ..ObjectMeta::default() }), ["scratch", "host"]);
    }
}
