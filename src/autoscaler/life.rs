//! The life of one machine: how time and what is seen move it from phase to phase, and which action its
//! phase asks for. Whether it is wanted is decided in `scale_up` and `scale_down`.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::action::{Action, What};
use super::policy::Policy;
use super::record::{Cycle, Rung, Stage};
use super::state::State;
use super::time::after;
use super::tracked::{InFlight, Phase, Tracked, Wish, is_leaving};
use super::view::{Load, View};
use crate::model::fact::NodeDrivers;
use crate::model::machine::{Off, Role};
use crate::model::node::Node;

/// What a machine's life is judged by.
struct Sight<'a> {
    policy: &'a Policy,
    now: Timestamp,
    fresh: bool,
    nodes_fresh: bool,
    node: Option<&'a Node>,
    drivers: Option<&'a NodeDrivers>,
    load: &'a Load,
    /// A queue promises it work.
    promised: bool,
}

/// Moves these machines on as far as time and what is seen allow.
pub(super) fn advance(state: &mut State, view: &View, names: &BTreeSet<String>, now: Timestamp) {
    let (fresh, nodes_fresh) = (state.fresh(), state.nodes_fresh);
    let State { machines, policy, nodes, facts, .. } = state;
    for name in names {
        let (node, drivers) = (nodes.get(name), facts.node_drivers.get(name));
        let (load, promised) = (view.load(name), view.promised(name).is_some());
        let sight = Sight { policy, now, fresh, nodes_fresh, node, drivers, load, promised };
        machines.visit(name, |tracked| {
            if tracked.in_flight.as_ref().is_some_and(|flight| now >= after(flight.since, policy.lost_ms)) {
                tracked.in_flight = None;
                tracked.trouble = Some("an action had no outcome and was given up".to_owned());
                tracked.must_observe = tracked.machine.role == Role::Worker;
            }
            // Twice: a machine that has just come up is at once idle or busy.
            move_on(tracked, &sight);
            move_on(tracked, &sight);
            remember(tracked, &sight);
            if tracked.leaving.is_some() && !is_leaving(&tracked.phase) {
                tracked.leaving = None;
            }
        });
    }
}

fn move_on(tracked: &mut Tracked, sight: &Sight<'_>) {
    let now = sight.now;
    let came_up = tracked.came_up(sight.node);
    match tracked.phase.clone() {
        Phase::Unknown => {}
        Phase::Off => stay_off(tracked, sight, came_up, None),
        Phase::Failed { retry_at } => {
            stay_off(tracked, sight, came_up, Some(retry_at));
            let rested = now >= retry_at && !tracked.must_observe && tracked.in_flight.is_none();
            if rested && matches!(tracked.phase, Phase::Failed { .. }) {
                tracked.enter(Phase::Off, now, "it failed and has rested: it may be tried again");
            }
        }
        Phase::DeletingNode { rest_until } => {
            if came_up || tracked.lives(sight.node) {
                tracked.must_observe = true;
            } else if sight.nodes_fresh && sight.node.is_none() && tracked.in_flight.is_none() {
                match rest_until {
                    Some(retry_at) => {
                        tracked.enter(Phase::Failed { retry_at }, now, tracked.trouble.clone().unwrap_or_default());
                    }
                    None => tracked.enter(Phase::Off, now, "powered off"),
                }
            }
        }
        Phase::PoweringOn { issued, deadline } => boot(tracked, sight, came_up, issued && now >= deadline),
        Phase::On { idle_since, unready_since } => {
            if came_up {
                live(tracked, sight, idle_since);
            } else {
                ail(tracked, sight, unready_since);
            }
        }
        Phase::Cordoning | Phase::Looking | Phase::Draining => wind_down(tracked, sight, came_up),
        Phase::Uncordoning => {
            if sight.nodes_fresh && sight.node.is_none() {
                tracked.enter(Phase::On { idle_since: None, unready_since: None }, now, "its node is gone");
            }
        }
        Phase::PoweringOff { how, rest_until } => power_down(tracked, sight, how, rest_until),
    }
}

/// Off: a Node object that is left over goes, unless it shows that somebody else powered the machine on.
fn stay_off(tracked: &mut Tracked, sight: &Sight<'_>, came_up: bool, rest_until: Option<Timestamp>) {
    if tracked.machine.role == Role::FrontEnd || !sight.nodes_fresh || sight.node.is_none() {
        return;
    }
    if came_up || tracked.lives(sight.node) || tracked.off_seen.is_none() {
        tracked.must_observe = true;
    } else if !tracked.must_observe && tracked.in_flight.is_none() {
        let reason = "it is off, and its node is still there";
        tracked.enter(Phase::DeletingNode { rest_until }, sight.now, reason);
    }
}

fn boot(tracked: &mut Tracked, sight: &Sight<'_>, came_up: bool, late: bool) {
    let cycling = tracked.in_flight.as_ref().is_some_and(|flight| flight.what == What::PowerCycle);
    if came_up && sight.nodes_fresh && !cycling {
        tracked.failures = 0;
        tracked.trouble = None;
        tracked.record.came_up(sight.node.and_then(|node| node.boot_id.as_ref()));
        tracked.wish = tracked.wish.filter(|wish| *wish == Wish::Off);
        tracked.enter(Phase::On { idle_since: None, unready_since: None }, sight.now, "its node is Ready");
    } else if late && sight.fresh && may_be_cut(tracked) && tracked.in_flight.is_none() && sight.load.staying == 0 {
        let cause = "its node was not Ready in time after its power on";
        match tracked.record.cycle {
            // One that is asked off need not come up: its power goes, and is not given back.
            None | Some(Cycle::Due) if tracked.wish == Some(Wish::Off) => give_up(tracked, sight, cause),
            None if sight.policy.power_cycle && !tracked.must_observe => {
                tracked.record.cycle = Some(Cycle::Due);
                cause.clone_into(&mut tracked.reason);
            }
            Some(Cycle::Due) => {}
            Some(Cycle::Done(at)) if sight.now < after(at, sight.policy.boot_timeout_ms) => {}
            None | Some(Cycle::Done(_)) => give_up(tracked, sight, cause),
        }
    } else if late {
        look_again(tracked, sight, tracked.since);
    } else if let Phase::PoweringOn { issued: false, .. } = tracked.phase
        && !managed(tracked)
        && !tracked.must_observe
        && tracked.in_flight.is_none()
    {
        tracked.enter(Phase::Off, sight.now, "it was disabled before its power on");
    }
}

/// Has its power looked at now and then.
fn look_again(tracked: &mut Tracked, sight: &Sight<'_>, since: Timestamp) {
    let looked = tracked.power_seen.map(|(at, _)| at).filter(|at| *at >= since);
    if looked.is_none_or(|at| sight.now >= after(at, sight.policy.observe_ms)) {
        tracked.must_observe = true;
    }
}

/// It does not work: its power is cut, it rests, and another is tried meanwhile.
fn give_up(tracked: &mut Tracked, sight: &Sight<'_>, cause: &str) {
    let rest_until = tracked.fail(sight.policy, sight.now, cause);
    tracked.wish = None;
    tracked.enter(Phase::PoweringOff { how: Off::Hard, rest_until: Some(rest_until) }, sight.now, cause);
}

/// On and Ready: counts how long it has been without work, in hand or promised.
fn live(tracked: &mut Tracked, sight: &Sight<'_>, idle_since: Option<Timestamp>) {
    let idle_since = if !sight.fresh {
        idle_since
    } else if sight.load.work.is_empty() && !sight.promised {
        idle_since.or(Some(sight.now))
    } else {
        None
    };
    tracked.phase = Phase::On { idle_since, unready_since: None };
    tracked.wish = tracked.wish.filter(|wish| *wish == Wish::Off);
    let ours = sight.node.is_some_and(|node| node.cordoned && node.cordoned_by_us);
    // The watch may yet have to show what we did ourselves a moment ago.
    if sight.nodes_fresh && ours && sight.now >= after(tracked.since, sight.policy.settle_ms) {
        tracked.enter(Phase::Uncordoning, sight.now, "it is on and was left cordoned");
    }
}

/// On, but its node is missing or not Ready: its power is looked at, and in the end it is given up.
fn ail(tracked: &mut Tracked, sight: &Sight<'_>, unready_since: Option<Timestamp>) {
    if !sight.nodes_fresh || tracked.machine.role == Role::FrontEnd {
        return;
    }
    let since = unready_since.unwrap_or(sight.now);
    tracked.phase = Phase::On { idle_since: None, unready_since: Some(since) };
    look_again(tracked, sight, since);
    let late = sight.now >= after(since, sight.policy.boot_timeout_ms);
    // Pods that are not yet being deleted may well run on behind a broken network: their machine stays.
    if late && sight.fresh && may_be_cut(tracked) && tracked.in_flight.is_none() && sight.load.staying == 0 {
        give_up(tracked, sight, "its node has not been Ready for too long");
    }
}

/// On the way to being off, its power not yet touched.
fn wind_down(tracked: &mut Tracked, sight: &Sight<'_>, came_up: bool) {
    if !sight.fresh || tracked.in_flight.is_some() || tracked.must_observe {
        return;
    }
    let now = sight.now;
    let asked = tracked.wish == Some(Wish::Off);
    let busy = !sight.load.work.is_empty();
    if !came_up {
        tracked.enter(Phase::On { idle_since: None, unready_since: Some(now) }, now, "its node is not Ready");
    } else if !managed(tracked) {
        abort(tracked, now, "it was disabled");
    } else if tracked.wish == Some(Wish::On) {
        abort(tracked, now, "a person asked for it to be on");
    } else if busy && !asked && tracked.leaving.is_none() {
        abort(tracked, now, "a pod came to it");
    } else if tracked.phase == Phase::Looking {
        let cordoned = sight.node.is_some_and(|node| node.cordoned);
        let settled = now >= after(tracked.since, sight.policy.settle_ms);
        if cordoned && settled {
            let reason = tracked.reason.clone();
            let next = if busy { Phase::Draining } else { Phase::PoweringOff { how: Off::Graceful, rest_until: None } };
            tracked.enter(next, now, reason);
        } else if settled && now >= after(tracked.since, sight.policy.settle_ms + sight.policy.observe_ms) {
            tracked.wish = None;
            tracked.enter(Phase::On { idle_since: None, unready_since: None }, now, "somebody uncordoned it");
        }
    } else if tracked.phase == Phase::Draining {
        if !busy {
            let reason = tracked.reason.clone();
            tracked.enter(Phase::PoweringOff { how: Off::Graceful, rest_until: None }, now, reason);
        } else if now >= after(tracked.since, sight.policy.drain_timeout_ms) {
            tracked.wish = None;
            tracked.trouble = Some("its drain did not end in time".to_owned());
            abort(tracked, now, "its drain did not end in time");
        }
    }
}

/// Goes back: it stays on.
pub(super) fn abort(tracked: &mut Tracked, now: Timestamp, reason: &str) {
    tracked.enter(Phase::Uncordoning, now, reason);
}

fn power_down(tracked: &mut Tracked, sight: &Sight<'_>, how: Off, rest_until: Option<Timestamp>) {
    if !sight.fresh || tracked.in_flight.is_some() || tracked.must_observe {
        return;
    }
    let now = sight.now;
    if rest_until.is_some() {
        if tracked.came_up(sight.node) {
            tracked.enter(Phase::On { idle_since: None, unready_since: None }, now, "it came up after all");
        } else if !managed(tracked) || sight.load.staying > 0 {
            tracked.enter(Phase::On { idle_since: None, unready_since: Some(now) }, now, "it is left as it is");
        }
    } else if !managed(tracked) {
        abort(tracked, now, "it was disabled");
    } else if tracked.wish == Some(Wish::On) {
        abort(tracked, now, "a person asked for it to be on");
    } else if !sight.load.work.is_empty() {
        abort(tracked, now, "a pod came to it");
    } else if how == Off::Graceful && now >= after(tracked.since, sight.policy.off_timeout_ms) {
        tracked.phase = Phase::PoweringOff { how: Off::Hard, rest_until };
    }
}

/// True when the core may act on it: of its own accord, or because a person asked.
fn managed(tracked: &Tracked) -> bool {
    tracked.machine.role == Role::Worker && !tracked.record.by_hand && (!tracked.disabled || tracked.wish.is_some())
}

/// True for one whose power may be cut because it is silent. Of one that is no node nobody else knows what it runs: there
/// a person must have asked.
fn may_be_cut(tracked: &Tracked) -> bool {
    managed(tracked) && (!tracked.machine.is_no_node() || tracked.wish == Some(Wish::Off))
}

/// Keeps what a Ready node looks like for when its machine is off.
fn remember(tracked: &mut Tracked, sight: &Sight<'_>) {
    let Some(node) = sight.node else { return };
    if sight.nodes_fresh && tracked.record.boot.is_some() {
        note_stages(tracked, node, sight.now);
    }
    let on = matches!(tracked.phase, Phase::On { .. });
    if !sight.nodes_fresh || !on || !tracked.came_up(sight.node) {
        return;
    }
    if tracked.record.boot_id != node.boot_id && node.boot_id.is_some() {
        tracked.record.boot_id.clone_from(&node.boot_id);
    }
    let mut shape = node.shape.clone();
    shape.seen = true;
    shape.drivers = sight.drivers.map(|drivers| drivers.limits.clone()).unwrap_or_default();
    // Device plugins and CSI drivers register after kubelet: until they must have, theirs is taken as coming.
    if sight.now < after(tracked.since, sight.policy.boot_timeout_ms) {
        for (name, amount) in &tracked.machine.shape.allocatable.extended {
            shape.allocatable.extended.entry(name.clone()).or_insert(*amount);
        }
        for (name, limit) in &tracked.machine.shape.drivers {
            shape.drivers.entry(name.clone()).or_insert(*limit);
        }
    }
    if tracked.machine.shape != shape {
        tracked.machine.shape = shape;
    }
}

/// How far the boot under way has come, by what its node shows.
fn note_stages(tracked: &mut Tracked, node: &Node, now: Timestamp) {
    let ordered = tracked.record.boot.as_ref().map(|boot| boot.ordered);
    let reports = ordered.is_some_and(|at| node.created > at || node.heartbeat.is_some_and(|beat| beat > at));
    if !reports || tracked.record.is_ended_boot(node) {
        return;
    }
    tracked.record.reach(Stage::Kubelet, now);
    if !node.ready {
        return;
    }
    tracked.record.reach(Stage::Ready, now);
    // A device plugin registers after kubelet.
    let there = |(name, amount): (&String, &u64)| node.shape.allocatable.extended.get(name) >= Some(amount);
    if tracked.machine.shape.allocatable.extended.iter().all(there) {
        tracked.record.reach(Stage::Useful, now);
    }
}

/// The actions that these machines' phases ask for, one a machine at most.
pub(super) fn actions(state: &mut State, view: &View, names: &BTreeSet<String>, now: Timestamp) -> Vec<Action> {
    let (fresh, nodes_fresh) = (state.fresh(), state.nodes_fresh);
    let State { machines, nodes, last_action, .. } = state;
    let mut actions = Vec::new();
    for name in names {
        let Some(tracked) = machines.get(name) else { continue };
        let paused = tracked.not_before.is_some_and(|until| now < until);
        if tracked.machine.role == Role::FrontEnd || tracked.in_flight.is_some() || paused {
            continue;
        }
        let Some(what) = wanted(tracked, nodes.get(name), view.load(name), fresh, nodes_fresh) else { continue };
        let Some(mut tracked) = machines.get_mut(name) else { continue };
        *last_action += 1;
        let id = *last_action;
        let reason = if what == What::Observe { "to see whether it is on".to_owned() } else { tracked.reason.clone() };
        tracked.in_flight = Some(InFlight { id, what: what.clone(), since: now });
        match &what {
            What::PowerOff { how: Off::Graceful } => tracked.record.climb(Rung::Graceful, now),
            What::PowerOff { how: Off::Hard } => tracked.record.climb(Rung::Hard, now),
            What::PowerCycle => tracked.record.climb(Rung::Cycle, now),
            What::Observe
            | What::PowerOn
            | What::Cordon
            | What::Uncordon
            | What::Shun
            | What::Unshun
            | What::Drain { .. }
            | What::DeleteNode { .. } => {}
        }
        actions.push(Action { id, machine: name.clone(), what, reason });
    }
    actions
}

fn wanted(tracked: &Tracked, node: Option<&Node>, load: &Load, fresh: bool, nodes_fresh: bool) -> Option<What> {
    if tracked.must_observe {
        return Some(What::Observe);
    }
    match &tracked.phase {
        Phase::Unknown => Some(What::Observe),
        Phase::PoweringOn { issued: false, .. } => managed(tracked).then_some(What::PowerOn),
        Phase::PoweringOn { issued: true, .. } => {
            let due = tracked.record.cycle == Some(Cycle::Due) && fresh && managed(tracked) && load.staying == 0;
            due.then_some(What::PowerCycle)
        }
        Phase::On { unready_since: None, .. } if fresh => match (tracked.leaving.is_some(), node?.shunned) {
            (true, false) => Some(What::Shun),
            (false, true) => Some(What::Unshun),
            (true, true) | (false, false) => None,
        },
        Phase::Off | Phase::On { .. } | Phase::Looking | Phase::Failed { .. } => None,
        Phase::Cordoning => fresh.then_some(What::Cordon),
        Phase::Draining => (fresh && !load.work.is_empty()).then(|| What::Drain { pods: load.work.clone() }),
        Phase::Uncordoning => Some(What::Uncordon),
        Phase::PoweringOff { how, .. } => (fresh && managed(tracked)).then_some(What::PowerOff { how: *how }),
        Phase::DeletingNode { .. } => {
            node.filter(|_| nodes_fresh).map(|node| What::DeleteNode { uid: node.uid.clone() })
        }
    }
}
