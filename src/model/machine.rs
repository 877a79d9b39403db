//! A machine: something with a power state. A machine that is on becomes the Kubernetes node of the same name.

use serde::{Deserialize, Serialize};

use super::node::Shape;

/// The label and the taint of a machine by its runtime, where that is another than Kubernetes' own; and the annotation
/// of what is to run there.
pub const RUNTIME: &str = "marea.dev/runtime";
/// The runtime of machines that are no nodes: udocker, as an ordinary user. It is the name of its recipe, too.
pub const UDOCKER: &str = "udocker";

/// What a machine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs the control plane and is never powered off.
    FrontEnd,
    /// Rises and falls with the work.
    Worker,
}

/// A machine as it is declared: who it is, where it is reached, and what node it becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Its name: the host name, and the name of its node.
    pub name: String,
    /// The pool it belongs to (a RADL `system`).
    pub pool: String,
    /// Front-end or worker.
    pub role: Role,
    /// Where SSH reaches it, an IP address or a name.
    pub address: String,
    /// SSH port.
    pub port: u16,
    /// SSH user; not root means that steps run through `sudo -n`.
    pub user: String,
    /// Its fixed pod range, such as `10.244.3.0/24`.
    pub pod_cidr: String,
    /// The node it becomes: as last seen where it was seen, else as declared.
    pub shape: Shape,
}

impl Machine {
    /// True for one that becomes no node: its runs are udocker's.
    pub fn is_no_node(&self) -> bool {
        self.shape.labels.get(RUNTIME).is_some_and(|runtime| runtime == UDOCKER)
    }
}

/// What a provider sees of a machine's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// Seen on.
    On,
    /// Proven off.
    Off,
}

/// How a machine is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Off {
    /// Asks the operating system to shut down, and waits.
    Graceful,
    /// Cuts the power.
    Hard,
}
