//! A judge: which waiting pods a machine could host, and what these ask of the pods that are there.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use jiff::Timestamp;

use super::atlas::Atlas;
use super::doubt::doubted_at;
use super::pods::{is_demand, is_young};
use super::solve::compile::{Compiled, Kin, Question, Waiter};
use super::solve::sites::Sites;
use super::state::State;
use super::survey;
use super::view::View;
use crate::model::pod::{Pod, PodTerm, Spread};
use crate::scheduling::{Class, Whose, selects, term_selects};

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
        let mut chart = self.view.chart();
        // The scheduler's own filters have the last word.
        fitting.find(|pod| chart.atlas().misfits(self.state, self.view, pod, machine, self.now).is_empty())
    }

    fn make(&self) -> Option<Judged<'a>> {
        let young = self.state.pods.picked().filter(|pod| is_young(pod, self.now) && !is_demand(pod));
        let pods: Vec<&Pod> = self.state.demand().chain(young).collect();
        if pods.is_empty() {
            return None;
        }
        let mut chart = survey::with_atlas(self.state, self.view, self.now);
        let sites = chart.sites(self.state, self.view, self.now);
        let waiter =
            |pod: &&'a Pod| Waiter { refused: doubted_at(self.state, &pod.id, &sites, self.now), ..Waiter::of(pod) };
        let waiting: Vec<Waiter<'_>> = pods.iter().map(waiter).collect();
        let bound = bound(self.state, &sites, chart.atlas(), &waiting);
        let question = Question { waiting, bound, ..Question::default() };
        let compiled = Compiled::of(&question, &sites, &self.state.facts);
        Some((sites, pods, compiled))
    }
}
