//! Pods as the core tells them apart: those that wait for a place, those that use their node, those that hold it on.

use jiff::Timestamp;

use super::noted::Pick;
use super::time::after;
use crate::model::node::Node;
use crate::model::pod::{Owner, Phase, Pod};

/// A pod this young that the scheduler has not judged yet may be about to be bound.
pub(super) const YOUNG_MS: i64 = 30_000;

/// A pod that has no node yet is picked out: it may wait for one.
impl Pick for Pod {
    fn is_picked(&self) -> bool {
        self.node.is_none() && is_live(self)
    }
}

impl Pick for Node {
    fn is_picked(&self) -> bool {
        false
    }
}

/// True for a pod that waits for a place: the scheduler found none, and nothing else holds it back.
pub(super) fn is_demand(pod: &Pod) -> bool {
    pod.unschedulable
        && !pod.gated
        && !pod.deleting
        && pod.node.is_none()
        && pod.phase == Phase::Pending
        && !matches!(pod.owner, Owner::DaemonSet(_) | Owner::Mirror)
}

/// True for a pod that still uses its node's resources.
pub(super) fn is_live(pod: &Pod) -> bool {
    match pod.phase {
        Phase::Pending | Phase::Running | Phase::Unknown => true,
        Phase::Succeeded | Phase::Failed => false,
    }
}

/// True for a live pod that holds its machine on: not a DaemonSet's and not a mirror.
pub(super) fn is_work(pod: &Pod) -> bool {
    is_live(pod) && !matches!(pod.owner, Owner::DaemonSet(_) | Owner::Mirror)
}

/// True for a pod that has just been made and that the scheduler has not judged.
pub(super) fn is_young(pod: &Pod, now: Timestamp) -> bool {
    pod.node.is_none()
        && !pod.gated
        && !pod.deleting
        && pod.phase == Phase::Pending
        && !matches!(pod.owner, Owner::DaemonSet(_) | Owner::Mirror)
        && now < after(pod.created, YOUNG_MS)
}
