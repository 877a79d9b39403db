//! The line: pods that wait, and where they go. As kube-scheduler does it: by priority, then first come, first
//! served; one that fits nowhere lets the next by. What fits is said by `scheduling`; of the machines that fit, the
//! emptiest is taken, as its default scoring (LeastAllocated) does, one that is to be avoided last, and of equal ones
//! the first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::fact::Facts;
use crate::model::machine::Machine;
use crate::model::pod::Pod;
use crate::model::resources::Resources;
use crate::scheduling::Cluster;

/// A pod's turn: the more important first, then who came first; and whose it is.
type Turn = (Reverse<i32>, u64, usize);

/// Pods of one class that wait.
#[derive(Debug, Default)]
struct Queue {
    turns: BTreeSet<Turn>,
    /// No open machine took one when they were last asked.
    refused: bool,
}

/// Who waits, and what the nodes carry.
#[derive(Debug)]
pub(super) struct Line {
    cluster: Cluster,
    /// By machine: its node.
    spots: Vec<Option<usize>>,
    shapes: Vec<Resources>,
    /// Machines that take pods.
    open: BTreeSet<usize>,
    /// Machines that are to be avoided: they take only what no other does.
    shunned: BTreeSet<usize>,
    /// Those of them with more room than when the line was last looked at.
    roomier: BTreeSet<usize>,
    waiting: BTreeMap<usize, Queue>,
    /// By class: what it asks for.
    asks: BTreeMap<usize, Resources>,
    /// Some pods look at their company: then room is not all that can change.
    company: bool,
    stirred: bool,
    sequence: u64,
}

impl Line {
    pub(super) fn new(machines: &[Machine], company: bool) -> Self {
        Self {
            cluster: Cluster::new(Facts::default()),
            spots: vec![None; machines.len()],
            shapes: machines.iter().map(|machine| machine.shape.allocatable.clone()).collect(),
            open: BTreeSet::new(),
            shunned: BTreeSet::new(),
            roomier: BTreeSet::new(),
            waiting: BTreeMap::new(),
            asks: BTreeMap::new(),
            company,
            stirred: false,
            sequence: 0,
        }
    }

    /// The class of a pod.
    pub(super) fn class(&mut self, pod: &Pod) -> usize {
        let class = self.cluster.ask(pod);
        self.asks.entry(class).or_insert_with(|| pod.requests.clone());
        class
    }

    /// A pod comes to wait.
    pub(super) fn join(&mut self, job: usize, class: usize, priority: i32) {
        self.sequence += 1;
        self.waiting.entry(class).or_default().turns.insert((Reverse(priority), self.sequence, job));
        self.stirred = true;
    }

    /// A machine's node is there and takes pods.
    pub(super) fn open(&mut self, host: usize, machine: &Machine) {
        if self.spots[host].is_none() {
            self.spots[host] = Some(self.cluster.add_node(&machine.name, &machine.shape, &[], false));
        }
        self.open.insert(host);
        self.roomier.insert(host);
    }

    /// A machine takes no more pods.
    pub(super) fn close(&mut self, host: usize) {
        self.open.remove(&host);
    }

    /// A machine is to be avoided, or no longer.
    pub(super) fn shun(&mut self, host: usize, shunned: bool) {
        if shunned {
            self.shunned.insert(host);
        } else {
            self.shunned.remove(&host);
        }
    }

    /// A machine's node is gone.
    pub(super) fn remove(&mut self, host: usize) {
        self.shunned.remove(&host);
        self.close(host);
        if let Some(spot) = self.spots[host].take() {
            self.cluster.remove_node(spot);
        }
    }

    /// A pod has left a machine.
    pub(super) fn leave(&mut self, class: usize, host: usize) {
        if let Some(spot) = self.spots[host] {
            self.cluster.unplace(class, spot);
            self.roomier.insert(host);
        }
    }

    /// Gives places to whoever can have one now: pods and their machines, in order.
    pub(super) fn look(&mut self) -> Vec<(usize, usize)> {
        let mut bound = Vec::new();
        if !std::mem::take(&mut self.stirred) && self.roomier.is_empty() {
            return bound;
        }
        loop {
            let before = bound.len();
            self.round(&mut bound);
            // A pod that has been placed may be the company that another waited for.
            if !self.company || bound.len() == before {
                return bound;
            }
        }
    }

    fn round(&mut self, bound: &mut Vec<(usize, usize)>) {
        let roomier = std::mem::take(&mut self.roomier);
        let head = |(class, queue): (&usize, &Queue)| queue.turns.first().map(|turn| (*turn, *class));
        let mut heads: BTreeSet<(Turn, usize)> = self.waiting.iter().filter_map(head).collect();
        while let Some((turn, class)) = heads.pop_first() {
            let refused = !self.company && self.waiting.get(&class).is_some_and(|queue| queue.refused);
            let host = self.best(class, if refused { &roomier } else { &self.open });
            let Some(queue) = self.waiting.get_mut(&class) else { continue };
            let Some((host, spot)) = host else {
                queue.refused = true;
                continue;
            };
            queue.turns.remove(&turn);
            match queue.turns.first() {
                Some(next) => drop(heads.insert((*next, class))),
                None => drop(self.waiting.remove(&class)),
            }
            self.cluster.place(class, spot);
            bound.push((turn.2, host));
        }
    }

    /// The emptiest of these machines that a pod of the class fits.
    fn best(&self, class: usize, hosts: &BTreeSet<usize>) -> Option<(usize, usize)> {
        let asks = self.asks.get(&class)?;
        let mut best: Option<((bool, u64), usize, usize)> = None;
        for host in hosts.iter().filter(|host| self.open.contains(host)) {
            let Some(spot) = self.spots[*host] else { continue };
            let (all, Some(used)) = (&self.shapes[*host], self.cluster.used(spot)) else { continue };
            let left = |all: u64, used: u64, asks: u64| all.checked_sub(used.saturating_add(asks));
            let cpu = left(all.cpu_milli, used.cpu_milli, asks.cpu_milli);
            let memory = left(all.memory, used.memory, asks.memory);
            // What does not fit by the sum need not be judged; what does is asked of the scheduler's filters.
            let (Some(cpu), Some(memory)) = (cpu, memory) else { continue };
            let part =
                |left: u64, all: u64| u64::try_from(u128::from(left) * 1000 / u128::from(all.max(1))).unwrap_or(0);
            let score = (!self.shunned.contains(host), part(cpu, all.cpu_milli) + part(memory, all.memory));
            if best.is_none_or(|(most, ..)| score > most) && self.cluster.first_failing(class, spot).is_none() {
                best = Some((score, *host, spot));
            }
        }
        best.map(|(_, host, spot)| (host, spot))
    }
}
