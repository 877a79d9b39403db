//! The simulation against timelines that are worked out by hand.

use super::*;
use crate::autoscaler::energy::Watts;
use crate::autoscaler::policy::Bounds;

/// So many machines of 4 CPUs and 16 GiB: 5 W off, 50 W idle, 150 W at most; boot 90 s, shutdown 20 s.
fn rack(count: u32) -> Rack {
    let mut rack = Rack::usual(count);
    for machine in &mut rack.machines {
        machine.shape.allocatable.cpu_milli = 4_000;
        machine.shape.allocatable.memory = 16 << 30;
    }
    let mut policy = rack.policy;
    let watts = Watts { idle: Some(50), full: Some(150), standby: Some(5), rack: None };
    policy.energy.pools.insert("wn".to_owned(), watts);
    Rack::new(rack.machines, policy, 20_000)
}

fn trace(text: &str) -> Trace {
    lines::parse(text).unwrap()
}

fn figures(outcome: &Outcome, way: Way) -> &Figures {
    &outcome.runs.iter().find(|run| run.way == way).unwrap().figures
}

fn joules(figures: &Figures) -> f64 {
    figures::ratio(figures.drawn_uj, 1_000_000)
}

fn same(seen: f64, wanted: f64, of: &str) {
    assert!((seen - wanted).abs() < 1e-6, "{of}: {seen} and not {wanted}");
}

#[test]
fn one_job_on_one_machine_to_the_joule() {
    // Two of four CPUs for ten minutes.
    let outcome = simulate(&trace(r#"{"at":0,"cpu":2,"memory":"1Gi","run_seconds":600}"#), &rack(1));
    // CLUES: seen waiting at 0, a request at 125 (more than 120 s later, at a round of 5 s), looked at from 130 on.
    let clues = figures(&outcome, Way::Clues);
    same(clues.waits.max_s, 130.0 + 90.0, "CLUES's wait");
    // It ends at 820; everybody's span ends an hour after that.
    assert_eq!(outcome.span_ms, (820 + 3600) * 1000);
    // Idle from 820 on, off in the round after 1800 s more, 2625; gone at 2645.
    let (off, boot, on) = (130.0 + 4420.0 - 2645.0, 90.0, 2645.0 - 220.0);
    same(joules(clues), off * 5.0 + boot * 150.0 + on * 50.0 + 600.0 * 50.0, "CLUES's energy");
    same(figures::ratio(clues.on_ms, 1000), boot + on, "CLUES's time on");
    assert_eq!((clues.boots.total, clues.unserved), (1, 0));
    // Marea: decides a second after the pod was refused. Idle at 691, for ten minutes; then two seconds of looking.
    let marea = figures(&outcome, Way::Marea);
    same(marea.waits.mean_s, 91.0, "Marea's wait");
    let gone = 691.0 + 600.0 + 2.0 + 20.0;
    let (off, on) = (1.0 + 4420.0 - gone, gone - 91.0);
    same(joules(marea), off * 5.0 + 90.0 * 150.0 + on * 50.0 + 600.0 * 50.0, "Marea's energy");
    assert_eq!((marea.boots.total, marea.boots.max, marea.evicted, marea.unserved), (1, 1, 0, 0));
    let always = figures(&outcome, Way::AlwaysOn);
    same(joules(always), 4420.0 * 50.0 + 600.0 * 50.0, "always on");
    assert_eq!((always.waits.max_s.to_bits(), always.boots.total), (0f64.to_bits(), 0));
    // Standby throughout, 45 W more for as long as the job runs, and the work.
    let bound = 4420.0 * 5.0 + 600.0 * 45.0 + 600.0 * 50.0;
    same(figures::ratio(outcome.bound_uj, 1_000_000), bound, "the bound");
}

#[test]
fn many_small_jobs_are_bound_by_their_share_of_machines() {
    // 30 jobs of a CPU for 100 s: 25 machine-seconds each by CPU, 50 by memory.
    let text = r#"{"at":0,"cpu":1,"memory":"8Gi","run_seconds":100,"count":30}"#;
    let outcome = simulate(&trace(text), &rack(2));
    let standby = figures::ratio(u128::try_from(outcome.span_ms).unwrap(), 1000) * 5.0 * 2.0;
    let bound = standby + 30.0 * 50.0 * 45.0 + 30.0 * 100.0 * 25.0;
    same(figures::ratio(outcome.bound_uj, 1_000_000), bound, "the bound");
    // Two at once on a machine, as memory has it: four at once on both, eight times.
    same(figures(&outcome, Way::AlwaysOn).waits.max_s, 700.0, "the last waits for the others");
    for run in &outcome.runs {
        assert!(run.figures.drawn_uj > outcome.bound_uj, "{run:?}");
    }
}

#[test]
fn the_line_goes_by_priority_and_lets_the_small_by() {
    let text = r#"{"at":0,"name":"first","cpu":3,"run_seconds":100}
        {"at":1,"name":"large","cpu":4,"run_seconds":10}
        {"at":2,"name":"small","cpu":1,"run_seconds":10}
        {"at":3,"name":"late","cpu":3,"run_seconds":10}
        {"at":4,"name":"urgent","cpu":3,"run_seconds":10,"priority":9}"#;
    let (trace, rack) = (trace(text), rack(1));
    let mut world = World::new(&trace, &rack);
    world.serve(&mut always::AlwaysOn);
    let order: Vec<(&str, i64)> =
        (0..5).map(|job| (&*trace.jobs[job].pod.id.name, world.waited(job) + trace.jobs[job].submit_ms)).collect();
    // When each began.
    let began = [("first", 0), ("large", 110_000), ("small", 2_000), ("late", 120_000), ("urgent", 100_000)];
    assert_eq!(order, began);
}

#[test]
fn clues_serves_requests_in_their_order() {
    // Seen at 0 and at 5, requests at 125 and 130, looked at from 130 and 135 on. The first two need a machine each; the
    // third finds room on the one that boots for the first, and the fourth none: it has a third machine powered on.
    let text = r#"{"at":0,"cpu":3,"run_seconds":1000}
        {"at":1,"cpu":4,"run_seconds":1000}
        {"at":2,"cpu":1,"run_seconds":2000}
        {"at":3,"cpu":1,"run_seconds":1000}"#;
    let (trace, rack) = (trace(text), rack(3));
    let mut world = World::new(&trace, &rack);
    world.serve(&mut clues::Clues::new(&rack));
    let began: Vec<i64> = (0..4).map(|job| world.waited(job) + trace.jobs[job].submit_ms).collect();
    assert_eq!(began, [220_000, 225_000, 220_000, 225_000]);
    assert_eq!((world.figures().boots.total, world.figures().boots.max), (3, 1));
}

#[test]
fn clues_keeps_a_machine_for_half_an_hour_without_work() {
    // Idle from 320 on; work comes at 2000; idle again from 2100 on.
    let text = "{\"at\":0,\"cpu\":1,\"run_seconds\":100}\n{\"at\":2000,\"cpu\":1,\"run_seconds\":100}";
    let outcome = simulate(&trace(text), &rack(1));
    let clues = figures(&outcome, Way::Clues);
    same(clues.waits.max_s, 220.0, "only the first waits");
    // The next poll of nodes sees it idle at 2100; off at 3905, gone at 3925.
    same(figures::ratio(clues.on_ms, 1000), 3925.0 - 130.0, "on");
    assert_eq!((clues.boots.total, outcome.span_ms), (1, (2191 + 3600) * 1000));
}

#[test]
fn pods_that_refuse_each_other_are_kept_apart() {
    use crate::model::pod::{Operator, PodTerm, Requirement, Selector};
    let mut trace = trace(r#"{"at":0,"cpu":1,"run_seconds":100,"count":3}"#);
    let alike = Requirement { key: "app".to_owned(), operator: Operator::In, values: vec!["a".to_owned()] };
    let apart = PodTerm {
        selector: Some(Selector { requirements: vec![alike] }),
        namespaces: vec!["trace".to_owned()],
        namespace_selector: None,
        topology_key: "kubernetes.io/hostname".to_owned(),
    };
    for job in &mut trace.jobs {
        job.pod.labels.insert("app".to_owned(), "a".to_owned());
        job.pod.pod_anti_affinity.push(apart.clone());
    }
    let mut rack = rack(2);
    for machine in &mut rack.machines {
        machine.shape.labels.insert("kubernetes.io/hostname".to_owned(), machine.name.clone());
    }
    let outcome = simulate(&trace, &rack);
    for run in &outcome.runs {
        assert_eq!(run.figures.unserved, 0, "{run:?}");
        assert!(run.figures.waits.max_s >= 100.0, "the third waits for one of the others: {run:?}");
    }
    same(figures(&outcome, Way::AlwaysOn).waits.mean_s, 100.0 / 3.0, "two at once, and one after them");
}

#[test]
fn a_machine_that_is_to_be_avoided_takes_what_no_other_does() {
    let (trace, rack) = (trace(r#"{"at":0,"cpu":2,"run_seconds":100,"count":4}"#), rack(2));
    let mut line = line::Line::new(&rack.machines, false);
    for host in 0..2 {
        line.open(host, &rack.machines[host]);
    }
    line.shun(0, true);
    let class = line.class(&trace.jobs[0].pod);
    (0..4).for_each(|job| line.join(job, class, 0));
    assert_eq!(line.look(), [(0, 1), (1, 1), (2, 0), (3, 0)]);
}

#[test]
fn a_job_that_is_too_large_may_be_split() {
    let mut trace = trace(r#"{"at":0,"name":"big","cpu":10,"memory":1000,"run_seconds":7}"#);
    trace.split(4_000);
    let parts: Vec<_> = trace.jobs.iter().map(|job| (&*job.pod.id.name, &job.pod.requests, job.run_ms)).collect();
    let seen: Vec<_> = parts.iter().map(|(name, asks, run)| (*name, asks.cpu_milli, asks.memory, *run)).collect();
    assert_eq!(seen, [("big.1", 4000, 400, 7000), ("big.2", 4000, 400, 7000), ("big.3", 2000, 200, 7000)]);
}

#[test]
fn what_fits_no_machine_is_named_and_nobody_waits_for_it() {
    let text = r#"{"at":0,"name":"huge","cpu":5,"run_seconds":1,"count":5}
        {"at":0,"name":"else","cpu":1,"run_seconds":1,"node_selector":{"zone":"b"}}
        {"at":0,"name":"ok","cpu":1,"run_seconds":1}"#;
    let (mut trace, rack) = (trace(text), rack(1));
    trace.sift(&rack);
    let left = &trace.left_out["fits no machine"];
    assert_eq!((left.count, left.names.len(), trace.jobs.len()), (6, 3, 1));
    assert_eq!(figures(&simulate(&trace, &rack), Way::Marea).unserved, 0);
}

#[test]
fn who_is_never_served_is_said() {
    // Its pool may have no machine on.
    let mut rack = rack(1);
    rack.policy.pools.insert("wn".to_owned(), Bounds { min: 0, max: Some(0) });
    let outcome = simulate(&trace(r#"{"at":0,"cpu":1,"run_seconds":1,"count":3}"#), &rack);
    assert_eq!(figures(&outcome, Way::Marea).unserved, 3);
    assert_eq!(figures(&outcome, Way::AlwaysOn).unserved, 0);
}

#[test]
fn a_machine_that_only_a_person_switches_is_on_in_every_way() {
    let mut rack = rack(2);
    rack.policy.by_hand.insert("wn-1".to_owned());
    let outcome = simulate(&trace(r#"{"at":0,"cpu":1,"run_seconds":60}"#), &rack);
    for run in &outcome.runs {
        assert_eq!((run.figures.waits.max_s.to_bits(), run.figures.boots.total), (0f64.to_bits(), 0), "{run:?}");
    }
    let span = u128::try_from(outcome.span_ms).unwrap();
    for way in [Way::Marea, Way::Clues] {
        assert_eq!(figures(&outcome, way).on_ms, span, "one was on all the time, the other never");
    }
}

/// Traces that differ by seed: bursts and quiet, jobs of many sizes.
fn seeded(seed: u64) -> Trace {
    let mut state = seed;
    let mut draw = |most: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    };
    let mut at = 0;
    let line = |_| {
        at += if draw(4) == 0 { draw(7_200) } else { draw(60) };
        let (cpu, memory, run, count) = (1 + draw(40), draw(17), draw(3_000), 1 + draw(4));
        format!(r#"{{"at":{at},"cpu":"{cpu}00m","memory":"{memory}Gi","run_seconds":{run},"count":{count}}}"#)
    };
    trace(&(0..40).map(line).collect::<Vec<_>>().join("\n"))
}

#[test]
fn nobody_beats_the_bound_and_everybody_is_served() {
    let mut waited = [0.0; Way::ALL.len()];
    for seed in 0..30 {
        let (trace, mut rack) = (seeded(seed), rack(1 + u32::try_from(seed % 6).unwrap()));
        // Unlike machines, too.
        if let Some(machine) = rack.machines.last_mut().filter(|_| seed % 2 == 0) {
            machine.shape.allocatable.cpu_milli = 16_000;
            machine.shape.allocatable.memory = 32 << 30;
            let watts = Watts { idle: Some(90), full: Some(200), standby: Some(9), rack: None };
            rack.policy.energy.machines.insert(machine.name.clone(), watts);
        }
        let outcome = simulate(&trace, &rack);
        for run in &outcome.runs {
            assert!(run.figures.drawn_uj >= outcome.bound_uj, "seed {seed}: {run:?} beats {}", outcome.bound_uj);
            assert_eq!((run.figures.unserved, run.figures.evicted.min(1)), (0, 0), "seed {seed}: {:?}", run.way);
        }
        for (wait, way) in waited.iter_mut().zip(Way::ALL) {
            *wait += figures(&outcome, way).waits.mean_s;
        }
        assert_eq!(outcome, simulate(&trace, &rack), "seed {seed}: another time, something else");
    }
    // In one world a machine that comes later may by luck put jobs in a better order; on the whole it does not.
    let [marea, always, clues] = waited;
    assert!(always < marea && always < clues, "{waited:?}");
}
