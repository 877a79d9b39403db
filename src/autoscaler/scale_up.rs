//! Scale-up: which machines are powered on, and which are kept that were on their way off. Demand gathers
//! in a batch; what the scheduler can place on nodes that are Ready is left to it; machines that boot count
//! until their deadline; the rest gets the smallest set of off machines. Pools hold their minimum.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::judge::Judge;
use super::life::abort;
use super::pods::is_demand;
use super::policy::Policy;
use super::state::{Batch, State, serving};
use super::time::{MINUTE_MS, after};
use super::tracked::{Phase, Tracked, Wish, can_turn_back, is_candidate};
use super::view::View;
use super::{doubt, plan, price, promise};
use crate::model::machine::Role;
use crate::model::pod::PodId;

/// Decides what is powered on or kept.
pub(super) fn decide(state: &mut State, view: &View, now: Timestamp) {
    if state.minimums_until.is_some_and(|until| now >= until) {
        state.minimums = state.policy.minimums(now, &mut state.minimums_until);
    }
    grant_wishes(state, now);
    if !state.fresh() {
        return;
    }
    gather(state, now);
    turn_back(state, view, now);
    if finding_out(state, now) {
        return;
    }
    if state.batch.is_none() && !state.waiting.is_empty() {
        meet_demand(state, view, now);
    }
    hold_minimums(state, now);
}

/// True while the power of some machine has yet to be seen for the first time: it may well be on, and what
/// is wanted may be there already. A provider that does not answer holds nothing up for long.
fn finding_out(state: &State, now: Timestamp) -> bool {
    let unseen = |tracked: &Tracked| tracked.phase == Phase::Unknown;
    state.machines.moving().any(|tracked| unseen(tracked) && now < after(tracked.since, state.policy.observe_ms))
}

fn grant_wishes(state: &mut State, now: Timestamp) {
    let can = |tracked: &&Tracked| {
        tracked.machine.role == Role::Worker
            && matches!(tracked.phase, Phase::Off | Phase::Failed { .. })
            && tracked.in_flight.is_none()
            && !tracked.must_observe
    };
    let names: Vec<String> = state.machines.wished().filter(can).map(|tracked| tracked.machine.name.clone()).collect();
    let State { machines, policy, .. } = state;
    for name in names {
        let Some(mut tracked) = machines.get_mut(&name) else { continue };
        match tracked.wish {
            Some(Wish::On) => power_on(&mut tracked, policy, now, "a person asked for it".to_owned()),
            // It is what was asked for.
            Some(Wish::Off) => tracked.wish = None,
            None => {}
        }
    }
}

fn power_on(tracked: &mut Tracked, policy: &Policy, now: Timestamp, reason: String) {
    tracked.enter(Phase::PoweringOn { issued: false, deadline: after(now, policy.boot_timeout_ms) }, now, reason);
}

/// Notes new demand, and opens or closes the batch that it gathers in.
fn gather(state: &mut State, now: Timestamp) {
    let promised = promise::pods(state, false).into_iter().map(|pod| pod.id);
    let demand: BTreeSet<PodId> = state.demand().map(|pod| pod.id.clone()).chain(promised).collect();
    if demand.difference(&state.waiting).next().is_some() {
        let first = state.batch.map_or(now, |batch| batch.first);
        state.batch = Some(Batch { first, last: now });
    }
    state.doubts.retain(|id, _| demand.contains(id));
    state.meant.retain(|id, _| demand.contains(id));
    state.recent_boots.retain(|at| now < after(*at, MINUTE_MS));
    if demand.is_empty() || state.batch.is_some_and(|batch| now >= due(&state.policy, batch)) {
        state.batch = None;
    }
    state.waiting = demand;
}

/// When a batch has gathered long enough.
pub(super) fn due(policy: &Policy, batch: Batch) -> Timestamp {
    after(batch.last, policy.batch_idle_ms).min(after(batch.first, policy.batch_max_ms))
}

/// Keeps every machine on its way off that a waiting pod fits: it is on, and worth more than a boot. That
/// does not wait for the batch, for the power may be gone by then.
fn turn_back(state: &mut State, view: &View, now: Timestamp) {
    let mut kept: Vec<(String, PodId)> = Vec::new();
    {
        let judge = Judge::new(state, view, now);
        for tracked in state.machines.moving().filter(|tracked| can_turn_back(tracked)) {
            let name = &tracked.machine.name;
            if let Some(pod) = judge.wanted(name).filter(|pod| is_demand(pod)) {
                kept.push((name.clone(), pod.id.clone()));
            }
        }
    }
    for (name, pod) in kept {
        if let Some(mut tracked) = state.machines.get_mut(&name) {
            abort(&mut tracked, now, &format!("pod {pod} waits and fits it"));
        }
    }
    for (name, reason) in promise::turn_back(state, view, now) {
        if let Some(mut tracked) = state.machines.get_mut(&name) {
            abort(&mut tracked, now, &reason);
        }
    }
}

fn meet_demand(state: &mut State, view: &View, now: Timestamp) {
    let decision = plan::decide(state, view, now);
    // A doubt grows only while the pod has a place there without a break.
    let before = state.doubts.clone();
    doubt::forget_young(state, now);
    for (pod, node) in decision.beside {
        let since = before.get(&pod).and_then(|nodes| nodes.get(&node)).copied();
        // One that was believed for its time begins anew.
        let since = since.filter(|since| now < after(*since, state.policy.doubt_ms)).unwrap_or(now);
        state.doubts.entry(pod).or_default().insert(node, since);
    }
    state.meant = decision.meant;
    let State { machines, policy, recent_boots, .. } = state;
    for (name, reason) in decision.wake {
        if let Some(mut tracked) = machines.get_mut(&name) {
            power_on(&mut tracked, policy, now, reason);
            recent_boots.push(now);
        }
    }
}

fn hold_minimums(state: &mut State, now: Timestamp) {
    let minimums = state.minimums.clone();
    for (pool, minimum) in minimums {
        if minimum == 0 {
            continue;
        }
        let mine = |tracked: &Tracked| tracked.machine.pool == pool;
        let mut missing = (minimum as usize).saturating_sub(serving(state, &pool, now));
        if missing == 0 {
            continue;
        }
        let backs = state.machines.moving().filter(|tracked| mine(tracked) && can_turn_back(tracked)).take(missing);
        for name in backs.map(|tracked| tracked.machine.name.clone()).collect::<Vec<_>>() {
            if let Some(mut tracked) = state.machines.get_mut(&name) {
                abort(&mut tracked, now, &format!("pool {pool} keeps {minimum} on"));
                missing -= 1;
            }
        }
        let most = plan::most(state, now);
        let room = most.pools.get(pool.as_str()).copied().unwrap_or(usize::MAX).min(most.total.unwrap_or(usize::MAX));
        let (mut draws, mut racks) = (most.draws, most.racks);
        let mut off: Vec<(u32, u64, u64, String)> = state
            .machines
            .off()
            .filter(|tracked| mine(tracked) && is_candidate(tracked))
            .map(|tracked| {
                let (cost, name) = (price::price(&state.policy, tracked).cost, tracked.machine.name.clone());
                (tracked.failures, cost, tracked.record.starts, name)
            })
            .collect();
        off.sort();
        let mut chosen: Vec<String> = Vec::new();
        for (_, _, _, name) in off {
            let Some(tracked) = state.machines.get(&name).filter(|_| chosen.len() < missing.min(room)) else { break };
            let full = price::price(&state.policy, tracked).full;
            let rack = price::rack(&state.policy, tracked).and_then(|rack| racks.get_mut(rack));
            if draws.is_none_or(|draws| full <= draws) && rack.as_ref().is_none_or(|left| full <= **left) {
                draws = draws.map(|draws| draws - full);
                if let Some(left) = rack {
                    *left -= full;
                }
                chosen.push(name);
            }
        }
        let State { machines, policy, recent_boots, .. } = &mut *state;
        for name in chosen {
            if let Some(mut tracked) = machines.get_mut(&name) {
                power_on(&mut tracked, policy, now, format!("pool {pool} keeps {minimum} on"));
                recent_boots.push(now);
            }
        }
    }
}
