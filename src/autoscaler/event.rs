//! An event: something that happened, or that a person asks. All that the core ever learns comes as one.

use serde::{Deserialize, Serialize};

use super::policy::Policy;
use super::record::Stage;
use crate::model::fact::{Fact, FactId};
use crate::model::machine::{Machine, Power};
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
        policy: Policy,
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
        stage: Stage,
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
