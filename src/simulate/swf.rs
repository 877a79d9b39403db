//! The Standard Workload Format: one job a line, 18 numbers each, `-1` for what is not known; lines that begin with
//! `;` are the header or comments. Used are: 1 job number, 2 submit time, 4 run time, 5 allocated processors,
//! 7 used memory and 10 requested memory (KiB for each processor), 8 requested processors, 11 status; and of the
//! header `UnixStartTime`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::trace::{self, Job, MOST_JOBS, MOST_SECONDS, Trace, TraceError, leave_out, milliseconds};

/// So many numbers has a line.
const FIELDS: usize = 18;
/// A trace that does not say when it began begins on this Monday.
pub(super) const USUAL_START: i64 = 1_767_571_200;

/// A line's numbers.
struct Line<'a> {
    number: usize,
    fields: Vec<&'a str>,
}

impl Line<'_> {
    /// A field by its number in the format; none when it is `-1`, or below nothing.
    fn get(&self, field: usize, what: &str) -> Result<Option<f64>, TraceError> {
        let text = self.fields.get(field - 1).copied().unwrap_or_default();
        let value: f64 = text.parse().ok().filter(|value: &f64| value.is_finite()).ok_or_else(|| {
            TraceError::new(self.number, format!("field {field} ({what}) is `{text}`, which is no number"))
        })?;
        Ok((value >= 0.0).then_some(value))
    }

    fn time(&self, field: usize, what: &str) -> Result<Option<i64>, TraceError> {
        let Some(seconds) = self.get(field, what)? else { return Ok(None) };
        let ms = milliseconds(seconds).ok_or_else(|| {
            let message = format!("field {field} ({what}) is {seconds}; {MOST_SECONDS} s (100 years) is the most");
            TraceError::new(self.number, message)
        })?;
        Ok(Some(ms))
    }

    /// The first of these fields that is known and more than nothing, as a whole number.
    fn amount(&self, fields: [(usize, &str); 2]) -> Result<Option<u64>, TraceError> {
        for (field, what) in fields {
            if let Some(value) = self.get(field, what)?.filter(|value| *value > 0.0) {
                if value > 1e12 {
                    return Err(TraceError::new(self.number, format!("field {field} ({what}) is {value}: too large")));
                }
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "in range, and rounded up"
                )]
                return Ok(Some(value.ceil() as u64));
            }
        }
        Ok(None)
    }
}

/// Reads a trace.
pub fn parse(text: &str) -> Result<Trace, TraceError> {
    let (mut jobs, mut left_out) = (Vec::new(), BTreeMap::new());
    let mut zero = USUAL_START;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix(';') {
            zero = unix_start(comment).unwrap_or(zero);
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let line = Line { number: index + 1, fields: line.split_ascii_whitespace().collect() };
        if line.fields.len() != FIELDS {
            let message = format!("a job has {FIELDS} fields, this line has {}", line.fields.len());
            return Err(TraceError::new(line.number, message));
        }
        match job(&line)? {
            Ok(job) => jobs.push(job),
            Err(reason) => leave_out(&mut left_out, reason, line.fields.first().copied().unwrap_or_default()),
        }
        if jobs.len() > MOST_JOBS {
            return Err(TraceError::new(line.number, format!("more than {MOST_JOBS} jobs")));
        }
    }
    let zero = Timestamp::from_second(zero).unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Trace::of(zero, jobs, left_out))
}

fn unix_start(comment: &str) -> Option<i64> {
    let (key, value) = comment.split_once(':')?;
    let seconds: i64 = value.split_ascii_whitespace().next()?.parse().ok()?;
    (key.trim() == "UnixStartTime" && (1..=200_000_000_000).contains(&seconds)).then_some(seconds)
}

/// The job of a line, or why it is left out.
fn job(line: &Line<'_>) -> Result<Result<Job, &'static str>, TraceError> {
    let submit = line.time(2, "submit time")?;
    let run = line.time(4, "run time")?;
    let processors = line.amount([(8, "requested processors"), (5, "allocated processors")])?;
    let memory = line.amount([(10, "requested memory"), (7, "used memory")])?;
    let status = line.get(11, "status")?;
    // A job that was stopped and went on has a line for the whole, and one of these for each part.
    if status.is_some_and(|status| (2.0..=4.0).contains(&status)) {
        return Ok(Err("a part of a job that has a line for the whole (status 2 to 4)"));
    }
    let Some(submit_ms) = submit else { return Ok(Err("submit time is not known")) };
    let Some(run_ms) = run else { return Ok(Err("run time is not known")) };
    let Some(processors) = processors else { return Ok(Err("number of processors is not known")) };
    let mut pod = trace::pod(&format!("job-{}", line.fields.first().copied().unwrap_or_default()));
    pod.requests.cpu_milli = processors.saturating_mul(1000);
    pod.requests.memory = memory.unwrap_or_default().saturating_mul(1024).saturating_mul(processors);
    Ok(Ok(Job { submit_ms, run_ms, pod }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_that_are_used() {
        let text = "; Version: 2.2\n; UnixStartTime: 1000000\n\
            1 30 5 600 2 -1 100 4 900 2048 1 7 7 -1 1 -1 -1 -1\n\
            \n\
            2 10 0 60.5 3 -1 512 -1 -1 -1 0 7 7 -1 1 -1 -1 -1\n";
        let trace = parse(text).unwrap();
        assert_eq!(trace.start, Timestamp::from_second(1_000_010).unwrap(), "the first to be submitted begins it");
        let seen: Vec<_> = trace.jobs.iter().map(|job| (job.submit_ms, job.run_ms, &job.pod)).collect();
        assert_eq!((seen[0].0, seen[0].1, &*seen[0].2.id.name), (0, 60_500, "job-2"));
        assert_eq!(
            (seen[0].2.requests.cpu_milli, seen[0].2.requests.memory),
            (3000, 3 * (512 << 10)),
            "as it was given"
        );
        assert_eq!((seen[1].0, seen[1].1, &*seen[1].2.id.name), (20_000, 600_000, "job-1"));
        assert_eq!((seen[1].2.requests.cpu_milli, seen[1].2.requests.memory), (4000, 4 * (2 << 20)), "as it asked");
    }

    #[test]
    fn what_is_not_known_is_left_out_and_counted() {
        let line = |number: u32, run: &str, processors: &str, status: u32| {
            format!("{number} 0 0 {run} {processors} -1 -1 -1 -1 -1 {status} 1 1 -1 1 -1 -1 -1\n")
        };
        let text = line(1, "-1", "1", 5) + &line(2, "5", "-1", 1) + &line(3, "5", "0", 1) + &line(4, "9", "1", 3);
        let trace = parse(&(text + &line(5, "0", "1", 0))).unwrap();
        let left: Vec<_> = trace.left_out.iter().map(|(reason, left)| (reason.as_str(), left.count)).collect();
        assert_eq!(trace.jobs.len(), 1, "one that ran for less than a second ran");
        assert_eq!(
            left,
            [
                ("a part of a job that has a line for the whole (status 2 to 4)", 1),
                ("number of processors is not known", 2),
                ("run time is not known", 1),
            ]
        );
        assert_eq!(trace.left_out["number of processors is not known"].names, ["2", "3"]);
    }

    #[test]
    fn wrong_lines_are_told_with_their_number() {
        let good = "1 0 0 5 1 -1 -1 -1 -1 -1 1 1 1 -1 1 -1 -1 -1";
        for (line, words) in [
            ("1 0 0 5 1 -1 -1 -1 -1 -1 1 1 1 -1 1 -1 -1", "18 fields, this line has 17"),
            (&format!("{good} 7"), "this line has 19"),
            (&good.replacen("0 0 5", "0 0 five", 1), "field 4 (run time) is `five`"),
            (&good.replacen("0 0 5", "0 0 NaN", 1), "field 4 (run time) is `NaN`"),
            (&good.replacen("1 0 0", "1 1e30 0", 1), "100 years"),
            (&good.replacen("5 1 -1", "5 1e15 -1", 1), "too large"),
        ] {
            let error = parse(&format!(";\n{good}\n{line}\n")).unwrap_err();
            assert!(error.line == 3 && error.message.contains(words), "{error}");
        }
    }
}
