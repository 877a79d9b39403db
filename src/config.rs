//! The config: one TOML file that says what a document cannot: how machines are powered and reached, and
//! how patient the daemon is. A key that is not known is an error with its line; so is a pool larger than its machines.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::autoscaler::policy::{Bounds, Policy, Rule};
use crate::model::cluster::{ClusterSpec, Pool};
use crate::model::machine::{Machine, Role};

pub mod budget;
pub mod energy;
pub mod im;
pub mod machines;
pub mod power;
pub mod queues;

/// Which provider powers the machines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderKind {
    /// Machines on this computer.
    #[default]
    Local,
    /// Machines with commands of their own.
    Command,
    /// Machines with a BMC that speaks IPMI.
    Ipmi,
    /// Machines with a BMC that speaks Redfish.
    Redfish,
    /// Machines that wake by LAN and are powered off over SSH.
    Wol,
    /// Machines that are always on, or switched by a person.
    Ssh,
    /// Virtual machines of a cloud, through the Infrastructure Manager.
    Im,
}

/// The file as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of the cluster, in place of the document's.
    pub cluster: Option<String>,
    /// Who powers the machines.
    pub provider: ProviderKind,
    /// How machines are reached, where a machine does not say otherwise.
    pub ssh: Ssh,
    /// How the daemon decides.
    pub autoscaler: Autoscaler,
    /// Where figures are served.
    pub http: Http,
    /// Machines that exist.
    #[serde(rename = "machine")]
    pub machines: Vec<MachineEntry>,
    /// Windows that raise a pool's minimum.
    #[serde(rename = "schedule")]
    pub schedules: Vec<ScheduleEntry>,
    /// Bounds in place of the document's.
    #[serde(rename = "pool")]
    pub pools: Vec<PoolEntry>,
    /// How many machines may be emptied at once.
    #[serde(rename = "budget")]
    pub budgets: Vec<budget::BudgetEntry>,
    /// Queues whose work is demand.
    #[serde(rename = "queue")]
    pub queues: Vec<queues::QueueEntry>,
    /// Machines on this computer.
    pub local: Local,
    /// How declared machines are looked at.
    pub power: power::Power,
    /// What all BMCs that speak IPMI have alike.
    pub ipmi: power::Ipmi,
    /// What all BMCs that speak Redfish have alike.
    pub redfish: power::Redfish,
    /// What all magic packets have alike.
    pub wol: power::Wol,
    /// The Infrastructure Manager.
    pub im: im::Im,
    /// What all machines draw.
    pub energy: energy::EnergyEntry,
    /// What the machines of each rack may draw.
    #[serde(rename = "rack")]
    pub racks: Vec<energy::RackEntry>,
    /// The daemon on the front-end.
    pub service: Service,
}

/// `[service]`: the daemon that bootstrap installs on the front-end, but for provider `local`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// Whether it is installed.
    pub install: bool,
    /// Files that this config names, copied to the same path on the front-end with the same mode: keys, passwords, scripts.
    pub files: Vec<PathBuf>,
}

impl Default for Service {
    fn default() -> Self {
        Self { install: true, files: Vec::new() }
    }
}

/// `[ssh]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ssh {
    /// User; not root means that everything runs through `sudo -n`.
    pub user: String,
    /// Port.
    pub port: u16,
    /// Private key; none leaves it to the agent.
    pub key: Option<PathBuf>,
}

impl Default for Ssh {
    fn default() -> Self {
        Self { user: "root".to_owned(), port: 22, key: None }
    }
}

/// `[http]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address of `/metrics`, `/healthz` and `/readyz`.
    pub listen: SocketAddr,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9560)) }
    }
}

/// `[local]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Local {
    /// Begins the name of everything that is made on this computer.
    pub scope: String,
    /// The private network of the machines.
    pub subnet: String,
}

impl Default for Local {
    fn default() -> Self {
        Self { scope: "marea".to_owned(), subnet: "10.77.0.0/24".to_owned() }
    }
}

/// `[autoscaler]`: times as `90s`, `10m`, `1h30m` or `500ms`. What is not set is as in [`Policy::default`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Autoscaler {
    idle_timeout: Option<Millis>,
    min_on: Option<Millis>,
    consolidate_after: Option<Millis>,
    batch_idle: Option<Millis>,
    batch_max: Option<Millis>,
    boot_timeout: Option<Millis>,
    off_timeout: Option<Millis>,
    drain_timeout: Option<Millis>,
    backoff: Option<Millis>,
    backoff_max: Option<Millis>,
    max_booting: Option<u32>,
    max_boots_per_minute: Option<u32>,
    expendable_below: Option<i32>,
}

/// `[[machine]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineEntry {
    /// Host name, and name of its node.
    pub name: Spanned<String>,
    /// The document's system that it belongs to.
    pub pool: Spanned<String>,
    /// Address.
    pub address: String,
    /// User, when it is another than `[ssh]` says.
    #[serde(default)]
    pub user: Option<String>,
    /// Port, when it is another than `[ssh]` says.
    #[serde(default)]
    pub port: Option<u16>,
    /// Program and arguments that power it on.
    #[serde(default)]
    pub on: Vec<String>,
    /// Program and arguments that shut it down.
    #[serde(default)]
    pub off: Vec<String>,
    /// Program and arguments that cut its power.
    #[serde(default)]
    pub off_hard: Option<Vec<String>>,
    /// Program and arguments that tell by their exit code whether it is on.
    #[serde(default)]
    pub status: Vec<String>,
    /// How long each of these may take.
    #[serde(default)]
    pub timeout: Option<Millis>,
    /// By which ways it is switched and seen, when others than the provider's.
    #[serde(default)]
    pub power: Option<Spanned<power::Ways>>,
    /// Its BMC, by IPMI.
    #[serde(default)]
    pub ipmi: Option<power::Ipmi>,
    /// Its BMC, by Redfish.
    #[serde(default)]
    pub redfish: Option<power::Redfish>,
    /// Its network card.
    #[serde(default)]
    pub wol: Option<power::Wol>,
    /// What it draws, where that is not as its pool's.
    #[serde(default)]
    pub watts: Option<energy::WattsEntry>,
    /// Its rack or power strip.
    #[serde(default)]
    pub rack: Option<String>,
}

/// `[[schedule]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleEntry {
    pool: Spanned<String>,
    cron: Spanned<String>,
    #[serde(default)]
    timezone: Option<String>,
    duration: Millis,
    min: u32,
}

/// `[[pool]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolEntry {
    name: Spanned<String>,
    #[serde(default)]
    min: Option<u32>,
    #[serde(default)]
    max: Option<u32>,
    #[serde(default)]
    watts: Option<energy::WattsEntry>,
    #[serde(default)]
    rack: Option<String>,
    #[serde(default)]
    consolidate: bool,
}

/// A length of time in milliseconds, written as `90s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Millis(pub i64);

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        millis(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` is no length of time; write it as \"90s\", \"10m\" or \"1h30m\""
            ))
        })
    }
}

/// Reads `1h30m`, `90s`, `500ms`.
fn millis(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut sum = 0i64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let unit = match &after[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        sum = sum.checked_add(number.checked_mul(unit)?)?;
        rest = &after[letters..];
    }
    Some(sum)
}

/// What is wrong with a config, with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct ConfigError {
    /// The file.
    pub file: String,
    /// Line in it, from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

/// A config with the text it came from, so that what is found later has its line too.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    file: String,
    text: String,
}

impl Loaded {
    /// Reads `path`; without one, everything is as by default.
    pub fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError {
            file: file.clone(),
            line: 0,
            message: e.to_string(),
        })?;
        Self::parse(&file, &text)
    }

    /// Reads a text.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let mut loaded = Self { config: Config::default(), file: file.to_owned(), text: text.to_owned() };
        loaded.config =
            toml::from_str(text).map_err(|e| loaded.error(e.span().unwrap_or(0..0), e.message().to_owned()))?;
        Ok(loaded)
    }

    /// The text as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn error(&self, span: Range<usize>, message: String) -> ConfigError {
        let line = 1 + self.text.bytes().take(span.start).filter(|b| *b == b'\n').count();
        ConfigError {
            file: if self.file.is_empty() { "(defaults)".to_owned() } else { self.file.clone() },
            line,
            message,
        }
    }

    /// The document's specification with this config's changes.
    pub fn amend(&self, mut spec: ClusterSpec) -> Result<ClusterSpec, ConfigError> {
        if let Some(name) = &self.config.cluster {
            spec.name.clone_from(name);
        }
        for entry in &self.config.pools {
            let pool = spec.pools.iter_mut().find(|p| &p.name == entry.name.get_ref());
            let pool = pool.ok_or_else(|| {
                self.error(entry.name.span(), format!("the document has no worker pool `{}`", entry.name.get_ref()))
            })?;
            pool.min = entry.min.unwrap_or(pool.min);
            pool.max = entry.max.unwrap_or(pool.max);
            if pool.min > pool.max {
                return Err(self.error(
                    entry.name.span(),
                    format!("pool `{}` has a min of {} above its max of {}", pool.name, pool.min, pool.max),
                ));
            }
        }
        Ok(spec)
    }

    /// How the daemon decides about the pools of `spec`.
    pub fn policy(&self, spec: &ClusterSpec) -> Result<Policy, ConfigError> {
        let a = &self.config.autoscaler;
        let mut policy = Policy::default();
        let set = |to: &mut i64, from: Option<Millis>| *to = from.map_or(*to, |m| m.0);
        set(&mut policy.idle_timeout_ms, a.idle_timeout);
        policy.break_even = a.idle_timeout.is_none();
        set(&mut policy.min_on_ms, a.min_on);
        set(&mut policy.consolidation.patience_ms, a.consolidate_after);
        policy.consolidation.every_ms = policy.consolidation.every_ms.min(policy.consolidation.patience_ms.max(1_000));
        set(&mut policy.batch_idle_ms, a.batch_idle);
        set(&mut policy.batch_max_ms, a.batch_max);
        set(&mut policy.boot_timeout_ms, a.boot_timeout);
        set(&mut policy.off_timeout_ms, a.off_timeout);
        set(&mut policy.drain_timeout_ms, a.drain_timeout);
        set(&mut policy.backoff_base_ms, a.backoff);
        set(&mut policy.backoff_max_ms, a.backoff_max);
        policy.max_booting = a.max_booting.or(policy.max_booting);
        policy.max_boots_per_minute = a.max_boots_per_minute.or(policy.max_boots_per_minute);
        policy.expendable_below = a.expendable_below;
        policy.energy = self.energy()?;
        policy.by_hand = self.by_hand()?;
        policy.pools = spec.pools.iter().map(|p| (p.name.clone(), Bounds { min: p.min, max: Some(p.max) })).collect();
        for entry in &self.config.schedules {
            let pool = entry.pool.get_ref();
            if !spec.pools.iter().any(|p| &p.name == pool) {
                return Err(
                    self.error(entry.pool.span(), format!("[[schedule]]: the document has no worker pool `{pool}`"))
                );
            }
            let rule = Rule {
                pool: pool.clone(),
                cron: entry.cron.get_ref().clone(),
                timezone: entry.timezone.clone().unwrap_or_else(|| "UTC".to_owned()),
                duration_ms: entry.duration.0,
                min: entry.min,
            };
            rule.window().map_err(|e| self.error(entry.cron.span(), e.to_string()))?;
            policy.schedule.push(rule);
        }
        policy.consolidation.pools =
            self.config.pools.iter().filter(|p| p.consolidate).map(|p| p.name.get_ref().clone()).collect();
        for entry in &self.config.budgets {
            policy.consolidation.budgets.push(self.budget(entry, spec)?);
        }
        policy.check().map_err(|e| self.error(0..0, e.to_string()))?;
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cluster::RecipeUse;

    pub(super) fn spec() -> ClusterSpec {
        let pool = |name: &str, max| Pool {
            name: name.to_owned(),
            min: 0,
            max,
            cpus: 2,
            memory: 1 << 31,
            extended: BTreeMap::new(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            recipes: vec![RecipeUse { name: "kubernetes".to_owned(), version: None, parameters: BTreeMap::new() }],
        };
        ClusterSpec { name: "c".to_owned(), front_end: pool("front", 1), pools: vec![pool("wn", 2)] }
    }

    fn machine(name: &str, pool: &str) -> String {
        format!(
            "[[machine]]\nname = \"{name}\"\npool = \"{pool}\"\naddress = \"h\"\non = [\"t\"]\noff = [\"t\"]\nstatus = [\"t\"]\n"
        )
    }

    #[test]
    fn times_are_read_and_nonsense_is_not() {
        let seen = ["90s", "1h30m", "500ms", "10m"].map(millis);
        assert_eq!(seen, [Some(90_000), Some(5_400_000), Some(500), Some(600_000)]);
        for text in ["", "90", "s", "-1s", "1d", "1 s", "99999999999999999999s"] {
            assert_eq!(millis(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_line() {
        let error = Loaded::parse("m.toml", "provider = \"local\"\n[autoscaler]\nidel_timeout = \"1s\"\n").unwrap_err();
        assert_eq!((error.line, error.file.as_str()), (3, "m.toml"));
        assert!(error.message.contains("idel_timeout"), "{error}");
    }

    #[test]
    fn a_pool_larger_than_its_machines_names_both() {
        let text = format!("provider = \"command\"\n{}{}", machine("f", "front"), machine("a", "wn"));
        let error = Loaded::parse("m.toml", &text).unwrap().machines(&spec()).unwrap_err().to_string();
        assert!(error.contains("`wn`") && error.contains("max of 2") && error.contains("but 1 "), "{error}");
        let text = text + &machine("b", "wn");
        assert_eq!(Loaded::parse("m.toml", &text).unwrap().machines(&spec()).unwrap().len(), 3);
    }

    #[test]
    fn local_machines_are_made_up_and_never_share_an_address_or_range() {
        let machines = Loaded::default().machines(&spec()).unwrap();
        let names: Vec<_> = machines.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["front", "wn-1", "wn-2"]);
        let both: BTreeSet<_> = machines.iter().flat_map(|m| [&m.address, &m.pod_cidr]).collect();
        assert_eq!(both.len(), 2 * machines.len());
    }

    #[test]
    fn the_policy_has_the_configs_words_and_else_its_own() {
        let text = "[autoscaler]\nidle_timeout = \"5s\"\n[[schedule]]\npool = \"wn\"\ncron = \"0 8 * * 1-5\"\nduration = \"10h\"\nmin = 1\n";
        let loaded = Loaded::parse("m.toml", text).unwrap();
        let policy = loaded.policy(&spec()).unwrap();
        assert_eq!((policy.idle_timeout_ms, policy.boot_timeout_ms), (5000, Policy::default().boot_timeout_ms));
        assert_eq!((policy.schedule.len(), policy.pools["wn"].max), (1, Some(2)));
        assert!(!policy.break_even && Loaded::default().policy(&spec()).unwrap().break_even, "its own word wins");
        let wrong = Loaded::parse("m.toml", &text.replace("0 8 * * 1-5", "0 25 * * *")).unwrap();
        assert_eq!(wrong.policy(&spec()).unwrap_err().line, 5);
    }
}
