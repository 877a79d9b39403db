//! Queues, for people: what each holds and promises, and what comes of that on each machine.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::atlas::Atlas;
use super::super::core::Core;
use super::super::promise::{Cover, covers};
use super::super::queue::{Queue, promised};
use super::super::state::State;
use super::super::time::until;
use super::super::view::View;
use super::Why;
use super::pod::verdict;
use crate::model::queue::{Backlog, Unit};
use crate::model::resources::Resources;

/// A queue as `marea status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Its name.
    pub name: String,
    /// When it was last heard of.
    pub heard: Timestamp,
    /// Why it is not heard of now, when its source is lost.
    pub lost: Option<String>,
    /// What it held then.
    pub services: Vec<ServiceStatus>,
}

/// One service of a queue, likewise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub service: String,
    /// Messages that nobody has taken.
    pub waiting: u64,
    /// Messages that are being worked on, where the queue knows.
    pub in_flight: Option<u64>,
    /// The most pods at once.
    pub limit: Option<u64>,
    /// Why what waits may not start.
    pub held: Option<String>,
    /// Its pods that wait to run.
    pub pending: u64,
    /// Its pods that run.
    pub running: u64,
    /// Pods that are still to come.
    pub to_come: u64,
}

/// The queues, in order of name.
pub fn queues(state: &State) -> Vec<QueueStatus> {
    let status = |(name, queue): (&String, &Queue)| QueueStatus {
        name: name.clone(),
        heard: queue.heard,
        lost: queue.lost.clone(),
        services: covered(state, queue)
            .into_iter()
            .map(|(backlog, cover)| ServiceStatus {
                service: backlog.service.clone(),
                waiting: backlog.waiting,
                in_flight: backlog.in_flight,
                limit: backlog.limit,
                held: backlog.held.clone(),
                pending: cover.live.saturating_sub(cover.running),
                running: cover.running,
                to_come: backlog.to_come(cover.live, cover.running),
            })
            .collect(),
    };
    state.queues.iter().map(status).collect()
}

fn covered<'a>(state: &State, queue: &'a Queue) -> Vec<(&'a Backlog, Cover)> {
    let units: Vec<&Unit> = queue.services.iter().map(|backlog| &backlog.unit).collect();
    queue.services.iter().zip(covers(state, &units)).collect()
}

/// Why a queue wakes machines or does not.
pub fn why_queue(core: &Core, name: &str, now: Timestamp) -> Why {
    let (state, view): (&State, _) = (core, core.view());
    let Some(queue) = state.queues.get(name) else {
        let known: Vec<&str> = state.queues.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "nothing has been heard of any".to_owned() } else { known.join(", ") };
        return Why::line(format!("queue {name}: nothing is known of it; known are: {known}"));
    };
    let mut atlas = Atlas::of(state, &view, now);
    let mut because = Vec::new();
    because.extend(state.frozen().map(|frozen| Why::line(format!("frozen: {frozen}"))));
    because.extend(covered(state, queue).into_iter().map(|one| service(state, &view, &mut atlas, name, one, now)));
    let heard = until(now, queue.heard);
    let text = match &queue.lost {
        Some(reason) => format!(
            "queue {name}: lost ({reason}); it was last heard of {heard} ago, keeps what is on for it and wakes nothing"
        ),
        None if queue.services.is_empty() => format!("queue {name}: empty, changed {heard} ago"),
        None => format!("queue {name}: changed {heard} ago"),
    };
    Why { text, because, ..Why::default() }
}

fn service(
    state: &State,
    view: &View,
    atlas: &mut Atlas,
    queue: &str,
    (backlog, cover): (&Backlog, Cover),
    now: Timestamp,
) -> Why {
    let to_come = backlog.to_come(cover.live, cover.running);
    let taken = backlog.in_flight.map(|count| format!(", {count} in flight")).unwrap_or_default();
    let most = backlog.limit.map(|most| format!(", at most {most} pods at once")).unwrap_or_default();
    let mut because = Vec::new();
    let next = if let Some(reason) = &backlog.held {
        format!("held: {reason}")
    } else if to_come > 0 {
        let pod = promised(queue, backlog, 1);
        because = state.machines.values().map(|tracked| verdict(state, view, atlas, tracked, &pod, now)).collect();
        format!("{to_come} pods to come, each of {}", amount(&backlog.unit.requests))
    } else if backlog.waiting == 0 {
        "nothing to come".to_owned()
    } else {
        "the pods that are there are all that it may have".to_owned()
    };
    let there = format!("{} pods are there ({} run)", cover.live, cover.running);
    let text = format!("{}: {} wait{taken}{most}; {there}; {next}", backlog.service, backlog.waiting);
    Why { text, because, ..Why::default() }
}

fn amount(requests: &Resources) -> String {
    let mut parts = vec![format!("{}m CPU", requests.cpu_milli), format!("{} MiB", requests.memory >> 20)];
    parts.extend(requests.extended.iter().map(|(name, count)| format!("{count} {name}")));
    parts.join(", ")
}
