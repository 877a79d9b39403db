//! An action: one thing to be done to one machine, so specific that doing it needs no choice.

use serde::{Deserialize, Serialize};

use crate::model::machine::Off;
use crate::model::pod::PodId;

/// One thing to do to one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Its number in the journal; `Event::Done` names it.
    pub id: u64,
    /// The machine, which is also the node's name.
    pub machine: String,
    /// What to do.
    pub what: What,
    /// Why, in one line for people.
    pub reason: String,
}

/// What is to be done. Each may be repeated safely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// See the power: answered by `PowerSeen` or `PowerUnseen`, then `Done`.
    Observe,
    /// Power on.
    PowerOn,
    /// Cut the power of a machine that does not come up, and give it back.
    PowerCycle,
    /// Cordon the node, marked as ours.
    Cordon,
    /// Uncordon the node if it is marked as ours.
    Uncordon,
    /// Ask the scheduler to put new pods elsewhere where it can.
    Shun,
    /// Ask it no longer.
    Unshun,
    /// Evict these pods through the API and wait until they are gone.
    Drain {
        /// Which ones.
        pods: Vec<PodId>,
    },
    /// Power off; done only when seen off.
    PowerOff {
        /// Gracefully, or by cutting the power.
        how: Off,
    },
    /// Delete the Node object, which must have this UID.
    DeleteNode {
        /// The UID that it was seen with.
        uid: String,
    },
}

/// What an action is called in a sentence.
impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Observe => "looking at its power",
            Self::PowerOn => "power on",
            Self::PowerCycle => "power cycle",
            Self::Cordon => "cordon",
            Self::Uncordon => "uncordon",
            Self::Shun => "shunning",
            Self::Unshun => "taking back a shunning",
            Self::Drain { .. } => "drain",
            Self::PowerOff { how: Off::Graceful } => "power off",
            Self::PowerOff { how: Off::Hard } => "hard power off",
            Self::DeleteNode { .. } => "deletion of its node",
        })
    }
}
