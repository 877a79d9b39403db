//! A greedy start: pods in order, each on the first open machine that it fits, else on a machine that is
//! opened for it. How that machine is picked makes the difference between one start and another.

use super::board::Vector;
use super::problem::{Kind, Problem};
use super::trial::Trial;

/// How a machine to open is picked among those that would serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// The cheapest: plain first-fit decreasing.
    Plain,
    /// The one that carries most of what is left for its price.
    Worth,
    /// The one that carries most of what is left: for when few may be opened.
    Large,
}

/// What is left to place, as the machines of each shape see it.
struct Rest {
    /// By shape: the sum of what the pods ask for that the shape lets on.
    want: Vec<Vector>,
    /// By shape: what a second of their waiting is worth.
    wait: Vec<u64>,
}

impl Rest {
    fn of(problem: &Problem) -> Self {
        let shapes = problem.kinds.iter().map(|kind| kind.shape + 1).max().unwrap_or_default();
        let mut rest = Self { want: vec![[0; 4]; shapes], wait: vec![0; shapes] };
        for lot in &problem.lots {
            let class = &problem.classes[lot.class];
            for shape in class.shapes.iter().take_while(|shape| *shape < shapes) {
                for (sum, want) in rest.want[shape].iter_mut().zip(&class.want) {
                    *sum = sum.saturating_add(want.saturating_mul(u64::from(lot.pods)));
                }
                rest.wait[shape] = rest.wait[shape].saturating_add(lot.wait.saturating_mul(u64::from(lot.pods)));
            }
        }
        rest
    }

    fn less(&mut self, problem: &Problem, lot: usize) {
        let lot = &problem.lots[lot];
        let class = &problem.classes[lot.class];
        let shapes = self.want.len();
        for shape in class.shapes.iter().take_while(|shape| *shape < shapes) {
            for (sum, want) in self.want[shape].iter_mut().zip(&class.want) {
                *sum = sum.saturating_sub(*want);
            }
            self.wait[shape] = self.wait[shape].saturating_sub(lot.wait);
        }
    }

    /// The part of what is left that one machine of this kind carries, in millionths or so.
    fn part(&self, kind: &Kind) -> u64 {
        const ONE: u128 = 1 << 20;
        let mut part = ONE;
        for (room, rest) in kind.room.iter().zip(&self.want[kind.shape]) {
            if *rest > *room {
                part = part.min(u128::from(*room) * ONE / u128::from(*rest));
            }
        }
        u64::try_from(part.max(1)).unwrap_or(1)
    }

    /// What such a machine costs with its part of what is left on it.
    fn price(&self, kind: &Kind, part: u64) -> u128 {
        let rest = &self.want[kind.shape];
        let milli = rest[0].min(kind.room[0]);
        let wait = (u128::from(self.wait[kind.shape]) * u128::from(kind.boot) * u128::from(part)) >> 20;
        u128::from(kind.cost) + u128::from(milli) * u128::from(kind.per_milli) + wait
    }
}

/// Fills open machines, and opens others, until nothing more can be placed.
pub(super) fn fill(trial: &mut Trial<'_>, style: Style) {
    let problem = trial.problem;
    let mut rest = Rest::of(problem);
    for lot in 0..problem.lots.len() {
        let monotone = problem.classes[problem.lots[lot].class].is_monotone();
        let mut cursor = 0;
        while trial.left[lot] > 0 {
            let node = trial.first_fit(lot, cursor).or_else(|| {
                let kind = pick(trial, &rest, lot, style)?;
                trial.wake(kind)
            });
            let Some(node) = node else { break };
            trial.put(lot, node);
            rest.less(problem, lot);
            cursor = if monotone && node >= cursor { node } else { 0 };
        }
        for _ in 0..trial.left[lot] {
            // It is not waited for: what is opened from now on need not carry it.
            rest.less(problem, lot);
        }
    }
}

fn pick(trial: &Trial<'_>, rest: &Rest, lot: usize, style: Style) -> Option<usize> {
    let mut best: Option<(usize, u64, u128)> = None;
    for (number, kind) in trial.problem.kinds.iter().enumerate() {
        if !trial.next_of(number).is_some_and(|node| trial.fits(lot, node)) {
            continue;
        }
        let part = rest.part(kind);
        let price = if style == Style::Plain { u128::from(kind.cost) } else { rest.price(kind, part) };
        let better = best.is_none_or(|(_, other, lowest)| match style {
            Style::Plain => price < lowest,
            // More carried for each millijoule; multiplied out, so that nothing is rounded.
            Style::Worth => (u128::from(part) * lowest, part) > (u128::from(other) * price, other),
            Style::Large => (part, std::cmp::Reverse(price)) > (other, std::cmp::Reverse(lowest)),
        });
        if better {
            best = Some((number, part, price));
        }
    }
    best.map(|(kind, _, _)| kind)
}

/// The cheapest kind of which one more would serve a pod of this lot.
pub(super) fn cheapest(trial: &Trial<'_>, lot: usize) -> Option<usize> {
    let serves = |kind: &usize| trial.next_of(*kind).is_some_and(|node| trial.fits(lot, node));
    (0..trial.problem.kinds.len()).filter(serves).min_by_key(|kind| trial.problem.kinds[*kind].cost)
}
