//! What is kept from one step to the next beside the state, so that a step costs what has changed and not what
//! there is. All of it follows from the state: without it (after a restart, say) it is made anew, and nothing
//! that is decided depends on which of the two was done.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::metering;
use super::promise::settle;
use super::state::State;
use super::survey;
use super::timer::machine_times;
use super::view::View;
use crate::model::fact::{Fact, FactId, FactKind};

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    view: Option<View>,
    timers: Timers,
    /// When machines' meters turn.
    meters: Timers,
    /// Pods and nodes were fresh when the last step ended.
    fresh: (bool, bool),
}

/// Which machines a step is about.
#[derive(Debug)]
pub(super) struct Moved {
    /// All of them.
    pub(super) all: bool,
    pub(super) names: BTreeSet<String>,
    /// Those whose meters turn and of whom nothing else is known to have changed.
    turning: Vec<String>,
    /// DaemonSets that have changed.
    pub(super) daemon_sets: BTreeSet<String>,
}

impl Moved {
    /// Those that have changed since are part of it, too.
    pub(super) fn follow(&mut self, state: &State) {
        match state.machines.changed() {
            Some(changed) => self.names.extend(changed.iter().cloned()),
            None => self.take_all(state),
        }
    }

    /// Those whose meters are to be looked at.
    pub(super) fn metered(&self) -> impl Iterator<Item = &String> {
        self.names.iter().chain(&self.turning)
    }

    fn take_all(&mut self, state: &State) {
        self.all = true;
        self.names = state.machines.keys().cloned().collect();
    }
}

impl Kept {
    /// Begins a step: counts what has changed, and says whom that is about.
    pub(super) fn open(&mut self, state: &mut State, now: Timestamp) -> (View, Moved) {
        let fresh = (state.pods_fresh, state.nodes_fresh);
        let (pods, nodes, machines) = (state.pods.news(), state.nodes.news(), state.machines.news());
        let heard = std::mem::take(&mut state.heard);
        if heard.everything {
            self.view = None;
        }
        let mut names: BTreeSet<String> = heard.facts.iter().filter_map(touches).collect();
        if let Some(view) = &mut self.view {
            for fact in &heard.facts {
                view.fact(fact.as_ref());
            }
        }
        let kept = self.view.take().filter(|_| !pods.0 && !nodes.0 && machines.is_some());
        let all = kept.is_none() || self.fresh != fresh;
        self.fresh = fresh;
        let mut view = if let Some(mut view) = kept {
            names.extend(view.take_in(state, pods.1));
            view
        } else {
            View::of(state)
        };
        names.extend(nodes.1.into_keys());
        names.extend(machines.into_iter().flatten());
        names.extend(self.timers.due(now));
        let promised = settle(state, &view, now).kept;
        let before = view.promise(promised);
        let promised = view.promised_names();
        names.extend(before.symmetric_difference(&promised).cloned());
        let daemon_sets = heard.daemon_sets;
        view.disturb(&names, !daemon_sets.is_empty());
        let mut moved = Moved { all, names, turning: self.meters.due(now), daemon_sets };
        if all {
            moved.take_all(state);
        }
        (view, moved)
    }

    /// Ends a step.
    pub(super) fn close(&mut self, state: &State, view: View, mut moved: Moved, now: Timestamp) {
        moved.follow(state);
        if moved.all {
            (self.timers, self.meters) = (Timers::default(), Timers::default());
        }
        for name in &moved.names {
            let tracked = state.machines.get(name);
            let next = tracked.and_then(|tracked| {
                let mut times = Vec::new();
                machine_times(state, tracked, &mut times);
                times.into_iter().filter(|time| *time > now).min()
            });
            self.timers.set(name, next);
        }
        for name in moved.metered() {
            let tracked = state.machines.get(name);
            let turns = tracked.and_then(|tracked| metering::times(tracked).filter(|time| *time > now).min());
            self.meters.set(name, turns);
        }
        self.timers.known = true;
        if state.fresh() {
            survey::keep(state, &view, now);
        }
        self.view = Some(view);
    }

    /// The first time at which a machine asks to be looked at, none if none does; or nothing when that is not known.
    pub(super) fn first_timer(&self, state: &State) -> Option<std::option::IntoIter<Timestamp>> {
        let known = self.timers.known && state.machines.changed().is_some();
        known.then(|| self.timers.order.first().map(|(time, _)| *time).into_iter())
    }

    /// What nodes carry, as the last step left it; nothing when the state has been changed by other hands since.
    pub(super) fn view(&self, state: &State) -> Option<&View> {
        let same = state.machines.changed().is_some() && state.pods.is_told() && state.nodes.is_told();
        self.view.as_ref().filter(|_| same)
    }
}

/// The machine that a fact is about, where that is written nowhere else.
fn touches(fact: &Result<Fact, FactId>) -> Option<String> {
    let id = fact.as_ref().map_or_else(Clone::clone, Fact::id);
    (id.kind == FactKind::NodeDrivers).then_some(id.name)
}

/// When each machine next asks to be looked at.
#[derive(Debug, Default)]
struct Timers {
    known: bool,
    times: BTreeMap<String, Timestamp>,
    order: BTreeSet<(Timestamp, String)>,
}

impl Timers {
    fn set(&mut self, name: &str, time: Option<Timestamp>) {
        let before = match time {
            Some(time) => {
                self.order.insert((time, name.to_owned()));
                self.times.insert(name.to_owned(), time)
            }
            None => self.times.remove(name),
        };
        if let Some(before) = before.filter(|before| Some(*before) != time) {
            self.order.remove(&(before, name.to_owned()));
        }
    }

    fn due(&self, now: Timestamp) -> Vec<String> {
        self.order.iter().take_while(|(time, _)| *time <= now).map(|(_, name)| name.clone()).collect()
    }
}

impl Clone for Kept {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Kept {
    /// It follows from the state, which is compared.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
