//! A counter: how many pods of some kind each domain of a topology key holds. Spread, affinity and
//! anti-affinity are all judged by looking up one number here.

use super::bits::Bits;

/// A node without the topology key is in no domain.
pub const NOWHERE: u32 = u32::MAX;

/// Counts pods of one kind by the domains of one topology key.
#[derive(Debug, Clone, Default)]
pub struct Counter {
    /// The topology key.
    pub key: usize,
    /// Only nodes of these shapes count, and are domains; `None` for all.
    pub shapes: Option<Bits>,
    /// Pods by domain.
    counts: Vec<u32>,
    /// Pods in all domains.
    total: u64,
    /// Nodes that are there, by domain: what makes a domain one.
    nodes: Vec<u32>,
    /// How many domains there are with so many pods.
    histogram: Vec<u32>,
    /// How many domains there are.
    domains: u32,
    /// The fewest pods that a domain has.
    least: usize,
}

impl Counter {
    /// A counter of nothing yet.
    pub fn new(key: usize, shapes: Option<Bits>) -> Self {
        Self { key, shapes, ..Self::default() }
    }

    /// True when nodes of this shape count.
    #[inline]
    pub fn counts_shape(&self, shape: usize) -> bool {
        self.shapes.as_ref().is_none_or(|shapes| shapes.has(shape))
    }

    /// Pods in a domain.
    #[inline]
    pub fn at(&self, domain: u32) -> u32 {
        self.counts.get(domain as usize).copied().unwrap_or_default()
    }

    /// Pods in all.
    #[inline]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The fewest pods in any domain, once a node of `domain` is there too; none while there are too few domains.
    #[inline]
    pub fn least_with(&self, domain: u32, min_domains: u32) -> u32 {
        let known = self.nodes.get(domain as usize).is_some_and(|nodes| *nodes > 0);
        let domains = self.domains + u32::from(!known);
        if domains < min_domains {
            return 0;
        }
        let least = if self.domains == 0 { u32::MAX } else { u32::try_from(self.least).unwrap_or(u32::MAX) };
        if known { least } else { least.min(self.at(domain)) }
    }

    fn reach(&mut self, domain: u32) -> usize {
        let domain = domain as usize;
        if self.counts.len() <= domain {
            self.counts.resize(domain + 1, 0);
            self.nodes.resize(domain + 1, 0);
        }
        domain
    }

    /// A node of this domain is there.
    pub fn node_comes(&mut self, domain: u32) {
        if domain == NOWHERE {
            return;
        }
        let domain = self.reach(domain);
        self.nodes[domain] += 1;
        if self.nodes[domain] == 1 {
            let pods = self.counts[domain] as usize;
            self.enter(pods);
            self.domains += 1;
            self.least = if self.domains == 1 { pods } else { self.least.min(pods) };
        }
    }

    /// A node of this domain is no longer there.
    pub fn node_goes(&mut self, domain: u32) {
        if domain == NOWHERE {
            return;
        }
        let domain = self.reach(domain);
        self.nodes[domain] -= 1;
        if self.nodes[domain] == 0 {
            self.histogram[self.counts[domain] as usize] -= 1;
            self.domains -= 1;
            self.raise_least();
        }
    }

    fn enter(&mut self, pods: usize) {
        if self.histogram.len() <= pods {
            self.histogram.resize(pods + 1, 0);
        }
        self.histogram[pods] += 1;
    }

    fn raise_least(&mut self) {
        if self.domains == 0 {
            self.least = 0;
            return;
        }
        while self.histogram[self.least] == 0 {
            self.least += 1;
        }
    }

    /// Pods come to a domain.
    pub fn add(&mut self, domain: u32, pods: u32) {
        if domain == NOWHERE {
            return;
        }
        let domain = self.reach(domain);
        let before = self.counts[domain] as usize;
        self.counts[domain] += pods;
        self.total += u64::from(pods);
        if self.nodes[domain] > 0 {
            self.histogram[before] -= 1;
            self.enter(before + pods as usize);
            self.raise_least();
        }
    }

    /// Pods leave a domain.
    pub fn remove(&mut self, domain: u32, pods: u32) {
        if domain == NOWHERE {
            return;
        }
        let domain = self.reach(domain);
        let before = self.counts[domain] as usize;
        self.counts[domain] -= pods;
        self.total -= u64::from(pods);
        if self.nodes[domain] > 0 {
            self.histogram[before] -= 1;
            let after = before - pods as usize;
            self.enter(after);
            self.least = self.least.min(after);
            self.raise_least();
        }
    }
}
