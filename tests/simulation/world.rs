//! A world: the truth that the core never sees. What is really on, what the API server really holds, and
//! a queue of what happens next, faults included. It does what the core says, late, wrongly or never.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use marea::autoscaler::consolidation::Budget;
use marea::autoscaler::policy::{Bounds, Policy, Rule};
use marea::autoscaler::{Action, Core, Event, Request, What, next_wakeup, step};
use marea::model::machine::{Machine, Role};
use marea::model::node::{Effect, Node, Shape, Taint};
use marea::model::pod::{Pod, PodId};
use marea::model::queue::Backlog;
use marea::model::resources::Resources;

use crate::planted::Planted;
use crate::rng::Rng;
use queues::Tub;

mod cluster;
mod deeds;
mod queues;

pub(crate) const SECOND: i64 = 1_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
const GIB: u64 = 1 << 30;

/// A real machine.
#[derive(Debug, Clone)]
pub(crate) struct Real {
    pub(crate) on: bool,
    pub(crate) kubelet: bool,
    /// Counts power cycles, so that what was planned for an earlier boot does not happen in a later one.
    boot: u64,
    pub(crate) on_since: i64,
    /// Never comes up.
    pub(crate) lemon: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Happens {
    /// An event reaches the core, unless its watch or its daemon is gone.
    Deliver {
        stream: Option<u64>,
        epoch: Option<u64>,
        event: Box<Event>,
    },
    /// A list reaches the core, as the API server then has it.
    List {
        stream: u64,
        pods: bool,
    },
    /// What an action does is done.
    Take {
        epoch: u64,
        action: Box<Action>,
    },
    Booted {
        machine: String,
        boot: u64,
    },
    Dies {
        machine: String,
        boot: u64,
    },
    NotReady {
        machine: String,
        boot: u64,
    },
    Evict {
        machine: String,
        boot: u64,
    },
    Schedule,
    Arrive,
    /// Messages come to a queue.
    Message,
    /// Whoever takes a queue's messages takes some.
    Consume,
    /// A queue can no longer be read, or can again.
    QueueDown,
    QueueUp {
        queue: String,
    },
    Finish {
        id: PodId,
        uid: String,
    },
    /// A finished pod's object goes.
    Clear {
        id: PodId,
    },
    ApiDown,
    ApiUp,
    WatchDrops,
    Restart,
    Ask,
    Calm,
}

/// What the core was told, kept apart from what it remembers.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) pods: BTreeMap<PodId, Pod>,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) pods_fresh: bool,
    pub(crate) nodes_fresh: bool,
    pub(crate) asked_off: BTreeSet<String>,
    pub(crate) asked_on: BTreeSet<String>,
    pub(crate) disabled: BTreeSet<String>,
    /// Machines whose drain is under way although nobody asked them off.
    pub(crate) emptied: BTreeSet<String>,
    /// What the queues held, and whether they are heard of now.
    pub(crate) queues: BTreeMap<String, (Vec<Backlog>, bool)>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct World {
    rng: Rng,
    pub(crate) now: i64,
    sequence: u64,
    queue: BTreeMap<(i64, u64), Happens>,
    pub(crate) policy: Policy,
    pub(crate) machines: Vec<Machine>,
    pub(crate) real: BTreeMap<String, Real>,
    pub(crate) pods: BTreeMap<PodId, Pod>,
    durations: BTreeMap<String, i64>,
    pub(crate) nodes: BTreeMap<String, Node>,
    /// The queues.
    pub(crate) tubs: BTreeMap<String, Tub>,
    api_up: bool,
    calm: bool,
    /// Something changed since the scheduler last looked.
    stirred: bool,
    stream: u64,
    stream_at: [i64; 2],
    epoch: u64,
    pub(crate) state: Core,
    pub(crate) told: Told,
    pub(crate) under_way: BTreeMap<String, u64>,
    pub(crate) journal: Vec<(Timestamp, Event)>,
    pub(crate) said: Vec<String>,
    pub(crate) planted: Planted,
    /// When the core wants to be woken.
    wake: Option<i64>,
    /// Prints each step.
    pub(crate) traced: bool,
    pub(crate) steps: usize,
    pub(crate) finished: usize,
    pub(crate) boots: usize,
    pub(crate) drains: usize,
}

pub(crate) fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

impl World {
    pub(crate) fn new(seed: u64, planted: Planted) -> Self {
        let mut rng = Rng::new(seed);
        let mut machines = Vec::new();
        let mut real = BTreeMap::new();
        let mut policy = Policy {
            idle_timeout_ms: rng.range(60, 600) * SECOND,
            boot_timeout_ms: rng.range(120, 300) * SECOND,
            off_timeout_ms: rng.range(30, 90) * SECOND,
            drain_timeout_ms: rng.range(60, 180) * SECOND,
            backoff_base_ms: rng.range(20, 60) * SECOND,
            backoff_max_ms: rng.range(5, 15) * MINUTE,
            max_booting: if rng.percent(30) { u32::try_from(rng.range(1, 3)).ok() } else { None },
            ..Policy::default()
        };
        let front = shape(&mut rng, "front", true);
        machines.push(machine("front", "front", Role::FrontEnd, front));
        for pool in ["a", "b"] {
            let shape = shape(&mut rng, pool, false);
            let count = rng.range(1, 4);
            for number in 0..count {
                let name = format!("{pool}{number}");
                let lemon = rng.percent(8);
                machines.push(machine(&name, pool, Role::Worker, shape.clone()));
                real.insert(name, Real { on: false, kubelet: false, boot: 0, on_since: 0, lemon });
            }
            let min = u32::try_from(if rng.percent(50) { 0 } else { rng.range(0, count - 1) }).unwrap();
            policy.pools.insert(pool.into(), Bounds { min, max: None });
            if rng.percent(20) {
                policy.schedule.push(Rule {
                    pool: pool.into(),
                    cron: "*/30 * * * *".into(),
                    timezone: "UTC".into(),
                    duration_ms: 10 * MINUTE,
                    min: 1,
                });
            }
        }
        for pool in ["a", "b"] {
            if rng.percent(40) {
                policy.consolidation.pools.insert(pool.into());
                policy.consolidation.patience_ms = rng.range(20, 120) * SECOND;
                policy.consolidation.every_ms = rng.range(10, 60) * SECOND;
                policy.consolidation.a_step = usize::try_from(rng.range(1, 5)).unwrap();
                for (pool, most, percent) in [(Some(pool.to_owned()), 2, 30), (None, 1, 20), (None, 0, 10)] {
                    if rng.percent(percent) {
                        policy.consolidation.budgets.push(Budget { pool, most, ..Budget::default() });
                    }
                }
                policy.min_on_ms = policy.idle_timeout_ms;
            }
        }
        let start = 1_767_571_200_000;
        let mut world = Self {
            rng,
            now: start,
            sequence: 0,
            queue: BTreeMap::new(),
            policy,
            machines,
            real,
            pods: BTreeMap::new(),
            durations: BTreeMap::new(),
            nodes: BTreeMap::new(),
            tubs: BTreeMap::new(),
            api_up: true,
            calm: false,
            stirred: false,
            stream: 0,
            stream_at: [start; 2],
            epoch: 0,
            state: Core::default(),
            told: Told::default(),
            under_way: BTreeMap::new(),
            journal: Vec::new(),
            said: Vec::new(),
            planted,
            wake: None,
            traced: false,
            steps: 0,
            finished: 0,
            boots: 0,
            drains: 0,
        };
        world.real.insert("front".into(), Real { on: true, kubelet: true, boot: 0, on_since: start, lemon: false });
        world.register("front");
        // Some workers are on already: the daemon finds them.
        for name in world.workers() {
            if world.rng.percent(20) {
                world.power_on(&name);
            }
        }
        world.dig();
        let length = world.rng.range(15, 70) * MINUTE;
        world.after(1, Happens::Arrive);
        for fault in [Happens::ApiDown, Happens::WatchDrops, Happens::Restart, Happens::Ask] {
            let first = world.rng.range(1, 25) * MINUTE;
            world.after(first, fault);
        }
        world.after(length, Happens::Calm);
        world
    }

    pub(crate) fn workers(&self) -> Vec<String> {
        self.machines
            .iter()
            .filter(|machine| machine.role == Role::Worker)
            .map(|machine| machine.name.clone())
            .collect()
    }

    fn after(&mut self, delay: i64, happens: Happens) {
        self.sequence += 1;
        self.queue.insert((self.now + delay.max(0), self.sequence), happens);
    }

    /// Runs to the end: faults stop at some point, and then all must come to rest.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        self.start()?;
        let mut end = i64::MAX;
        loop {
            if self.steps > 30_000 {
                return Err("the core spins: too many steps".into());
            }
            let wake = self.wake;
            let next = self.queue.keys().next().map(|(at, _)| *at);
            let tick = wake.is_some_and(|wake| next.is_none_or(|next| wake <= next));
            let Some(at) = (if tick { wake } else { next }) else { break };
            if at > end {
                break;
            }
            self.now = self.now.max(at);
            if tick {
                self.feed(Event::Tick)?;
            } else if let Some((_, happens)) = self.queue.pop_first() {
                if matches!(happens, Happens::Calm) {
                    // Late in a half hour: what a window woke has gone off again.
                    end = (self.now / (30 * MINUTE) + 10) * 30 * MINUTE + 26 * MINUTE;
                }
                self.happen(happens)?;
            }
        }
        crate::check::at_rest(self)
    }

    fn start(&mut self) -> Result<(), String> {
        self.told.pods_fresh = false;
        self.told.nodes_fresh = false;
        self.told.pods.clear();
        self.told.nodes.clear();
        self.under_way.clear();
        self.told.emptied.clear();
        for heard in self.told.queues.values_mut() {
            heard.1 = false;
        }
        self.feed(Event::Started { machines: self.machines.clone(), policy: self.policy.clone() })?;
        self.relist();
        for queue in self.tubs.keys().cloned().collect::<Vec<_>>() {
            self.tell(&queue);
        }
        Ok(())
    }

    fn relist(&mut self) {
        if self.api_up {
            self.stream += 1;
            for pods in [true, false] {
                let delay = self.rng.range(20, 900);
                self.stream_at[usize::from(pods)] = self.now + delay;
                self.after(delay, Happens::List { stream: self.stream, pods });
            }
        }
    }

    /// Gives the core an event and starts what it answers.
    fn feed(&mut self, event: Event) -> Result<(), String> {
        self.steps += 1;
        self.hear(&event);
        let Some(event) = self.planted.before(&mut self.state, event) else { return Ok(()) };
        self.journal.push((time(self.now), event.clone()));
        let actions = step(&mut self.state, time(self.now), event);
        self.said.push(serde_json::to_string(&actions).unwrap());
        let actions = self.planted.after(&mut self.state, actions);
        if self.traced {
            let event = serde_json::to_string(&self.journal.last().unwrap().1).unwrap();
            println!(
                "{} {} -> {}",
                time(self.now),
                event.chars().take(200).collect::<String>(),
                self.said.last().unwrap()
            );
        }
        self.wake = next_wakeup(&self.state).map(Timestamp::as_millisecond);
        if self.wake.is_some_and(|wake| wake <= self.now) {
            return Err("the core asks to be woken in the past".into());
        }
        for action in actions {
            crate::check::action(self, &action)?;
            if let What::Drain { .. } = action.what
                && !self.told.asked_off.contains(&action.machine)
            {
                self.told.emptied.insert(action.machine.clone());
                self.drains += 1;
            }
            self.under_way.insert(action.machine.clone(), action.id);
            let delay = match action.what {
                What::PowerOff { .. } | What::PowerCycle => self.rng.range(500, 20_000),
                What::PowerOn => self.rng.range(100, 8_000),
                What::Drain { .. } => self.rng.range(1_000, 40_000),
                What::Observe | What::Cordon | What::Uncordon | What::Shun | What::Unshun | What::DeleteNode { .. } => {
                    self.rng.range(5, 900)
                }
            };
            self.after(delay, Happens::Take { epoch: self.epoch, action: Box::new(action) });
        }
        Ok(())
    }

    fn hear(&mut self, event: &Event) {
        let told = &mut self.told;
        match event.clone() {
            Event::PodsListed { pods } => {
                told.pods = pods.into_iter().map(|pod| (pod.id.clone(), pod)).collect();
                told.pods_fresh = true;
            }
            Event::NodesListed { nodes } => {
                told.nodes = nodes.into_iter().map(|node| (node.name.clone(), node)).collect();
                told.nodes_fresh = true;
            }
            Event::PodApplied { pod } => drop(told.pods.insert(pod.id.clone(), pod)),
            Event::PodGone { id } => drop(told.pods.remove(&id)),
            Event::NodeApplied { node } => drop(told.nodes.insert(node.name.clone(), node)),
            Event::NodeGone { name } => drop(told.nodes.remove(&name)),
            Event::WatchLost { .. } => (told.pods_fresh, told.nodes_fresh) = (false, false),
            Event::Done { machine, .. } => {
                told.emptied.remove(&machine);
                self.under_way.remove(&machine);
            }
            Event::Asked { machine, request } => {
                told.asked_on.remove(&machine);
                match request {
                    Request::PowerOn => {
                        told.asked_off.remove(&machine);
                        told.asked_on.insert(machine);
                    }
                    Request::PowerOff => drop(told.asked_off.insert(machine)),
                    Request::Enable => drop(told.disabled.remove(&machine)),
                    Request::Disable => {
                        told.asked_off.remove(&machine);
                        told.disabled.insert(machine);
                    }
                }
            }
            Event::QueueSeen { queue, services } => drop(told.queues.insert(queue, (services, true))),
            Event::QueueLost { queue, .. } => told.queues.entry(queue).or_default().1 = false,
            Event::FactsListed { .. }
            | Event::FactApplied { .. }
            | Event::FactGone { .. }
            | Event::Started { .. }
            | Event::Tick
            | Event::PowerSeen { .. }
            | Event::PowerUnseen { .. }
            | Event::PowerRefused { .. }
            | Event::OffUnverified { .. }
            | Event::Reached { .. }
            | Event::Drawn { .. } => {}
        }
    }

    fn happen(&mut self, happens: Happens) -> Result<(), String> {
        match happens {
            Happens::Deliver { stream, epoch, event } => {
                let current =
                    stream.is_none_or(|stream| stream == self.stream) && epoch.is_none_or(|epoch| epoch == self.epoch);
                if current {
                    let again = !self.calm && stream.is_some() && self.rng.percent(3);
                    self.feed((*event).clone())?;
                    if again {
                        self.feed(*event)?;
                    }
                }
            }
            Happens::List { stream, pods } if stream == self.stream => self.feed(if pods {
                Event::PodsListed { pods: self.pods.values().cloned().collect() }
            } else {
                Event::NodesListed { nodes: self.nodes.values().cloned().collect() }
            })?,
            Happens::List { .. } => {}
            Happens::Take { epoch, action } => {
                if epoch == self.epoch {
                    self.take(&action, true);
                }
            }
            Happens::Booted { machine, boot } => self.booted(&machine, boot),
            Happens::Dies { machine, boot } => {
                if self.real[&machine].boot == boot && self.real[&machine].on && !self.calm {
                    self.cut(&machine);
                }
            }
            Happens::NotReady { machine, boot } => self.not_ready(&machine, boot),
            Happens::Evict { machine, boot } => {
                // A node that is back in time keeps its pods.
                if self.real[&machine].boot == boot && !self.real[&machine].kubelet {
                    for mut pod in self.on_node(&machine) {
                        pod.deleting = true;
                        self.put_pod(pod);
                    }
                }
            }
            Happens::Schedule => self.schedule(),
            Happens::Arrive => self.arrive(),
            Happens::Message => self.message(),
            Happens::Consume => self.consume(),
            Happens::QueueDown => self.queue_down(),
            Happens::QueueUp { queue } => self.queue_up(&queue),
            Happens::Finish { id, uid } => self.finish(&id, &uid),
            Happens::Clear { id } => {
                if self.api_up {
                    self.remove_pod(&id, false);
                } else {
                    self.after(MINUTE, Happens::Clear { id });
                }
            }
            Happens::ApiDown => {
                if !self.calm {
                    self.api_up = false;
                    self.stream += 1;
                    let (back, next) = (self.rng.range(5, 900) * SECOND, self.rng.range(20, 90) * MINUTE);
                    self.after(back, Happens::ApiUp);
                    self.after(next, Happens::ApiDown);
                    self.feed(Event::WatchLost { reason: "no route".into() })?;
                }
            }
            Happens::ApiUp => {
                if !self.api_up {
                    self.api_up = true;
                    self.relist();
                    self.catch_up();
                }
            }
            Happens::WatchDrops => {
                if !self.calm && self.api_up {
                    self.stream += 1;
                    self.feed(Event::WatchLost { reason: "410 Gone".into() })?;
                    self.relist();
                    let next = self.rng.range(5, 40) * MINUTE;
                    self.after(next, Happens::WatchDrops);
                }
            }
            Happens::Restart => {
                if !self.calm {
                    self.restart()?;
                    let next = self.rng.range(2, 40) * MINUTE;
                    self.after(next, Happens::Restart);
                }
            }
            Happens::Ask => self.ask()?,
            Happens::Calm => {
                self.calm = true;
                for queue in self.tubs.keys().cloned().collect::<Vec<_>>() {
                    self.queue_up(&queue);
                }
                if !self.api_up {
                    self.happen(Happens::ApiUp)?;
                }
                for machine in self.workers() {
                    self.feed(Event::Asked { machine, request: Request::Enable })?;
                }
            }
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<(), String> {
        if self.calm {
            return Ok(());
        }
        let names = self.workers();
        let machine = self.rng.pick(&names).clone();
        let request = *self.rng.pick(&[
            Request::PowerOn,
            Request::PowerOff,
            Request::PowerOff,
            Request::Enable,
            Request::Disable,
        ]);
        let next = self.rng.range(3, 40) * MINUTE;
        self.after(next, Happens::Ask);
        self.feed(Event::Asked { machine, request })
    }

    /// The daemon is killed and started again. What it was doing was done, half done, or not begun.
    fn restart(&mut self) -> Result<(), String> {
        let taken: Vec<(i64, u64)> = self
            .queue
            .iter()
            .filter(|(_, happens)| matches!(happens, Happens::Take { .. }))
            .map(|(key, _)| *key)
            .collect();
        for key in taken {
            if let Some(Happens::Take { epoch, action }) = self.queue.remove(&key)
                && epoch == self.epoch
                && self.rng.percent(50)
            {
                self.take(&action, false);
            }
        }
        self.epoch += 1;
        self.stream += 1;
        let text = serde_json::to_string(&self.state).unwrap();
        self.state = serde_json::from_str(&text).unwrap();
        self.start()
    }
}

fn shape(rng: &mut Rng, pool: &str, front: bool) -> Shape {
    let (cpu, memory) = *rng.pick(&[(2000, 4 * GIB), (4000, 8 * GIB), (8000, 32 * GIB)]);
    Shape {
        allocatable: Resources { cpu_milli: cpu, memory, pods: 20, ..Resources::default() },
        labels: BTreeMap::from([("pool".into(), pool.into())]),
        taints: if front {
            vec![Taint {
                key: "node-role.kubernetes.io/control-plane".into(),
                value: String::new(),
                effect: Effect::NoSchedule,
            }]
        } else {
            vec![]
        },
        ..Shape::default()
    }
}

fn machine(name: &str, pool: &str, role: Role, shape: Shape) -> Machine {
    Machine {
        name: name.into(),
        pool: pool.into(),
        role,
        address: "192.0.2.1".into(),
        port: 22,
        user: "root".into(),
        pod_cidr: "10.244.1.0/24".into(),
        shape,
    }
}
