//! Marea in a world: the daemon's own decision core, unchanged, told of what happens there as its watches would tell
//! it, and its actions done at once and without fault.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use super::governor::Governor;
use super::meter;
use super::trace::Trace;
use super::world::{News, World};
use crate::autoscaler::{Action, Core, Event, What, next_wakeup, step};
use crate::model::machine::Power;
use crate::model::node::{Node, Shape};
use crate::model::pod::{Phase, Pod, PodId};

/// The core, its state, and what it has yet to be told.
#[derive(Debug)]
pub(super) struct Marea {
    state: Core,
    start: i64,
    untold: VecDeque<Event>,
    /// By machine: the number of the action that shuts it down.
    going: BTreeMap<usize, u64>,
    hosts: BTreeMap<String, usize>,
    /// By machine: its Node object.
    nodes: BTreeMap<usize, Node>,
    /// Whose the pods that are there are.
    pods: BTreeMap<PodId, usize>,
    /// How many boots there were.
    boots: u64,
    wakes: Option<i64>,
}

impl Marea {
    pub(super) fn new(trace: &Trace) -> Self {
        Self {
            state: Core::default(),
            start: trace.start.as_millisecond(),
            untold: VecDeque::new(),
            going: BTreeMap::new(),
            hosts: BTreeMap::new(),
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            boots: 0,
            wakes: None,
        }
    }

    fn time(&self, ms: i64) -> Timestamp {
        Timestamp::from_millisecond(self.start.saturating_add(ms)).unwrap_or(Timestamp::MAX)
    }

    /// Tells all there is to tell, and does what the core answers.
    fn tell(&mut self, world: &mut World<'_>) {
        let now = self.time(world.now());
        while let Some(event) = self.untold.pop_front() {
            for action in step(&mut self.state, now, event) {
                self.act(world, action);
            }
        }
        let wakes = next_wakeup(&self.state).map(|at| at.as_millisecond().saturating_sub(self.start));
        self.wakes = wakes;
    }

    fn act(&mut self, world: &mut World<'_>, action: Action) {
        let Some(host) = self.hosts.get(&action.machine).copied() else { return };
        match action.what {
            What::Observe => {
                let power = match world.power(host) {
                    meter::Power::Off => Power::Off,
                    meter::Power::Booting | meter::Power::On | meter::Power::Stopping => Power::On,
                };
                self.untold.push_back(Event::PowerSeen { machine: action.machine.clone(), power });
            }
            What::PowerOn | What::PowerCycle => world.power_on(host),
            What::Cordon => self.cordon(world, host, true),
            What::Uncordon => self.cordon(world, host, false),
            What::Shun => self.shun(world, host, true),
            What::Unshun => self.shun(world, host, false),
            What::Drain { pods } => {
                for job in pods.iter().filter_map(|pod| self.pods.get(pod)).copied().collect::<Vec<_>>() {
                    world.evict(job);
                }
            }
            What::PowerOff { .. } => {
                world.power_off(host);
                if world.power(host) == meter::Power::Stopping {
                    // It is done once the machine is off.
                    self.going.insert(host, action.id);
                    return;
                }
            }
            What::DeleteNode { .. } => {
                self.nodes.remove(&host);
                self.untold.push_back(Event::NodeGone { name: action.machine.clone() });
            }
        }
        self.done(action.id, action.machine);
    }

    fn done(&mut self, action: u64, machine: String) {
        self.untold.push_back(Event::Done { action, machine, error: None });
    }

    fn cordon(&mut self, world: &mut World<'_>, host: usize, cordon: bool) {
        world.cordon(host, cordon);
        if let Some(node) = self.nodes.get_mut(&host) {
            (node.cordoned, node.cordoned_by_us) = (cordon, cordon);
            self.untold.push_back(Event::NodeApplied { node: node.clone() });
        }
    }

    /// Marks a node as one to avoid.
    fn shun(&mut self, world: &mut World<'_>, host: usize, shunned: bool) {
        world.shun(host, shunned);
        if let Some(node) = self.nodes.get_mut(&host) {
            node.shunned = shunned;
            self.untold.push_back(Event::NodeApplied { node: node.clone() });
        }
    }

    /// A machine's kubelet has reported: its node is Ready.
    fn up(&mut self, world: &World<'_>, host: usize) -> Node {
        self.boots += 1;
        let (machine, now) = (world.machine(host), self.time(world.now()));
        let node = Node {
            name: machine.name.clone(),
            uid: format!("node-{}", self.boots),
            created: now,
            ready: true,
            heartbeat: Some(now),
            boot_id: Some(format!("boot-{}", self.boots)),
            cordoned: world.is_cordoned(host),
            cordoned_by_us: world.is_cordoned(host),
            shape: Shape { seen: true, ..machine.shape.clone() },
            ..Node::default()
        };
        self.nodes.insert(host, node.clone());
        node
    }

    /// The pod that a job has now, as the API server shows it.
    fn pod(&mut self, world: &World<'_>, job: usize, host: Option<usize>) -> Pod {
        let (mut pod, turn) = (world.job(job).pod.clone(), world.turn(job));
        pod.id = id(world, job, turn);
        pod.uid = pod.id.name.clone();
        pod.created = self.time(world.since(job));
        pod.unschedulable = host.is_none();
        pod.node = host.map(|host| world.machine(host).name.clone());
        pod.phase = if host.is_some() { Phase::Running } else { Phase::Pending };
        self.pods.insert(pod.id.clone(), job);
        pod
    }
}

/// The name of a job's pod.
fn id(world: &World<'_>, job: usize, turn: u32) -> PodId {
    let mut id = world.job(job).pod.id.clone();
    if turn > 0 {
        id.name = format!("{}-again-{turn}", id.name);
    }
    id
}

impl Governor for Marea {
    fn begin(&mut self, world: &mut World<'_>) {
        let rack = world.rack();
        self.hosts = rack.machines.iter().enumerate().map(|(host, one)| (one.name.clone(), host)).collect();
        let mut policy = rack.policy.clone();
        policy.queues.clear();
        self.untold.push_back(Event::Started { machines: rack.machines.clone(), policy });
        self.untold.push_back(Event::PodsListed { pods: Vec::new() });
        let on = (0..world.hosts()).filter(|host| world.power(*host) == meter::Power::On).collect::<Vec<_>>();
        let nodes = on.into_iter().map(|host| self.up(world, host)).collect();
        self.untold.push_back(Event::NodesListed { nodes });
        self.tell(world);
    }

    fn hear(&mut self, world: &mut World<'_>, news: &[News]) {
        for one in news {
            let event = match *one {
                News::Waits { job } => Event::PodApplied { pod: self.pod(world, job, None) },
                News::Bound { job, host } => Event::PodApplied { pod: self.pod(world, job, Some(host)) },
                News::Gone { job, turn } => {
                    let id = id(world, job, turn);
                    self.pods.remove(&id);
                    Event::PodGone { id }
                }
                News::Up { host } => Event::NodeApplied { node: self.up(world, host) },
                News::Down { host } => {
                    let Some(action) = self.going.remove(&host) else { continue };
                    Event::Done { action, machine: world.machine(host).name.clone(), error: None }
                }
            };
            self.untold.push_back(event);
        }
        self.tell(world);
    }

    fn wakes(&self) -> Option<i64> {
        self.wakes
    }

    fn wake(&mut self, world: &mut World<'_>) {
        self.untold.push_back(Event::Tick);
        self.tell(world);
    }
}
