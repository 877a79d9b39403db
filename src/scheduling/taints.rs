//! Taints and tolerations: TaintToleration, and the cordon, which is a taint by another name.

use crate::model::node::{Effect, Taint};
use crate::model::pod::Toleration;

/// The taint that a cordoned node is treated as having.
const CORDON: &str = "node.kubernetes.io/unschedulable";

/// True when this toleration puts up with this taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    toleration.effect.is_none_or(|effect| effect == taint.effect)
        && (toleration.key.is_empty() || toleration.key == taint.key)
        && (toleration.exists || toleration.value == taint.value)
}

/// The first taint that keeps new pods off and that is not tolerated.
pub(super) fn untolerated<'a>(tolerations: &[Toleration], taints: &'a [Taint]) -> Option<&'a Taint> {
    taints.iter().find(|taint| {
        let hard = match taint.effect {
            Effect::NoSchedule | Effect::NoExecute => true,
            Effect::PreferNoSchedule => false,
        };
        hard && !tolerations.iter().any(|toleration| tolerates(toleration, taint))
    })
}

/// The taint of a cordoned node.
pub(super) fn cordon() -> Taint {
    Taint { key: CORDON.to_owned(), value: String::new(), effect: Effect::NoSchedule }
}

/// True when a pod with these may go on a cordoned node.
pub(super) fn tolerates_cordon(tolerations: &[Toleration]) -> bool {
    let taint = cordon();
    tolerations.iter().any(|toleration| tolerates(toleration, &taint))
}
