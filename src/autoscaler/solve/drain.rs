//! Draining: which nodes could go off because all their pods fit on others. Nodes are tried in the order
//! given; the pods of each are put elsewhere, by all the rules, or it stays and nothing is moved.

use super::bits::Bits;
use super::board::Board;
use super::classes::{Classes, Company};
use super::compile::{Kin, board_of};
use super::sites::{Sites, Standing};
use crate::model::fact::Facts;
use crate::model::pod::Pod;

/// A pod on a candidate that would be made again elsewhere; a DaemonSet's, which goes with its node, is none.
#[derive(Debug, Clone, Copy)]
pub struct Resident<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its site.
    pub site: usize,
}

/// Which of these nodes could go off?
#[derive(Debug, Clone, Default)]
pub struct Drain<'a> {
    /// The pods that would have to move.
    pub residents: Vec<Resident<'a>>,
    /// All pods on nodes, these among them, as far as anybody's rules ask where they are.
    pub bound: Vec<Kin>,
    /// Sites whose pods may all leave, the one that should go off first at the front.
    pub candidates: Vec<usize>,
    /// So many of them at most.
    pub most: usize,
    /// How many may go of each of some sets of them.
    pub limits: Vec<usize>,
    /// By candidate: the sets that it is of. Without any, none is of any.
    pub sets: Vec<Vec<usize>>,
    /// Pods that have no node yet, or are to come: they get their room first, where there is some.
    pub coming: Vec<&'a Pod>,
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
        if is_candidate.has(resident.site) {
            on[resident.site].push((index, classes.class(resident.pod, &[])));
        }
    }
    let coming: Vec<usize> = question.coming.iter().map(|pod| classes.class(pod, &[])).collect();
    let bound = question.bound.iter().map(|kin| (Company::from(&*kin.class), &kin.at[..]));
    let mut board = board_of(&mut classes, sites, bound);
    board.prefer(stays(question, sites, &on, &classes));
    for (number, class) in coming.into_iter().enumerate() {
        let made = &classes.made[class];
        if let Some(site) = board.first_fit(made, 0) {
            board.put(made, site);
            on[site].push((question.residents.len() + number, class));
        }
    }
    let mut drained = Drained::default();
    let mut left = question.limits.clone();
    for (number, site) in question.candidates.iter().enumerate() {
        if drained.off.len() == question.most {
            break;
        }
        let sets = question.sets.get(number).map_or(&[][..], Vec::as_slice);
        if sets.iter().any(|set| left[*set] == 0) {
            continue;
        }
        if let Some(moves) = empty(&mut board, &classes, *site, &on[*site]) {
            drained.off.push(*site);
            for set in sets {
                left[*set] -= 1;
            }
            for (index, class, to) in moves {
                // It may have to move once more, should its new node go too.
                on[to].push((index, class));
                drained.moves.push((index, to));
            }
        }
    }
    // Of a pod that moved twice the last place counts.
    let mut last: std::collections::BTreeMap<usize, usize> = std::collections::BTreeMap::new();
    last.extend(drained.moves.iter().copied().filter(|(index, _)| *index < question.residents.len()));
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
