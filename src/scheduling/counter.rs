//! A counter: how many pods of some kind each domain of a topology key holds. A domain is a value of the
//! key: the nodes that share it. Spread, affinity and anti-affinity are all judged by looking up numbers here.

use std::collections::BTreeMap;

use super::class::Class;
use super::selector::{Whose, selects, term_selects};
use super::{affinity, taints};
use crate::model::fact::Facts;
use crate::model::node::{Shape, Taint};
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
    /// By node: its domain, when it counts.
    domains: Vec<Option<u32>>,
    /// By domain: pods, and nodes.
    pods: Vec<u64>,
    nodes: Vec<u64>,
    /// How many domains there are with so many pods.
    histogram: BTreeMap<u64, u64>,
    total: u64,
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

    /// True when the node may be a domain.
    pub(super) fn is_among(&self, name: &str, shape: &Shape, taints: &[Taint]) -> bool {
        let Some(among) = &self.among else { return true };
        among.keys.iter().all(|key| shape.labels.contains_key(key))
            && among.accepted.as_ref().is_none_or(|one| {
                affinity::mismatch(&one.node_selector, one.affinity.as_deref(), name, &shape.labels).is_none()
            })
            && among.tolerations.as_ref().is_none_or(|tolerations| taints::untolerated(tolerations, taints).is_none())
    }
}

impl Counter {
    pub(super) fn new(count: Count) -> Self {
        Self { count, domains: Vec::new(), pods: Vec::new(), nodes: Vec::new(), histogram: BTreeMap::new(), total: 0 }
    }

    /// A node is there. `domain` is its value of the key, when it counts.
    pub(super) fn node_comes(&mut self, node: usize, domain: Option<u32>) {
        if self.domains.len() <= node {
            self.domains.resize(node + 1, None);
        }
        self.domains[node] = domain;
        let Some(domain) = domain.map(|domain| domain as usize) else { return };
        if self.nodes.len() <= domain {
            self.nodes.resize(domain + 1, 0);
            self.pods.resize(domain + 1, 0);
        }
        self.nodes[domain] += 1;
        if self.nodes[domain] == 1 {
            *self.histogram.entry(self.pods[domain]).or_default() += 1;
        }
    }

    /// A node goes; its pods must be gone before it.
    pub(super) fn node_goes(&mut self, node: usize) {
        let Some(domain) = self.domains.get_mut(node).and_then(Option::take).map(|domain| domain as usize) else {
            return;
        };
        self.nodes[domain] -= 1;
        if self.nodes[domain] == 0 {
            self.leave(self.pods[domain]);
        }
    }

    fn leave(&mut self, pods: u64) {
        if let Some(domains) = self.histogram.get_mut(&pods) {
            *domains -= 1;
            if *domains == 0 {
                self.histogram.remove(&pods);
            }
        }
    }

    /// Pods come to a node, or go from it.
    pub(super) fn change(&mut self, node: usize, come: u64, go: u64) {
        let Some(domain) = self.domains.get(node).copied().flatten().map(|domain| domain as usize) else { return };
        let before = self.pods[domain];
        let after = (before + come).saturating_sub(go);
        self.pods[domain] = after;
        self.total = (self.total + come).saturating_sub(go);
        self.leave(before);
        *self.histogram.entry(after).or_default() += 1;
    }

    /// The pods in a node's domain; `None` when the node is in none.
    pub(super) fn at(&self, node: usize) -> Option<u64> {
        let domain = self.domains.get(node).copied().flatten()? as usize;
        Some(self.pods[domain])
    }

    /// The pods in the domain of this value, though the node asked about may be no domain itself.
    pub(super) fn in_domain(&self, domain: u32) -> u64 {
        self.pods.get(domain as usize).copied().unwrap_or_default()
    }

    /// The pods in all domains.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// How many domains there are.
    pub(super) fn domains(&self) -> u64 {
        self.histogram.values().sum()
    }

    /// The fewest pods that a domain has; `None` without domains.
    pub(super) fn fewest(&self) -> Option<u64> {
        self.histogram.keys().next().copied()
    }
}
