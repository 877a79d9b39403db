//! The decision core: a pure fold. `step` takes the state, the time and one event, and answers with the
//! actions to take, each so specific that doing it needs no choice. It reads no clock and does no I/O,
//! so the same journal gives the same bytes.

use serde::{Deserialize, Serialize};

use crate::model::fact::{Fact, FactId};
use crate::model::machine::{Machine, Off, Power};
use crate::model::node::Node;
use crate::model::pod::{Pod, PodId};
use crate::model::queue::Backlog;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The daemon started (or read its config again): what there is and how to behave. Nothing is known to be observed.
    Started {
        /// The machines there are.
        machines: Vec<Machine>,
        /// How to behave.
        policy: policy::Policy,
    },
    /// A time that `next_wakeup` asked for has come.
    Tick,
    /// All pods there are, after a (re)list: replaces what was known and makes the pod watch fresh.
    PodsListed {
        /// All of them.
        pods: Vec<Pod>,
    },
    /// All nodes there are, likewise.
    NodesListed {
        /// All of them.
        nodes: Vec<Node>,
    },
    /// A pod is new or changed.
    PodApplied {
        /// As it is now.
        pod: Pod,
    },
    /// A pod is gone.
    PodGone {
        /// Which one.
        id: PodId,
    },
    /// A node is new or changed.
    NodeApplied {
        /// As it is now.
        node: Node,
    },
    /// A node is gone.
    NodeGone {
        /// Which one.
        name: String,
    },
    /// All facts there are, after a (re)list: they come before the pods that are judged by them.
    FactsListed {
        /// All of them.
        facts: Vec<Fact>,
    },
    /// A fact is new or changed.
    FactApplied {
        /// As it is now.
        fact: Fact,
    },
    /// A fact is gone.
    FactGone {
        /// Which one.
        id: FactId,
    },
    /// The API server or a watch is out of reach: nothing may be powered off until both lists are fresh again.
    WatchLost {
        /// For people.
        reason: String,
    },
    /// A queue was read: replaces what was known of it.
    QueueSeen {
        /// Which queue.
        queue: String,
        /// What it holds, each service once.
        services: Vec<Backlog>,
    },
    /// A queue cannot be read: what it promised last wakes nothing more, and keeps what is on for it.
    QueueLost {
        /// Which queue.
        queue: String,
        /// For people.
        reason: String,
    },
    /// The provider saw a machine's power.
    PowerSeen {
        /// Which machine.
        machine: String,
        /// What was seen.
        power: Power,
    },
    /// Whoever should see a machine's power refuses, and will until a person mends something: a wrong password, say.
    PowerRefused {
        /// Which machine.
        machine: String,
        /// For people.
        reason: String,
    },
    /// The provider could not tell.
    PowerUnseen {
        /// Which machine.
        machine: String,
        /// Why not.
        reason: String,
    },
    /// The provider says that a machine is off, and a second witness that it is not: neither is believed.
    OffUnverified {
        /// Which machine.
        machine: String,
        /// Who says what.
        reason: String,
    },
    /// A machine that boots was reached in a new way.
    Reached {
        /// Which machine.
        machine: String,
        /// How far it is.
        stage: record::Stage,
    },
    /// What a machine draws was measured.
    Drawn {
        /// Which machine.
        machine: String,
        /// Watts.
        watts: u32,
    },
    /// An action ended.
    Done {
        /// The action's number.
        action: u64,
        /// Its machine.
        machine: String,
        /// What went wrong, if anything did.
        error: Option<String>,
    },
    /// A person asks.
    Asked {
        /// Of which machine.
        machine: String,
        /// What.
        request: Request,
    },
}

/// What a person may ask for a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Power on now.
    PowerOn,
    /// Drain and power off now (PodDisruptionBudgets hold).
    PowerOff,
    /// May be powered by the daemon again.
    Enable,
    /// Is left alone by the daemon.
    Disable,
}

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

mod atlas;
mod consent;
mod consolidate;
pub mod consolidation;
pub mod energy;
pub mod fleet;
mod fold;
pub mod forecast;
mod hold;
mod kept;
mod life;
pub mod meter;
pub mod noted;
mod plan;
pub mod policy;
pub mod promise;
pub mod record;
mod scale_down;
mod scale_up;
pub mod solve;
pub mod standin;
pub mod state;
pub mod step;
mod survey;
mod view;
pub mod why;

pub use self::policy::Policy;
pub use self::state::State;
pub use self::step::{next_wakeup, step};
pub use self::why::queue::{QueueStatus, ServiceStatus, queues, why_queue};
pub use self::why::{MachineStatus, Why, status, unplaceable, why_node, why_pod};

#[cfg(test)]
mod tests;
