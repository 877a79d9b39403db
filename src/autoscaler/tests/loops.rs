//! No loop: each cause that is known to make an autoscaler boot machines again and again for nothing, and
//! what comes of it here. The causes are those of Karpenter's and Cluster Autoscaler's threads.

use super::*;
use crate::model::fact::{Claim, Fact, Volume};
use crate::model::node::Taint;
use crate::model::pod::{ClaimUse, Operator, Requirement, Term};

const HOUR: i64 = 3_600_000;

/// Carries out what the core asks for, promptly, while time passes, and counts the power-ons by machine.
fn live(rig: &mut Rig, ms: i64, mut comes_up: impl FnMut(&Rig, &str) -> Option<Node>) -> BTreeMap<String, u32> {
    let end = rig.now + ms;
    let mut boots = BTreeMap::new();
    loop {
        let busy = rig.state.machines.iter().find_map(|(name, one)| Some((name.clone(), one.in_flight.clone()?.what)));
        if let Some((name, what)) = busy {
            rig.now += 100;
            match what {
                What::PowerOn => {
                    *boots.entry(name.clone()).or_default() += 1;
                    rig.done(&name, None);
                    if let Some(node) = comes_up(rig, &name) {
                        rig.now += 1000;
                        rig.send(Event::NodeApplied { node });
                    }
                }
                What::Cordon | What::Uncordon => {
                    rig.done(&name, None);
                    if rig.state.nodes.contains_key(&name) {
                        rig.show_cordon(&name, what == What::Cordon);
                    }
                }
                What::Observe => {
                    let on = rig.state.nodes.contains_key(&name);
                    rig.observed(&name, if on { Power::On } else { Power::Off });
                }
                What::DeleteNode { .. } => {
                    rig.done(&name, None);
                    rig.send(Event::NodeGone { name });
                }
                What::PowerCycle | What::Shun | What::Unshun | What::Drain { .. } | What::PowerOff { .. } => {
                    drop(rig.done(&name, None));
                }
            }
            continue;
        }
        match next_wakeup(&rig.state).filter(|wake| *wake <= time(end)) {
            Some(wake) => {
                rig.now = wake.as_millisecond() - time(0).as_millisecond();
                rig.send(Event::Tick);
            }
            None => break,
        }
    }
    rig.now = end;
    boots
}

fn gpu(count: u64) -> Resources {
    Resources { extended: BTreeMap::from([("nvidia.com/gpu".into(), count)]), ..Resources::default() }
}

/// The node is smaller than was declared: it is learnt, and the pod is named as one that fits nowhere.
#[test]
fn a_node_that_is_smaller_than_its_template_is_booted_once() {
    let mut rig = Rig::new(&[("a", 4000)], quick());
    rig.apply(pod("p", 3800));
    let boots = live(&mut rig, 12 * HOUR, |rig, name| Some(Node { shape: shape(3500), ..rig.node(name) }));
    assert_eq!(boots, BTreeMap::from([("a".to_owned(), 1)]));
    assert_eq!(rig.phase("a"), "off");
    assert_eq!(unplaceable(&rig.state, time(rig.now)).len(), 1);
}

/// A DaemonSet that nobody knew of takes its part of the node: that is learnt, and counts for machines that are off.
#[test]
fn a_daemon_set_that_was_not_known_costs_one_boot() {
    let mut rig = Rig::new(&[("a", 2000), ("b", 2000)], quick());
    rig.apply(pod("p", 1800));
    assert_eq!(rig.wait(1000), [on("a")]);
    rig.done("a", None);
    rig.now += 1000;
    rig.apply(Pod { owner: Owner::DaemonSet("d".into()), ..bound("d-1", 500, "a") });
    let node = rig.node("a");
    rig.send(Event::NodeApplied { node });
    let boots = live(&mut rig, 12 * HOUR, |rig, name| Some(rig.node(name)));
    assert_eq!(boots, BTreeMap::new(), "b would be no better");
    assert_eq!(rig.phase("a"), "off");
}

/// The scheduler refuses for a reason of its own: it is believed, each time for an hour.
#[test]
fn a_pod_that_fits_and_is_never_placed_costs_no_boot_after_another() {
    let mut rig = Rig::new(&[("a", 2000), ("b", 2000)], quick());
    rig.apply(pod("p", 500));
    let boots = live(&mut rig, 6 * HOUR, |rig, name| Some(rig.node(name)));
    assert!(boots.values().all(|times| *times <= 7), "at most once an hour each: {boots:?}");
}

/// A node is Ready before its devices are: they are taken as coming, and no second machine is woken for them.
#[test]
fn a_node_that_is_ready_before_its_devices_is_waited_for() {
    let mut rig = Rig::new(&[("a", 2000), ("b", 2000)], quick());
    for name in ["a", "b"] {
        let mut machine = machine(name, 2000);
        machine.shape.allocatable.add(&gpu(1));
        rig.machines.retain(|one| one.name != name);
        rig.machines.push(machine);
    }
    rig.start(quick());
    rig.observed("a", Power::Off);
    rig.observed("b", Power::Off);
    rig.send(Event::PodsListed { pods: vec![] });
    rig.send(Event::NodesListed { nodes: vec![] });
    let mut wants = pod("p", 500);
    wants.requests.add(&gpu(1));
    rig.apply(wants);
    let bare = |rig: &Rig, name: &str| {
        let mut node = rig.node(name);
        node.shape.allocatable.extended.clear();
        Some(node)
    };
    let boots = live(&mut rig, 100_000, bare);
    assert_eq!(boots.values().sum::<u32>(), 1, "{boots:?}");
}

/// What was just woken is not put to sleep before its pod is there.
#[test]
fn a_machine_that_a_pod_was_woken_for_stays_until_it_is_placed() {
    let mut rig = Rig::new(&[("a", 2000)], Policy { idle_timeout_ms: 1000, ..Policy::default() });
    rig.apply(pod("p", 500));
    let boots = live(&mut rig, 100_000, |rig, name| Some(rig.node(name)));
    assert_eq!((boots["a"], rig.phase("a")), (1, "on"));
}

/// A preemption that the scheduler announced and that never happens does not keep the pod waiting for ever.
#[test]
fn a_nominated_pod_that_is_never_placed_gets_a_machine() {
    let mut rig = Rig::new(&[("a", 2000), ("b", 2000)], quick());
    rig.up("a");
    rig.apply(bound("old", 1800, "a"));
    rig.apply(Pod { nominated: Some("a".into()), priority: 10, ..pod("p", 1500) });
    let boots = live(&mut rig, HOUR, |rig, name| Some(rig.node(name)));
    assert_eq!(boots.keys().collect::<Vec<_>>(), ["b"], "{boots:?}");
}

/// One machine that boots without end holds up neither the sleep nor the waking of another.
#[test]
fn a_boot_without_end_blocks_no_other_machine() {
    let mut rig = Rig::new(&[("a", 2000), ("b", 2000), ("c", 8000)], quick());
    rig.up("b");
    rig.apply(pod("large", 7000));
    let boots = live(&mut rig, 200_000, |_, _| None);
    assert_eq!(boots, BTreeMap::from([("c".to_owned(), 1)]));
    assert_eq!((rig.phase("b"), rig.phase("c")), ("off", "powering-on"));
}

/// A machine that never comes up is tried less and less often.
#[test]
fn a_machine_that_never_comes_up_is_tried_ever_less_often() {
    let mut rig = Rig::new(&[("a", 2000)], quick());
    rig.apply(pod("p", 500));
    let first = live(&mut rig, 6 * HOUR, |_, _| None)["a"];
    let later = live(&mut rig, 6 * HOUR, |_, _| None).get("a").copied().unwrap_or_default();
    assert!(first <= 12 && later <= first, "{first} boots in six hours, {later} in the next six");
}

/// A pod that can only go to one machine, by name, by host name or by its volume, wakes that one and no other.
#[test]
fn what_is_pinned_to_a_machine_wakes_that_machine() {
    let requirement =
        |key: &str, value: &str| Requirement { key: key.into(), operator: Operator::In, values: vec![value.into()] };
    let by_name = Term { labels: vec![], fields: vec![requirement("metadata.name", "b")] };
    let by_host = Term { labels: vec![requirement("kubernetes.io/hostname", "b")], fields: vec![] };
    let on_disk = ClaimUse { claim: "data".into(), ephemeral: false };
    for pinned in [
        Pod { affinity: Some(vec![by_name]), ..pod("p", 500) },
        Pod { affinity: Some(vec![by_host.clone()]), ..pod("p", 500) },
        Pod { claims: vec![on_disk], ..pod("p", 500) },
    ] {
        // The others would be cheaper.
        let mut rig = Rig::new(&[("a", 1000), ("b", 8000), ("c", 1000)], quick());
        for machine in rig.state.machines.values_mut() {
            let name = machine.machine.name.clone();
            machine.machine.shape.labels.insert("kubernetes.io/hostname".into(), name);
        }
        rig.send(Event::FactApplied {
            fact: Fact::Claim(Claim {
                namespace: "ns".into(),
                name: "data".into(),
                volume: Some("pv".into()),
                bound: true,
                ..Claim::default()
            }),
        });
        let affinity = Some(vec![by_host.clone()]);
        rig.send(Event::FactApplied {
            fact: Fact::Volume(Volume { name: "pv".into(), affinity, ..Volume::default() }),
        });
        rig.apply(pinned.clone());
        assert_eq!(rig.wait(20_000), [on("b")], "{pinned:?}");
    }
}

/// A preference is none of a machine's business: `PreferNoSchedule` keeps no pod off, so nothing else is woken. That a
/// pod's own preferences are dropped where it is read holds `convert`.
#[test]
fn a_preference_wakes_nothing() {
    let mut rig = Rig::new(&[("a", 2000), ("b", 2000)], quick());
    rig.up("a");
    let mut node = rig.node("a");
    node.shape.taints =
        vec![Taint { key: "k".into(), value: String::new(), effect: crate::model::node::Effect::PreferNoSchedule }];
    rig.send(Event::NodeApplied { node });
    rig.apply(pod("p", 500));
    assert_eq!(rig.wait(60_000), [], "the scheduler will place it on a");
}
