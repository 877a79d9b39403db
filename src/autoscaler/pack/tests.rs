//! The greedy search against the exact one, on seeded instances small enough for both.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::model::node::Shape;
use crate::model::pod::{Owner, Phase, PodId};
use crate::model::resources::Resources;

fn next(seed: &mut u64) -> u64 {
    // An LCG will do: the instances need only differ.
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

fn pod(name: u64, cpu: u64, memory: u64, zone: Option<&str>) -> Pod {
    Pod {
        id: PodId { namespace: "ns".into(), name: name.to_string() },
        uid: String::new(),
        created: Timestamp::UNIX_EPOCH,
        phase: Phase::Pending,
        node: None,
        unschedulable: true,
        gated: false,
        deleting: false,
        owner: Owner::Bare,
        requests: Resources { cpu_milli: cpu, memory, pods: 1, ..Resources::default() },
        node_selector: zone.map(|zone| ("zone".into(), zone.into())).into_iter().collect(),
        affinity: None,
        tolerations: vec![],
        host_ports: vec![],
        priority: 0,
        ..Pod::default()
    }
}

#[test]
fn greedy_is_close_to_exact_and_keeps_the_limits() {
    let (mut seed, mut worse, mut machines) = (7, 0, 0);
    for round in 0..300 {
        let shapes: Vec<Shape> = (0..2 + next(&mut seed) % 7)
            .map(|_| Shape {
                allocatable: Resources {
                    cpu_milli: 1000 << (next(&mut seed) % 4),
                    memory: 1 << (30 + next(&mut seed) % 4),
                    pods: 12,
                    ..Resources::default()
                },
                labels: BTreeMap::from([(
                    "zone".into(),
                    if next(&mut seed).is_multiple_of(2) { "x" } else { "y" }.into(),
                )]),
                ..Shape::default()
            })
            .collect();
        let names: Vec<String> = (0..shapes.len()).map(|index| index.to_string()).collect();
        let candidates: Vec<Candidate<'_>> = shapes
            .iter()
            .zip(&names)
            .map(|(shape, name)| Candidate {
                place: Place::empty(name, shape),
                pool: if shape.allocatable.cpu_milli > 2000 { "big" } else { "small" },
                shaky: next(&mut seed).is_multiple_of(5),
            })
            .collect();
        let pods: Vec<Pod> = (0..=next(&mut seed) % 10)
            .map(|name| {
                pod(
                    name,
                    100 * (1 + next(&mut seed) % 30),
                    (1 + next(&mut seed) % 20) << 27,
                    match next(&mut seed) % 4 {
                        0 => Some("x"),
                        1 => Some("y"),
                        _ => None,
                    },
                )
            })
            .collect();
        let mut pods: Vec<&Pod> = pods.iter().collect();
        pods.sort_by_key(|pod| std::cmp::Reverse(size(pod)));
        let mut limits = Limits::default();
        if round % 3 == 0 {
            limits.total = Some(2);
            limits.pools.insert("big".into(), 1);
        }
        let allows =
            |pod: &&Pod| candidates.iter().map(|one| first_failing_static(pod, &one.place).is_none()).collect();
        let problem = Problem {
            pods: &pods,
            candidates: &candidates,
            allows: pods.iter().map(allows).collect(),
            limits: &limits,
        };
        let all = problem.ordered((0..candidates.len()).collect());
        let (exact, greedy) = (problem.exact(&all), problem.greedy(&all));
        for set in [&exact, &greedy, &choose(&pods, &candidates, &limits, |_, _| false)] {
            assert!(problem.allowed(set), "round {round}: {set:?} breaks a limit");
        }
        if limits.total.is_none() {
            assert_eq!(problem.placed(&exact), problem.placed(&all), "round {round}: what can be placed is placed");
            assert!(problem.placed(&greedy) + 1 >= problem.placed(&exact), "round {round}");
        }
        // No set of fewer machines does as well: leaving any one out places less.
        for index in &exact {
            let without: Vec<usize> = exact.iter().copied().filter(|other| other != index).collect();
            assert!(problem.placed(&without) < problem.placed(&exact), "round {round}: {index} is of no use");
        }
        worse += usize::from(greedy.len() > exact.len());
        machines += exact.len();
    }
    assert!(machines > 300, "the instances are not trivial");
    assert!(worse < 30, "greedy takes more machines in {worse} of 300");
}

#[test]
fn shaky_machines_only_where_they_are_needed() {
    let shape = Shape {
        allocatable: Resources { cpu_milli: 1000, memory: 1 << 30, pods: 9, ..Resources::default() },
        ..Shape::default()
    };
    let big = Shape { allocatable: Resources { cpu_milli: 2000, ..shape.allocatable.clone() }, ..Shape::default() };
    let candidates = [
        Candidate { place: Place::empty("a", &shape), pool: "w", shaky: true },
        Candidate { place: Place::empty("b", &big), pool: "w", shaky: false },
    ];
    let (one, two) = (pod(1, 900, 1, None), pod(2, 1900, 1, None));
    assert_eq!(choose(&[&one], &candidates, &Limits::default(), |_, _| false), [1], "though a is cheaper");
    assert_eq!(choose(&[&two, &one], &candidates, &Limits::default(), |_, _| false), [0, 1]);
    assert_eq!(choose(&[&one], &candidates, &Limits::default(), |_, name| name == "b"), [0], "b was refused");
}
