//! A counter: how many pods of some kind each domain of a topology key holds. A domain is a value of the
//! key: the nodes that share it. Spread, affinity and anti-affinity are all judged by looking up numbers here.

use std::collections::BTreeMap;

use super::class::Class;
use super::selector::{Whose, selects, term_selects};
use super::spot::HOSTNAME;
use super::topology::Topology;
use super::{affinity, taints};
use crate::model::fact::Facts;
use crate::model::node::Taint;
use crate::model::pod::{PodTerm, Term, Toleration};
use crate::model::selector::Selector;

/// Which pods are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// Those that all of these terms mean.
    Meant(Vec<PodTerm>),
    /// Those that have this anti-affinity term themselves.
    Holding(PodTerm),
    /// Those of this namespace that the selector matches and that are not being deleted.
    Spread(String, Option<Selector>),
}

/// Which nodes are domains, where not all are that have the key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Among {
    /// They have all of these keys.
    pub(super) keys: Vec<String>,
    /// Selector and affinity accept them.
    pub(super) accepted: Option<Accepted>,
    /// Their taints are tolerated.
    pub(super) tolerations: Option<Vec<Toleration>>,
}

/// The nodes that a pod's selector and affinity accept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Accepted {
    pub(super) node_selector: BTreeMap<String, String>,
    pub(super) affinity: Option<Vec<Term>>,
}

/// What a counter counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Count {
    pub(super) who: Who,
    /// The topology key.
    pub(super) key: String,
    pub(super) among: Option<Among>,
}

/// A counter.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    pub(super) count: Count,
    /// The topology key's number.
    key: usize,
    /// By domain: pods.
    pods: Vec<u64>,
    total: u64,
    /// The domains there are, where that is asked.
    there: Option<There>,
}

/// The domains there are: those of nodes that count.
#[derive(Debug, Clone, Default)]
struct There {
    /// By node: it counts.
    counts: Vec<bool>,
    /// By domain: nodes that count.
    nodes: Vec<u64>,
    /// How many domains there are with so many pods.
    histogram: BTreeMap<u64, u64>,
}

impl There {
    fn leave(&mut self, pods: u64) {
        if let Some(domains) = self.histogram.get_mut(&pods) {
            *domains -= 1;
            if *domains == 0 {
                self.histogram.remove(&pods);
            }
        }
    }

    fn enter(&mut self, pods: u64) {
        *self.histogram.entry(pods).or_default() += 1;
    }
}

impl Count {
    /// True when pods of this class are counted.
    pub(super) fn counts(&self, class: &Class, facts: &Facts) -> bool {
        match &self.who {
            Who::Meant(terms) => {
                terms.iter().all(|term| term_selects(term, Whose::New, &class.namespace, &class.labels, facts))
            }
            Who::Holding(term) => class.pod_anti_affinity.contains(term),
            // The scheduler counts nobody for a selector that has nothing in it.
            Who::Spread(namespace, selector) => {
                !class.leaving
                    && class.namespace == *namespace
                    && selector.as_ref().is_some_and(|one| !one.requirements.is_empty())
                    && selects(selector.as_ref(), &class.labels)
            }
        }
    }

    /// True when only nodes of some kinds are domains, and it matters which domains there are.
    pub(super) fn is_choosy(&self) -> bool {
        self.among.is_some()
    }

    /// True when the node may be a domain.
    pub(super) fn is_among(&self, name: &str, labels: &BTreeMap<String, String>, taints: &[Taint]) -> bool {
        let Some(among) = &self.among else { return true };
        among.keys.iter().all(|key| labels.contains_key(key))
            && among.accepted.as_ref().is_none_or(|one| {
                affinity::mismatch(&one.node_selector, one.affinity.as_deref(), name, labels).is_none()
            })
            && among.tolerations.as_ref().is_none_or(|tolerations| taints::untolerated(tolerations, taints).is_none())
    }

    /// True when nodes that differ by nothing but their names are domains alike.
    pub(super) fn is_nameless(&self) -> bool {
        self.among.iter().filter_map(|among| among.accepted.as_ref()).all(|one| {
            let terms = one.affinity.iter().flatten();
            let names = |term: &Term| {
                !term.fields.is_empty() || term.labels.iter().any(|requirement| requirement.key == HOSTNAME)
            };
            !one.node_selector.contains_key(HOSTNAME) && !terms.clone().any(names)
        })
    }
}

impl Counter {
    /// Counts by the key of that number.
    pub(super) fn new(count: Count, key: usize) -> Self {
        let there = count.is_choosy().then(There::default);
        Self { count, key, pods: Vec::new(), total: 0, there }
    }

    /// A node is there, and may be a domain or not.
    pub(super) fn node_comes(&mut self, topology: &Topology, node: usize, among: bool) {
        let Some(there) = &mut self.there else { return };
        if there.counts.len() <= node {
            there.counts.resize(node + 1, false);
        }
        let domain = topology.domain(self.key, node).filter(|_| among);
        there.counts[node] = domain.is_some();
        let Some(domain) = domain else { return };
        if there.nodes.len() <= domain {
            there.nodes.resize(domain + 1, 0);
        }
        there.nodes[domain] += 1;
        if there.nodes[domain] == 1 {
            there.enter(self.pods.get(domain).copied().unwrap_or_default());
        }
    }

    /// A node goes; its pods must be gone before it.
    pub(super) fn node_goes(&mut self, topology: &Topology, node: usize) {
        let Some(domain) = self.domain(topology, node) else { return };
        let Some(there) = &mut self.there else { return };
        there.counts[node] = false;
        there.nodes[domain] -= 1;
        if there.nodes[domain] == 0 {
            there.leave(self.pods.get(domain).copied().unwrap_or_default());
        }
    }

    /// The node's domain, when the node counts.
    fn domain(&self, topology: &Topology, node: usize) -> Option<usize> {
        let counts = |there: &There| there.counts.get(node).copied().unwrap_or_default();
        topology.domain(self.key, node).filter(|_| self.there.as_ref().is_none_or(counts))
    }

    /// Pods come to a node, or go from it.
    pub(super) fn change(&mut self, topology: &Topology, node: usize, come: u64, go: u64) {
        let Some(domain) = self.domain(topology, node) else { return };
        if self.pods.len() <= domain {
            self.pods.resize(domain + 1, 0);
        }
        let before = self.pods[domain];
        let after = (before + come).saturating_sub(go);
        self.pods[domain] = after;
        self.total = (self.total + come).saturating_sub(go);
        if let Some(there) = &mut self.there {
            there.leave(before);
            there.enter(after);
        }
    }

    /// The pods in a node's domain; `None` when the node is in none.
    pub(super) fn at(&self, topology: &Topology, node: usize) -> Option<u64> {
        Some(self.in_domain(self.domain(topology, node)?))
    }

    /// The pods in the domain that a node is in, though the node may not count itself.
    pub(super) fn around(&self, topology: &Topology, node: usize) -> u64 {
        topology.domain(self.key, node).map_or(0, |domain| self.in_domain(domain))
    }

    fn in_domain(&self, domain: usize) -> u64 {
        self.pods.get(domain).copied().unwrap_or_default()
    }

    /// The pods in all domains.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// How many domains there are, where that is asked.
    pub(super) fn domains(&self) -> u64 {
        self.there.iter().flat_map(|there| there.histogram.values()).sum()
    }

    /// The fewest pods that a domain has; `None` without domains.
    pub(super) fn fewest(&self) -> Option<u64> {
        self.there.as_ref()?.histogram.keys().next().copied()
    }
}
