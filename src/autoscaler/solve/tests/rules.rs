//! The scheduler's rules on company, written down a second time and slowly: every placement must have an
//! order in which the scheduler would agree to each.

use std::collections::BTreeMap;

use super::Rng;
use crate::autoscaler::solve::compile::{Compiled, Kin, Offer, Question, Waiter};
use crate::autoscaler::solve::order;
use crate::autoscaler::solve::sites::{Seen, Sites, Standing};
use crate::autoscaler::solve::solve;
use crate::model::fact::Facts;
use crate::model::node::{Effect, Shape, Taint};
use crate::model::pod::{HostPort, Pod, PodId, PodTerm, Spread, Toleration};
use crate::model::resources::Resources;
use crate::model::selector::{Operator, Requirement, Selector};
use crate::scheduling::{Place, first_failing_filter, first_failing_static};

const ZONE: &str = "zone";
const HOST: &str = "kubernetes.io/hostname";

fn selector(value: &str) -> Selector {
    let values = vec![value.to_owned()];
    Selector { requirements: vec![Requirement { key: "app".into(), operator: Operator::In, values }] }
}

fn shape(rng: &mut Rng, number: usize) -> Shape {
    let taint = Taint { key: "t".into(), value: String::new(), effect: Effect::NoSchedule };
    Shape {
        allocatable: Resources {
            cpu_milli: 1000 * (1 + rng.below(4)),
            memory: 4000,
            pods: 4 + rng.below(5),
            ..Resources::default()
        },
        labels: BTreeMap::from([
            (ZONE.to_owned(), format!("z{}", rng.below(3))),
            (HOST.to_owned(), format!("n{number:02}")),
        ]),
        taints: if rng.below(6) == 0 { vec![taint] } else { Vec::new() },
        ..Shape::default()
    }
}

fn pod(rng: &mut Rng, number: usize) -> Pod {
    let app = |rng: &mut Rng| format!("{}", rng.below(3));
    let key = |rng: &mut Rng| if rng.below(2) == 0 { ZONE.to_owned() } else { HOST.to_owned() };
    let term = |rng: &mut Rng, value: &str| PodTerm {
        selector: Some(selector(value)),
        namespaces: vec!["ns".into()],
        namespace_selector: None,
        topology_key: key(rng),
    };
    let mine = app(rng);
    let mut pod = Pod {
        id: PodId { namespace: "ns".into(), name: format!("p{number:03}") },
        labels: BTreeMap::from([("app".to_owned(), mine.clone())]),
        requests: Resources {
            cpu_milli: 100 * rng.below(12),
            memory: 100 * (1 + rng.below(10)),
            pods: 1,
            ..Resources::default()
        },
        ..Pod::default()
    };
    match rng.below(6) {
        0 => {
            let other = app(rng);
            pod.spread = vec![Spread {
                max_skew: 1 + u32::try_from(rng.below(2)).unwrap(),
                topology_key: key(rng),
                selector: Some(selector(if rng.below(3) == 0 { &other } else { &mine })),
                min_domains: 1 + u32::try_from(rng.below(2)).unwrap(),
                honors_affinity: rng.below(4) > 0,
                honors_taints: rng.below(3) == 0,
            }];
        }
        1 => pod.pod_affinity = vec![term(rng, &mine)],
        2 => {
            let other = app(rng);
            let whom = if rng.below(2) == 0 { &other } else { &mine };
            pod.pod_anti_affinity = vec![term(rng, whom)];
        }
        3 => pod.host_ports = vec![HostPort { ip: "0.0.0.0".into(), protocol: "TCP".into(), port: 80 }],
        4 if rng.below(2) == 0 => drop(pod.node_selector.insert(ZONE.to_owned(), format!("z{}", rng.below(3)))),
        _ => {}
    }
    if rng.below(4) == 0 {
        pod.tolerations = vec![Toleration { key: "t".into(), exists: true, value: String::new(), effect: None }];
    }
    pod
}

/// A cluster in plain words.
struct Cluster<'a> {
    nodes: Vec<(&'a str, &'a Shape, Vec<&'a Pod>)>,
}

fn selects(selector: Option<&Selector>, pod: &Pod) -> bool {
    let holds = |one: &Requirement| pod.labels.get(&one.key).is_some_and(|value| one.values.contains(value));
    selector.is_some_and(|selector| selector.requirements.iter().all(holds))
}

impl Cluster<'_> {
    fn agrees(&self, pod: &Pod, node: usize) -> bool {
        let (name, shape, on) = &self.nodes[node];
        let mut place = Place::empty(name, shape);
        for other in on {
            place.take(other);
        }
        let same = |key: &str, other: &Shape| shape.labels.get(key) == other.labels.get(key);
        let beside = |term: &PodTerm, of: &Pod, seen: &Pod| {
            term.namespaces.contains(&of.id.namespace) && selects(term.selector.as_ref(), seen)
        };
        let all = || self.nodes.iter().flat_map(|(_, shape, on)| on.iter().map(move |other| (*shape, *other)));
        let near = pod.pod_affinity.iter().all(|term| {
            all().any(|(there, other)| same(&term.topology_key, there) && beside(term, other, other))
                || (!all().any(|(_, other)| beside(term, other, other)) && beside(term, pod, pod))
        });
        let apart = !all().any(|(there, other)| {
            pod.pod_anti_affinity.iter().any(|term| same(&term.topology_key, there) && beside(term, other, other))
                || other.pod_anti_affinity.iter().any(|term| same(&term.topology_key, there) && beside(term, pod, pod))
        });
        let spread = pod.spread.iter().all(|rule| self.spreads(pod, rule, shape));
        first_failing_filter(pod, &place).is_none() && near && apart && spread
    }

    fn spreads(&self, pod: &Pod, rule: &Spread, shape: &Shape) -> bool {
        let mut domains: BTreeMap<&String, u32> = BTreeMap::new();
        for (name, shape, on) in &self.nodes {
            let mut probe = Pod {
                node_selector: pod.node_selector.clone(),
                tolerations: pod.tolerations.clone(),
                ..Pod::default()
            };
            if !rule.honors_affinity {
                probe.node_selector.clear();
            }
            let mut place = Place::empty(name, shape);
            let bare = Shape { taints: Vec::new(), ..(*shape).clone() };
            if !rule.honors_taints {
                place.shape = &bare;
            }
            if first_failing_static(&probe, &place).is_none() {
                let pods = on.iter().filter(|other| selects(rule.selector.as_ref(), other)).count();
                *domains.entry(&shape.labels[&rule.topology_key]).or_default() += u32::try_from(pods).unwrap();
            }
        }
        let least = domains.values().copied().min().unwrap_or_default();
        let least = if domains.len() < rule.min_domains as usize { 0 } else { least };
        let there = domains.get(&shape.labels[&rule.topology_key]).copied().unwrap_or_default();
        there + u32::from(selects(rule.selector.as_ref(), pod)) <= least + rule.max_skew
    }
}

#[test]
fn every_placement_has_an_order_in_which_the_scheduler_agrees() {
    let (mut placed, mut woken, mut by_rule) = (0, 0, [0; 3]);
    for seed in 0..700 {
        let mut rng = Rng(seed);
        let count = 2 + usize::try_from(rng.below(7)).unwrap();
        let shapes: Vec<Shape> = (0..count).map(|number| shape(&mut rng, number)).collect();
        let names: Vec<String> = (0..count).map(|number| format!("n{number:02}")).collect();
        let pods: Vec<Pod> =
            (0..2 + usize::try_from(rng.below(14)).unwrap()).map(|number| pod(&mut rng, number)).collect();
        let on = usize::try_from(rng.below(count as u64)).unwrap();
        // Some pods are there already, put by the rules.
        let mut cluster =
            Cluster { nodes: (0..on).map(|node| (&names[node][..], &shapes[node], Vec::new())).collect() };
        let (mut bound, mut waiting) = (Vec::new(), Vec::new());
        for (index, pod) in pods.iter().enumerate() {
            match (0..on).find(|node| index % 3 == 0 && cluster.agrees(pod, *node)) {
                Some(node) => {
                    cluster.nodes[node].2.push(pod);
                    bound.push((pod, node));
                }
                None => waiting.push(pod),
            }
        }
        let mut sites = Sites::default();
        for (node, name) in names.iter().enumerate() {
            let (mut used, mut ports) = (Resources::default(), Vec::new());
            for (pod, _) in bound.iter().filter(|(_, at)| *at == node) {
                used.add(&pod.requests);
                ports.extend(pod.host_ports.iter().cloned());
            }
            let standing = if node < on { Standing::Ready } else { Standing::Off };
            sites.set(
                name,
                Seen { shape: &shapes[node], transient: &[], cordoned: false, used: &used, ports: &ports, standing },
            );
        }
        let offer = |site| Offer {
            site,
            pool: "w",
            rack: None,
            cost: 100 + rng_cost(site),
            per_milli: 1,
            boot: 1,
            draws: 1,
            wear: 0,
        };
        let question = Question {
            waiting: order::sort(waiting, |pod: &&Pod| pod).into_iter().map(Waiter::of).collect(),
            bound: bound.iter().map(|(pod, node)| Kin::of(pod, *node)).collect(),
            offers: (on..count).map(offer).collect(),
            ..Question::default()
        };
        let compiled = Compiled::of(&question, &sites, &Facts::default());
        let found = compiled.words(solve(&compiled.problem));
        // Woken machines join; then whoever the scheduler agrees to goes first.
        let mut at: BTreeMap<usize, usize> = (0..on).map(|node| (node, node)).collect();
        for node in &found.wake {
            at.insert(*node, cluster.nodes.len());
            cluster.nodes.push((&names[*node], &shapes[*node], Vec::new()));
        }
        placed += found.places.len();
        woken += found.wake.len();
        for (index, _) in &found.places {
            let pod = question.waiting[*index].pod;
            by_rule[0] += usize::from(!pod.spread.is_empty());
            by_rule[1] += usize::from(!pod.pod_affinity.is_empty());
            by_rule[2] += usize::from(!pod.pod_anti_affinity.is_empty());
        }
        let all: Vec<(&Pod, usize)> =
            found.places.iter().map(|(index, site)| (question.waiting[*index].pod, at[site])).collect();
        let stuck = (0..50).map(|_| stuck(&cluster, &all, &mut rng)).find(Option::is_none);
        assert!(stuck.is_some(), "seed {seed}: the scheduler would not agree to {all:#?}");
    }
    println!("{placed} placements, {woken} machines woken, by spread, affinity, anti-affinity: {by_rule:?}");
    assert!(placed > 3000 && by_rule.iter().all(|count| *count > 300));
}

/// Who cannot be placed when pods go in some order, whoever the scheduler agrees to first.
fn stuck<'a>(cluster: &Cluster<'a>, all: &[(&'a Pod, usize)], rng: &mut Rng) -> Option<&'a Pod> {
    let mut cluster = Cluster { nodes: cluster.nodes.clone() };
    let mut left = all.to_vec();
    for at in (1..left.len()).rev() {
        left.swap(at, usize::try_from(rng.below(at as u64 + 1)).unwrap());
    }
    while !left.is_empty() {
        let Some(next) = left.iter().position(|(pod, node)| cluster.agrees(pod, *node)) else { return Some(left[0].0) };
        let (pod, node) = left.remove(next);
        cluster.nodes[node].2.push(pod);
    }
    None
}

fn rng_cost(site: usize) -> u64 {
    (site as u64 * 37) % 90
}
