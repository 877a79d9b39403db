//! The survey: all nodes there are or could be, as the solver sees them, and what waits beside them.

use std::cell::OnceCell;

use jiff::Timestamp;

use super::scale_down::is_young;
use super::scale_up::{boots, can_turn_back, doubted_at, is_candidate};
use super::solve::compile::{Compiled, Question, Waiter};
use super::solve::sites::{Seen, Sites, Standing};
use super::state::{Phase, State, Tracked, is_demand};
use super::view::View;
use crate::model::node::Node;
use crate::model::pod::Pod;
use crate::scheduling::Place;

/// All sites as they are.
pub(super) fn sites(state: &State, view: &View, now: Timestamp) -> Sites {
    let mut sites = Sites::default();
    for name in state.machines.keys().chain(state.nodes.keys().filter(|name| !state.machines.contains_key(*name))) {
        set(&mut sites, state, view, name, now);
    }
    sites
}

/// Sets one site down as it is.
pub(super) fn set(sites: &mut Sites, state: &State, view: &View, name: &str, now: Timestamp) {
    let node = state.nodes.get(name);
    let (standing, place) = match (state.machines.get(name), node) {
        (Some(tracked), _) => of_machine(state, view, tracked, node, now),
        (None, Some(node)) => {
            let takes = node.ready && !node.cordoned;
            let standing = if takes { Standing::Ready } else { Standing::Present };
            (standing, view.place(&node.name, &node.shape, node.cordoned))
        }
        (None, None) => return sites.remove(name),
    };
    // A machine that is not up yet has the health of one that is.
    let up = matches!(standing, Standing::Ready | Standing::Present);
    let transient = node.filter(|_| up).map_or_else(Vec::new, Node::lasting);
    let seen = Seen {
        shape: place.shape,
        transient: &transient,
        cordoned: place.cordoned,
        used: &place.used,
        ports: &place.ports,
        standing,
    };
    sites.set(name, seen);
}

fn of_machine<'a>(
    state: &State,
    view: &View,
    tracked: &'a Tracked,
    node: Option<&Node>,
    now: Timestamp,
) -> (Standing, Place<'a>) {
    let (name, shape) = (&tracked.machine.name, &tracked.machine.shape);
    let takes = node.is_some_and(|node| node.ready && !node.cordoned);
    let on = matches!(tracked.phase, Phase::On { unready_since: None, .. });
    if on && takes {
        (Standing::Ready, view.place(name, shape, false))
    } else if boots(tracked, now) {
        (Standing::Coming, view.future(state, tracked))
    } else if tracked.phase == Phase::Uncordoning {
        (Standing::Coming, view.place(name, shape, false))
    } else if is_candidate(tracked) {
        (Standing::Off, view.future(state, tracked))
    } else if can_turn_back(tracked) {
        (Standing::Present, view.place(name, shape, false))
    } else {
        let standing = if node.is_some() { Standing::Present } else { Standing::Absent };
        (standing, view.place(name, shape, node.is_some_and(|node| node.cordoned)))
    }
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
