//! Packing: the smallest set of off machines that gives waiting pods a place. Few machines are searched
//! exactly; many by a greedy start that is then improved. What a machine costs stands in one function, the
//! seam for energy and wear.

use std::collections::BTreeMap;

use crate::model::pod::Pod;
use crate::scheduling::{Place, first_failing_dynamic, first_failing_static};

/// A machine that might be powered on.
pub(super) struct Candidate<'a> {
    /// What it would be.
    pub(super) place: Place<'a>,
    /// Its pool.
    pub(super) pool: &'a str,
    /// It failed lately and may fail again.
    pub(super) shaky: bool,
}

/// How many machines may be chosen.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits {
    /// In all.
    pub(super) total: Option<usize>,
    /// Of each pool; one that is not here has no limit.
    pub(super) pools: BTreeMap<String, usize>,
}

/// Up to this many candidates every set is tried.
const EXACT: usize = 12;
/// As long as that takes no more than this many placements.
const EXACT_WORK: usize = 200_000;

/// What a machine costs, in thousandths of a core and what goes with it. Only the order matters.
pub(super) fn cost(place: &Place<'_>) -> u64 {
    let all = &place.shape.allocatable;
    let extended: u64 = all.extended.values().fold(0, |sum, amount| sum.saturating_add(*amount));
    all.cpu_milli.saturating_add(all.memory >> 22).saturating_add(extended.saturating_mul(100_000))
}

/// How much a pod asks for, in the same measure.
pub(super) fn size(pod: &Pod) -> u64 {
    let extended: u64 = pod.requests.extended.values().fold(0, |sum, amount| sum.saturating_add(*amount));
    pod.requests.cpu_milli.saturating_add(pod.requests.memory >> 22).saturating_add(extended.saturating_mul(100_000))
}

struct Problem<'a, 'b> {
    pods: &'b [&'a Pod],
    candidates: &'b [Candidate<'a>],
    /// By pod and candidate: the filters that do not depend on company let the pod on.
    allows: Vec<Vec<bool>>,
    limits: &'b Limits,
}

/// The indexes of the candidates to power on, in order: a smallest set that places as many of the pods as
/// all of them would, cheapest first among equals, shaky ones only where they are needed.
pub(super) fn choose(
    pods: &[&Pod],
    candidates: &[Candidate<'_>],
    limits: &Limits,
    refused: impl Fn(&Pod, &str) -> bool,
) -> Vec<usize> {
    let lets_on =
        |pod: &Pod, place: &Place<'_>| first_failing_static(pod, place).is_none() && !refused(pod, place.name);
    let allows = |pod: &&Pod| candidates.iter().map(|one| lets_on(pod, &one.place)).collect();
    let allows: Vec<Vec<bool>> = pods.iter().map(allows).collect();
    let problem = Problem { pods, candidates, allows, limits };
    let all: Vec<usize> = problem.ordered((0..candidates.len()).collect());
    let sound: Vec<usize> = all.iter().copied().filter(|index| !candidates[*index].shaky).collect();
    let from_all = problem.solve(&all);
    if sound.len() == all.len() {
        return from_all;
    }
    let from_sound = problem.solve(&sound);
    if problem.placed(&from_sound) < problem.placed(&from_all) { from_all } else { from_sound }
}

impl Problem<'_, '_> {
    /// Cheapest first.
    fn ordered(&self, mut set: Vec<usize>) -> Vec<usize> {
        set.sort_by_key(|index| (cost(&self.candidates[*index].place), *index));
        set
    }

    fn allowed(&self, set: &[usize]) -> bool {
        if self.limits.total.is_some_and(|most| set.len() > most) {
            return false;
        }
        self.limits
            .pools
            .iter()
            .all(|(pool, most)| set.iter().filter(|index| self.candidates[**index].pool == pool).count() <= *most)
    }

    /// How many pods the set gives a place: first fit, cheap machines first and then the other way round.
    fn placed(&self, set: &[usize]) -> usize {
        let forward = self.fill(set);
        if forward == self.pods.len() || set.len() < 2 {
            return forward;
        }
        let back: Vec<usize> = set.iter().rev().copied().collect();
        forward.max(self.fill(&back))
    }

    fn fill(&self, set: &[usize]) -> usize {
        let mut places: Vec<Place<'_>> = set.iter().map(|index| self.candidates[*index].place.clone()).collect();
        let mut count = 0;
        for (pod, lets_on) in self.pods.iter().zip(&self.allows) {
            let fits = |(index, place): &(&usize, &mut Place<'_>)| {
                lets_on[**index] && first_failing_dynamic(pod, place).is_none()
            };
            if let Some((_, place)) = set.iter().zip(places.iter_mut()).find(fits) {
                place.take(pod);
                count += 1;
            }
        }
        count
    }

    fn solve(&self, all: &[usize]) -> Vec<usize> {
        let work = self.pods.len().saturating_mul(all.len()).saturating_mul(1usize << all.len().min(EXACT));
        if all.len() <= EXACT && work <= EXACT_WORK { self.exact(all) } else { self.greedy(all) }
    }

    /// Tries every set, small ones first.
    fn exact(&self, all: &[usize]) -> Vec<usize> {
        let target = if self.allowed(all) { self.placed(all) } else { self.pods.len() };
        let (mut best, mut best_placed) = (Vec::new(), 0);
        for count in 1..=all.len() {
            let mut best_cost = u64::MAX;
            for mask in 1u32..(1 << all.len()) {
                if mask.count_ones() as usize != count {
                    continue;
                }
                let set: Vec<usize> =
                    all.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, index)| *index).collect();
                if !self.allowed(&set) {
                    continue;
                }
                let cost = set.iter().fold(0u64, |sum, index| sum.saturating_add(cost(&self.candidates[*index].place)));
                let placed = self.placed(&set);
                if placed > best_placed || (placed == best_placed && best.len() == count && cost < best_cost) {
                    (best, best_placed, best_cost) = (set, placed, cost);
                }
            }
            if best_placed >= target {
                break;
            }
        }
        best
    }

    /// Takes, again and again, the machine that places most of what is left; then drops and swaps.
    fn greedy(&self, all: &[usize]) -> Vec<usize> {
        let mut chosen: Vec<usize> = Vec::new();
        let mut placed = 0;
        loop {
            let mut best: Option<(usize, usize)> = None;
            let mut tried: Vec<usize> = Vec::new();
            for index in all {
                let same = |other: &usize| self.alike(*other, *index);
                if chosen.contains(index) || tried.iter().any(same) {
                    continue;
                }
                tried.push(*index);
                let mut set = chosen.clone();
                set.push(*index);
                if !self.allowed(&set) {
                    continue;
                }
                let with = self.placed(&set);
                if with > placed && best.is_none_or(|(most, _)| with > most) {
                    best = Some((with, *index));
                }
            }
            let Some((with, index)) = best else { break };
            placed = with;
            chosen.push(index);
            if placed == self.pods.len() {
                break;
            }
        }
        self.improve(chosen, all)
    }

    fn improve(&self, chosen: Vec<usize>, all: &[usize]) -> Vec<usize> {
        let placed = self.placed(&chosen);
        let mut chosen = self.ordered(chosen);
        // Dearest first: what it carried may fit on the rest.
        for index in chosen.clone().into_iter().rev() {
            let without: Vec<usize> = chosen.iter().copied().filter(|other| *other != index).collect();
            if self.placed(&without) >= placed {
                chosen = without;
                continue;
            }
            let cheaper = all.iter().copied().filter(|other| {
                !chosen.contains(other) && cost(&self.candidates[*other].place) < cost(&self.candidates[index].place)
            });
            for other in cheaper {
                let mut swapped = without.clone();
                swapped.push(other);
                let swapped = self.ordered(swapped);
                if self.allowed(&swapped) && self.placed(&swapped) >= placed {
                    chosen = swapped;
                    break;
                }
            }
        }
        chosen
    }

    /// The same to every pod: which of the two is tried does not matter.
    fn alike(&self, first: usize, second: usize) -> bool {
        let (one, other) = (&self.candidates[first], &self.candidates[second]);
        one.pool == other.pool
            && one.place.shape.allocatable == other.place.shape.allocatable
            && one.place.used == other.place.used
            && one.place.ports == other.place.ports
            && self.allows.iter().all(|allows| allows[first] == allows[second])
    }
}

#[cfg(test)]
mod tests;
