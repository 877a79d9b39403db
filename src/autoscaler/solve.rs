//! The solver: which machines to wake for pods that wait. It starts from first-fit decreasing in a few
//! styles, improves the best by exchanging machines, and where the problem is small searches on until it
//! has the best there is. Everything is counted in whole numbers, work included: the same problem has the
//! same answer everywhere. `docs/decisions.md` tells it at length.

pub mod bits;
pub mod board;
mod classes;
pub mod compile;
pub mod counter;
pub mod drain;
mod greedy;
mod improve;
pub mod order;
pub mod problem;
mod search;
mod settle;
pub mod shapes;
pub mod sites;
mod trial;

use self::greedy::{Style, fill};
pub use self::problem::{Answer, Problem};
use self::trial::Trial;

/// Attempts to place a pod that an improvement may take.
const IMPROVE: u64 = 200_000;
/// Attempts to place a pod that a search may take.
const SEARCH: u64 = 4_000;

/// The machines to wake. Places as much as it can, important pods first, as cheaply as it can; of a group
/// all or none.
pub fn solve(problem: &Problem) -> Answer {
    let mut answer = alike(problem, SEARCH);
    if problem.lots.iter().all(|lot| lot.group.is_none()) {
        return answer;
    }
    let mut reduced = problem.clone();
    // The least important group that is not whole goes, until all that are left are.
    while let Some(broken) = broken(&reduced, &answer) {
        for lot in reduced.lots.iter_mut().filter(|lot| lot.group == Some(broken)) {
            lot.pods = 0;
        }
        answer = alike(&reduced, SEARCH);
    }
    for (missed, (all, tried)) in answer.missed.iter_mut().zip(problem.lots.iter().zip(&reduced.lots)) {
        *missed += all.pods - tried.pods;
    }
    answer
}

fn broken(problem: &Problem, answer: &Answer) -> Option<usize> {
    let short = problem.lots.iter().zip(&answer.missed).filter(|(_, missed)| **missed > 0);
    short.filter_map(|(lot, _)| lot.group).next_back()
}

/// The best of several starts, improved and, if it is small, searched.
fn alike(problem: &Problem, work: u64) -> Answer {
    let mut best: Option<Trial<'_>> = None;
    for style in [Style::Worth, Style::Plain, Style::Large] {
        // Large machines are for when the limits leave pods without a place.
        if style == Style::Large && best.as_ref().is_some_and(|best| best.left.iter().all(|left| *left == 0)) {
            continue;
        }
        let mut trial = Trial::new(problem);
        fill(&mut trial, style);
        improve::improve(&mut trial, &mut { IMPROVE });
        if best.as_ref().is_none_or(|best| trial.worth() < best.worth()) {
            best = Some(trial);
        }
    }
    let answer = best.map(|best| search::search(best, work).answer()).unwrap_or_default();
    settle::settle(problem, answer)
}

/// Plain first-fit decreasing, and nothing more: what the solver must never be worse than.
#[cfg(test)]
pub(super) fn first_fit_decreasing(problem: &Problem) -> Answer {
    let mut trial = Trial::new(problem);
    fill(&mut trial, Style::Plain);
    trial.answer()
}

/// The solver without its search: what large problems get.
#[cfg(test)]
pub(super) fn without_search(problem: &Problem) -> Answer {
    alike(problem, 0)
}

#[cfg(test)]
mod tests;
