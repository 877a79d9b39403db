//! What the runner does about machines that are no nodes: which of them take runs, what is left on each, and what
//! they tell of runs, which becomes what Kubernetes would tell of Jobs and pods.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Runner;
use crate::clock;
use crate::functions::gateway::flight::Flight;
use crate::functions::gateway::judge;
use crate::functions::gateway::machines::Standing;
use crate::functions::gateway::word::Seen;
use crate::functions::machine::{Heard, Report, RunFact, RunState};
use crate::functions::objects::Entry;
use crate::functions::objects::facts::{JobEnd, JobFact, PodFact};
use crate::functions::objects::job::node_selector;
use crate::functions::places::{Place, Places, Wanted, by_udocker};
use crate::functions::queue::Outcome;
use crate::functions::service::Service;
use crate::model::resources::{Resources, quantity, quantity_milli};

/// A run that was made less than this before a report may not be in it yet.
const FRESH: Duration = Duration::from_secs(10);

/// What a run of a service asks for.
pub(super) fn wanted(service: &Service) -> Wanted {
    let requests = Resources::of_pod(&service.requests()).unwrap_or_default();
    Wanted { requests, labels: node_selector(service) }
}

/// False while all machines that a run of this service could go to are full, off or out of reach.
pub(super) fn has_place(services: &BTreeMap<String, Arc<Entry>>, service: &str, places: &Places) -> bool {
    let entry = services.get(service);
    entry.is_none_or(|entry| !by_udocker(&entry.service) || places.choose(&wanted(&entry.service)).is_some())
}

impl Runner {
    /// What is left on the machines that take runs.
    pub(super) fn places(&self) -> Places {
        let mut places = Places::default();
        for entry in self.core.machines.entries() {
            if self.standings.get(&entry.name).is_some_and(|standing| standing.open) {
                let free = Resources {
                    cpu_milli: quantity_milli(&entry.cpu).unwrap_or_default(),
                    memory: quantity(&entry.memory).unwrap_or_default(),
                    ..Resources::default()
                };
                places.add(&entry.name, Place { labels: entry.labels.clone(), free });
            }
        }
        for flight in self.flights.values() {
            if let (Some(machine), Some(entry)) = (&flight.machine, self.services.get(&flight.service)) {
                places.take(machine, &wanted(&entry.service));
            }
        }
        places
    }

    pub(super) fn machine_heard(&mut self, name: &str, heard: Heard) {
        let known = self.standings.get(name).cloned();
        match heard {
            Heard::Silence(reason) => {
                if known.as_ref().is_none_or(|known| known.silent.is_none()) {
                    tracing::info!(machine = name, %reason, "a machine cannot be reached");
                }
                let silent = known.and_then(|known| known.silent).unwrap_or_else(clock::monotonic);
                self.standings.insert(name.to_owned(), Standing { open: false, silent: Some(silent) });
            }
            Heard::Report(report) => {
                if known.is_none_or(|known| known.silent.is_some()) {
                    tracing::info!(machine = name, runs = report.runs.len(), "a machine is reached");
                }
                self.standings.insert(name.to_owned(), Standing { open: !report.closed, silent: None });
                self.report(name, report);
            }
        }
    }

    fn report(&mut self, name: &str, report: Report) {
        let here = |fact: &&JobFact| fact.machine.as_deref() == Some(name);
        let gone: Vec<JobFact> = self.jobs.values().filter(here).cloned().collect();
        for fact in gone.into_iter().filter(|fact| !report.runs.contains_key(&fact.name)) {
            self.jobs_seen(Seen::Gone(fact));
        }
        let now = clock::monotonic();
        let missing = |flight: &&Flight| {
            let old = flight.made.is_some_and(|made| now.duration_since(made) >= FRESH);
            old && flight.machine.as_deref() == Some(name) && !report.runs.contains_key(&flight.job())
        };
        let vanished: Vec<i64> = self.flights.values().filter(missing).map(|flight| flight.seq).collect();
        for seq in vanished {
            self.end(seq, judge::End::Vanished);
        }
        for (job, run) in report.runs {
            self.run_seen(name, job, run);
        }
    }

    fn run_seen(&mut self, machine: &str, job: String, run: RunFact) {
        let made = run.started.and_then(|seconds| Timestamp::from_second(seconds).ok());
        let end = match &run.state {
            RunState::Ended { code } => {
                Some(JobEnd { well: *code == 0, reason: String::new(), at: None, exit: Some(*code) })
            }
            RunState::Failed { reason } => Some(JobEnd { well: false, reason: reason.clone(), at: None, exit: None }),
            RunState::Ready | RunState::Running | RunState::Lost => None,
        };
        let fact = JobFact {
            name: job.clone(),
            service: run.service,
            event: run.event.parse().ok(),
            attempt: run.attempt,
            made,
            end,
            machine: Some(machine.to_owned()),
        };
        let is_old = fact.end.is_some() && !self.by_job.contains_key(&job);
        if is_old && self.jobs.get(&job) == Some(&fact) {
            return;
        }
        if is_old && self.services_listed && !self.services.contains_key(&fact.service) {
            // Its service went while it was started: nobody will ask for its log.
            self.remove_job(&fact);
        }
        self.jobs.insert(job.clone(), fact.clone());
        self.job_seen(&fact);
        let Some(seq) = self.by_job.get(&job).copied() else { return };
        match run.state {
            RunState::Ready => self.begin(machine, job, seq),
            RunState::Lost => {
                let reason = format!("it was cut off on the machine {machine}, which went off or lost it");
                self.end(seq, judge::End::Known(Outcome::Failed { exit: None, reason }));
            }
            RunState::Running | RunState::Ended { .. } | RunState::Failed { .. } => {
                let (phase, running) = ("Running".to_owned(), made);
                self.pod_seen(PodFact { name: job.clone(), job, phase, running, exit: None, stuck: None });
            }
        }
    }

    /// Its files came, and whoever brought them was cut off before it began, or its machine was.
    fn begin(&self, machine: &str, job: String, seq: i64) {
        let made = self.flights.get(&seq).is_some_and(|flight| flight.made.is_some() && !flight.judged);
        let Some(machine) = self.core.machines.get(machine).filter(|_| made).cloned() else { return };
        tokio::spawn(async move {
            if let Err(error) = machine.start(&job, &[]).await {
                tracing::warn!(%error, "a run that is ready was not begun");
            }
        });
    }

    /// What runs on a machine that has not been reached for long is lost, for all that can be known.
    pub(super) fn give_up_silent(&mut self) {
        let now = clock::monotonic();
        let lost: Vec<(i64, String)> = self
            .flights
            .values()
            .filter(|flight| !flight.judged && flight.made.is_some())
            .filter_map(|flight| Some((flight.seq, flight.machine.clone()?)))
            .filter(|(_, machine)| self.is_lost(machine, now))
            .collect();
        for (seq, machine) in lost {
            self.end(seq, judge::End::Known(self.lost(&machine)));
        }
    }

    /// True for a machine that has been out of reach for too long, or is declared no more.
    pub(super) fn is_lost(&self, machine: &str, now: Instant) -> bool {
        let patience = Duration::from_secs(u64::from(self.core.settings.ssh.lost_seconds));
        let silent = self.standings.get(machine).and_then(|standing| standing.silent);
        self.core.machines.get(machine).is_none() || silent.is_some_and(|since| now.duration_since(since) >= patience)
    }

    pub(super) fn lost(&self, machine: &str) -> Outcome {
        let seconds = self.core.settings.ssh.lost_seconds;
        Outcome::Failed {
            exit: None,
            reason: format!("its machine {machine} has been out of reach for {seconds} s, or is declared no more"),
        }
    }
}
