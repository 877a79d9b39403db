//! Figures: what Prometheus reads of the gateway, in a registry of its own. The names are part of the
//! program's face.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// All figures. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Figures {
    registry: Registry,
    /// Events that were new and are on disk.
    pub accepted: IntCounter,
    /// Events that were there already.
    pub duplicates: IntCounter,
    /// Dead letters that were tried again.
    pub replayed: IntCounter,
    /// Events that became dead letters.
    pub dead: IntCounter,
    /// Events whose run was well.
    pub done: IntCounter,
    /// Attempts that failed and were followed by another.
    pub retried: IntCounter,
    /// Seconds from an event's acceptance, by the stage that was reached: `made`, `running`.
    pub seconds: HistogramVec,
    /// Seconds of one commit as its callers see it.
    pub commit: Histogram,
    /// Events by service and layer: `waiting`, `in_flight`.
    pub depth: IntGaugeVec,
    /// One when the API server is heard.
    pub watch_fresh: IntGauge,
}

impl Figures {
    /// Makes and registers every figure.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let buckets = vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0];
        let seconds = HistogramVec::new(
            HistogramOpts::new("marea_event_seconds", "Seconds from an event's acceptance to a stage of its run.")
                .buckets(buckets),
            &["stage"],
        )?;
        registry.register(Box::new(seconds.clone()))?;
        let commit = Histogram::with_opts(
            HistogramOpts::new("marea_event_commit_seconds", "Seconds until an event is on disk.")
                .buckets(vec![0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0]),
        )?;
        registry.register(Box::new(commit.clone()))?;
        let depth =
            IntGaugeVec::new(Opts::new("marea_queue_depth", "Events by queue and layer."), &["queue", "layer"])?;
        registry.register(Box::new(depth.clone()))?;
        let watch_fresh = IntGauge::new("marea_watch_fresh", "1 while the API server is heard.")?;
        registry.register(Box::new(watch_fresh.clone()))?;
        Ok(Self {
            accepted: counter("marea_events_accepted_total", "Events that were new and are on disk.")?,
            duplicates: counter("marea_events_duplicate_total", "Events that were delivered again.")?,
            replayed: counter("marea_events_replayed_total", "Dead letters that were tried again.")?,
            dead: counter("marea_events_dead_total", "Events that became dead letters.")?,
            done: counter("marea_events_done_total", "Events whose run was well.")?,
            retried: counter("marea_events_retried_total", "Attempts that failed and were followed by another.")?,
            seconds,
            commit,
            depth,
            watch_fresh,
            registry,
        })
    }

    /// The page that Prometheus reads.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
