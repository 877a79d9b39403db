//! The state: all that the decision core knows. It is the fold of the journal's events and nothing else;
//! it goes through serde unharmed, and holds only ordered maps, so that the same events give the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::arrivals::{Arrivals, Foreseen};
use super::consolidation::Look;
use super::fleet::Fleet;
use super::heard::Heard;
use super::noted::Noted;
use super::pods::is_demand;
use super::policy::Policy;
use super::queue::Queue;
use super::tracked::{Tracked, counts};
use crate::model::fact::Facts;
use crate::model::node::Node;
use crate::model::pod::{Pod, PodId};

/// All that the decision core knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// How to behave.
    pub policy: Policy,
    /// The machines there are, by name.
    pub machines: Fleet,
    /// The queues as last heard of.
    #[serde(default)]
    pub queues: BTreeMap<String, Queue>,
    /// The pods as last seen.
    pub pods: Noted<PodId, Pod>,
    /// The nodes as last seen.
    pub nodes: Noted<String, Node>,
    /// What scheduling asks for besides them, as last seen.
    #[serde(default)]
    pub facts: Facts,
    /// The pods were listed and their watch has not been lost since.
    pub pods_fresh: bool,
    /// The nodes likewise.
    pub nodes_fresh: bool,
    /// Why the lists are not fresh, when a watch was lost.
    pub lost: Option<String>,
    /// New demand is gathering: when it began and when it last grew.
    pub batch: Option<Batch>,
    /// The pods that wait, as far as a batch has counted them.
    pub waiting: BTreeSet<PodId>,
    /// Since when a waiting pod should fit a Ready node, by pod and node: the scheduler is given a time, then believed.
    pub doubts: BTreeMap<PodId, BTreeMap<String, Timestamp>>,
    /// The machines that are on their way for waiting pods, by pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meant: BTreeMap<PodId, String>,
    /// When machines were powered on in the last minute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent_boots: Vec<Timestamp>,
    /// How far machines have been looked at for consolidation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<Look>,
    /// When pods of each kind came, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arrivals: BTreeMap<String, Arrivals>,
    /// Which idle machines are kept for pods that are expected, as it was last worked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreseen: Option<Foreseen>,
    /// One pod of each DaemonSet seen, by namespace and name: what a machine will carry before any work.
    pub daemon_sets: BTreeMap<String, Pod>,
    /// The minimum of each pool now, windows counted.
    pub minimums: BTreeMap<String, u32>,
    /// When a window next opens or closes.
    pub minimums_until: Option<Timestamp>,
    /// The number of the last action.
    pub last_action: u64,
    /// The time of the last step.
    pub now: Timestamp,
    /// What was heard since the last step.
    #[serde(skip)]
    pub(super) heard: Heard,
}

/// New demand that is gathering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The first new pod came.
    pub first: Timestamp,
    /// The last one came.
    pub last: Timestamp,
}

impl State {
    /// Both lists are fresh: what is seen may be acted upon.
    pub fn fresh(&self) -> bool {
        self.pods_fresh && self.nodes_fresh
    }

    /// Why nothing is powered off at present, when that is so.
    pub fn frozen(&self) -> Option<&str> {
        if self.fresh() {
            return None;
        }
        Some(self.lost.as_deref().unwrap_or("pods and nodes have not been listed yet"))
    }

    /// The pods that wait for a place: the scheduler found none, and nothing else holds them back.
    pub fn demand(&self) -> impl Iterator<Item = &Pod> {
        self.pods.picked().filter(|pod| is_demand(pod))
    }

    /// The pool's minimum now.
    pub(super) fn minimum(&self, pool: &str) -> u32 {
        self.minimums.get(pool).copied().unwrap_or_default()
    }
}

/// How many machines of a pool are on and Ready, or soon will be.
pub(super) fn serving(state: &State, pool: &str, now: Timestamp) -> usize {
    let coming = |tracked: &&Tracked| tracked.machine.pool == pool && counts(tracked, now);
    state.machines.ready(pool) + state.machines.moving().filter(coming).count()
}
