//! `marea run`: the daemon, from the config and from what bootstrap wrote down.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::providers;
use crate::bootstrap::folder::Cluster;
use crate::config::Loaded;
use crate::daemon::{self, Settings};
use crate::executor::Limits;
use crate::kubernetes::{client, watch::Timing};

/// Be the daemon: power machines with the work.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  marea run
  marea run --config /etc/marea/marea.toml

SIGTERM ends it and leaves the machines as they are. See systemd/marea.service for the unit.")]
pub struct RunArgs {
    /// The config; without one, /etc/marea/marea.toml where it exists.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Runs until it is told to stop.
pub async fn run(args: RunArgs, state: &Path) -> anyhow::Result<ExitCode> {
    let usual = PathBuf::from("/etc/marea/marea.toml");
    let path = args.config.or_else(|| usual.exists().then_some(usual));
    let read = Loaded::read(path.as_deref());
    let config = match read.and_then(|config| config.declared_queues().map(|_| config)) {
        Ok(config) => config,
        Err(error) => {
            writeln!(std::io::stderr(), "{error}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let file = state.join("cluster.json");
    let text = std::fs::read_to_string(&file).with_context(|| {
        format!("cannot read {}: has `marea bootstrap` made a cluster in this state folder?", file.display())
    })?;
    let cluster: Cluster = serde_json::from_str(&text)
        .with_context(|| format!("{} is damaged; run `marea bootstrap` again", file.display()))?;
    let spec =
        cluster.spec.with_context(|| format!("{} holds no cluster; run `marea bootstrap` again", file.display()))?;
    let settled = config.amend(spec).and_then(|spec| {
        let policy = config.policy(&spec)?;
        let queues = config.queues(&spec, &cluster.machines)?;
        Ok((spec, policy, queues))
    });
    let (spec, policy, queues) = match settled {
        Ok(settled) => settled,
        Err(error) => {
            writeln!(std::io::stderr(), "{error}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let provider = match providers::open(&config, state)? {
        Ok(provider) => provider,
        Err(error) => {
            writeln!(std::io::stderr(), "{error}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let client = client::connect(&state.join("kubeconfig")).await?;
    let settings = Settings {
        state: state.to_owned(),
        cluster: spec.name.clone(),
        listen: Some(config.config.http.listen),
        stand_ins: providers::stand_ins(&config, state, &spec, &cluster.machines),
        machines: cluster.machines,
        policy,
        queues,
        limits: Limits { observers: config.config.power.at_once, ..Limits::default() },
        timing: Timing::default(),
        observe_every: Duration::from_millis(u64::try_from(config.config.power.observe_every.0).unwrap_or(30_000)),
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        futures::future::select(Box::pin(terminate.recv()), Box::pin(interrupt.recv())).await;
    };
    daemon::run(settings, provider, client, stop).await?;
    Ok(ExitCode::SUCCESS)
}
