//! The daemon: the one loop that owns the state. It takes in what happened, lets the core decide, writes
//! both down, and only then hands the actions to the executor, whose outcomes come back as events. It is
//! the only place where several things are waited for at once.
//!
//! When the journal cannot be written nothing is done: the state goes back to what is written, the events
//! wait, and the loop says so and tries again. A watchdog that is fed from here and from nowhere else
//! makes systemd start a daemon anew whose loop hangs.

mod crash;
pub mod observer;
mod owner;
mod promises;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use self::owner::Owner;
use crate::autoscaler::{Event, Policy};
use crate::config::queues::Source;
use crate::executor::{Executor, Limits};
use crate::kubernetes::watch::Timing;
use crate::metrics::Metrics;
use crate::model::machine::Machine;
use crate::provider::Provider;
use crate::standin::{self, StandIn};
use crate::store::journal::Journal;
use crate::store::lock::lock;
use crate::{clock, http, kubernetes, queue};

/// Events that may wait before whoever sends them is held up: a watch that is held up loses nothing.
const CHANNEL: usize = 4096;
/// Events that are decided about, and written down, together.
const BATCH: usize = 512;
/// How often the loop turns at least.
const BEAT: Duration = Duration::from_secs(1);
/// How long actions that are under way may still take when the daemon is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// All that a daemon is told.
#[derive(Clone)]
pub struct Settings {
    /// The state directory: journal, lock and socket.
    pub state: PathBuf,
    /// The cluster's name.
    pub cluster: String,
    /// Where figures and health are served; none for nowhere.
    pub listen: Option<SocketAddr>,
    /// The machines there are.
    pub machines: Vec<Machine>,
    /// How to behave.
    pub policy: Policy,
    /// Limits of the actions.
    pub limits: Limits,
    /// How the watch behaves.
    pub timing: Timing,
    /// The machines that are no nodes.
    pub stand_ins: Vec<StandIn>,
    /// The queues whose work is demand.
    pub queues: Vec<Source>,
    /// How often every machine's power is looked at.
    pub observe_every: Duration,
}

/// Runs until `stop` is ready. Machines are left as they are.
pub async fn run(
    settings: Settings,
    provider: Arc<dyn Provider>,
    client: kube::Client,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(&settings.state)
        .with_context(|| format!("cannot make the state directory {}", settings.state.display()))?;
    let _lock = lock(&settings.state)?;
    let journal = Journal::open(&settings.state)?;
    let metrics = Metrics::new()?;
    let (events, mut inbox) = mpsc::channel::<Event>(CHANNEL);
    let (asks, mut questions) = mpsc::channel(64);
    let doors = settings.stand_ins.iter().map(|one| (one.machine.name.clone(), one.door.clone())).collect();
    let limits = settings.limits;
    let executor = Executor::new(provider.clone(), client.clone(), limits, metrics.clone(), events.clone(), doors);
    let place = |machine: &Machine| (machine.name.clone(), (machine.address.clone(), machine.port));
    let executor = executor.with_addresses(settings.machines.iter().map(place).collect());
    let mut owner = Owner::open(&settings, journal, executor, metrics.clone())?;
    let shared = http::Shared { view: owner.views(), asks, metrics };

    // Everything below works for the loop; it ends with this set.
    let mut servants = JoinSet::new();
    let socket = http::unix(&settings.state)?;
    let private = http::private(shared.clone());
    servants.spawn(async move { axum::serve(socket, private).await.context("the unix socket failed") });
    if let Some(address) = settings.listen {
        let listener = http::tcp(address).await?;
        tracing::info!(address = %listener.local_addr().unwrap_or(address), "figures and health are served");
        let public = http::public(shared);
        servants.spawn(async move { axum::serve(listener, public).await.context("the TCP port failed") });
    }

    // First what there is, then what it looks like: adoption of whatever is on.
    let mut policy = settings.policy.clone();
    policy.queues = settings.queues.iter().map(|source| source.name.clone()).collect();
    owner.take(vec![Event::Started { machines: settings.machines.clone(), policy }])?;
    let names = settings.machines.iter().map(|machine| machine.name.clone()).collect();
    let rounds = observer::Rounds {
        machines: names,
        every: settings.observe_every,
        limit: settings.limits.observe,
        at_once: settings.limits.observers,
    };
    let (seer, sink) = (provider, events.clone());
    servants.spawn(async move {
        observer::observe(seer, rounds, sink).await;
        Ok(())
    });
    let (notices, teller) = (owner.notices(), client.clone());
    servants.spawn(async move {
        kubernetes::events::announce(teller, notices).await;
        Ok(())
    });
    listen(settings.stand_ins, settings.queues, &client, &events, &mut servants);
    let timing = settings.timing;
    servants.spawn(async move {
        kubernetes::watch::watch(client, events, timing).await;
        Ok(())
    });

    tell(&[sd_notify::NotifyState::Ready]);
    let mut headline = watch::Receiver::clone(&owner.views());
    let watchdog = sd_notify::watchdog_enabled().is_some();
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = std::pin::pin!(stop);
    let mut batch = Vec::new();
    loop {
        let wait = owner.wait();
        tokio::select! {
            biased;
            () = &mut stop => break,
            _ = beat.tick() => {
                owner.beat()?;
                // Counted from here: a disk on which every try takes seconds must not keep questions waiting.
                beat.reset();
                if watchdog {
                    tell(&[sd_notify::NotifyState::Watchdog]);
                }
                if headline.has_changed().unwrap_or_default() {
                    let line = headline.borrow_and_update().headline();
                    tell(&[sd_notify::NotifyState::Status(&line)]);
                }
            }
            Some(ask) = questions.recv() => owner.answer(ask)?,
            ended = servants.join_next() => match ended {
                Some(Ok(Ok(()))) | None => anyhow::bail!("a part of the daemon ended by itself"),
                Some(Ok(Err(error))) => return Err(error),
                Some(Err(error)) => return Err(anyhow::Error::new(error).context("a part of the daemon failed")),
            },
            // While the journal is broken, events wait where they are.
            _ = inbox.recv_many(&mut batch, BATCH), if owner.writes() => owner.take(std::mem::take(&mut batch))?,
            () = tokio::time::sleep(wait), if owner.writes() => owner.take(vec![])?,
        }
    }

    tracing::info!("stopping; machines are left as they are");
    tell(&[sd_notify::NotifyState::Stopping]);
    servants.shutdown().await;
    let until = clock::monotonic() + GRACE;
    while owner.writes() && owner.under_way() > 0 && clock::monotonic() < until {
        // What is under way may report; what is decided because of that is for the next start.
        if tokio::time::timeout(Duration::from_millis(100), inbox.recv_many(&mut batch, BATCH)).await.is_ok() {
            owner.take_last(std::mem::take(&mut batch));
        }
    }
    owner.close();
    // A socket without a daemon behind it would only puzzle.
    let _ = std::fs::remove_file(settings.state.join(http::SOCKET));
    Ok(())
}

/// Listens to machines that are no nodes, and to the queues.
fn listen(
    stand_ins: Vec<StandIn>,
    queues: Vec<Source>,
    client: &kube::Client,
    events: &mpsc::Sender<Event>,
    servants: &mut JoinSet<anyhow::Result<()>>,
) {
    for one in stand_ins {
        let events = events.clone();
        servants.spawn(async move {
            standin::watch(one, events).await;
            Ok(())
        });
    }
    for source in queues {
        let (client, events) = (client.clone(), events.clone());
        servants.spawn(async move {
            queue::watch(source, client, events).await;
            Ok(())
        });
    }
}

fn tell(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
