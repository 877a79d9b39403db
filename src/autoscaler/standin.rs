//! Stand-ins: machines that are no nodes. Each is known as a node of its name with its runs as pods, which it tells
//! itself: lists of Kubernetes say nothing of them. No pod goes there, whatever it tolerates, and its power is never cut
//! because it is silent: nobody but the machine knows what runs on it.

use super::queue::is_promised;
use super::state::State;
use super::tracked::Phase;
use crate::model::pod::PodId;

/// Begins the namespace of a stand-in's runs. No real namespace has a colon.
const NAMESPACE: &str = "udocker:";

/// The namespace of a machine's runs.
pub fn namespace(machine: &str) -> String {
    format!("{NAMESPACE}{machine}")
}

/// True for a run of such a machine.
pub(super) fn is_run(id: &PodId) -> bool {
    id.namespace.starts_with(NAMESPACE)
}

/// True for a node that stands in for such a machine.
pub(super) fn is_one(state: &State, name: &str) -> bool {
    state.machines.get(name).is_some_and(|tracked| tracked.machine.is_no_node())
}

/// True when this pod may never go there: only runs do, which queues promise.
pub(super) fn refuses(state: &State, pod: &PodId, name: &str) -> bool {
    !is_promised(pod) && is_one(state, name)
}

/// What ran on a machine that has been proven off since runs no more, and it can say so no more.
pub(super) fn forget(state: &mut State) {
    let off = |name: &str| {
        let phase = state.machines.get(name).map(|tracked| &tracked.phase);
        matches!(phase, None | Some(Phase::Off | Phase::Failed { .. } | Phase::DeletingNode { .. }))
    };
    let first = PodId { namespace: NAMESPACE.to_owned(), name: String::new() };
    let runs = state.pods.range(first..).take_while(|(id, _)| is_run(id));
    let over = runs.filter(|(_, pod)| pod.node.as_deref().is_some_and(off));
    for id in over.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
        state.pods.remove(&id);
    }
}
