//! The way down, by direct calls.

use super::*;
use crate::autoscaler::policy::Paid;

#[test]
fn an_idle_machine_goes_off_step_by_step() {
    let mut rig = Rig::new(&[("a", 2000)], quick());
    rig.up("a");
    assert_eq!(rig.wait(59_999), []);
    assert_eq!(rig.wait(1), [("a".into(), What::Cordon)]);
    assert_eq!(rig.done("a", None), []);
    assert_eq!(rig.wait(10_000), [], "not before its cordon is seen");
    assert_eq!(rig.show_cordon("a", true), [off("a", Off::Graceful)]);
    let delete = ("a".to_owned(), What::DeleteNode { uid: "uid-a".into() });
    assert_eq!(rig.wait(50_000), [], "its node stays until it is seen off");
    assert_eq!(rig.done("a", None), [delete]);
    rig.done("a", None);
    assert_eq!(rig.phase("a"), "off");
}

#[test]
fn what_does_and_does_not_hold_a_machine_on() {
    for (resident, holds) in [
        (bound("p", 1, "a"), true),
        (Pod { deleting: true, ..bound("p", 1, "a") }, true),
        (Pod { owner: Owner::Bare, ..bound("p", 1, "a") }, true),
        (Pod { owner: Owner::DaemonSet("d".into()), ..bound("p", 1, "a") }, false),
        (Pod { owner: Owner::Mirror, ..bound("p", 1, "a") }, false),
        (Pod { phase: pod::Phase::Succeeded, ..bound("p", 1, "a") }, false),
        (bound("p", 1, "front"), false),
    ] {
        let mut rig = Rig::new(&[("a", 2000)], quick());
        rig.up("a");
        rig.apply(resident.clone());
        assert_eq!(rig.wait(120_000).is_empty(), holds, "{resident:?}");
    }
}

#[test]
fn it_turns_back_for_a_pod() {
    for late in [bound("p", 1, "a"), pod("p", 500)] {
        let mut rig = Rig::new(&[("a", 2000), ("b", 2000)], quick());
        rig.up("a");
        rig.wait(60_000);
        rig.done("a", None);
        let mut seen = rig.apply(late);
        seen.extend(rig.wait(5_000));
        assert_eq!(seen, [("a".into(), What::Uncordon)], "and nothing else is woken");
        rig.done("a", None);
        assert_eq!(rig.phase("a"), "on");
    }
}

#[test]
fn nothing_goes_off_without_fresh_lists() {
    let mut rig = Rig::new(&[("a", 2000)], quick());
    rig.up("a");
    rig.send(Event::WatchLost { reason: "no route".into() });
    assert_eq!(rig.wait(3_600_000), []);
    assert_eq!(rig.state.frozen(), Some("no route"));
    let node = rig.state.nodes["a"].clone();
    assert_eq!(rig.send(Event::NodesListed { nodes: vec![node] }), [], "one list is not enough");
    assert_eq!(rig.send(Event::PodsListed { pods: vec![] }), [("a".into(), What::Cordon)]);
    // Half way it halts too.
    rig.done("a", None);
    rig.send(Event::WatchLost { reason: "no route".into() });
    assert_eq!(rig.wait(3_600_000), []);
    assert_eq!(rig.phase("a"), "looking");
}

#[test]
fn a_pool_holds_its_minimum() {
    let mut rig = Rig::new(&[("a", 2000), ("b", 1000)], held(1));
    assert_eq!(rig.phase("b"), "powering-on", "the cheaper one");
    rig.done("b", None);
    rig.now += 1000;
    let node = rig.node("b");
    rig.send(Event::NodeApplied { node });
    assert_eq!(rig.wait(3_600_000), []);
    rig.send(Event::Asked { machine: "b".into(), request: Request::PowerOff });
    assert_eq!(rig.wait(60_000), [], "not even for a person");
    assert!(why_node(&rig.state, "b", time(rig.now)).to_string().contains("disable it first"));
}

#[test]
fn a_person_drains_a_busy_machine() {
    let mut rig = Rig::new(&[("a", 2000)], quick());
    rig.up("a");
    rig.apply(bound("p", 500, "a"));
    assert_eq!(
        rig.send(Event::Asked { machine: "a".into(), request: Request::PowerOff }),
        [("a".into(), What::Cordon)]
    );
    rig.done("a", None);
    rig.show_cordon("a", true);
    assert_eq!(rig.wait(2_000), [("a".into(), What::Drain { pods: vec![pod("p", 0).id] })]);
    rig.done("a", None);
    assert_eq!(rig.send(Event::PodGone { id: pod("p", 0).id }), [off("a", Off::Graceful)]);
}

#[test]
fn a_drain_that_does_not_end_is_given_up() {
    let mut rig = Rig::new(&[("a", 2000)], quick());
    rig.up("a");
    rig.apply(bound("p", 500, "a"));
    rig.send(Event::Asked { machine: "a".into(), request: Request::PowerOff });
    rig.done("a", None);
    rig.show_cordon("a", true);
    rig.wait(2_000);
    rig.done("a", Some("a PodDisruptionBudget holds it"));
    let mut last = Vec::new();
    for _ in 0..40 {
        last = rig.wait(30_000);
        if rig.state.machines["a"].phase == Phase::Uncordoning {
            break;
        }
        if rig.state.machines["a"].in_flight.is_some() {
            rig.done("a", Some("a PodDisruptionBudget holds it"));
        }
    }
    assert_eq!(last.last(), Some(&("a".into(), What::Uncordon)));
}

#[test]
fn a_machine_whose_time_is_paid_for_goes_just_before_its_end_and_not_before() {
    let paid = BTreeMap::from([("w".to_owned(), Paid { interval_ms: 3_600_000, before_ms: 120_000 })]);
    let mut rig = Rig::new(&[("a", 2000)], Policy { paid, ..quick() });
    let began = rig.now;
    rig.up("a");
    assert_eq!(rig.wait(600_000), [], "idle for long, and paid for");
    let text = why_node(&rig.state, "a", time(rig.now)).to_string();
    assert!(text.contains("its time is paid for: goes off in 47 min 59 s"), "{text}");
    let left = began + 3_600_000 - 120_000 - rig.now;
    assert_eq!(rig.wait(left - 1), []);
    assert_eq!(rig.wait(1), [("a".to_owned(), What::Cordon)], "to the millisecond, by its own timer");
}
