//! Metrics: the figures that Prometheus reads, in a registry of our own. Names and labels are part of the
//! program's face: a dashboard that was built on them goes on working.

pub mod power;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// What the page of text is served as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Ticks of the CPU times in /proc: `USER_HZ`, which Linux fixes for programs whatever the kernel's own rate.
const TICKS: f64 = 100.0;

/// All figures. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    pending_pods: IntGauge,
    machines: IntGaugeVec,
    power_actions: IntCounterVec,
    boot_seconds: Histogram,
    decision_seconds: Histogram,
    queue_depth: IntGaugeVec,
    queue_heard: IntGaugeVec,
    queue_seconds: Histogram,
    watch_fresh: IntGauge,
    journal_ok: IntGauge,
    process: Process,
    power: power::Power,
}

#[derive(Debug, Clone)]
struct Process {
    resident: Gauge,
    cpu: Gauge,
    fds: Gauge,
    start: Gauge,
}

/// A collector could not be made or registered: a mistake in this file.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

impl Metrics {
    /// Makes and registers every figure.
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| -> Result<IntGauge, MetricsError> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, MetricsError> {
            let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauges.clone()))?;
            Ok(gauges)
        };
        let seconds = |name: &str, help: &str, buckets: Vec<f64>| -> Result<Histogram, MetricsError> {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let real = |name: &str, help: &str| -> Result<Gauge, MetricsError> {
            let gauge = Gauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let power_actions = IntCounterVec::new(
            Opts::new("marea_power_actions_total", "Actions on machines, by what they did and how they ended."),
            &["action", "outcome"],
        )?;
        registry.register(Box::new(power_actions.clone()))?;
        let info = GaugeVec::new(Opts::new("marea_build_info", "Always 1; the version is a label."), &["version"])?;
        registry.register(Box::new(info.clone()))?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        Ok(Self {
            power: power::Power::register(&registry)?,
            pending_pods: gauge("marea_pending_pods", "Pods that the scheduler finds no place for.")?,
            machines: gauges("marea_machines", "Machines by pool and state.", &["pool", "state"])?,
            boot_seconds: seconds(
                "marea_boot_seconds",
                "From the order to power on until the node is Ready.",
                vec![1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1200.0],
            )?,
            decision_seconds: seconds(
                "marea_decision_seconds",
                "From taking in a batch of events until its actions are handed out, the journal included.",
                vec![0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0],
            )?,
            queue_depth: gauges(
                "marea_queue_depth",
                "Work by how far it has come: waiting, suspended or in-flight messages, and the pods to-come, pending, running.",
                &["queue", "layer"],
            )?,
            queue_heard: gauges("marea_queue_heard", "1 while a queue can be read, 0 while it is lost.", &["queue"])?,
            queue_seconds: seconds(
                "marea_queue_seconds",
                "From the first message that waits while no pod takes any until a pod of its service runs.",
                vec![1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 3600.0],
            )?,
            watch_fresh: gauge("marea_watch_fresh", "1 while pods and nodes are known, 0 while the watch is lost.")?,
            journal_ok: gauge("marea_journal_ok", "1 while the journal can be written, 0 while it cannot.")?,
            process: Process {
                resident: real("process_resident_memory_bytes", "Resident memory in bytes.")?,
                cpu: real("process_cpu_seconds_total", "User and system CPU time in seconds.")?,
                fds: real("process_open_fds", "Open file descriptors.")?,
                start: real("process_start_time_seconds", "Start of the process in seconds since 1970.")?,
            },
            power_actions,
            registry,
        })
    }

    /// Pods without a place.
    pub fn pending_pods(&self, count: usize) {
        self.pending_pods.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Machines by (pool, state): replaces what was shown, so a state that nothing is in any more shows 0.
    pub fn machines(&self, counts: &BTreeMap<(String, String), i64>) {
        self.machines.reset();
        for ((pool, state), count) in counts {
            self.machines.with_label_values(&[pool, state]).set(*count);
        }
    }

    /// An action ended.
    pub fn action_ended(&self, action: &str, ok: bool) {
        self.power_actions.with_label_values(&[action, if ok { "ok" } else { "error" }]).inc();
    }

    /// A machine became a Ready node.
    pub fn booted(&self, took: Duration) {
        self.boot_seconds.observe(took.as_secs_f64());
    }

    /// What was counted of the machines' power.
    pub fn power(&self, counts: &power::PowerCounts) {
        self.power.show(counts);
    }

    /// What machines draw and have drawn.
    pub fn drawn<'a>(&self, all: impl Iterator<Item = power::Drawn<'a>>) {
        self.power.drawn(all);
    }

    /// A batch of events was decided about.
    pub fn decided(&self, took: Duration) {
        self.decision_seconds.observe(took.as_secs_f64());
    }

    /// How much is in queues by (queue, layer): replaces what was shown.
    pub fn queue_depths(&self, depths: &BTreeMap<(String, &'static str), u64>) {
        self.queue_depth.reset();
        for ((queue, layer), depth) in depths {
            self.queue_depth.with_label_values(&[queue, *layer]).set(i64::try_from(*depth).unwrap_or(i64::MAX));
        }
    }

    /// Which queues are heard of.
    pub fn queues_heard(&self, heard: &BTreeMap<String, bool>) {
        self.queue_heard.reset();
        for (queue, heard) in heard {
            self.queue_heard.with_label_values(&[queue]).set(i64::from(*heard));
        }
    }

    /// A queue that had work and no pod that runs got one.
    pub fn queue_served(&self, took: Duration) {
        self.queue_seconds.observe(took.as_secs_f64());
    }

    /// Whether the watch is fresh.
    pub fn watch_fresh(&self, fresh: bool) {
        self.watch_fresh.set(i64::from(fresh));
    }

    /// Whether the journal can be written.
    pub fn journal_ok(&self, ok: bool) {
        self.journal_ok.set(i64::from(ok));
    }

    /// All figures as Prometheus' text.
    pub fn text(&self) -> Result<String, MetricsError> {
        self.process.read();
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

impl Process {
    /// Reads the kernel's figures of this process. What cannot be read keeps its last value.
    fn read(&self) {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The command's name is in parentheses and may hold anything: fields are counted after the last one.
        let fields: Vec<f64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .map(|field| field.parse().unwrap_or_default())
            .collect();
        // proc(5) counts from 1 and the state is field 3, so field N stands at N - 4 here.
        if let (Some(user), Some(system), Some(start)) = (fields.get(10), fields.get(11), fields.get(18)) {
            self.cpu.set((user + system) / TICKS);
            let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
            let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
            if let Some(boot) = boot {
                self.start.set(boot + start / TICKS);
            }
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB"));
        if let Some(kibibytes) = resident.and_then(|text| text.trim().parse::<f64>().ok()) {
            self.resident.set(kibibytes * 1024.0);
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // One of them is the folder that is being read.
            #[expect(clippy::cast_precision_loss, reason = "a count of file descriptors")]
            self.fds.set(entries.count().saturating_sub(1) as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_every_figure_and_a_left_state_disappears() {
        let metrics = Metrics::new().unwrap();
        metrics.pending_pods(3);
        metrics.machines(&BTreeMap::from([(("small".to_owned(), "booting".to_owned()), 1)]));
        metrics.machines(&BTreeMap::from([(("small".to_owned(), "on".to_owned()), 2)]));
        metrics.action_ended("power-on", false);
        metrics.booted(Duration::from_secs(7));
        metrics.decided(Duration::from_millis(2));
        metrics.queue_depths(&BTreeMap::from([(("gone/x".to_owned(), "waiting"), 1)]));
        metrics.queue_depths(&BTreeMap::from([(("uploads".to_owned(), "waiting"), 5)]));
        metrics.queues_heard(&BTreeMap::from([("uploads".to_owned(), false)]));
        metrics.queue_served(Duration::from_secs(9));
        metrics.watch_fresh(true);
        metrics.journal_ok(false);
        let text = metrics.text().unwrap();
        for line in [
            "marea_pending_pods 3",
            r#"marea_machines{pool="small",state="on"} 2"#,
            r#"marea_power_actions_total{action="power-on",outcome="error"} 1"#,
            r#"marea_boot_seconds_bucket{le="10"} 1"#,
            "marea_decision_seconds_count 1",
            r#"marea_queue_depth{layer="waiting",queue="uploads"} 5"#,
            r#"marea_queue_heard{queue="uploads"} 0"#,
            r#"marea_queue_seconds_bucket{le="10"} 1"#,
            "marea_watch_fresh 1",
            "marea_journal_ok 0",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in\n{text}");
        }
        assert!(!text.contains("booting") && !text.contains("gone/x"), "{text}");
        for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"] {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
            let value: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            assert!(value >= 0.0 && (name.contains("cpu") || value > 0.0), "{line}");
        }
    }
}
