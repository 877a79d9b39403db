//! Invoking: events come in, from the store's webhook, from clients that do not wait and from clients that do.
//! None is acknowledged before it is on disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use base64::Engine as _;
use serde_json::json;
use tokio::sync::oneshot;

use super::Core;
use super::answer::{self, Answer};
use super::machines;
use super::word::{Board, Ended, Word};
use crate::clock;
use crate::functions::event::{Arrival, EventId, arrivals, job_name};
use crate::functions::objects::Entry;
use crate::functions::store::{Accepted, Kind, New};

/// A notification of the store may tell of many objects.
const NOTIFICATION: usize = 16 << 20;

/// What the supervisor writes before a result.
const RESULT_FILE: &str = "marea-result-file:";
const RESULT_TEXT: &str = "marea-result-text:";

fn ready(core: &Core) -> Result<Arc<Board>, Answer> {
    let board = core.board.borrow().clone();
    match &board.not_ready {
        Some(reason) => Err(Answer::not_now(reason.clone())),
        None => Ok(board),
    }
}

fn service(board: &Board, name: &str) -> Result<Arc<Entry>, Answer> {
    board.services.get(name).cloned().ok_or_else(|| Answer::missing(format!("there is no service {name}")))
}

/// The service's own token, the administrator, or the store's webhook.
fn allowed(core: &Core, headers: &HeaderMap, entry: &Entry) -> Result<(), Answer> {
    let webhook = core.secrets.webhook_token.as_deref();
    if answer::has_token(headers, webhook.into_iter().chain([entry.service.token.as_str()]))
        || answer::is_admin(core, headers)
    {
        return Ok(());
    }
    Err(Answer::new(StatusCode::UNAUTHORIZED, format!("the token is not that of the service {}", entry.service.name)))
}

/// A new identity for an event that has none.
fn fresh_id() -> Result<EventId, Answer> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|error| Answer::new(StatusCode::INTERNAL_SERVER_ERROR, format!("no randomness: {error}")))?;
    Ok(EventId(id))
}

async fn accept(
    core: &Core,
    events: Vec<New>,
    waiter: Option<oneshot::Sender<Ended>>,
) -> Result<Vec<Accepted>, Answer> {
    let begun = clock::monotonic();
    let accepted = core.store.accept(events).await?;
    core.figures.commit.observe(clock::monotonic().duration_since(begun).as_secs_f64());
    let fresh = accepted.iter().filter(|event| event.fresh).count() as u64;
    core.figures.accepted.inc_by(fresh);
    core.figures.duplicates.inc_by(accepted.len() as u64 - fresh);
    // The runner ends with the process: then nobody reads the answer either.
    drop(core.words.send(Word::Accepted(accepted.clone(), waiter)).await);
    Ok(accepted)
}

fn arrived(arrival: Arrival, service: &str, dead: Option<String>) -> Result<New, Answer> {
    let id = arrival.id(service).map_or_else(fresh_id, Ok)?;
    let body = arrival.body.into_bytes();
    Ok(New { id, service: service.to_owned(), kind: Kind::Object, body, at: clock::now(), dead })
}

/// `POST /events`: the store tells of objects.
pub(super) async fn events(State(core): State<Arc<Core>>, headers: HeaderMap, body: Body) -> Result<Response, Answer> {
    let Some(token) = core.secrets.webhook_token.as_deref() else {
        return Err(Answer::missing("there is no webhook here: the secret webhook-token is not set"));
    };
    if !answer::has_token(&headers, [token]) {
        return Err(Answer::new(StatusCode::UNAUTHORIZED, "the token is not that of the webhook"));
    }
    let board = ready(&core)?;
    let body = answer::body(body, NOTIFICATION, "a notification").await?;
    // MinIO asks with an empty body whether anybody is there.
    if body.is_empty() {
        return Ok(StatusCode::OK.into_response());
    }
    let Some(found) = arrivals(&body) else {
        return Err(Answer::bad("this is no notification of an S3 store: there are no `Records` with `s3` in it"));
    };
    let mut new = Vec::new();
    for arrival in found {
        let takers = board.routes.find(&arrival.bucket, &arrival.key);
        if takers.is_empty() {
            let reason = format!("no service takes {}/{}", arrival.bucket, arrival.key);
            new.push(arrived(arrival, "", Some(reason))?);
            continue;
        }
        for service in takers {
            new.push(arrived(arrival.clone(), service, None)?);
        }
    }
    if !new.is_empty() {
        accept(&core, new, None).await?;
    }
    Ok(StatusCode::OK.into_response())
}

/// `POST /job/{service}`: an event, to be run when there is room.
pub(super) async fn job(
    State(core): State<Arc<Core>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Answer> {
    let board = ready(&core)?;
    let entry = service(&board, &name)?;
    allowed(&core, &headers, &entry)?;
    let body = answer::body(body, core.settings.limits.event_bytes, "an event").await?;
    let new = match arrivals(&body) {
        Some(found) => found.into_iter().map(|arrival| arrived(arrival, &name, None)).collect::<Result<_, _>>()?,
        // What is not S3-shaped is an event all the same: its text is the function's input.
        None => {
            vec![New { id: fresh_id()?, service: name.clone(), kind: Kind::Job, body, at: clock::now(), dead: None }]
        }
    };
    if new.is_empty() {
        return Ok((StatusCode::CREATED, Json(json!({ "jobs": [] }))).into_response());
    }
    let accepted = accept(&core, new, None).await?;
    let jobs: Vec<String> = accepted.iter().map(|event| job_name(&event.service, event.id, 1)).collect();
    let place = format!("/system/logs/{name}/{}", jobs.first().map_or("", String::as_str));
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(json!({ "jobs": jobs }))).into_response())
}

/// `POST /run/{service}`: an event whose result is waited for.
pub(super) async fn run(
    State(core): State<Arc<Core>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Answer> {
    let board = ready(&core)?;
    let entry = service(&board, &name)?;
    allowed(&core, &headers, &entry)?;
    let body = answer::body(body, core.settings.limits.event_bytes, "an event").await?;
    let (id, at) = (fresh_id()?, clock::now());
    let new = New { id, service: name.clone(), kind: Kind::Run, body, at, dead: None };
    let (waiter, end) = oneshot::channel();
    accept(&core, vec![new], Some(waiter)).await?;
    let job = job_name(&name, id, 1);
    match tokio::time::timeout(core.settings.limits.sync(), end).await {
        Err(_) => Ok(later(&core, &name, &job)),
        Ok(Err(_)) => Err(Answer::not_now(format!("the gateway ends; the run goes on as {job}"))),
        Ok(Ok(ended)) => result(&core, &name, &job, ended).await,
    }
}

/// The answer to whoever cannot be kept waiting any longer.
fn later(core: &Core, service: &str, job: &str) -> Response {
    let place = format!("/system/logs/{service}/{job}");
    let depth = core.depths.borrow().get(service).cloned().unwrap_or_default();
    let seconds = core.settings.limits.sync_seconds;
    let mut message = format!("the run is not over within {seconds} s; it goes on as the job {job}");
    if depth.waiting > 0 {
        message.push_str(&format!(" ({} events of the service wait, {} run)", depth.waiting, depth.in_flight));
    }
    let last = core.last_wait.load(Ordering::Relaxed);
    if last > 0 {
        message.push_str(&format!("; the last event that waited for a machine ran after {last} s"));
    }
    let body = json!({ "job": job, "status": "Pending", "location": place, "message": message });
    (StatusCode::ACCEPTED, [(header::LOCATION, place)], Json(body)).into_response()
}

async fn result(core: &Core, service: &str, job: &str, ended: Ended) -> Result<Response, Answer> {
    let on_machine = match core.store.find(ended.id)? {
        Some(record) => machines::log(core, &record, None).await.unwrap_or_default(),
        None => None,
    };
    let selector = format!("batch.kubernetes.io/job-name={job},{}={}", crate::functions::objects::job::EVENT, ended.id);
    let log = if let Some(log) = on_machine {
        log
    } else {
        let pods = core.cluster.pods(&selector).await.unwrap_or_default();
        match pods.first() {
            Some(pod) => core.cluster.log(&pod.name, false).await.unwrap_or_default(),
            None => String::new(),
        }
    };
    if let Some(failure) = ended.failure {
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
        let text = format!("the run {job} of {service} failed: {failure}\n{tail}");
        return Err(Answer::new(StatusCode::INTERNAL_SERVER_ERROR, text.trim_end()));
    }
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], said(&log)).into_response())
}

/// The result in a pod's log: a file as base64, as OSCAR gives it, or the script's own words.
fn said(log: &str) -> Vec<u8> {
    for line in log.lines().rev() {
        if let Some(file) = line.strip_prefix(RESULT_FILE) {
            return file.trim().as_bytes().to_vec();
        }
        if let Some(text) = line.strip_prefix(RESULT_TEXT) {
            return base64::engine::general_purpose::STANDARD.decode(text.trim()).unwrap_or_default();
        }
    }
    log.as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn a_result_is_found_behind_what_the_script_said() {
        assert_eq!(said("noise\nmarea-result-file:YWJj\n"), b"YWJj");
        assert_eq!(said("noise\nmarea-result-text:YWJj\n"), b"abc");
        assert_eq!(said("only words\n"), b"only words\n");
    }
}
