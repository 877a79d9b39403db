//! A queue: work that waits outside of Kubernetes and will become pods. What it holds is counted by service,
//! a kind of message with the pod that takes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::pod::Toleration;
use super::resources::Resources;

/// What a queue holds for one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// The service's name, one of its kind in the queue.
    pub service: String,
    /// Messages that nobody has taken.
    pub waiting: u64,
    /// Messages that are being worked on. `None` when the queue does not know: then each pod that runs
    /// is taken to hold as many as it may.
    pub in_flight: Option<u64>,
    /// The most pods that work on it at once; none for no limit.
    pub limit: Option<u64>,
    /// Why what waits may not start now, whatever machines there are. Then it is no demand.
    pub held: Option<String>,
    /// The pod that takes its messages.
    pub unit: Unit,
}

/// The pod that takes messages: what it will ask for, and how it is known once it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unit {
    /// How many messages one pod takes, at least 1.
    pub messages: u64,
    /// The namespace of its pods; none for any.
    pub namespace: Option<String>,
    /// The labels by which its pods are known. Without any, none is.
    pub labels: BTreeMap<String, String>,
    /// What it asks for, with `pods` = 1.
    pub requests: Resources,
    /// Its node selector.
    pub node_selector: BTreeMap<String, String>,
    /// What it tolerates.
    pub tolerations: Vec<Toleration>,
}

impl Default for Unit {
    fn default() -> Self {
        Self {
            messages: 1,
            namespace: None,
            labels: BTreeMap::new(),
            requests: Resources { pods: 1, ..Resources::default() },
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
        }
    }
}

impl Backlog {
    /// How many pods are still to come for it, when `live` of its pods are there and `running` of these run.
    /// Never more than what waits, less what pods that are there will take, and within the limit.
    pub fn to_come(&self, live: u64, running: u64) -> u64 {
        if self.held.is_some() {
            return 0;
        }
        let each = self.unit.messages.max(1);
        let taken = self.in_flight.unwrap_or(running.saturating_mul(each));
        let wanted = self.waiting.saturating_add(taken).div_ceil(each);
        let wanted = self.limit.map_or(wanted, |most| wanted.min(most));
        wanted.saturating_sub(live).min(self.waiting.div_ceil(each))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_to_come_are_what_waits_less_what_is_covered_within_the_limit() {
        let backlog = |waiting, in_flight, limit, messages| Backlog {
            waiting,
            in_flight,
            limit,
            unit: Unit { messages, ..Unit::default() },
            ..Backlog::default()
        };
        for (backlog, live, running, to_come, why) in [
            (backlog(3, Some(0), None, 1), 0, 0, 3, "nothing covers it"),
            (backlog(3, Some(2), None, 1), 2, 1, 3, "the pods that are there have messages of their own"),
            (backlog(3, Some(0), None, 1), 2, 0, 1, "pods that were made since the queue was read cover it"),
            (backlog(3, Some(0), None, 1), 9, 9, 0, "never below nothing"),
            (backlog(30, Some(2), Some(5), 1), 2, 2, 3, "within the limit"),
            (backlog(30, Some(5), Some(5), 1), 5, 5, 0, "at the limit"),
            (backlog(3, Some(5), None, 1), 0, 0, 3, "pods that are not seen yet are not promised twice"),
            (backlog(21, Some(0), None, 10), 1, 1, 2, "a pod takes ten"),
            (backlog(3, None, None, 1), 2, 2, 3, "a pod that runs holds a message"),
            (backlog(3, None, None, 1), 2, 0, 1, "one that waits will take one"),
            (backlog(0, None, None, 1), 0, 0, 0, "empty"),
            (backlog(u64::MAX, Some(u64::MAX), None, 0), 0, 0, u64::MAX, "nonsense does no harm"),
        ] {
            assert_eq!(backlog.to_come(live, running), to_come, "{why}");
        }
        let held = Backlog { held: Some("paused".into()), ..backlog(3, Some(0), None, 1) };
        assert_eq!(held.to_come(0, 0), 0);
    }
}
