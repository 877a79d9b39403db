//! A queue as it was last heard of, and the pods that it promises: what they ask for, and the names that tell them
//! from pods that are there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::pod::{Pod, PodId};
use crate::model::queue::Backlog;

/// A queue as it was last heard of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// What it held, by service.
    pub services: Vec<Backlog>,
    /// When that was heard.
    pub heard: Timestamp,
    /// Why nothing has been heard since, when its source is lost.
    pub lost: Option<String>,
}

/// Begins the namespace of promised pods. No real namespace has a colon.
pub(super) const NAMESPACE: &str = "queue:";

/// True for a pod that a queue promises.
pub(super) fn is_promised(id: &PodId) -> bool {
    id.namespace.starts_with(NAMESPACE)
}

/// The queue and service that promise this pod, as `QUEUE/SERVICE`.
fn promiser(id: &PodId) -> String {
    let queue = id.namespace.strip_prefix(NAMESPACE).unwrap_or(&id.namespace);
    let service = id.name.rsplit_once('#').map_or(id.name.as_str(), |(service, _)| service);
    format!("{queue}/{service}")
}

/// What promised pods say in a reason: `queue uploads/thumb promises 3 pods`.
pub(super) fn sentence<'a>(pods: impl Iterator<Item = &'a PodId>) -> Option<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for id in pods.filter(|id| is_promised(id)) {
        *counts.entry(promiser(id)).or_default() += 1;
    }
    let all = counts.len();
    let (first, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    let others = if all > 1 { format!(" (and {} more services)", all - 1) } else { String::new() };
    Some(format!("queue {first} promises {count} pods{others}"))
}

/// A pod to come, as the fit judges it.
pub(super) fn promised(queue: &str, backlog: &Backlog, number: u64) -> Pod {
    let unit = &backlog.unit;
    Pod {
        id: PodId { namespace: format!("{NAMESPACE}{queue}"), name: format!("{}#{number:04}", backlog.service) },
        requests: unit.requests.clone(),
        node_selector: unit.node_selector.clone(),
        tolerations: unit.tolerations.clone(),
        labels: unit.labels.clone(),
        ..Pod::default()
    }
}
