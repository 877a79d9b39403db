//! The local provider: machines on this computer, each a Debian with systemd as pid 1 and its own sshd, booted by
//! systemd-nspawn on a private bridge. A machine is its cgroup: whoever opens the same state folder later, after
//! whatever crash, finds it again there. How it works and where it ends: `docs/local-machines.md`.

mod base;
mod cgroup;
mod error;
mod files;
mod hierarchy;
mod keys;
mod launch;
mod limits;
mod lock;
mod machine;
mod network;
mod power;
mod process;
mod remove;
mod site;
mod spec;
mod tool;

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;

pub use self::error::LocalError;
pub use self::power::Sight;
pub use self::site::Settings;
use self::site::Site;
pub use self::spec::MachineSpec;
use super::{Provider, ProviderError};
use crate::model::machine::{Off, Power};

const NAME: &str = "local";

/// Local machines of one state folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LocalProvider {
    site: Arc<Site>,
}

impl LocalProvider {
    /// Opens a state folder. Nothing is made yet; a folder that something else uses is refused.
    pub fn open(settings: Settings) -> Result<Self, LocalError> {
        Ok(Self { site: Arc::new(Site::open(settings)?) })
    }

    /// Refuses, before anything is changed, a computer without root or without the programs that are needed.
    pub fn check_computer(&self) -> Result<(), LocalError> {
        tool::check()
    }

    /// Makes the root file system below all machines unless it is there: a minute the first time on a computer,
    /// seconds the first time in a state folder. `progress` hears of each long step.
    pub async fn ensure_base(&self, progress: impl Fn(&str) + Send + 'static) -> Result<(), LocalError> {
        self.blocking(move |site| base::ensure(site, &progress).map(drop)).await
    }

    /// Makes machines that are not there, powered off, with [`Self::ensure_base`] before if need be. Repeating it is
    /// safe; a size may change while a machine is off. All are checked before one is made.
    pub async fn create_all(&self, specs: Vec<MachineSpec>) -> Result<(), LocalError> {
        self.blocking(move |site| {
            tool::check()?;
            machine::check_all(site, &specs)?;
            network::ensure(site)?;
            let base = base::ensure(site, &|_| {})?;
            let base = base.file_name().unwrap_or_default().to_string_lossy().into_owned();
            machine::create(site, &specs, &base, &|name| Ok(!power::see(site, name)?.processes.is_empty()))
        })
        .await
    }

    /// Makes one machine: [`Self::create_all`] of one.
    pub async fn create(&self, spec: MachineSpec) -> Result<(), LocalError> {
        self.create_all(vec![spec]).await
    }

    /// The machines that were made, by name.
    pub async fn machines(&self) -> Result<Vec<MachineSpec>, LocalError> {
        self.blocking(|site| Ok(machine::list(site)?.into_values().map(|record| record.spec).collect())).await
    }

    /// Looks closely at one machine.
    pub async fn see(&self, name: &str) -> Result<Sight, LocalError> {
        let name = name.to_owned();
        self.blocking(move |site| {
            machine::read(site, &name)?;
            power::see(site, &name)
        })
        .await
    }

    /// Cuts a machine's power and removes it.
    pub async fn destroy(&self, name: &str) -> Result<(), LocalError> {
        let name = name.to_owned();
        self.blocking(move |site| remove::whole(site, &name)).await
    }

    /// Removes all machines and everything that was made for them on this computer; the cache of root file systems
    /// stays. Repeating it is safe.
    pub async fn destroy_all(&self) -> Result<(), LocalError> {
        self.blocking(remove::everything).await
    }

    /// The private SSH key that opens root's door on every machine.
    pub fn ssh_key(&self) -> PathBuf {
        keys::private_key(&self.site)
    }

    /// The file of host keys to check strictly against, from the first connection on.
    pub fn known_hosts(&self) -> PathBuf {
        keys::known_hosts(&self.site)
    }

    /// A machine's console of its last boot.
    pub fn console(&self, name: &str) -> PathBuf {
        self.site.machine(name).join("console.log")
    }

    /// Files, locks and waiting: not for the threads that serve everything else.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Site) -> Result<T, LocalError> + Send + 'static,
    ) -> Result<T, LocalError> {
        let site = Arc::clone(&self.site);
        let done = tokio::task::spawn_blocking(move || work(&site)).await;
        done.unwrap_or_else(|broken| Err(LocalError::Broken(broken.to_string())))
    }

    async fn switch(
        &self,
        what: &'static str,
        machine: &str,
        work: fn(&Site, &str) -> Result<(), LocalError>,
    ) -> Result<(), ProviderError> {
        let name = machine.to_owned();
        self.blocking(move |site| work(site, &name)).await.map_err(|error| tell(what, machine, error))
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others are told by their text")]
fn tell(what: &'static str, machine: &str, error: LocalError) -> ProviderError {
    let machine = machine.to_owned();
    match error {
        LocalError::NoMachine(_) => ProviderError::NoSuchMachine { provider: NAME, machine },
        LocalError::Slow { seconds, .. } => ProviderError::TimedOut { what, machine, seconds },
        other => ProviderError::Failed { what, machine, reason: other.to_string() },
    }
}

impl Provider for LocalProvider {
    fn name(&self) -> &'static str {
        NAME
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async move {
            let machines = self.machines().await;
            let machines =
                machines.map_err(|error| ProviderError::NoList { provider: NAME, reason: error.to_string() })?;
            Ok(machines.into_iter().map(|spec| spec.name).collect())
        })
    }

    fn power<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<Power, ProviderError>> {
        Box::pin(async move {
            let seen = self.see(machine).await.map_err(|error| tell("status", machine, error))?;
            Ok(if seen.processes.is_empty() { Power::Off } else { Power::On })
        })
    }

    fn power_on<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.switch("power on", machine, power::on))
    }

    fn power_off<'a>(&'a self, machine: &'a str, how: Off) -> BoxFuture<'a, Result<(), ProviderError>> {
        let work = match how {
            Off::Graceful => power::off_gracefully,
            Off::Hard => power::off_hard,
        };
        Box::pin(self.switch("power off", machine, work))
    }
}
