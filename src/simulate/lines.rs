//! Lines of JSON, the trace form of our own: one object a line, each a job or `count` equal ones.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::swf::USUAL_START;
use super::trace::{self, Job, MOST_JOBS, MOST_SECONDS, Trace, TraceError, milliseconds};
use crate::model::resources::{quantity, quantity_milli};

/// One line.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    at: At,
    #[serde(default)]
    name: Option<String>,
    cpu: Quantity,
    #[serde(default)]
    memory: Option<Quantity>,
    run_seconds: f64,
    #[serde(default = "one")]
    count: u32,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    node_selector: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

/// When it is submitted: seconds from the beginning, or a time.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum At {
    Seconds(f64),
    Time(Timestamp),
}

/// An amount: a number, or a text as Kubernetes has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Quantity {
    Number(f64),
    Text(String),
}

impl Quantity {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// Reads a trace.
pub fn parse(text: &str) -> Result<Trace, TraceError> {
    let mut jobs: Vec<Job> = Vec::new();
    let mut zero: Option<Timestamp> = None;
    let mut timed: Option<bool> = None;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |message: String| TraceError::new(index + 1, message);
        let entry: Entry = serde_json::from_str(line).map_err(|error| wrong(format!("{error}; {EXPECTED}")))?;
        let is_time = matches!(entry.at, At::Time(_));
        if timed.replace(is_time).is_some_and(|before| before != is_time) {
            return Err(wrong("`at` is a time in some lines and seconds in others; write all in one way".to_owned()));
        }
        let submit_ms = match entry.at {
            At::Seconds(seconds) => milliseconds(seconds)
                .ok_or_else(|| wrong(format!("`at` is {seconds}; it must be between 0 and {MOST_SECONDS} s")))?,
            // From the first line on, and perhaps before that: they are put in order in the end.
            At::Time(time) => time.as_millisecond() - zero.get_or_insert(time).as_millisecond(),
        };
        let run_ms = milliseconds(entry.run_seconds).ok_or_else(|| {
            wrong(format!("`run_seconds` is {}; it must be between 0 and {MOST_SECONDS}", entry.run_seconds))
        })?;
        let (cpu, memory) = (entry.cpu.text(), entry.memory.as_ref().map(Quantity::text));
        let name = entry.name.clone().unwrap_or_else(|| format!("line-{}", index + 1));
        let mut pod = trace::pod(&name);
        pod.requests.cpu_milli = quantity_milli(&cpu)
            .ok_or_else(|| wrong(format!("`cpu` is {cpu}; write cores as 2 or 0.5, or \"500m\"")))?;
        pod.requests.memory = memory.as_deref().map_or(Some(0), quantity).ok_or_else(|| {
            wrong(format!("`memory` is {}; write bytes, or \"2Gi\"", memory.clone().unwrap_or_default()))
        })?;
        pod.priority = entry.priority;
        pod.node_selector = entry.node_selector;
        if jobs.len() + entry.count as usize > MOST_JOBS {
            return Err(wrong(format!("more than {MOST_JOBS} jobs")));
        }
        jobs.extend((0..entry.count).map(|_| Job { submit_ms, run_ms, pod: pod.clone() }));
    }
    let zero = zero.unwrap_or_else(|| Timestamp::from_second(USUAL_START).unwrap_or(Timestamp::UNIX_EPOCH));
    Ok(Trace::of(zero, jobs, BTreeMap::new()))
}

const EXPECTED: &str =
    "a line is like {\"at\": 0, \"name\": \"a\", \"cpu\": 2, \"memory\": \"1Gi\", \"run_seconds\": 60, \"count\": 3}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_job_or_many() {
        let text = r#"{"at": 60, "name": "b", "cpu": 0.5, "run_seconds": 1.5}

            {"at": 0, "name": "a", "cpu": "250m", "memory": "1Gi", "run_seconds": 60, "count": 3, "priority": 7}
            {"at": 61, "cpu": 1, "memory": 1024, "run_seconds": 0, "node_selector": {"zone": "a"}}"#;
        let trace = parse(text).unwrap();
        let names: Vec<_> = trace.jobs.iter().map(|job| &*job.pod.id.name).collect();
        assert_eq!(names, ["a", "a-2", "a-3", "b", "line-4"]);
        let (first, last) = (&trace.jobs[0], &trace.jobs[4]);
        assert_eq!((first.pod.requests.cpu_milli, first.pod.requests.memory, first.pod.priority), (250, 1 << 30, 7));
        assert_eq!((last.submit_ms, last.pod.requests.memory, &*last.pod.node_selector["zone"]), (61_000, 1024, "a"));
        assert_eq!(trace.jobs[3].run_ms, 1500);
        let timed = r#"{"at":"2026-03-02T10:00:05Z","cpu":1,"run_seconds":1}
            {"at":"2026-03-02T12:00:00+02:00","cpu":1,"run_seconds":1}"#;
        let trace = parse(timed).unwrap();
        assert_eq!((trace.start.to_string(), trace.jobs[1].submit_ms), ("2026-03-02T10:00:00Z".into(), 5000));
    }

    #[test]
    fn wrong_lines_are_told_with_their_number() {
        let good = r#"{"at":0,"cpu":1,"run_seconds":1}"#;
        for (from, to, words) in [
            ("1}", "1", "EOF"),
            ("\"cpu\":1,", "", "missing field `cpu`"),
            ("\"cpu\"", "\"cores\"", "unknown field `cores`"),
            ("\"run_seconds\":1", "\"run_seconds\":-1", "`run_seconds` is -1"),
            ("\"cpu\":1", "\"cpu\":-1", "`cpu` is -1"),
            ("\"cpu\":1", "\"cpu\":\"two\"", "`cpu` is two"),
            ("\"at\":0", "\"at\":-1", "`at` is -1"),
            ("\"at\":0", "\"at\":\"2026-01-01T00:00:00Z\"", "seconds in others"),
            ("1}", "1,\"memory\":\"1Gx\"}", "`memory` is 1Gx"),
            ("1}", "1,\"count\":4000000000}", "more than 5000000 jobs"),
        ] {
            let error = parse(&format!("{good}\n\n{}\n", good.replacen(from, to, 1))).unwrap_err();
            assert!(error.line == 3 && error.message.contains(words), "{error}");
        }
    }
}
