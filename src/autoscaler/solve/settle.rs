//! Settling: an answer is gone through once more with all its machines there from the start, for a machine
//! that is opened is a new domain to those who were placed before. What then has no place looks for another,
//! and if need be for another machine.

use super::greedy::cheapest;
use super::problem::{Answer, Problem};
use super::trial::Trial;

/// So often another machine is opened and all is gone through again.
const ROUNDS: usize = 6;

/// The answer as the scheduler would agree to it, in some order, once all its machines are there.
pub(super) fn settle(problem: &Problem, mut answer: Answer) -> Answer {
    let asks = |class: &super::board::Class| !class.spread.is_empty() || !class.near.is_empty();
    if !problem.classes.iter().any(asks) {
        return answer;
    }
    for round in 0..ROUNDS {
        let mut trial = Trial::new(problem);
        for node in &answer.wake {
            trial.wake_this(*node);
        }
        let mut homeless = agree(&mut trial, answer.places.clone());
        homeless.extend(left(&trial, &homeless));
        homeless.sort_unstable();
        homeless.retain(|lot| match trial.first_fit(*lot, 0) {
            Some(node) => {
                trial.put(*lot, node);
                false
            }
            None => true,
        });
        let more = homeless.into_iter().find_map(|lot| cheapest(&trial, lot));
        let Some(kind) = more.filter(|_| round + 1 < ROUNDS) else { return trial.answer() };
        trial.wake(kind);
        answer = Answer { wake: trial.open.clone(), ..trial.answer_with_all() };
    }
    answer
}

/// Puts pods where they are to go, whoever may go first first; answers with those who never may.
fn agree(trial: &mut Trial<'_>, mut places: Vec<(usize, usize)>) -> Vec<usize> {
    loop {
        let before = places.len();
        places.retain(|(lot, node)| {
            let fits = trial.board.takes(*node) && trial.fits(*lot, *node);
            if fits {
                trial.put(*lot, *node);
            }
            !fits
        });
        if places.len() == before || places.is_empty() {
            return places.into_iter().map(|(lot, _)| lot).collect();
        }
    }
}

/// The pods that had no place before, as lots; `homeless` are counted already.
fn left(trial: &Trial<'_>, homeless: &[usize]) -> Vec<usize> {
    let mut left = trial.left.clone();
    for lot in homeless {
        left[*lot] -= 1;
    }
    left.iter().enumerate().flat_map(|(lot, left)| std::iter::repeat_n(lot, *left as usize)).collect()
}
