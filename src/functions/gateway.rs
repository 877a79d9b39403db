//! The gateway: OSCAR's REST API as its clients use it, the store's webhook, and the runner behind both. It
//! holds no state but the queue: services live in Kubernetes, results in the object store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::routing::{delete, get, post};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};

use super::figures::Figures;
use super::settings::{Secrets, Settings};
use super::store::Store;
use crate::store::lock;

mod answer;
pub mod buckets;
pub mod cluster;
mod depth;
mod flight;
mod invoke;
mod judge;
mod letters;
mod logs;
mod machines;
mod make;
mod runner;
mod services;
mod system;
mod watching;
mod word;

use buckets::Buckets;
use cluster::Cluster;
use machines::Machines;
use runner::Runner;
use word::{Board, Depths, Word};

/// Words that may wait for the runner: beyond them, whoever has one waits.
const WORDS: usize = 16_384;

/// What all parts share.
pub struct Core {
    settings: Settings,
    secrets: Secrets,
    store: Store,
    cluster: Cluster,
    buckets: Buckets,
    machines: Machines,
    figures: Figures,
    words: mpsc::Sender<Word>,
    board: watch::Receiver<Arc<Board>>,
    depths: watch::Receiver<Arc<Depths>>,
    /// One change of services at a time: two may share a bucket.
    changing: Mutex<()>,
    /// How long the last event that waited for a machine took to run.
    last_wait: std::sync::atomic::AtomicU64,
}

/// Serves until told to stop.
pub async fn serve(
    settings: Settings,
    secrets: Secrets,
    client: kube::Client,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let folder = settings.state.clone();
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let _lock = lock::lock(&folder)?;
    let listener = TcpListener::bind(settings.listen).await.with_context(|| {
        format!("cannot listen on {}; set `listen` in the settings to a free address", settings.listen)
    })?;
    let address = listener.local_addr()?;
    let core = start(settings, secrets, client, &folder)?;
    tracing::info!(%address, namespace = %core.cluster.namespace, "the gateway serves");
    tokio::spawn(settle(core.clone()));
    axum::serve(listener, router(core)).with_graceful_shutdown(stop).await.context("the HTTP server ended")
}

fn start(settings: Settings, secrets: Secrets, client: kube::Client, folder: &Path) -> anyhow::Result<Arc<Core>> {
    let store = Store::open(folder)?;
    let (words, inbox) = mpsc::channel(WORDS);
    let waits = Board { not_ready: Some("the services are not listed yet".to_owned()), ..Board::default() };
    let (board_sender, board) = watch::channel(Arc::new(waits));
    let (depth_sender, depths) = watch::channel(Arc::new(Depths::new()));
    let target = settings.storage.target.as_deref().unwrap_or("marea");
    let buckets = Buckets::open(settings.storage.kind, secrets.minio.as_ref(), target)?;
    let cluster = Cluster { client, namespace: settings.namespace.clone() };
    let machines = Machines::open(&settings)?;
    let core = Arc::new(Core {
        machines,
        store,
        buckets,
        figures: Figures::new()?,
        words,
        board,
        depths,
        changing: Mutex::new(()),
        last_wait: std::sync::atomic::AtomicU64::new(0),
        secrets,
        settings,
        cluster,
    });
    let runner = Runner::open(core.clone(), board_sender, depth_sender)?;
    tokio::spawn(runner.run(inbox));
    watching::follow(&core.cluster, &core.words);
    core.machines.follow(&core.words);
    Ok(core)
}

/// Once services are known, makes their buckets and rules what they should be: a crash may have come between.
async fn settle(core: Arc<Core>) {
    let mut board = core.board.clone();
    let Ok(ready) = board.wait_for(|board| board.not_ready.is_none()).await.map(|board| board.clone()) else { return };
    let mut pause = Duration::from_secs(1);
    loop {
        let turn = core.changing.lock().await;
        match services::settle(&core, &ready).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "the buckets of the services are not settled yet; trying again"),
        }
        drop(turn);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(60));
    }
}

/// Every path with and without a slash at its end, as OSCAR's own router takes them.
fn router(core: Arc<Core>) -> Router {
    let paths = Router::new()
        .route("/health", get(system::health))
        .route("/readyz", get(system::ready))
        .route("/metrics", get(system::metrics))
        .route("/system/config", get(system::config))
        .route("/system/config/", get(system::config))
        .route("/system/info", get(system::info))
        .route("/system/status", get(system::status))
        .route("/system/services", get(services::list).post(services::create).put(services::update))
        .route("/system/services/", get(services::list).post(services::create).put(services::update))
        .route("/system/services/{service}", get(services::read).delete(services::remove))
        .route("/system/logs/{service}", get(logs::list).delete(logs::remove_all))
        .route("/system/logs/{service}/{job}", get(logs::read).delete(logs::remove))
        .route("/job/{service}", post(invoke::job))
        .route("/run/{service}", post(invoke::run))
        .route("/events", post(invoke::events))
        .route("/marea/queue", get(depth::stream))
        .route("/marea/events", get(letters::list))
        .route("/marea/events/replay", post(letters::replay))
        .route("/marea/events/purge", post(letters::purge))
        .route("/marea/events/{id}", get(letters::show).merge(delete(letters::purge_one)));
    paths.fallback(system::nothing).with_state(core)
}
