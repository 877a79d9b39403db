//! Taints and tolerations: TaintToleration, and the cordon, which is a taint by another name.

use crate::model::node::{Effect, Shape, Taint};
use crate::model::pod::{Pod, Toleration};

/// The taint that a cordoned node is treated as having.
const CORDON: &str = "node.kubernetes.io/unschedulable";

/// True when this toleration puts up with this taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    toleration.effect.is_none_or(|effect| effect == taint.effect)
        && (toleration.key == taint.key || (toleration.key.is_empty() && toleration.exists))
        && (toleration.exists || toleration.value == taint.value)
}

/// The first taint that keeps new pods off and that the pod does not tolerate.
pub(super) fn untolerated<'a>(pod: &Pod, shape: &'a Shape) -> Option<&'a Taint> {
    shape.taints.iter().find(|taint| {
        let hard = match taint.effect {
            Effect::NoSchedule | Effect::NoExecute => true,
            Effect::PreferNoSchedule => false,
        };
        hard && !pod.tolerations.iter().any(|toleration| tolerates(toleration, taint))
    })
}

/// True when the pod may go on a cordoned node.
pub(super) fn tolerates_cordon(pod: &Pod) -> bool {
    let taint = Taint { key: CORDON.to_owned(), value: String::new(), effect: Effect::NoSchedule };
    pod.tolerations.iter().any(|toleration| tolerates(toleration, &taint))
}
