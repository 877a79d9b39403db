//! The runner: the one owner of the queue. It is told what is seen and taken in, starts what may start, and
//! has ends judged. What takes time (making a Job, writing to disk) runs beside it and comes back as a word.
//! Nothing here is the only copy of anything: kill it at any point, and the store and the list of Jobs say
//! where to go on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::Core;
use super::flight::Flight;
use super::judge;
use super::machines::Standing;
use super::word::Seen;
use super::word::{Board, Depths, Ended, Word};
use crate::clock;
use crate::functions::objects::Entry;
use crate::functions::objects::facts::JobFact;
use crate::functions::queue::{Queue, Ticket};
use crate::functions::store::{Change, State, StoreFault};

mod events;
mod jobs;
pub(super) mod machines;
mod services;

/// Depths are published at most this often.
const PUBLISH: Duration = Duration::from_millis(100);
/// Jobs that are made at the same time.
const MAKING: usize = 16;
/// A pause after the API server or the disk failed.
const HOLD: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);

/// The state.
pub(super) struct Runner {
    core: Arc<Core>,
    queue: Queue,
    services: BTreeMap<String, Arc<Entry>>,
    flights: BTreeMap<i64, Flight>,
    by_job: BTreeMap<String, i64>,
    jobs: BTreeMap<String, JobFact>,
    /// Finished Jobs that are kept for their logs, by service, the oldest first.
    history: BTreeMap<String, VecDeque<String>>,
    waiters: BTreeMap<i64, Vec<oneshot::Sender<Ended>>>,
    /// Machines that are no nodes, as far as they were heard of.
    standings: BTreeMap<String, Standing>,
    services_listed: bool,
    jobs_listed: bool,
    jobs_began: Option<Instant>,
    making: Arc<Semaphore>,
    board: watch::Sender<Arc<Board>>,
    depths: watch::Sender<Arc<Depths>>,
    published: Option<Instant>,
    forgot: Option<Timestamp>,
}

impl Runner {
    /// Takes up what the store says is open.
    pub(super) fn open(
        core: Arc<Core>,
        board: watch::Sender<Arc<Board>>,
        depths: watch::Sender<Arc<Depths>>,
    ) -> Result<Self, StoreFault> {
        let mut queue = Queue::new(core.settings.limits.jobs);
        let mut flights = BTreeMap::new();
        let (now, instant) = (clock::now(), clock::monotonic());
        core.store.each_open(|record| match record.state {
            State::Running => {
                queue.is_in_flight(&record.service, record.seq);
                flights.insert(record.seq, Flight { made: Some(instant), ..Flight::of(&record) });
            }
            State::Waiting | State::Done | State::Dead => {
                let ticket = Ticket { seq: record.seq, attempt: record.attempt };
                match record.not_before.filter(|at| *at > now) {
                    Some(at) => queue.accept_later(&record.service, ticket, at),
                    None => queue.accept(&record.service, ticket),
                }
            }
        })?;
        let by_job = flights.values().map(|flight: &Flight| (flight.job(), flight.seq)).collect();
        Ok(Self {
            core,
            queue,
            services: BTreeMap::new(),
            flights,
            by_job,
            jobs: BTreeMap::new(),
            history: BTreeMap::new(),
            waiters: BTreeMap::new(),
            standings: BTreeMap::new(),
            services_listed: false,
            jobs_listed: false,
            jobs_began: None,
            making: Arc::new(Semaphore::new(MAKING)),
            board,
            depths,
            published: None,
            forgot: None,
        })
    }

    /// Runs until nobody can tell it anything any more.
    pub(super) async fn run(mut self, mut words: mpsc::Receiver<Word>) {
        loop {
            match tokio::time::timeout(self.pause(), words.recv()).await {
                Ok(None) => return,
                Ok(Some(word)) => {
                    self.fold(word);
                    for _ in 0..1024 {
                        let Ok(word) = words.try_recv() else { break };
                        self.fold(word);
                    }
                }
                Err(_) => {}
            }
            let now = clock::now();
            self.start_ready(now);
            self.give_up_stuck(now);
            self.give_up_silent();
            self.forget(now);
            self.publish();
        }
    }

    fn pause(&self) -> Duration {
        let now = clock::now();
        let until = self.queue.next_wakeup().map(|at| at.duration_since(now));
        let due = until.and_then(|until| Duration::try_from(until).ok()).unwrap_or(Duration::ZERO);
        let due = if until.is_some() && self.is_ready() { due } else { Duration::from_secs(1) };
        due.min(Duration::from_secs(1)).max(Duration::from_millis(20))
    }

    fn is_ready(&self) -> bool {
        self.services_listed && self.jobs_listed
    }

    fn fold(&mut self, word: Word) {
        match word {
            Word::Services(seen) => self.services_seen(seen),
            Word::Jobs(seen) => self.jobs_seen(seen),
            Word::Pods(Seen::Listed(pods)) => pods.into_iter().for_each(|pod| self.pod_seen(pod)),
            Word::Pods(Seen::Applied(pod)) => self.pod_seen(pod),
            Word::Pods(Seen::Began(_) | Seen::Gone(_) | Seen::Broken(_)) => {}
            Word::Machine(name, heard) => self.machine_heard(&name, heard),
            Word::Accepted(events, waiter) => self.accepted(events, waiter),
            Word::Made(ticket, made) => self.made(ticket, made),
            Word::Judged(ticket, verdict) => self.judged(ticket, verdict),
            Word::Cancel(record, reply) => self.cancel(*record, reply),
            Word::Drop(service, reply) => self.drop_service(&service, reply),
            Word::Replayed(events) => {
                self.core.figures.replayed.inc_by(events.len() as u64);
                self.accepted(events, None);
            }
        }
    }

    fn forget(&mut self, now: Timestamp) {
        let hour = jiff::SignedDuration::from_hours(1);
        if self.forgot.is_some_and(|last| now.duration_since(last) < hour) {
            return;
        }
        self.forgot = Some(now);
        let days = i64::from(self.core.settings.limits.keep_days);
        let before = now.saturating_sub(jiff::SignedDuration::from_hours(24 * days)).unwrap_or(now);
        let core = self.core.clone();
        tokio::spawn(async move { judge::write(&core, vec![Change::Forget { before, most: 100_000 }]).await });
    }

    fn publish(&mut self) {
        let now = clock::monotonic();
        if self.published.is_some_and(|last| now.duration_since(last) < PUBLISH) {
            return;
        }
        let depths = self.queue.depths();
        if **self.depths.borrow() == depths {
            return;
        }
        self.published = Some(now);
        for (service, depth) in &depths {
            let set = |layer: &str, count: usize| {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                self.core.figures.depth.with_label_values(&[service, layer]).set(count);
            };
            set("waiting", depth.waiting);
            set("in_flight", depth.in_flight);
        }
        self.depths.send_replace(Arc::new(depths));
    }
}
