//! A noted map: a map that remembers which of its entries have changed and what they were before, so that what is
//! counted from them need not be counted anew. Who changes it through the map itself changes everything. Entries that
//! are often asked for among many others are picked out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

/// Which entries are picked out.
pub trait Pick {
    /// True for one that is.
    fn is_picked(&self) -> bool;
}

/// A map that remembers what has changed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
#[serde(bound(
    serialize = "K: Ord + Serialize, V: Serialize",
    deserialize = "K: Ord + Deserialize<'de>, V: Deserialize<'de>"
))]
pub struct Noted<K: Ord, V> {
    all: BTreeMap<K, V>,
    #[serde(skip)]
    news: News<K, V>,
}

/// What has changed.
#[derive(Debug)]
pub struct News<K, V> {
    /// Everything, as far as is known.
    pub everything: bool,
    /// What these were before.
    pub before: BTreeMap<K, Option<V>>,
    /// The entries that are picked out, unless everything has changed.
    picked: BTreeSet<K>,
}

impl<K, V> Default for News<K, V> {
    fn default() -> Self {
        Self { everything: true, before: BTreeMap::new(), picked: BTreeSet::new() }
    }
}

impl<K: Ord, V> Default for Noted<K, V> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), news: News::default() }
    }
}

impl<K: Ord + Clone, V: Clone> Clone for Noted<K, V> {
    fn clone(&self) -> Self {
        Self { all: self.all.clone(), news: News::default() }
    }
}

impl<K: Ord, V: PartialEq> PartialEq for Noted<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl<K: Ord + Clone, V: Pick> Noted<K, V> {
    /// An entry is new or changed.
    pub fn insert(&mut self, key: K, value: V) {
        if self.news.everything {
            self.all.insert(key, value);
            return;
        }
        if value.is_picked() {
            self.news.picked.insert(key.clone());
        } else {
            self.news.picked.remove(&key);
        }
        let before = self.all.insert(key.clone(), value);
        self.news.before.entry(key).or_insert(before);
    }

    /// An entry is gone.
    pub fn remove(&mut self, key: &K) {
        if let Some(before) = self.all.remove(key) {
            self.news.picked.remove(key);
            self.news.before.entry(key.clone()).or_insert(Some(before));
        }
    }

    /// The entries that are picked out, in order.
    pub fn picked(&self) -> impl Iterator<Item = &V> {
        let all = self.news.everything.then(|| self.all.values()).into_iter().flatten();
        let some = (!self.news.everything).then_some(&self.news.picked).into_iter().flatten();
        some.filter_map(|key| self.all.get(key)).chain(all).filter(|value| value.is_picked())
    }

    /// True when nothing has changed since the last news.
    pub fn is_told(&self) -> bool {
        !self.news.everything && self.news.before.is_empty()
    }

    /// What has changed since this was last asked.
    pub fn news(&mut self) -> (bool, BTreeMap<K, Option<V>>) {
        if std::mem::take(&mut self.news.everything) {
            self.news.picked = self.all.iter().filter(|(_, one)| one.is_picked()).map(|(key, _)| key.clone()).collect();
            self.news.before.clear();
            return (true, BTreeMap::new());
        }
        (false, std::mem::take(&mut self.news.before))
    }
}

impl<K: Ord, V> Deref for Noted<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl<K: Ord, V> DerefMut for Noted<K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.news.everything = true;
        &mut self.all
    }
}
