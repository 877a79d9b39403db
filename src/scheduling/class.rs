//! A class: pods that are equal to the scheduler. What is found out for one of them holds for all.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};

use foldhash::fast::FixedState;

use crate::model::pod::{ClaimUse, Disk, HostPort, Pod, PodTerm, Spread, Term, Toleration};
use crate::model::resources::Resources;

/// All of a pod that the scheduler's filters look at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Class {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// It is being deleted: topology spread counts it no more.
    pub leaving: bool,
    /// The node that it names (`spec.nodeName`).
    pub node: Option<String>,
    /// What it asks for.
    pub requests: Resources,
    /// `spec.nodeSelector`.
    pub node_selector: BTreeMap<String, String>,
    /// Required node affinity.
    pub affinity: Option<Vec<Term>>,
    /// What it tolerates.
    pub tolerations: Vec<Toleration>,
    /// Host ports.
    pub host_ports: Vec<HostPort>,
    /// Topology spread constraints.
    pub spread: Vec<Spread>,
    /// Required pod affinity.
    pub pod_affinity: Vec<PodTerm>,
    /// Required pod anti-affinity.
    pub pod_anti_affinity: Vec<PodTerm>,
    /// The claims it mounts.
    pub claims: Vec<ClaimUse>,
    /// Its UID, where it has claims of its own: two pods' claims are never the same.
    pub owner: Option<String>,
    /// The disks it mounts by itself.
    pub disks: Vec<Disk>,
}

impl Class {
    /// The class of a pod that waits, or is on a node: where it is does not matter to its class.
    pub fn of(pod: &Pod) -> Self {
        let own_claims = pod.claims.iter().any(|claim| claim.ephemeral);
        Self {
            namespace: pod.id.namespace.clone(),
            labels: pod.labels.clone(),
            leaving: pod.deleting,
            node: None,
            requests: pod.requests.clone(),
            node_selector: pod.node_selector.clone(),
            affinity: pod.affinity.clone(),
            tolerations: pod.tolerations.clone(),
            host_ports: pod.host_ports.clone(),
            spread: pod.spread.clone(),
            pod_affinity: pod.pod_affinity.clone(),
            pod_anti_affinity: pod.pod_anti_affinity.clone(),
            claims: pod.claims.clone(),
            owner: own_claims.then(|| pod.uid.clone()),
            disks: pod.disks.clone(),
        }
    }

    /// A number that is the same for pods of one class, and hardly ever for two of different ones.
    pub(super) fn key(pod: &Pod, named: bool) -> u64 {
        let mut hasher = FixedState::default().build_hasher();
        (&pod.id.namespace, &pod.labels, pod.deleting, pod.node.as_ref().filter(|_| named)).hash(&mut hasher);
        (&pod.requests, &pod.node_selector, &pod.affinity, &pod.tolerations).hash(&mut hasher);
        (&pod.host_ports, &pod.spread, &pod.pod_affinity, &pod.pod_anti_affinity).hash(&mut hasher);
        (&pod.claims, &pod.disks).hash(&mut hasher);
        hasher.finish()
    }

    /// True when the pod is of this class.
    pub(super) fn is_of(&self, pod: &Pod, named: bool) -> bool {
        let own_claims = pod.claims.iter().any(|claim| claim.ephemeral);
        self.namespace == pod.id.namespace
            && self.labels == pod.labels
            && self.leaving == pod.deleting
            && self.node.as_ref() == pod.node.as_ref().filter(|_| named)
            && self.requests == pod.requests
            && self.node_selector == pod.node_selector
            && self.affinity == pod.affinity
            && self.tolerations == pod.tolerations
            && self.host_ports == pod.host_ports
            && self.spread == pod.spread
            && self.pod_affinity == pod.pod_affinity
            && self.pod_anti_affinity == pod.pod_anti_affinity
            && self.claims == pod.claims
            && self.owner.as_ref() == own_claims.then_some(&pod.uid)
            && self.disks == pod.disks
    }

    /// The class of a pod that names its node, to be asked whether it may go there.
    pub fn named(pod: &Pod) -> Self {
        Self { node: pod.node.clone(), ..Self::of(pod) }
    }
}
