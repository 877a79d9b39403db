//! A trace: jobs, when each was submitted and how long it runs. Where it was read from makes no difference here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::rack::Rack;
use crate::model::pod::{Owner, Pod, PodId};
use crate::scheduling::{Place, first_failing_filter};

/// The namespace of all pods of a trace.
const NAMESPACE: &str = "trace";
/// No trace may hold more jobs.
pub const MOST_JOBS: usize = 5_000_000;
/// No time in a trace may lie further from its beginning: a hundred years.
pub const MOST_SECONDS: f64 = 3_155_760_000.0;
/// So many that were left out for the same reason are named.
const NAMED: usize = 3;

/// A job: one pod that runs to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Milliseconds from the trace's beginning until it is submitted.
    pub submit_ms: i64,
    /// How long it runs, in milliseconds.
    pub run_ms: i64,
    /// Its pod, which waits.
    pub pod: Pod,
}

/// What was left out, for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub names: Vec<String>,
}

/// Jobs in the order in which they are submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// When the first is submitted.
    pub start: Timestamp,
    /// All of them.
    pub jobs: Vec<Job>,
    /// What is not simulated, by reason.
    pub left_out: BTreeMap<String, LeftOut>,
}

/// What is wrong with a trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {message}")]
pub struct TraceError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what is expected.
    pub message: String,
}

impl TraceError {
    pub(super) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

impl Trace {
    /// Puts jobs in order, and the beginning at the first of them. Times count from `zero`.
    pub(super) fn of(zero: Timestamp, mut jobs: Vec<Job>, left_out: BTreeMap<String, LeftOut>) -> Self {
        jobs.sort_by_key(|job| job.submit_ms);
        let first = jobs.first().map_or(0, |job| job.submit_ms);
        let (mut names, mut alike) = (BTreeSet::new(), BTreeMap::new());
        for job in &mut jobs {
            job.submit_ms -= first;
            let name = job.pod.id.name.clone();
            while !names.insert(job.pod.id.name.clone()) {
                let number = alike.entry(name.clone()).or_insert(1u32);
                *number += 1;
                job.pod.id.name = format!("{name}-{number}");
            }
        }
        let start = zero.as_millisecond().saturating_add(first);
        Self { start: Timestamp::from_millisecond(start).unwrap_or(zero), jobs, left_out }
    }

    /// Makes of each job that asks for more CPU than this several pods that run as long, each with its part of the memory.
    pub fn split(&mut self, most_milli: u64) {
        let most = most_milli.max(1);
        for job in std::mem::take(&mut self.jobs) {
            let asks = job.pod.requests.clone();
            if asks.cpu_milli <= most {
                self.jobs.push(job);
                continue;
            }
            for number in 0..asks.cpu_milli.div_ceil(most) {
                let mut part = job.clone();
                let milli = most.min(asks.cpu_milli - number * most);
                let memory = u128::from(asks.memory) * u128::from(milli) / u128::from(asks.cpu_milli);
                part.pod.requests.cpu_milli = milli;
                part.pod.requests.memory = u64::try_from(memory).unwrap_or(u64::MAX);
                part.pod.id.name = format!("{}.{}", job.pod.id.name, number + 1);
                self.jobs.push(part);
            }
        }
    }

    /// Takes out the jobs that fit no machine of the rack, however empty.
    pub fn sift(&mut self, rack: &Rack) {
        let places: Vec<Place<'_>> =
            rack.machines.iter().map(|machine| Place::empty(&machine.name, &machine.shape)).collect();
        let left_out = &mut self.left_out;
        self.jobs.retain(|job| {
            let fits = places.iter().any(|place| first_failing_filter(&job.pod, place).is_none());
            if !fits {
                leave_out(left_out, "fits no machine", &job.pod.id.name);
            }
            fits
        });
    }

    /// The time in the trace as a time of day.
    pub fn time(&self, ms: i64) -> Timestamp {
        Timestamp::from_millisecond(self.start.as_millisecond().saturating_add(ms)).unwrap_or(Timestamp::MAX)
    }
}

/// Notes that something is left out.
pub(super) fn leave_out(left_out: &mut BTreeMap<String, LeftOut>, reason: &str, name: &str) {
    let entry = left_out.entry(reason.to_owned()).or_default();
    entry.count += 1;
    if entry.names.len() < NAMED {
        entry.names.push(name.to_owned());
    }
}

/// A pod of a job by this name, which asks for nothing yet but a place.
pub(super) fn pod(name: &str) -> Pod {
    let mut pod = Pod {
        id: PodId { namespace: NAMESPACE.to_owned(), name: name.to_owned() },
        owner: Owner::Controller(format!("Job/{name}")),
        ..Pod::default()
    };
    pod.requests.pods = 1;
    pod
}

/// Seconds as milliseconds, when a trace may have them.
pub(super) fn milliseconds(seconds: f64) -> Option<i64> {
    // To whole milliseconds; what is left of a float in range is a whole number.
    #[expect(clippy::cast_possible_truncation, reason = "in range, and rounded")]
    (0.0..=MOST_SECONDS).contains(&seconds).then(|| (seconds * 1000.0).round() as i64)
}
