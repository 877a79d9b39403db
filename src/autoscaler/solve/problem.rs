//! A problem: pods that wait, in lots of equals, and machines that might be powered on for them, in kinds of
//! equals. And its answer: which machines, and which pods each of them is for.

use super::board::{Board, Class, Vector};

/// Waiting pods that are equal, in the order in which lots are given places.
#[derive(Debug, Clone, Default)]
pub struct Lot {
    /// Their class.
    pub class: usize,
    /// How many.
    pub pods: u32,
    /// Their priority: what is missed of a higher one weighs more than all that is missed of lower ones.
    pub priority: i32,
    /// What a second of waiting of one of them is worth, in millijoules.
    pub wait: u64,
    /// The group of which all are placed or none.
    pub group: Option<usize>,
}

/// Machines that are off and alike: which of them is powered on matters only for wear.
#[derive(Debug, Clone, Default)]
pub struct Kind {
    /// Their class of shape.
    pub shape: usize,
    /// What is free on one.
    pub room: Vector,
    /// What one costs when it is powered on, in millijoules.
    pub cost: u64,
    /// What a thousandth of a core in use costs besides.
    pub per_milli: u64,
    /// How long one takes to boot, in seconds.
    pub boot: u64,
    /// Its pool.
    pub pool: usize,
    /// Its rack, if it is known.
    pub rack: Option<usize>,
    /// What it draws at most, in milliwatts.
    pub draws: u64,
    /// Its nodes on the board, the one to take first at the front.
    pub nodes: Vec<usize>,
}

/// What may be powered on at most.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Machines in all; `None` for no limit.
    pub total: Option<usize>,
    /// Machines by pool; `None` for no limit.
    pub pools: Vec<Option<usize>>,
    /// Milliwatts in all.
    pub draws: Option<u64>,
    /// Milliwatts by rack.
    pub racks: Vec<Option<u64>>,
}

/// Which machines to wake?
#[derive(Debug, Clone, Default)]
pub struct Problem {
    /// The nodes: those that are there are open, those of the kinds are not.
    pub board: Board,
    /// The classes of pods.
    pub classes: Vec<Class>,
    /// What waits, in order: important ones first, then big ones.
    pub lots: Vec<Lot>,
    /// What might be powered on.
    pub kinds: Vec<Kind>,
    /// How much of it.
    pub limits: Limits,
}

/// Which machines, and what for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The nodes to power on, in the order in which they were opened.
    pub wake: Vec<usize>,
    /// Where pods are to go: lot, node. Pods of a lot are equal, so each entry is for the next of them.
    pub places: Vec<(usize, usize)>,
    /// Pods without a place, by lot.
    pub missed: Vec<u32>,
    /// What it costs, in millijoules.
    pub cost: u64,
}

impl Problem {
    /// What an answer misses, the most important first: smaller is better.
    pub(super) fn missed(&self, missed: &[u32]) -> Vec<u32> {
        let mut levels: Vec<i32> = self.lots.iter().map(|lot| lot.priority).collect();
        levels.sort_unstable();
        levels.dedup();
        let mut by_level = vec![0; levels.len()];
        for (lot, missed) in self.lots.iter().zip(missed) {
            if let Ok(level) = levels.binary_search(&lot.priority) {
                by_level[levels.len() - 1 - level] += missed;
            }
        }
        by_level
    }

    /// What one pod of a lot costs on a machine of a kind, the machine itself left out.
    #[inline]
    pub(super) fn stay(&self, lot: &Lot, kind: &Kind) -> u64 {
        let milli = self.classes[lot.class].want[0];
        milli.saturating_mul(kind.per_milli).saturating_add(lot.wait.saturating_mul(kind.boot))
    }
}
