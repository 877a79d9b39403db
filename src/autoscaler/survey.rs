//! The survey: all nodes there are or could be, as the solver and the scheduler's filters see them, and what waits
//! beside them. It is made once; then only what has changed is looked at again.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, MutexGuard};

use foldhash::fast::FixedState;
use jiff::Timestamp;

use super::atlas::Atlas;
use super::scale_down::is_young;
use super::scale_up::{boots, can_turn_back, doubted_at, is_candidate};
use super::solve::compile::{Compiled, Kin, Question, Waiter};
use super::solve::sites::{Seen, Sites, Standing};
use super::state::{Phase, State, Tracked, is_demand};
use super::view::View;
use crate::model::fact::{Fact, FactId, FactKind};
use crate::model::node::{Node, Shape, Taint};
use crate::model::pod::{Pod, PodTerm, Spread};
use crate::scheduling::{Class, Whose, selects, term_selects};

/// All nodes there are or could be.
#[derive(Debug, Default)]
pub(super) struct Survey {
    sites: Option<Arc<Sites>>,
    atlas: Option<Atlas>,
    /// Nodes that something has happened to since they were looked at.
    disturbed: BTreeSet<String>,
}

/// Looks that no node has any more may be remembered up to so many, besides twice as many as there are nodes.
const SPARE_LOOKS: usize = 1000;

impl Survey {
    /// Something has happened to these nodes.
    pub(super) fn disturb(&mut self, names: &BTreeSet<String>) {
        if self.sites.is_some() || self.atlas.is_some() {
            self.disturbed.extend(names.iter().cloned());
        }
    }

    /// A pod has changed.
    pub(super) fn change(&mut self, before: Option<&Pod>, after: Option<&Pod>) {
        if let Some(atlas) = &mut self.atlas {
            atlas.change(before, after);
        }
    }

    /// A fact has changed, or is gone.
    pub(super) fn fact(&mut self, fact: Result<&Fact, &FactId>) {
        let kind = match fact {
            Ok(fact) => fact.id().kind,
            Err(id) => id.kind,
        };
        if kind == FactKind::Namespace {
            // Who selects whom depends on it.
            self.atlas = None;
        } else if let Some(atlas) = &mut self.atlas {
            atlas.fact(fact);
        }
    }

    /// The scheduler's own filters: there after `atlas` was asked for.
    pub(super) fn atlas(&mut self) -> &mut Atlas {
        self.atlas.get_or_insert_default()
    }

    fn refresh(&mut self, state: &State, view: &View, now: Timestamp) {
        let Some(changed) = state.machines.changed() else {
            *self = Self::default();
            return;
        };
        let mut names = std::mem::take(&mut self.disturbed);
        names.extend(changed.iter().cloned());
        if names.is_empty() {
            return;
        }
        if let Some(sites) = &mut self.sites {
            let sites = Arc::make_mut(sites);
            for name in &names {
                set(sites, state, view, name, now);
            }
        }
        if let Some(atlas) = &mut self.atlas {
            for name in &names {
                atlas.refresh(state, view, name, now);
            }
        }
    }

    /// All sites as they were when this was asked for.
    pub(super) fn sites(&mut self, state: &State, view: &View, now: Timestamp) -> Arc<Sites> {
        let sites = self.sites.get_or_insert_with(|| {
            let mut sites = Sites::default();
            for name in names(state) {
                set(&mut sites, state, view, name, now);
            }
            Arc::new(sites)
        });
        sites.clone()
    }
}

/// The survey with the scheduler's own filters, which nobody else can ask meanwhile.
pub(super) fn with_atlas<'a>(state: &State, view: &'a View, now: Timestamp) -> MutexGuard<'a, Survey> {
    let mut survey = view.survey();
    survey.refresh(state, view, now);
    if survey.atlas.is_none() {
        survey.atlas = Some(Atlas::of(state, view, now));
    }
    survey
}

/// Has all of it ready for the next step.
pub(super) fn keep(state: &State, view: &View, now: Timestamp) {
    let mut survey = with_atlas(state, view, now);
    let sites = survey.sites(state, view, now);
    if sites.looks().len() > SPARE_LOOKS + 2 * sites.len() {
        survey.sites = None;
    }
    if survey.atlas().is_wasteful() {
        survey.atlas = None;
    }
}

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

/// Sets one site down as it is.
fn set(sites: &mut Sites, state: &State, view: &View, name: &str, now: Timestamp) {
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

/// What has been met before. Only ever looked up.
type Met<T> = HashSet<T, FixedState>;

/// What waiting pods ask about the company on nodes.
#[derive(Default)]
struct Asks<'a> {
    spread: Vec<(&'a str, &'a Spread)>,
    terms: Vec<&'a PodTerm>,
    /// Who asks: namespaces and labels.
    who: Vec<(&'a str, &'a BTreeMap<String, String>)>,
}

impl<'a> Asks<'a> {
    fn of(waiting: &[Waiter<'a>]) -> Self {
        let mut asks = Self::default();
        let (mut spread, mut terms, mut who) = (Met::default(), Met::default(), Met::default());
        for pod in waiting.iter().map(|waiter| waiter.pod) {
            let me = (pod.id.namespace.as_str(), &pod.labels);
            asks.who.extend(who.insert(me).then_some(me));
            let rules = pod.spread.iter().map(|rule| (pod.id.namespace.as_str(), rule));
            asks.spread.extend(rules.filter(|rule| spread.insert(*rule)));
            let all = pod.pod_affinity.iter().chain(&pod.pod_anti_affinity);
            asks.terms.extend(all.filter(|term| terms.insert(*term)));
        }
        asks
    }

    /// True when it may matter where pods of this class are.
    fn about(&self, class: &Class, state: &State) -> bool {
        let (namespace, labels) = (class.namespace.as_str(), &class.labels);
        let refuses = |term: &PodTerm| {
            let refused = |(namespace, labels): &(&str, &BTreeMap<String, String>)| {
                term_selects(term, Whose::Placed, namespace, labels, &state.facts)
            };
            self.who.iter().any(refused)
        };
        class.pod_anti_affinity.iter().any(refuses)
            || self.spread.iter().any(|(of, rule)| *of == namespace && selects(rule.selector.as_ref(), labels))
            || self.terms.iter().any(|term| term_selects(term, Whose::New, namespace, labels, &state.facts))
    }
}

/// The pods on nodes, as far as anything that waits or is there asks where they are.
pub(super) fn bound(state: &State, sites: &Sites, atlas: &Atlas, waiting: &[Waiter<'_>]) -> Vec<Kin> {
    let asks = Asks::of(waiting);
    atlas.kin(sites, |class| asks.about(class, state))
}

/// The sites, the pods, and both as the solver sees them.
type Judged<'a> = (Arc<Sites>, Vec<&'a Pod>, Compiled);

/// Judges which waiting pods a machine could host. Surveys at the first question.
pub(super) struct Judge<'a> {
    state: &'a State,
    view: &'a View,
    now: Timestamp,
    made: OnceCell<Option<Judged<'a>>>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(state: &'a State, view: &'a View, now: Timestamp) -> Self {
        Self { state, view, now, made: OnceCell::new() }
    }

    /// A waiting pod, or one that has just been made, that this machine could host.
    pub(super) fn wanted(&self, machine: &str) -> Option<&'a Pod> {
        let (sites, pods, compiled) = self.made.get_or_init(|| self.make()).as_ref()?;
        let mut fitting = compiled.that_fit(sites.find(machine)?).map(|index| pods[index]).peekable();
        fitting.peek()?;
        let mut survey = self.view.survey();
        // The scheduler's own filters have the last word.
        fitting.find(|pod| survey.atlas().misfits(self.state, self.view, pod, machine, self.now).is_empty())
    }

    fn make(&self) -> Option<Judged<'a>> {
        let young = self.state.pods.picked().filter(|pod| is_young(pod, self.now) && !is_demand(pod));
        let pods: Vec<&Pod> = self.state.demand().chain(young).collect();
        if pods.is_empty() {
            return None;
        }
        let mut survey = with_atlas(self.state, self.view, self.now);
        let sites = survey.sites(self.state, self.view, self.now);
        let waiter =
            |pod: &&'a Pod| Waiter { refused: doubted_at(self.state, &pod.id, &sites, self.now), ..Waiter::of(pod) };
        let waiting: Vec<Waiter<'_>> = pods.iter().map(waiter).collect();
        let bound = bound(self.state, &sites, survey.atlas(), &waiting);
        let question = Question { waiting, bound, ..Question::default() };
        let compiled = Compiled::of(&question, &sites, &self.state.facts);
        Some((sites, pods, compiled))
    }
}
