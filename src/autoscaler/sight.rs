//! A sight: what a node is, or would be once its machine is up, before its pods are counted.

use jiff::Timestamp;

use super::solve::sites::Standing;
use super::state::State;
use super::tracked::{Phase, Tracked, boots, can_turn_back, is_candidate};
use crate::model::node::{Node, Shape, Taint};

/// The names of all nodes and machines.
pub(super) fn names(state: &State) -> impl Iterator<Item = &str> {
    let others = state.nodes.keys().filter(|name| !state.machines.contains_key(*name));
    state.machines.keys().chain(others).map(String::as_str)
}

/// What a node is, or would be, before its pods are counted.
pub(super) struct Sight<'a> {
    pub(super) standing: Standing,
    pub(super) shape: &'a Shape,
    /// Taints of its health.
    pub(super) transient: Vec<Taint>,
    pub(super) cordoned: bool,
    /// Its DaemonSets have yet to put their pods on it.
    pub(super) comes: bool,
}

impl<'a> Sight<'a> {
    /// A machine as it will be: neither cordoned nor sick.
    pub(super) fn future(tracked: &'a Tracked) -> Self {
        let shape = &tracked.machine.shape;
        Self { standing: Standing::Coming, shape, transient: Vec::new(), cordoned: false, comes: true }
    }
}

/// What is to be seen of a node or machine; nothing when there is none of this name.
pub(super) fn sight<'a>(state: &'a State, name: &str, now: Timestamp) -> Option<Sight<'a>> {
    let node = state.nodes.get(name);
    match (state.machines.get(name), node) {
        (Some(tracked), _) => Some(of_machine(tracked, node, now)),
        (None, Some(node)) => {
            let standing = if node.ready && !node.cordoned { Standing::Ready } else { Standing::Present };
            let (shape, cordoned) = (&node.shape, node.cordoned);
            Some(Sight { standing, shape, transient: node.lasting(), cordoned, comes: false })
        }
        (None, None) => None,
    }
}

fn of_machine<'a>(tracked: &'a Tracked, node: Option<&Node>, now: Timestamp) -> Sight<'a> {
    let takes = node.is_some_and(|node| node.ready && !node.cordoned);
    let on = matches!(tracked.phase, Phase::On { unready_since: None, .. });
    let (standing, comes, cordoned) = if on && takes {
        (Standing::Ready, false, false)
    } else if boots(tracked, now) {
        (Standing::Coming, true, false)
    } else if tracked.phase == Phase::Uncordoning {
        (Standing::Coming, false, false)
    } else if is_candidate(tracked) {
        (Standing::Off, true, false)
    } else if can_turn_back(tracked) {
        (Standing::Present, false, false)
    } else {
        let standing = if node.is_some() { Standing::Present } else { Standing::Absent };
        (standing, false, node.is_some_and(|node| node.cordoned))
    };
    // A machine that is not up yet has the health of one that is.
    let up = matches!(standing, Standing::Ready | Standing::Present);
    let transient = node.filter(|_| up).map_or_else(Vec::new, Node::lasting);
    Sight { standing, shape: &tracked.machine.shape, transient, cordoned, comes }
}
