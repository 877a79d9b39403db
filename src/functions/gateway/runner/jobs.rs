//! What the runner does about Jobs and pods: which run each belongs to, whether it is over, stuck, or left over.

use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::Runner;
use crate::clock;
use crate::functions::gateway::flight::Flight;
use crate::functions::gateway::judge;
use crate::functions::gateway::word::Seen;
use crate::functions::objects::facts::{JobFact, PodFact};
use crate::functions::queue::Outcome;
use crate::functions::store::{Change, State};

/// An event that takes longer than this until it runs has waited for a machine.
const COLD: f64 = 15.0;

impl Runner {
    pub(super) fn jobs_seen(&mut self, seen: Seen<JobFact>) {
        match seen {
            Seen::Began(at) => self.jobs_began = Some(at),
            Seen::Broken(reason) => {
                self.core.figures.watch_fresh.set(0);
                tracing::warn!(%reason, "the watch of Jobs broke; it begins again");
            }
            Seen::Listed(facts) => {
                // The list is Kubernetes' own: what machines run that are no nodes is not in it.
                self.jobs.retain(|_, fact| fact.machine.is_some());
                self.jobs.extend(facts.iter().map(|fact| (fact.name.clone(), fact.clone())));
                for fact in facts {
                    self.job_seen(&fact);
                }
                let began = self.jobs_began;
                let missing = |flight: &&Flight| {
                    let before = flight.made.zip(began).is_some_and(|(made, began)| made < began);
                    before && flight.machine.is_none() && !flight.judged && !self.jobs.contains_key(&flight.job())
                };
                let vanished: Vec<i64> = self.flights.values().filter(missing).map(|flight| flight.seq).collect();
                for seq in vanished {
                    self.end(seq, judge::End::Vanished);
                }
                self.jobs_listed = true;
                self.core.figures.watch_fresh.set(1);
                self.post_board();
            }
            Seen::Applied(fact) => {
                self.jobs.insert(fact.name.clone(), fact.clone());
                self.job_seen(&fact);
            }
            Seen::Gone(fact) => {
                self.jobs.remove(&fact.name);
                if let Some(seq) = self.by_job.get(&fact.name).copied() {
                    self.end(seq, fact.end.map_or(judge::End::Vanished, judge::End::Job));
                }
                if let Some(kept) = self.history.get_mut(&fact.service) {
                    kept.retain(|name| *name != fact.name);
                }
            }
        }
    }

    pub(super) fn job_seen(&mut self, fact: &JobFact) {
        if !self.by_job.contains_key(&fact.name) {
            self.adopt(fact);
        }
        match (self.by_job.get(&fact.name).copied(), &fact.end) {
            (Some(seq), Some(end)) => self.end(seq, judge::End::Job(end.clone())),
            (None, Some(_)) => self.keep(fact),
            (_, None) => {}
        }
    }

    /// A Job that no run in flight knows: made just before a crash, or left over from an earlier attempt.
    fn adopt(&mut self, fact: &JobFact) {
        let Some(record) = fact.event.and_then(|id| self.core.store.find(id).ok().flatten()) else { return };
        if record.service != fact.service {
            return;
        }
        let current = record.attempt == fact.attempt && record.machine == fact.machine;
        match record.state {
            State::Waiting if current => {
                self.queue.remove(&record.service, record.seq);
                self.queue.is_in_flight(&record.service, record.seq);
                let flight = Flight { made: Some(clock::monotonic()), ..Flight::of(&record) };
                self.by_job.insert(fact.name.clone(), record.seq);
                self.flights.insert(record.seq, flight);
                let at = fact.made.unwrap_or_else(clock::now);
                let change = Change::Made { seq: record.seq, attempt: record.attempt, at };
                let core = self.core.clone();
                tokio::spawn(async move { judge::write(&core, vec![change]).await });
            }
            State::Running if current => {}
            State::Waiting | State::Running | State::Done | State::Dead if fact.end.is_none() => {
                // Its verdict is on disk already: what still runs of it must not run beside its successor.
                self.remove_job(fact);
            }
            State::Waiting | State::Running | State::Done | State::Dead => {}
        }
    }

    /// Keeps a finished Job for its log, and removes the oldest beyond the bound.
    pub(super) fn keep(&mut self, fact: &JobFact) {
        let kept = self.history.entry(fact.service.clone()).or_default();
        if !kept.contains(&fact.name) {
            kept.push_back(fact.name.clone());
        }
        while kept.len() > self.core.settings.limits.history {
            let Some(oldest) = kept.pop_front() else { break };
            let known = self.jobs.get(&oldest);
            let (event, machine) = (known.and_then(|fact| fact.event), known.and_then(|fact| fact.machine.clone()));
            let core = self.core.clone();
            tokio::spawn(async move { judge::remove(&core, &oldest, event, machine.as_deref()).await });
        }
    }

    pub(super) fn remove_job(&self, fact: &JobFact) {
        let (core, fact) = (self.core.clone(), fact.clone());
        tokio::spawn(async move {
            judge::remove(&core, &fact.name, fact.event, fact.machine.as_deref()).await;
        });
    }

    pub(super) fn pod_seen(&mut self, pod: PodFact) {
        let Some(flight) = self.by_job.get(&pod.job).and_then(|seq| self.flights.get_mut(seq)) else { return };
        if let Some(at) = pod.running.filter(|_| !flight.running) {
            flight.running = true;
            // Kubernetes counts in seconds: a run may seem to begin before its event came.
            let seconds = clock::now().duration_since(flight.accepted).as_secs_f64();
            self.core.figures.seconds.with_label_values(&["running"]).observe(seconds.max(0.0));
            if seconds >= COLD {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "whole seconds, above zero"
                )]
                self.core.last_wait.store(seconds as u64, Ordering::Relaxed);
            }
            let at = at.max(flight.accepted);
            let (core, change) = (self.core.clone(), Change::Running { seq: flight.seq, attempt: flight.attempt, at });
            tokio::spawn(async move { judge::write(&core, vec![change]).await });
        }
        flight.stuck = match (pod.stuck, flight.stuck.take()) {
            (Some((reason, message)), known) => {
                let since = known.map_or_else(clock::now, |(since, _)| since);
                Some((since, format!("the container cannot start ({reason}): {message}")))
            }
            (None, _) => None,
        };
    }

    /// A container that cannot be started blocks its place in the queue: after a while that is a failure.
    pub(super) fn give_up_stuck(&mut self, now: Timestamp) {
        let patience = jiff::SignedDuration::from_secs(i64::from(self.core.settings.retry.pull_seconds));
        let over = |flight: &&Flight| {
            !flight.judged && flight.stuck.as_ref().is_some_and(|(since, _)| now.duration_since(*since) >= patience)
        };
        let stuck: Vec<i64> = self.flights.values().filter(over).map(|flight| flight.seq).collect();
        for seq in stuck {
            let reason = self.flights.get(&seq).and_then(|flight| flight.stuck.clone()).map(|(_, reason)| reason);
            let outcome = Outcome::Failed { exit: None, reason: reason.unwrap_or_default() };
            self.end(seq, judge::End::Known(outcome));
        }
    }
}
