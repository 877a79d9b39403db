//! Letters: events as an operator sees them, the dead ones first of all: listed, shown, tried again, thrown away.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Core;
use super::answer::{self, Answer};
use super::word::Word;
use crate::functions::event::{EventId, arrivals, job_name};
use crate::functions::store::{Accepted, Change, Record, State as Stage};

/// Events in one answer at most.
const MOST: u32 = 1000;

/// `GET /marea/events?state=dead&service=...&before=...&most=...`.
pub(super) async fn list(
    State(core): State<Arc<Core>>,
    Query(asked): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    answer::admin(&core, &headers)?;
    let state = match asked.get("state").map(String::as_str) {
        None | Some("all") => None,
        Some("waiting") => Some(Stage::Waiting),
        Some("running") => Some(Stage::Running),
        Some("done") => Some(Stage::Done),
        Some("dead") => Some(Stage::Dead),
        Some(other) => {
            return Err(Answer::bad(format!("{other:?} is no state: waiting, running, done, dead or all")));
        }
    };
    let number = |key: &str, usual: i64| match asked.get(key) {
        Some(text) => text.parse().map_err(|_| Answer::bad(format!("{key}={text:?} is no number"))),
        None => Ok(usual),
    };
    let most = u32::try_from(number("most", 100)?).unwrap_or(MOST).min(MOST);
    let records =
        core.store.list(asked.get("service").map(String::as_str), state, number("before", i64::MAX)?, most)?;
    let totals: BTreeMap<String, i64> = core
        .store
        .totals()?
        .into_iter()
        .filter_map(|(state, count)| Some((serde_json::to_value(state).ok()?.as_str()?.to_owned(), count)))
        .collect();
    let events: Vec<Value> = records.iter().map(shown).collect();
    Ok(Json(json!({ "events": events, "totals": totals })).into_response())
}

fn shown(record: &Record) -> Value {
    let mut value = json!(record);
    if !record.service.is_empty() {
        value["job"] = json!(job_name(&record.service, record.id, 1));
    }
    value
}

fn id(text: &str) -> Result<EventId, Answer> {
    // A job's name does as well: its end is the event's identity.
    let tail = text.len().checked_sub(36).and_then(|at| text.get(at..)).unwrap_or(text);
    tail.parse().map_err(|()| Answer::bad(format!("{text:?} is no event: its identity is a UUID, as `list` shows it")))
}

/// `GET /marea/events/{id}`.
pub(super) async fn show(
    State(core): State<Arc<Core>>,
    Path(text): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    answer::admin(&core, &headers)?;
    let found = core.store.find(id(&text)?)?.and_then(|record| core.store.take(record.seq).transpose()).transpose()?;
    let (record, body) = found.ok_or_else(|| Answer::missing(format!("there is no event {text}")))?;
    let mut value = shown(&record);
    value["body"] = json!(String::from_utf8_lossy(&body));
    Ok(Json(value).into_response())
}

/// Which dead letters: some, or all of a service, or all.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Which {
    ids: Vec<String>,
    service: Option<String>,
    all: bool,
}

fn chosen(core: &Core, which: &Which) -> Result<Vec<Record>, Answer> {
    if !which.ids.is_empty() {
        let mut found = Vec::new();
        for text in &which.ids {
            let record =
                core.store.find(id(text)?)?.ok_or_else(|| Answer::missing(format!("there is no event {text}")))?;
            if record.state != Stage::Dead {
                return Err(Answer::new(StatusCode::CONFLICT, format!("the event {text} is no dead letter")));
            }
            found.push(record);
        }
        return Ok(found);
    }
    if which.service.is_none() && !which.all {
        return Err(Answer::bad("say which: `ids`, a `service`, or `all`"));
    }
    let (mut found, mut before) = (Vec::new(), i64::MAX);
    loop {
        let page = core.store.list(which.service.as_deref(), Some(Stage::Dead), before, MOST)?;
        let Some(last) = page.last() else { return Ok(found) };
        before = last.seq;
        found.extend(page);
    }
}

/// `POST /marea/events/replay`.
pub(super) async fn replay(
    State(core): State<Arc<Core>>,
    headers: HeaderMap,
    Json(which): Json<Which>,
) -> Result<Response, Answer> {
    answer::admin(&core, &headers)?;
    let board = core.board.borrow().clone();
    let (mut changes, mut events, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for record in chosen(&core, &which)? {
        // One that no service took finds its service now, if there is one now.
        let service = if record.service.is_empty() {
            let body = core.store.take(record.seq)?.map(|(_, body)| body).unwrap_or_default();
            let found = arrivals(&body).and_then(|mut found| found.pop());
            let taker = found.and_then(|one| board.routes.find(&one.bucket, &one.key).first().map(|s| (*s).to_owned()));
            taker.unwrap_or_default()
        } else {
            record.service.clone()
        };
        if !board.services.contains_key(&service) {
            left.push(record.id.to_string());
            continue;
        }
        let attempt = record.attempt + 1;
        changes.push(Change::Replay { seq: record.seq, service: service.clone(), attempt });
        events.push(Accepted { seq: record.seq, id: record.id, service, fresh: true, state: Stage::Waiting, attempt });
    }
    let count = events.len();
    core.store.change(changes).await?;
    drop(core.words.send(Word::Replayed(events)).await);
    Ok(Json(json!({ "replayed": count, "without_service": left })).into_response())
}

/// `POST /marea/events/purge`.
pub(super) async fn purge(
    State(core): State<Arc<Core>>,
    headers: HeaderMap,
    Json(which): Json<Which>,
) -> Result<Response, Answer> {
    answer::admin(&core, &headers)?;
    let records = chosen(&core, &which)?;
    let count = records.len();
    core.store.change(records.iter().map(|record| Change::Purge { seq: record.seq }).collect()).await?;
    Ok(Json(json!({ "purged": count })).into_response())
}

/// `DELETE /marea/events/{id}`.
pub(super) async fn purge_one(
    state: State<Arc<Core>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    purge(state, headers, Json(Which { ids: vec![id], ..Which::default() })).await
}
