//! A DaemonSet, known by one of its pods: what each node that it wants will carry before any work.

use jiff::Timestamp;

use crate::model::machine::{RUNTIME, UDOCKER};
use crate::model::node::Shape;
use crate::model::pod::{Phase, Pod};
use crate::scheduling::{Place, first_failing_static};

/// A DaemonSet's pod as a sample of what it puts on other nodes: without what is this pod's alone, the node that it is
/// bound to, and the field in its affinity that names that node, which the DaemonSet's controller wrote.
pub(super) fn sample(mut pod: Pod, name: &str) -> Pod {
    pod.node = None;
    name.clone_into(&mut pod.id.name);
    pod.uid = String::new();
    pod.created = Timestamp::UNIX_EPOCH;
    pod.phase = Phase::Pending;
    pod.unschedulable = false;
    pod.deleting = false;
    pod.nominated = None;
    if let Some(terms) = &mut pod.affinity {
        for term in terms.iter_mut() {
            term.fields.clear();
        }
        if terms.iter().any(|term| term.labels.is_empty()) {
            pod.affinity = None;
        }
    }
    pod
}

/// True when the DaemonSet of this sample puts a pod on such a node.
pub(super) fn wants(sample: &Pod, name: &str, shape: &Shape) -> bool {
    let is_node = shape.labels.get(RUNTIME).is_none_or(|runtime| runtime != UDOCKER);
    is_node && first_failing_static(sample, &Place::empty(name, shape)).is_none()
}
