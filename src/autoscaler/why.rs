//! Why: the reasons behind what the core does and does not do, for people. Each is a tree of lines: what is
//! so, and under it, for each machine, the first reason that it does not serve, or the timer that runs.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::consolidate;
use super::core::Core;
use super::meter::Reading;
use super::price::ready_about;
use super::scale_down::{Asked, Stays, goes_at, stays};
use super::state::State;
use super::time::{after, until};
use super::tracked::{Phase, Tracked, Wish, boots, counts, is_candidate};
use super::view::View;
use crate::model::machine::Role;
use crate::scheduling::{Filter, Misfit};

pub mod notice;
mod pod;
pub mod queue;

pub use self::pod::{unplaceable, why_pod};

/// A line and the lines that explain it. What machines read stands beside the text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The line.
    pub text: String,
    /// The machine or node that it is about, where it is about one of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The first filter that keeps the pod off it, by the name of the scheduler's plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// All that keeps the pod off it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub misfits: Vec<Misfit>,
    /// The smallest change that would help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// When the timer that it speaks of ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What explains it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Self>,
}

impl Why {
    fn line(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn branch(why: &Why, indent: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for (index, line) in why.because.iter().enumerate() {
                let last = index + 1 == why.because.len();
                write!(f, "\n{indent}{} {}", if last { "└─" } else { "├─" }, line.text)?;
                branch(line, &format!("{indent}{}  ", if last { " " } else { "│" }), f)?;
            }
            Ok(())
        }
        f.write_str(&self.text)?;
        branch(self, "", f)
    }
}

/// A machine's state and the timer or trouble behind it, in one line.
fn describe(state: &State, view: &View, tracked: &Tracked, now: Timestamp) -> String {
    let disabled = if tracked.disabled { "disabled by a person; " } else { "" };
    let by_hand = if tracked.record.by_hand { "switched by hand; " } else { "" };
    let person = if tracked.record.needs_person { "a person must look at it; " } else { "" };
    let trouble = tracked.trouble.as_ref().map(|trouble| format!(" (last: {trouble})")).unwrap_or_default();
    let paused = tracked
        .not_before
        .filter(|time| now < *time)
        .map(|time| format!("; tried again in {}", until(time, now)))
        .unwrap_or_default();
    let text = match &tracked.phase {
        Phase::Unknown => format!("its power has not been seen yet{trouble}{paused}"),
        Phase::Off if is_candidate(tracked) => format!("off; it may be powered on{trouble}"),
        Phase::Off => format!("off{trouble}"),
        Phase::PoweringOn { deadline, .. } if boots(tracked, now) => {
            let about = ready_about(&state.policy, tracked, *deadline, now).strftime("%H:%M:%S UTC");
            let within = until(*deadline, now);
            format!("booting, because {}; ready about {about}, it must be within {within}", tracked.reason)
        }
        Phase::PoweringOn { .. } => format!("booting, too late{trouble}"),
        Phase::On { unready_since: Some(since), .. } => {
            format!("on, but its node has not been Ready for {}{trouble}", until(now, *since))
        }
        Phase::On { .. } if tracked.machine.role == Role::FrontEnd => {
            "on; the front-end is never powered off".to_owned()
        }
        Phase::On { .. } => keeps_on(state, view, tracked, now),
        Phase::Cordoning => format!("being cordoned, because {}{trouble}{paused}", tracked.reason),
        Phase::Looking => format!("cordoned and watched, because {}", tracked.reason),
        Phase::Draining => format!(
            "being drained, because {}; given up in {}{trouble}",
            tracked.reason,
            until(after(tracked.since, state.policy.drain_timeout_ms), now)
        ),
        Phase::Uncordoning => format!("being uncordoned, because {}{trouble}{paused}", tracked.reason),
        Phase::PoweringOff { .. } => format!("powering off, because {}{trouble}{paused}", tracked.reason),
        Phase::DeletingNode { .. } => format!("off; its node is being deleted{paused}"),
        Phase::Failed { retry_at } => {
            format!(
                "failed {} times: {}; tried again in {}",
                tracked.failures,
                tracked.trouble.as_deref().unwrap_or("unknown"),
                until(*retry_at, now)
            )
        }
    };
    // Where the trouble is not told already, what keeps its power from being seen is.
    let unseen = match (tracked.record.unseen, &tracked.trouble) {
        (Some(_), Some(trouble)) if !text.contains(trouble.as_str()) => format!("{trouble}; "),
        _ => String::new(),
    };
    format!("{person}{by_hand}{disabled}{unseen}{text}")
}

/// What keeps a Ready machine on.
fn keeps_on(state: &State, view: &View, tracked: &Tracked, now: Timestamp) -> String {
    let load = view.load(&tracked.machine.name);
    if let Some(frozen) = state.frozen() {
        return format!("on; nothing goes off while frozen: {frozen}");
    }
    if let (true, None, Some(reason)) = (load.work.is_empty(), tracked.wish, view.promised(&tracked.machine.name)) {
        return format!("on; kept because {reason}");
    }
    match (stays(state, &Asked::new(state, view, now), tracked, now), &load.work[..]) {
        (_, [only]) if tracked.wish.is_none() => format!("on; pod {only} is on it"),
        (_, [first, rest @ ..]) if tracked.wish.is_none() => {
            format!("on; pod {first} and {} more are on it", rest.len())
        }
        (Some(Stays::Paid(time)), _) => format!("idle; its time is paid for: goes off in {}", until(time, now)),
        (Some(Stays::Until(time)), _) => format!("idle; goes off in {}", until(time, now)),
        (Some(Stays::Cordoned), _) => "on, cordoned by a person: it is left alone".to_owned(),
        (Some(Stays::Wanted(pod)), _) => format!("idle, kept on because pod {pod} waits and fits it"),
        (Some(Stays::Minimum(minimum)), _) => {
            let asked = if tracked.wish == Some(Wish::Off) { "asked off; disable it first: " } else { "" };
            format!("{asked}on, because pool {} keeps {minimum} on", tracked.machine.pool)
        }
        (Some(Stays::Kept(note)), _) => format!("on; its node says {note}"),
        (Some(Stays::Window(at)), _) => format!(
            "idle, kept on because pool {} keeps more on in {}, within its break-even time",
            tracked.machine.pool,
            until(at, now)
        ),
        (Some(Stays::Expected(kind, at)), _) => format!(
            "idle, kept on because a pod of {kind} is expected in {}, within its break-even time",
            until(at, now)
        ),
        (Some(Stays::NotIdle) | None, _) => "on".to_owned(),
    }
}

/// How often it was started, and what that takes.
fn wear(tracked: &Tracked) -> Option<Why> {
    let record = &tracked.record;
    if record.starts == 0 {
        return None;
    }
    let stages: Vec<String> =
        record.stages.iter().map(|(stage, learnt)| format!("{} {} s", stage.name(), learnt.mean_ms / 1000)).collect();
    let stages = if stages.is_empty() { String::new() } else { format!("; its boots take: {}", stages.join(", ")) };
    Some(Why::line(format!("started {} times{stages}", record.starts)))
}

/// Why a machine or node is as it is.
pub fn why_node(core: &Core, name: &str, now: Timestamp) -> Why {
    let (state, view): (&State, _) = (core, core.view());
    let Some(tracked) = state.machines.get(name) else {
        return Why::line(match state.nodes.get(name) {
            Some(_) => format!("node {name} is no machine of this configuration: it is left alone"),
            None => format!("there is no machine or node {name}"),
        });
    };
    let mut because =
        vec![Why::line(format!("in this state for {}, because {}", until(now, tracked.since), tracked.reason))];
    because.extend(tracked.off_because.iter().map(|reason| Why::line(format!("it was powered off because {reason}"))));
    because.extend(wear(tracked));
    if let Some(flight) = &tracked.in_flight {
        because.push(Why::line(format!("{} has been under way for {}", flight.what, until(now, flight.since))));
    }
    if let Some(wish) = tracked.wish {
        let wish = if wish == Wish::On { "on" } else { "off" };
        because.push(Why::line(format!("a person asked for it to be {wish}")));
    }
    because.push(Why::line(match state.nodes.get(name) {
        None => "its node is not there".to_owned(),
        Some(node) => {
            let cordon = match (node.cordoned, node.cordoned_by_us) {
                (false, _) => "",
                (true, true) => ", cordoned by marea",
                (true, false) => ", cordoned by a person",
            };
            let shunned = if node.shunned { ", and new pods are asked to go elsewhere" } else { "" };
            format!("its node is {}Ready{cordon}{shunned}", if node.ready { "" } else { "not " })
        }
    }));
    let pool = &tracked.machine.pool;
    if tracked.machine.role == Role::Worker {
        let up = state.machines.values().filter(|other| other.machine.pool == *pool && counts(other, now)).count();
        because
            .push(Why::line(format!("pool {pool} has {up} on or coming and keeps at least {}", state.minimum(pool))));
    }
    because.extend(consolidate::why(state, &view, tracked, now).into_iter().map(Why::line));
    because.extend(tracked.trouble.iter().map(|trouble| Why::line(format!("last trouble: {trouble}"))));
    because.extend(view.load(name).work.iter().map(|pod| Why::line(format!("pod {pod} is on it"))));
    Why {
        text: format!("machine {name}: {}", describe(state, &view, tracked, now)),
        until: timer(state, tracked),
        because,
        ..Why::default()
    }
}

/// When time alone changes the machine next.
fn timer(state: &State, tracked: &Tracked) -> Option<Timestamp> {
    match &tracked.phase {
        Phase::PoweringOn { deadline, .. } => Some(*deadline),
        Phase::On { idle_since: Some(since), unready_since: None } => Some(goes_at(&state.policy, tracked, *since)),
        Phase::On { unready_since: Some(since), .. } => Some(after(*since, state.policy.boot_timeout_ms)),
        Phase::On { .. } if tracked.leaving.is_some() => {
            tracked.leaving.map(|since| after(since, state.policy.consolidation.patience_ms))
        }
        Phase::Draining => Some(after(tracked.since, state.policy.drain_timeout_ms)),
        Phase::PoweringOff { .. } => Some(after(tracked.since, state.policy.off_timeout_ms)),
        Phase::Failed { retry_at } => Some(*retry_at),
        Phase::Unknown
        | Phase::Off
        | Phase::On { .. }
        | Phase::Cordoning
        | Phase::Looking
        | Phase::Uncordoning
        | Phase::DeletingNode { .. } => tracked.not_before,
    }
}

/// A machine as `marea status` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineStatus {
    /// Its name.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// Front-end or worker.
    pub role: Role,
    /// Where it is in its life: `off`, `powering-on`, `on` and so on.
    pub state: String,
    /// Since when.
    pub since: Timestamp,
    /// For how long, in milliseconds.
    pub age_ms: i64,
    /// The daemon leaves it alone.
    pub disabled: bool,
    /// The part of its CPU that pods ask for, from 0 to 1, when it is on.
    pub cpu_used: Option<f64>,
    /// The part of its memory that pods ask for, likewise.
    pub memory_used: Option<f64>,
    /// Pods on it that are not finished.
    pub pods: u64,
    /// What it waits for or what went wrong, in one line.
    pub detail: String,
    /// Times that it was powered on.
    #[serde(default)]
    pub starts: u64,
    /// What it draws and has drawn.
    #[serde(default)]
    pub energy: Reading,
    /// It has failed so often that a person must look at it.
    #[serde(default)]
    pub needs_person: bool,
}

/// Its phase, unless what was seen of its power is contradicted.
fn state_name(tracked: &Tracked) -> &'static str {
    // One whose node works is on, whatever its BMC says.
    let works = matches!(tracked.phase, Phase::On { unready_since: None, .. });
    match (&tracked.record.unverified, tracked.record.unseen) {
        (Some(_), _) => "off-unverified",
        (None, Some(unseen)) if !works && tracked.machine.role == Role::Worker => unseen.name(),
        (None, _) => tracked.phase.name(),
    }
}

/// The machines, in order of name.
pub fn status(core: &Core, now: Timestamp) -> Vec<MachineStatus> {
    let (state, view): (&State, _) = (core, core.view());
    let line = |(name, tracked): (&String, &Tracked)| {
        let place = view.place(name, &tracked.machine.shape, false);
        let on = state.nodes.contains_key(name);
        let all = &place.shape.allocatable;
        MachineStatus {
            name: name.clone(),
            pool: tracked.machine.pool.clone(),
            role: tracked.machine.role,
            state: state_name(tracked).to_owned(),
            since: tracked.since,
            age_ms: now.as_millisecond().saturating_sub(tracked.since.as_millisecond()).max(0),
            disabled: tracked.disabled,
            cpu_used: part(place.used.cpu_milli, all.cpu_milli).filter(|_| on),
            memory_used: part(place.used.memory, all.memory).filter(|_| on),
            pods: place.used.pods,
            detail: describe(state, &view, tracked, now),
            starts: tracked.record.starts,
            energy: tracked.record.meter.reading(now),
            needs_person: tracked.record.needs_person,
        }
    };
    state.machines.iter().map(line).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a part for people to read")]
fn part(used: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| used as f64 / all as f64)
}
