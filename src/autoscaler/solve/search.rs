//! The search: branch and bound over where each pod goes, for problems small enough. It begins from the best
//! answer known and either proves it the best or finds a better one, as far as its work goes.

use super::problem::Problem;
use super::trial::Trial;

/// Problems of up to this many pods are searched.
const PODS: u32 = 40;
/// And of up to this many machines.
const MACHINES: usize = 40;

/// Attempts times nodes.
const WORK: u64 = 400_000;

/// Looks for something better than `best`. `work` is a number of attempts to place a pod.
pub(super) fn search(best: Trial<'_>, work: u64) -> Trial<'_> {
    let problem = best.problem;
    let pods: u32 = problem.lots.iter().map(|lot| lot.pods).sum();
    let machines: usize = problem.kinds.iter().map(|kind| kind.nodes.len()).sum();
    if pods > PODS || machines > MACHINES || best.open.is_empty() {
        return best;
    }
    let order: Vec<usize> =
        problem.lots.iter().enumerate().flat_map(|(lot, of)| (0..of.pods).map(move |_| lot)).collect();
    // Each attempt looks at all nodes.
    let work = work.min(WORK / (problem.board.len() as u64).max(1));
    let mut search = Search { least: least(problem, &order), worth: best.worth(), best, order, work };
    let trial = Trial::new(problem);
    search.go(trial, 0, None);
    search.best
}

struct Search<'a> {
    best: Trial<'a>,
    worth: (Vec<u32>, u64),
    /// The pods, as lots, in order.
    order: Vec<usize>,
    /// By position in the order: the least that this and all later pods can cost beside their machines.
    least: Vec<u64>,
    work: u64,
}

/// The least that pods from each position on can cost beside their machines, when all are placed.
fn least(problem: &Problem, order: &[usize]) -> Vec<u64> {
    let there = (0..problem.board.len()).any(|node| problem.board.takes(node));
    let mut least = vec![0; order.len() + 1];
    for (at, lot) in order.iter().enumerate().rev() {
        let lot = &problem.lots[*lot];
        let cheapest = problem.kinds.iter().map(|kind| problem.stay(lot, kind)).min().unwrap_or_default();
        least[at] = least[at + 1] + if there { 0 } else { cheapest };
    }
    least
}

impl<'a> Search<'a> {
    fn go(&mut self, trial: Trial<'a>, at: usize, last: Option<usize>) {
        if self.work == 0 {
            return;
        }
        let Some(lot) = self.order.get(at).copied() else {
            let worth = trial.worth();
            if worth < self.worth {
                self.worth = worth;
                self.best = trial;
            }
            return;
        };
        if !self.may_be_better(&trial, at) {
            return;
        }
        // Equal pods go to nodes in order: which of them is where does not matter.
        let rank = |node: usize| trial.open.iter().position(|open| *open == node).map_or((0, node), |at| (1, at));
        let from = last.filter(|_| at > 0 && self.order[at - 1] == lot).map(rank);
        let mut choices: Vec<(u64, usize, Option<usize>)> = Vec::new();
        for node in 0..trial.board.len() {
            let open = trial.board.takes(node) && from.is_none_or(|from| rank(node) >= from);
            if open && trial.fits(lot, node) {
                let stay = trial.kind(node).map_or(0, |kind| self.stay(lot, kind));
                choices.push((stay, node, None));
            }
        }
        for kind in 0..trial.problem.kinds.len() {
            if let Some(node) = trial.next_of(kind).filter(|node| trial.fits(lot, *node)) {
                choices.push((trial.problem.kinds[kind].cost + self.stay(lot, kind), node, Some(kind)));
            }
        }
        choices.sort_unstable();
        let skip = choices.is_empty() || self.worth.0.iter().any(|missed| *missed > 0);
        for (_, node, kind) in choices {
            self.work = self.work.saturating_sub(1);
            let mut next = trial.clone();
            if let Some(kind) = kind {
                next.wake(kind);
            }
            next.put(lot, node);
            self.go(next, at + 1, Some(node));
        }
        if skip {
            self.go(trial, at + 1, last);
        }
    }

    fn stay(&self, lot: usize, kind: usize) -> u64 {
        let problem = self.best.problem;
        problem.stay(&problem.lots[lot], &problem.kinds[kind])
    }

    /// True unless even the best end of this trial is no better than what is known.
    fn may_be_better(&self, trial: &Trial<'_>, at: usize) -> bool {
        let missing: u32 = self.worth.0.iter().sum();
        if missing > 0 {
            // What is missed so far is only what was skipped: later pods may still be placed.
            let mut left = trial.left.clone();
            for lot in &self.order[at..] {
                left[*lot] = left[*lot].saturating_sub(1);
            }
            let missed = trial.problem.missed(&left);
            return missed < self.worth.0 || (missed == self.worth.0 && trial.cost < self.worth.1);
        }
        trial.cost.saturating_add(self.least[at]).saturating_add(self.bound(trial, at)) < self.worth.1
    }

    /// The least that further machines cost: what does not fit the open ones must have room on others, and
    /// no kind gives room more cheaply than the best.
    fn bound(&self, trial: &Trial<'_>, at: usize) -> u64 {
        let problem = trial.problem;
        let mut bound = 0;
        for dimension in 0..4 {
            let want: u64 =
                self.order[at..].iter().map(|lot| problem.classes[problem.lots[*lot].class].want[dimension]).sum();
            let free: u64 = (0..trial.board.len())
                .filter(|node| trial.board.takes(*node))
                .map(|node| trial.board.free(node)[dimension])
                .sum();
            let mut need = want.saturating_sub(free);
            if need == 0 {
                continue;
            }
            let mut kinds: Vec<_> = problem.kinds.iter().filter(|kind| kind.room[dimension] > 0).collect();
            kinds.sort_by(|a, b| {
                let a_first = u128::from(a.cost) * u128::from(b.room[dimension]);
                a_first.cmp(&(u128::from(b.cost) * u128::from(a.room[dimension])))
            });
            let mut cost = 0u64;
            for kind in kinds {
                let all = kind.room[dimension].saturating_mul(kind.nodes.len() as u64);
                if all >= need {
                    let part = u128::from(kind.cost) * u128::from(need) / u128::from(kind.room[dimension]);
                    cost = cost.saturating_add(u64::try_from(part).unwrap_or(u64::MAX));
                    break;
                }
                need -= all;
                cost = cost.saturating_add(kind.cost.saturating_mul(kind.nodes.len() as u64));
            }
            bound = bound.max(cost);
        }
        bound
    }
}
