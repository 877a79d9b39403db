//! Draining: which nodes could go off because all their pods fit on others. Nodes are tried in the order
//! given; the pods of each are put elsewhere, by all the rules, or it stays and nothing is moved.

use super::bits::Bits;
use super::board::Board;
use super::classes::{Classes, Company};
use super::compile::board_of;
use super::sites::{Sites, Standing};
use crate::model::fact::Facts;
use crate::model::pod::Pod;

/// A pod on a node.
#[derive(Debug, Clone, Copy)]
pub struct Resident<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its site.
    pub site: usize,
    /// It would be made again elsewhere; otherwise it goes with its node, as a DaemonSet's does.
    pub moves: bool,
}

/// Which of these nodes could go off?
#[derive(Debug, Clone, Default)]
pub struct Drain<'a> {
    /// All pods on nodes.
    pub residents: Vec<Resident<'a>>,
    /// Sites whose pods may all leave, the one that should go off first at the front.
    pub candidates: Vec<usize>,
    /// So many of them at most.
    pub most: usize,
}

/// The nodes that could go off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drained {
    /// Their sites, in the order in which they were freed.
    pub off: Vec<usize>,
    /// Where pods would go, by their number among the residents.
    pub moves: Vec<(usize, usize)>,
}

/// Frees as many of the candidates as it can, one after another.
pub fn drain(question: &Drain<'_>, sites: &Sites, facts: &Facts) -> Drained {
    let mut classes = Classes::moving(sites, facts);
    let mut on: Vec<Vec<(usize, usize)>> = vec![Vec::new(); sites.len()];
    let is_candidate: Bits = question.candidates.iter().copied().collect();
    for (index, resident) in question.residents.iter().enumerate() {
        if resident.moves && is_candidate.has(resident.site) {
            on[resident.site].push((index, classes.class(resident.pod, &[])));
        }
    }
    let at: Vec<(usize, u32)> = question.residents.iter().map(|one| (one.site, 1)).collect();
    let bound = question.residents.iter().zip(&at).map(|(one, at)| (Company::from(one.pod), std::slice::from_ref(at)));
    let mut board = board_of(&mut classes, sites, bound);
    board.prefer(stays(question, sites, &on, &classes));
    let mut drained = Drained::default();
    for site in &question.candidates {
        if drained.off.len() == question.most {
            break;
        }
        if let Some(moves) = empty(&mut board, &classes, *site, &on[*site]) {
            drained.off.push(*site);
            for (index, class, to) in moves {
                // It may have to move once more, should its new node go too.
                on[to].push((index, class));
                drained.moves.push((index, to));
            }
        }
    }
    // Of a pod that moved twice the last place counts.
    let mut last: std::collections::BTreeMap<usize, usize> = std::collections::BTreeMap::new();
    last.extend(drained.moves.iter().copied());
    drained.moves = last.into_iter().collect();
    drained
}

/// Moves all pods off a node that takes none any more, or leaves everything as it was.
fn empty(
    board: &mut Board,
    classes: &Classes<'_>,
    site: usize,
    pods: &[(usize, usize)],
) -> Option<Vec<(usize, usize, usize)>> {
    board.shut(site);
    let mut moved: Vec<(usize, usize, usize)> = Vec::with_capacity(pods.len());
    let (mut cursor, mut before) = (0, usize::MAX);
    for (index, class) in pods {
        let made = &classes.made[*class];
        board.take(made, site);
        let from = if *class == before && made.is_monotone() { cursor } else { 0 };
        let Some(to) = board.first_fit(made, from).or_else(|| board.first_fit(made, 0)) else {
            board.put(made, site);
            for (_, class, to) in moved.iter().rev() {
                board.take(&classes.made[*class], *to);
                board.put(&classes.made[*class], site);
            }
            board.open(site);
            return None;
        };
        board.put(made, to);
        moved.push((*index, *class, to));
        (cursor, before) = (to, *class);
    }
    Some(moved)
}

/// The nodes that will be left if all goes well: those that are no candidates, and of the candidates the last,
/// until there is room for all that moves. Pods go there first, so that few move twice.
fn stays(question: &Drain<'_>, sites: &Sites, on: &[Vec<(usize, usize)>], classes: &Classes<'_>) -> Bits {
    let candidates: Bits = question.candidates.iter().copied().collect();
    let ready = |site: &usize| sites.site(*site).standing == Standing::Ready;
    let others: Vec<usize> = (0..sites.len()).filter(|site| ready(site) && !candidates.has(*site)).collect();
    let mut room = [0u64; 4];
    let mut wanted = [0u64; 4];
    let mut stays = Bits::default();
    for pods in on {
        for (_, class) in pods {
            for (sum, want) in wanted.iter_mut().zip(&classes.made[*class].want) {
                *sum = sum.saturating_add(*want);
            }
        }
    }
    for site in others.into_iter().chain(question.candidates.iter().rev().copied()) {
        if candidates.has(site) && room.iter().zip(&wanted).all(|(room, wanted)| room >= wanted) {
            break;
        }
        stays.set(site);
        for (sum, free) in room.iter_mut().zip(&sites.site(site).free) {
            *sum = sum.saturating_add(*free);
        }
        if candidates.has(site) {
            // What is on it need not move.
            for (_, class) in &on[site] {
                for (sum, want) in wanted.iter_mut().zip(&classes.made[*class].want) {
                    *sum = sum.saturating_sub(*want);
                }
            }
        }
    }
    stays
}
