//! The solver: how long it takes to decide what to wake, on the problems that other autoscalers publish and
//! on ours. From pods and nodes as the core has them to the machines to power on; nothing is prepared before.

use std::time::Instant;

use marea::autoscaler::solve;
use marea::autoscaler::solve::compile::{Compiled, Found, Kin, Most, Offer, Question, Waiter};
use marea::autoscaler::solve::drain::{Drain, Resident, drain};
use marea::autoscaler::solve::shapes::{Opened, open};
use marea::autoscaler::solve::sites::{Seen, Sites, Standing};
use marea::model::fact::Facts;
use marea::model::node::Shape;
use marea::model::pod::Pod;
use marea::model::resources::Resources;

use super::Figure;

mod event;
pub(crate) mod mix;
mod peer;
mod soft;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
fn best_of<T>(times: usize, mut run: impl FnMut() -> T) -> (f64, T) {
    let mut best: Option<(f64, T)> = None;
    for _ in 0..times {
        let start = Instant::now();
        let value = run();
        let seconds = start.elapsed().as_secs_f64();
        if best.as_ref().is_none_or(|(least, _)| seconds < *least) {
            best = Some((seconds, value));
        }
    }
    best.unwrap()
}

/// The pods in the order in which the core gives them places.
fn waiters(pods: &[Pod]) -> Vec<Waiter<'_>> {
    let waiting = pods.iter().map(|pod| Waiter { wait: 20_000, ..Waiter::of(pod) }).collect();
    solve::order::sort(waiting, |waiter: &Waiter<'_>| waiter.pod)
}

/// A fleet without bounds: only what its zones look like.
fn looks() -> (Sites, Vec<usize>) {
    let (mut sites, nothing) = (Sites::default(), Resources::default());
    for zone in 0..3 {
        let shape = mix::machine(zone * 8);
        sites.set(
            &mix::name(zone),
            Seen {
                shape: &shape,
                transient: &[],
                cordoned: false,
                used: &nothing,
                ports: &[],
                standing: Standing::Absent,
            },
        );
    }
    let looks = (0..3).map(|site| sites.site(site).shape).collect();
    (sites, looks)
}

fn karpenter(pods: &[Pod]) -> (Compiled, Opened) {
    let (sites, looks) = looks();
    let question = Question { waiting: waiters(pods), ..Question::default() };
    let mut compiled = Compiled::of(&question, &sites, &Facts::default());
    let problem = &mut compiled.problem;
    let opened = open(&mut problem.board, &problem.classes, &problem.lots, &mix::instance_types(), &looks);
    (compiled, opened)
}

fn karpenter_mix(figures: &mut Vec<Figure>) {
    for (name, cost_name, count, peer) in [
        ("solve/karpenter-mix/100", "solve/karpenter-cost/100", 100, 568.0),
        ("solve/karpenter-mix/1000", "solve/karpenter-cost/1000", 1000, 480.0),
        ("solve/karpenter-mix/10000", "solve/karpenter-cost/10000", 10_000, 356.0),
        ("solve/karpenter-mix/20000", "solve/karpenter-cost/20000", 20_000, 253.0),
    ] {
        let pods = mix::diverse(count);
        let (seconds, (compiled, opened)) = best_of(5, || karpenter(&pods));
        assert_eq!(opened.missed.iter().sum::<u32>(), 0);
        #[expect(clippy::cast_precision_loss, reason = "a figure")]
        figures.push(Figure {
            name,
            value: count as f64 / seconds,
            unit: "pods/s",
            peer: Some(peer),
            how: "a fifth each generic, zonal spread, host spread, zonal affinity, host anti-affinity; 400 shapes, machines without end; best of 5. Peer: Karpenter's own benchmark, measured on such a machine",
        });
        let theirs = peer::cost(compiled);
        #[expect(clippy::cast_precision_loss, reason = "a figure")]
        figures.push(Figure {
            name: cost_name,
            value: opened.cost as f64 / 1e6,
            unit: "price",
            peer: Some(theirs as f64 / 1e6),
            how: "what the opened machines cost by Karpenter's prices; peer: its greedy way made again by us on the same pods",
        });
    }
}

/// Sites and what is bound to them.
struct Fleet {
    sites: Sites,
    bound: Vec<Kin>,
}

fn seen<'a>(shape: &'a Shape, used: &'a Resources, standing: Standing) -> Seen<'a> {
    Seen { shape, transient: &[], cordoned: false, used, ports: &[], standing }
}

fn wake(fleet: &Fleet, pods: &[Pod], offers: Vec<Offer<'_>>) -> Found {
    let question = Question { waiting: waiters(pods), bound: fleet.bound.clone(), offers, most: Most::default() };
    let compiled = Compiled::of(&question, &fleet.sites, &Facts::default());
    compiled.words(solve::solve(&compiled.problem))
}

fn offers(sites: &Sites) -> Vec<Offer<'static>> {
    let off = (0..sites.len()).filter(|site| sites.site(*site).standing == Standing::Off);
    off.map(|site| {
        let cores = sites.site(site).free[0].div_ceil(1000);
        let idle = 30_000 + 2_500 * cores;
        Offer {
            site,
            pool: "w",
            rack: None,
            cost: idle * 3600 + idle * 120,
            per_milli: 4 * 3600,
            boot: 60,
            draws: idle * 3,
            wear: 0,
        }
    })
    .collect()
}

fn ca_up() -> Figure {
    let pods: Vec<Pod> = (0..50_000).map(|number| mix::pod(number, 200, 200)).collect();
    let shape = Shape {
        allocatable: Resources { cpu_milli: 10_000, memory: 10_000, pods: 100, ..Resources::default() },
        ..Shape::default()
    };
    let nothing = Resources::default();
    let run = || {
        let mut sites = Sites::default();
        for number in 0..10_000 {
            sites.set(&mix::name(number), seen(&shape, &nothing, Standing::Off));
        }
        let fleet = Fleet { sites, bound: Vec::new() };
        let offers = offers(&fleet.sites);
        wake(&fleet, &pods, offers)
    };
    let (seconds, found) = best_of(3, run);
    assert_eq!((found.wake.len(), found.missed.len()), (1000, 0));
    Figure {
        name: "solve/ca-up",
        value: seconds * 1e3,
        unit: "ms",
        peer: Some(9910.0),
        how: "50,000 equal pods, 50 a node, 10,000 machines off: 1,000 to wake; best of 3. Peer: Cluster Autoscaler's own RunOnceScaleUp, measured on such a machine",
    }
}

fn fleet() -> Figure {
    let nothing = Resources::default();
    let mut rng = mix::Rng(7);
    let run_up: Vec<Pod> = (0..15_000)
        .map(|number| mix::pod(1_000_000 + number, rng.pick(&[100, 250, 500]), rng.pick(&[128, 256, 512]) << 20))
        .collect();
    let pods = mix::diverse(10_000);
    let shapes: Vec<Shape> = (0..1500).map(mix::machine).collect();
    let bound: Vec<Kin> = run_up.iter().enumerate().map(|(index, pod)| Kin::of(pod, index / 30)).collect();
    let run = || {
        let mut sites = Sites::default();
        for (number, shape) in shapes.iter().enumerate() {
            let mut used = nothing.clone();
            for pod in run_up.iter().skip(number * 30).take(if number < 500 { 30 } else { 0 }) {
                used.add(&pod.requests);
            }
            sites.set(
                &mix::name(number),
                seen(shape, &used, if number < 500 { Standing::Ready } else { Standing::Off }),
            );
        }
        let fleet = Fleet { sites, bound: bound.clone() };
        let offers = offers(&fleet.sites);
        wake(&fleet, &pods, offers)
    };
    let (seconds, found) = best_of(3, run);
    eprintln!("fleet: wakes {} machines, misses {} pods", found.wake.len(), found.missed.len());
    Figure {
        name: "solve/fleet",
        value: seconds * 1e3,
        unit: "ms",
        peer: None,
        how: "1,000 machines off in 8 shapes and 3 zones, 500 nodes on with 15,000 pods, 10,000 pods of the mix above wait; best of 3",
    }
}

fn ca_down() -> Figure {
    let pods: Vec<(Pod, usize)> = (0..80_000)
        .map(|number| (Pod { node: Some(mix::name(number / 40)), ..mix::pod(number, 100, 100) }, number / 40))
        .collect();
    let shape = Shape {
        allocatable: Resources { cpu_milli: 10_000, memory: 10_000, pods: 100, ..Resources::default() },
        ..Shape::default()
    };
    let used = Resources { cpu_milli: 4000, memory: 4000, pods: 40, ..Resources::default() };
    let run = || {
        let mut sites = Sites::default();
        for number in 0..2000 {
            sites.set(&mix::name(number), seen(&shape, &used, Standing::Ready));
        }
        let residents = pods.iter().map(|(pod, site)| Resident { pod, site: *site }).collect();
        let question = Drain { residents, candidates: (0..2000).collect(), most: usize::MAX, ..Drain::default() };
        drain(&question, &sites, &Facts::default())
    };
    let (seconds, drained) = best_of(3, run);
    assert_eq!((drained.off.len(), drained.moves.len()), (1200, 48_000));
    Figure {
        name: "solve/ca-down",
        value: seconds * 1e3,
        unit: "ms",
        peer: Some(15_570.0),
        how: "2,000 nodes of 40 pods, each 1 % of a node: 1,200 nodes to drain, all 48,000 pods placed anew; best of 3. Peer: Cluster Autoscaler's own RunOnceScaleDown, measured on such a machine",
    }
}

pub(super) fn figures() -> Vec<Figure> {
    // First, so that the memory is its own.
    let mut figures = event::figures();
    karpenter_mix(&mut figures);
    figures.push(ca_up());
    figures.push(ca_down());
    figures.push(fleet());
    figures.push(soft::figure());
    figures
}
