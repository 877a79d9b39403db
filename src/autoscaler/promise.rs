//! A promise: pods that are not there yet, but that a queue holds the work of. They are demand like pods that
//! wait, with three differences. Pods that are there come first. A machine is kept for them only where a place
//! on it is needed, for they may last. And what a queue promised that has been lost since wakes nothing more.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::doubt::doubted;
use super::pods::{is_live, is_young};
use super::price::dear;
use super::queue::{NAMESPACE, promised, sentence};
use super::solve::order::{size, sort};
use super::state::State;
use super::tracked::{Phase, Tracked, boots, can_turn_back};
use super::view::{View, ready_places};
use crate::model::pod::{Phase as PodPhase, Pod, PodId};
use crate::model::queue::{Backlog, Unit};
use crate::model::resources::Resources;
use crate::scheduling::{Place, first_failing_filter};

/// Not more pods than this are promised of one service at a time: the rest comes when these are there.
const MOST: u64 = 1000;

/// Pods of one service that are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cover {
    /// Not finished.
    pub(super) live: u64,
    /// Those of them that run.
    pub(super) running: u64,
}

/// How far pods that are there cover each of these services, in their order.
pub(super) fn covers(state: &State, units: &[&Unit]) -> Vec<Cover> {
    // One look at each pod, however many services there are: each is found by its first label.
    let mut by_label: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (index, unit) in units.iter().enumerate() {
        if let Some((key, value)) = unit.labels.first_key_value() {
            by_label.entry((key, value)).or_default().push(index);
        }
    }
    let mut covers = vec![Cover::default(); units.len()];
    if by_label.is_empty() {
        return covers;
    }
    for pod in state.pods.values().filter(|pod| !pod.labels.is_empty() && is_live(pod)) {
        for (key, value) in &pod.labels {
            for index in by_label.get(&(key.as_str(), value.as_str())).into_iter().flatten() {
                let unit = units[*index];
                let here = unit.namespace.as_ref().is_none_or(|namespace| *namespace == pod.id.namespace);
                if here && unit.labels.iter().all(|(key, value)| pod.labels.get(key) == Some(value)) {
                    covers[*index].live += 1;
                    covers[*index].running += u64::from(pod.phase == PodPhase::Running);
                }
            }
        }
    }
    covers
}

/// The pods that queues promise, the largest first. `lost` asks also for what was promised by those that have been
/// lost since.
pub(super) fn pods(state: &State, lost: bool) -> Vec<Pod> {
    let heard = state.queues.iter().filter(|(_, queue)| lost || queue.lost.is_none());
    let asks = |backlog: &&Backlog| backlog.waiting > 0 && backlog.held.is_none();
    let backlogs: Vec<(&String, &Backlog)> = heard
        .flat_map(|(name, queue)| queue.services.iter().filter(asks).map(move |backlog| (name, backlog)))
        .collect();
    if backlogs.is_empty() {
        return Vec::new();
    }
    let units: Vec<&Unit> = backlogs.iter().map(|(_, backlog)| &backlog.unit).collect();
    let covers = covers(state, &units);
    let mut pods = Vec::new();
    for ((queue, backlog), cover) in backlogs.into_iter().zip(covers) {
        let count = backlog.to_come(cover.live, cover.running).min(MOST).min(room(state, &backlog.unit));
        pods.extend((1..=count).map(|number| promised(queue, backlog, number)));
    }
    pods.sort_by(|a, b| (size(b), &a.id).cmp(&(size(a), &b.id)));
    pods
}

/// More pods of this kind than this fit on no account, were all machines empty and on.
fn room(state: &State, unit: &Unit) -> u64 {
    let most = |all: &Resources| {
        let wanted = &unit.requests;
        let of = |all: u64, wanted: u64| all.checked_div(wanted).unwrap_or(u64::MAX);
        let extended =
            wanted.extended.iter().map(|(name, wanted)| of(all.extended.get(name).copied().unwrap_or(0), *wanted));
        let plain = [
            of(all.cpu_milli, wanted.cpu_milli),
            of(all.memory, wanted.memory),
            of(all.ephemeral, wanted.ephemeral),
            all.pods,
        ];
        extended.chain(plain).min().unwrap_or_default()
    };
    let shapes = state.machines.values().map(|tracked| &tracked.machine.shape);
    shapes.map(|shape| most(&shape.allocatable)).fold(0, u64::saturating_add)
}

/// Where promised pods will go.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Why machines are kept, by name: those with a place that a promised pod needs.
    pub(super) kept: BTreeMap<String, String>,
    /// Those that have a place on what is on or coming, each with its node.
    pub(super) placed: Vec<(Pod, String)>,
    /// Those that have no place on what is on or coming, and may wake a machine.
    pub(super) left: Vec<Pod>,
    /// Those likewise whose queue has been lost since: they wake nothing.
    frozen: Vec<Pod>,
}

/// Gives promised pods places on what is on or coming, behind the pods that are there.
pub(super) fn settle(state: &State, view: &View, now: Timestamp) -> Settled {
    let promised = pods(state, true);
    if promised.is_empty() {
        return Settled::default();
    }
    let mut ready = ready_places(state, view);
    let mut coming: Vec<Place<'_>> = Vec::new();
    let future = |wanted: &dyn Fn(&Tracked) -> bool| -> Vec<Place<'_>> {
        state.machines.values().filter(|one| wanted(one)).map(|one| view.future(state, one)).collect()
    };
    coming.extend(future(&|tracked| boots(tracked, now)));
    coming.extend(future(&|tracked| tracked.phase == Phase::Uncordoning));
    let mut there = sort(state.demand().collect(), |pod: &&Pod| pod);
    there.extend(state.pods.picked().filter(|pod| !pod.unschedulable && is_young(pod, now)));
    let rest = place(state, now, there, &mut ready, |_, _| {});
    place(state, now, rest, &mut coming, |_, _| {});
    // What is busy stays on anyway; of the rest the dearest go off first.
    ready.sort_by_key(|place| (view.load(place.name).work.is_empty(), dear(place.shape), place.name));
    let mut kept: BTreeMap<String, Vec<PodId>> = BTreeMap::new();
    let mut placed = Vec::new();
    let mut keep = |pod: &Pod, name: &str| {
        placed.push((pod.clone(), name.to_owned()));
        kept.entry(name.to_owned()).or_default().push(pod.id.clone());
    };
    let rest = place(state, now, promised.iter().collect(), &mut ready, &mut keep);
    let rest = place(state, now, rest, &mut coming, &mut keep);
    let lost: BTreeSet<String> = state
        .queues
        .iter()
        .filter(|(_, queue)| queue.lost.is_some())
        .map(|(name, _)| format!("{NAMESPACE}{name}"))
        .collect();
    let (frozen, left) = rest.into_iter().cloned().partition(|pod| lost.contains(&pod.id.namespace));
    Settled {
        placed,
        left,
        frozen,
        kept: kept.into_iter().filter_map(|(name, ids)| Some((name, sentence(ids.iter())?))).collect(),
    }
}

/// Gives each pod the first place that it fits; answers with those that got none.
fn place<'a>(
    state: &State,
    now: Timestamp,
    pods: Vec<&'a Pod>,
    places: &mut [Place<'_>],
    mut note: impl FnMut(&Pod, &str),
) -> Vec<&'a Pod> {
    let mut left = Vec::new();
    for pod in pods {
        let fits = |place: &&mut Place<'_>| {
            first_failing_filter(pod, place).is_none() && !doubted(state, &pod.id, place.name, now)
        };
        match places.iter_mut().find(fits) {
            Some(place) => {
                place.take(pod);
                note(pod, place.name);
            }
            None => left.push(pod),
        }
    }
    left
}

/// The machines on their way off that promised pods need, each with the reason to keep it. They are on: that
/// asks for no wake-up, so a queue that has been lost since counts too.
pub(super) fn turn_back(state: &State, view: &View, now: Timestamp) -> Vec<(String, String)> {
    let leaving: Vec<&Tracked> = state.machines.moving().filter(|one| can_turn_back(one)).collect();
    if leaving.is_empty() || state.queues.is_empty() {
        return Vec::new();
    }
    let settled = settle(state, view, now);
    let mut left: Vec<Pod> = settled.left.into_iter().chain(settled.frozen).collect();
    let mut kept = Vec::new();
    for tracked in leaving {
        let name = &tracked.machine.name;
        let mut place = view.place(name, &tracked.machine.shape, false);
        let mut taken: Vec<PodId> = Vec::new();
        left.retain(|pod| {
            let fits = first_failing_filter(pod, &place).is_none();
            if fits {
                place.take(pod);
                taken.push(pod.id.clone());
            }
            !fits
        });
        kept.extend(sentence(taken.iter()).map(|reason| (name.clone(), reason)));
    }
    kept
}
