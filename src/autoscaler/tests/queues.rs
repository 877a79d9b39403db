//! What queues promise: machines wake before pods exist, stay while work is promised, and sleep after.

use super::*;
use crate::model::queue::{Backlog, Unit};

fn backlog(waiting: u64, cpu: u64) -> Backlog {
    Backlog {
        service: "thumb".into(),
        waiting,
        in_flight: Some(0),
        unit: Unit {
            labels: BTreeMap::from([("app".into(), "thumb".into())]),
            requests: Resources { cpu_milli: cpu, memory: 1 << 20, pods: 1, ..Resources::default() },
            ..Unit::default()
        },
        ..Backlog::default()
    }
}

fn policy() -> Policy {
    Policy { queues: ["q".to_owned()].into(), ..Policy::default() }
}

fn job(name: &str, cpu: u64) -> Pod {
    Pod { labels: BTreeMap::from([("app".into(), "thumb".into())]), ..pod(name, cpu) }
}

impl Rig {
    fn hears(&mut self, services: Vec<Backlog>) -> Vec<(String, What)> {
        self.send(Event::QueueSeen { queue: "q".into(), services })
    }

    fn loses(&mut self) -> Vec<(String, What)> {
        self.send(Event::QueueLost { queue: "q".into(), reason: "refused".into() })
    }
}

fn woken(actions: &[(String, What)]) -> Vec<&str> {
    actions.iter().filter(|(_, what)| *what == What::PowerOn).map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_queue_wakes_as_many_machines_as_its_work_needs_before_a_pod_exists() {
    let mut rig = Rig::new(&[("a", 1000), ("b", 1000), ("c", 1000)], policy());
    rig.hears(vec![backlog(3, 500)]);
    let actions = rig.wait(2000);
    assert_eq!(woken(&actions), ["a", "b"]);
    assert!(rig.state.machines["a"].reason.contains("queue q/thumb promises"), "{}", rig.state.machines["a"].reason);
    // What boots covers it, however often the queue is read again.
    rig.hears(vec![backlog(4, 500)]);
    assert_eq!(rig.wait(60_000), []);
    rig.hears(vec![backlog(5, 500)]);
    assert_eq!(woken(&rig.wait(2000)), ["c"]);
}

#[test]
fn pods_that_are_there_cover_it_and_the_limit_bounds_it() {
    let mut rig = Rig::new(&[("a", 1000), ("b", 1000), ("c", 1000)], policy());
    rig.up("a");
    let there = |name: &str| Pod { labels: job("", 1).labels, ..bound(name, 1000, "a") };
    rig.send(Event::PodApplied { pod: there("one") });
    rig.hears(vec![Backlog { in_flight: Some(1), limit: Some(1), ..backlog(9, 1000) }]);
    assert_eq!(rig.wait(20_000), [], "at its limit");
    rig.hears(vec![Backlog { in_flight: Some(1), limit: Some(2), ..backlog(9, 1000) }]);
    assert_eq!(woken(&rig.wait(20_000)), ["b"], "one more is within the limit");
    // The Job was made, and its pod waits: promised no longer, and booting covers it.
    rig.send(Event::PodApplied { pod: job("two", 1000) });
    assert_eq!(rig.wait(20_000), []);
}

#[test]
fn what_is_held_or_fits_no_machine_wakes_nothing() {
    let mut rig = Rig::new(&[("a", 1000)], policy());
    rig.hears(vec![Backlog { held: Some("paused".into()), ..backlog(9, 500) }]);
    assert_eq!(rig.wait(20_000), []);
    rig.hears(vec![backlog(9, 2000)]);
    assert_eq!(rig.wait(20_000), []);
    let why = why_queue(&rig.state, "q", time(rig.now)).to_string();
    assert!(why.contains("9 pods to come") && why.contains("a (off): cpu"), "{why}");
}

#[test]
fn a_machine_stays_while_work_is_promised_and_sleeps_when_the_queue_is_empty() {
    let mut rig = Rig::new(&[("a", 1000), ("b", 1000)], policy());
    rig.up("a");
    rig.up("b");
    rig.hears(vec![backlog(1, 500)]);
    // One of the two is enough; the other goes off as ever.
    let actions = rig.wait(3 * rig.state.policy.idle_timeout_ms);
    assert_eq!(actions.first(), Some(&("b".to_owned(), What::Cordon)));
    assert!(actions.iter().all(|(name, _)| name == "b"), "{actions:?}");
    let why = why_node(&rig.state, "a", time(rig.now)).to_string();
    assert!(why.contains("kept because queue q/thumb promises 1 pods"), "{why}");
    rig.hears(vec![]);
    // Its idle time counts from here.
    let of_a = |actions: Vec<(String, What)>| actions.into_iter().filter(|(name, _)| name == "a").collect::<Vec<_>>();
    let early = rig.wait(rig.state.policy.idle_timeout_ms - 1000);
    assert_eq!(of_a(early), []);
    let late = rig.wait(2000);
    assert_eq!(of_a(late), [("a".to_owned(), What::Cordon)]);
}

#[test]
fn a_machine_on_its_way_off_turns_back_for_a_promise() {
    let mut rig = Rig::new(&[("a", 1000)], policy());
    rig.up("a");
    let actions = rig.wait(rig.state.policy.idle_timeout_ms);
    assert_eq!(actions, [("a".to_owned(), What::Cordon)]);
    rig.done("a", None);
    rig.hears(vec![backlog(1, 500)]);
    assert_eq!(rig.phase("a"), "uncordoning");
    assert_eq!(woken(&rig.wait(20_000)), Vec::<&str>::new());
}

#[test]
fn a_lost_queue_keeps_what_is_on_for_it_and_wakes_nothing() {
    let mut rig = Rig::new(&[("a", 1000), ("b", 1000), ("c", 1000)], policy());
    rig.up("a");
    rig.up("b");
    rig.hears(vec![backlog(1, 1000)]);
    rig.loses();
    let actions = rig.wait(3 * rig.state.policy.idle_timeout_ms);
    assert_eq!(actions, [("b".to_owned(), What::Cordon)], "another machine is not held");
    // A pod that is there wakes as ever.
    rig.send(Event::PodApplied { pod: pod("other", 1000) });
    let actions = rig.wait(2000);
    assert_eq!((woken(&actions), rig.phase("b")), (vec![], "uncordoning"), "{actions:?}");
    // It is back, and has more.
    rig.hears(vec![backlog(2, 1000)]);
    assert_eq!(woken(&rig.wait(2000)), ["c"]);
}

#[test]
fn demand_that_was_lost_before_it_woke_anything_wakes_nothing() {
    let mut rig = Rig::new(&[("a", 1000)], policy());
    rig.hears(vec![backlog(1, 500)]);
    rig.loses();
    assert_eq!(rig.wait(60_000), []);
    assert!(why_queue(&rig.state, "q", time(rig.now)).to_string().contains("lost (refused)"));
}

#[test]
fn at_a_start_a_queue_is_lost_until_it_is_heard_of_and_one_that_is_gone_is_forgotten() {
    let mut rig = Rig::new(&[("a", 1000)], policy());
    rig.hears(vec![backlog(1, 500)]);
    rig.start(policy());
    assert!(rig.state.queues["q"].lost.is_some() && rig.state.queues["q"].services.len() == 1);
    rig.start(Policy::default());
    assert!(rig.state.queues.is_empty());
}

#[test]
fn pods_that_wait_come_before_pods_that_are_promised() {
    let mut rig = Rig::new(&[("a", 1000), ("b", 1000)], Policy { max_booting: Some(1), ..policy() });
    rig.send(Event::PodApplied { pod: pod("real", 900) });
    rig.hears(vec![backlog(1, 950)]);
    let actions = rig.wait(2000);
    assert_eq!(woken(&actions).len(), 1);
    let reason = &rig.state.machines[woken(&actions)[0]].reason;
    assert!(reason.contains("ns/real"), "{reason}");
}
