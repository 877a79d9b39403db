//! Scale-down: which machines begin to go off. One that has been without work for the idle timeout, that no
//! waiting pod could use, and that its pool can spare; or one that a person asked off, which may be busy.

use jiff::Timestamp;

use super::energy::price;
use super::scale_up::serving;
use super::state::{Phase, State, Tracked, Wish, after};
use super::survey::Judge;
use super::view::View;
use crate::model::pod::{Owner, Phase as PodPhase, Pod};

/// A pod this young that the scheduler has not judged yet may be about to be bound.
pub(super) const YOUNG_MS: i64 = 30_000;

/// Why a machine does not begin to go off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stays {
    /// It is not an idle machine that is on, or not one that the core may power.
    NotIdle,
    /// A person cordoned it.
    Cordoned,
    /// Its timer runs until then.
    Until(Timestamp),
    /// It is paid for, and may go then.
    Paid(Timestamp),
    /// A waiting pod could use it.
    Wanted(String),
    /// Its pool keeps so many on.
    Minimum(u32),
}

/// Begins to take machines off.
pub(super) fn decide(state: &mut State, view: &View, now: Timestamp) {
    if !state.fresh() {
        return;
    }
    let mut going: Vec<(bool, u64, Timestamp, String)> = Vec::new();
    let judge = Judge::new(state, view, now);
    let wished = state.machines.wished().filter(|tracked| matches!(tracked.phase, Phase::On { idle_since: None, .. }));
    for tracked in state.machines.idle().chain(wished) {
        if let Phase::On { idle_since, .. } = tracked.phase
            && stays(state, &judge, tracked, now).is_none()
        {
            let dear = u64::MAX - price(&state.policy, tracked).cost;
            going.push((tracked.wish.is_none(), dear, idle_since.unwrap_or(now), tracked.machine.name.clone()));
        }
    }
    // What a person asked first, then the dearest, then the longest idle.
    going.sort();
    for (_, _, _, name) in going {
        // Asked again: the one before may have been the last that the pool could spare.
        let spare = state.machines.get(&name).is_some_and(|tracked| spares(state, tracked, now));
        if let (true, Some(mut tracked)) = (spare, state.machines.get_mut(&name)) {
            let reason = if tracked.wish == Some(Wish::Off) {
                "a person asked for it to be off".to_owned()
            } else {
                format!("it has been without work for {} s", state.policy.idle_timeout_ms / 1000)
            };
            tracked.enter(Phase::Cordoning, now, reason);
        }
    }
}

/// Why this machine does not begin to go off, or `None` when it does. Asks for fresh lists.
pub(super) fn stays(state: &State, judge: &Judge<'_>, tracked: &Tracked, now: Timestamp) -> Option<Stays> {
    let Phase::On { idle_since, unready_since: None } = tracked.phase else { return Some(Stays::NotIdle) };
    let asked = tracked.wish == Some(Wish::Off);
    let mine = tracked.is_ours() || (asked && tracked.machine.role == crate::model::machine::Role::Worker);
    let name = &tracked.machine.name;
    let Some(node) = state.nodes.get(name) else { return Some(Stays::NotIdle) };
    if !mine || tracked.must_observe || tracked.in_flight.is_some() || tracked.wish == Some(Wish::On) {
        return Some(Stays::NotIdle);
    }
    if !asked {
        if node.cordoned {
            return Some(if node.cordoned_by_us { Stays::NotIdle } else { Stays::Cordoned });
        }
        let Some(since) = idle_since else { return Some(Stays::NotIdle) };
        let until = after(since, state.policy.idle_timeout_ms);
        if now < until {
            return Some(Stays::Until(until));
        }
        if let Some(until) = paid(state, tracked, now) {
            return Some(Stays::Paid(until));
        }
        if let Some(pod) = judge.wanted(name) {
            return Some(Stays::Wanted(pod.id.to_string()));
        }
    }
    (!spares(state, tracked, now)).then(|| Stays::Minimum(state.minimum(&tracked.machine.pool)))
}

/// Until when it stays because its time is paid for.
pub(super) fn paid(state: &State, tracked: &Tracked, now: Timestamp) -> Option<Timestamp> {
    let paid = state.policy.paid.get(&tracked.machine.pool)?;
    paid.next(tracked.record.on_since?, now)
}

/// True when its pool can do without it.
fn spares(state: &State, tracked: &Tracked, now: Timestamp) -> bool {
    let pool = &tracked.machine.pool;
    let up = serving(state, pool, now);
    // A machine that is disabled is no longer its pool's to count on.
    tracked.disabled || up > state.minimum(pool) as usize
}

/// True for a pod that has just been made and that the scheduler has not judged.
pub(super) fn is_young(pod: &Pod, now: Timestamp) -> bool {
    pod.node.is_none()
        && !pod.gated
        && !pod.deleting
        && pod.phase == PodPhase::Pending
        && !matches!(pod.owner, Owner::DaemonSet(_) | Owner::Mirror)
        && now < after(pod.created, YOUNG_MS)
}
