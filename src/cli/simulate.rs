//! `marea simulate`: what would a policy have cost? Reads a trace and what machines there are, and shows what came of
//! the simulation.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::check::WRONG_INPUT;
use super::radl::texts::{self, ReadingArgs};
use crate::autoscaler::State;
use crate::bootstrap::folder::Cluster;
use crate::config::Loaded;
use crate::model::cluster::ClusterSpec;
use crate::radl;
use crate::simulate::report::{Price, Report};
use crate::simulate::trace::MOST_JOBS;
use crate::simulate::{Rack, Recording, Trace, Way, lines, plot, rack, recording, simulate, swf};
use crate::store::journal::Journal;

/// Run a trace of jobs through the daemon's own decisions in virtual time: kWh, cost, waiting and boots.
///
/// Beside Marea the same trace is run with all machines always on and with CLUES's algorithm and EC3's settings, and
/// a bound is shown that nobody can beat. The same trace gives the same bytes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marea simulate jobs.swf                                       ten machines of 16 CPUs
  marea simulate jobs.swf --radl cluster.radl --policy marea.toml --price 0.25 --svg jobs.svg
  marea simulate jobs.jsonl --against always-on --json | jq '.ways[].energy.kwh'
  marea simulate /var/lib/marea --policy other.toml             what another policy would have done
  echo '{\"at\": 0, \"cpu\": 2, \"memory\": \"1Gi\", \"run_seconds\": 600, \"count\": 40}' | marea simulate -

The forms of a trace, what is simulated and what is not: docs/simulate.md.")]
pub struct SimulateArgs {
    /// The trace; `-` is the standard input.
    #[arg(value_name = "TRACE")]
    pub trace: PathBuf,
    /// The trace's form; `auto` finds it out.
    #[arg(long, value_enum, default_value_t)]
    pub format: TraceFormat,
    /// The daemon's config: its timers, machines, watts and price. Without one, its defaults.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The RADL files that say how large machines are. Without one: the machines of the journal, if the trace is one;
    /// with `--policy` the cluster of the state folder, if there is one; else ten machines of 16 CPUs and 64 GiB, pool
    /// `wn`.
    #[arg(long, value_name = "FILE")]
    pub radl: Vec<PathBuf>,
    /// What is shown beside Marea.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Against::ALL)]
    pub against: Vec<Against>,
    /// What a kWh costs, in place of the config's `[energy] price`.
    #[arg(long, value_name = "NUMBER")]
    pub price: Option<f64>,
    /// A job of more CPUs than this becomes several pods that run as long.
    #[arg(long, value_name = "CPUS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub split: Option<u32>,
    /// How long a machine takes to shut down, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = rack::SHUTDOWN_MS / 1000, value_parser = clap::value_parser!(i64).range(0..=86_400))]
    pub shutdown: i64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Draw machines on and pods waiting over time into this file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// How RADL files are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
}

/// The form of a trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum TraceFormat {
    /// Found out from what is in it.
    #[default]
    Auto,
    /// The Standard Workload Format.
    Swf,
    /// Lines of JSON.
    Jsonl,
    /// A journal of the daemon: its file, or the state folder that it is in.
    Journal,
}

/// What is shown beside Marea.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Against {
    /// All machines always on.
    AlwaysOn,
    /// CLUES's algorithm with EC3's settings.
    Clues,
    /// The least that anybody needs.
    Bound,
    /// Nothing.
    None,
}

impl Against {
    const ALL: [Self; 3] = [Self::AlwaysOn, Self::Clues, Self::Bound];
}

/// Wrong input, in words.
type Wrong = String;

/// Simulates and shows.
pub fn run(args: &SimulateArgs, state: &Path) -> anyhow::Result<ExitCode> {
    match act(args, state)? {
        Ok(text) => {
            std::io::stdout().write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(wrong) => {
            writeln!(std::io::stderr(), "{wrong}")?;
            Ok(ExitCode::from(WRONG_INPUT))
        }
    }
}

fn act(args: &SimulateArgs, state: &Path) -> anyhow::Result<Result<String, Wrong>> {
    let input = read_trace(args).and_then(|input| {
        let rack = read_rack(args, state, input.recorded)?;
        Ok((input.trace, input.form, rack))
    });
    let (mut trace, form, (rack, price)) = match input {
        Ok(input) => input,
        Err(wrong) => return Ok(Err(wrong)),
    };
    if let Some(cpus) = args.split {
        trace.split(u64::from(cpus) * 1000);
    }
    if trace.jobs.len() > MOST_JOBS {
        return Ok(Err(format!("{}: {} pods, and {MOST_JOBS} are the most", args.trace.display(), trace.jobs.len())));
    }
    trace.sift(&rack);
    let outcome = simulate(&trace, &rack);
    let (ways, bound) = (ways(&args.against), args.against.contains(&Against::Bound));
    let name = args.trace.display().to_string();
    if let Some(path) = &args.svg {
        let svg = plot::svg(&name, &outcome, &ways);
        if let Err(error) = std::fs::write(path, svg) {
            anyhow::bail!("{}: {error}", path.display());
        }
    }
    let report = Report::new((&name, form), (&trace, &rack), &outcome, price, (&ways, bound));
    let text = if args.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.text() };
    Ok(Ok(text))
}

fn ways(against: &[Against]) -> Vec<Way> {
    let shown = |way: &Way| match way {
        Way::Marea => true,
        Way::AlwaysOn => against.contains(&Against::AlwaysOn),
        Way::Clues => against.contains(&Against::Clues),
    };
    Way::ALL.into_iter().filter(shown).collect()
}

/// What was read.
struct Input {
    trace: Trace,
    form: &'static str,
    /// The machines and the policy of whoever recorded it.
    recorded: Option<Rack>,
}

/// So a file of SQLite begins.
const SQLITE: &[u8] = b"SQLite format 3\0";

fn read_trace(args: &SimulateArgs) -> Result<Input, Wrong> {
    let name = args.trace.display();
    if args.trace.is_dir() {
        return recorded(&args.trace.join("journal.db"), args.shutdown);
    }
    let mut bytes = Vec::new();
    let read = if args.trace == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(&args.trace).map(|read| bytes = read)
    };
    read.map_err(|error| format!("{name}: {error}"))?;
    if args.format == TraceFormat::Journal || (args.format == TraceFormat::Auto && bytes.starts_with(SQLITE)) {
        return recorded(&args.trace, args.shutdown);
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{name}: this is no text; {FORMS}"))?;
    let form = match (args.format, text.chars().find(|c| !c.is_whitespace())) {
        (TraceFormat::Auto, Some('{')) => TraceFormat::Jsonl,
        (TraceFormat::Auto, Some(c)) if c == ';' || c == '-' || c.is_ascii_digit() => TraceFormat::Swf,
        (TraceFormat::Auto, Some(_)) => return Err(format!("{name}:1: this is no trace; {FORMS}")),
        (_, None) => return Err(format!("{name}: it is empty; {FORMS}")),
        (given, Some(_)) => given,
    };
    let parsed = if form == TraceFormat::Jsonl { lines::parse(&text) } else { swf::parse(&text) };
    let trace = parsed.map_err(|error| format!("{name}:{error}"))?;
    if trace.jobs.is_empty() && trace.left_out.is_empty() {
        return Err(format!("{name}: there is no job in it; {FORMS}"));
    }
    let form = if form == TraceFormat::Jsonl { "JSON lines" } else { "Standard Workload Format" };
    Ok(Input { trace, form, recorded: None })
}

/// Reads a journal of the daemon.
fn recorded(path: &Path, shutdown: i64) -> Result<Input, Wrong> {
    let (before, events) = Journal::record::<State>(path).map_err(|error| error.to_string())?;
    let Recording { trace, machines, policy } = recording::read(before.as_ref(), events);
    let recorded = Some(Rack::new(machines, policy, shutdown * 1000));
    Ok(Input { trace, form: "journal", recorded })
}

const FORMS: &str = "a trace is in the Standard Workload Format, lines of JSON, or a journal (docs/simulate.md)";

/// The machines, their policy, and what a kWh costs.
fn read_rack(args: &SimulateArgs, state: &Path, recorded: Option<Rack>) -> Result<(Rack, Option<Price>), Wrong> {
    let config = Loaded::read(args.policy.as_deref()).map_err(|error| error.to_string())?;
    let energy = &config.config.energy;
    let price = args.price.or(energy.price);
    if price.is_some_and(|price| !price.is_finite() || price < 0.0) {
        return Err("a kWh costs nothing or more".to_owned());
    }
    let currency = energy.currency.clone().unwrap_or_else(|| "EUR".to_owned());
    let price = price.map(|per_kwh| Price { per_kwh, currency });
    let rack = settle(args, state, &config, recorded)?;
    rack.check()?;
    Ok((rack, price))
}

fn settle(args: &SimulateArgs, state: &Path, config: &Loaded, recorded: Option<Rack>) -> Result<Rack, Wrong> {
    let shutdown_ms = args.shutdown * 1000;
    if let Some(spec) = specification(args, state, recorded.is_some())? {
        let settled = config.amend(spec).and_then(|spec| {
            let policy = config.policy(&spec)?;
            Ok(Rack::new(config.machines(&spec)?, policy, shutdown_ms))
        });
        return settled.map_err(|error| error.to_string());
    }
    let known = match recorded {
        // The policy that was in force, unless another is asked about.
        Some(recorded) if args.policy.is_none() => return Ok(recorded),
        known => known,
    };
    let spec = known.as_ref().map_or_else(|| Rack::usual(rack::USUAL_COUNT).spec(), Rack::spec);
    let settled = config.amend(spec).and_then(|spec| Ok((config.policy(&spec)?, spec)));
    let advice = "the sizes of other machines are said by `--radl FILE`";
    let (policy, spec) = settled.map_err(|error| format!("{error}; {advice}"))?;
    // Of the usual machines there are as many as the config says.
    let count = spec.pools.first().map_or(rack::USUAL_COUNT, |pool| pool.max);
    let machines = known.unwrap_or_else(|| Rack::usual(count)).machines;
    Ok(Rack::new(machines, policy, shutdown_ms))
}

/// What says how large machines are, if anything does.
fn specification(args: &SimulateArgs, state: &Path, recorded: bool) -> Result<Option<ClusterSpec>, Wrong> {
    if args.radl.is_empty() {
        let file = state.join("cluster.json");
        if recorded || args.policy.is_none() || !file.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let cluster: Cluster =
            serde_json::from_str(&text).map_err(|error| format!("{} is damaged: {error}", file.display()))?;
        return Ok(cluster.spec);
    }
    let texts = texts::gather(&args.radl, &args.reading)?;
    let beside = |name: &str| texts.beside(name);
    let loaded = radl::load_as(&texts.input(&args.reading, &beside), &super::known_recipe);
    let mut err = std::io::stderr();
    let styled = err.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // What it says that is no error is for `marea check`.
    if loaded.has_errors() {
        let _ = write!(err, "{}", loaded.human(styled));
        return Err("nothing was simulated: mend the errors above".to_owned());
    }
    loaded.spec.map(Some).ok_or_else(|| "the RADL files describe no cluster".to_owned())
}
