//! System: what the gateway says of itself and of the cluster, in OSCAR's shapes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

use super::Core;
use super::answer::{self, Answer};
use crate::functions::service::MinioProvider;
use crate::functions::store::State as Stage;
use crate::model::resources::{quantity, quantity_milli};

/// The version of OSCAR's API that this speaks, with its own behind it.
const VERSION: &str = concat!("4.1.2+marea.", env!("CARGO_PKG_VERSION"));

impl Core {
    /// The cluster's own store as clients outside reach it.
    pub(super) fn own_store(&self) -> Option<MinioProvider> {
        let mut own = self.secrets.minio.clone()?;
        if let Some(public) = &self.settings.storage.public_endpoint {
            own.endpoint.clone_from(public);
        }
        Some(own)
    }
}

/// `GET /health`.
pub(super) async fn health() -> &'static str {
    "Ok"
}

/// `GET /readyz`.
pub(super) async fn ready(State(core): State<Arc<Core>>) -> Response {
    match &core.board.borrow().not_ready {
        None => "ok\n".into_response(),
        Some(reason) => Answer::not_now(reason.clone()).into_response(),
    }
}

/// `GET /metrics`.
pub(super) async fn metrics(State(core): State<Arc<Core>>) -> Response {
    match core.figures.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => Answer::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// `GET /system/config`.
pub(super) async fn config(State(core): State<Arc<Core>>, headers: HeaderMap) -> Result<Response, Answer> {
    answer::admin(&core, &headers)?;
    let namespace = &core.cluster.namespace;
    Ok(Json(json!({
        "config": {
            "name": "marea-gateway",
            "namespace": namespace,
            "services_namespace": namespace,
            "gpu_available": false,
            "interLink_available": false,
            "serverless_backend": "marea",
            "yunikorn_enable": false,
            "oidc_groups": [],
        },
        "minio_provider": core.own_store(),
        "allowed_image_repositories": [],
    }))
    .into_response())
}

/// `GET /system/info`.
pub(super) async fn info(State(core): State<Arc<Core>>, headers: HeaderMap) -> Result<Response, Answer> {
    answer::admin(&core, &headers)?;
    Ok(Json(json!({
        "version": VERSION,
        "git_commit": "",
        "architecture": std::env::consts::ARCH,
        "kubernetes_version": core.cluster.version().await?,
        "serverless_backend": { "name": "marea", "version": env!("CARGO_PKG_VERSION") },
    }))
    .into_response())
}

/// `GET /system/status`.
pub(super) async fn status(State(core): State<Arc<Core>>, headers: HeaderMap) -> Result<Response, Answer> {
    answer::admin(&core, &headers)?;
    let nodes = core.cluster.nodes().await?;
    let amount = |node: &k8s_openapi::api::core::v1::Node, key: &str| {
        node.status.as_ref()?.allocatable.as_ref()?.get(key).map(|quantity| quantity.0.clone())
    };
    let mut details = Vec::new();
    let (mut cores, mut bytes, mut gpus, mut most_cores, mut most_bytes) = (0, 0, 0, 0, 0);
    for node in &nodes {
        let cpu = amount(node, "cpu").and_then(|text| quantity_milli(&text)).unwrap_or(0);
        let memory = amount(node, "memory").and_then(|text| quantity(&text)).unwrap_or(0);
        let gpu = amount(node, "nvidia.com/gpu").and_then(|text| quantity(&text)).unwrap_or(0);
        let conditions = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let is_ready = conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        let is_open = is_ready && node.spec.as_ref().is_none_or(|spec| spec.unschedulable != Some(true));
        if is_open {
            cores += cpu;
            bytes += memory;
            most_cores = most_cores.max(cpu);
            most_bytes = most_bytes.max(memory);
        }
        gpus += gpu;
        let conditions: Vec<Value> =
            conditions.iter().map(|c| json!({ "type": c.type_, "status": c.status == "True" })).collect();
        details.push(json!({
            "name": node.metadata.name,
            "cpu": { "capacity_cores": cpu },
            "memory": { "capacity_bytes": memory },
            "gpu": gpu,
            "is_interlink": false,
            "status": if is_ready { "Ready" } else { "NotReady" },
            "conditions": conditions,
        }));
    }
    let totals = core.store.totals()?;
    let of = |state: Stage| totals.get(&state).copied().unwrap_or(0);
    let running: usize = core.depths.borrow().values().map(|depth| depth.in_flight).sum();
    let states = BTreeMap::from([
        ("Pending", of(Stage::Waiting)),
        ("Running", i64::try_from(running).unwrap_or(i64::MAX)),
        ("Succeeded", of(Stage::Done)),
        ("Failed", of(Stage::Dead)),
    ]);
    Ok(Json(json!({
        "cluster": {
            "nodes_count": nodes.len(),
            "metrics": {
                "cpu": { "total_schedulable_cores": cores, "total_schedulable_on_node_cores": most_cores },
                "memory": { "total_schedulable_bytes": bytes, "max_schedulable_on_node_bytes": most_bytes },
                "gpu": { "total_gpu": gpus },
            },
            "nodes": details,
        },
        "oscar": {
            "deployment_name": "marea-gateway",
            "ready": true,
            "jobs_count": totals.values().sum::<i64>(),
            "pods": { "total": states.values().sum::<i64>(), "states": states },
            "oidc": { "enabled": false, "issuers": [], "groups": [] },
        },
    }))
    .into_response())
}

/// What is not here.
pub(super) async fn nothing(uri: Uri) -> Answer {
    let path = uri.path();
    let known =
        ["/system/volumes", "/system/buckets", "/system/quotas", "/system/federation", "/system/metrics", "/ui"];
    if known.iter().any(|prefix| path.starts_with(prefix)) || path == "/system/logs" {
        return Answer::new(
            StatusCode::NOT_IMPLEMENTED,
            format!("{path} is OSCAR's and is not offered here; docs/functions.md says what takes its place"),
        );
    }
    Answer::missing(format!("there is nothing at {path}"))
}
