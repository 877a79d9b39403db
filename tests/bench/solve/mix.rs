//! The mix: pods and machines of the problems that other autoscalers are measured by, and of ours. Made by
//! the same distributions from a seed of our own.

use std::collections::BTreeMap;

use jiff::Timestamp;
use marea::autoscaler::solve::board::Vector;
use marea::autoscaler::solve::shapes::Offered;
use marea::model::node::Shape;
use marea::model::pod::{Owner, Phase, Pod, PodId, PodTerm, Spread};
use marea::model::resources::Resources;
use marea::model::selector::{Operator, Requirement, Selector};

pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";
pub(crate) const HOST: &str = "kubernetes.io/hostname";

/// SplitMix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.next() % from.len() as u64).unwrap()]
    }
}

pub(crate) fn pod(name: usize, cpu_milli: u64, memory: u64) -> Pod {
    Pod {
        id: PodId { namespace: "default".into(), name: format!("pod-{name:06}") },
        uid: format!("{name}"),
        created: Timestamp::UNIX_EPOCH,
        phase: Phase::Pending,
        unschedulable: true,
        owner: Owner::Controller("ReplicaSet/r".into()),
        requests: Resources { cpu_milli, memory, pods: 1, ..Resources::default() },
        ..Pod::default()
    }
}

fn selector(key: &str, value: &str) -> Selector {
    let values = vec![value.to_owned()];
    Selector { requirements: vec![Requirement { key: key.into(), operator: Operator::In, values }] }
}

fn spread(key: &str, value: &str) -> Vec<Spread> {
    vec![Spread {
        max_skew: 1,
        topology_key: key.into(),
        selector: Some(selector("my-label", value)),
        min_domains: 1,
        honors_affinity: true,
        honors_taints: false,
    }]
}

fn term(key: &str, label: &str, value: &str) -> Vec<PodTerm> {
    vec![PodTerm {
        selector: Some(selector(label, value)),
        namespaces: vec!["default".into()],
        namespace_selector: None,
        topology_key: key.into(),
    }]
}

/// Karpenter's diverse pods: a fifth each without constraints, spread over zones, spread over hosts, near each
/// other by zone, and apart from each other by host.
pub(crate) fn diverse(count: usize) -> Vec<Pod> {
    let mut rng = Rng(42);
    let fifth = count / 5;
    let mut pods = Vec::with_capacity(count);
    for number in 0..count {
        let mut label = || rng.pick(&["a", "b", "c", "d", "e", "f", "g"]);
        let (mut labels, mut made) = (BTreeMap::new(), Pod::default());
        match (number / fifth.max(1)).min(5) {
            1 | 2 => {
                labels.insert("my-label".to_owned(), label().to_owned());
                made.spread = spread(if number / fifth == 1 { ZONE } else { HOST }, label());
            }
            3 => {
                let value = label();
                labels.insert("my-affininity".to_owned(), value.to_owned());
                made.pod_affinity = term(ZONE, "my-affininity", value);
            }
            4 => {
                labels.insert("app".to_owned(), "nginx".to_owned());
                made.pod_anti_affinity = term(HOST, "app", "nginx");
            }
            _ => drop(labels.insert("my-label".to_owned(), label().to_owned())),
        }
        let cpu = rng.pick(&[100, 250, 500, 1000, 1500]);
        let memory = rng.pick(&[100, 256, 512, 1024, 2048, 4096]) << 20;
        pods.push(Pod {
            labels,
            ..Pod {
                spread: made.spread,
                pod_affinity: made.pod_affinity,
                pod_anti_affinity: made.pod_anti_affinity,
                ..pod(number, cpu, memory)
            }
        });
    }
    pods
}

/// Karpenter's 400 instance types, by price in millionths.
pub(crate) fn instance_types() -> Vec<Offered> {
    let offered = |number: u64| {
        let (cpus, memory) = (number + 1, (2 * (number + 1)) << 30);
        let room: Vector = [cpus * 1000 - 100, memory - (10 << 20), 0, 10 * cpus];
        // 0.1 a CPU and 0.1 for 10^9 bytes.
        Offered { room, price: cpus * 100_000 + memory / 10_000 }
    };
    (0..400).map(offered).collect()
}

/// A machine of our fleet: one of 8 shapes, in one of 3 zones.
pub(crate) fn machine(number: usize) -> Shape {
    const SHAPES: [(u64, u64); 8] = [(4, 16), (8, 16), (8, 32), (16, 32), (16, 64), (32, 64), (32, 128), (64, 256)];
    let (cores, memory) = SHAPES[number % 8];
    Shape {
        allocatable: Resources {
            cpu_milli: cores * 1000 - 100,
            memory: (memory << 30) - (200 << 20),
            ephemeral: 100 << 30,
            pods: 110,
            ..Resources::default()
        },
        labels: BTreeMap::from([
            (ZONE.to_owned(), format!("z{}", number / 8 % 3)),
            (HOST.to_owned(), name(number)),
            ("shape".to_owned(), format!("s{}", number % 8)),
        ]),
        seen: true,
        ..Shape::default()
    }
}

pub(crate) fn name(number: usize) -> String {
    format!("n{number:05}")
}
