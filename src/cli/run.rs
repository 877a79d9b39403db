//! `marea run`: the daemon, from the config and from what bootstrap wrote down.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::providers;
use crate::autoscaler::policy::{Paid, Policy};
use crate::bootstrap::folder::Cluster;
use crate::config::Loaded;
use crate::daemon::{self, Settings};
use crate::executor::Limits;
use crate::kubernetes::{client, watch::Timing};
use crate::provider::im::fragment::Terms;
use crate::provider::im::infrastructure::Infrastructure;

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
    let terms = Infrastructure::read(state).map_err(anyhow::Error::msg)?.unwrap_or_default().terms;
    let policy = Policy { paid: paid(&terms), stand_ins: stand_ins(&terms), relieved: relieved(&terms), ..policy };
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

/// How the time of virtual machines is paid for, where the document says it (`ec3_destroy_interval`, `ec3_destroy_safe`).
fn paid(terms: &BTreeMap<String, Terms>) -> BTreeMap<String, Paid> {
    let ms = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000);
    let paid = terms.iter().filter(|(_, terms)| terms.paid > 0);
    // Without a word on it there must still be some time to go in.
    paid.map(|(pool, t)| (pool.clone(), Paid { interval_ms: ms(t.paid), before_ms: ms(t.before).max(60_000) }))
        .collect()
}

/// The pools that stand in for others (`ec3_if_fail`), and how far down the chain.
fn stand_ins(terms: &BTreeMap<String, Terms>) -> BTreeMap<String, u32> {
    let mut depths: BTreeMap<String, u32> = BTreeMap::new();
    for first in terms.keys() {
        let mut at = first;
        // A chain that closes on itself ends there.
        for depth in 1u32.. {
            let Some(next) = terms.get(at).and_then(|terms| terms.if_fail.as_ref()) else { break };
            if next == first || depth as usize > terms.len() {
                break;
            }
            let known = depths.entry(next.clone()).or_default();
            *known = depth.max(*known);
            at = next;
        }
    }
    depths
}

/// The pools that these stand in for.
fn relieved(terms: &BTreeMap<String, Terms>) -> BTreeSet<String> {
    terms.iter().filter(|(_, terms)| terms.if_fail.is_some()).map(|(pool, _)| pool.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_stand_ins_are_followed_and_may_close() {
        let of = |pairs: &[(&str, &str)]| {
            let terms = pairs.iter().map(|(pool, next)| {
                let if_fail = (!next.is_empty()).then(|| (*next).to_owned());
                ((*pool).to_owned(), Terms { if_fail, ..Terms::default() })
            });
            stand_ins(&terms.collect())
        };
        let depths = of(&[("spot", "small"), ("small", "dear"), ("dear", "")]);
        assert_eq!(depths, BTreeMap::from([("small".to_owned(), 1), ("dear".to_owned(), 2)]));
        assert!(of(&[("a", "b"), ("b", "a")]).len() == 2);
    }
}
