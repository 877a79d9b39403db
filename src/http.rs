//! HTTP: what the daemon shows and is asked. Figures and health on a TCP port, for anyone who reaches it
//! (loopback unless the config says otherwise); orders and reasons only on a unix socket in the state
//! directory, which its mode reserves to the daemon's own user. Nothing here holds state: what is shown
//! is the last snapshot that the daemon's loop published, and what is asked goes to that loop.

pub mod view;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path as Segments, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot, watch};

use crate::autoscaler::Request;
use crate::autoscaler::why::Why;
use crate::clock;
use crate::metrics::{self, Metrics};
use crate::model::pod::PodId;
use view::View;

/// A loop that has not turned for this long is stuck.
const STUCK_MS: i64 = 15_000;

/// The socket's name in the state directory.
pub const SOCKET: &str = "marea.sock";

/// A question or an order for the daemon's loop.
#[derive(Debug)]
pub enum Ask {
    /// A person wants something of a machine. The answer says what comes of it.
    Machine {
        /// The machine.
        name: String,
        /// What is wanted.
        request: Request,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<String, Refusal>>,
    },
    /// Why a pod waits or runs.
    WhyPod {
        /// The pod.
        id: PodId,
        /// Where the answer goes.
        reply: oneshot::Sender<Why>,
    },
    /// Why a queue wakes machines or does not.
    WhyQueue {
        /// Its name.
        name: String,
        /// Where the answer goes.
        reply: oneshot::Sender<Why>,
    },
    /// Why a machine or node is as it is.
    WhyNode {
        /// Its name.
        name: String,
        /// Where the answer goes.
        reply: oneshot::Sender<Why>,
    },
}

/// Why an order is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such machine.
    NoSuchMachine(String),
    /// The machine is not for that.
    NotAllowed(String),
    /// Not now: the journal cannot be written.
    NotNow(String),
}

/// What the handlers share.
#[derive(Clone)]
pub struct Shared {
    /// The last snapshot.
    pub view: watch::Receiver<Arc<View>>,
    /// To the loop.
    pub asks: mpsc::Sender<Ask>,
    /// The figures.
    pub metrics: Metrics,
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The TCP address is taken or not ours.
    #[error("cannot listen on {address}: {source}; set `listen` in the config to a free address")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The unix socket cannot be made.
    #[error("cannot make the socket {path}: {source}")]
    Unix {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Opens the TCP port.
pub async fn tcp(address: SocketAddr) -> Result<TcpListener, HttpError> {
    TcpListener::bind(address).await.map_err(|source| HttpError::Tcp { address, source })
}

/// Opens the unix socket in the state directory, whose lock the caller holds. It appears under its name
/// only when its mode is set, so nobody else can slip in between.
pub fn unix(state: &Path) -> Result<UnixListener, HttpError> {
    let path = state.join(SOCKET);
    let draft = state.join(".marea.sock.new");
    let make = || {
        match std::fs::remove_file(&draft) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&draft)?;
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&draft, &path)?;
        Ok(listener)
    };
    make().map_err(|source| HttpError::Unix { path: path.clone(), source })
}

/// What the TCP port serves: nothing there changes anything.
pub fn public(shared: Shared) -> Router {
    Router::new()
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .with_state(shared)
}

/// What the unix socket serves: the same, and orders and reasons.
pub fn private(shared: Shared) -> Router {
    Router::new()
        .route("/v1/machines/{name}/{order}", post(order))
        .route("/v1/why/pod/{namespace}/{name}", get(why_pod))
        .route("/v1/why/node/{name}", get(why_node))
        .route("/v1/why/queue/{name}", get(why_queue))
        .with_state(shared.clone())
        .merge(public(shared))
}

async fn metrics_text(State(shared): State<Shared>) -> Response {
    match shared.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn healthz(State(shared): State<Shared>) -> Response {
    let view = shared.view.borrow().clone();
    let silent = clock::now().as_millisecond() - view.turned_ms();
    if silent > STUCK_MS {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("the loop has not turned for {silent} ms\n")).into_response();
    }
    match &view.journal {
        None => "ok\n".into_response(),
        Some(fault) => (StatusCode::SERVICE_UNAVAILABLE, format!("nothing is done: {fault}\n")).into_response(),
    }
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let view = shared.view.borrow().clone();
    match view.journal.as_ref().or(view.frozen.as_ref()) {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn status(State(shared): State<Shared>) -> Response {
    let view = shared.view.borrow().clone();
    Json(view.as_ref()).into_response()
}

async fn order(State(shared): State<Shared>, Segments((name, order)): Segments<(String, String)>) -> Response {
    let request = match order.as_str() {
        "on" => Request::PowerOn,
        "off" => Request::PowerOff,
        "enable" => Request::Enable,
        "disable" => Request::Disable,
        other => {
            return fault(StatusCode::NOT_FOUND, &format!("no order `{other}`: on, off, enable or disable"));
        }
    };
    let (reply, answer) = oneshot::channel();
    match ask(&shared, Ask::Machine { name, request, reply }, answer).await {
        None => stopping(),
        Some(Ok(text)) => Json(json!({ "done": text })).into_response(),
        Some(Err(Refusal::NoSuchMachine(text))) => fault(StatusCode::NOT_FOUND, &text),
        Some(Err(Refusal::NotAllowed(text))) => fault(StatusCode::CONFLICT, &text),
        Some(Err(Refusal::NotNow(text))) => fault(StatusCode::SERVICE_UNAVAILABLE, &text),
    }
}

async fn why_pod(State(shared): State<Shared>, Segments((namespace, name)): Segments<(String, String)>) -> Response {
    let (reply, answer) = oneshot::channel();
    why(ask(&shared, Ask::WhyPod { id: PodId { namespace, name }, reply }, answer).await)
}

async fn why_node(State(shared): State<Shared>, Segments(name): Segments<String>) -> Response {
    let (reply, answer) = oneshot::channel();
    why(ask(&shared, Ask::WhyNode { name, reply }, answer).await)
}

async fn why_queue(State(shared): State<Shared>, Segments(name): Segments<String>) -> Response {
    let (reply, answer) = oneshot::channel();
    why(ask(&shared, Ask::WhyQueue { name, reply }, answer).await)
}

fn why(answer: Option<Why>) -> Response {
    answer.map_or_else(stopping, |why| Json(why).into_response())
}

async fn ask<T>(shared: &Shared, ask: Ask, answer: oneshot::Receiver<T>) -> Option<T> {
    shared.asks.send(ask).await.ok()?;
    answer.await.ok()
}

fn stopping() -> Response {
    fault(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping")
}

fn fault(code: StatusCode, text: &str) -> Response {
    (code, Json(json!({ "error": text }))).into_response()
}
