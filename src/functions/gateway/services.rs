//! Services: made, read, changed and removed as OSCAR's clients ask. A service is made whole or not at all: what
//! can be refused is refused before anything is made, and what was made is taken back when a later step fails.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use serde_json::Value;
use tokio::sync::oneshot;

use super::Core;
use super::answer::{self, Answer};
use super::buckets::BucketError;
use super::cluster::Making;
use super::word::{Board, Word};
use crate::functions::event::Routes;
use crate::functions::objects::{self, Entry, shown};
use crate::functions::places::{RUNTIME, by_udocker};
use crate::functions::service::{self, Service};
use crate::s3::S3Error;

const EXISTS: &str = "A service with the provided name already exists";
/// A change is seen by the watch within milliseconds; an API server that is slower than this is not well.
const SEEN: Duration = Duration::from_secs(5);

fn ready(core: &Core) -> Result<Arc<Board>, Answer> {
    let board = core.board.borrow().clone();
    match &board.not_ready {
        Some(reason) => Err(Answer::not_now(reason.clone())),
        None => Ok(board),
    }
}

/// `GET /system/services`.
pub(super) async fn list(State(core): State<Arc<Core>>, headers: HeaderMap) -> Result<Response, Answer> {
    answer::admin(&core, &headers)?;
    let board = ready(&core)?;
    let own = core.own_store();
    let services: Vec<Service> = board.services.values().map(|entry| shown(&entry.service, own.as_ref())).collect();
    Ok(Json(services).into_response())
}

/// `GET /system/services/{service}`.
pub(super) async fn read(
    State(core): State<Arc<Core>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    answer::admin(&core, &headers)?;
    let board = ready(&core)?;
    let entry = board.services.get(&name).ok_or_else(|| Answer::missing(format!("there is no service {name}")))?;
    Ok(Json(shown(&entry.service, core.own_store().as_ref())).into_response())
}

async fn parse(core: &Core, body: Body) -> Result<Service, Answer> {
    let most = core.settings.limits.service_bytes;
    let bytes = answer::body(body, most, "a service with its script").await?;
    let not_valid =
        |reason: &dyn std::fmt::Display| Answer::bad(format!("The service specification is not valid: {reason}"));
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| not_valid(&error))?;
    let mut service = service::read(value).map_err(|refused| not_valid(&refused))?;
    if by_udocker(&service) && core.machines.entries().next().is_none() {
        return Err(not_valid(&format!("annotations.{RUNTIME}: this gateway has no machine of that runtime")));
    }
    core.cluster.namespace.clone_into(&mut service.namespace);
    Ok(service)
}

/// `POST /system/services`.
pub(super) async fn create(State(core): State<Arc<Core>>, headers: HeaderMap, body: Body) -> Result<Response, Answer> {
    answer::admin(&core, &headers)?;
    let mut service = parse(&core, body).await?;
    let _turn = core.changing.lock().await;
    let board = ready(&core)?;
    if board.services.contains_key(&service.name) {
        return Err(Answer::new(StatusCode::CONFLICT, EXISTS));
    }
    service.token = token()?;
    let made = core.buckets.wanted(&service, &ours(&board, &service.name)).await.map_err(refused)?;
    if let Some(secret) = objects::secret(&service, &core.cluster.namespace) {
        core.cluster.put_secret(&secret).await.map_err(|error| match error {
            Making::Exists => Answer::new(
                StatusCode::CONFLICT,
                format!("A secret with the given name already exists: {} is not of a service", service.name),
            ),
            other @ (Making::Wrong(_) | Making::Other(_)) => making(other),
        })?;
    }
    let version = match core.cluster.make_config(&config(&service, &core, &made)?).await {
        Ok(version) => version,
        Err(error) => {
            take_back(&core, &service, &[], false).await;
            return Err(match error {
                Making::Exists => Answer::new(
                    StatusCode::CONFLICT,
                    format!("{EXISTS}: a ConfigMap {} that is not of a service", service.name),
                ),
                other @ (Making::Wrong(_) | Making::Other(_)) => making(other),
            });
        }
    };
    if let Err(error) = furnish(&core, &board, &service, &made).await {
        take_back(&core, &service, &made, true).await;
        return Err(error);
    }
    seen(&core, |board| newer(board, &service.name, &version)).await;
    tracing::info!(service = %service.name, image = %service.image, "a service is made");
    Ok(StatusCode::CREATED.into_response())
}

/// `PUT /system/services`.
pub(super) async fn update(State(core): State<Arc<Core>>, headers: HeaderMap, body: Body) -> Result<Response, Answer> {
    answer::admin(&core, &headers)?;
    let mut service = parse(&core, body).await?;
    let _turn = core.changing.lock().await;
    let board = ready(&core)?;
    let Some(old) = board.services.get(&service.name).cloned() else {
        return Err(Answer::missing(format!("there is no service {}", service.name)));
    };
    service.token.clone_from(&old.service.token);
    let more = core.buckets.wanted(&service, &ours(&board, "")).await.map_err(refused)?;
    let made: Vec<String> = old.made.iter().chain(&more).cloned().collect();
    // A client that sends back what it got has no values of secrets: those that are there stay.
    let keeps = service.environment.secrets.values().all(String::is_empty)
        && service.environment.secrets.keys().eq(old.service.environment.secrets.keys());
    if !keeps {
        match objects::secret(&service, &core.cluster.namespace) {
            Some(secret) => core.cluster.put_secret(&secret).await.map_err(making)?,
            None => drop(core.cluster.delete_secret(&service.name).await?),
        }
    }
    let version = core.cluster.replace_config(&config(&service, &core, &made)?).await?;
    if let Err(error) = furnish(&core, &board, &service, &more).await {
        let back = objects::config_map(&old.service, &core.cluster.namespace, &old.made);
        if let Ok(back) = back
            && let Err(fault) = core.cluster.replace_config(&back).await
        {
            tracing::error!(%fault, service = %service.name, "the old service could not be put back");
        }
        return Err(error);
    }
    // Buckets that only the old one listened to are told to be silent.
    let routes = routes_with(&board, Some(&service), &service.name);
    for (place, _) in old.service.own_places().filter(|(_, is_input)| *is_input) {
        core.buckets.tell(place.bucket_and_folder().0, &routes).await.map_err(|error| refused(error.into()))?;
    }
    seen(&core, |board| newer(board, &service.name, &version)).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /system/services/{service}`.
pub(super) async fn remove(
    State(core): State<Arc<Core>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    answer::admin(&core, &headers)?;
    let _turn = core.changing.lock().await;
    let board = ready(&core)?;
    let Some(entry) = board.services.get(&name).cloned() else {
        return Err(Answer::missing(format!("there is no service {name}")));
    };
    // The rules first: what comes in meanwhile still has a service.
    let routes = routes_with(&board, None, &name);
    for (place, _) in entry.service.own_places().filter(|(_, is_input)| *is_input) {
        core.buckets.tell(place.bucket_and_folder().0, &routes).await.map_err(|error| refused(error.into()))?;
    }
    core.cluster.delete_config(&name).await?;
    let (reply, done) = oneshot::channel();
    drop(core.words.send(Word::Drop(name.clone(), reply)).await);
    drop(done.await);
    if !entry.service.environment.secrets.is_empty() {
        core.cluster.delete_secret(&name).await?;
    }
    let others = ours(&board, &name);
    let alone: Vec<String> = entry.made.iter().filter(|bucket| !others.contains(bucket)).cloned().collect();
    match core.buckets.remove_empty(&alone).await {
        Ok(stay) if stay.is_empty() => {}
        Ok(stay) => tracing::info!(service = %name, ?stay, "buckets with objects in them stay"),
        Err(error) => tracing::warn!(service = %name, %error, "the service's empty buckets stay"),
    }
    seen(&core, |board| !board.services.contains_key(&name)).await;
    tracing::info!(service = %name, "a service is removed");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Makes buckets and rules of all services what they should be.
pub(super) async fn settle(core: &Core, board: &Board) -> Result<(), BucketError> {
    for entry in board.services.values() {
        core.buckets.make(&entry.service, &entry.made).await?;
    }
    for bucket in board.routes.buckets() {
        core.buckets.tell(bucket, &board.routes).await?;
    }
    Ok(())
}

/// Buckets, folders and rules of a service whose ConfigMap is there.
async fn furnish(core: &Core, board: &Board, service: &Service, made: &[String]) -> Result<(), Answer> {
    core.buckets.make(service, made).await.map_err(refused)?;
    let routes = routes_with(board, Some(service), &service.name);
    for (place, _) in service.own_places().filter(|(_, is_input)| *is_input) {
        core.buckets.tell(place.bucket_and_folder().0, &routes).await.map_err(|error| refused(error.into()))?;
    }
    Ok(())
}

/// Takes back what was made of a service that could not be made whole.
async fn take_back(core: &Core, service: &Service, made: &[String], config: bool) {
    if config && let Err(error) = core.cluster.delete_config(&service.name).await {
        tracing::error!(%error, service = %service.name, "a service that was made by half stays");
    }
    if !service.environment.secrets.is_empty()
        && let Err(error) = core.cluster.delete_secret(&service.name).await
    {
        tracing::error!(%error, service = %service.name, "the Secret of a service that was not made stays");
    }
    if let Err(error) = core.buckets.remove_empty(made).await {
        tracing::error!(%error, service = %service.name, "buckets of a service that was not made stay");
    }
}

fn config(service: &Service, core: &Core, made: &[String]) -> Result<k8s_openapi::api::core::v1::ConfigMap, Answer> {
    objects::config_map(service, &core.cluster.namespace, made)
        .map_err(|reason| Answer::bad(format!("The service specification is not valid: {reason}")))
}

/// The buckets of all services but one.
fn ours(board: &Board, except: &str) -> Vec<String> {
    let others = board.services.values().filter(|entry| entry.service.name != except);
    let used = |entry: &Arc<Entry>| {
        let places = entry.service.own_places().map(|(place, _)| place.bucket_and_folder().0.to_owned());
        places.chain(entry.made.iter().cloned()).collect::<Vec<_>>()
    };
    others.flat_map(used).collect()
}

fn routes_with(board: &Board, with: Option<&Service>, without: &str) -> Routes {
    let others = board.services.values().map(|entry| &entry.service).filter(|service| service.name != without);
    Routes::of(others.chain(with))
}

/// Waits until the watch has shown a change, so that whoever made it reads it.
async fn seen(core: &Core, is_there: impl FnMut(&Arc<Board>) -> bool) {
    let mut board = core.board.clone();
    drop(tokio::time::timeout(SEEN, board.wait_for(is_there)).await);
}

fn newer(board: &Board, name: &str, version: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    board.services.get(name).is_some_and(|entry| number(&entry.version) >= number(version))
}

fn refused(error: BucketError) -> Answer {
    let status = match &error {
        BucketError::Exists(_) => StatusCode::CONFLICT,
        BucketError::NoStore => StatusCode::BAD_REQUEST,
        BucketError::Store(S3Error::Refused { .. }) => StatusCode::INTERNAL_SERVER_ERROR,
        BucketError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Answer::new(status, error.to_string())
}

fn making(error: Making) -> Answer {
    match error {
        Making::Exists => Answer::new(StatusCode::CONFLICT, EXISTS),
        Making::Wrong(reason) => Answer::bad(format!("The service specification is not valid: {reason}")),
        Making::Other(error) => error.into(),
    }
}

/// 64 digits of chance, as OSCAR's tokens are.
fn token() -> Result<String, Answer> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Answer::new(StatusCode::INTERNAL_SERVER_ERROR, format!("no randomness: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
