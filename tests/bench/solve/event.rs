//! The decision core in a large cluster: 15,000 machines, 300,000 pods. What one event costs, what deciding from
//! nothing costs, and the memory of it. Through `step`, as the daemon calls it, with the wakeup that it asks for.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use marea::autoscaler::{Action, Core, Event, Policy, What, next_wakeup, step};
use marea::model::machine::{Machine, Power, Role};
use marea::model::node::Node;
use marea::model::pod::{Phase, Pod};

use super::super::Figure;
use super::mix;

/// Machines, of which the last ones are off.
const MACHINES: usize = 15_000;
const OFF: usize = 1_000;
/// Pods on nodes: each belongs to one of as many services as there are hundreds of them.
const PODS: usize = 300_000;
/// Rounds that are measured: in each a pod comes that must have a machine woken.
const ROUNDS: usize = 100;

struct Cluster {
    state: Core,
    now: Timestamp,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
fn timed<T>(run: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let value = run();
    (start.elapsed().as_secs_f64() * 1e3, value)
}

fn machine(number: usize) -> Machine {
    Machine {
        name: mix::name(number),
        pool: format!("pool-{}", number % 8),
        role: Role::Worker,
        address: "192.0.2.1".into(),
        port: 22,
        user: "root".into(),
        pod_cidr: "10.244.0.0/24".into(),
        shape: mix::machine(number),
    }
}

fn node(number: usize, now: Timestamp) -> Node {
    Node {
        name: mix::name(number),
        uid: format!("node-{number}"),
        created: now,
        ready: true,
        heartbeat: Some(now),
        boot_id: None,
        cordoned: false,
        cordoned_by_us: false,
        shape: mix::machine(number),
        ..Node::default()
    }
}

/// A pod of a service, with the constraints of the mix.
fn pod(number: usize, like: &[Pod]) -> Pod {
    let service = number / 100;
    let mut pod = like[service % like.len()].clone();
    let base = mix::pod(number, pod.requests.cpu_milli, pod.requests.memory);
    (pod.id, pod.uid) = (base.id, base.uid);
    // Services do not look at each other's pods.
    pod.id.namespace = format!("ns-{}", service % 50);
    pod.labels.insert("service".into(), format!("s-{service}"));
    for term in pod.pod_anti_affinity.iter_mut().chain(&mut pod.pod_affinity) {
        term.namespaces = vec![pod.id.namespace.clone()];
        for requirement in term.selector.iter_mut().flat_map(|selector| &mut selector.requirements) {
            (requirement.key, requirement.values) = ("service".into(), vec![format!("s-{service}")]);
        }
    }
    for selector in pod.spread.iter_mut().filter_map(|rule| rule.selector.as_mut()) {
        for requirement in &mut selector.requirements {
            (requirement.key, requirement.values) = ("service".into(), vec![format!("s-{service}")]);
        }
    }
    pod
}

impl Cluster {
    fn send(&mut self, event: Event) -> Vec<Action> {
        self.now += SignedDuration::from_millis(1);
        let actions = step(&mut self.state, self.now, event);
        std::hint::black_box(next_wakeup(&self.state));
        actions
    }

    fn done(&mut self, actions: Vec<Action>) {
        for action in actions {
            if action.what == What::Observe {
                let number: usize = action.machine[1..].parse().unwrap();
                let power = if number < MACHINES - OFF { Power::On } else { Power::Off };
                self.send(Event::PowerSeen { machine: action.machine.clone(), power });
            }
            self.send(Event::Done { action: action.id, machine: action.machine, error: None });
        }
    }

    fn made() -> Self {
        let now = Timestamp::from_second(1_767_571_200).unwrap();
        let mut cluster = Self { state: Core::default(), now };
        let machines = (0..MACHINES).map(machine).collect();
        let actions = cluster.send(Event::Started { machines, policy: Policy::default() });
        cluster.done(actions);
        let on = MACHINES - OFF;
        cluster.send(Event::NodesListed { nodes: (0..on).map(|number| node(number, now)).collect() });
        let like = mix::diverse(500);
        // Anti-affinity by host is heeded: pods of a service lie on nodes one after another.
        let bound = |number: usize| Pod {
            node: Some(mix::name((number / 100 * 100 + number % 100 * 7) % on)),
            phase: Phase::Running,
            unschedulable: false,
            ..small(pod(number, &like))
        };
        cluster.send(Event::PodsListed { pods: (0..PODS).map(bound).collect() });
        // Long after all of them came up.
        cluster.now += SignedDuration::from_secs(1000);
        cluster.send(Event::Tick);
        cluster
    }
}

/// What is on nodes asks for little: what comes must have a machine woken because it asks for much.
fn small(mut pod: Pod) -> Pod {
    pod.requests.cpu_milli = 10;
    pod.requests.memory = 10 << 20;
    pod
}

fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// The longest step while the cluster is looked through for machines that are superfluous.
fn looks(cluster: &mut Cluster) -> f64 {
    cluster.now += SignedDuration::from_hours(2);
    cluster.send(Event::Tick);
    cluster.state.policy.consolidation.pools = (0..8).map(|number| format!("pool-{number}")).collect();
    let until = cluster.now + SignedDuration::from_secs(30);
    let mut longest: f64 = 0.0;
    while cluster.now < until {
        let (took, _) = timed(|| cluster.send(Event::Tick));
        longest = longest.max(took);
        cluster.now = next_wakeup(&cluster.state).unwrap_or(until).max(cluster.now);
    }
    let leaving = cluster.state.machines.values().filter(|tracked| tracked.leaving.is_some()).count();
    assert!(leaving > 0, "nobody is superfluous: {:?}", cluster.state.look);
    longest
}

pub(crate) fn figures() -> Vec<Figure> {
    let mut cluster = Cluster::made();
    let like = mix::diverse(500);
    // One more pod of a service that is there; it asks for a whole machine's cores, so that one must be woken.
    let large = |number: usize| {
        let mut pod = pod(number * 100, &like);
        pod.id.name = format!("large-{number}");
        pod.requests.cpu_milli = 63_900;
        pod
    };
    let (mut times, mut woken) = (Vec::new(), 0);
    for number in 0..ROUNDS {
        cluster.now += SignedDuration::from_secs(30);
        let (came, _) = timed(|| cluster.send(Event::PodApplied { pod: large(number) }));
        cluster.now += SignedDuration::from_millis(1000);
        let (decided, actions) = timed(|| cluster.send(Event::Tick));
        woken += actions.iter().filter(|action| action.what == What::PowerOn).count();
        times.extend([came, decided]);
        // It is on, and the pod is on it.
        for action in actions {
            let id: usize = action.machine[1..].parse().unwrap();
            cluster.send(Event::Done { action: action.id, machine: action.machine.clone(), error: None });
            let (now, name) = (cluster.now, action.machine);
            let (ready, _) = timed(|| cluster.send(Event::NodeApplied { node: node(id, now) }));
            let placed = Pod { node: Some(name), unschedulable: false, phase: Phase::Running, ..large(number) };
            let (bound, _) = timed(|| cluster.send(Event::PodApplied { pod: placed }));
            times.extend([ready, bound]);
        }
    }
    assert_eq!(woken, ROUNDS, "each pod wakes a machine");
    times.sort_by(f64::total_cmp);
    let resident = resident();
    // As after a restart, when nothing is kept: one more pod, and the decision about it.
    let mut scratch = f64::MAX;
    for round in 0..3 {
        let mut state = cluster.state.clone();
        let now = cluster.now + SignedDuration::from_secs(60);
        let event = Event::PodApplied { pod: large(ROUNDS + round) };
        let (took, actions) = timed(|| {
            step(&mut state, now, event);
            step(&mut state, now + SignedDuration::from_secs(2), Event::Tick)
        });
        assert!(actions.iter().any(|action| action.what == What::PowerOn));
        scratch = scratch.min(took);
    }
    let looks = looks(&mut cluster);
    vec![
        Figure {
            name: "solve/event",
            value: times[times.len() / 2],
            unit: "ms",
            peer: None,
            how: "15,000 machines, 1,000 of them off, 300,000 pods of 3,000 services by the mix: median of what one event takes with its decision: a pod that must have a machine woken, the decision to wake it, its node, its pod placed",
        },
        Figure {
            name: "solve/event-worst",
            value: times[times.len() - 1],
            unit: "ms",
            peer: None,
            how: "the longest of these 400 events",
        },
        Figure {
            name: "solve/scratch",
            value: scratch,
            unit: "ms",
            peer: None,
            how: "the same cluster after a restart, nothing kept: a pod comes, and the decision to wake a machine for it; best of 3",
        },
        Figure {
            name: "solve/look",
            value: looks,
            unit: "ms",
            peer: None,
            how: "the same cluster, all pools consolidated: the longest step of the first half minute in which it is looked for superfluous machines",
        },
        Figure { name: "solve/memory", value: resident, unit: "MiB", peer: None, how: "resident with all of that" },
    ]
}
