//! The queues of a world: messages come, whoever takes them makes pods, and the source that tells the core of
//! them is late and at times lost. One kind makes its pods at once, up to a limit, and the other only once
//! there is a machine for them: without a wake-up ahead of the pods it would wait for ever.

use std::collections::BTreeMap;

use marea::autoscaler::Event;
use marea::model::pod::{Phase, Pod, PodId};
use marea::model::queue::{Backlog, Unit};
use marea::model::resources::Resources;

use super::{GIB, Happens, MINUTE, SECOND, World};

/// A real queue.
#[derive(Debug, Clone)]
pub(crate) struct Tub {
    /// What it holds.
    pub(crate) backlog: Backlog,
    /// Its pods are made only where a machine is on for them.
    patient: bool,
    up: bool,
    told_at: i64,
}

impl World {
    /// Makes the queues.
    pub(super) fn dig(&mut self) {
        for (queue, patient) in [("push", false), ("pull", true)] {
            if self.rng.percent(30) {
                continue;
            }
            let cpu = *self.rng.pick(&[200, 500, 1000, 1900, 3000]);
            let memory = *self.rng.pick(&[GIB / 4, GIB, 3 * GIB]);
            let mut unit = Unit {
                labels: BTreeMap::from([("queue".into(), queue.into())]),
                requests: Resources { cpu_milli: cpu, memory, pods: 1, ..Resources::default() },
                ..Unit::default()
            };
            if self.rng.percent(25) {
                unit.node_selector.insert("pool".into(), (*self.rng.pick(&["a", "b"])).into());
            }
            let limit = self.rng.percent(70).then(|| self.rng.range(1, 9).unsigned_abs());
            let backlog = Backlog {
                service: "work".into(),
                in_flight: if patient { None } else { Some(0) },
                limit,
                unit,
                ..Backlog::default()
            };
            let tub = Tub { backlog, patient, up: true, told_at: self.now };
            self.tubs.insert(queue.into(), tub);
            self.policy.queues.insert(queue.into());
        }
        if !self.tubs.is_empty() {
            let (first, fault) = (self.rng.range(1, 300) * SECOND, self.rng.range(1, 25) * MINUTE);
            self.after(first, Happens::Message);
            self.after(SECOND, Happens::Consume);
            self.after(fault, Happens::QueueDown);
        }
    }

    fn some_tub(&mut self) -> String {
        let names: Vec<String> = self.tubs.keys().cloned().collect();
        self.rng.pick(&names).clone()
    }

    pub(super) fn message(&mut self) {
        if self.calm {
            return;
        }
        let queue = self.some_tub();
        let count = self.rng.range(1, 6).unsigned_abs();
        self.tubs.get_mut(&queue).unwrap().backlog.waiting += count;
        self.tell(&queue);
        let next = if self.rng.percent(40) { self.rng.range(10, 40) * MINUTE } else { self.rng.range(1, 200) * SECOND };
        self.after(next, Happens::Message);
    }

    fn workers_of(&self, queue: &str) -> Vec<Pod> {
        let mine =
            |pod: &&Pod| pod.phase != Phase::Succeeded && pod.labels.get("queue").is_some_and(|one| one == queue);
        self.pods.values().filter(mine).cloned().collect()
    }

    pub(super) fn consume(&mut self) {
        let next = self.rng.range(1, 5) * SECOND;
        self.after(next, Happens::Consume);
        if !self.api_up {
            return;
        }
        for queue in self.tubs.keys().cloned().collect::<Vec<_>>() {
            let tub = self.tubs[&queue].clone();
            if !tub.up {
                // A server that is down is neither read nor worked on.
                continue;
            }
            let there = self.workers_of(&queue).len() as u64;
            let may = tub.backlog.limit.unwrap_or(u64::MAX).saturating_sub(there).min(tub.backlog.waiting);
            let waits = self.workers_of(&queue).iter().any(|pod| pod.node.is_none());
            let may = match (tub.patient, may) {
                (true, 1..) if !waits && self.has_room(&tub.backlog.unit) => 1,
                (true, _) => 0,
                (false, _) => may,
            };
            for _ in 0..may {
                let id = PodId { namespace: "work".into(), name: format!("{queue}-{}", self.sequence) };
                let (cpu, memory) = (tub.backlog.unit.requests.cpu_milli, tub.backlog.unit.requests.memory);
                let mut pod = self.pod(id, cpu, memory);
                pod.node_selector = tub.backlog.unit.node_selector.clone();
                pod.labels = tub.backlog.unit.labels.clone();
                let duration = self.rng.range(5, 300) * SECOND;
                self.durations.insert(pod.uid.clone(), duration);
                self.put_pod(pod);
            }
            let left = tub.backlog.waiting - may;
            self.tubs.get_mut(&queue).unwrap().backlog.waiting = left;
            if may > 0 || (tub.backlog.in_flight.is_some_and(|count| count != there)) {
                self.tell(&queue);
            }
        }
    }

    fn has_room(&mut self, unit: &Unit) -> bool {
        let mut pod = self.pod(PodId::default(), unit.requests.cpu_milli, unit.requests.memory);
        pod.node_selector = unit.node_selector.clone();
        let takes = self.nodes.values().filter(|node| node.ready && !node.cordoned && node.name != "front");
        takes.into_iter().any(|node| crate::check::fits(&pod, false, &node.shape, self.on_node(&node.name).iter()))
    }

    /// Its source tells what it holds, late and in order, or that it cannot be read.
    pub(super) fn tell(&mut self, queue: &str) {
        let there = self.workers_of(queue).len() as u64;
        let at = self.now + self.rng.range(1, 700);
        let tub = self.tubs.get_mut(queue).unwrap();
        tub.backlog.in_flight = tub.backlog.in_flight.map(|_| there);
        tub.told_at = at.max(tub.told_at + 1);
        let (at, up, services) = (tub.told_at, tub.up, vec![tub.backlog.clone()]);
        let queue = queue.to_owned();
        let event = if up {
            Event::QueueSeen { queue, services }
        } else {
            Event::QueueLost { queue, reason: "connection refused".into() }
        };
        let epoch = Some(self.epoch);
        self.after(at - self.now, Happens::Deliver { stream: None, epoch, event: Box::new(event) });
    }

    pub(super) fn queue_down(&mut self) {
        if self.calm {
            return;
        }
        let queue = self.some_tub();
        self.tubs.get_mut(&queue).unwrap().up = false;
        self.tell(&queue);
        let (back, next) = (self.rng.range(5, 1800) * SECOND, self.rng.range(5, 60) * MINUTE);
        self.after(back, Happens::QueueUp { queue });
        self.after(next, Happens::QueueDown);
    }

    pub(super) fn queue_up(&mut self, queue: &str) {
        self.tubs.get_mut(queue).unwrap().up = true;
        self.tell(queue);
    }
}
