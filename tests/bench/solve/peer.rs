//! Karpenter's greedy way, made again from its documentation to compare costs: pods by CPU, then memory; each
//! on the open machine with the fewest pods that takes it, whatever shape that then needs, else on a new one;
//! in the end each machine is of the cheapest shape that holds its pods.

use std::collections::BTreeSet;

use marea::autoscaler::solve::board::Square;
use marea::autoscaler::solve::compile::Compiled;

use super::mix;

pub(super) fn cost(compiled: Compiled) -> u64 {
    let (sites, looks) = super::looks();
    assert_eq!(sites.len(), looks.len());
    let offered = mix::instance_types();
    let largest = offered.last().unwrap().room;
    let problem = compiled.problem;
    // A board without what our own answer put on it.
    let mut board = problem.board.emptied(sites.len());
    let mut order: Vec<usize> =
        problem.lots.iter().enumerate().flat_map(|(lot, of)| (0..of.pods).map(move |_| lot)).collect();
    order.sort_by_key(|lot| {
        let want = problem.classes[problem.lots[*lot].class].want;
        std::cmp::Reverse((want[0], want[1]))
    });
    let mut machines: BTreeSet<(usize, usize)> = BTreeSet::new();
    for lot in order {
        let class = &problem.classes[problem.lots[lot].class];
        let there = machines.iter().copied().find(|(_, node)| board.fits(class, *node));
        let (pods, node) = there.unwrap_or_else(|| {
            let fitting = (0..looks.len()).find_map(|turn| {
                let look = looks[(machines.len() + turn) % looks.len()];
                let node = board.push(Square { shape: look, free: largest, ..Square::default() });
                if board.fits(class, node) {
                    board.open(node);
                    return Some(node);
                }
                board.pop();
                None
            });
            (0, fitting.unwrap())
        });
        machines.remove(&(pods, node));
        board.put(class, node);
        machines.insert((pods + 1, node));
    }
    let price = |node: usize| {
        let used: Vec<u64> = largest.iter().zip(board.free(node)).map(|(all, free)| all - free).collect();
        let covers = |room: &[u64; 4]| room.iter().zip(&used).all(|(room, used)| room >= used);
        offered.iter().find(|offered| covers(&offered.room)).unwrap().price
    };
    machines.iter().map(|(_, node)| price(*node)).sum()
}
