//! What the runner does about events: starts what may start, has ends judged, and does what clients ask.

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{HOLD, Runner, machines};
use crate::clock;
use crate::functions::event::{EventId, job_name};
use crate::functions::gateway::flight::Flight;
use crate::functions::gateway::word::{Ended, Made, Word};
use crate::functions::gateway::{judge, machines as on_machines, make};
use crate::functions::objects::facts::JobFact;
use crate::functions::places::by_udocker;
use crate::functions::queue::{Outcome, Ticket, Verdict};
use crate::functions::store::{Accepted, Change, Kind, Record, State};

impl Runner {
    pub(super) fn accepted(&mut self, events: Vec<Accepted>, waiter: Option<oneshot::Sender<Ended>>) {
        if let (Some(waiter), Some(event)) = (waiter, events.first()) {
            self.waiters.entry(event.seq).or_default().push(waiter);
        }
        for event in events {
            if event.fresh && event.state == State::Waiting {
                self.queue.accept(&event.service, Ticket { seq: event.seq, attempt: event.attempt });
            }
        }
    }

    pub(super) fn start_ready(&mut self, now: Timestamp) {
        if !self.is_ready() {
            return;
        }
        let mut places = self.places();
        loop {
            let Self { queue, services, .. } = self;
            let has_place = |service: &str| machines::has_place(services, service, &places);
            let Some((service, ticket)) = queue.start_where(now, has_place) else { return };
            let Some(entry) = self.services.get(&service).cloned() else {
                self.queue.release(&service, ticket.seq);
                continue;
            };
            let taken = match self.core.store.take(ticket.seq) {
                Ok(taken) => taken,
                Err(fault) => {
                    self.queue.release(&service, ticket.seq);
                    self.queue.accept(&service, ticket);
                    self.queue.hold_all(fault.to_string(), now.saturating_add(HOLD).unwrap_or(now));
                    return;
                }
            };
            let Some((record, body)) = taken.filter(|(record, _)| record.state == State::Waiting) else {
                self.queue.release(&service, ticket.seq);
                continue;
            };
            let mut flight = Flight::of(&record);
            let wanted = machines::wanted(&entry.service);
            if by_udocker(&entry.service) && flight.machine.is_none() {
                flight.machine = places.choose(&wanted).map(str::to_owned);
            }
            self.by_job.insert(flight.job(), flight.seq);
            self.flights.insert(flight.seq, flight.clone());
            if let Some(machine) = flight.machine.clone() {
                // It may have been started there once: if that can no longer be known, this attempt is over.
                if self.is_lost(&machine, clock::monotonic()) {
                    self.end(flight.seq, judge::End::Known(self.lost(&machine)));
                    continue;
                }
                places.take(&machine, &wanted);
            }
            let (core, making) = (self.core.clone(), self.making.clone());
            tokio::spawn(async move {
                let _turn = making.acquire().await;
                let made = match &flight.machine {
                    None => make::make(&core, &entry.service, &flight, &body).await,
                    Some(name) => on_machines::make(&core, &entry.service, &flight, name, &wanted, &body).await,
                };
                drop(core.words.send(Word::Made(flight.ticket(), made)).await);
            });
        }
    }

    pub(super) fn made(&mut self, ticket: Ticket, made: Made) {
        let seq = ticket.seq;
        let Some(flight) = self.flights.get_mut(&seq).filter(|flight| flight.ticket() == ticket) else { return };
        if flight.judged && !matches!(made, Made::There) {
            // Its verdict is on the way and says what becomes of it.
            return;
        }
        let service = flight.service.clone();
        let now = clock::now();
        let hold = now.saturating_add(HOLD).unwrap_or(now);
        match made {
            Made::There => {
                flight.made = Some(clock::monotonic());
                let seconds = now.duration_since(flight.accepted).as_secs_f64();
                if flight.attempt == 1 {
                    self.core.figures.seconds.with_label_values(&["made"]).observe(seconds.max(0.0));
                }
                // Its end may have been seen before this.
                if let Some(fact) = self.jobs.get(&flight.job()).cloned() {
                    self.job_seen(&fact);
                }
            }
            Made::Later(reason) => {
                tracing::warn!(%reason, "no Job can be made now");
                self.lift(seq);
                self.queue.accept_later(&service, ticket, hold);
                self.queue.hold_all(reason, hold);
            }
            Made::Full(reason) => {
                self.lift(seq);
                let later = now.saturating_add(jiff::SignedDuration::from_secs(10)).unwrap_or(now);
                tracing::warn!(%service, %reason, "no more Jobs of this service can be made now");
                self.queue.accept_later(&service, ticket, later);
            }
            Made::Never(reason) => self.end(seq, judge::End::Known(Outcome::Refused { reason })),
        }
    }

    /// Has the end of a run judged, once.
    pub(super) fn end(&mut self, seq: i64, end: judge::End) {
        let Some(flight) = self.flights.get_mut(&seq).filter(|flight| !flight.judged) else { return };
        flight.judged = true;
        let usual = self.core.settings.retry.attempts;
        let attempts = match (flight.kind, self.services.get(&flight.service)) {
            (Kind::Run, _) => 1,
            (_, Some(entry)) => entry.service.attempts(usual),
            (_, None) => usual,
        };
        let (core, flight) = (self.core.clone(), flight.clone());
        tokio::spawn(async move {
            let verdict = judge::judge(&core, &flight, end, core.settings.retry.patience(attempts)).await;
            drop(core.words.send(Word::Judged(flight.ticket(), verdict)).await);
        });
    }

    pub(super) fn judged(&mut self, ticket: Ticket, verdict: Verdict) {
        let seq = ticket.seq;
        let Some(flight) = self.flights.get(&seq).filter(|flight| flight.ticket() == ticket).cloned() else { return };
        self.lift(seq);
        if let Some(fact) = self.jobs.get(&flight.job()).filter(|fact| fact.end.is_some()).cloned() {
            self.keep(&fact);
        }
        match verdict {
            Verdict::Done => {
                self.core.figures.done.inc();
                self.tell(seq, flight.id, None);
            }
            Verdict::Retry { at, reason } => {
                self.core.figures.retried.inc();
                tracing::info!(service = %flight.service, event = %flight.id, attempt = flight.attempt, %reason, "an attempt failed; another follows");
                let ticket = Ticket { seq, attempt: flight.attempt + 1 };
                if self.services.contains_key(&flight.service) {
                    self.queue.accept_later(&flight.service, ticket, at);
                } else {
                    self.queue.accept(&flight.service, ticket);
                    self.bury(&flight.service, &format!("the service {} was deleted", flight.service));
                }
            }
            Verdict::Dead { reason } => {
                self.core.figures.dead.inc();
                tracing::warn!(service = %flight.service, event = %flight.id, %reason, "an event is a dead letter");
                self.tell(seq, flight.id, Some(reason));
            }
        }
    }

    /// Takes a run out of the flights and frees its place.
    pub(super) fn lift(&mut self, seq: i64) {
        if let Some(flight) = self.flights.remove(&seq) {
            self.by_job.remove(&flight.job());
            self.queue.release(&flight.service, seq);
        }
    }

    pub(super) fn tell(&mut self, seq: i64, id: EventId, failure: Option<String>) {
        for waiter in self.waiters.remove(&seq).unwrap_or_default() {
            let _ = waiter.send(Ended { id, failure: failure.clone() });
        }
    }

    pub(super) fn cancel(&mut self, record: Record, reply: oneshot::Sender<()>) {
        self.stop(&record, "it was deleted by a client");
        let hide = Change::Hide { service: record.service.clone(), seq: Some(record.seq), all: true };
        let core = self.core.clone();
        tokio::spawn(async move {
            judge::write(&core, vec![hide]).await;
            let job = job_name(&record.service, record.id, record.attempt);
            judge::remove(&core, &job, Some(record.id), record.machine.as_deref()).await;
            let _ = reply.send(());
        });
    }

    /// Ends an event that is not over, as a dead letter.
    fn stop(&mut self, record: &Record, reason: &str) {
        if self.flights.contains_key(&record.seq) {
            self.end(record.seq, judge::End::Known(Outcome::Refused { reason: reason.to_owned() }));
        } else if self.queue.remove(&record.service, record.seq) {
            self.core.figures.dead.inc();
            self.tell(record.seq, record.id, Some(reason.to_owned()));
            let change = Change::Dead { seq: record.seq, at: clock::now(), reason: reason.to_owned(), exit: None };
            let core = self.core.clone();
            tokio::spawn(async move { judge::write(&core, vec![change]).await });
        }
    }

    pub(super) fn drop_service(&mut self, service: &str, reply: oneshot::Sender<()>) {
        let reason = format!("the service {service} was deleted");
        self.services.remove(service);
        self.post_board();
        self.bury(service, &reason);
        let flights: Vec<i64> = self.flights.values().filter(|f| f.service == service).map(|f| f.seq).collect();
        for seq in flights {
            self.end(seq, judge::End::Known(Outcome::Refused { reason: reason.clone() }));
        }
        let jobs: Vec<JobFact> = self.jobs.values().filter(|fact| fact.service == service).cloned().collect();
        self.history.remove(service);
        let core = self.core.clone();
        tokio::spawn(async move {
            for fact in jobs {
                judge::remove(&core, &fact.name, fact.event, fact.machine.as_deref()).await;
            }
            let _ = reply.send(());
        });
    }
}
