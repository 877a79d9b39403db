//! The cluster: what kubelets, controllers and the scheduler do in a world, and how its watches tell.

use std::collections::BTreeMap;

use marea::autoscaler::Event;
use marea::model::node::{Node, Shape};
use marea::model::pod::{Moving, Operator, Owner, Phase, Pod, PodId, Requirement, Term};
use marea::model::resources::Resources;

use super::{GIB, Happens, MINUTE, SECOND, World, time};

impl World {
    pub(super) fn booted(&mut self, machine: &str, boot: u64) {
        let up = self.real[machine].on && self.real[machine].boot == boot;
        if !up {
            return;
        }
        if self.api_up {
            self.real.get_mut(machine).unwrap().kubelet = true;
            self.register(machine);
        } else {
            self.after(5 * SECOND, Happens::Booted { machine: machine.to_owned(), boot });
        }
    }

    pub(super) fn not_ready(&mut self, machine: &str, boot: u64) {
        let sick = self.real[machine].boot == boot && !self.real[machine].kubelet;
        let Some(mut node) = self.nodes.get(machine).cloned().filter(|_| sick) else { return };
        if !self.api_up {
            self.after(40 * SECOND, Happens::NotReady { machine: machine.to_owned(), boot });
            return;
        }
        node.ready = false;
        self.put_node(node);
        self.after(60 * SECOND, Happens::Evict { machine: machine.to_owned(), boot });
    }

    /// What the node controller does once it sees the world again.
    pub(super) fn catch_up(&mut self) {
        for name in self.workers() {
            if !self.real[&name].kubelet && self.nodes.get(&name).is_some_and(|node| node.ready) {
                let boot = self.real[&name].boot;
                self.after(10 * SECOND, Happens::NotReady { machine: name, boot });
            }
        }
    }

    /// The kubelet reports: its node is there and Ready, and its DaemonSet's pod comes.
    pub(super) fn register(&mut self, machine: &str) {
        self.sequence += 1;
        let uid = format!("n{}", self.sequence);
        let shape = self.machines.iter().find(|one| one.name == machine).unwrap().shape.clone();
        let now = time(self.now);
        let mut node = self.nodes.get(machine).cloned().unwrap_or(Node {
            name: machine.into(),
            uid,
            created: now,
            ready: true,
            heartbeat: None,
            boot_id: None,
            cordoned: false,
            cordoned_by_us: false,
            shape: Shape { seen: true, ..shape },
            ..Node::default()
        });
        node.ready = true;
        node.heartbeat = Some(now);
        node.boot_id = Some(format!("{machine}-{}", self.real[machine].boot));
        self.put_node(node);
        // Pods that were to go, and were left from before, are seen gone by the new kubelet.
        for pod in self.on_node(machine) {
            if pod.deleting || pod.phase == Phase::Running {
                self.remove_pod(&pod.id, true);
            }
        }
        let id = PodId { namespace: "kube-system".into(), name: format!("proxy-{machine}") };
        let mut pod = self.pod(id, 100, GIB / 8);
        pod.owner = Owner::DaemonSet("proxy".into());
        pod.node = Some(machine.into());
        pod.phase = Phase::Running;
        pod.affinity = Some(vec![Term {
            labels: vec![],
            fields: vec![Requirement {
                key: "metadata.name".into(),
                operator: Operator::In,
                values: vec![machine.into()],
            }],
        }]);
        self.put_pod(pod);
    }

    pub(super) fn unregister(&mut self, machine: &str) {
        self.nodes.remove(machine);
        self.say(false, Event::NodeGone { name: machine.into() });
        for pod in self.on_node(machine) {
            self.remove_pod(&pod.id, true);
        }
        self.remove_pod(&PodId { namespace: "kube-system".into(), name: format!("proxy-{machine}") }, false);
    }

    /// True when the core has seen the scheduler refuse this pod on this machine for long.
    pub(crate) fn doubts(&self, pod: &Pod, machine: &str) -> bool {
        self.state.doubts.get(&pod.id).is_some_and(|nodes| nodes.contains_key(machine))
    }

    /// The live pods with work on a node.
    pub(crate) fn on_node(&self, machine: &str) -> Vec<Pod> {
        let live = |pod: &&Pod| {
            pod.node.as_deref() == Some(machine)
                && pod.phase != Phase::Succeeded
                && !matches!(pod.owner, Owner::DaemonSet(_))
        };
        self.pods.values().filter(live).cloned().collect()
    }

    pub(super) fn pod(&mut self, id: PodId, cpu: u64, memory: u64) -> Pod {
        self.sequence += 1;
        Pod {
            id,
            uid: format!("p{}", self.sequence),
            created: time(self.now),
            phase: Phase::Pending,
            node: None,
            unschedulable: false,
            gated: false,
            deleting: false,
            owner: Owner::Controller("Job/job".into()),
            requests: Resources { cpu_milli: cpu, memory, pods: 1, ..Resources::default() },
            node_selector: BTreeMap::new(),
            affinity: None,
            tolerations: vec![],
            host_ports: vec![],
            priority: 0,
            ..Pod::default()
        }
    }

    pub(super) fn arrive(&mut self) {
        if self.calm {
            return;
        }
        for _ in 0..self.rng.range(1, 6) {
            let id = PodId { namespace: "work".into(), name: format!("job-{}", self.sequence) };
            let cpu = *self.rng.pick(&[100, 200, 500, 500, 1000, 1000, 1900, 1900, 3000, 3000, 7000, 64_000]);
            let memory = *self.rng.pick(&[GIB / 8, GIB / 4, GIB / 2, GIB, GIB, 3 * GIB, 12 * GIB]);
            let mut pod = self.pod(id, cpu, memory);
            if self.rng.percent(25) {
                let pool = (*self.rng.pick(&["a", "b", "a", "b", "none"])).to_owned();
                pod.node_selector.insert("pool".into(), pool);
            }
            let mut duration = self.rng.range(5, 600) * SECOND;
            if !self.policy.consolidation.pools.is_empty() && self.rng.percent(40) {
                duration = self.rng.range(10, 25) * MINUTE;
                pod.owner = Owner::Controller("ReplicaSet/web".into());
                if self.rng.percent(15) {
                    pod.moving = Moving::Never;
                }
            }
            self.durations.insert(pod.uid.clone(), duration);
            self.put_pod(pod);
        }
        let next = if self.rng.percent(30) { self.rng.range(10, 30) * MINUTE } else { self.rng.range(1, 240) * SECOND };
        self.after(next, Happens::Arrive);
    }

    /// A pod goes; its controller makes another when there is still work to do.
    pub(super) fn remove_pod(&mut self, id: &PodId, again: bool) {
        let Some(pod) = self.pods.remove(id) else { return };
        self.stir();
        self.say(true, Event::PodGone { id: id.clone() });
        if again && pod.phase != Phase::Succeeded {
            let new = PodId { namespace: "work".into(), name: format!("job-{}", self.sequence) };
            let mut fresh = self.pod(new, pod.requests.cpu_milli, pod.requests.memory);
            fresh.node_selector = pod.node_selector;
            fresh.labels = pod.labels;
            fresh.owner = pod.owner;
            fresh.moving = pod.moving;
            let duration = self.durations.get(&pod.uid).copied().unwrap_or(MINUTE);
            self.durations.insert(fresh.uid.clone(), duration);
            self.put_pod(fresh);
        }
    }

    pub(super) fn finish(&mut self, id: &PodId, uid: &str) {
        let Some(mut pod) = self.pods.get(id).cloned().filter(|pod| pod.uid == uid && !pod.deleting) else { return };
        let alive = pod.node.as_ref().is_some_and(|node| self.real[node].kubelet);
        if !alive {
            return;
        }
        if !self.api_up {
            self.after(5 * SECOND, Happens::Finish { id: id.clone(), uid: uid.to_owned() });
            return;
        }
        self.finished += 1;
        pod.phase = Phase::Succeeded;
        self.put_pod(pod);
        self.after(MINUTE, Happens::Clear { id: id.clone() });
    }

    /// Something changed: the scheduler looks soon.
    pub(super) fn stir(&mut self) {
        if !std::mem::replace(&mut self.stirred, true) {
            self.after(SECOND, Happens::Schedule);
        }
    }

    /// The scheduler: binds what fits a Ready node that takes pods, anywhere it fits; marks the rest.
    pub(super) fn schedule(&mut self) {
        self.stirred = false;
        if !self.api_up {
            self.stir();
            return;
        }
        let waiting: Vec<Pod> =
            self.pods.values().filter(|pod| pod.node.is_none() && pod.phase == Phase::Pending).cloned().collect();
        let takes = self.nodes.values().filter(|node| node.ready && !node.cordoned).cloned();
        let mut nodes: Vec<(Node, Vec<Pod>)> = takes.map(|node| (node.clone(), self.on_node(&node.name))).collect();
        for mut pod in waiting {
            let fitting = nodes
                .iter()
                .enumerate()
                .filter(|(_, (node, on_it))| crate::check::fits(&pod, node.name == "front", &node.shape, on_it.iter()));
            let mut fits: Vec<usize> = fitting.map(|(index, _)| index).collect();
            // A preference: nodes that are shunned only where there is no other.
            if fits.iter().any(|index| !nodes[*index].0.shunned) {
                fits.retain(|index| !nodes[*index].0.shunned);
            }
            if fits.is_empty() {
                if !pod.unschedulable {
                    pod.unschedulable = true;
                    self.put_pod(pod);
                }
                continue;
            }
            let (node, on_it) = &mut nodes[*self.rng.pick(&fits)];
            pod.node = Some(node.name.clone());
            on_it.push(pod.clone());
            pod.unschedulable = false;
            pod.phase = Phase::Running;
            let duration = self.durations.get(&pod.uid).copied().unwrap_or(MINUTE);
            self.after(duration, Happens::Finish { id: pod.id.clone(), uid: pod.uid.clone() });
            self.put_pod(pod);
        }
    }

    pub(super) fn put_pod(&mut self, pod: Pod) {
        self.stir();
        self.pods.insert(pod.id.clone(), pod.clone());
        self.say(true, Event::PodApplied { pod });
    }

    pub(super) fn put_node(&mut self, node: Node) {
        self.stir();
        self.nodes.insert(node.name.clone(), node.clone());
        self.say(false, Event::NodeApplied { node });
    }

    /// A watch tells: late, in order, and only while it lives.
    pub(super) fn say(&mut self, pods: bool, event: Event) {
        if self.api_up {
            let at = (self.now + self.rng.range(1, 900)).max(self.stream_at[usize::from(pods)] + 1);
            self.stream_at[usize::from(pods)] = at;
            self.after(
                at - self.now,
                Happens::Deliver { stream: Some(self.stream), epoch: None, event: Box::new(event) },
            );
        }
    }
}
