//! The owner: holds the state and is the only one to change it. A turn is: step every event of a batch,
//! write all of it, then start the actions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::sync::watch;

use super::Settings;
use super::crash::Crash;
use super::promises::Promises;
use crate::autoscaler::tracked::Phase;
use crate::autoscaler::why::notice::Notice;
use crate::autoscaler::{self, Action, Core, Event, Request, State, What};
use crate::clock;
use crate::executor::Executor;
use crate::http::view::View;
use crate::http::{Ask, Refusal};
use crate::metrics::Metrics;
use crate::metrics::power::{Drawn, PowerCounts};
use crate::model::machine::Role;
use crate::store::journal::{Journal, Line};

/// A snapshot for readers is not made more often than this, however many events there are.
const PUBLISH: Duration = Duration::from_millis(100);
/// And it takes at most this part of the time, however many machines there are.
const PUBLISHING: u32 = 10;
/// The longest sleep: the wall clock may be set meanwhile.
const LONGEST: Duration = Duration::from_mins(1);

/// The state and all that changes with it.
pub(super) struct Owner {
    state: Core,
    journal: Journal,
    executor: Executor,
    metrics: Metrics,
    cluster: String,
    /// Why the journal cannot be written, and the events that wait for it.
    broken: Option<String>,
    backlog: Vec<Event>,
    /// When machines that are booting were told to.
    boots: BTreeMap<String, Instant>,
    promises: Promises,
    /// The last rung of each machine that was told.
    rungs: BTreeMap<String, Timestamp>,
    /// When this daemon started.
    opened: Timestamp,
    crash: Crash,
    view: watch::Sender<Arc<View>>,
    notices: watch::Sender<Arc<Vec<Notice>>>,
    /// Something happened since notices were last made.
    untold: bool,
    published: Option<Instant>,
    /// How long the last snapshot for readers took to make.
    publishing: Duration,
    dirty: bool,
}

impl Owner {
    /// Folds the journal into the state.
    pub(super) fn open(
        settings: &Settings,
        mut journal: Journal,
        executor: Executor,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let started = clock::monotonic();
        let replayed = journal.replay::<Core>(autoscaler::step)?;
        tracing::info!(lines = replayed.lines, took = ?started.elapsed(), "the journal was replayed");
        if let Some(seq) = replayed.parted {
            // Not fatal: the machines are looked at anew anyway. A snapshot keeps it from being met again.
            tracing::error!(
                line = seq,
                "the journal does not replay to the same bytes: it was written by another version of Marea"
            );
            if let Err(error) = journal.snapshot(&replayed.state) {
                tracing::warn!(%error, "no snapshot");
            }
        }
        let view = View {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: settings.cluster.clone(),
            at: clock::now(),
            fresh: false,
            frozen: Some("the daemon is starting".to_owned()),
            journal: None,
            pending_pods: 0,
            machines: Vec::new(),
            queues: Vec::new(),
            turned: Arc::default(),
        };
        view.turned.store(view.at.as_millisecond(), Ordering::Relaxed);
        metrics.journal_ok(true);
        Ok(Self {
            state: replayed.state,
            journal,
            executor,
            metrics,
            cluster: settings.cluster.clone(),
            broken: None,
            backlog: Vec::new(),
            boots: BTreeMap::new(),
            promises: Promises::default(),
            rungs: BTreeMap::new(),
            opened: clock::now(),
            crash: Crash::planted(),
            view: watch::Sender::new(Arc::new(view)),
            notices: watch::Sender::new(Arc::default()),
            untold: false,
            published: None,
            publishing: Duration::ZERO,
            dirty: true,
        })
    }

    /// Where snapshots are published.
    pub(super) fn views(&self) -> watch::Receiver<Arc<View>> {
        self.view.subscribe()
    }

    /// Where it is told what people should be told.
    pub(super) fn notices(&self) -> watch::Receiver<Arc<Vec<Notice>>> {
        self.notices.subscribe()
    }

    /// True while the journal can be written.
    pub(super) fn writes(&self) -> bool {
        self.broken.is_none()
    }

    /// How many actions are under way.
    pub(super) fn under_way(&mut self) -> usize {
        self.executor.under_way()
    }

    /// How long until the core wants to be asked again.
    pub(super) fn wait(&self) -> Duration {
        let Some(wakeup) = autoscaler::next_wakeup(&self.state) else { return LONGEST };
        let millis = wakeup.as_millisecond().saturating_sub(clock::now().as_millisecond());
        Duration::from_millis(u64::try_from(millis).unwrap_or_default()).min(LONGEST)
    }

    /// Takes in a batch, and a tick when one is due: a flood of events must not keep the timers from running.
    pub(super) fn take(&mut self, mut events: Vec<Event>) -> anyhow::Result<()> {
        if autoscaler::next_wakeup(&self.state).is_some_and(|wakeup| wakeup <= clock::now()) {
            events.push(Event::Tick);
        }
        if let Some(actions) = self.write(events)? {
            for action in actions {
                self.crash.journaled(&action);
                if action.what == What::PowerOn {
                    self.boots.insert(action.machine.clone(), clock::monotonic());
                }
                self.executor.start(action);
            }
        }
        Ok(())
    }

    /// Takes in what arrives while stopping: it is written down, and nothing new is started.
    pub(super) fn take_last(&mut self, events: Vec<Event>) {
        if let Err(error) = self.write(events) {
            tracing::warn!(%error, "the last events are lost; machines are looked at on the next start");
        }
    }

    /// Steps and writes. `None` when it could not be written: then nothing has happened.
    fn write(&mut self, events: Vec<Event>) -> anyhow::Result<Option<Vec<Action>>> {
        if events.is_empty() {
            return Ok(None);
        }
        if !self.writes() {
            self.backlog.extend(events);
            return Ok(None);
        }
        let started = clock::monotonic();
        let mut lines = Vec::with_capacity(events.len());
        for event in events {
            self.crash.outcome(&event);
            let at = clock::now();
            let actions = autoscaler::step(&mut self.state, at, event.clone());
            lines.push(Line { at, event, actions });
        }
        if let Err(error) = self.journal.append(&lines, &self.state) {
            let reason = error.to_string();
            tracing::error!(%reason, "nothing is done until the journal can be written again");
            self.broken = Some(reason);
            self.metrics.journal_ok(false);
            self.state = self
                .journal
                .replay::<Core>(autoscaler::step)
                .context("the journal can be neither written nor read")?
                .state;
            self.backlog.extend(lines.into_iter().map(|line| line.event));
            self.publish();
            return Ok(None);
        }
        if self.journal.wants_snapshot()
            && let Err(error) = self.journal.snapshot(&self.state)
        {
            // The lines are there; only the next start takes longer.
            tracing::warn!(%error, "no snapshot");
        }
        self.metrics.decided(started.elapsed());
        self.count_boots();
        self.dirty = true;
        self.untold = true;
        let pause = PUBLISH.max(self.publishing * PUBLISHING);
        if self.published.is_none_or(|published| published.elapsed() >= pause) {
            self.publish();
        }
        Ok(Some(lines.into_iter().flat_map(|line| line.actions).collect()))
    }

    /// The loop's regular turn: the sign of life, and another try at a journal that failed.
    pub(super) fn beat(&mut self) -> anyhow::Result<()> {
        self.view.borrow().turned.store(clock::now().as_millisecond(), Ordering::Relaxed);
        if !self.writes() {
            match self.journal.probe(clock::now()) {
                Ok(()) => {
                    tracing::info!("the journal can be written again");
                    self.broken = None;
                    self.metrics.journal_ok(true);
                    let backlog = std::mem::take(&mut self.backlog);
                    self.take(backlog)?;
                    self.dirty = true;
                }
                Err(error) => {
                    let reason = error.to_string();
                    if self.broken.as_ref() != Some(&reason) {
                        self.broken = Some(reason);
                        self.dirty = true;
                    }
                }
            }
        }
        self.count_energy();
        if self.dirty {
            self.publish();
        }
        if std::mem::take(&mut self.untold) {
            let notices = autoscaler::why::notice::notices(&self.state, clock::now());
            self.notices.send_if_modified(|before| {
                let news = **before != notices;
                if news {
                    *before = Arc::new(notices);
                }
                news
            });
        }
        Ok(())
    }

    /// Answers a question, or takes an order in as an event.
    pub(super) fn answer(&mut self, ask: Ask) -> anyhow::Result<()> {
        let now = clock::now();
        match ask {
            Ask::WhyPod { id, reply } => {
                let _ = reply.send(autoscaler::why_pod(&self.state, &id, now));
            }
            Ask::WhyQueue { name, reply } => {
                let _ = reply.send(autoscaler::why_queue(&self.state, &name, now));
            }
            Ask::WhyNode { name, reply } => {
                let _ = reply.send(autoscaler::why_node(&self.state, &name, now));
            }
            Ask::Machine { name, request, reply } => {
                let answer = if let Some(refusal) = self.refusal(&name, request) {
                    Err(refusal)
                } else {
                    self.take(vec![Event::Asked { machine: name.clone(), request }])?;
                    self.publish();
                    match self.broken.clone() {
                        None => Ok(self.told(&name)),
                        Some(reason) => {
                            // An order that was refused must not be carried out once the disk has room again.
                            self.backlog.retain(|event| !matches!(event, Event::Asked { .. }));
                            Err(Refusal::NotNow(format!("nothing is done: {reason}")))
                        }
                    }
                };
                let _ = reply.send(answer);
            }
        }
        Ok(())
    }

    fn refusal(&self, name: &str, request: Request) -> Option<Refusal> {
        if let Some(reason) = &self.broken {
            return Some(Refusal::NotNow(format!("nothing is done: {reason}")));
        }
        let Some(tracked) = self.state.machines.get(name) else {
            let known: Vec<&str> = self.state.machines.keys().map(String::as_str).collect();
            let known = known.join(", ");
            return Some(Refusal::NoSuchMachine(format!("there is no machine `{name}`; there are: {known}")));
        };
        match (tracked.machine.role, request) {
            (Role::FrontEnd, Request::PowerOff | Request::Disable) => Some(Refusal::NotAllowed(format!(
                "`{name}` is the front-end: it runs the control plane and is never powered off"
            ))),
            (Role::FrontEnd | Role::Worker, _) => None,
        }
    }

    fn told(&self, name: &str) -> String {
        let machines = autoscaler::status(&self.state, clock::now());
        machines.into_iter().find(|machine| machine.name == name).map_or_else(
            || format!("{name}: taken in"),
            |machine| {
                let disabled = if machine.disabled { ", disabled" } else { "" };
                let detail = if machine.detail.is_empty() { String::new() } else { format!(": {}", machine.detail) };
                format!("{name} is {}{disabled}{detail}", machine.state)
            },
        )
    }

    /// Brings the figures up to date.
    fn count(&mut self) {
        let mut counts = BTreeMap::new();
        for tracked in self.state.machines.values() {
            let key = (tracked.machine.pool.clone(), tracked.phase.name().to_owned());
            *counts.entry(key).or_insert(0) += 1;
        }
        self.metrics.machines(&counts);
        self.metrics.power(&power_counts(&self.state));
        self.tell_rungs();
        self.metrics.pending_pods(self.state.demand().count());
        self.promises.count(&self.state, &self.metrics);
        self.metrics.watch_fresh(self.state.fresh());
    }

    /// Counts how long the boots took that are over.
    fn count_boots(&mut self) {
        let (state, metrics) = (&self.state, &self.metrics);
        self.boots.retain(|name, started| match state.machines.get(name).map(|tracked| &tracked.phase) {
            Some(Phase::PoweringOn { .. } | Phase::Unknown | Phase::Off) => true,
            Some(Phase::On { .. }) => {
                metrics.booted(started.elapsed());
                false
            }
            None
            | Some(
                Phase::Cordoning
                | Phase::Looking
                | Phase::Draining
                | Phase::Uncordoning
                | Phase::PoweringOff { .. }
                | Phase::DeletingNode { .. }
                | Phase::Failed { .. },
            ) => false,
        });
    }

    /// Shows what machines draw. Once a beat is often enough: there is one figure for each machine.
    fn count_energy(&self) {
        let now = clock::now();
        self.metrics.drawn(self.state.machines.iter().map(|(machine, tracked)| {
            let reading = tracked.record.meter.reading(now);
            Drawn {
                machine,
                pool: &tracked.machine.pool,
                watts: (reading.watts, reading.measured),
                measured_j: reading.measured_j,
                modelled_j: reading.modelled_j,
                saved_j: reading.saved_j,
            }
        }));
    }

    /// Tells each new rung once: in the log, and to whoever watches the cluster's events.
    fn tell_rungs(&mut self) {
        for (name, tracked) in &self.state.machines {
            let Some((at, rung)) = tracked.record.last_rung else { continue };
            if self.rungs.get(name).is_some_and(|told| *told >= at) {
                continue;
            }
            // What was told before this start is not news.
            let known = self.rungs.insert(name.clone(), at).is_some() || at >= self.opened;
            if known {
                let reason = tracked.trouble.clone().unwrap_or_else(|| tracked.reason.clone());
                tracing::info!(machine = %name, rung = rung.name(), %reason, "power ladder");
                self.executor.tell(name, rung.name(), reason);
            }
        }
    }

    fn publish(&mut self) {
        let (now, began) = (clock::now(), clock::monotonic());
        self.count();
        let turned = self.view.borrow().turned.clone();
        turned.store(now.as_millisecond(), Ordering::Relaxed);
        let view = View {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: self.cluster.clone(),
            at: now,
            fresh: self.state.fresh(),
            frozen: self.state.frozen().map(str::to_owned),
            journal: self.broken.clone(),
            pending_pods: self.state.demand().count(),
            machines: autoscaler::status(&self.state, now),
            queues: autoscaler::queues(&self.state),
            turned,
        };
        self.view.send_replace(Arc::new(view));
        self.published = Some(clock::monotonic());
        self.publishing = began.elapsed();
        self.dirty = false;
    }

    /// Writes a last snapshot, so that the next start has nothing to fold.
    pub(super) fn close(mut self) {
        if self.writes()
            && let Err(error) = self.journal.snapshot(&self.state)
        {
            tracing::warn!(%error, "no snapshot; the journal is replayed on the next start");
        }
    }
}

/// What the figures of power show.
fn power_counts(state: &State) -> PowerCounts {
    let mut counts = PowerCounts::default();
    let mut stages: BTreeMap<(String, &'static str), (i64, i64)> = BTreeMap::new();
    for tracked in state.machines.values() {
        let (pool, record) = (&tracked.machine.pool, &tracked.record);
        *counts.starts.entry(pool.clone()).or_default() += record.starts;
        for (rung, times) in &record.rungs {
            *counts.rungs.entry((pool.clone(), rung.name())).or_default() += times;
        }
        for (stage, learnt) in &record.stages {
            let (sum, machines) = stages.entry((pool.clone(), stage.name())).or_default();
            (*sum, *machines) = (*sum + learnt.mean_ms, *machines + 1);
        }
        counts.unverified += i64::from(record.unverified.is_some());
        counts.person += i64::from(record.needs_person);
        if let Some(unseen) = record.unseen {
            *counts.unseen.entry(unseen.name()).or_default() += 1;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds for people to read")]
    counts.stages.extend(stages.into_iter().map(|(key, (sum, machines))| (key, sum as f64 / 1000.0 / machines as f64)));
    counts
}
