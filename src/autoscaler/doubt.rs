//! A doubt: a pod should fit a node, and the scheduler leaves it waiting. It is given a time, then believed.

use jiff::Timestamp;

use super::policy::Policy;
use super::solve::sites::Sites;
use super::standin;
use super::state::State;
use super::time::after;
use crate::model::pod::PodId;
use crate::scheduling::first_failing_volume;

/// For how many times the doubt's own length a pod that was refused is not tried on the same node again.
pub(super) const BELIEVED: i64 = 30;

/// True when the scheduler has been given long enough to put this pod on this node, and did not: it is
/// believed for a while, and then asked again, for what it saw may have changed. Or when it never will, because
/// the pod's volumes do not reach the node.
pub(super) fn doubted(state: &State, pod: &PodId, node: &str, now: Timestamp) -> bool {
    let since = state.doubts.get(pod).and_then(|nodes| nodes.get(node));
    since.is_some_and(|since| is_ripe(&state.policy, *since, now))
        || out_of_reach(state, pod, node)
        || standin::refuses(state, pod, node)
}

/// True when the pod's volumes keep it off this node.
fn out_of_reach(state: &State, pod: &PodId, node: &str) -> bool {
    let machine = state.machines.get(node).map(|tracked| &tracked.machine.shape);
    let shape = machine.or_else(|| state.nodes.get(node).map(|node| &node.shape));
    let (Some(pod), Some(shape)) = (state.pods.get(pod), shape) else { return false };
    first_failing_volume(pod, node, shape, &state.facts).is_some()
}

fn is_ripe(policy: &Policy, since: Timestamp, now: Timestamp) -> bool {
    now >= after(since, policy.doubt_ms) && now < after(since, policy.doubt_ms.saturating_mul(BELIEVED))
}

/// Drops the doubts that have not lasted long enough yet: nobody could see what the scheduler did.
pub(super) fn forget_young(state: &mut State, now: Timestamp) {
    let State { doubts, policy, .. } = state;
    for nodes in doubts.values_mut() {
        nodes.retain(|_, since| is_ripe(policy, *since, now));
    }
    doubts.retain(|_, nodes| !nodes.is_empty());
}

/// The sites whose refusal of this pod is believed.
pub(super) fn doubted_at(state: &State, pod: &PodId, sites: &Sites, now: Timestamp) -> Vec<usize> {
    let stand_ins = state.machines.stand_ins().map(|tracked| &tracked.machine.name);
    let closed = stand_ins.filter(|name| standin::refuses(state, pod, name));
    let nodes = state.doubts.get(pod).into_iter().flatten();
    let believed = nodes.filter(|(_, since)| is_ripe(&state.policy, **since, now)).map(|(node, _)| node);
    closed.chain(believed).filter_map(|node| sites.find(node)).collect()
}
