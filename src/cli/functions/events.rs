//! `marea functions events`: events as an operator sees them, the dead letters first of all.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::Access;
use super::client::Gateway;
use crate::cli::socket::Format;

/// Look after events.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marea functions events list                      the dead letters
  marea functions events list --stage waiting --service cowsay
  marea functions events show 0d3f...              one, with its text
  marea functions events replay --service cowsay   try the dead ones of a function again
  marea functions events purge 0d3f...             throw one away")]
pub struct EventsArgs {
    #[command(subcommand)]
    command: EventsCommand,
}

#[derive(Debug, Subcommand)]
enum EventsCommand {
    /// List events, the newest first.
    List {
        /// waiting, running, done, dead or all.
        #[arg(long, value_name = "STATE", default_value = "dead")]
        stage: String,
        /// Only those of this function.
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
        /// So many at most.
        #[arg(long, default_value_t = 100)]
        most: u32,
        /// How it is printed.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        access: Access,
    },
    /// Show one event with its text.
    Show {
        /// Its identity, or the name of its job.
        id: String,
        #[command(flatten)]
        access: Access,
    },
    /// Try dead letters again.
    Replay(WhichArgs),
    /// Throw dead letters away.
    Purge(WhichArgs),
}

/// Which dead letters.
#[derive(Debug, Args)]
#[group(required = true, multiple = false, args = ["ids", "service", "all"])]
struct WhichArgs {
    /// These.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All of this function.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// All.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    access: Access,
}

/// Does what was asked.
pub async fn run(args: EventsArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        EventsCommand::List { stage, service, most, format, access } => {
            let gateway = Gateway::of(&access, None)?;
            let mut asked = vec![("state", stage), ("most", most.to_string())];
            asked.extend(service.map(|name| ("service", name)));
            let request = gateway.request(Method::GET, &["marea", "events"]).query(&asked);
            let (_, text) = gateway.send(request, &[]).await?;
            list(&serde_json::from_str(&text).context("the gateway's answer is no JSON")?, format)?;
        }
        EventsCommand::Show { id, access } => {
            let value = Gateway::of(&access, None)?.get(&["marea", "events", &id]).await?;
            writeln!(std::io::stdout(), "{value:#}")?;
        }
        EventsCommand::Replay(which) => {
            let answer = ask(&which, "replay").await?;
            writeln!(std::io::stdout(), "{} events are tried again", answer["replayed"])?;
            for id in answer["without_service"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                writeln!(std::io::stderr(), "marea: no function takes {id}; it stays")?;
            }
        }
        EventsCommand::Purge(which) => {
            let answer = ask(&which, "purge").await?;
            writeln!(std::io::stdout(), "{} events are thrown away", answer["purged"])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(which: &WhichArgs, what: &str) -> anyhow::Result<Value> {
    let gateway = Gateway::of(&which.access, None)?;
    let body = json!({ "ids": which.ids, "service": which.service, "all": which.all });
    let (_, text) = gateway.send(gateway.request(Method::POST, &["marea", "events", what]).json(&body), &[]).await?;
    serde_json::from_str(&text).context("the gateway's answer is no JSON")
}

fn list(answer: &Value, format: Format) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    if format == Format::Json {
        return writeln!(out, "{answer:#}");
    }
    writeln!(out, "{:<36} {:<20} {:<8} {:>3} {:<24} REASON", "EVENT", "FUNCTION", "STATE", "TRY", "ACCEPTED")?;
    for event in answer["events"].as_array().into_iter().flatten() {
        let text = |key: &str| event[key].as_str().unwrap_or("-").to_owned();
        let (id, service, state, at) = (text("id"), text("service"), text("state"), text("accepted_at"));
        writeln!(out, "{id:<36} {service:<20} {state:<8} {:>3} {at:<24} {}", event["attempt"], text("reason"))?;
    }
    let totals: Vec<String> =
        answer["totals"].as_object().into_iter().flatten().map(|(state, n)| format!("{n} {state}")).collect();
    writeln!(out, "in all: {}", if totals.is_empty() { "no events".to_owned() } else { totals.join(", ") })
}
