//! The fold: what each event changes in what is known. Nothing is decided here; `life`, `scale_up` and
//! `scale_down` look at the result.

use jiff::Timestamp;

use super::action::What;
use super::daemon_set::sample;
use super::event::{Event, Request};
use super::policy::Policy;
use super::queue::Queue;
use super::record::{Cycle, Rung, Stage, Unseen};
use super::state::State;
use super::time::{after, doubled};
use super::tracked::{Phase, Tracked, Wish};
use super::{doubt, forecast, standin};
use crate::model::fact::Facts;
use crate::model::machine::{Machine, Off, Power, Role};
use crate::model::node::Node;
use crate::model::pod::{Owner, Pod};

/// Takes an event into the state.
pub(super) fn fold(state: &mut State, now: Timestamp, event: Event) {
    match event {
        Event::Started { machines, policy } => started(state, now, machines, policy),
        Event::Tick => {}
        Event::PodsListed { mut pods } => {
            state.pods.retain(|id, _| standin::is_run(id));
            // In the order in which they came, as far as that can be told, for what is learnt from it.
            pods.sort_by_key(|pod| pod.created);
            for pod in pods {
                apply_pod(state, pod, true);
            }
            state.pods_fresh = true;
            found(state);
        }
        Event::NodesListed { nodes } => {
            let machines = &state.machines;
            state.nodes.retain(|name, _| machines.get(name).is_some_and(|tracked| tracked.machine.is_no_node()));
            state.nodes.extend(nodes.into_iter().map(|node| (node.name.clone(), node)));
            state.nodes_fresh = true;
            found(state);
        }
        Event::PodApplied { pod } => apply_pod(state, pod, false),
        Event::PodGone { id } => {
            state.pods.remove(&id);
        }
        Event::NodeApplied { node } => {
            state.nodes.insert(node.name.clone(), node);
        }
        Event::NodeGone { name } => {
            state.nodes.remove(&name);
        }
        Event::FactsListed { facts } => {
            state.heard.everything = true;
            state.facts = facts.into_iter().collect();
        }
        Event::FactApplied { fact } => {
            state.heard.facts.push(Ok(fact.clone()));
            state.facts.apply(fact);
        }
        Event::FactGone { id } => {
            state.heard.facts.push(Err(id.clone()));
            state.facts.remove(&id);
        }
        Event::WatchLost { reason } => {
            state.pods_fresh = false;
            state.nodes_fresh = false;
            state.lost = Some(reason);
            doubt::forget_young(state, now);
        }
        Event::QueueSeen { queue, services } => {
            state.queues.insert(queue, Queue { services, heard: now, lost: None });
        }
        Event::QueueLost { queue, reason } => {
            let known = state.queues.entry(queue);
            known.or_insert(Queue { services: Vec::new(), heard: now, lost: None }).lost = Some(reason);
        }
        Event::PowerSeen { machine, power } => {
            if let Some(mut tracked) = state.machines.get_mut(&machine) {
                seen(&mut tracked, &state.policy, now, power);
            }
        }
        Event::PowerRefused { machine, reason } => {
            if let Some(mut tracked) = state.machines.get_mut(&machine) {
                tracked.record.unseen = Some(Unseen::Refused);
                tracked.trouble = Some(format!("its power cannot be seen until that is mended: {reason}"));
            }
        }
        Event::PowerUnseen { machine, reason } => {
            if let Some(mut tracked) = state.machines.get_mut(&machine) {
                tracked.record.unseen = Some(Unseen::Silent);
                tracked.trouble = Some(format!("its power cannot be seen: {reason}"));
            }
        }
        Event::OffUnverified { machine, reason } => {
            if let Some(mut tracked) = state.machines.get_mut(&machine) {
                tracked.record.unseen = None;
                tracked.record.unverified = Some(reason.clone());
                tracked.trouble = Some(reason);
                // Its power is being taken: the ladder goes on, for a harder order is what helps here.
                if let Phase::PoweringOff { .. } = tracked.phase {
                    tracked.must_observe = false;
                }
            }
        }
        Event::Reached { machine, stage } => {
            if let Some(mut tracked) = state.machines.get_mut(&machine) {
                tracked.record.reach(stage, now);
            }
        }
        Event::Drawn { machine, watts } => {
            if let Some(mut tracked) = state.machines.get_mut(&machine) {
                tracked.record.watts = Some((now, watts));
            }
        }
        Event::Done { action, machine, error } => done(state, now, action, &machine, error),
        Event::Asked { machine, request } => {
            if let Some(mut tracked) = state.machines.get_mut(&machine) {
                asked(&mut tracked, request);
            }
        }
    }
}

/// The daemon started: what is declared is new, the machines' lives go on, and nothing is observed.
fn started(state: &mut State, now: Timestamp, machines: Vec<Machine>, policy: Policy) {
    let mut old = std::mem::take(&mut *state.machines);
    for mut machine in machines {
        let name = machine.name.clone();
        let mut tracked = if let Some(mut tracked) = old.remove(&name) {
            if tracked.machine.shape.seen && !machine.shape.seen {
                machine.shape = tracked.machine.shape.clone();
            }
            tracked.machine = machine;
            tracked
        } else {
            Tracked::new(machine, now)
        };
        // An action that was under way may have been done, half done or not begun: its machine is looked at
        // before anything else is done to it.
        tracked.in_flight = None;
        tracked.not_before = None;
        tracked.errors = 0;
        tracked.must_observe = tracked.machine.role == Role::Worker;
        tracked.record.by_hand = policy.by_hand.contains(&name);
        if tracked.machine.role == Role::FrontEnd {
            tracked.enter(
                Phase::On { idle_since: None, unready_since: None },
                now,
                "the front-end is never powered off",
            );
        }
        state.machines.insert(name, tracked);
    }
    state.policy = policy;
    let State { queues, policy, .. } = &mut *state;
    queues.retain(|name, _| policy.queues.contains(name));
    for queue in queues.values_mut() {
        queue.lost = Some("nothing has been heard of it since the daemon started".to_owned());
    }
    state.pods.clear();
    state.nodes.clear();
    state.facts = Facts::default();
    state.pods_fresh = false;
    state.nodes_fresh = false;
    state.lost = None;
    state.batch = None;
    state.waiting.clear();
    doubt::forget_young(state, now);
    state.minimums_until = None;
    state.minimums = state.policy.minimums(now, &mut state.minimums_until);
}

fn found(state: &mut State) {
    if state.fresh() {
        state.lost = None;
    }
}

fn apply_pod(state: &mut State, pod: Pod, listed: bool) {
    forecast::learn(state, &pod, listed);
    if let Owner::DaemonSet(name) = &pod.owner {
        let (key, sample) = (format!("{}/{name}", pod.id.namespace), sample(pod.clone(), name));
        if state.daemon_sets.get(&key) != Some(&sample) {
            state.heard.daemon_sets.insert(key.clone());
            state.daemon_sets.insert(key, sample);
        }
    }
    state.pods.insert(pod.id.clone(), pod);
}

/// A machine's power was seen.
fn seen(tracked: &mut Tracked, policy: &Policy, now: Timestamp, power: Power) {
    tracked.power_seen = Some((now, power));
    tracked.record.unverified = None;
    tracked.record.unseen = None;
    if power == Power::On {
        tracked.record.reach(Stage::Power, now);
    }
    let looked = tracked.in_flight.as_ref().is_some_and(|flight| flight.what == What::Observe);
    if !looked && tracked.phase != Phase::Unknown {
        // Nobody asked. It may be older than what an action has done since: look again rather than believe it.
        tracked.must_observe |= contradicts(&tracked.phase, power) && tracked.machine.role == Role::Worker;
        return;
    }
    tracked.must_observe = false;
    match power {
        Power::Off => seen_off(tracked, policy, now),
        Power::On => seen_on(tracked, policy, now),
    }
}

fn contradicts(phase: &Phase, power: Power) -> bool {
    match phase {
        Phase::Unknown | Phase::PoweringOn { .. } | Phase::PoweringOff { .. } => false,
        Phase::Off | Phase::DeletingNode { .. } | Phase::Failed { .. } => power == Power::On,
        Phase::On { .. } | Phase::Cordoning | Phase::Looking | Phase::Draining | Phase::Uncordoning => {
            power == Power::Off
        }
    }
}

fn seen_off(tracked: &mut Tracked, policy: &Policy, now: Timestamp) {
    tracked.off_seen = Some(now);
    tracked.record.ended();
    if tracked.wish == Some(Wish::Off) {
        tracked.wish = None;
    }
    match tracked.phase {
        Phase::Unknown => tracked.enter(Phase::Off, now, "seen off"),
        Phase::Off | Phase::DeletingNode { .. } | Phase::Failed { .. } => {}
        // The daemon ended before it was done. Whether it is still wanted is decided anew.
        Phase::PoweringOn { issued: false, .. } => tracked.enter(Phase::Off, now, "its power on had not been done"),
        Phase::PoweringOn { issued: true, .. } => {
            let retry_at = tracked.fail(policy, now, "it was powered on and then seen off");
            tracked.enter(Phase::Failed { retry_at }, now, "it was powered on and then seen off");
        }
        Phase::On { .. } | Phase::Cordoning | Phase::Looking | Phase::Draining | Phase::Uncordoning => {
            tracked.trouble = Some("its power went away while it was on".to_owned());
            tracked.enter(Phase::Off, now, "its power went away while it was on");
        }
        Phase::PoweringOff { rest_until, .. } => powered_off(tracked, now, rest_until),
    }
}

fn seen_on(tracked: &mut Tracked, policy: &Policy, now: Timestamp) {
    tracked.record.on_since.get_or_insert(now);
    let deadline = after(now, policy.boot_timeout_ms);
    match tracked.phase {
        Phase::Unknown | Phase::Off | Phase::Failed { .. } | Phase::DeletingNode { .. } => {
            // Nobody here powered it on: it may be the boot that was taken for ended.
            tracked.record.ended_boot = None;
            tracked.enter(Phase::PoweringOn { issued: true, deadline }, now, "seen on");
        }
        Phase::PoweringOn { issued: false, .. } => tracked.phase = Phase::PoweringOn { issued: true, deadline },
        Phase::PoweringOn { issued: true, .. }
        | Phase::On { .. }
        | Phase::Cordoning
        | Phase::Looking
        | Phase::Draining
        | Phase::Uncordoning
        | Phase::PoweringOff { .. } => {}
    }
}

fn powered_off(tracked: &mut Tracked, now: Timestamp, rest_until: Option<Timestamp>) {
    if let Some(retry_at) = rest_until {
        let cause = tracked.trouble.clone().unwrap_or_default();
        tracked.enter(Phase::Failed { retry_at }, now, cause);
    } else {
        tracked.off_because = Some(std::mem::take(&mut tracked.reason));
        tracked.enter(Phase::Off, now, "powered off");
    }
}

/// An action ended.
fn done(state: &mut State, now: Timestamp, action: u64, machine: &str, error: Option<String>) {
    let State { machines, policy, nodes, .. } = state;
    let Some(mut tracked) = machines.get_mut(machine) else { return };
    let tracked = &mut *tracked;
    // An answer to something older than what is under way, or twice the same: it is not news.
    let Some(flight) = tracked.in_flight.take_if(|flight| flight.id == action) else { return };
    let failed = error.is_some();
    if let Some(error) = error {
        tracked.trouble = Some(format!("{} failed: {error}", flight.what));
        pause(tracked, policy, now);
    } else {
        tracked.errors = 0;
        tracked.not_before = None;
    }
    match (flight.what, failed) {
        (What::Observe, _) => {
            // Nothing was seen: again, but not at once.
            if !failed && tracked.must_observe {
                pause(tracked, policy, now);
            }
        }
        (What::PowerOn, false) => {
            tracked.record.started(flight.since);
            tracked.record.cycle = None;
            if let Phase::PoweringOn { .. } = tracked.phase {
                tracked.phase = Phase::PoweringOn { issued: true, deadline: after(now, policy.boot_timeout_ms) };
            }
        }
        (What::PowerOn, true) => {
            if let Phase::PoweringOn { .. } = tracked.phase {
                let cause = tracked.trouble.clone().unwrap_or_default();
                let retry_at = tracked.fail(policy, now, &cause);
                tracked.enter(Phase::Failed { retry_at }, now, cause);
                // It may have been powered on all the same.
                tracked.must_observe = true;
                tracked.not_before = None;
            }
        }
        (What::PowerCycle, _) => {
            if !failed {
                // Its power was away: whatever its node shows from before is of an earlier boot.
                tracked.off_seen = Some(now);
                tracked.record.ended();
                tracked.record.started(flight.since);
            }
            tracked.record.cycle = Some(Cycle::Done(now));
            tracked.not_before = None;
        }
        (What::Cordon, false) => {
            if tracked.phase == Phase::Cordoning {
                let reason = tracked.reason.clone();
                tracked.enter(Phase::Looking, now, reason);
            }
        }
        (What::Uncordon, false) => {
            if tracked.phase == Phase::Uncordoning {
                tracked.enter(Phase::On { idle_since: None, unready_since: None }, now, "uncordoned");
            }
        }
        // The watch has yet to show what the drain did.
        (What::Drain { .. }, false) => tracked.not_before = Some(after(now, policy.settle_ms)),
        (What::PowerOff { .. }, false) => {
            tracked.off_seen = Some(now);
            tracked.record.unverified = None;
            tracked.record.ended();
            tracked.wish = tracked.wish.filter(|wish| *wish == Wish::On);
            if let Phase::PoweringOff { rest_until, .. } = tracked.phase {
                powered_off(tracked, now, rest_until);
            }
        }
        // It may be off all the same.
        (What::PowerOff { how }, true) => {
            tracked.must_observe = true;
            if how == Off::Hard && tracked.errors >= policy.tell_after {
                tracked.record.climb(Rung::Person, now);
            }
        }
        (What::DeleteNode { uid }, false) => {
            if nodes.get(machine).is_some_and(|node| node.uid == uid) {
                nodes.remove(&machine.to_owned());
            }
        }
        // Unless the watch says otherwise, it is as asked.
        (What::Shun, false) => {
            if let Some(node) = nodes.get(machine).cloned() {
                nodes.insert(machine.to_owned(), Node { shunned: true, ..node });
            }
        }
        (What::Unshun, false) => {
            if let Some(node) = nodes.get(machine).cloned() {
                nodes.insert(machine.to_owned(), Node { shunned: false, ..node });
            }
        }
        (
            What::Cordon | What::Uncordon | What::Shun | What::Unshun | What::Drain { .. } | What::DeleteNode { .. },
            true,
        ) => {}
    }
}

fn asked(tracked: &mut Tracked, request: Request) {
    if tracked.machine.role == Role::FrontEnd {
        return;
    }
    match request {
        Request::PowerOn => tracked.wish = Some(Wish::On),
        Request::PowerOff => tracked.wish = Some(Wish::Off),
        Request::Enable => tracked.disabled = false,
        Request::Disable => {
            tracked.disabled = true;
            tracked.wish = None;
        }
    }
}

/// After an error: the next attempt waits, the longer the more errors there were.
fn pause(tracked: &mut Tracked, policy: &Policy, now: Timestamp) {
    tracked.errors = tracked.errors.saturating_add(1);
    tracked.not_before = Some(after(now, doubled(policy.retry_ms, tracked.errors, policy.backoff_max_ms)));
}
