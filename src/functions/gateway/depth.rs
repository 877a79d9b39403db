//! Depth: what waits and runs, told to whoever powers machines, as one JSON line whenever it changed and every
//! few seconds when it did not.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::Core;
use super::answer::{self, Answer};
use crate::clock;
use crate::functions::objects::job::node_selector;
use crate::functions::places::{RUNTIME, UDOCKER, by_udocker};

/// A line comes at least this often: silence is a connection that is dead.
const BEAT: Duration = Duration::from_secs(5);

/// `GET /marea/queue`.
pub(super) async fn stream(State(core): State<Arc<Core>>, headers: HeaderMap) -> Result<Response, Answer> {
    if !answer::has_token(&headers, core.secrets.daemon_token.as_deref()) && !answer::is_admin(&core, &headers) {
        return Err(Answer::new(StatusCode::UNAUTHORIZED, "the token is not that of the daemon"));
    }
    if let Some(reason) = core.board.borrow().not_ready.clone() {
        return Err(Answer::not_now(reason));
    }
    let seen = (core.depths.clone(), core.board.clone(), true);
    let lines = futures::stream::unfold((core, seen), |(core, (mut depths, mut board, first))| async move {
        if !first {
            let changed = futures::future::select(Box::pin(depths.changed()), Box::pin(board.changed()));
            if let Ok(futures::future::Either::Left((Err(_), _)) | futures::future::Either::Right((Err(_), _))) =
                tokio::time::timeout(BEAT, changed).await
            {
                return None;
            }
        }
        depths.mark_unchanged();
        board.mark_unchanged();
        Some((Ok::<_, Infallible>(format!("{}\n", line(&core))), (core, (depths, board, false))))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines)).into_response())
}

fn line(core: &Core) -> Value {
    let (depths, board) = (core.depths.borrow().clone(), core.board.borrow().clone());
    let services: Map<String, Value> = board
        .services
        .values()
        .map(|entry| {
            let service = &entry.service;
            let depth = depths.get(&service.name).cloned().unwrap_or_default();
            let limit =
                if depth.limit == 0 { service.limit(core.settings.limits.jobs_per_service) } else { depth.limit };
            let mut nodes = node_selector(service);
            let mut labels = service.all_labels();
            let mut tolerations = json!([]);
            if by_udocker(service) {
                // A machine of this runtime is known to the daemon by this label, and by this taint to everybody else.
                nodes.insert(RUNTIME.to_owned(), UDOCKER.to_owned());
                // Its runs are known by their function alone.
                labels = BTreeMap::from([("oscar_service".to_owned(), service.name.clone())]);
                tolerations = json!([{ "key": RUNTIME, "operator": "Equal", "value": UDOCKER }]);
            }
            let value = json!({
                "waiting": depth.waiting,
                "in_flight": depth.in_flight,
                "limit": limit,
                "requests": service.requests(),
                "node_selector": nodes,
                "tolerations": tolerations,
                "labels": labels,
                "held": depth.held,
            });
            (service.name.clone(), value)
        })
        .collect();
    json!({ "at": clock::now(), "services": services })
}
