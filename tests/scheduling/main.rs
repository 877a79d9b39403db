//! Fit, against the real kube-scheduler: for random clusters and pods over all constraints, our verdict on each
//! pod and node, and the first filter that fails, are its. `MAREA_SCENARIOS=100000 cargo test --test scheduling`
//! runs as many as one likes, `MAREA_SEED` begins elsewhere.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test program: it may fail and speak"
)]

mod generator;
mod live;
mod oracle;
mod ours;
#[path = "../simulation/rng.rs"]
mod rng;
mod server;
mod storage;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use self::oracle::Oracle;

/// How many scenarios there are in a usual run.
const SCENARIOS: u64 = 4000;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The first disagreement about a scenario, in words; and how often each filter was the first to fail.
fn compare(scenario: &Value, answer: &Value, counts: &mut BTreeMap<String, u64>) -> Result<(), String> {
    if let Some(invalid) = answer["invalid"].as_str() {
        return Err(format!("the API server would refuse it: {invalid}"));
    }
    let ours = ours::verdicts(scenario, answer);
    let empty = Vec::new();
    let theirs = answer["verdicts"].as_array().unwrap_or(&empty);
    assert_eq!(ours.len(), theirs.len());
    for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        for (node, misfit) in ours {
            let mine = misfit.as_ref().map_or("", |misfit| misfit.filter().name());
            let filter = theirs[node]["filter"].as_str().unwrap();
            *counts.entry(filter.to_owned()).or_default() += 1;
            if mine != filter {
                let pod = &answer["asks"][index];
                return Err(format!(
                    "pod {} on {node}: the scheduler says {filter:?} ({}), we say {mine:?} ({})\n{pod}",
                    pod["metadata"]["name"],
                    theirs[node]["reason"].as_str().unwrap_or_default(),
                    misfit.as_ref().map_or_else(|| "it fits".to_owned(), ToString::to_string),
                ));
            }
        }
    }
    Ok(())
}

/// The oracle's program, or none where a skip is allowed.
fn program() -> Option<std::path::PathBuf> {
    match oracle::program() {
        Ok(program) => Some(program),
        Err(reason) => {
            assert!(std::env::var_os("CI").is_none(), "the oracle cannot be compiled: {reason}");
            eprintln!("SKIPPED: the oracle cannot be compiled: {reason}");
            None
        }
    }
}

#[test]
fn our_verdicts_are_the_schedulers() {
    let Some(program) = program() else { return };
    let (first, count) = (number("MAREA_SEED", 0), number("MAREA_SCENARIOS", SCENARIOS));
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let work = |part: u64| {
        let mut oracle = Oracle::start(&program);
        let mut counts = BTreeMap::new();
        let mut wrong = Vec::new();
        for seed in (first..first + count).filter(|seed| seed % threads == part) {
            let scenario = generator::scenario(seed);
            let answer = oracle.ask(&scenario);
            if let Err(what) = compare(&scenario, &answer, &mut counts) {
                let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("scenario-{seed}.json"));
                let kept = json!({ "about": what.lines().next(), "scenario": scenario, "answer": answer });
                fs::write(&file, serde_json::to_string_pretty(&kept).unwrap()).unwrap();
                wrong.push(format!("seed {seed}: {what}\nkept in {}", file.display()));
            }
        }
        (counts, wrong)
    };
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut wrong = Vec::new();
    thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|part| scope.spawn(move || work(part))).collect();
        for part in parts {
            let (more, found) = part.join().unwrap();
            for (filter, times) in more {
                *counts.entry(filter).or_default() += times;
            }
            wrong.extend(found);
        }
    });
    println!("first filter to fail, of {} verdicts: {counts:?}", counts.values().sum::<u64>());
    for one in wrong.iter().take(20) {
        println!("{}", one.lines().next().unwrap());
    }
    assert!(wrong.is_empty(), "{} of {count} scenarios disagree; the first:\n{}", wrong.len(), wrong[0]);
    // A proof that never sees a filter fail proves nothing about it.
    if count >= SCENARIOS {
        let seen = |filter: &str| counts.get(filter).copied().unwrap_or_default();
        for filter in FILTERS {
            assert!(seen(filter) >= 20, "{filter} was the first to fail only {} times", seen(filter));
        }
        assert!(seen("") > 1000, "few pods fit");
    }
}

/// The filters of the default profile that we judge.
const FILTERS: [&str; 12] = [
    "NodeName",
    "NodeUnschedulable",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "VolumeRestrictions",
    "NodeVolumeLimits",
    "VolumeBinding",
    "VolumeZone",
    "PodTopologySpread",
    "InterPodAffinity",
];

/// Each file is a scenario about which we were wrong once, with the scheduler's answer.
#[test]
fn what_was_settled_stays_settled() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scheduling/fixtures");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut oracle = program().map(|program| Oracle::start(&program));
    for file in files {
        let kept: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        compare(&kept["scenario"], &kept["answer"], &mut BTreeMap::new())
            .unwrap_or_else(|what| panic!("{}: {what}", file.display()));
        if let Some(oracle) = &mut oracle {
            let filters = |answer: &Value| -> Vec<Value> {
                let map = |pod: &Value| {
                    let of = |(node, verdict): (&String, &Value)| (node.clone(), verdict["filter"].clone());
                    pod.as_object().unwrap().iter().map(of).collect()
                };
                answer["verdicts"].as_array().unwrap().iter().map(map).collect()
            };
            let now = oracle.ask(&kept["scenario"]);
            assert_eq!(filters(&now), filters(&kept["answer"]), "{}: the scheduler has changed", file.display());
        }
    }
}
