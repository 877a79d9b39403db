//! A notice: what people who look at a pod or a node should be told, as a Kubernetes event. It is said once for
//! as long as it is so; its key tells whether it was said before.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::atlas::Atlas;
use super::super::core::Core;
use super::super::price::ready_about;
use super::super::state::State;
use super::super::tracked::{Phase, Tracked, boots};
use super::super::view::View;
use crate::model::pod::{Pod, PodId};

/// At most so many pods are told in one turn: the others are told in the next.
const AT_ONCE: usize = 200;
/// So many machines are named by their reasons; the rest is counted.
const NAMED: usize = 3;

/// What it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// A pod, and its UID.
    Pod(PodId, String),
    /// A node, and its UID.
    Node(String, String),
}

/// A notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub about: About,
    /// What kind it is, in one word.
    pub reason: &'static str,
    /// What it says apart from what only time changes: while this is the same it is not said again.
    pub key: String,
    /// It tells of trouble.
    pub warning: bool,
    /// What it says.
    pub text: String,
}

/// All that should have been said, as things are.
pub fn notices(core: &Core, now: Timestamp) -> Vec<Notice> {
    let state: &State = core;
    let mut all: Vec<Notice> = state.machines.values().filter_map(|tracked| of_machine(state, tracked)).collect();
    // While new demand gathers nothing is decided, and without fresh lists nothing is known.
    if state.batch.is_none() && state.fresh() {
        all.extend(of_pods(core, now));
    }
    all
}

fn of_machine(state: &State, tracked: &Tracked) -> Option<Notice> {
    let node = state.nodes.get(&tracked.machine.name)?;
    let (reason, warning, text) = match &tracked.phase {
        Phase::Cordoning | Phase::Looking => ("PoweringOff", false, "cordoned, to be powered off"),
        Phase::Draining => ("Draining", false, "its pods are evicted, then it is powered off"),
        Phase::PoweringOff { rest_until: None, .. } => ("PoweringOff", false, "powered off"),
        Phase::PoweringOff { rest_until: Some(_), .. } => ("PowerCut", true, "its power is cut"),
        Phase::Uncordoning => ("Kept", false, "uncordoned"),
        Phase::On { unready_since: Some(_), .. } => ("NotReady", true, "its machine is on and its node is not Ready"),
        Phase::Unknown
        | Phase::Off
        | Phase::PoweringOn { .. }
        | Phase::On { .. }
        | Phase::DeletingNode { .. }
        | Phase::Failed { .. } => return None,
    };
    Some(Notice {
        about: About::Node(node.name.clone(), node.uid.clone()),
        reason,
        key: format!("{reason} {}", tracked.since),
        warning,
        text: format!("{text}: {}", tracked.reason),
    })
}

fn of_pods(core: &Core, now: Timestamp) -> Vec<Notice> {
    let waiting: Vec<&Pod> = core.demand().take(AT_ONCE).collect();
    if waiting.is_empty() {
        return Vec::new();
    }
    let (state, view): (&State, _) = (core, core.view());
    let mut atlas = Atlas::of(state, &view, now);
    waiting.into_iter().filter_map(|pod| of_pod(state, &view, &mut atlas, pod, now)).collect()
}

fn of_pod(state: &State, view: &View, atlas: &mut Atlas, pod: &Pod, now: Timestamp) -> Option<Notice> {
    let notice = |reason, key: String, warning, text| Notice {
        about: About::Pod(pod.id.clone(), pod.uid.clone()),
        reason,
        key: format!("{reason} {key}"),
        warning,
        text,
    };
    for tracked in state.machines.values().filter(|tracked| boots(tracked, now)) {
        let Phase::PoweringOn { deadline, .. } = tracked.phase else { continue };
        let name = &tracked.machine.name;
        if atlas.misfits(state, view, pod, name, now).is_empty() {
            let ready = ready_about(&state.policy, tracked, deadline, now);
            let text = format!("machine {name} is booting, ready about {}", ready.strftime("%H:%M:%S UTC"));
            return Some(notice("MachineBooting", format!("{name} {}", tracked.since), false, text));
        }
    }
    // Why not, by how many machines say so; with the remedy of one of them.
    let mut reasons: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for name in state.machines.keys() {
        let misfits = atlas.misfits(state, view, pod, name, now);
        let first = misfits.first()?;
        let remedies: Vec<String> = misfits.iter().map(crate::scheduling::Misfit::remedy).collect();
        let entry = reasons.entry(first.filter().name().to_owned()).or_insert((0, String::new()));
        entry.0 += 1;
        if entry.1.is_empty() {
            entry.1 = format!("{name}: {first}; it would fit {}", remedies.join(" and "));
        }
    }
    let key: Vec<String> = reasons.iter().map(|(filter, (count, _))| format!("{count} {filter}")).collect();
    let told: Vec<&str> = reasons.values().take(NAMED).map(|(_, text)| text.as_str()).collect();
    let text = format!("no machine can host it ({}). {}", key.join(", "), told.join(". "));
    Some(notice("NoMachineFits", key.join(","), true, text))
}
