//! Scale-up: which machines are powered on, and which are kept that were on their way off. Demand gathers
//! in a batch; what the scheduler can place on nodes that are Ready is left to it; machines that boot count
//! until their deadline; the rest gets the smallest set of off machines. Pools hold their minimum.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::energy;
use super::life::abort;
use super::plan;
use super::policy::Policy;
use super::promise;
use super::solve::sites::Sites;
use super::standin;
use super::state::{Batch, Phase, State, Tracked, Wish, after, is_demand};
use super::survey::Judge;
use super::view::View;
use crate::model::machine::Role;
use crate::model::pod::PodId;
use crate::scheduling::{Place, first_failing_volume};

/// The time that a rate is counted over.
pub(super) const MINUTE_MS: i64 = 60_000;

/// Decides what is powered on or kept.
pub(super) fn decide(state: &mut State, view: &View, now: Timestamp) {
    if state.minimums_until.is_some_and(|until| now >= until) {
        state.minimums = minimums(&state.policy, now, &mut state.minimums_until);
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

/// The pools' minimums at this time, and when they next change.
pub(super) fn minimums(policy: &Policy, now: Timestamp, until: &mut Option<Timestamp>) -> BTreeMap<String, u32> {
    let mut minimums: BTreeMap<String, u32> =
        policy.pools.iter().map(|(pool, bounds)| (pool.clone(), bounds.min)).collect();
    *until = None;
    for rule in &policy.schedule {
        let Ok(window) = rule.window() else { continue };
        if window.is_active(now) {
            let minimum = minimums.entry(rule.pool.clone()).or_default();
            *minimum = rule.min.max(*minimum);
        }
        if let Some(change) = window.next_change(now) {
            *until = Some(until.map_or(change, |until| until.min(change)));
        }
    }
    minimums
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

/// For how many times the doubt's own length a pod that was refused is not tried on the same node again.
pub(super) const BELIEVED: i64 = 30;

/// True when the scheduler has been given long enough to put this pod on this node, and did not: it is
/// believed for a while, and then asked again, for what it saw may have changed. Or when it never will, because
/// the pod's volumes do not reach the node.
pub(super) fn doubted(state: &State, pod: &PodId, node: &str, now: Timestamp) -> bool {
    let since = state.doubts.get(pod).and_then(|nodes| nodes.get(node));
    since.is_some_and(|since| is_ripe(&state.policy, *since, now))
        || out_of_reach(state, pod, node)
        || standin::refuses(state, pod, node)
}

/// True when the pod's volumes keep it off this node.
fn out_of_reach(state: &State, pod: &PodId, node: &str) -> bool {
    let machine = state.machines.get(node).map(|tracked| &tracked.machine.shape);
    let shape = machine.or_else(|| state.nodes.get(node).map(|node| &node.shape));
    let (Some(pod), Some(shape)) = (state.pods.get(pod), shape) else { return false };
    first_failing_volume(pod, node, shape, &state.facts).is_some()
}

fn is_ripe(policy: &Policy, since: Timestamp, now: Timestamp) -> bool {
    now >= after(since, policy.doubt_ms) && now < after(since, policy.doubt_ms.saturating_mul(BELIEVED))
}

/// Drops the doubts that have not lasted long enough yet: nobody could see what the scheduler did.
pub(super) fn forget_young_doubts(state: &mut State, now: Timestamp) {
    let State { doubts, policy, .. } = state;
    for nodes in doubts.values_mut() {
        nodes.retain(|_, since| is_ripe(policy, *since, now));
    }
    doubts.retain(|_, nodes| !nodes.is_empty());
}

/// The sites whose refusal of this pod is believed.
pub(super) fn doubted_at(state: &State, pod: &PodId, sites: &Sites, now: Timestamp) -> Vec<usize> {
    let stand_ins = state.machines.stand_ins().map(|tracked| &tracked.machine.name);
    let closed = stand_ins.filter(|name| standin::refuses(state, pod, name));
    let nodes = state.doubts.get(pod).into_iter().flatten();
    let believed = nodes.filter(|(_, since)| is_ripe(&state.policy, **since, now)).map(|(node, _)| node);
    closed.chain(believed).filter_map(|node| sites.find(node)).collect()
}

/// The nodes that are Ready and take pods.
pub(super) fn ready_places<'a>(state: &'a State, view: &View) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    for (name, node) in state.nodes.iter().filter(|(_, node)| node.ready && !node.cordoned) {
        match state.machines.get(name) {
            None => places.push(view.place(name, &node.shape, false)),
            Some(tracked) if matches!(tracked.phase, Phase::On { unready_since: None, .. }) => {
                places.push(view.place(name, &tracked.machine.shape, false));
            }
            Some(_) => {}
        }
    }
    places
}

/// The machines that boot, until their deadline.
pub(super) fn boots(tracked: &Tracked, now: Timestamp) -> bool {
    matches!(tracked.phase, Phase::PoweringOn { deadline, .. } if now < deadline)
}

/// True for a machine on its way off that may still be kept: its power has not been touched.
pub(super) fn can_turn_back(tracked: &Tracked) -> bool {
    let on_the_way = match tracked.phase {
        Phase::Cordoning | Phase::Looking | Phase::Draining => tracked.is_ours(),
        Phase::PoweringOff { rest_until: None, .. } => tracked.is_ours() && tracked.in_flight.is_none(),
        Phase::Unknown
        | Phase::Off
        | Phase::PoweringOn { .. }
        | Phase::On { .. }
        | Phase::Uncordoning
        | Phase::PoweringOff { .. }
        | Phase::DeletingNode { .. }
        | Phase::Failed { .. } => false,
    };
    on_the_way && tracked.wish != Some(Wish::Off) && !tracked.must_observe
}

/// True for an off machine that may be powered on.
pub(super) fn is_candidate(tracked: &Tracked) -> bool {
    tracked.phase == Phase::Off
        && tracked.is_ours()
        && !tracked.must_observe
        && tracked.in_flight.is_none()
        && tracked.wish.is_none()
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
    forget_young_doubts(state, now);
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

/// True for a machine that counts toward its pool's minimum: it is on and Ready, or soon will be.
pub(super) fn counts(tracked: &Tracked, now: Timestamp) -> bool {
    let serves = match tracked.phase {
        Phase::On { unready_since, .. } => unready_since.is_none(),
        Phase::PoweringOn { .. } => boots(tracked, now),
        Phase::Uncordoning => true,
        Phase::Unknown
        | Phase::Off
        | Phase::Cordoning
        | Phase::Looking
        | Phase::Draining
        | Phase::PoweringOff { .. }
        | Phase::DeletingNode { .. }
        | Phase::Failed { .. } => false,
    };
    serves && tracked.machine.role == Role::Worker
}

/// How many machines of a pool are on and Ready, or soon will be.
pub(super) fn serving(state: &State, pool: &str, now: Timestamp) -> usize {
    let coming = |tracked: &&Tracked| tracked.machine.pool == pool && counts(tracked, now);
    state.machines.ready(pool) + state.machines.moving().filter(coming).count()
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
                let (cost, name) = (energy::price(&state.policy, tracked).cost, tracked.machine.name.clone());
                (tracked.failures, cost, tracked.record.starts, name)
            })
            .collect();
        off.sort();
        let mut chosen: Vec<String> = Vec::new();
        for (_, _, _, name) in off {
            let Some(tracked) = state.machines.get(&name).filter(|_| chosen.len() < missing.min(room)) else { break };
            let full = energy::price(&state.policy, tracked).full;
            let rack = energy::rack(&state.policy, tracked).and_then(|rack| racks.get_mut(rack));
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
