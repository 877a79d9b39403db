//! The survey: all nodes there are or could be, as the solver sees them, and what waits beside them.

use std::cell::OnceCell;

use jiff::Timestamp;

use super::scale_down::is_young;
use super::scale_up::{boots, can_turn_back, doubted_at, is_candidate};
use super::solve::compile::{Compiled, Question, Waiter};
use super::solve::sites::{Seen, Sites, Standing};
use super::state::{Phase, State, Tracked, is_demand};
use super::view::View;
use crate::model::node::{Node, Shape, Taint};
use crate::model::pod::Pod;

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

/// All sites as they are.
pub(super) fn sites(state: &State, view: &View, now: Timestamp) -> Sites {
    let mut sites = Sites::default();
    for name in names(state) {
        set(&mut sites, state, view, name, now);
    }
    sites
}

/// Sets one site down as it is.
pub(super) fn set(sites: &mut Sites, state: &State, view: &View, name: &str, now: Timestamp) {
    let Some(sight) = sight(state, name, now) else { return sites.remove(name) };
    let place = match state.machines.get(name) {
        Some(tracked) if sight.comes => view.future(state, tracked),
        _ => view.place(name, sight.shape, sight.cordoned),
    };
    let seen = Seen {
        shape: sight.shape,
        transient: &sight.transient,
        cordoned: sight.cordoned,
        used: &place.used,
        ports: &place.ports,
        standing: sight.standing,
    };
    sites.set(name, seen);
}

/// The pods on nodes, each with its site, if anything that waits or is there asks where they are.
pub(super) fn bound<'a>(state: &'a State, sites: &Sites, waiting: &[Waiter<'_>]) -> Vec<(&'a Pod, usize)> {
    let asks = |pod: &Pod| !(pod.spread.is_empty() && pod.pod_affinity.is_empty() && pod.pod_anti_affinity.is_empty());
    let asked = waiting.iter().any(|waiter| asks(waiter.pod));
    let on = |pod: &&Pod| super::state::is_live(pod) && (asked || !pod.pod_anti_affinity.is_empty());
    let at = |pod: &'a Pod| Some((pod, sites.find(pod.node.as_deref()?)?));
    state.pods.values().filter(on).filter_map(at).collect()
}

/// Judges which waiting pods a machine could host. Surveys at the first question.
pub(super) struct Judge<'a> {
    state: &'a State,
    view: &'a View,
    now: Timestamp,
    made: OnceCell<(Sites, Vec<&'a Pod>, Compiled)>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(state: &'a State, view: &'a View, now: Timestamp) -> Self {
        Self { state, view, now, made: OnceCell::new() }
    }

    /// A waiting pod, or one that has just been made, that this machine could host.
    pub(super) fn wanted(&self, machine: &str) -> Option<&'a Pod> {
        let (sites, pods, compiled) = self.made.get_or_init(|| self.make());
        let site = sites.find(machine)?;
        compiled.first_that_fits(site).map(|index| pods[index])
    }

    fn make(&self) -> (Sites, Vec<&'a Pod>, Compiled) {
        let sites = sites(self.state, self.view, self.now);
        let young = self.state.pods.values().filter(|pod| is_young(pod, self.now) && !is_demand(pod));
        let pods: Vec<&Pod> = self.state.demand().chain(young).collect();
        let waiter =
            |pod: &&'a Pod| Waiter { refused: doubted_at(self.state, &pod.id, &sites, self.now), ..Waiter::of(pod) };
        let waiting: Vec<Waiter<'_>> = pods.iter().map(waiter).collect();
        let bound = bound(self.state, &sites, &waiting);
        let question = Question { waiting, bound, ..Question::default() };
        let compiled = Compiled::of(&question, &sites, &self.state.facts);
        (sites, pods, compiled)
    }
}
