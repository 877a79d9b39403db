//! Facts: the little that the gateway reads from Jobs and pods. Kubernetes' own types end here.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::job::{ATTEMPT, CONTAINER, EVENT};
use crate::functions::event::EventId;

/// A Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFact {
    /// Its name.
    pub name: String,
    /// Its service.
    pub service: String,
    /// Its event.
    pub event: Option<EventId>,
    /// Which attempt it is.
    pub attempt: u32,
    /// When it was made.
    pub made: Option<Timestamp>,
    /// How it ended.
    pub end: Option<JobEnd>,
    /// The machine that it is a run of, when it is no Job of Kubernetes.
    pub machine: Option<String>,
}

/// How a Job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    /// Well.
    pub well: bool,
    /// In Kubernetes' words.
    pub reason: String,
    /// When.
    pub at: Option<Timestamp>,
    /// Its exit code, where the Job itself tells.
    pub exit: Option<i32>,
}

/// A pod of a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFact {
    /// Its name.
    pub name: String,
    /// Its Job.
    pub job: String,
    /// Its phase.
    pub phase: String,
    /// Since when the script's container runs or ran.
    pub running: Option<Timestamp>,
    /// The container's exit code, with Kubernetes' reason.
    pub exit: Option<(i32, String)>,
    /// Why it cannot start: a reason and a message.
    pub stuck: Option<(String, String)>,
}

/// Reads a Job.
pub fn job(object: &Job) -> JobFact {
    let meta = &object.metadata;
    let label = |key: &str| meta.labels.as_ref().and_then(|labels| labels.get(key)).cloned().unwrap_or_default();
    let conditions = object.status.as_ref().and_then(|status| status.conditions.as_ref());
    let end = conditions.into_iter().flatten().find_map(|condition| {
        let well = match (condition.type_.as_str(), condition.status.as_str()) {
            ("Complete", "True") => true,
            ("Failed", "True") => false,
            _ => return None,
        };
        let words = [condition.reason.as_deref(), condition.message.as_deref()];
        let reason = words.into_iter().flatten().collect::<Vec<_>>().join(": ");
        Some(JobEnd { well, reason, at: condition.last_transition_time.as_ref().map(|time| time.0), exit: None })
    });
    JobFact {
        name: meta.name.clone().unwrap_or_default(),
        service: label("oscar_service"),
        event: label(EVENT).parse().ok(),
        attempt: label(ATTEMPT).parse().unwrap_or(1),
        made: meta.creation_timestamp.as_ref().map(|time| time.0),
        end,
        machine: None,
    }
}

/// Reads a pod.
pub fn pod(object: &Pod) -> PodFact {
    let meta = &object.metadata;
    let label = |key: &str| meta.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
    let status = object.status.as_ref();
    let all = |statuses: Option<&Vec<ContainerStatus>>| statuses.cloned().unwrap_or_default();
    let main = all(status.and_then(|s| s.container_statuses.as_ref()));
    let init = all(status.and_then(|s| s.init_container_statuses.as_ref()));
    let own = main.iter().find(|container| container.name == CONTAINER);
    let state = own.and_then(|container| container.state.as_ref());
    let running = state.and_then(|state| {
        let running = state.running.as_ref().and_then(|running| running.started_at.as_ref());
        running.or_else(|| state.terminated.as_ref().and_then(|end| end.started_at.as_ref()))
    });
    let stuck = init.iter().chain(&main).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.clone()?;
        Some((reason, format!("{}: {}", container.image, waiting.message.clone().unwrap_or_default())))
    });
    PodFact {
        name: meta.name.clone().unwrap_or_default(),
        job: label("batch.kubernetes.io/job-name").or_else(|| label("job-name")).unwrap_or_default(),
        phase: status.and_then(|s| s.phase.clone()).unwrap_or_default(),
        running: running.map(|time| time.0),
        exit: exit(&main, &init),
        stuck: stuck.filter(|(reason, _)| CANNOT_START.contains(&reason.as_str())),
    }
}

/// Reasons for which a container waits that do not pass by waiting a little.
const CANNOT_START: [&str; 8] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// The reason in the supervisor's last words, which it leaves as JSON in the container's status.
fn last_words(message: &str) -> Option<String> {
    let words: serde_json::Value = serde_json::from_str(message).ok()?;
    words.get("reason")?.as_str().filter(|reason| !reason.is_empty()).map(str::to_owned)
}

/// The script's exit code; or that of the supervisor's installation, when that failed.
fn exit(main: &[ContainerStatus], init: &[ContainerStatus]) -> Option<(i32, String)> {
    let ended = |container: &ContainerStatus| {
        let end = container.state.as_ref()?.terminated.as_ref()?;
        let reason = end.message.as_deref().and_then(last_words).or_else(|| end.reason.clone());
        Some((end.exit_code, reason.unwrap_or_default()))
    };
    let failed = init.iter().find_map(|container| {
        let (code, reason) = ended(container).filter(|(code, _)| *code != 0)?;
        Some((code, format!("the supervisor was not installed: {reason}")))
    });
    failed.or_else(|| main.iter().find(|container| container.name == CONTAINER).and_then(ended))
}
