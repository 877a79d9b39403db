//! Kueue: what it holds back, watched. It admits by quota, not by machines: what waits for a quota wakes nothing,
//! unless the config says that quotas follow the machines (`ahead_of_quota`). What has its quota reserved and waits
//! for something else will come, and is demand.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1 as api;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource as _};
use serde::Deserialize;

use super::{CALL, PAUSE_MOST, QueueError, Reading};
use crate::kubernetes::{client, convert};
use crate::model::queue::{Backlog, Unit};

/// The label that puts an object into a queue of Kueue.
const QUEUE: &str = "kueue.x-k8s.io/queue-name";
/// The group of its own objects.
const GROUP: &str = "kueue.x-k8s.io";
/// How often it is asked whether the API server is well while nothing changes.
const PROBE: Duration = Duration::from_secs(2);

const QUOTA: &str = "waits for Kueue's quota: more machines would not start it";
const UNSEEN: &str = "waits for Kueue, which is not installed";

/// Pods that one object will become: so many of each kind.
type Held = Vec<(Waits, u64)>;

/// Where and why it waits, and the pod that it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Waits {
    queue: String,
    held: Option<&'static str>,
    unit: Unit,
}

enum Word {
    Begins,
    Is(String, Held),
    Gone(String),
    Listed,
    Alive(bool),
    Broken(String),
}

struct Ear {
    client: Client,
    namespace: Option<String>,
    ahead: bool,
    words: Option<Pin<Box<dyn Stream<Item = Word> + Send>>>,
    objects: BTreeMap<String, Held>,
    listed: bool,
    /// Kueue's own objects are watched.
    workloads: bool,
    pause: Duration,
}

/// All that is held back, for ever.
pub(super) fn readings(client: Client, namespace: Option<String>, ahead: bool) -> BoxStream<'static, Reading> {
    let ear = Ear {
        client,
        namespace,
        ahead,
        words: None,
        objects: BTreeMap::new(),
        listed: false,
        workloads: false,
        pause: Duration::ZERO,
    };
    stream::unfold(ear, async |mut ear| {
        let reading = ear.next().await;
        if reading.is_err() {
            ear.words = None;
            ear.pause = (ear.pause * 2).clamp(Duration::from_millis(250), PAUSE_MOST);
        } else {
            ear.pause = Duration::ZERO;
        }
        Some((reading, ear))
    })
    .boxed()
}

fn unreachable(reason: String) -> QueueError {
    QueueError::Unreachable { place: "the API server".to_owned(), reason }
}

impl Ear {
    async fn next(&mut self) -> Reading {
        if self.words.is_none() {
            tokio::time::sleep(self.pause).await;
            self.begin().await?;
        }
        while let Some(word) = match &mut self.words {
            Some(words) => words.next().await,
            None => None,
        } {
            match word {
                Word::Begins => {
                    self.objects.clear();
                    self.listed = false;
                }
                Word::Is(name, held) => drop(self.objects.insert(name, held)),
                Word::Gone(name) => drop(self.objects.remove(&name)),
                Word::Listed => self.listed = true,
                Word::Alive(workloads) if workloads != self.workloads => {
                    // Kueue came or went: other objects are to be watched.
                    self.words = None;
                    self.begin().await?;
                }
                Word::Alive(_) => {}
                Word::Broken(reason) => return Err(unreachable(reason)),
            }
            if self.listed {
                return Ok(self.backlogs());
            }
        }
        Err(unreachable("the watch ended".to_owned()))
    }

    async fn begin(&mut self) -> Result<(), QueueError> {
        self.objects.clear();
        self.listed = false;
        let resource = workload(&self.client).await.map_err(unreachable)?;
        self.workloads = resource.is_some();
        let ahead = self.ahead;
        let watched: BoxStream<'static, Word> = if let Some(resource) = resource {
            let api: Api<DynamicObject> = match &self.namespace {
                Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
                None => Api::all_with(self.client.clone(), &resource),
            };
            let events = watcher(api, watcher::Config::default()).default_backoff();
            events.map(move |event| word(event, |object| of_workload(object, ahead))).boxed()
        } else {
            let api: Api<Job> = match &self.namespace {
                Some(namespace) => Api::namespaced(self.client.clone(), namespace),
                None => Api::all(self.client.clone()),
            };
            let events = watcher(api, watcher::Config::default().labels(QUEUE)).default_backoff();
            events.map(move |event| word(event, |job| of_job(job, ahead))).boxed()
        };
        let start = (self.client.clone(), tokio::time::interval(PROBE));
        let probes = stream::unfold(start, async |(client, mut clock)| {
            clock.tick().await;
            let word = match workload(&client).await {
                Ok(resource) => Word::Alive(resource.is_some()),
                Err(reason) => Word::Broken(reason),
            };
            Some((word, (client, clock)))
        });
        self.words = Some(stream::select(watched, probes).boxed());
        Ok(())
    }

    /// Alike pods of one queue together.
    fn backlogs(&self) -> Vec<Backlog> {
        let mut kinds: Vec<(&Waits, u64)> = Vec::new();
        for (waits, count) in self.objects.values().flatten() {
            match kinds.iter_mut().find(|(kind, _)| *kind == waits) {
                Some((_, sum)) => *sum = sum.saturating_add(*count),
                None => kinds.push((waits, *count)),
            }
        }
        let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
        let mut backlogs = Vec::new();
        for (waits, count) in kinds {
            let number = numbers.entry(&waits.queue).or_default();
            *number += 1;
            let service = if *number == 1 { waits.queue.clone() } else { format!("{}~{number}", waits.queue) };
            backlogs.push(Backlog {
                service,
                waiting: count,
                in_flight: Some(0),
                limit: None,
                held: waits.held.map(str::to_owned),
                unit: waits.unit.clone(),
            });
        }
        backlogs
    }
}

/// Kueue's Workload as the API server serves it; none where Kueue is not installed.
async fn workload(client: &Client) -> Result<Option<ApiResource>, String> {
    let groups = match tokio::time::timeout(CALL, client.list_api_groups()).await {
        Ok(Ok(groups)) => groups,
        Ok(Err(error)) => return Err(client::chain(&error)),
        Err(_) => return Err(format!("no answer within {} s", CALL.as_secs())),
    };
    let group = groups.groups.into_iter().find(|group| group.name == GROUP);
    Ok(group.and_then(|group| group.preferred_version.or_else(|| group.versions.into_iter().next())).map(|version| {
        ApiResource {
            group: GROUP.to_owned(),
            version: version.version.clone(),
            api_version: version.group_version,
            kind: "Workload".to_owned(),
            plural: "workloads".to_owned(),
        }
    }))
}

fn word<K: kube::ResourceExt>(event: Result<watcher::Event<K>, watcher::Error>, held: impl Fn(&K) -> Held) -> Word {
    let name = |object: &K| format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
    match event {
        Ok(watcher::Event::Init) => Word::Begins,
        Ok(watcher::Event::InitDone) => Word::Listed,
        Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => Word::Is(name(&object), held(&object)),
        Ok(watcher::Event::Delete(object)) => Word::Gone(name(&object)),
        Err(error) => Word::Broken(client::chain(&error)),
    }
}

fn unit(namespace: &str, template: &api::PodTemplateSpec) -> Unit {
    let pod = api::Pod { spec: template.spec.clone(), ..api::Pod::default() };
    let pod = convert::pod(&pod);
    Unit {
        namespace: Some(namespace.to_owned()),
        requests: pod.requests,
        node_selector: pod.node_selector,
        tolerations: pod.tolerations,
        ..Unit::default()
    }
}

/// A Job that is suspended.
fn of_job(job: &Job, ahead: bool) -> Held {
    let Some(spec) = job.spec.as_ref().filter(|spec| spec.suspend == Some(true)) else { return Vec::new() };
    if job.status.as_ref().is_some_and(|status| status.completion_time.is_some()) {
        return Vec::new();
    }
    let namespace = job.meta().namespace.clone().unwrap_or_default();
    let queue = job.meta().labels.as_ref().and_then(|labels| labels.get(QUEUE)).cloned().unwrap_or_default();
    let at_once = spec.parallelism.unwrap_or(1).min(spec.completions.unwrap_or(i32::MAX));
    let waits = Waits {
        queue: format!("{namespace}/{queue}"),
        held: (!ahead).then_some(UNSEEN),
        unit: unit(&namespace, &spec.template),
    };
    vec![(waits, u64::try_from(at_once).unwrap_or_default())]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Workload {
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    queue_name: String,
    #[serde(default)]
    pod_sets: Vec<PodSet>,
    active: Option<bool>,
}

#[derive(Deserialize)]
struct PodSet {
    count: Option<u64>,
    template: api::PodTemplateSpec,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

/// A Workload that is not admitted.
fn of_workload(object: &DynamicObject, ahead: bool) -> Held {
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let workload: Workload = match serde_json::from_value(object.data.clone()) {
        Ok(workload) => workload,
        Err(error) => {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            tracing::warn!(%error, "Workload {namespace}/{name} cannot be understood and is left out");
            return Vec::new();
        }
    };
    let is = |name: &str| workload.status.conditions.iter().any(|one| one.r#type == name && one.status == "True");
    if is("Admitted") || is("Finished") {
        return Vec::new();
    }
    let held = match workload.spec.active {
        Some(false) => Some("deactivated"),
        Some(true) | None if is("QuotaReserved") || ahead => None,
        Some(true) | None => Some(QUOTA),
    };
    let waits = |set: &PodSet| Waits {
        queue: format!("{namespace}/{}", workload.spec.queue_name),
        held,
        unit: unit(&namespace, &set.template),
    };
    workload.spec.pod_sets.iter().map(|set| (waits(set), set.count.unwrap_or(1))).collect()
}
