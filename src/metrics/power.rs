//! Figures of power: starts, rungs of the ladder, boots by stage, and machines that nobody can be sure of.

use std::collections::BTreeMap;

use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// What the figures show, counted over all machines.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PowerCounts {
    /// Times that machines were powered on, by pool.
    pub starts: BTreeMap<String, u64>,
    /// Times that a rung was needed, by pool and rung.
    pub rungs: BTreeMap<(String, &'static str), u64>,
    /// What a boot takes to a stage in seconds, by pool and stage.
    pub stages: BTreeMap<(String, &'static str), f64>,
    /// Machines that one witness says are off and another says are not.
    pub unverified: i64,
    /// Machines that a person must look at.
    pub person: i64,
    /// Machines whose power is not seen, by why.
    pub unseen: BTreeMap<&'static str, i64>,
}

/// What one machine draws and has drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn<'a> {
    /// Its name.
    pub machine: &'a str,
    /// Its pool.
    pub pool: &'a str,
    /// Watts now, and whether they are measured.
    pub watts: (u64, bool),
    /// Joules that were measured.
    pub measured_j: u64,
    /// Joules by the model.
    pub modelled_j: u64,
    /// Joules saved against always on.
    pub saved_j: i64,
}

/// The collectors.
#[derive(Debug, Clone)]
pub(super) struct Power {
    starts: IntCounterVec,
    rungs: IntCounterVec,
    stages: GaugeVec,
    unverified: IntGauge,
    person: IntGauge,
    unseen: IntGaugeVec,
    watts: IntGaugeVec,
    joules: IntCounterVec,
    saved: IntGaugeVec,
}

impl Power {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let power = Self {
            starts: counters("marea_starts_total", "Times that machines were powered on.", &["pool"])?,
            rungs: counters(
                "marea_power_rungs_total",
                "Times that each rung of the power ladder was needed.",
                &["pool", "rung"],
            )?,
            stages: GaugeVec::new(
                Opts::new("marea_boot_stage_seconds", "What a boot takes to each stage, as learnt."),
                &["pool", "stage"],
            )?,
            unverified: IntGauge::new("marea_machines_off_unverified", "Machines said to be off that may not be.")?,
            person: IntGauge::new("marea_machines_need_person", "Machines that a person must look at.")?,
            unseen: IntGaugeVec::new(
                Opts::new("marea_machines_power_unseen", "Machines whose power is not seen: silent, or refused."),
                &["why"],
            )?,
            watts: IntGaugeVec::new(
                Opts::new("marea_watts", "What machines draw now: measured by their BMC, or modelled."),
                &["pool", "machine", "source"],
            )?,
            joules: counters(
                "marea_energy_joules_total",
                "What machines have drawn: measured by their BMC, or modelled.",
                &["pool", "machine", "source"],
            )?,
            saved: IntGaugeVec::new(
                Opts::new("marea_energy_saved_joules", "What was saved against the same machine always on."),
                &["pool", "machine"],
            )?,
        };
        registry.register(Box::new(power.unseen.clone()))?;
        registry.register(Box::new(power.watts.clone()))?;
        registry.register(Box::new(power.joules.clone()))?;
        registry.register(Box::new(power.saved.clone()))?;
        registry.register(Box::new(power.starts.clone()))?;
        registry.register(Box::new(power.rungs.clone()))?;
        registry.register(Box::new(power.stages.clone()))?;
        registry.register(Box::new(power.unverified.clone()))?;
        registry.register(Box::new(power.person.clone()))?;
        Ok(power)
    }

    /// Shows what was counted. The journal remembers across restarts, so a counter goes on where it was.
    pub(super) fn show(&self, counts: &PowerCounts) {
        for (pool, count) in &counts.starts {
            raise(&self.starts, &[pool], *count);
        }
        for ((pool, rung), count) in &counts.rungs {
            raise(&self.rungs, &[pool, rung], *count);
        }
        self.stages.reset();
        for ((pool, stage), seconds) in &counts.stages {
            self.stages.with_label_values(&[pool.as_str(), stage]).set(*seconds);
        }
        self.unverified.set(counts.unverified);
        self.person.set(counts.person);
        self.unseen.reset();
        for (why, machines) in &counts.unseen {
            self.unseen.with_label_values(&[*why]).set(*machines);
        }
    }
}

impl Power {
    /// Shows what machines draw and have drawn. Here, too, the journal remembers.
    pub(super) fn drawn<'a>(&self, all: impl Iterator<Item = Drawn<'a>>) {
        self.watts.reset();
        for one in all {
            let source = |measured| if measured { "measured" } else { "modelled" };
            let watts = self.watts.with_label_values(&[one.pool, one.machine, source(one.watts.1)]);
            watts.set(i64::try_from(one.watts.0).unwrap_or(i64::MAX));
            for (measured, joules) in [(true, one.measured_j), (false, one.modelled_j)] {
                raise(&self.joules, &[one.pool, one.machine, source(measured)], joules);
            }
            self.saved.with_label_values(&[one.pool, one.machine]).set(one.saved_j);
        }
    }
}

fn raise(counter: &IntCounterVec, labels: &[&str], to: u64) {
    let counter = counter.with_label_values(labels);
    counter.inc_by(to.saturating_sub(counter.get()));
}
