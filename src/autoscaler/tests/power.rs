//! Rules about power that does not obey: the ladder, witnesses that disagree, boots that are proven and learnt.

use super::*;
use crate::autoscaler::energy::{Energy, Watts};
use crate::autoscaler::record::{Rung, Stage};

fn cycle(name: &str) -> (String, What) {
    (name.into(), What::PowerCycle)
}

/// A machine that was told to boot for a pod.
fn booting(policy: Policy) -> Rig {
    let mut rig = Rig::new(&[("a", 2000)], policy);
    rig.apply(pod("p", 500));
    assert_eq!(rig.wait(1000), [on("a")]);
    rig.done("a", None);
    rig
}

#[test]
fn a_machine_that_does_not_come_up_climbs_the_ladder_and_rests_longer_each_time() {
    let policy = Policy { backoff_base_ms: 60_000, tell_after: 2, ..Policy::default() };
    let mut rig = booting(policy);
    for (round, rest) in [60_000, 120_000].into_iter().enumerate() {
        assert_eq!(rig.wait(300_000), [cycle("a")]);
        assert_eq!(rig.done("a", None), []);
        assert_eq!(rig.wait(299_999), [], "it is given a second boot's time");
        assert_eq!(rig.wait(1), [off("a", Off::Hard)]);
        rig.done("a", None);
        let Phase::Failed { retry_at } = rig.state.machines["a"].phase else { panic!("not at rest") };
        assert_eq!(retry_at.as_millisecond() - time(rig.now).as_millisecond(), rest);
        let record = &rig.state.machines["a"].record;
        assert_eq!(record.rungs[&Rung::Quarantine], round as u64 + 1);
        assert_eq!(record.needs_person, round == 1, "round {round}");
        assert_eq!(rig.wait(rest), [on("a")]);
        rig.done("a", None);
    }
    let record = rig.state.machines["a"].record.clone();
    assert_eq!((record.rungs[&Rung::Cycle], record.rungs[&Rung::Hard], record.starts), (2, 2, 5));
    assert!(status(&rig.state, time(rig.now))[0].detail.starts_with("a person must look at it"));
    // It works after all: nobody needs to look any more.
    let node = rig.node("a");
    rig.send(Event::NodeApplied { node });
    assert!(!rig.state.machines["a"].record.needs_person);
}

#[test]
fn a_cycle_that_cannot_be_done_is_not_tried_for_ever() {
    let mut rig = booting(Policy::default());
    assert_eq!(rig.wait(300_000), [cycle("a")]);
    rig.done("a", Some("it cannot be cycled"));
    let all = rig.wait(300_000);
    assert_eq!(all, [off("a", Off::Hard)]);
}

#[test]
fn on_is_believed_by_another_boot_and_not_by_a_sign_of_life_alone() {
    let mut rig = booting(Policy::default());
    let first = Node { boot_id: Some("one".into()), ..rig.node("a") };
    rig.send(Event::NodeApplied { node: first.clone() });
    assert_eq!(rig.phase("a"), "on");
    // It is powered off by the daemon and on again; its clock runs ahead, and its old node still looks alive.
    rig.state.pods.clear();
    let off_at = rig.wait(700_000);
    assert_eq!(off_at.last(), Some(&("a".into(), What::Cordon)));
    rig.done("a", None);
    let node = Node { cordoned: true, cordoned_by_us: true, ..first.clone() };
    rig.send(Event::NodeApplied { node: node.clone() });
    assert_eq!(rig.wait(2_000).last(), Some(&off("a", Off::Graceful)));
    rig.done("a", None);
    let uid = node.uid.clone();
    assert_eq!(rig.state.machines["a"].record.ended_boot.as_deref(), Some("one"));
    let ahead = Node { heartbeat: Some(time(rig.now + 60_000)), ..node };
    assert!(!rig.state.machines["a"].came_up(Some(&ahead)), "it is the boot that ended");
    let new = Node { boot_id: Some("two".into()), ..ahead };
    assert!(rig.state.machines["a"].came_up(Some(&new)));
    let _ = uid;
}

#[test]
fn what_two_witnesses_tell_differently_is_named_and_its_power_is_cut() {
    let mut rig = booting(Policy { off_timeout_ms: 60_000, ..Policy::default() });
    let node = rig.node("a");
    rig.send(Event::NodeApplied { node: node.clone() });
    rig.state.pods.clear();
    rig.wait(700_000);
    rig.done("a", None);
    rig.send(Event::NodeApplied { node: Node { cordoned: true, cordoned_by_us: true, ..node } });
    assert_eq!(rig.wait(2_000).last(), Some(&off("a", Off::Graceful)));
    assert_eq!(rig.wait(60_000), []);
    let asked = rig.done("a", Some("off-unverified"));
    assert_eq!(asked, []);
    let all = rig.wait(5_000);
    assert_eq!(all, [("a".into(), What::Observe)]);
    let reason = "off-unverified: by ipmi `a` is off, but it answers ping".to_owned();
    rig.send(Event::OffUnverified { machine: "a".into(), reason: reason.clone() });
    rig.done("a", Some(&reason));
    assert_eq!(status(&rig.state, time(rig.now))[0].state, "off-unverified");
    assert!(rig.state.nodes.contains_key("a"), "its node stays while it may live");
    assert_eq!(rig.wait(60_000), [off("a", Off::Hard)], "a harder order is what helps");
    rig.done("a", None);
    assert_ne!(status(&rig.state, time(rig.now))[0].state, "off-unverified");
}

#[test]
fn what_a_person_switches_is_only_looked_at() {
    let policy = Policy { by_hand: ["a".to_owned()].into(), ..Policy::default() };
    let mut rig = Rig::new(&[("a", 2000)], policy);
    rig.apply(pod("p", 500));
    assert_eq!(rig.wait(10_000), []);
    rig.state.pods.clear();
    rig.send(Event::PowerSeen { machine: "a".into(), power: Power::On });
    rig.observed("a", Power::On);
    let node = rig.node("a");
    rig.send(Event::NodeApplied { node });
    assert_eq!(rig.phase("a"), "on");
    assert_eq!(rig.wait(3_600_000), [], "it idles, and stays");
    assert!(status(&rig.state, time(rig.now))[0].detail.starts_with("switched by hand"));
}

#[test]
fn stages_are_learnt_once_the_machine_is_useful() {
    let mut rig = booting(Policy::default());
    for (after, stage) in [(3_000, Stage::Ping), (1_000, Stage::Ssh)] {
        rig.wait(after);
        rig.send(Event::Reached { machine: "a".into(), stage });
    }
    rig.wait(10_000);
    let node = rig.node("a");
    rig.send(Event::NodeApplied { node: Node { ready: false, ..node.clone() } });
    rig.wait(5_000);
    rig.send(Event::NodeApplied { node });
    let stages = &rig.state.machines["a"].record.stages;
    let seconds: Vec<_> = stages.iter().map(|(stage, learnt)| (stage.name(), learnt.mean_ms)).collect();
    assert_eq!(seconds, [("ping", 3_000), ("ssh", 4_000), ("kubelet", 14_000), ("ready", 19_000), ("useful", 19_000)]);
    let why = why_node(&rig.state, "a", time(rig.now)).to_string();
    assert!(why.contains("started 1 times; its boots take"), "{why}");
}

#[test]
fn energy_is_modelled_until_it_is_measured_and_a_stop_of_the_daemon_is_not_counted() {
    let watts = Watts { idle: Some(100), full: Some(200), standby: Some(10), rack: None };
    let energy = Energy { pools: BTreeMap::from([("w".to_owned(), watts)]), ..Energy::default() };
    let policy = Policy { energy, ..Policy::default() };
    let mut rig = Rig::new(&[("a", 2000)], policy.clone());
    let read = |rig: &Rig| rig.state.machines["a"].record.meter.reading(time(rig.now));
    rig.now += 1000;
    let off = read(&rig);
    assert_eq!((off.watts, off.measured, off.modelled_j, off.saved_j), (10, false, 10, 90));
    rig.up("a");
    let boot = read(&rig);
    assert_eq!(
        (boot.modelled_j, boot.saved_j),
        (10 + 200, 90 - 100),
        "a boot draws most, and always on would not boot"
    );
    assert_eq!(boot.watts, 100, "on, without work");
    rig.apply(bound("p", 1000, "a"));
    assert_eq!(read(&rig).watts, 150, "half of its CPU is asked for");
    // From here on its BMC measures.
    rig.send(Event::Drawn { machine: "a".into(), watts: 130 });
    rig.now += 2000;
    let on = read(&rig);
    assert_eq!((on.watts, on.measured, on.measured_j, on.modelled_j), (130, true, 260, 210));
    assert_eq!(on.saved_j, boot.saved_j, "on, there is nothing to save");
    rig.send(Event::Tick);
    // The daemon stops for an hour: nobody knows what was drawn meanwhile.
    rig.now += 3_600_000;
    rig.start(policy);
    let after = read(&rig);
    assert_eq!((after.measured_j, after.modelled_j), (260, 210));
    // A measurement of long ago is not believed for ever.
    rig.now += 700_000;
    rig.send(Event::Tick);
    assert!(!read(&rig).measured);
}

#[test]
fn a_bmc_that_refuses_or_is_silent_is_a_state_of_its_own_and_is_asked_ever_more_rarely() {
    let refused = |machine: String| Event::PowerRefused { machine, reason: "it does not take the password".into() };
    let silent = |machine: String| Event::PowerUnseen { machine, reason: "no answer within 60 s".into() };
    for (event, name, word) in [
        (&refused as &dyn Fn(String) -> Event, "power-refused", "the password"),
        (&silent, "power-unseen", "no answer within 60 s"),
    ] {
        let mut rig = Rig { state: Core::default(), now: 0, last: vec![], machines: vec![machine("a", 2000)] };
        rig.start(Policy::default());
        rig.send(Event::PodsListed { pods: vec![] });
        rig.send(Event::NodesListed { nodes: vec![] });
        rig.apply(pod("p", 500));
        let mut asked = 0;
        // Whatever it is asked in an hour, it answers the same.
        for _ in 0..3600 {
            if let Some(flight) = rig.state.machines["a"].in_flight.clone() {
                asked += 1;
                assert_eq!(flight.what, What::Observe, "{name}");
                rig.send(event("a".into()));
                rig.done("a", Some(word));
            }
            rig.wait(1000);
        }
        assert!((2..20).contains(&asked), "{name}: asked {asked} times in an hour, and nothing but that was done");
        let seen = &status(&rig.state, time(rig.now))[0];
        assert!(seen.state == name && seen.detail.contains(word), "{seen:?}");
        // Mended: what it says then is believed, and the pod gets its machine.
        rig.send(Event::PowerSeen { machine: "a".into(), power: Power::Off });
        assert_ne!(status(&rig.state, time(rig.now))[0].state, name);
    }
}
