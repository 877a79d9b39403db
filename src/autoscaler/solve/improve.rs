//! Improvement: machines of an answer are closed, others opened in their stead, and their pods placed anew.
//! What is no cheaper is taken back. The work is counted, not timed, so that it is the same everywhere.

use super::trial::{Log, Trial};

/// Tries exchanges until none helps or the work is done. `work` is a number of attempts to place a pod.
pub(super) fn improve(trial: &mut Trial<'_>, work: &mut u64) {
    loop {
        let before = trial.cost;
        drop_or_replace(trial, work);
        if trial.open.len() <= 24 {
            pairs(trial, work);
        }
        if trial.cost >= before || *work == 0 {
            return;
        }
    }
}

/// Each machine, the dearest first: do without it, or with a cheaper one.
fn drop_or_replace(trial: &mut Trial<'_>, work: &mut u64) {
    let mut nodes = trial.open.clone();
    nodes.sort_by_key(|node| (std::cmp::Reverse(price(trial, *node)), *node));
    for node in nodes {
        if exchange(trial, &[node], &[], work) {
            continue;
        }
        for kind in cheaper(trial, price(trial, node)) {
            if *work == 0 || exchange(trial, &[node], &[kind], work) {
                break;
            }
        }
    }
}

/// Two machines for one, and one for two, where there are few.
fn pairs(trial: &mut Trial<'_>, work: &mut u64) {
    let nodes = trial.open.clone();
    for (index, one) in nodes.iter().enumerate() {
        for two in &nodes[index + 1..] {
            if *work == 0 {
                return;
            }
            if !trial.open.contains(one) || !trial.open.contains(two) {
                continue;
            }
            let both = price(trial, *one).saturating_add(price(trial, *two));
            for kind in cheaper(trial, both) {
                if exchange(trial, &[*one, *two], &[kind], work) {
                    break;
                }
            }
        }
    }
    for node in nodes {
        let most = price(trial, node);
        let kinds = cheaper(trial, most);
        'tried: for (index, first) in kinds.iter().enumerate() {
            for second in &kinds[index..] {
                let cost = trial.problem.kinds[*first].cost.saturating_add(trial.problem.kinds[*second].cost);
                if *work == 0 || !trial.open.contains(&node) {
                    return;
                }
                if cost < most && exchange(trial, &[node], &[*first, *second], work) {
                    break 'tried;
                }
            }
        }
    }
}

fn price(trial: &Trial<'_>, node: usize) -> u64 {
    trial.kind(node).map_or(0, |kind| trial.problem.kinds[kind].cost)
}

/// The kinds that cost less, the cheapest first.
fn cheaper(trial: &Trial<'_>, than: u64) -> Vec<usize> {
    let kinds = &trial.problem.kinds;
    let mut cheaper: Vec<usize> = (0..kinds.len()).filter(|kind| kinds[*kind].cost < than).collect();
    cheaper.sort_by_key(|kind| (kinds[*kind].cost, *kind));
    cheaper
}

/// Closes some machines, opens others and places again what was on the first. Taken back unless all of it
/// has a place and it is cheaper than before.
fn exchange(trial: &mut Trial<'_>, out: &[usize], into: &[usize], work: &mut u64) -> bool {
    let before = trial.cost;
    let mut log: Log = Vec::new();
    let mut moved: Vec<u32> = Vec::new();
    for node in out {
        for lot in trial.on[*node].clone() {
            trial.take(lot as usize, *node);
            log.push((lot, *node, false));
            moved.push(lot);
        }
    }
    let kinds: Vec<Option<usize>> = out.iter().map(|node| trial.kind(*node)).collect();
    for node in out {
        trial.let_sleep(*node);
    }
    let mut opened: Vec<usize> = Vec::new();
    let mut placed = true;
    for kind in into {
        match trial.next_of(*kind).filter(|node| !out.contains(node)) {
            Some(_) => opened.extend(trial.wake(*kind)),
            None => placed = false,
        }
    }
    // Lots are in order, big ones first.
    moved.sort_unstable();
    for lot in moved {
        *work = work.saturating_sub(1);
        if !placed || trial.cost >= before || *work == 0 {
            placed = false;
            break;
        }
        let at = opened.iter().copied().find(|node| trial.fits(lot as usize, *node));
        match at.or_else(|| trial.first_fit(lot as usize, 0)) {
            Some(node) => {
                trial.put(lot as usize, node);
                log.push((lot, node, true));
            }
            None => placed = false,
        }
    }
    if placed && trial.cost < before {
        return true;
    }
    // Machines go back before the pods do.
    let puts = log.iter().filter(|(_, _, put)| *put).copied().collect::<Vec<_>>();
    for (lot, node, _) in puts.iter().rev() {
        trial.take(*lot as usize, *node);
    }
    for node in opened {
        trial.let_sleep(node);
    }
    for (node, kind) in out.iter().zip(kinds).rev() {
        if let Some(kind) = kind {
            trial.wake_again(kind, *node);
        }
    }
    for (lot, node, put) in log {
        if !put {
            trial.put(lot as usize, node);
        }
    }
    false
}
