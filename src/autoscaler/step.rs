//! The step: folds one event into the state, lets time and evidence move each machine, decides what is
//! wanted, and answers with what to do. And the wakeup: when time alone will change something next.

use jiff::Timestamp;

use super::fold::fold;
use super::kept::Moved;
use super::record::Cycle;
use super::scale_down::{YOUNG_MS, goes_at, is_young};
use super::state::{Phase, State, Tracked, after};
use super::survey::Survey;
use super::view::{View, daemon_set_wants};
use super::{Action, Event, consolidate, forecast, life, meter, scale_down, scale_up, standin};
use crate::model::pod::Pod;

/// Folds one event into the state and answers with the actions to take. Pure: the same state, time and
/// event always give the same state and actions.
pub fn step(state: &mut State, now: Timestamp, event: Event) -> Vec<Action> {
    let before = std::mem::replace(&mut state.now, now);
    if let Event::Started { .. } = event {
        meter::stop(state, before);
    }
    fold(state, now, event);
    standin::forget(state);
    let mut kept = std::mem::take(&mut state.kept);
    let (view, mut moved) = kept.open(state, now);
    life::advance(state, &view, &moved.names, now);
    scale_up::decide(state, &view, now);
    scale_down::decide(state, &view, now);
    consolidate::decide(state, &view, now);
    moved.follow(state);
    forget_daemon_sets(state, &view, &moved, now);
    meter::turn(state, &view, moved.metered(), now);
    let actions = life::actions(state, &view, &moved.names, now);
    kept.close(state, view, moved, now);
    state.kept = kept;
    actions
}

/// A DaemonSet that has put no pod on a machine that has long been Ready is gone, or does not want it.
fn forget_daemon_sets(state: &mut State, view: &View, moved: &Moved, now: Timestamp) {
    if !state.fresh() {
        return;
    }
    let State { machines, daemon_sets, policy, .. } = state;
    let machines = &*machines;
    let lacks = |key: &String, sample: &Pod, tracked: &Tracked| {
        let name = &tracked.machine.name;
        matches!(tracked.phase, Phase::On { unready_since: None, .. })
            && now >= after(tracked.since, policy.boot_timeout_ms)
            && !view.load(name).has(key)
            && daemon_set_wants(sample, name, &tracked.machine.shape)
    };
    let before = daemon_sets.len();
    daemon_sets.retain(|key, sample| {
        let anew = moved.all || moved.daemon_sets.contains(key);
        let all = anew.then(|| machines.values()).into_iter().flatten();
        let some = (!anew).then_some(&moved.names).into_iter().flatten();
        !some.filter_map(|name| machines.get(name)).chain(all).any(|tracked| lacks(key, sample, tracked))
    });
    if daemon_sets.len() < before {
        // What is to come to every machine is another than before.
        *view.survey() = Survey::default();
    }
}

/// When `step` must next be given a `Tick`, if nothing happens before; always later than the last step.
pub fn next_wakeup(state: &State) -> Option<Timestamp> {
    let policy = &state.policy;
    let mut times: Vec<Timestamp> = Vec::new();
    times.extend(state.minimums_until);
    if !state.waiting.is_empty() {
        times.extend(state.recent_boots.iter().map(|at| after(*at, scale_up::MINUTE_MS)));
    }
    times.extend(state.batch.map(|batch| scale_up::due(policy, batch)));
    for since in state.doubts.values().flat_map(|nodes| nodes.values()) {
        times.push(after(*since, policy.doubt_ms));
        times.push(after(*since, policy.doubt_ms.saturating_mul(scale_up::BELIEVED)));
    }
    times.extend(state.pods.picked().filter(|pod| is_young(pod, state.now)).map(|pod| after(pod.created, YOUNG_MS)));
    times.extend(consolidate::next_look(state));
    times.extend(forecast::lapses(state));
    if let Some(first) = state.kept.first_timer(state) {
        times.extend(first);
    } else {
        for tracked in state.machines.values() {
            machine_times(state, tracked, &mut times);
        }
    }
    // What lay in the past was considered by the last step: only news can change that.
    times.into_iter().filter(|time| *time > state.now).min()
}

/// When a machine next asks to be looked at.
pub(super) fn machine_times(state: &State, tracked: &Tracked, times: &mut Vec<Timestamp>) {
    let policy = &state.policy;
    let since = tracked.since;
    times.extend(tracked.not_before);
    times.extend(tracked.in_flight.as_ref().map(|flight| after(flight.since, policy.lost_ms)));
    match &tracked.phase {
        Phase::Unknown => times.push(after(since, policy.observe_ms)),
        Phase::Off | Phase::Cordoning | Phase::Uncordoning | Phase::DeletingNode { .. } => {}
        Phase::PoweringOn { deadline, .. } => {
            times.push(*deadline);
            if let Some(Cycle::Done(at)) = tracked.record.cycle {
                times.push(after(at, policy.boot_timeout_ms));
            }
            times.extend(tracked.power_seen.map(|(at, _)| after(at, policy.observe_ms)));
        }
        Phase::On { idle_since, unready_since } => {
            times.push(after(since, policy.settle_ms));
            // What should be on it by then is there, or will not be.
            times.push(after(since, policy.boot_timeout_ms));
            if let Some(idle) = idle_since {
                let idle = goes_at(policy, tracked, *idle);
                times.push(idle);
                times.extend(scale_down::paid(state, tracked, state.now.max(idle)));
            }
            if let Some(unready) = unready_since {
                times.push(after(*unready, policy.boot_timeout_ms));
                times.push(after(*unready, policy.observe_ms));
                times.extend(tracked.power_seen.map(|(at, _)| after(at, policy.observe_ms)));
            }
        }
        Phase::Looking => {
            times.push(after(since, policy.settle_ms));
            times.push(after(since, policy.settle_ms + policy.observe_ms));
        }
        Phase::Draining => times.push(after(since, policy.drain_timeout_ms)),
        Phase::PoweringOff { .. } => times.push(after(since, policy.off_timeout_ms)),
        Phase::Failed { retry_at } => times.push(*retry_at),
    }
}
