//! Machines that are no nodes: powered by what they say themselves, and by what queues promise them alone.

use super::*;
use crate::autoscaler::standin::namespace;
use crate::model::machine::{RUNTIME, UDOCKER};
use crate::model::node::{Effect, Taint};
use crate::model::pod::Toleration;
use crate::model::queue::{Backlog, Unit};

/// A desk that is no node, beside a worker that is one, both off.
fn rig() -> Rig {
    let policy = Policy { queues: ["q".to_owned()].into(), ..quick() };
    let mut rig = Rig::new(&[("desk", 1000), ("w", 1000)], policy.clone());
    let shape = &mut rig.machines[0].shape;
    shape.labels.insert(RUNTIME.into(), UDOCKER.into());
    shape.taints.push(Taint { key: RUNTIME.into(), value: UDOCKER.into(), effect: Effect::NoSchedule });
    rig.start(policy);
    for name in ["desk", "w"] {
        rig.observed(name, Power::Off);
    }
    relist(&mut rig);
    rig
}

/// Kubernetes' lists, which know of no stand-in.
fn relist(rig: &mut Rig) {
    rig.send(Event::PodsListed { pods: vec![] });
    rig.send(Event::NodesListed { nodes: vec![] });
}

fn toleration() -> Toleration {
    Toleration { key: RUNTIME.into(), exists: false, value: UDOCKER.into(), effect: None }
}

fn promised(waiting: u64) -> Event {
    let unit = Unit {
        labels: BTreeMap::from([("oscar_service".into(), "cow".into())]),
        requests: Resources { cpu_milli: 500, memory: 1 << 20, pods: 1, ..Resources::default() },
        node_selector: BTreeMap::from([(RUNTIME.into(), UDOCKER.into())]),
        tolerations: vec![toleration()],
        ..Unit::default()
    };
    let backlog = Backlog { service: "cow".into(), waiting, in_flight: Some(0), unit, ..Backlog::default() };
    Event::QueueSeen { queue: "q".into(), services: vec![backlog] }
}

fn run(name: &str) -> Pod {
    let id = PodId { namespace: namespace("desk"), name: name.into() };
    let labels = BTreeMap::from([("oscar_service".into(), "cow".into())]);
    Pod { id, labels, created: time(0), ..bound(name, 500, "desk") }
}

#[test]
fn only_what_a_queue_promises_it_wakes_one_and_no_pod_whatever_it_tolerates() {
    let mut rig = rig();
    rig.apply(Pod {
        tolerations: vec![Toleration { key: String::new(), exists: true, value: String::new(), effect: None }],
        ..pod("anything-goes", 500)
    });
    rig.apply(Pod {
        tolerations: vec![toleration()],
        node_selector: BTreeMap::from([(RUNTIME.into(), UDOCKER.into())]),
        ..pod("asks-for-it", 500)
    });
    assert_eq!(rig.wait(20_000), [on("w")], "the desk is no place for pods of Kubernetes");
    rig.send(promised(1));
    assert_eq!(rig.wait(2000), [on("desk")]);
}

#[test]
fn lists_of_kubernetes_leave_its_runs_and_it_goes_off_when_the_last_has_ended() {
    let mut rig = rig();
    rig.up("desk");
    rig.apply(run("cow-1"));
    relist(&mut rig);
    assert_eq!(rig.phase("desk"), "on");
    assert_eq!(rig.wait(300_000), [], "a run keeps it");
    rig.send(Event::PodGone { id: run("cow-1").id });
    assert_eq!(rig.wait(60_000), [("desk".to_owned(), What::Cordon)]);
}

#[test]
fn one_that_is_silent_is_never_cut_and_one_that_is_off_runs_nothing() {
    let mut rig = rig();
    rig.up("desk");
    rig.apply(run("cow-1"));
    let silent = |rig: &Rig| Event::NodeApplied { node: Node { ready: false, ..rig.state.nodes["desk"].clone() } };
    let event = silent(&rig);
    rig.send(event);
    // Even when its run is said to be gone: who says so may have missed another.
    rig.send(Event::PodGone { id: run("cow-1").id });
    for _ in 0..100 {
        for (name, what) in rig.wait(60_000) {
            assert_eq!((name.as_str(), &what), ("desk", &What::Observe), "nothing but looked at");
        }
        if rig.state.machines["desk"].in_flight.is_some() {
            rig.observed("desk", Power::On);
        }
    }
    // Its power went: what ran there runs no more, and its place is free again.
    rig.apply(run("cow-1"));
    rig.wait(60_000);
    rig.observed("desk", Power::Off);
    assert!(!rig.state.pods.contains_key(&run("cow-1").id));
    rig.wait(1000);
    rig.done("desk", None);
    assert_eq!(rig.phase("desk"), "off");
    rig.send(promised(2));
    assert_eq!(rig.wait(2000), [on("desk")]);
}
