//! Promises kept: the figures of queues, and how long one that had work and no pod that runs had to wait for one.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::autoscaler::{self, State};
use crate::clock;
use crate::metrics::Metrics;

/// The services that have work and no pod that runs, by queue and service, and since when.
#[derive(Debug, Default)]
pub(super) struct Promises {
    dry: BTreeMap<String, Instant>,
}

impl Promises {
    /// Brings the figures up to date.
    pub(super) fn count(&mut self, state: &State, metrics: &Metrics) {
        let mut depths = BTreeMap::new();
        let mut heard = BTreeMap::new();
        let mut dry = BTreeMap::new();
        for queue in autoscaler::queues(state) {
            heard.insert(queue.name.clone(), queue.lost.is_none());
            for service in queue.services {
                // A queue of one service bears its name.
                let name = if service.service == queue.name {
                    queue.name.clone()
                } else {
                    format!("{}/{}", queue.name, service.service)
                };
                let layer = if service.held.is_some() { "suspended" } else { "waiting" };
                depths.insert((name.clone(), layer), service.waiting);
                depths.extend(service.in_flight.map(|count| ((name.clone(), "in-flight"), count)));
                depths.insert((name.clone(), "to-come"), service.to_come);
                depths.insert((name.clone(), "pending"), service.pending);
                depths.insert((name.clone(), "running"), service.running);
                match (self.dry.get(&name), service.running) {
                    (None, 0) if service.waiting > 0 && service.held.is_none() => {
                        dry.insert(name, clock::monotonic());
                    }
                    // What was taken is still to run: its pod may be on its way.
                    (Some(since), 0) if service.waiting + service.pending + service.in_flight.unwrap_or(0) > 0 => {
                        dry.insert(name, *since);
                    }
                    (Some(since), 1..) => metrics.queue_served(since.elapsed()),
                    (Some(_) | None, _) => {}
                }
            }
        }
        self.dry = dry;
        metrics.queue_depths(&depths);
        metrics.queues_heard(&heard);
    }
}
