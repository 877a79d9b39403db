//! Logs: a service's runs, their states and what they wrote. What a client calls a job is an event here; its
//! name stays the same over all attempts, and its log is that of the last one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;
use serde_json::json;
use tokio::sync::oneshot;

use super::Core;
use super::answer::{self, Answer};
use super::machines;
use super::word::Word;
use crate::functions::event::{EventId, job_name};
use crate::functions::objects::facts::PodFact;
use crate::functions::objects::job::EVENT;
use crate::functions::store::{Change, Record, State as Stage};

/// Runs on one page, as OSCAR has it.
const PAGE: u32 = 70;

/// One run, in OSCAR's words.
#[derive(Debug, Serialize)]
struct Shown {
    status: &'static str,
    creation_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_time: Option<String>,
}

fn shown(record: &Record) -> Shown {
    let status = match record.state {
        Stage::Running if record.running_at.is_some() => "Running",
        Stage::Waiting | Stage::Running => "Pending",
        Stage::Done => "Succeeded",
        Stage::Dead => "Failed",
    };
    let time = |at: jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Shown {
        status,
        creation_time: time(record.accepted_at),
        // A run that was over before anybody saw it running began when its Job was made.
        start_time: record.running_at.or(record.finished_at.and(record.made_at)).map(time),
        finish_time: record.finished_at.map(time),
    }
}

type Asked = Query<BTreeMap<String, String>>;

fn is_set(asked: &Asked, key: &str) -> bool {
    asked.get(key).is_some_and(|text| matches!(text.as_str(), "true" | "1" | "t" | "TRUE" | "True" | "T"))
}

fn known(core: &Core, headers: &HeaderMap, service: &str) -> Result<(), Answer> {
    answer::admin(core, headers)?;
    if core.board.borrow().services.contains_key(service) {
        return Ok(());
    }
    Err(Answer::missing(format!("there is no service {service}")))
}

/// `GET /system/logs/{service}`.
pub(super) async fn list(
    State(core): State<Arc<Core>>,
    Path(service): Path<String>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    known(&core, &headers, &service)?;
    let before = match asked.get("page").map(String::as_str).unwrap_or_default() {
        "" => i64::MAX,
        page => page.parse().map_err(|_| Answer::bad(format!("{page:?} is no page that was given out here")))?,
    };
    let records = core.store.shown(&service, before, PAGE)?;
    let last = records.last().map_or(0, |record| record.seq);
    let more = core.store.count(&service, last)?;
    let jobs: BTreeMap<String, Shown> =
        records.iter().map(|record| (job_name(&record.service, record.id, 1), shown(record))).collect();
    let mut body = json!({ "jobs": jobs });
    if more > 0 {
        body["next_page"] = json!(last.to_string());
        body["remaining_jobs"] = json!(more);
    }
    Ok(Json(body).into_response())
}

/// The event of a name, with the attempt that the name is of when it names one.
fn find(core: &Core, service: &str, job: &str) -> Result<(Record, Option<u32>), Answer> {
    let missing = || Answer::missing(format!("the service {service} has no job {job}"));
    let (base, attempt) = match job.rsplit_once("-r") {
        Some((base, number)) if number.parse::<u32>().is_ok() => (base, number.parse().ok()),
        _ => (job, None),
    };
    let id: EventId = base
        .len()
        .checked_sub(36)
        .and_then(|at| base.get(at..))
        .and_then(|text| text.parse().ok())
        .ok_or_else(missing)?;
    let record = core.store.find(id)?.filter(|record| record.service == service).ok_or_else(missing)?;
    Ok((record, attempt))
}

/// `GET /system/logs/{service}/{job}`.
pub(super) async fn read(
    State(core): State<Arc<Core>>,
    Path((service, job)): Path<(String, String)>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    known(&core, &headers, &service)?;
    let (record, attempt) = find(&core, &service, &job)?;
    if let Some(log) = machines::log(&core, &record, attempt).await? {
        return Ok((StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], log).into_response());
    }
    let pods = core.cluster.pods(&format!("oscar_service={service},{EVENT}={}", record.id)).await?;
    let newest = (1..=record.attempt).rev().filter(|number| attempt.is_none_or(|wanted| wanted == *number));
    let pod: Option<&PodFact> = newest
        .map(|number| job_name(&service, record.id, number))
        .find_map(|name| pods.iter().rfind(|pod| pod.job == name));
    let Some(pod) = pod else { return Err(Answer::missing(nothing(&record))) };
    if pod.running.is_none() && pod.exit.is_none() {
        let why = pod.stuck.as_ref().map_or(String::new(), |(reason, message)| format!(": {reason}: {message}"));
        return Err(Answer::missing(format!("the container has not started{why}")));
    }
    let log = core.cluster.log(&pod.name, is_set(&asked, "timestamps")).await?;
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], log).into_response())
}

/// Why there is no log.
fn nothing(record: &Record) -> String {
    let last = record.reason.as_ref().map_or(String::new(), |reason| format!("; the last attempt: {reason}"));
    match record.state {
        Stage::Waiting => format!("there is no log: the event waits for its turn{last}"),
        Stage::Running => format!("there is no log yet: its pod is not made{last}"),
        Stage::Done => "the log is gone with its Job: only the last ones of a service are kept".to_owned(),
        Stage::Dead => format!("there is no log{last}"),
    }
}

/// `DELETE /system/logs/{service}/{job}`.
pub(super) async fn remove(
    State(core): State<Arc<Core>>,
    Path((service, job)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    known(&core, &headers, &service)?;
    let (record, _) = find(&core, &service, &job)?;
    cancel(&core, record).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn cancel(core: &Core, record: Record) {
    let (reply, done) = oneshot::channel();
    drop(core.words.send(Word::Cancel(Box::new(record), reply)).await);
    drop(done.await);
}

/// `DELETE /system/logs/{service}`: those that succeeded; with `?all=true`, all.
pub(super) async fn remove_all(
    State(core): State<Arc<Core>>,
    Path(service): Path<String>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    known(&core, &headers, &service)?;
    let all = is_set(&asked, "all");
    let mut before = i64::MAX;
    loop {
        let page = core.store.shown(&service, before, PAGE)?;
        let Some(last) = page.last().map(|record| record.seq) else { break };
        for record in page.into_iter().filter(|record| all || record.state == Stage::Done) {
            // Those that have no Job any more are hidden in one go below.
            if record.state != Stage::Done || before == i64::MAX {
                cancel(&core, record).await;
            }
        }
        before = last;
    }
    core.store.change(vec![Change::Hide { service, seq: None, all }]).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
