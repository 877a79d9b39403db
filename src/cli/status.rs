//! `marea status`: the machines, what each does and since when.

#![expect(clippy::print_stdout, reason = "this is what the command is for")]

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::socket::{Daemon, Format};
use crate::autoscaler::meter::Reading;
use crate::autoscaler::{MachineStatus, QueueStatus};
use crate::http::view::View;
use crate::model::machine::Role;

/// Show the machines: state, age and use.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  marea status\n  marea status --watch\n  marea status --energy     kWh used and saved\n  marea status --format json | jq '.machines[].state'"
)]
pub struct StatusArgs {
    /// How to write it.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// What machines draw, have drawn, and saved by being off.
    #[arg(long)]
    pub energy: bool,
    /// Go on showing it, once a second, until interrupted.
    #[arg(long)]
    pub watch: bool,
}

/// Asks the daemon and shows.
pub async fn run(args: StatusArgs, state: &Path) -> anyhow::Result<ExitCode> {
    let daemon = Daemon::find(state)?;
    loop {
        let view: View = daemon.get("/status").await?;
        let text = match args.format {
            Format::Json => serde_json::to_string(&view)?,
            Format::Text if args.energy => energy(&view),
            Format::Text => text(&view),
        };
        if args.watch && args.format == Format::Text && std::io::stdout().is_terminal() {
            // Back to the top left, and the rest of the old picture away.
            print!("\x1b[H\x1b[J");
        }
        println!("{text}");
        std::io::stdout().flush()?;
        if !args.watch {
            // The daemon runs, and yet it does nothing: a script should notice.
            return Ok(if view.journal.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The view as people read it.
pub fn text(view: &View) -> String {
    let heads = ["MACHINE", "POOL", "STATE", "AGE", "CPU", "MEMORY", "PODS", "DETAIL"];
    let mut rows: Vec<[String; 8]> = vec![heads.map(str::to_owned)];
    rows.extend(view.machines.iter().map(row));
    let mut text = format!("{}: {}\n{}", view.cluster, view.headline(), table(&rows));
    if !view.queues.is_empty() {
        let heads = ["QUEUE", "SERVICE", "WAITING", "IN FLIGHT", "LIMIT", "PODS", "TO COME", "DETAIL"];
        let mut rows: Vec<[String; 8]> = vec![heads.map(str::to_owned)];
        rows.extend(view.queues.iter().flat_map(queue_rows));
        text.push('\n');
        text.push_str(&table(&rows));
    }
    text
}

/// What machines draw, have drawn, and saved, each and by pool.
fn energy(view: &View) -> String {
    let heads = ["MACHINE", "POOL", "STATE", "STARTS", "WATTS", "USED", "MEASURED", "SAVED"];
    let mut rows: Vec<[String; 8]> = vec![heads.map(str::to_owned)];
    let mut pools: BTreeMap<&str, (u64, Reading)> = BTreeMap::new();
    let mut all = (0, all_measured());
    let line = |name: &str, pool: &str, state: &str, starts: u64, read: &Reading| {
        let used = read.measured_j + read.modelled_j;
        let mark = if read.measured || read.watts == 0 { "" } else { "~" };
        let watts = format!("{mark}{}", read.watts);
        let mark = if read.modelled_j == 0 { "" } else { "~" };
        let part = (read.measured_j * 100).checked_div(used).map_or_else(|| "-".to_owned(), |part| format!("{part}%"));
        let saved = kwh(read.saved_j);
        [name, pool, state, &starts.to_string(), &watts, &format!("{mark}{}", kwh(used.cast_signed())), &part, &saved]
            .map(str::to_owned)
    };
    for machine in &view.machines {
        let read = &machine.energy;
        rows.push(line(&machine.name, &machine.pool, &machine.state, machine.starts, read));
        for (starts, sum) in [pools.entry(&machine.pool).or_insert((0, all_measured())), &mut all] {
            *starts += machine.starts;
            sum.watts += read.watts;
            sum.measured &= read.measured;
            sum.measured_j += read.measured_j;
            sum.modelled_j += read.modelled_j;
            sum.saved_j += read.saved_j;
        }
    }
    rows.extend(pools.iter().map(|(pool, (starts, sum))| line("", pool, "all", *starts, sum)));
    rows.push(line("", "all", "", all.0, &all.1));
    format!(
        "{}: kWh; ~ is modelled from the machines' size or watts, all else measured by their BMCs\n{}",
        view.cluster,
        table(&rows)
    )
}

fn all_measured() -> Reading {
    Reading { measured: true, ..Reading::default() }
}

/// Joules as kWh, with three digits that count.
fn kwh(joules: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits for people to read")]
    let kwh = joules as f64 / 3.6e6;
    if kwh.abs() < 10.0 { format!("{kwh:.3}") } else { format!("{kwh:.1}") }
}

fn table(rows: &[[String; 8]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..8).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        text.push('\n');
        text.push_str(cells.join("  ").trim_end());
    }
    text
}

fn queue_rows(queue: &QueueStatus) -> Vec<[String; 8]> {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let lost = queue.lost.as_ref().map(|reason| format!("lost: {reason}"));
    let mut rows: Vec<[String; 8]> = Vec::new();
    for service in &queue.services {
        rows.push([
            queue.name.clone(),
            service.service.clone(),
            service.waiting.to_string(),
            number(service.in_flight),
            number(service.limit),
            (service.pending + service.running).to_string(),
            service.to_come.to_string(),
            lost.clone().or_else(|| service.held.as_ref().map(|reason| format!("held: {reason}"))).unwrap_or_default(),
        ]);
    }
    if rows.is_empty() {
        let mut row = ["-"; 8].map(str::to_owned);
        row[0].clone_from(&queue.name);
        row[7] = lost.unwrap_or_else(|| "empty".to_owned());
        rows.push(row);
    }
    rows
}

fn row(machine: &MachineStatus) -> [String; 8] {
    let mut state = machine.state.clone();
    if machine.disabled {
        state.push_str(" (disabled)");
    }
    if machine.role == Role::FrontEnd {
        state.push_str(" (front-end)");
    }
    [
        machine.name.clone(),
        machine.pool.clone(),
        state,
        age(machine.age_ms),
        share(machine.cpu_used),
        share(machine.memory_used),
        machine.pods.to_string(),
        machine.detail.clone(),
    ]
}

fn share(part: Option<f64>) -> String {
    part.map_or_else(|| "-".to_owned(), |part| format!("{:.0}%", part * 100.0))
}

/// A duration in its two largest units.
pub fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages_show_two_units() {
        for (ms, text) in [(-5, "0s"), (59_999, "59s"), (60_000, "1m00s"), (3_661_000, "1h01m"), (90_000_000, "1d01h")]
        {
            assert_eq!(age(ms), text);
        }
    }
}
