//! The topology: which domain of each key a node is in. A domain is a value of the key: the nodes that share it. It is
//! worked out once for each key, however many counters ask by it.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use super::spot::Spot;

/// A node that is in no domain.
const NOWHERE: u32 = u32::MAX;

/// Which domain of each key a node is in.
#[derive(Debug, Clone, Default)]
pub(super) struct Topology {
    numbers: BTreeMap<String, usize>,
    keys: Vec<Key>,
}

/// The domains of one key.
#[derive(Debug, Clone)]
struct Key {
    label: String,
    /// The number of each value. Only looked up.
    values: HashMap<String, u32, FixedState>,
    /// By node: the domain.
    at: Vec<u32>,
}

impl Key {
    fn node_comes(&mut self, node: usize, spot: &Spot) {
        if self.at.len() <= node {
            self.at.resize(node + 1, NOWHERE);
        }
        let Some(value) = spot.shape.labels.get(&self.label) else { return };
        let domain = self.values.get(value).copied().unwrap_or_else(|| {
            let number = u32::try_from(self.values.len()).unwrap_or(NOWHERE);
            self.values.insert(value.clone(), number);
            number
        });
        self.at[node] = domain;
    }
}

impl Topology {
    /// The number of a key. A new one takes in the nodes that are there.
    pub(super) fn key(&mut self, label: &str, nodes: &[Option<Spot>]) -> usize {
        if let Some(known) = self.numbers.get(label) {
            return *known;
        }
        let mut key = Key { label: label.to_owned(), values: HashMap::default(), at: Vec::with_capacity(nodes.len()) };
        for (node, spot) in nodes.iter().enumerate() {
            if let Some(spot) = spot {
                key.node_comes(node, spot);
            }
        }
        self.keys.push(key);
        self.numbers.insert(label.to_owned(), self.keys.len() - 1);
        self.keys.len() - 1
    }

    /// A node is there.
    pub(super) fn node_comes(&mut self, node: usize, spot: &Spot) {
        for key in &mut self.keys {
            key.node_comes(node, spot);
        }
    }

    /// A node is gone.
    pub(super) fn node_goes(&mut self, node: usize) {
        for domain in self.keys.iter_mut().filter_map(|key| key.at.get_mut(node)) {
            *domain = NOWHERE;
        }
    }

    /// The domain that a node is in.
    pub(super) fn domain(&self, key: usize, node: usize) -> Option<usize> {
        let domain = *self.keys[key].at.get(node)?;
        (domain != NOWHERE).then_some(domain as usize)
    }
}
