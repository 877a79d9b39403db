//! Arrivals: when pods of one kind came, and when the next should, if their times are regular.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::time::after;
use crate::model::pod::Pod;

/// So many gaps must agree before anything is expected.
const ENOUGH: usize = 3;

/// Pods of one kind that come within this time came together.
pub(super) const TOGETHER_MS: i64 = 10_000;

/// When pods of one kind came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arrivals {
    /// One of them, as the fit judges it.
    pub sample: Pod,
    /// When the last ones came: the first of them.
    pub last: Timestamp,
    /// How many came together then,
    pub count: u32,
    /// and at most before.
    pub most: u32,
    /// The times between, the latest last.
    pub gaps_ms: Vec<i64>,
}

/// A time at which pods are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    /// When they should come.
    pub(super) at: Timestamp,
    /// When they are expected no longer.
    pub(super) lapses: Timestamp,
}

impl Arrivals {
    /// When they should come next, if their times are regular: no gap differs from the middle one by more than an
    /// eighth of it and ten seconds.
    pub(super) fn next(&self) -> Option<Expected> {
        if self.gaps_ms.len() < ENOUGH {
            return None;
        }
        let mut gaps = self.gaps_ms.clone();
        gaps.sort_unstable();
        let middle = gaps[gaps.len() / 2];
        let tolerance = (middle / 8).saturating_add(TOGETHER_MS);
        let regular = gaps.iter().all(|gap| (gap - middle).abs() <= tolerance);
        regular.then(|| {
            let at = after(self.last, middle);
            Expected { at, lapses: after(at, tolerance) }
        })
    }
}

/// Which idle machines are kept for what is expected. It holds for a while, for all nodes are looked at for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreseen {
    /// When it was worked out.
    pub at: Timestamp,
    /// By machine: for which kind of pods, and when the first should come.
    pub kept: BTreeMap<String, (String, Timestamp)>,
}
