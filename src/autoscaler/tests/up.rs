//! Which machines are woken, by direct calls: prices, limits, groups, room that the scheduler makes.

use super::*;
use crate::autoscaler::energy::{Energy, Watts};
use crate::autoscaler::record::{Record, Stage};
use crate::model::fact::{Claim, Fact, Volume};
use crate::model::pod::{ClaimUse, Group, PodTerm, Spread};
use crate::model::selector::{Operator, Requirement, Selector};

fn woken(actions: &[(String, What)]) -> Vec<&str> {
    actions.iter().filter(|(_, what)| *what == What::PowerOn).map(|(name, _)| name.as_str()).collect()
}

fn many(rig: &mut Rig, count: usize, cpu: u64) {
    for number in 0..count {
        rig.apply(pod(&format!("p{number}"), cpu));
    }
}

#[test]
fn what_a_machine_draws_decides() {
    let watts = |idle, full| Watts { idle: Some(idle), full: Some(full), ..Watts::default() };
    let machines = BTreeMap::from([("a".to_owned(), watts(200, 400)), ("b".to_owned(), watts(60, 150))]);
    let mut rig =
        Rig::new(&[("a", 2000), ("b", 4000)], Policy { energy: Energy { machines, ..Energy::default() }, ..quick() });
    rig.apply(pod("p", 500));
    assert_eq!(woken(&rig.wait(1000)), ["b"], "larger, and cheaper to run");
}

#[test]
fn of_equals_the_least_worn() {
    let mut rig = Rig::new(&[("a", 2000), ("b", 2000)], quick());
    rig.up("a");
    assert_eq!(rig.state.machines["a"].record.starts, 1);
    assert_eq!(rig.state.machines["a"].record.stages[&Stage::Ready].last_ms, [1000], "from the order until Ready");
    rig.wait(60_000);
    rig.done("a", None);
    rig.show_cordon("a", true);
    rig.wait(2_000);
    rig.done("a", None);
    rig.done("a", None);
    rig.send(Event::NodeGone { name: "a".into() });
    assert_eq!(rig.phase("a"), "off");
    // Learnt: a boots in a second. That is worth more than its wear, and b is as good but slower.
    rig.apply(pod("p", 500));
    assert_eq!(woken(&rig.wait(1000)), ["a"]);
    // As slow as the other is taken to be: now wear decides.
    let mut rig = Rig::new(&[("a", 2000), ("b", 2000)], quick());
    rig.state.machines.get_mut("a").unwrap().record.starts = 1;
    rig.apply(pod("p", 500));
    assert_eq!(woken(&rig.wait(1000)), ["b"]);
}

#[test]
fn not_too_many_in_a_minute_nor_too_many_watts() {
    let fleet = [("a", 1000), ("b", 1000), ("c", 1000)];
    let mut rig = Rig::new(&fleet, Policy { max_boots_per_minute: Some(2), ..quick() });
    many(&mut rig, 3, 900);
    assert_eq!(woken(&rig.wait(2000)), ["a", "b"]);
    assert_eq!(woken(&rig.wait(58_000)), Vec::<&str>::new());
    assert_eq!(woken(&rig.wait(2000)), ["c"], "the third a minute later");
    let watts = Watts { idle: Some(50), full: Some(100), rack: Some("r".into()), ..Watts::default() };
    let energy = Energy { pools: BTreeMap::from([("w".into(), watts)]), ..Energy::default() };
    let mut by_rack = energy.clone();
    // The front-end is of the same pool here, and draws too.
    by_rack.racks.insert("r".into(), 250);
    let mut rig = Rig::new(&fleet, Policy { energy: by_rack, ..quick() });
    many(&mut rig, 3, 900);
    assert_eq!(woken(&rig.wait(20_000)), ["a"], "its rack feeds no second one");
    let mut rig = Rig::new(&fleet, Policy { energy: Energy { max_watts: Some(350), ..energy }, ..held(3) });
    assert_eq!(rig.wait(20_000), []);
    let on = rig.state.machines.values().filter(|one| one.phase.name() == "powering-on").count();
    assert_eq!(on, 2, "a minimum keeps within the watts too");
}

#[test]
fn a_group_is_placed_whole_or_not_at_all() {
    let member = |name: &str, size| Pod { group: Some(Group { name: "ns/g".into(), size }), ..pod(name, 900) };
    let mut rig = Rig::new(&[("a", 1000), ("b", 1000)], quick());
    rig.apply(member("one", 2));
    assert_eq!(rig.wait(20_000), [], "the other has not been made yet");
    rig.apply(member("two", 2));
    assert_eq!(woken(&rig.wait(2000)), ["a", "b"]);
    let mut rig = Rig::new(&[("a", 1000), ("b", 1000)], quick());
    for name in ["one", "two", "three"] {
        rig.apply(member(name, 3));
    }
    assert_eq!(rig.wait(20_000), [], "three do not fit on two machines");
    rig.apply(pod("p", 500));
    assert_eq!(woken(&rig.wait(2000)), ["a"], "and hold nobody up");
}

#[test]
fn room_that_the_scheduler_makes_is_waited_for_but_not_for_ever() {
    let mut rig = Rig::new(&[("a", 1000), ("b", 1000)], Policy { doubt_ms: 30_000, ..quick() });
    rig.up("a");
    rig.apply(bound("victim", 900, "a"));
    let important = Pod { priority: 100, nominated: Some("a".into()), ..pod("p", 900) };
    rig.apply(important);
    assert_eq!(rig.wait(29_000), []);
    assert_eq!(woken(&rig.wait(5_000)), ["b"], "the preemption did not happen");
    // Whoever names a node for one that never preempts, nobody is evicted for it.
    let mut rig = Rig::new(&[("a", 1000), ("b", 1000)], Policy { doubt_ms: 30_000, ..quick() });
    rig.up("a");
    rig.apply(bound("victim", 900, "a"));
    rig.apply(Pod { priority: 100, nominated: Some("a".into()), never_preempts: true, ..pod("p", 900) });
    assert_eq!(woken(&rig.wait(5_000)), ["b"]);
}

#[test]
fn expendable_pods_wake_nothing() {
    let mut rig = Rig::new(&[("a", 1000)], Policy { expendable_below: Some(-10), ..quick() });
    rig.apply(Pod { priority: -11, ..pod("p", 100) });
    assert_eq!(rig.wait(20_000), []);
    rig.apply(Pod { priority: -10, ..pod("q", 100) });
    assert_eq!(woken(&rig.wait(2000)), ["a"]);
}

#[test]
fn pods_that_keep_apart_get_a_machine_each() {
    let apart = |name: &str| {
        let values = vec!["x".to_owned()];
        let selector =
            Selector { requirements: vec![Requirement { key: "app".into(), operator: Operator::In, values }] };
        Pod {
            labels: BTreeMap::from([("app".into(), "x".into())]),
            pod_anti_affinity: vec![PodTerm {
                selector: Some(selector),
                namespaces: vec!["ns".into()],
                namespace_selector: None,
                topology_key: "kubernetes.io/hostname".into(),
            }],
            ..pod(name, 100)
        }
    };
    let mut rig = Rig::new(&[("a", 4000), ("b", 4000), ("c", 4000)], quick());
    for machine in &mut rig.machines {
        machine.shape.labels.insert("kubernetes.io/hostname".into(), machine.name.clone());
    }
    rig.start(quick());
    for name in ["a", "b", "c"] {
        rig.observed(name, Power::Off);
    }
    rig.send(Event::NodesListed { nodes: vec![] });
    rig.send(Event::PodsListed { pods: vec![apart("one"), apart("two")] });
    assert_eq!(woken(&rig.wait(2000)), ["a", "b"]);
}

/// The solver does not count volumes: the scheduler's own filters do, before anything is powered on.
#[test]
fn what_the_full_filters_refuse_is_planned_anew() {
    let mut rig = Rig::new(&[("a", 4000), ("b", 8000)], quick());
    for machine in rig.state.machines.values_mut() {
        machine.machine.shape.drivers.insert("disks".into(), Some(1));
    }
    for name in ["one", "two", "three"] {
        rig.send(Event::FactApplied {
            fact: Fact::Claim(Claim {
                namespace: "ns".into(),
                name: name.into(),
                volume: Some(name.into()),
                bound: true,
                ..Claim::default()
            }),
        });
        let csi = Some(("disks".into(), name.into()));
        rig.send(Event::FactApplied { fact: Fact::Volume(Volume { name: name.into(), csi, ..Volume::default() }) });
    }
    let with = |name: &str| Pod { claims: vec![ClaimUse { claim: name.into(), ephemeral: false }], ..pod(name, 500) };
    rig.apply(with("one"));
    rig.apply(with("two"));
    rig.apply(with("three"));
    assert_eq!(woken(&rig.wait(1000)), ["a", "b"], "each takes one disk, whatever room it has besides");
    let meant: Vec<&str> = rig.state.meant.values().map(String::as_str).collect();
    assert_eq!(meant.len(), 2, "the third waits for nothing: {meant:?}");
}

/// To topology a machine that is off is not there: it is no domain that others could be too full beside.
#[test]
fn an_off_machine_is_no_domain() {
    let mut rig = Rig::new(&[("a", 4000), ("b", 4000)], quick());
    for (name, machine) in &mut rig.state.machines {
        machine.machine.shape.labels.insert("zone".into(), format!("z-{name}"));
    }
    for machine in &mut rig.machines {
        machine.shape.labels.insert("zone".into(), format!("z-{}", machine.name));
    }
    rig.up("a");
    let labels = BTreeMap::from([("app".to_owned(), "w".to_owned())]);
    let values = vec!["w".to_owned()];
    let selector = Selector { requirements: vec![Requirement { key: "app".into(), operator: Operator::In, values }] };
    let rule = Spread {
        max_skew: 1,
        topology_key: "zone".into(),
        selector: Some(selector),
        min_domains: 1,
        honors_affinity: true,
        honors_taints: false,
    };
    rig.apply(Pod { labels: labels.clone(), ..bound("old", 500, "a") });
    rig.apply(Pod { labels, spread: vec![rule], ..pod("p", 500) });
    let text = why_pod(&rig.state, &pod("p", 0).id, time(rig.now)).to_string();
    assert!(text.contains("a: on; pod ns/old is on it"), "it fits beside the other: {text}");
    assert_eq!(rig.wait(60_000), [], "the scheduler will place it on a");
}

#[test]
fn a_boot_is_expected_to_take_what_it_took_before() {
    let mut rig = Rig::new(&[("a", 4000)], quick());
    rig.state.machines.get_mut("a").unwrap().record = Record::of_boots(&[40_000, 50_000, 70_000]);
    rig.apply(pod("p", 500));
    rig.wait(1000);
    let said = |rig: &Rig| why::notice::notices(&rig.state, time(rig.now)).remove(0).text;
    assert_eq!(said(&rig), "machine a is booting, ready about 00:00:51 UTC");
    rig.wait(60_000);
    assert_eq!(said(&rig), "machine a is booting, ready about 00:01:11 UTC", "it is slow this time");
    rig.wait(60_000);
    assert_eq!(said(&rig), "machine a is booting, ready about 00:05:01 UTC", "by its deadline at the latest");
}

/// Equal machines that are off; those that are dear are of a pool that stands in for that of the others, which by size and
/// name alone would come after it.
fn chained(dear: &[&str], others: &[&str], policy: Policy) -> Rig {
    let policy = Policy { stand_ins: BTreeMap::from([("dear".to_owned(), 1)]), ..policy };
    let all: Vec<(&str, u64)> = dear.iter().chain(others).map(|name| (*name, 2000)).collect();
    let mut rig = Rig::new(&all, policy.clone());
    for one in rig.machines.iter_mut().filter(|one| dear.contains(&&*one.name)) {
        one.pool = "dear".into();
    }
    rig.start(policy);
    for (name, _) in all {
        rig.observed(name, Power::Off);
    }
    rig.send(Event::PodsListed { pods: vec![] });
    rig.send(Event::NodesListed { nodes: vec![] });
    rig
}

#[test]
fn a_pool_that_stands_in_gives_machines_once_the_other_has_none() {
    let policy = Policy { backoff_base_ms: 60_000, power_cycle: false, ..quick() };
    let mut rig = chained(&["a"], &["b"], policy);
    rig.apply(pod("p", 500));
    assert_eq!(woken(&rig.wait(1000)), ["b"]);
    // No capacity: the other pool stands in.
    let mut all = rig.done("b", Some("there is no machine of this kind left"));
    rig.observed("b", Power::Off);
    all.extend(rig.wait(20_000));
    assert_eq!(woken(&all), ["a"]);
}

#[test]
fn a_pool_whose_cloud_refuses_rests_as_a_whole_and_is_then_gone_back_to() {
    let relieved = ["w".to_owned()].into();
    let policy = Policy { relieved, backoff_base_ms: 60_000, power_cycle: false, ..quick() };
    let mut rig = chained(&["a", "b"], &["c", "d"], policy);
    rig.apply(pod("p", 1500));
    assert_eq!(woken(&rig.wait(1000)), ["c"]);
    let mut all = rig.done("c", Some("there is no machine of this kind left"));
    rig.observed("c", Power::Off);
    all.extend(rig.wait(20_000));
    assert_eq!(woken(&all), ["a"], "what c's cloud has refused it would refuse d");
    // Its rest is over: it is gone back to, to one that did not fail first.
    rig.wait(60_000);
    assert_eq!(rig.phase("c"), "off");
    rig.apply(pod("q", 1500));
    assert_eq!(woken(&rig.wait(2000)), ["d"]);
    rig.apply(pod("r", 1500));
    assert_eq!(woken(&rig.wait(2000)), ["c"], "and one that failed comes before one that stands in");
}
