//! Judging the end of a run: what the container's exit code was, and what becomes of the event. The verdict is
//! on disk before anybody is told and before anything of the run is removed.

use std::time::Duration;

use super::Core;
use super::flight::Flight;
use crate::clock;
use crate::functions::event::EventId;
use crate::functions::objects::facts::{JobEnd, PodFact};
use crate::functions::objects::job::{EVENT, event_secret_name};
use crate::functions::queue::{Outcome, Patience, Verdict, verdict};
use crate::functions::store::Change;

/// What is known of an end.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// Its Job ended.
    Job(JobEnd),
    /// Its Job is gone.
    Vanished,
    /// It is ended by us; its Job, when there is one, is removed.
    Known(Outcome),
}

/// Judges, and writes the verdict down.
pub(super) async fn judge(core: &Core, flight: &Flight, end: End, patience: Patience) -> Verdict {
    let removes = matches!(end, End::Known(_));
    let outcome = match end {
        End::Job(end) if end.well => Outcome::Succeeded,
        End::Job(end) if flight.machine.is_some() => told(end.exit.map(|code| (code, String::new())), &end),
        End::Job(end) => failure(core, flight, &end).await,
        End::Vanished => Outcome::Vanished,
        End::Known(outcome) => outcome,
    };
    let now = clock::now();
    let verdict = verdict(&outcome, flight.attempt, patience, now);
    let exit = match &outcome {
        Outcome::Failed { exit, .. } => *exit,
        Outcome::Succeeded | Outcome::Refused { .. } | Outcome::Vanished => None,
    };
    let seq = flight.seq;
    let change = match verdict.clone() {
        Verdict::Done => Change::Done { seq, at: now },
        Verdict::Retry { at, reason } => {
            Change::Retry { seq, attempt: flight.attempt + 1, not_before: at, reason, exit }
        }
        Verdict::Dead { reason } => Change::Dead { seq, at: now, reason, exit },
    };
    write(core, vec![change]).await;
    if removes {
        remove(core, &flight.job(), Some(flight.id), flight.machine.as_deref()).await;
    }
    verdict
}

/// Reads the exit code from the pod; the Job itself says only that it failed.
async fn failure(core: &Core, flight: &Flight, end: &JobEnd) -> Outcome {
    let selector = format!("batch.kubernetes.io/job-name={},{EVENT}={}", flight.job(), flight.id);
    let mut pause = Duration::from_millis(200);
    let pods = loop {
        match core.cluster.pods(&selector).await {
            Ok(pods) => break pods,
            Err(error) if error.is_retriable() => {
                tracing::warn!(%error, "the exit code cannot be read yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Err(_) => break Vec::new(),
        }
    };
    told(exit(&pods), end)
}

/// The exit code that tells why, with Kubernetes' reason.
fn exit(pods: &[PodFact]) -> Option<(i32, String)> {
    pods.iter().find_map(|pod| pod.exit.clone().filter(|(code, _)| *code != 0))
}

fn told(exit: Option<(i32, String)>, end: &JobEnd) -> Outcome {
    match exit {
        Some((code, reason)) => {
            // Kubernetes' own word for a failure says nothing.
            let why = if reason == "Error" || reason.is_empty() {
                meaning(code).unwrap_or_default().to_owned()
            } else {
                reason
            };
            let why = if why.is_empty() { String::new() } else { format!(": {why}") };
            Outcome::Failed { exit: Some(code), reason: format!("the container ended with exit code {code}{why}") }
        }
        None => Outcome::Failed { exit: None, reason: format!("its Job failed: {}", end.reason) },
    }
}

/// The supervisor's own codes.
fn meaning(code: i32) -> Option<&'static str> {
    match code {
        66 => Some("the object was gone before it could be fetched"),
        70 => Some("the supervisor failed"),
        74 => Some("the input could not be fetched or the output not be stored"),
        78 => Some("the service is not one that the supervisor can run"),
        _ => None,
    }
}

/// Writes changes, and does not give up: what was decided must be on disk before the runner goes on.
pub(super) async fn write(core: &Core, changes: Vec<Change>) {
    let mut pause = Duration::from_millis(100);
    while let Err(fault) = core.store.change(changes.clone()).await {
        tracing::error!(%fault, "the queue cannot be written; trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// Removes a Job whose verdict is on disk, and the Secret of its event. What cannot be removed now is met again
/// at the next start.
pub(super) async fn remove(core: &Core, job: &str, event: Option<EventId>, machine: Option<&str>) {
    if let Some(name) = machine {
        let Some(machine) = core.machines.get(name) else { return };
        if let Err(error) = machine.remove(job).await {
            tracing::warn!(%error, job, "a run that is over stays on its machine");
        }
        return;
    }
    if let Err(error) = core.cluster.delete_job(job).await {
        tracing::warn!(%error, "a Job that is over stays");
        return;
    }
    if let Some(id) = event
        && let Err(error) = core.cluster.delete_secret(&event_secret_name(id)).await
    {
        tracing::warn!(%error, "the Secret of an event stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_the_scripts_own_and_an_installation_that_failed_is_told() {
        let end = JobEnd { well: false, reason: "BackoffLimitExceeded".to_owned(), at: None, exit: None };
        let pod = |exit| PodFact {
            name: "p".to_owned(),
            job: "j".to_owned(),
            phase: "Failed".to_owned(),
            running: None,
            exit,
            stuck: None,
        };
        let reason = |pods: &[PodFact]| match told(exit(pods), &end) {
            Outcome::Failed { exit, reason } => (exit, reason),
            other @ (Outcome::Succeeded | Outcome::Refused { .. } | Outcome::Vanished) => panic!("{other:?}"),
        };
        assert_eq!(reason(&[pod(Some((3, "Error".to_owned())))]).1, "the container ended with exit code 3");
        assert_eq!(
            reason(&[pod(Some((137, "OOMKilled".to_owned())))]).1,
            "the container ended with exit code 137: OOMKilled"
        );
        assert!(reason(&[pod(Some((66, "Error".to_owned())))]).1.contains("gone before"));
        assert_eq!(reason(&[]), (None, "its Job failed: BackoffLimitExceeded".to_owned()));
    }
}
