//! The muster: how nodes enter the atlas, with the pods that the state and the view have on them. A machine that is
//! asked about while it is off enters for a moment.

use jiff::Timestamp;

use super::atlas::Atlas;
use super::daemon_set;
use super::pods::is_live;
use super::sight::{Sight, names, sight};
use super::state::State;
use super::view::View;
use crate::model::pod::Pod;
use crate::scheduling::{Cluster, Misfit};

impl Atlas {
    pub(super) fn of(state: &State, view: &View, now: Timestamp) -> Self {
        let mut atlas = Self { cluster: Cluster::new(state.facts.clone()), ..Self::default() };
        for name in names(state) {
            atlas.set(state, view, name, now);
        }
        atlas
    }

    /// Sets one node down as it is now, or takes it away when there is none.
    pub(super) fn set(&mut self, state: &State, view: &View, name: &str, now: Timestamp) {
        self.leave(name);
        if let Some(sight) = sight(state, name, now).filter(|sight| sight.standing.is_there()) {
            self.enter(state, view, name, &sight);
        }
    }

    /// Sets one node down as it is now, unless it is there as it is.
    pub(super) fn refresh(&mut self, state: &State, view: &View, name: &str, now: Timestamp) {
        let worn = self.worn.remove(name) || self.coming.contains(name);
        let there = sight(state, name, now).filter(|sight| sight.standing.is_there());
        let same = match (&there, self.nodes.get(name)) {
            (Some(sight), Some(node)) => {
                !sight.comes && self.cluster.is_like(*node, sight.shape, &sight.transient, sight.cordoned)
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if worn || !same {
            self.set(state, view, name, now);
        }
    }

    /// An off machine is taken as booting from now on.
    pub(super) fn wake(&mut self, state: &State, view: &View, name: &str) {
        if let Some(tracked) = state.machines.get(name) {
            self.leave(name);
            self.enter(state, view, name, &Sight::future(tracked));
        }
    }

    fn enter(&mut self, state: &State, view: &View, name: &str, sight: &Sight<'_>) {
        let node = self.cluster.add_node(name, sight.shape, &sight.transient, sight.cordoned);
        self.nodes.insert(name.to_owned(), node);
        let load = view.load(name);
        if sight.comes {
            self.coming.insert(name.to_owned());
            for (key, sample) in &state.daemon_sets {
                if !load.has(key) && daemon_set::wants(sample, name, sight.shape) {
                    let class = self.cluster.class(sample);
                    self.cluster.place(class, node);
                }
            }
        }
        for pod in load.pods.iter().filter_map(|id| state.pods.get(id)) {
            let class = self.cluster.class(pod);
            self.cluster.place(class, node);
        }
        for pod in view.nominated(name).filter_map(|id| state.pods.get(id)).filter(|pod| is_live(pod)) {
            let class = self.cluster.class(pod);
            self.cluster.nominate(class, node, pod.priority);
        }
    }

    /// All that keeps the pod off this machine or node, in the scheduler's order. Nothing, when it fits. A machine
    /// that is not up is judged as it will be: neither cordoned nor sick.
    pub(super) fn misfits(&mut self, state: &State, view: &View, pod: &Pod, name: &str, now: Timestamp) -> Vec<Misfit> {
        let up = state.nodes.get(name).is_some_and(|node| node.ready);
        let coming = sight(state, name, now).is_some_and(|sight| sight.comes && sight.standing.is_there());
        let as_it_is = !state.machines.contains_key(name) || up || coming;
        if !as_it_is {
            self.wake(state, view, name);
        }
        let misfits = self.judged(pod, name);
        if !as_it_is {
            self.set(state, view, name, now);
        }
        misfits
    }
}
