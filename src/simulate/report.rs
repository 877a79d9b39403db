//! A report: what came of a simulation, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::figures::{Waits, Wear, ratio};
use super::rack::Rack;
use super::trace::Trace;
use super::{Figures, Outcome, Run, Way};

/// Microjoules in a kilowatt-hour.
const KWH_UJ: u128 = 3_600_000_000_000;

/// What a kilowatt-hour costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Price {
    /// So much.
    pub per_kwh: f64,
    /// Of this.
    pub currency: String,
}

/// What came of a simulation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was run.
    pub trace: TraceReport,
    /// The machines, those that are alike together.
    pub machines: Vec<MachinesReport>,
    /// From power on to Ready, in seconds.
    pub boot_s: f64,
    /// From the order to shut down to no power, in seconds.
    pub shutdown_s: f64,
    /// What a kilowatt-hour costs, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Energy is counted over so many seconds, the same for all.
    pub span_s: f64,
    /// Each way, Marea first.
    pub ways: Vec<WayReport>,
    /// What no way can do with less than, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower_bound: Option<Energy>,
}

/// The trace as it was run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TraceReport {
    /// Where it came from.
    pub source: String,
    /// Its form.
    pub format: &'static str,
    /// When the first job is submitted.
    pub start: String,
    /// Seconds from that until the last is.
    pub length_s: f64,
    /// Jobs that are simulated.
    pub jobs: usize,
    /// How long they run, multiplied by the CPUs that they ask for, in hours.
    pub cpu_hours: f64,
    /// What is not simulated, by reason.
    pub left_out: BTreeMap<String, LeftOutReport>,
}

/// What is not simulated, for one reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeftOutReport {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub first: Vec<String>,
}

/// Machines that are alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MachinesReport {
    /// Their pool.
    pub pool: String,
    /// How many.
    pub count: usize,
    /// CPUs of each.
    pub cpus: f64,
    /// Bytes of memory of each.
    pub memory: u64,
    /// Watts of each: off, without work, at most.
    pub watts: [f64; 3],
}

/// An amount of energy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Energy {
    /// In joules.
    pub joules: f64,
    /// In kilowatt-hours.
    pub kwh: f64,
    /// What it costs, where the price is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

/// One way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WayReport {
    /// Its name.
    pub name: &'static str,
    /// What the workers drew.
    pub energy: Energy,
    /// Hours that machines drew more than standby, all together.
    pub machine_hours: f64,
    /// How long pods waited for a place.
    pub wait: Waits,
    /// How often machines were powered on.
    pub boots: Wear,
    /// Pods that were evicted, and whose work was lost.
    pub evicted: usize,
    /// Jobs that never ran.
    pub unserved: usize,
}

impl Energy {
    fn of(uj: u128, price: Option<&Price>) -> Self {
        let kwh = ratio(uj, KWH_UJ);
        Self { joules: ratio(uj, 1_000_000), kwh, cost: price.map(|price| kwh * price.per_kwh) }
    }
}

impl WayReport {
    fn of(run: &Run, price: Option<&Price>) -> Self {
        let Figures { drawn_uj, on_ms, waits, boots, evicted, unserved } = run.figures;
        let (energy, machine_hours) = (Energy::of(drawn_uj, price), ratio(on_ms, 3_600_000));
        Self { name: run.way.name(), energy, machine_hours, wait: waits, boots, evicted, unserved }
    }
}

fn seconds(ms: i64) -> f64 {
    ratio(u128::try_from(ms).unwrap_or_default(), 1000)
}

impl Report {
    /// Of these ways, and of the bound if it is asked for.
    pub fn new(
        (source, format): (&str, &'static str),
        (trace, rack): (&Trace, &Rack),
        outcome: &Outcome,
        price: Option<Price>,
        (ways, bound): (&[Way], bool),
    ) -> Self {
        let work = |(run_ms, milli): (i64, u64)| u128::try_from(run_ms).unwrap_or_default() * u128::from(milli);
        let all = trace.jobs.iter().map(|job| work((job.run_ms, job.pod.requests.cpu_milli))).sum();
        let left_out = trace
            .left_out
            .iter()
            .map(|(reason, left)| (reason.clone(), LeftOutReport { count: left.count, first: left.names.clone() }));
        let trace = TraceReport {
            source: source.to_owned(),
            format,
            start: trace.start.to_string(),
            length_s: seconds(trace.jobs.last().map_or(0, |job| job.submit_ms)),
            jobs: trace.jobs.len(),
            cpu_hours: ratio(all, 3_600_000_000),
            left_out: left_out.collect(),
        };
        let runs = outcome.runs.iter().filter(|run| ways.contains(&run.way));
        Self {
            trace,
            machines: machines(rack),
            boot_s: seconds(rack.boot_ms),
            shutdown_s: seconds(rack.shutdown_ms),
            span_s: seconds(outcome.span_ms),
            ways: runs.map(|run| WayReport::of(run, price.as_ref())).collect(),
            lower_bound: bound.then(|| Energy::of(outcome.bound_uj, price.as_ref())),
            price,
        }
    }

    /// As people read it.
    pub fn text(&self) -> String {
        let mut text = self.head();
        let mut rows: Vec<[String; 9]> = Vec::new();
        let currency = self.price.as_ref().map_or("", |price| &price.currency);
        rows.push(
            ["POLICY", "kWh", currency, "MACHINE-HOURS", "MEAN WAIT", "P99 WAIT", "MAX WAIT", "BOOTS/MACHINE", "MOST"]
                .map(str::to_owned),
        );
        let cost = |energy: &Energy| energy.cost.map_or(String::new(), |cost| format!("{cost:.2}"));
        for way in &self.ways {
            let wait = |seconds: f64| format!("{seconds:.1} s");
            rows.push([
                way.name.to_owned(),
                format!("{:.3}", way.energy.kwh),
                cost(&way.energy),
                format!("{:.1}", way.machine_hours),
                wait(way.wait.mean_s),
                wait(way.wait.p99_s),
                wait(way.wait.max_s),
                format!("{:.2}", way.boots.mean),
                way.boots.max.to_string(),
            ]);
        }
        if let Some(bound) = &self.lower_bound {
            let kwh = format!("{:.3}", bound.kwh);
            let none = || "-".to_owned();
            rows.push(["lower bound".to_owned(), kwh, cost(bound), none(), none(), none(), none(), none(), none()]);
        }
        text.push_str(&table(&rows));
        for way in &self.ways {
            if way.evicted > 0 {
                let _ =
                    writeln!(text, "{}: {} pods were evicted, and their work was done again", way.name, way.evicted);
            }
            if way.unserved > 0 {
                let _ = writeln!(
                    text,
                    "{}: {} jobs never ran, so its figures are not to be compared with others",
                    way.name, way.unserved
                );
            }
        }
        text
    }

    fn head(&self) -> String {
        let (mut text, trace) = (String::new(), &self.trace);
        let _ = writeln!(
            text,
            "trace     {} ({}): {} jobs, {:.2} CPU hours, from {} on for {}",
            trace.source,
            trace.format,
            trace.jobs,
            trace.cpu_hours,
            trace.start,
            length(trace.length_s)
        );
        for (reason, left) in &trace.left_out {
            let more = if left.count > left.first.len() { ", ..." } else { "" };
            let _ = writeln!(text, "left out  {}: {reason} ({}{more})", left.count, left.first.join(", "));
        }
        for kind in &self.machines {
            let [standby, idle, full] = kind.watts;
            let _ = writeln!(
                text,
                "machines  {} of pool {}: {} CPUs, {} MiB; {standby} W off, {idle} W idle, {full} W at most",
                kind.count,
                kind.pool,
                kind.cpus,
                kind.memory >> 20
            );
        }
        let _ = writeln!(text, "timing    boot {} s, shutdown {} s", self.boot_s, self.shutdown_s);
        let price = self.price.as_ref().map(|price| format!("{} {} per kWh", price.per_kwh, price.currency));
        let price = price.unwrap_or_else(|| "not known: --price, or [energy] price".to_owned());
        let _ = writeln!(text, "price     {price}");
        let _ = writeln!(text, "span      {} for all\n", length(self.span_s));
        text
    }
}

fn machines(rack: &Rack) -> Vec<MachinesReport> {
    let mut kinds: Vec<MachinesReport> = Vec::new();
    for machine in &rack.machines {
        let (draws, all) = (rack.draws(machine), &machine.shape.allocatable);
        let watts = [draws.standby, draws.idle, draws.full].map(|one| ratio(u128::from(one), 1000));
        let (pool, cpus) = (machine.pool.clone(), ratio(u128::from(all.cpu_milli), 1000));
        let kind = MachinesReport { pool, count: 0, cpus, memory: all.memory, watts };
        let at = kinds.iter().position(|known| MachinesReport { count: 0, ..known.clone() } == kind);
        let at = at.unwrap_or_else(|| {
            kinds.push(kind);
            kinds.len() - 1
        });
        kinds[at].count += 1;
    }
    kinds
}

/// A length of time as people say it.
fn length(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

/// Columns as wide as they must be; one without a word is left out.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate().filter(|(_, (_, width))| *width > 0) {
            let _ = if column == 0 { write!(line, "{cell:<width$}") } else { write!(line, "  {cell:>width$}") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_without_a_word_is_left_out() {
        let rows = [["a", "", "ccc"], ["aa", "", "1"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "a   ccc\naa    1\n");
    }

    #[test]
    fn lengths_are_said_in_their_unit() {
        assert_eq!([90.0, 600.0, 9000.0, 864_000.0].map(length), ["90 s", "10.0 min", "2.5 h", "10.0 days"]);
    }
}
