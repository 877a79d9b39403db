//! A tracked machine: a machine as declared, and what the core knows of it: where it is in its life, what is under
//! way, what went wrong, and what may be asked of it as it is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::What;
use super::policy::Policy;
use super::record::{Record, Rung};
use super::time::{after, doubled};
use crate::model::machine::{Machine, Off, Power, Role};
use crate::model::node::Node;

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

/// The machines that boot, until their deadline.
pub(super) fn boots(tracked: &Tracked, now: Timestamp) -> bool {
    matches!(tracked.phase, Phase::PoweringOn { deadline, .. } if now < deadline)
}

/// True for a machine on its way off that may still be kept: its power has not been touched.
pub(super) fn can_turn_back(tracked: &Tracked) -> bool {
    let on_the_way = match tracked.phase {
        Phase::Cordoning | Phase::Looking | Phase::Draining => tracked.is_ours(),
        Phase::PoweringOff { rest_until: None, .. } => tracked.is_ours() && tracked.in_flight.is_none(),
        Phase::Unknown
        | Phase::Off
        | Phase::PoweringOn { .. }
        | Phase::On { .. }
        | Phase::Uncordoning
        | Phase::PoweringOff { .. }
        | Phase::DeletingNode { .. }
        | Phase::Failed { .. } => false,
    };
    on_the_way && tracked.wish != Some(Wish::Off) && !tracked.must_observe
}

/// True for an off machine that may be powered on.
pub(super) fn is_candidate(tracked: &Tracked) -> bool {
    tracked.phase == Phase::Off
        && tracked.is_ours()
        && !tracked.must_observe
        && tracked.in_flight.is_none()
        && tracked.wish.is_none()
}

/// True for a machine that counts toward its pool's minimum: it is on and Ready, or soon will be.
pub(super) fn counts(tracked: &Tracked, now: Timestamp) -> bool {
    let serves = match tracked.phase {
        Phase::On { unready_since, .. } => unready_since.is_none(),
        Phase::PoweringOn { .. } => boots(tracked, now),
        Phase::Uncordoning => true,
        Phase::Unknown
        | Phase::Off
        | Phase::Cordoning
        | Phase::Looking
        | Phase::Draining
        | Phase::PoweringOff { .. }
        | Phase::DeletingNode { .. }
        | Phase::Failed { .. } => false,
    };
    serves && tracked.machine.role == Role::Worker
}

/// True while a machine that is meant to go off may still be on its way.
pub(super) fn is_leaving(phase: &Phase) -> bool {
    matches!(phase, Phase::On { unready_since: None, .. } | Phase::PoweringOff { rest_until: None, .. })
        || is_emptied(phase)
}

/// True for a machine whose pods are about to go.
pub(super) fn is_emptied(phase: &Phase) -> bool {
    matches!(phase, Phase::Cordoning | Phase::Looking | Phase::Draining)
}
