//! The state: all that the decision core knows. It is the fold of the journal's events and nothing else;
//! it goes through serde unharmed, and holds only ordered maps, so that the same events give the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::What;
use super::consolidation::Look;
use super::fleet::Fleet;
use super::forecast::{Arrivals, Foreseen};
use super::kept::Kept;
use super::noted::{Noted, Pick};
use super::policy::Policy;
use super::promise::Queue;
use super::record::{Record, Rung};
use crate::model::fact::Facts;
use crate::model::machine::{Machine, Off, Power, Role};
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
    /// What is kept from one step to the next, and follows from all this.
    #[serde(skip)]
    pub(super) kept: Kept,
}

/// New demand that is gathering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The first new pod came.
    pub first: Timestamp,
    /// The last one came.
    pub last: Timestamp,
}

/// A machine and what the core knows of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tracked {
    /// As declared, with its shape as last seen.
    pub machine: Machine,
    /// Where it is in its life.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// A person told the daemon to leave it alone.
    pub disabled: bool,
    /// What a person asked for and has not got yet.
    pub wish: Option<Wish>,
    /// The action that is under way.
    pub in_flight: Option<InFlight>,
    /// Its power must be looked at before anything else is done to it.
    pub must_observe: bool,
    /// When its power was last proven off. Whatever its node shows from before then is of an earlier boot.
    pub off_seen: Option<Timestamp>,
    /// When its power was last asked for and what was seen.
    pub power_seen: Option<(Timestamp, Power)>,
    /// Failures since it last worked.
    pub failures: u32,
    /// Errors of actions one after another.
    pub errors: u32,
    /// No action before this time.
    pub not_before: Option<Timestamp>,
    /// Why it is in its phase, for people and for its actions.
    pub reason: String,
    /// What last went wrong, for people.
    pub trouble: Option<String>,
    /// Why it was last powered off, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off_because: Option<String>,
    /// Since when it is meant to go off because its pods fit on others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Timestamp>,
    /// What it has shown of itself over time.
    #[serde(default)]
    pub record: Record,
}

/// Where a machine is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum Phase {
    /// Its power has not been seen yet.
    Unknown,
    /// Proven off.
    Off,
    /// Told to power on, or seen on, and not Ready yet.
    PoweringOn {
        /// The provider has done its part.
        issued: bool,
        /// It has failed when it is not Ready by then.
        deadline: Timestamp,
    },
    /// On, and its node has been Ready.
    On {
        /// Without work since.
        idle_since: Option<Timestamp>,
        /// Its node is missing or not Ready since.
        unready_since: Option<Timestamp>,
    },
    /// Being cordoned, to go off.
    Cordoning,
    /// Cordoned; watched for pods that were bound just before.
    Looking,
    /// Its pods are being evicted, because a person asked for it to go off or because they fit on others.
    Draining,
    /// Being uncordoned: it is wanted after all.
    Uncordoning,
    /// Its power goes.
    PoweringOff {
        /// Gracefully, or cut.
        how: Off,
        /// It failed to boot or fell sick: it rests until then once it is off.
        rest_until: Option<Timestamp>,
    },
    /// Off; its Node object is being deleted.
    DeletingNode {
        /// It rests until then once that is done.
        rest_until: Option<Timestamp>,
    },
    /// It failed, and rests.
    Failed {
        /// It may be tried again from then on.
        retry_at: Timestamp,
    },
}

impl Phase {
    /// The phase's name, as `marea status` and the metrics show it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Off => "off",
            Self::PoweringOn { .. } => "powering-on",
            Self::On { .. } => "on",
            Self::Cordoning => "cordoning",
            Self::Looking => "looking",
            Self::Draining => "draining",
            Self::Uncordoning => "uncordoning",
            Self::PoweringOff { .. } => "powering-off",
            Self::DeletingNode { .. } => "deleting-node",
            Self::Failed { .. } => "failed",
        }
    }
}

/// What a person asked for and has not got yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// On.
    On,
    /// Drained and off.
    Off,
}

/// An action that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Its number.
    pub id: u64,
    /// What it does.
    pub what: What,
    /// Since when.
    pub since: Timestamp,
}

/// The time `ms` milliseconds after `time`, or the last time there is.
pub(super) fn after(time: Timestamp, ms: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_millis(ms)).unwrap_or(Timestamp::MAX)
}

/// `base` doubled for each time after the first, up to `most`.
pub(super) fn doubled(base: i64, times: u32, most: i64) -> i64 {
    let factor = 1i64.checked_shl(times.saturating_sub(1).min(40)).unwrap_or(i64::MAX);
    base.saturating_mul(factor).min(most)
}

impl Tracked {
    pub(super) fn new(machine: Machine, now: Timestamp) -> Self {
        Self {
            machine,
            phase: Phase::Unknown,
            since: now,
            disabled: false,
            wish: None,
            in_flight: None,
            must_observe: true,
            off_seen: None,
            power_seen: None,
            failures: 0,
            errors: 0,
            not_before: None,
            reason: "not seen yet".to_owned(),
            trouble: None,
            off_because: None,
            leaving: None,
            record: Record::default(),
        }
    }

    /// Enters a phase for a reason. What changes within a phase leaves its age.
    pub(super) fn enter(&mut self, phase: Phase, now: Timestamp, reason: impl Into<String>) {
        if self.phase.name() != phase.name() {
            self.since = now;
            // A pause is for the action that failed, which is another phase's.
            self.not_before = None;
        }
        if let Phase::PoweringOn { .. } | Phase::On { .. } = phase {
            self.off_because = None;
        }
        self.phase = phase;
        self.reason = reason.into();
    }

    /// It failed: it rests, the longer the more often it did. Answers until when.
    pub(super) fn fail(&mut self, policy: &Policy, now: Timestamp, cause: &str) -> Timestamp {
        self.failures = self.failures.saturating_add(1);
        self.trouble = Some(cause.to_owned());
        self.record.climb(Rung::Quarantine, now);
        if self.failures >= policy.tell_after {
            self.record.climb(Rung::Person, now);
        }
        after(now, doubled(policy.backoff_base_ms, self.failures, policy.backoff_max_ms))
    }

    /// True when this node shows that the machine came up after it was last proven off: by another boot than the one
    /// that ended then, and by a sign of life since.
    pub(super) fn came_up(&self, node: Option<&Node>) -> bool {
        self.lives(node) && node.is_some_and(|node| !self.record.is_ended_boot(node))
    }

    /// True when this node gives a sign of life from after the machine was last proven off.
    pub(super) fn lives(&self, node: Option<&Node>) -> bool {
        let Some(node) = node else { return false };
        node.ready
            && self.off_seen.is_none_or(|off| node.created > off || node.heartbeat.is_some_and(|beat| beat > off))
    }

    /// True when the daemon may act on it of its own accord.
    pub(super) fn is_ours(&self) -> bool {
        !self.disabled && !self.record.by_hand && self.machine.role == Role::Worker
    }
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

/// A pod that has no node yet is picked out: it may wait for one.
impl Pick for Pod {
    fn is_picked(&self) -> bool {
        self.node.is_none() && is_live(self)
    }
}

impl Pick for Node {
    fn is_picked(&self) -> bool {
        false
    }
}

/// True for a pod that waits for a place: the scheduler found none, and nothing else holds it back.
pub(super) fn is_demand(pod: &Pod) -> bool {
    use crate::model::pod::{Owner, Phase};
    pod.unschedulable
        && !pod.gated
        && !pod.deleting
        && pod.node.is_none()
        && pod.phase == Phase::Pending
        && !matches!(pod.owner, Owner::DaemonSet(_) | Owner::Mirror)
}

/// True for a pod that still uses its node's resources.
pub(super) fn is_live(pod: &Pod) -> bool {
    use crate::model::pod::Phase;
    match pod.phase {
        Phase::Pending | Phase::Running | Phase::Unknown => true,
        Phase::Succeeded | Phase::Failed => false,
    }
}

/// True for a live pod that holds its machine on: not a DaemonSet's and not a mirror.
pub(super) fn is_work(pod: &Pod) -> bool {
    use crate::model::pod::Owner;
    is_live(pod) && !matches!(pod.owner, Owner::DaemonSet(_) | Owner::Mirror)
}
