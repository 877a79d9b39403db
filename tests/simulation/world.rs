//! A world: the truth that the core never sees. What is really on, what the API server really holds, and
//! a queue of what happens next, faults included. It does what the core says, late, wrongly or never.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use marea::autoscaler::policy::{Bounds, Policy, Rule};
use marea::autoscaler::{Action, Event, Request, State, What, next_wakeup, step};
use marea::model::machine::{Machine, Power, Role};
use marea::model::node::{Effect, Node, Shape, Taint};
use marea::model::pod::{Operator, Owner, Phase, Pod, PodId, Requirement, Term};
use marea::model::resources::Resources;

use crate::planted::Planted;
use crate::rng::Rng;

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
enum Happens {
    /// An event reaches the core, unless its watch or its daemon is gone.
    Deliver { stream: Option<u64>, epoch: Option<u64>, event: Box<Event> },
    /// A list reaches the core, as the API server then has it.
    List { stream: u64, pods: bool },
    /// What an action does is done.
    Take { epoch: u64, action: Box<Action> },
    Booted { machine: String, boot: u64 },
    Dies { machine: String, boot: u64 },
    NotReady { machine: String, boot: u64 },
    Evict { machine: String, boot: u64 },
    Schedule,
    Arrive,
    Finish { id: PodId, uid: String },
    /// A finished pod's object goes.
    Clear { id: PodId },
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
}

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
    api_up: bool,
    calm: bool,
    /// Something changed since the scheduler last looked.
    stirred: bool,
    stream: u64,
    stream_at: [i64; 2],
    epoch: u64,
    pub(crate) state: State,
    pub(crate) told: Told,
    pub(crate) under_way: BTreeMap<String, u64>,
    pub(crate) journal: Vec<(Timestamp, Event)>,
    pub(crate) said: Vec<String>,
    pub(crate) planted: Planted,
    /// When the core wants to be woken.
    wake: Option<i64>,
    pub(crate) steps: usize,
    pub(crate) finished: usize,
    pub(crate) boots: usize,
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
            api_up: true,
            calm: false,
            stirred: false,
            stream: 0,
            stream_at: [start; 2],
            epoch: 0,
            state: State::default(),
            told: Told::default(),
            under_way: BTreeMap::new(),
            journal: Vec::new(),
            said: Vec::new(),
            planted,
            wake: None,
            steps: 0,
            finished: 0,
            boots: 0,
        };
        world.real.insert("front".into(), Real { on: true, kubelet: true, boot: 0, on_since: start, lemon: false });
        world.register("front");
        // Some workers are on already: the daemon finds them.
        for name in world.workers() {
            if world.rng.percent(20) {
                world.power_on(&name);
            }
        }
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
        self.machines.iter().filter(|machine| machine.role == Role::Worker).map(|machine| machine.name.clone()).collect()
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
        self.feed(Event::Started { machines: self.machines.clone(), policy: self.policy.clone() })?;
        self.relist();
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
        if std::env::var("SIM_TRACE").is_ok() {
            eprintln!("{} {} -> {}", time(self.now), serde_json::to_string(&self.journal.last().unwrap().1).unwrap().chars().take(200).collect::<String>(), self.said.last().unwrap());
        }
        self.wake = next_wakeup(&self.state).map(Timestamp::as_millisecond);
        if self.wake.is_some_and(|wake| wake <= self.now) {
            return Err("the core asks to be woken in the past".into());
        }
        for action in actions {
            crate::check::action(self, &action)?;
            self.under_way.insert(action.machine.clone(), action.id);
            let delay = match action.what {
                What::PowerOff { .. } => self.rng.range(500, 20_000),
                What::PowerOn => self.rng.range(100, 8_000),
                What::Drain { .. } => self.rng.range(1_000, 40_000),
                What::Observe | What::Cordon | What::Uncordon | What::DeleteNode { .. } => self.rng.range(5, 900),
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
            Event::Done { machine, .. } => drop(self.under_way.remove(&machine)),
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
            Event::Started { .. } | Event::Tick | Event::PowerSeen { .. } | Event::PowerUnseen { .. } => {}
        }
    }

    fn happen(&mut self, happens: Happens) -> Result<(), String> {
        match happens {
            Happens::Deliver { stream, epoch, event } => {
                let current = stream.is_none_or(|stream| stream == self.stream) && epoch.is_none_or(|epoch| epoch == self.epoch);
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
                if self.real[&machine].boot == boot {
                    for mut pod in self.on_node(&machine) {
                        pod.deleting = true;
                        self.put_pod(pod);
                    }
                }
            }
            Happens::Schedule => self.schedule(),
            Happens::Arrive => self.arrive(),
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
        let request = *self.rng.pick(&[Request::PowerOn, Request::PowerOff, Request::PowerOff, Request::Enable, Request::Disable]);
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

    /// Does what an action says; answers unless the daemon is gone.
    fn take(&mut self, action: &Action, answer: bool) {
        let machine = action.machine.clone();
        let fault = !self.calm && self.rng.percent(6);
        let mut seen = None;
        let error = match &action.what {
            What::Observe => {
                seen = Some(if fault {
                    Event::PowerUnseen { machine: machine.clone(), reason: "no answer".into() }
                } else {
                    let power = if self.real[&machine].on { Power::On } else { Power::Off };
                    Event::PowerSeen { machine: machine.clone(), power }
                });
                fault.then(|| "no answer".to_owned())
            }
            What::PowerOn => {
                // An error may come although it worked.
                if !fault || self.rng.percent(30) {
                    self.power_on(&machine);
                }
                fault.then(|| "timed out".to_owned())
            }
            What::PowerOff { .. } => {
                if !fault || self.rng.percent(30) {
                    self.cut(&machine);
                }
                fault.then(|| "timed out".to_owned())
            }
            _ if !self.api_up || fault => Some("the API server does not answer".to_owned()),
            What::Cordon | What::Uncordon => {
                let cordon = action.what == What::Cordon;
                match self.nodes.get(&machine).cloned() {
                    None => Some("no such node".to_owned()),
                    Some(mut node) => {
                        (node.cordoned, node.cordoned_by_us) = (cordon, cordon);
                        self.put_node(node);
                        None
                    }
                }
            }
            What::Drain { pods } => {
                for id in pods {
                    if self.pods.get(id).is_some_and(|pod| pod.node.as_deref() == Some(&machine)) {
                        self.remove_pod(id, true);
                    }
                }
                None
            }
            What::DeleteNode { uid } => match self.nodes.get(&machine) {
                Some(node) if node.uid != *uid => Some("another UID".to_owned()),
                Some(_) => {
                    self.unregister(&machine);
                    None
                }
                None => None,
            },
        };
        if answer {
            let done = Event::Done { action: action.id, machine, error };
            for event in seen.into_iter().chain([done]) {
                self.after(1, Happens::Deliver { stream: None, epoch: Some(self.epoch), event: Box::new(event) });
            }
        }
    }

    fn power_on(&mut self, machine: &str) {
        let boot_timeout = self.policy.boot_timeout_ms;
        let (slow, never, dies) = (self.rng.percent(8), self.rng.percent(6), self.rng.percent(8));
        let real = self.real.get_mut(machine).unwrap();
        if real.on {
            return;
        }
        self.boots += 1;
        real.on = true;
        real.on_since = self.now;
        real.boot += 1;
        let (boot, lemon) = (real.boot, real.lemon);
        let machine = machine.to_owned();
        if !lemon && (!never || self.calm) {
            let delay = if slow && !self.calm { boot_timeout + self.rng.range(-60, 60) * SECOND } else { self.rng.range(5, 80) * SECOND };
            self.after(delay, Happens::Booted { machine: machine.clone(), boot });
        }
        if dies {
            let delay = self.rng.range(1, 1200) * SECOND;
            self.after(delay, Happens::Dies { machine, boot });
        }
    }

    /// The power goes, for whatever reason.
    fn cut(&mut self, machine: &str) {
        let real = self.real.get_mut(machine).unwrap();
        if !real.on {
            return;
        }
        (real.on, real.kubelet) = (false, false);
        real.boot += 1;
        let boot = real.boot;
        self.after(40 * SECOND, Happens::NotReady { machine: machine.to_owned(), boot });
    }

    fn booted(&mut self, machine: &str, boot: u64) {
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

    fn not_ready(&mut self, machine: &str, boot: u64) {
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
    fn catch_up(&mut self) {
        for name in self.workers() {
            if !self.real[&name].kubelet && self.nodes.get(&name).is_some_and(|node| node.ready) {
                let boot = self.real[&name].boot;
                self.after(10 * SECOND, Happens::NotReady { machine: name, boot });
            }
        }
    }

    /// The kubelet reports: its node is there and Ready, and its DaemonSet's pod comes.
    fn register(&mut self, machine: &str) {
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
            cordoned: false,
            cordoned_by_us: false,
            shape: Shape { seen: true, ..shape },
        });
        node.ready = true;
        node.heartbeat = Some(now);
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
            fields: vec![Requirement { key: "metadata.name".into(), operator: Operator::In, values: vec![machine.into()] }],
        }]);
        self.put_pod(pod);
    }

    fn unregister(&mut self, machine: &str) {
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
            pod.node.as_deref() == Some(machine) && pod.phase != Phase::Succeeded && !matches!(pod.owner, Owner::DaemonSet(_))
        };
        self.pods.values().filter(live).cloned().collect()
    }

    fn pod(&mut self, id: PodId, cpu: u64, memory: u64) -> Pod {
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
            not_judged: vec![],
        }
    }

    fn arrive(&mut self) {
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
            let duration = self.rng.range(5, 600) * SECOND;
            self.durations.insert(pod.uid.clone(), duration);
            self.put_pod(pod);
        }
        let next = if self.rng.percent(30) { self.rng.range(10, 30) * MINUTE } else { self.rng.range(1, 240) * SECOND };
        self.after(next, Happens::Arrive);
    }

    /// A pod goes; its controller makes another when there is still work to do.
    fn remove_pod(&mut self, id: &PodId, again: bool) {
        let Some(pod) = self.pods.remove(id) else { return };
        self.stir();
        self.say(true, Event::PodGone { id: id.clone() });
        if again && pod.phase != Phase::Succeeded {
            let new = PodId { namespace: "work".into(), name: format!("job-{}", self.sequence) };
            let mut fresh = self.pod(new, pod.requests.cpu_milli, pod.requests.memory);
            fresh.node_selector = pod.node_selector;
            let duration = self.durations.get(&pod.uid).copied().unwrap_or(MINUTE);
            self.durations.insert(fresh.uid.clone(), duration);
            self.put_pod(fresh);
        }
    }

    fn finish(&mut self, id: &PodId, uid: &str) {
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
    fn stir(&mut self) {
        if !std::mem::replace(&mut self.stirred, true) {
            self.after(SECOND, Happens::Schedule);
        }
    }

    /// The scheduler: binds what fits a Ready node that takes pods, anywhere it fits; marks the rest.
    fn schedule(&mut self) {
        self.stirred = false;
        if !self.api_up {
            self.stir();
            return;
        }
        let waiting: Vec<Pod> = self.pods.values().filter(|pod| pod.node.is_none() && pod.phase == Phase::Pending).cloned().collect();
        let takes = self.nodes.values().filter(|node| node.ready && !node.cordoned).cloned();
        let mut nodes: Vec<(Node, Vec<Pod>)> = takes.map(|node| (node.clone(), self.on_node(&node.name))).collect();
        for mut pod in waiting {
            let fitting = nodes.iter().enumerate().filter(|(_, (node, on_it))| crate::check::fits(&pod, node.name == "front", &node.shape, on_it.iter()));
            let fits: Vec<usize> = fitting.map(|(index, _)| index).collect();
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

    fn put_pod(&mut self, pod: Pod) {
        self.stir();
        self.pods.insert(pod.id.clone(), pod.clone());
        self.say(true, Event::PodApplied { pod });
    }

    fn put_node(&mut self, node: Node) {
        self.stir();
        self.nodes.insert(node.name.clone(), node.clone());
        self.say(false, Event::NodeApplied { node });
    }

    /// A watch tells: late, in order, and only while it lives.
    fn say(&mut self, pods: bool, event: Event) {
        if self.api_up {
            let at = (self.now + self.rng.range(1, 900)).max(self.stream_at[usize::from(pods)] + 1);
            self.stream_at[usize::from(pods)] = at;
            self.after(at - self.now, Happens::Deliver { stream: Some(self.stream), epoch: None, event: Box::new(event) });
        }
    }
}

fn shape(rng: &mut Rng, pool: &str, front: bool) -> Shape {
    let (cpu, memory) = *rng.pick(&[(2000, 4 * GIB), (4000, 8 * GIB), (8000, 32 * GIB)]);
    Shape {
        allocatable: Resources { cpu_milli: cpu, memory, pods: 20, ..Resources::default() },
        labels: BTreeMap::from([("pool".into(), pool.into())]),
        taints: if front {
            vec![Taint { key: "node-role.kubernetes.io/control-plane".into(), value: String::new(), effect: Effect::NoSchedule }]
        } else {
            vec![]
        },
        seen: false,
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
