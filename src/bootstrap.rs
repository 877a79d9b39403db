//! Bootstrap: from powered-off machines to a Ready cluster, many hosts at once. It may be killed at any
//! point and run again: each step proves whether it is done, and every file of ours appears whole or not at all.

pub mod cluster;
pub mod folder;
pub mod gateway;
pub mod infrastructure;
pub mod plan;
pub mod progress;
pub mod removal;
pub mod run;
pub mod service;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::join_all;

use self::cluster::{Api, ClusterError, Nodes};
use self::folder::{Folder, FolderError, Remembered};
use self::plan::{HostPlan, Plan};
use self::progress::Progress;
use self::run::{Board, HostRun, RunError};
use crate::contextualize::plan::MachinePlan;
use crate::contextualize::{self, Listener};
use crate::model::cluster::ClusterSpec;
use crate::model::machine::{Machine, Off, Power, Role};
use crate::provider::{Provider, ProviderError};
use crate::remote::{Access, Connection};

/// All that a bootstrap works with.
pub struct Bootstrap {
    /// What is asked for.
    pub spec: ClusterSpec,
    /// What each machine does.
    pub plan: Plan,
    /// What Ansible does after it.
    pub ansible: contextualize::plan::Plan,
    /// Powers the machines.
    pub provider: Arc<dyn Provider>,
    /// How they are reached.
    pub access: Access,
    /// The state folder.
    pub folder: Folder,
    /// The bundle's folder here, for machines that have no view of it.
    pub bundle: PathBuf,
    /// Seconds that a machine may take from power-on to SSH.
    pub boot_timeout: u64,
    /// What the daemon on the front-end is given; none when it runs on this computer, where the power is.
    pub service: Option<service::Service>,
}

/// What a bootstrap found and did.
#[derive(Debug, Default)]
pub struct Report {
    /// Steps that were run.
    pub ran: usize,
    /// Steps that were done already.
    pub skipped: usize,
    /// What went wrong, by machine.
    pub failures: BTreeMap<String, RunError>,
    /// Machines that Ansible configured.
    pub configured: Vec<String>,
    /// Machines that were powered off at the end.
    pub powered_off: Vec<String>,
    /// The front-end's daemon was installed, or got something new.
    pub service_changed: bool,
}

/// Why a bootstrap stopped as a whole. A machine that fails does not stop it: that is in the [`Report`].
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The state folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The cluster's API.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The power of a machine.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The daemon on the front-end.
    #[error(transparent)]
    Service(#[from] service::ServiceError),
    /// The front-end was not reached.
    #[error("the front-end could not be asked: {0}")]
    FrontEnd(String),
}

impl Bootstrap {
    /// Does it. The caller holds the folder's lock.
    pub async fn run(&self, progress: &Progress) -> Result<Report, BootstrapError> {
        if self.service.is_some() {
            // Before anything is changed anywhere: also half a bootstrap can be taken away again.
            removal::note(&self.folder, &self.plan, self.access.key.as_deref())?;
        }
        let mut remembered = self.folder.remembered();
        let mut asleep = Vec::new();
        let mut awake = Vec::new();
        for host in &self.plan.hosts {
            // A worker that is off and was brought to exactly this plan before needs nothing, not even power.
            let same = remembered.hosts.get(&host.machine.name) == Some(&host.digest())
                && !self.unconfigured(&remembered).contains(&host.machine.name.as_str());
            let rests = same
                && host.machine.role == Role::Worker
                && self.provider.power(&host.machine.name).await.is_ok_and(|p| p == Power::Off);
            if rests { asleep.push(host) } else { awake.push(host) }
        }
        let news = |h: &&HostPlan| remembered.hosts.get(&h.machine.name) != Some(&h.digest());
        let owner = self.folder.owner()?;
        if self.service.is_some() && awake.iter().any(news) {
            service::rest(&run::host_of(self.front_end()), &self.access, &owner, progress).await;
        }
        let board = Board::new(owner);
        let names: Vec<&str> = awake.iter().map(|h| h.machine.name.as_str()).collect();
        progress.begin(&names);
        let runs =
            awake.iter().map(|host| async { (host.machine.name.clone(), self.host(host, &board, progress).await) });
        let mut report = Report { skipped: asleep.iter().map(|h| h.steps.len()).sum(), ..Report::default() };
        for (name, outcome) in join_all(runs).await {
            match outcome {
                Ok(done) => {
                    report.ran += done.ran;
                    report.skipped += done.skipped;
                }
                Err(error) => drop(report.failures.insert(name, error)),
            }
        }
        let front_end = board.front_end.borrow().clone();
        if let Some(connection) = front_end
            && board.front_end_is_whole()
        {
            self.configure(&connection, &mut remembered, &mut report, progress).await?;
            self.finish(&connection, &awake, &remembered, &mut report, progress).await?;
        }
        progress.end();
        Ok(report)
    }

    /// The machines that Ansible has not brought to their plan yet.
    fn unconfigured(&self, remembered: &Remembered) -> Vec<&str> {
        let new = |one: &&MachinePlan| remembered.ansible.get(&one.machine.name) != Some(&one.digest);
        self.ansible.machines.iter().filter(new).map(|one| one.machine.name.as_str()).collect()
    }

    /// Runs the document's playbooks where they did not run yet, after all recipes.
    async fn configure(
        &self,
        front_end: &Arc<Connection>,
        remembered: &mut Remembered,
        report: &mut Report,
        progress: &Progress,
    ) -> Result<(), BootstrapError> {
        let mut wanted = self.unconfigured(remembered);
        wanted.retain(|name| !report.failures.contains_key(*name));
        let listener = Told { folder: &self.folder, progress };
        let outcome = contextualize::run(&self.ansible, &wanted, front_end, &self.access, &listener).await;
        for (name, result) in outcome {
            match result {
                Ok(digest) => {
                    remembered.ansible.insert(name.clone(), digest);
                    report.configured.push(name);
                }
                Err(error) => {
                    progress.failed(&name, &error.to_string());
                    remembered.ansible.remove(&name);
                    report.failures.insert(name, error.into());
                }
            }
        }
        // Written down at once: what follows may be cut off, and no playbook need run twice for it.
        self.folder.remember(remembered)?;
        Ok(())
    }

    async fn host(&self, host: &HostPlan, board: &Board, progress: &Progress) -> Result<HostRun, RunError> {
        let result = run::host(self, host, board, progress).await;
        match &result {
            Ok(done) => progress.done(&host.machine.name, done.ran),
            Err(error) => progress.failed(&host.machine.name, &error.to_string()),
        }
        if host.machine.role == Role::FrontEnd {
            board.front_end_ended(result.is_ok());
        }
        result
    }

    /// Waits for the workers, writes down what they are, and lets those rest that the pools do not hold on.
    async fn finish(
        &self,
        front_end: &Arc<Connection>,
        awake: &[&HostPlan],
        remembered: &Remembered,
        report: &mut Report,
        progress: &Progress,
    ) -> Result<(), BootstrapError> {
        let api = Api { front_end, address: self.front_end().address.clone() };
        let good: Vec<&Machine> = awake
            .iter()
            .map(|h| &h.machine)
            .filter(|m| !report.failures.contains_key(&m.name) && !m.is_no_node())
            .collect();
        let kubeconfigs = async {
            let (admin, access) = futures::try_join!(api.admin_kubeconfig(), api.daemon_kubeconfig())?;
            self.folder.write("admin.kubeconfig", &admin, 0o600)?;
            self.folder.write("kubeconfig", &access, 0o600)?;
            Ok::<_, BootstrapError>(())
        };
        let nodes = async { Ok(api.wait_ready(&good, progress).await?) };
        let ((), nodes) = futures::try_join!(kubeconfigs, nodes)?;
        let Nodes { shapes, missing } = nodes;
        report.failures.extend(missing.into_iter().map(|(name, reason)| (name, RunError::NotReady { reason })));
        let mut record = remembered.clone();
        record.cluster.spec = Some(self.spec.clone());
        let earlier = std::mem::take(&mut record.cluster.machines);
        record.cluster.machines = self
            .plan
            .hosts
            .iter()
            .map(|h| {
                let mut machine = h.machine.clone();
                let seen = shapes.get(&machine.name).cloned();
                let before = earlier.iter().find(|m| m.name == machine.name && m.shape.seen).map(|m| m.shape.clone());
                machine.shape = seen.or(before).unwrap_or(machine.shape);
                machine
            })
            .collect();
        self.folder.remember(&record)?;
        let idle = if report.failures.is_empty() { self.surplus(awake, remembered) } else { Vec::new() };
        for name in &idle {
            progress.say(name, "powering off: its pool holds no more on");
        }
        let offs = join_all(idle.iter().map(|name| self.provider.power_off(name, Off::Graceful))).await;
        offs.into_iter().collect::<Result<Vec<()>, _>>()?;
        // The Node goes only after its machine was seen off.
        if !idle.is_empty() {
            api.delete_nodes(&idle).await?;
        }
        report.powered_off = idle;
        // Last: a host that stands here is finished, with its power too.
        for host in awake.iter().filter(|h| !report.failures.contains_key(&h.machine.name)) {
            record.hosts.insert(host.machine.name.clone(), host.digest());
        }
        self.folder.remember(&record)?;
        if let Some(service) = &self.service {
            report.service_changed = service.install(front_end, &self.folder, progress).await?;
        }
        Ok(())
    }

    fn front_end(&self) -> &Machine {
        let first = self.plan.hosts.iter().find(|h| h.machine.role == Role::FrontEnd);
        &first.unwrap_or(&self.plan.hosts[0]).machine
    }

    /// The workers beyond each pool's minimum that were not brought to this plan before. Whoever was, and is on, is
    /// on for a reason, and stays.
    fn surplus(&self, awake: &[&HostPlan], remembered: &Remembered) -> Vec<String> {
        let fresh = |h: &&HostPlan| {
            let name = &h.machine.name;
            awake.iter().any(|a| &a.machine.name == name) && remembered.hosts.get(name) != Some(&h.digest())
        };
        let mut names = Vec::new();
        for pool in &self.spec.pools {
            let of_pool =
                self.plan.hosts.iter().filter(|h| h.machine.pool == pool.name && h.machine.role == Role::Worker);
            let beyond = of_pool.skip(usize::try_from(pool.min).unwrap_or(usize::MAX));
            names.extend(beyond.filter(fresh).map(|h| h.machine.name.clone()));
        }
        names
    }
}

/// Ansible's output goes into the log of the machine that it is about.
struct Told<'a> {
    folder: &'a Folder,
    progress: &'a Progress,
}

impl Listener for Told<'_> {
    fn begins(&self, machine: &str, what: &str) {
        self.progress.say(machine, &format!("Ansible: {what}"));
        self.folder.log(machine, &format!("== {} Ansible: {what}\n", crate::clock::now()));
    }

    fn line(&self, machine: &str, line: &str) {
        self.folder.log(machine, &format!("{line}\n"));
    }
}
