//! A view: what the daemon shows of itself at one moment. Published by its loop, read by everybody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::autoscaler::QueueStatus;
use crate::autoscaler::why::MachineStatus;

/// The daemon at one moment: the JSON of `/status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct View {
    /// The program's version.
    pub version: String,
    /// The cluster's name.
    pub cluster: String,
    /// When this was so.
    pub at: Timestamp,
    /// Pods and nodes are known as they are now.
    pub fresh: bool,
    /// Why nothing is powered off at present (the watch is lost), when that is so.
    pub frozen: Option<String>,
    /// Why nothing at all is done at present (the journal cannot be written), when that is so.
    pub journal: Option<String>,
    /// Pods that the scheduler finds no place for.
    pub pending_pods: usize,
    /// The machines, in order of name.
    pub machines: Vec<MachineStatus>,
    /// The queues, in order of name.
    #[serde(default)]
    pub queues: Vec<QueueStatus>,
    /// When the loop last turned, which goes on between snapshots.
    #[serde(skip)]
    pub turned: Arc<AtomicI64>,
}

impl View {
    /// When the loop last turned, in milliseconds since 1970.
    pub fn turned_ms(&self) -> i64 {
        self.turned.load(Ordering::Relaxed)
    }

    /// All of it in one line: for systemd's status, and the first line of `marea status`.
    pub fn headline(&self) -> String {
        if let Some(fault) = &self.journal {
            return format!("nothing is done: {fault}");
        }
        let on = self.machines.iter().filter(|machine| machine.state == "on").count();
        let mut line = format!("{on} of {} machines on, {} pods wait", self.machines.len(), self.pending_pods);
        let services = || self.queues.iter().flat_map(|queue| &queue.services);
        let waiting: u64 = services().fold(0, |sum, service| sum.saturating_add(service.waiting));
        if waiting > 0 {
            line.push_str(&format!(", {waiting} messages wait in queues"));
        }
        for queue in self.queues.iter().filter(|queue| queue.lost.is_some()) {
            line.push_str(&format!("; queue {} is lost", queue.name));
        }
        if let Some(reason) = &self.frozen {
            line.push_str("; nothing is powered off: ");
            line.push_str(reason);
        }
        line
    }
}
