//! Every rule of the core by direct calls: events in, actions out.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::policy::{Bounds, Policy, Rule};
use super::tracked::Phase;
use super::*;
use crate::model::machine::{Machine, Off, Power, Role};
use crate::model::node::{Node, Shape};
use crate::model::pod::{self, Owner, Pod, PodId};
use crate::model::resources::Resources;

mod consolidate;
mod down;
mod loops;
mod power;
mod queues;
mod standins;
mod up;

/// A core and a time, with workers that were seen off and fresh lists.
struct Rig {
    state: Core,
    now: i64,
    last: Vec<Action>,
    machines: Vec<Machine>,
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_767_571_200_000 + ms).unwrap()
}

fn shape(cpu: u64) -> Shape {
    Shape {
        allocatable: Resources { cpu_milli: cpu, memory: 8 << 30, pods: 10, ..Resources::default() },
        ..Shape::default()
    }
}

fn machine(name: &str, cpu: u64) -> Machine {
    Machine {
        name: name.into(),
        pool: "w".into(),
        role: if name == "front" { Role::FrontEnd } else { Role::Worker },
        address: "192.0.2.1".into(),
        port: 22,
        user: "root".into(),
        pod_cidr: "10.244.1.0/24".into(),
        shape: shape(cpu),
    }
}

fn pod(name: &str, cpu: u64) -> Pod {
    Pod {
        id: PodId { namespace: "ns".into(), name: name.into() },
        uid: name.into(),
        created: time(-3_600_000),
        phase: pod::Phase::Pending,
        node: None,
        unschedulable: true,
        gated: false,
        deleting: false,
        owner: Owner::Controller("Job/j".into()),
        requests: Resources { cpu_milli: cpu, memory: 1 << 20, pods: 1, ..Resources::default() },
        node_selector: BTreeMap::new(),
        affinity: None,
        tolerations: vec![],
        host_ports: vec![],
        priority: 0,
        ..Pod::default()
    }
}

fn bound(name: &str, cpu: u64, node: &str) -> Pod {
    Pod { node: Some(node.into()), unschedulable: false, phase: pod::Phase::Running, ..pod(name, cpu) }
}

impl Rig {
    fn new(workers: &[(&str, u64)], policy: Policy) -> Self {
        let mut machines: Vec<Machine> = workers.iter().map(|(name, cpu)| machine(name, *cpu)).collect();
        machines.push(machine("front", 100));
        let mut rig = Self { state: Core::default(), now: 0, last: vec![], machines };
        rig.start(policy);
        for (name, _) in workers {
            rig.observed(name, Power::Off);
        }
        rig.send(Event::PodsListed { pods: vec![] });
        rig.send(Event::NodesListed { nodes: vec![] });
        rig
    }

    fn start(&mut self, policy: Policy) {
        self.send(Event::Started { machines: self.machines.clone(), policy });
    }

    fn send(&mut self, event: Event) -> Vec<(String, What)> {
        self.last = step(&mut self.state, time(self.now), event);
        assert!(next_wakeup(&self.state).is_none_or(|wake| wake > time(self.now)), "a wakeup lies in the future");
        self.last.iter().map(|action| (action.machine.clone(), action.what.clone())).collect()
    }

    /// Lets time pass as the daemon would: with a tick at each wakeup. Answers with all that was done.
    fn wait(&mut self, ms: i64) -> Vec<(String, What)> {
        let end = self.now + ms;
        let mut all = Vec::new();
        while let Some(wake) = next_wakeup(&self.state).filter(|wake| *wake <= time(end)) {
            self.now = wake.as_millisecond() - time(0).as_millisecond();
            all.extend(self.send(Event::Tick));
        }
        self.now = end;
        all
    }

    fn done(&mut self, name: &str, error: Option<&str>) -> Vec<(String, What)> {
        let action = self.state.machines[name].in_flight.as_ref().unwrap().id;
        self.send(Event::Done { action, machine: name.into(), error: error.map(str::to_owned) })
    }

    fn observed(&mut self, name: &str, power: Power) -> Vec<(String, What)> {
        self.send(Event::PowerSeen { machine: name.into(), power });
        self.done(name, None)
    }

    fn node(&self, name: &str) -> Node {
        Node {
            name: name.into(),
            uid: format!("uid-{name}"),
            created: time(self.now),
            ready: true,
            heartbeat: Some(time(self.now)),
            boot_id: None,
            cordoned: false,
            cordoned_by_us: false,
            shape: self.machines.iter().find(|one| one.name == name).unwrap().shape.clone(),
            ..Node::default()
        }
    }

    /// Brings a machine up by a person's wish.
    fn up(&mut self, name: &str) {
        self.send(Event::Asked { machine: name.into(), request: Request::PowerOn });
        self.done(name, None);
        self.now += 1000;
        let node = self.node(name);
        self.send(Event::NodeApplied { node });
        assert_eq!(self.phase(name), "on");
    }

    fn phase(&self, name: &str) -> &'static str {
        self.state.machines[name].phase.name()
    }

    fn apply(&mut self, pod: Pod) -> Vec<(String, What)> {
        self.send(Event::PodApplied { pod })
    }

    /// The node as the watch shows it once it is cordoned by us.
    fn show_cordon(&mut self, name: &str, cordoned: bool) -> Vec<(String, What)> {
        let mut node = self.state.nodes[name].clone();
        (node.cordoned, node.cordoned_by_us) = (cordoned, cordoned);
        self.send(Event::NodeApplied { node })
    }
}

fn on(name: &str) -> (String, What) {
    (name.into(), What::PowerOn)
}

fn off(name: &str, how: Off) -> (String, What) {
    (name.into(), What::PowerOff { how })
}

fn quick() -> Policy {
    Policy { idle_timeout_ms: 60_000, ..Policy::default() }
}

fn held(min: u32) -> Policy {
    Policy { pools: BTreeMap::from([("w".into(), Bounds { min, max: None })]), ..quick() }
}

#[test]
fn demand_gathers_in_a_batch() {
    let mut rig = Rig::new(&[("a", 2000)], Policy::default());
    assert_eq!(rig.apply(pod("p", 500)), []);
    rig.now += 900;
    assert_eq!(rig.apply(pod("q", 500)), [], "a new pod prolongs the batch");
    assert_eq!(rig.wait(999), []);
    assert_eq!(rig.wait(1), [on("a")]);
    // A stream of pods does not put it off for ever.
    let mut rig = Rig::new(&[("a", 9000)], Policy::default());
    let mut started = Vec::new();
    for number in 0..12 {
        started.extend(rig.apply(pod(&number.to_string(), 100)));
        started.extend(rig.wait(900));
    }
    assert_eq!(started, [on("a")]);
    assert!(rig.state.machines["a"].since <= time(10_000));
}

#[test]
fn the_smallest_and_cheapest_set() {
    let fleet = [("big", 8000), ("mid", 4000), ("small", 2000), ("tiny", 1000)];
    for (pods, expected) in [
        (&[500][..], &["tiny"][..]),
        (&[1500], &["small"]),
        (&[2000, 2000], &["mid"]),
        (&[4000, 2000, 1000], &["big"]),
        (&[8000, 2000], &["big", "small"]),
        (&[4000, 4000, 1000], &["big", "tiny"]),
    ] {
        let mut rig = Rig::new(&fleet, Policy::default());
        for (number, cpu) in pods.iter().enumerate() {
            rig.apply(pod(&number.to_string(), *cpu));
        }
        let woken: Vec<String> = rig.wait(1000).into_iter().map(|(name, _)| name).collect();
        assert_eq!(woken, expected, "{pods:?}");
    }
}

#[test]
fn what_fits_nowhere_wakes_nothing_and_blocks_nothing() {
    let mut rig = Rig::new(&[("a", 2000)], Policy::default());
    rig.apply(Pod { priority: 100, ..pod("huge", 64_000) });
    assert_eq!(rig.wait(20_000), []);
    let text = why_pod(&rig.state, &pod("huge", 0).id, time(rig.now)).to_string();
    assert!(text.contains("a (off): cpu: asks for 64, 2 free of 2 (62 short)"), "{text}");
    assert_eq!(unplaceable(&rig.state, time(rig.now)).len(), 1);
    rig.apply(pod("p", 500));
    assert_eq!(rig.wait(1000), [on("a")]);
}

/// A node is Ready a moment before Kubernetes takes its taint off: its pod still has its place there.
#[test]
fn a_taint_that_goes_by_itself_wakes_no_second_machine() {
    let mut rig = Rig::new(&[("a", 2000), ("b", 2000)], Policy::default());
    rig.apply(pod("p", 1000));
    assert_eq!(rig.wait(1000), [on("a")]);
    rig.done("a", None);
    let key = "node.kubernetes.io/not-ready".to_owned();
    let taint = crate::model::node::Taint { key, value: String::new(), effect: crate::model::node::Effect::NoSchedule };
    let node = Node { transient: vec![taint], ..rig.node("a") };
    assert_eq!(rig.send(Event::NodeApplied { node }), []);
}

#[test]
fn what_is_no_demand() {
    for pod in [
        Pod { gated: true, ..pod("p", 1) },
        Pod { deleting: true, ..pod("p", 1) },
        Pod { unschedulable: false, ..pod("p", 1) },
        Pod { owner: Owner::DaemonSet("d".into()), ..pod("p", 1) },
        Pod { phase: pod::Phase::Failed, ..pod("p", 1) },
    ] {
        let mut rig = Rig::new(&[("a", 2000)], Policy::default());
        rig.apply(pod.clone());
        assert_eq!(rig.wait(20_000), [], "{pod:?}");
    }
}

#[test]
fn room_that_is_there_or_coming_is_counted() {
    let mut rig = Rig::new(&[("a", 2000), ("b", 2000)], Policy::default());
    rig.up("a");
    rig.apply(pod("p", 1500));
    assert_eq!(rig.wait(10_000), [], "the scheduler will place it on a");
    rig.apply(pod("q", 1500));
    assert_eq!(rig.wait(1000), [on("b")]);
    rig.done("b", None);
    rig.apply(pod("r", 500));
    assert_eq!(rig.wait(10_000), [], "b boots and has room for both");
}

#[test]
fn a_pod_that_the_scheduler_refuses_is_believed() {
    let mut rig = Rig::new(&[("a", 2000), ("b", 2000)], Policy { doubt_ms: 5_000, ..Policy::default() });
    rig.up("a");
    rig.apply(pod("p", 500));
    assert_eq!(rig.wait(4_000), []);
    assert_eq!(rig.wait(3_000), [on("b")]);
    rig.done("b", None);
    rig.now += 1000;
    let node = rig.node("b");
    rig.send(Event::NodeApplied { node });
    rig.wait(10_000);
    let text = why_pod(&rig.state, &pod("p", 0).id, time(rig.now)).to_string();
    assert_eq!(text.matches("the scheduler did not place it there").count(), 2, "{text}");
}

#[test]
fn daemon_sets_take_their_part_of_a_machine() {
    let mut rig = Rig::new(&[("a", 2000), ("b", 4000)], Policy::default());
    let daemon = Pod { owner: Owner::DaemonSet("d".into()), ..bound("d", 300, "front") };
    rig.apply(daemon);
    rig.apply(pod("p", 1800));
    assert_eq!(rig.wait(1000), [on("b")], "on a it would leave 1700");
}

#[test]
fn a_window_raises_the_minimum() {
    let rule =
        Rule { pool: "w".into(), cron: "0 1 * * *".into(), timezone: "UTC".into(), duration_ms: 600_000, min: 1 };
    let mut rig = Rig::new(&[("a", 2000)], Policy { schedule: vec![rule], ..quick() });
    // The rig starts at midnight.
    assert_eq!(rig.wait(3_599_000), []);
    assert_eq!(rig.wait(1_000), [on("a")]);
    rig.done("a", None);
    let node = rig.node("a");
    rig.send(Event::NodeApplied { node });
    assert_eq!(rig.wait(599_999), []);
    assert_eq!(rig.wait(1), [("a".into(), What::Cordon)]);
}

#[test]
fn a_failed_boot_is_cut_rests_and_another_is_tried() {
    let policy = Policy { backoff_base_ms: 60_000, power_cycle: false, ..Policy::default() };
    let mut rig = Rig::new(&[("a", 2000), ("b", 4000)], policy);
    rig.apply(pod("p", 500));
    assert_eq!(rig.wait(1000), [on("a")]);
    rig.done("a", None);
    assert_eq!(rig.wait(299_999), []);
    assert_eq!(rig.wait(1), [off("a", Off::Hard), on("b")]);
    rig.done("a", None);
    assert_eq!(rig.phase("a"), "failed");
    rig.done("b", Some("no answer"));
    assert_eq!(rig.observed("b", Power::Off), []);
    // Each rests by itself, and is tried again: a first, since it failed first.
    assert_eq!(rig.wait(60_000), [on("a")]);
    let rest = rig.state.machines["a"].failures;
    rig.done("a", Some("no answer"));
    rig.observed("a", Power::Off);
    let Phase::Failed { retry_at } = rig.state.machines["a"].phase else { panic!("not failed") };
    assert_eq!(retry_at, time(rig.now + 120_000), "twice as long the second time, after {rest}");
}

#[test]
fn an_old_node_is_no_proof_of_a_boot() {
    let mut rig = Rig::new(&[("a", 2000)], Policy::default());
    let stale = Node { created: time(-9000), heartbeat: Some(time(-9000)), ..rig.node("a") };
    rig.apply(pod("p", 500));
    rig.wait(1000);
    rig.done("a", None);
    rig.send(Event::NodeApplied { node: stale.clone() });
    assert_eq!(rig.phase("a"), "powering-on");
    rig.send(Event::NodeApplied { node: Node { heartbeat: Some(time(rig.now)), ..stale } });
    assert_eq!(rig.phase("a"), "on");
}

#[test]
fn a_restart_boots_nothing_twice() {
    for (done, really, expected) in
        [(true, Power::On, "powering-on"), (false, Power::On, "powering-on"), (false, Power::Off, "off")]
    {
        let mut rig = Rig::new(&[("a", 2000)], Policy::default());
        rig.apply(pod("p", 500));
        rig.wait(1000);
        if done {
            rig.done("a", None);
        }
        let text = serde_json::to_string(&rig.state).unwrap();
        rig.state = serde_json::from_str(&text).unwrap();
        rig.start(Policy::default());
        assert_eq!(rig.last.len(), 1, "it only looks");
        assert_eq!(rig.observed("a", really), []);
        assert_eq!(rig.phase("a"), expected);
        rig.send(Event::NodesListed { nodes: vec![] });
        rig.send(Event::PodsListed { pods: vec![pod("p", 500)] });
        let then = rig.wait(1000);
        assert_eq!(then.is_empty(), really == Power::On, "{then:?}");
    }
}

#[test]
fn a_power_cut_is_noticed_and_its_node_goes() {
    let mut rig = Rig::new(&[("a", 2000)], quick());
    rig.up("a");
    rig.apply(bound("p", 500, "a"));
    let sick = Node { ready: false, ..rig.state.nodes["a"].clone() };
    assert_eq!(rig.send(Event::NodeApplied { node: sick }), [("a".into(), What::Observe)]);
    assert_eq!(rig.observed("a", Power::Off), [("a".into(), What::DeleteNode { uid: "uid-a".into() })]);
    // A network cut looks the same to Kubernetes; the machine is on, and its pods may run: it stays.
    let mut rig = Rig::new(&[("a", 2000)], quick());
    rig.up("a");
    rig.apply(bound("p", 500, "a"));
    let sick = Node { ready: false, ..rig.state.nodes["a"].clone() };
    rig.send(Event::NodeApplied { node: sick });
    for _ in 0..40 {
        rig.observed("a", Power::On);
        assert!(rig.wait(30_000).iter().all(|(_, what)| *what == What::Observe));
    }
}

#[test]
fn the_front_end_and_the_disabled_are_left_alone() {
    let mut rig = Rig::new(&[("a", 2000)], held(1));
    rig.done("a", None);
    rig.now += 1000;
    let nodes = [rig.node("a"), rig.node("front")];
    for node in nodes {
        rig.send(Event::NodeApplied { node });
    }
    rig.send(Event::Asked { machine: "a".into(), request: Request::Disable });
    assert_eq!(rig.send(Event::Asked { machine: "front".into(), request: Request::PowerOff }), []);
    rig.start(quick());
    rig.observed("a", Power::On);
    let nodes = vec![rig.node("a"), rig.node("front")];
    rig.send(Event::NodesListed { nodes });
    rig.send(Event::PodsListed { pods: vec![] });
    assert_eq!(rig.wait(7_200_000), []);
    assert!(rig.state.machines["a"].disabled, "also after a restart");
    assert_eq!(rig.send(Event::Asked { machine: "a".into(), request: Request::Enable }), [("a".into(), What::Cordon)]);
}

#[test]
fn a_persons_cordon_is_respected() {
    let mut rig = Rig::new(&[("a", 2000)], quick());
    rig.up("a");
    let node = Node { cordoned: true, ..rig.state.nodes["a"].clone() };
    rig.send(Event::NodeApplied { node });
    assert_eq!(rig.wait(3_600_000), []);
    // One that is marked as ours and was left behind is taken off.
    assert_eq!(rig.show_cordon("a", true), [("a".into(), What::Uncordon)]);
}

#[test]
fn devices_that_register_late_are_remembered() {
    let mut rig = Rig::new(&[("a", 2000)], Policy::default());
    rig.state.machines.get_mut("a").unwrap().machine.shape.allocatable.extended.insert("gpu".into(), 1);
    rig.up("a");
    assert_eq!(rig.state.machines["a"].machine.shape.allocatable.extended["gpu"], 1);
    rig.now += 400_000;
    rig.send(Event::Tick);
    assert!(rig.state.machines["a"].machine.shape.allocatable.extended.is_empty(), "it has none after all");
}

#[test]
fn answers_that_are_late_or_double_change_nothing() {
    let mut rig = Rig::new(&[("a", 2000)], Policy::default());
    rig.apply(pod("p", 500));
    rig.wait(1000);
    let mut before = rig.state.clone();
    rig.send(Event::Done { action: 1, machine: "a".into(), error: Some("late".into()) });
    rig.send(Event::Done { action: 999, machine: "nobody".into(), error: None });
    before.now = rig.state.now;
    assert_eq!(rig.state, before);
}

#[test]
fn status_says_where_each_machine_is() {
    let mut rig = Rig::new(&[("a", 2000), ("b", 2000)], quick());
    rig.up("a");
    rig.apply(bound("p", 500, "a"));
    let lines = status(&rig.state, time(rig.now));
    let a = lines.iter().find(|line| line.name == "a").unwrap();
    assert_eq!((a.state.as_str(), a.pods, a.cpu_used), ("on", 1, Some(0.25)));
    assert!(a.detail.contains("pod ns/p is on it"), "{}", a.detail);
    let b = lines.iter().find(|line| line.name == "b").unwrap();
    assert_eq!((b.state.as_str(), b.cpu_used), ("off", None));
    rig.send(Event::PodGone { id: pod("p", 0).id });
    assert_eq!(status(&rig.state, time(rig.now + 10_000))[0].detail, "idle; goes off in 50 s");
}
