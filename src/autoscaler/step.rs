//! The step: folds one event into the state, lets time and evidence move each machine, decides what is
//! wanted, and answers with what to do. And the wakeup: when time alone will change something next.

use jiff::Timestamp;

use super::action::Action;
use super::chart::Chart;
use super::core::Core;
use super::event::Event;
use super::fold::fold;
use super::kept::Moved;
use super::pods::{YOUNG_MS, is_young};
use super::state::State;
use super::time::{MINUTE_MS, after};
use super::timer::machine_times;
use super::tracked::{Phase, Tracked};
use super::view::View;
use super::{consolidate, daemon_set, doubt, forecast, life, metering, scale_down, scale_up, standin};
use crate::model::pod::Pod;

/// Folds one event into the state and answers with the actions to take. Pure: the same state, time and
/// event always give the same state and actions.
pub fn step(core: &mut Core, now: Timestamp, event: Event) -> Vec<Action> {
    let mut kept = std::mem::take(&mut core.kept);
    let state: &mut State = core;
    let before = std::mem::replace(&mut state.now, now);
    if let Event::Started { .. } = event {
        metering::stop(state, before);
    }
    fold(state, now, event);
    standin::forget(state);
    let (view, mut moved) = kept.open(state, now);
    life::advance(state, &view, &moved.names, now);
    scale_up::decide(state, &view, now);
    scale_down::decide(state, &view, now);
    consolidate::decide(state, &view, now);
    moved.follow(state);
    forget_daemon_sets(state, &view, &moved, now);
    metering::turn(state, &view, moved.metered(), now);
    let actions = life::actions(state, &view, &moved.names, now);
    kept.close(state, view, moved, now);
    core.kept = kept;
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
            && daemon_set::wants(sample, name, &tracked.machine.shape)
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
        *view.chart() = Chart::default();
    }
}

/// When `step` must next be given a `Tick`, if nothing happens before; always later than the last step.
pub fn next_wakeup(core: &Core) -> Option<Timestamp> {
    let state: &State = core;
    let policy = &state.policy;
    let mut times: Vec<Timestamp> = Vec::new();
    times.extend(state.minimums_until);
    if !state.waiting.is_empty() {
        times.extend(state.recent_boots.iter().map(|at| after(*at, MINUTE_MS)));
    }
    times.extend(state.batch.map(|batch| scale_up::due(policy, batch)));
    for since in state.doubts.values().flat_map(|nodes| nodes.values()) {
        times.push(after(*since, policy.doubt_ms));
        times.push(after(*since, policy.doubt_ms.saturating_mul(doubt::BELIEVED)));
    }
    times.extend(state.pods.picked().filter(|pod| is_young(pod, state.now)).map(|pod| after(pod.created, YOUNG_MS)));
    times.extend(consolidate::next_look(state));
    times.extend(forecast::lapses(state));
    if let Some(first) = core.kept.first_timer(state) {
        times.extend(first);
    } else {
        for tracked in state.machines.values() {
            machine_times(state, tracked, &mut times);
        }
    }
    // What lay in the past was considered by the last step: only news can change that.
    times.into_iter().filter(|time| *time > state.now).min()
}
