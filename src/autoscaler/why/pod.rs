//! Why a pod waits: for each machine the first filter that keeps the pod off it, and the smallest change that
//! would help; or what the machine is doing, when it will do.

use jiff::Timestamp;

use super::super::atlas::Atlas;
use super::super::core::Core;
use super::super::doubt::doubted;
use super::super::pods::is_live;
use super::super::scale_up::due;
use super::super::state::State;
use super::super::time::until;
use super::super::tracked::Tracked;
use super::super::view::View;
use super::{Why, describe};
use crate::model::pod::{Owner, Phase, Pod, PodId};
use crate::scheduling::Misfit;

/// Why a pod waits, runs or does not matter.
pub fn why_pod(core: &Core, id: &PodId, now: Timestamp) -> Why {
    let (state, view): (&State, _) = (core, core.view());
    explain(state, &view, &mut Atlas::of(state, &view, now), id, now)
}

fn explain(state: &State, view: &View, atlas: &mut Atlas, id: &PodId, now: Timestamp) -> Why {
    let Some(pod) = state.pods.get(id) else {
        let known = if state.pods_fresh { "there is no such pod" } else { "the pods have not been listed" };
        return Why::line(format!("pod {id}: {known}"));
    };
    let mut because = Vec::new();
    if let Some(frozen) = state.frozen() {
        because.push(Why::line(format!("frozen: {frozen}")));
    }
    let head = head(state, pod, now);
    if pod.node.is_none() && is_live(pod) && !pod.deleting && !pod.gated {
        for constraint in &pod.not_judged {
            because.push(Why::line(format!("{constraint} is not judged here: the scheduler's word on it counts")));
        }
        if let Some(node) = &pod.nominated {
            because.push(Why::line(format!("the scheduler makes room for it on {node}")));
        }
        because.extend(state.machines.values().map(|tracked| verdict(state, view, atlas, tracked, pod, now)));
        for node in state.nodes.values().filter(|node| !state.machines.contains_key(&node.name)) {
            let misfits = atlas.misfits(state, view, pod, &node.name, now);
            because.push(if misfits.is_empty() {
                about(&node.name, format!("{}: it fits; the scheduler may place it", node.name))
            } else {
                off(&node.name, &node.name, misfits)
            });
        }
    }
    Why { text: format!("pod {id} {head}"), because, ..Why::default() }
}

fn head(state: &State, pod: &Pod, now: Timestamp) -> String {
    match (&pod.phase, &pod.node) {
        (Phase::Succeeded | Phase::Failed, _) => "is finished".to_owned(),
        (_, _) if pod.deleting => "is being deleted".to_owned(),
        (_, Some(node)) => format!("is on {node}"),
        (_, None) if pod.gated => "has scheduling gates: it is not demand yet".to_owned(),
        (_, None) if matches!(pod.owner, Owner::DaemonSet(_) | Owner::Mirror) => {
            "belongs to a node: no machine is powered on for it".to_owned()
        }
        (_, None) if !pod.unschedulable => "has not been judged by the scheduler yet".to_owned(),
        (_, None) => match state.batch {
            Some(batch) => format!("waits; what to power on is decided in {}", until(due(&state.policy, batch), now)),
            None => "waits for a place".to_owned(),
        },
    }
}

fn about(node: &str, text: String) -> Why {
    Why { node: Some(node.to_owned()), ..Why::line(text) }
}

/// A machine or node that these keep the pod off.
fn off(node: &str, label: &str, misfits: Vec<Misfit>) -> Why {
    let remedies: Vec<String> = misfits.iter().map(Misfit::remedy).collect();
    let remedy = remedies.join(" and ");
    let first = misfits.first().map(ToString::to_string).unwrap_or_default();
    Why {
        filter: misfits.first().map(Misfit::filter),
        remedy: Some(remedy.clone()),
        misfits,
        ..about(node, format!("{label}: {first}; it would fit {remedy}"))
    }
}

/// What one machine is to one waiting pod.
pub(super) fn verdict(
    state: &State,
    view: &View,
    atlas: &mut Atlas,
    tracked: &Tracked,
    pod: &Pod,
    now: Timestamp,
) -> Why {
    let name = &tracked.machine.name;
    let label = format!("{name} ({})", tracked.phase.name());
    let misfits = atlas.misfits(state, view, pod, name, now);
    if !misfits.is_empty() {
        return off(name, &label, misfits);
    }
    if doubted(state, &pod.id, name, now) {
        return about(name, format!("{label}: it should fit, but the scheduler did not place it there"));
    }
    about(name, format!("{name}: {}", describe(state, view, tracked, now)))
}

/// The pods that wait and that no machine and no node could host as things are, each with the reason of each machine.
pub fn unplaceable(core: &Core, now: Timestamp) -> Vec<Why> {
    let (state, view): (&State, _) = (core, core.view());
    let mut atlas = Atlas::of(state, &view, now);
    let names: Vec<&String> = state.machines.keys().chain(state.nodes.keys()).collect();
    let waiting: Vec<&Pod> = state.demand().collect();
    let hopeless = |pod: &&Pod, atlas: &mut Atlas| {
        names.iter().all(|name| !atlas.misfits(state, &view, pod, name, now).is_empty())
    };
    let mut all = Vec::new();
    for pod in waiting {
        if hopeless(&pod, &mut atlas) {
            all.push(explain(state, &view, &mut atlas, &pod.id, now));
        }
    }
    all
}
