//! Machines that are emptied because their pods fit on others, by direct calls.

use super::*;
use crate::autoscaler::consolidation::{Budget, Consolidation};
use crate::autoscaler::energy::{Energy, Watts};
use crate::autoscaler::record::Record;
use crate::model::fact::{Budget as DisruptionBudget, Fact};
use crate::model::pod::Moving;
use crate::model::selector::Selector;

const MINUTE: i64 = 60_000;

fn opted() -> Policy {
    let pools = BTreeMap::from([("w".to_owned(), Watts { idle: Some(100), full: Some(200), ..Watts::default() })]);
    Policy {
        idle_timeout_ms: 10 * MINUTE,
        energy: Energy { pools, ..Energy::default() },
        consolidation: Consolidation { pools: ["w".to_owned()].into(), ..Consolidation::default() },
        ..Policy::default()
    }
}

fn service(name: &str, cpu: u64, node: &str) -> Pod {
    Pod { owner: Owner::Controller(format!("ReplicaSet/{name}")), ..bound(name, cpu, node) }
}

/// Brings a machine up whose boots take a minute and a half.
fn up(rig: &mut Rig, name: &str) {
    rig.up(name);
    rig.state.machines.get_mut(name).unwrap().record = Record::of_boots(&[90_000]);
}

/// Two machines of 2000 each that have long been on, with a pod of 500 on each.
fn pair(policy: Policy) -> Rig {
    let mut rig = Rig::new(&[("a", 2000), ("b", 2000)], policy);
    up(&mut rig, "a");
    up(&mut rig, "b");
    rig.apply(service("p", 500, "a"));
    rig.apply(service("q", 600, "b"));
    rig.apply(service("r", 600, "b"));
    rig
}

/// Lets time pass and does what is asked with nodes: shuns, cordons. Answers with what it did of the rest.
fn live(rig: &mut Rig, ms: i64) -> Vec<(String, What)> {
    let mut rest = Vec::new();
    let end = rig.now + ms;
    let begun = |one: &tracked::Tracked| one.in_flight.as_ref().map(|flight| flight.what.clone());
    let mut asked: Vec<(String, What)> = Vec::new();
    for (name, tracked) in &rig.state.machines {
        let what = begun(tracked).filter(|what| !matches!(what, What::Drain { .. } | What::PowerOff { .. }));
        asked.extend(what.map(|what| (name.clone(), what)));
    }
    while rig.now < end {
        let step = (end - rig.now).min(1_000);
        asked.extend(rig.wait(step));
        for (name, what) in std::mem::take(&mut asked) {
            match what {
                What::Shun | What::Unshun => asked.extend(rig.done(&name, None)),
                What::Cordon | What::Uncordon => {
                    asked.extend(rig.done(&name, None));
                    asked.extend(rig.show_cordon(&name, what == What::Cordon));
                }
                What::Observe
                | What::PowerOn
                | What::PowerCycle
                | What::Drain { .. }
                | What::PowerOff { .. }
                | What::DeleteNode { .. } => rest.push((name, what)),
            }
        }
    }
    rest
}

#[test]
fn a_superfluous_machine_is_shunned_emptied_and_goes_off() {
    let mut rig = pair(opted());
    // (200 W x 90 s + 100 W x 30 s) / 95 W: what its boot took has to be worth it first.
    assert_eq!(live(&mut rig, 220_000), []);
    assert!(rig.state.machines["a"].leaving.is_none());
    assert!(why_node(&rig.state, "a", time(rig.now)).to_string().contains("it came up lately"));
    assert_eq!(live(&mut rig, MINUTE), []);
    assert!(rig.state.nodes["a"].shunned && !rig.state.nodes["b"].shunned, "the one with fewer pods");
    let text = why_node(&rig.state, "a", time(rig.now)).to_string();
    assert!(text.contains("its only pod fits on other machines; emptied in"), "{text}");
    let text = why_node(&rig.state, "b", time(rig.now)).to_string();
    assert!(text.contains("would have no place"), "{text}");
    let did = live(&mut rig, 6 * MINUTE);
    assert_eq!(did, [("a".into(), What::Drain { pods: vec![pod("p", 0).id] })]);
    assert!(rig.state.machines["a"].reason.contains("its only pod fits"), "{}", rig.state.machines["a"].reason);
    // It is made again, and finds its place.
    rig.apply(Pod { created: time(rig.now), ..service("p2", 500, "b") });
    rig.send(Event::PodGone { id: pod("p", 0).id });
    assert_eq!(rig.done("a", None), [off("a", Off::Graceful)]);
    rig.done("a", None);
    let text = why_node(&rig.state, "a", time(rig.now)).to_string();
    assert!(text.contains("it was powered off because its only pod fits on other machines"), "{text}");
}

#[test]
fn a_large_fleet_is_gone_through_step_by_step() {
    let mut policy = opted();
    policy.consolidation.a_step = 1;
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut rig = Rig::new(&names.map(|name| (name, 2000)), policy);
    for name in names {
        up(&mut rig, name);
        let held = Pod { moving: Moving::Never, ..service(name, 500, name) };
        rig.apply(if name == "f" { service(name, 500, name) } else { held });
    }
    rig.apply(service("g", 100, "f"));
    // At the first look of a round four machines are passed over, a second later the one that may go is found.
    while rig.state.machines["f"].leaving.is_none() {
        assert_eq!(live(&mut rig, 1_000), []);
        assert!(rig.now < 10 * MINUTE, "{:?}", rig.state.look);
    }
    assert!(rig.now > 221_000);
    let did = live(&mut rig, 10 * MINUTE);
    assert!(matches!(&did[..], [(name, What::Drain { pods })] if name == "f" && pods.len() == 2), "{did:?}");
}

#[test]
fn without_being_asked_only_idle_machines_go() {
    let mut rig = pair(Policy { consolidation: Consolidation::default(), ..opted() });
    assert_eq!(live(&mut rig, 120 * MINUTE), []);
    assert!(rig.state.look.is_none(), "nor is time spent on it");
}

/// Makes a pod one that may not be moved.
type Bend = fn(&mut Pod);

#[test]
fn what_may_not_be_moved_holds_its_machine() {
    let closed = Fact::Budget(DisruptionBudget {
        namespace: "ns".into(),
        name: "one".into(),
        selector: Some(Selector::default()),
        allowed: 0,
    });
    let web = |rig: &Rig| rig.state.pods[&pod("p", 0).id].clone();
    let bends: [(Bend, &str); 6] = [
        (|pod| pod.moving = Moving::Never, "not to be moved"),
        (|pod| pod.owner = Owner::Bare, "nothing would make it again"),
        (|pod| pod.owner = Owner::Controller("Game/g".into()), "Game/g"),
        (|pod| pod.local = vec!["tmp".into()], "`tmp` is on the node's disk"),
        (|pod| pod.not_judged = vec!["resource claim `gpu`".into()], "resource claim"),
        (|_| {}, "PodDisruptionBudget ns/one"),
    ];
    for (bend, said) in bends {
        let mut rig = pair(opted());
        // The other machine has no room for anybody else's pods.
        let mut pod = web(&rig);
        bend(&mut pod);
        if said.contains("Budget") {
            rig.send(Event::FactsListed { facts: vec![closed.clone()] });
        }
        rig.apply(pod);
        rig.apply(service("s", 1000, "b"));
        rig.apply(service("t", 1000, "front"));
        assert_eq!(live(&mut rig, 60 * MINUTE), [], "{said}");
        let text = why_node(&rig.state, "a", time(rig.now)).to_string();
        assert!(text.contains(said), "{said}: {text}");
    }
    // A Job's pod ends by itself: its machine is shunned meanwhile, and not more.
    let mut rig = pair(opted());
    rig.apply(Pod { owner: Owner::Controller("Job/j".into()), ..bound("p", 500, "a") });
    rig.apply(Pod { owner: Owner::Controller("Job/k".into()), ..bound("q", 600, "b") });
    assert_eq!(live(&mut rig, 60 * MINUTE), []);
    assert!(rig.state.nodes["b"].shunned != rig.state.nodes["a"].shunned, "one of them is enough");
}

#[test]
fn who_keeps_a_node_on_is_heeded() {
    let mut rig = pair(opted());
    for name in ["a", "b"] {
        let node = Node { kept_by: Some("karpenter.sh/do-not-disrupt".into()), ..rig.state.nodes[name].clone() };
        rig.send(Event::NodeApplied { node });
    }
    assert_eq!(live(&mut rig, 60 * MINUTE), []);
    rig.send(Event::PodGone { id: pod("p", 0).id });
    assert_eq!(live(&mut rig, 60 * MINUTE), [], "an idle one, too");
    assert!(why_node(&rig.state, "a", time(rig.now)).to_string().contains("its node says karpenter.sh/do-not-disrupt"));
}

#[test]
fn a_budget_says_how_many_at_once_and_when() {
    let three = |budgets: Vec<Budget>| {
        let mut policy = opted();
        policy.consolidation.budgets = budgets;
        let mut rig = Rig::new(&[("a", 2000), ("b", 2000), ("c", 2000)], policy);
        for name in ["a", "b", "c"] {
            up(&mut rig, name);
            rig.apply(service(name, 500, name));
        }
        live(&mut rig, 30 * MINUTE).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let budget = |most, cron: Option<&str>| Budget {
        pool: Some("w".into()),
        most,
        cron: cron.map(str::to_owned),
        timezone: "UTC".into(),
        duration_ms: 3_600_000,
        ..Budget::default()
    };
    assert_eq!(three(vec![]), ["a"], "one, until its drain has ended");
    assert_eq!(three(vec![budget(2, None)]), ["a", "b"]);
    // The rig starts at midnight.
    assert_eq!(three(vec![budget(0, Some("0 0 * * *"))]), [] as [&str; 0]);
    assert_eq!(three(vec![budget(0, Some("0 1 * * *"))]), ["a"]);
}

#[test]
fn what_changes_meanwhile_stops_it() {
    // New pods come: it is superfluous no longer, and is welcome again.
    let mut rig = pair(opted());
    live(&mut rig, 5 * MINUTE);
    assert!(rig.state.nodes["a"].shunned);
    rig.apply(service("s", 700, "b"));
    assert_eq!(live(&mut rig, 20 * MINUTE), []);
    assert!(!rig.state.nodes["a"].shunned && rig.phase("a") == "on");
    // Once it is cordoned, it is judged before anything is evicted.
    for late in [service("s", 700, "b"), Pod { owner: Owner::Bare, ..bound("s", 1, "a") }] {
        let mut rig = pair(opted());
        while rig.phase("a") == "on" {
            assert_eq!(live(&mut rig, 1_000), []);
        }
        rig.apply(late);
        assert_eq!(live(&mut rig, MINUTE), [], "no pod of it is evicted");
        assert_eq!((rig.phase("a"), rig.state.nodes["a"].cordoned), ("on", false));
    }
}

#[test]
fn promises_and_minimums_keep_room() {
    let mut rig = pair(Policy { pools: BTreeMap::from([("w".into(), Bounds { min: 2, max: None })]), ..opted() });
    assert_eq!(live(&mut rig, 60 * MINUTE), []);
    assert!(why_node(&rig.state, "a", time(rig.now)).to_string().contains("keeps 2 on"));
    let mut rig = pair(opted());
    let unit = crate::model::queue::Unit {
        requests: Resources { cpu_milli: 1000, memory: 1 << 20, pods: 1, ..Resources::default() },
        ..Default::default()
    };
    let backlog =
        crate::model::queue::Backlog { service: "s".into(), waiting: 1, limit: Some(1), unit, ..Default::default() };
    rig.state.policy.queues.insert("q".into());
    rig.send(Event::QueueSeen { queue: "q".into(), services: vec![backlog] });
    assert_eq!(live(&mut rig, 60 * MINUTE), [], "a pod of 1000 is to come, and fits on a only");
}

#[test]
fn a_machine_idles_until_it_pays() {
    // (200 W x 90 s + 100 W x 30 s) / 95 W = 221 s.
    let mut rig = Rig::new(&[("a", 2000)], Policy { break_even: true, ..opted() });
    up(&mut rig, "a");
    assert_eq!(rig.wait(220_000), []);
    assert_eq!(rig.wait(10_000), [("a".into(), What::Cordon)]);
    let mut rig = Rig::new(&[("a", 2000)], Policy { min_on_ms: 30 * MINUTE, ..opted() });
    up(&mut rig, "a");
    assert_eq!(rig.wait(30 * MINUTE - 1), []);
    assert_eq!(rig.wait(1), [("a".into(), What::Cordon)]);
}

#[test]
fn what_is_expected_soon_keeps_a_machine() {
    // A pod comes every quarter of an hour and is gone after a minute: off after ten, on again two minutes later.
    let policy = Policy { break_even: true, ..opted() };
    let mut rig = Rig::new(&[("a", 2000)], policy);
    up(&mut rig, "a");
    for number in 0..6 {
        let came = Pod {
            owner: Owner::Controller(format!("Job/report-{number}")),
            created: time(rig.now),
            ..bound(&format!("report-{number}-x"), 500, "a")
        };
        rig.apply(came.clone());
        assert_eq!(live(&mut rig, MINUTE), []);
        rig.send(Event::PodGone { id: came.id });
        let did = live(&mut rig, 4 * MINUTE);
        if number < 3 {
            // Not a rule yet: it goes, and somebody powers it on again.
            assert_eq!(did, [off("a", Off::Graceful)], "{number}");
            rig.done("a", None);
            rig.done("a", None);
            up(&mut rig, "a");
        } else {
            assert_eq!(did, [], "{number}: the next comes in a minute");
            let text = why_node(&rig.state, "a", time(rig.now)).to_string();
            assert!(text.contains("a pod of ns/Job/report is expected in"), "{text}");
        }
        let next = i64::from(number + 1) * 5 * MINUTE + 1000;
        rig.now = rig.now.max(next);
    }
    // It does not come: what was expected lapses, and the machine goes.
    assert_eq!(live(&mut rig, 20 * MINUTE), [off("a", Off::Graceful)]);
}

#[test]
fn a_window_that_opens_soon_keeps_a_machine() {
    let rule =
        Rule { pool: "w".into(), cron: "0 1 * * *".into(), timezone: "UTC".into(), duration_ms: 600_000, min: 1 };
    let mut rig = Rig::new(&[("a", 2000)], Policy { break_even: true, schedule: vec![rule], ..opted() });
    rig.now = 54 * MINUTE;
    up(&mut rig, "a");
    assert_eq!(rig.wait(5 * MINUTE), []);
    assert!(why_node(&rig.state, "a", time(rig.now)).to_string().contains("keeps more on in"));
    assert_eq!(rig.wait(10 * MINUTE), []);
    assert_eq!(rig.wait(2 * MINUTE), [("a".into(), What::Cordon)]);
}
