//! Contextualize: a document's Ansible recipes run on its machines, by Ansible on the front-end and over SSH from there.
//! One process a machine, so that each has its own output and its own end: a machine that fails drops its later steps,
//! and nobody else's. All end a step before any begins the next.

pub mod plan;
mod script;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;

use self::plan::{MachinePlan, Plan, Run};
use crate::remote::{Access, Connection, Host, RemoteError};

/// Machines that are configured at once: each takes a Python of some 100 MB on the front-end.
const AT_ONCE: usize = 4;

/// Lines of a recipe's output that an error shows.
const SHOWN: usize = 15;

/// Why a machine was not configured.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// It, or the front-end, was not reached.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The front-end lacks Ansible, or what recipes need.
    #[error("the front-end cannot run Ansible: {0}")]
    FrontEnd(String),
    /// The machine is not fit.
    #[error("Ansible cannot work on it: {0}")]
    Machine(String),
    /// A recipe failed.
    #[error("step {step}, `{recipe}`, {how}\n{output}")]
    Recipe {
        /// Which step.
        step: u32,
        /// Which recipe.
        recipe: String,
        /// `failed with exit code 2`, `did not end in time`.
        how: String,
        /// The last lines that it printed.
        output: String,
    },
}

/// How it went: for each machine of the plan, its digest to remember, or why not.
pub type Outcome = BTreeMap<String, Result<String, ContextError>>;

/// What is told while it runs.
pub trait Listener: Send + Sync {
    /// A machine begins a recipe.
    fn begins(&self, machine: &str, what: &str);
    /// A line of a recipe's output.
    fn line(&self, machine: &str, line: &str);
}

/// Configures the machines of `plan` that `wanted` names.
pub async fn run(
    plan: &Plan,
    wanted: &[&str],
    front_end: &Arc<Connection>,
    access: &Access,
    listener: &dyn Listener,
) -> Outcome {
    let machines: Vec<&MachinePlan> =
        plan.machines.iter().filter(|one| wanted.contains(&one.machine.name.as_str())).collect();
    let mut outcome = Outcome::new();
    if machines.is_empty() {
        return outcome;
    }
    let began = crate::clock::monotonic();
    let key = match prepare(plan, front_end, access, listener).await {
        Ok(key) => key,
        Err(error) => {
            let text = error.to_string();
            let failed = |one: &&MachinePlan| (one.machine.name.clone(), Err(ContextError::FrontEnd(text.clone())));
            return machines.iter().map(failed).collect();
        }
    };
    for one in &machines {
        if let Err(error) = admit(one, &key, front_end, access).await {
            outcome.insert(one.machine.name.clone(), Err(error));
        }
    }
    let mut steps: Vec<u32> = machines.iter().flat_map(|one| one.runs.iter().map(|run| run.step)).collect();
    steps.sort_unstable();
    steps.dedup();
    for step in steps {
        let left = Duration::from_secs(plan.limit).saturating_sub(began.elapsed());
        let of_step = machines
            .iter()
            .filter(|one| !outcome.contains_key(&one.machine.name))
            .map(|one| async move { (one, on_machine(plan, one, step, left, front_end, listener).await) });
        let ended: Vec<_> = futures::stream::iter(of_step).buffer_unordered(AT_ONCE).collect().await;
        for (one, result) in ended {
            if let Err(error) = result {
                outcome.insert(one.machine.name.clone(), Err(error));
            }
        }
    }
    for one in machines {
        outcome.entry(one.machine.name.clone()).or_insert_with(|| Ok(one.digest.clone()));
    }
    outcome
}

/// Puts the inventory, the key and what recipes need on the front-end. Answers its public key.
async fn prepare(
    plan: &Plan,
    front_end: &Connection,
    access: &Access,
    listener: &dyn Listener,
) -> Result<String, ContextError> {
    // The front-end trusts the machines that we trust, by the same keys.
    let known = std::fs::read_to_string(&access.known_hosts).unwrap_or_default();
    let name = front_end.host.name.clone();
    listener.begins(&name, "preparing Ansible");
    let outcome = front_end.run(&script::prepare(&plan.inventory, &known), Duration::from_secs(120)).await?;
    if outcome.code != 0 {
        return Err(ContextError::FrontEnd(outcome.last_lines(SHOWN).join("\n")));
    }
    let key = outcome.stdout.lines().rfind(|line| line.starts_with("ssh-")).unwrap_or("").to_owned();
    for requirement in &plan.requirements {
        listener.begins(&name, &format!("fetching {}", requirement.source));
        let outcome = front_end.run(&script::fetch(requirement), Duration::from_secs(300)).await?;
        if outcome.code != 0 {
            let reason = outcome.last_lines(SHOWN).join("\n");
            let place = script::place(requirement);
            return Err(ContextError::FrontEnd(format!(
                "`{}` could not be fetched (without Ansible Galaxy, put it into {place} yourself): {reason}",
                requirement.source
            )));
        }
    }
    Ok(key)
}

/// Lets the front-end in, and sees whether Ansible can work there.
async fn admit(one: &MachinePlan, key: &str, front_end: &Connection, access: &Access) -> Result<(), ContextError> {
    let machine = &one.machine;
    if machine.name == front_end.host.name {
        return Ok(());
    }
    let host = Host {
        name: machine.name.clone(),
        address: machine.address.clone(),
        port: machine.port,
        user: machine.user.clone(),
    };
    let connection = Connection::open(&host, access).await?;
    let outcome = connection.run(&script::admit(&machine.user, key), Duration::from_secs(60)).await?;
    if outcome.code == 0 { Ok(()) } else { Err(ContextError::Machine(outcome.last_lines(SHOWN).join("\n"))) }
}

/// One step on one machine: its recipes one after the other.
async fn on_machine(
    plan: &Plan,
    one: &MachinePlan,
    step: u32,
    left: Duration,
    front_end: &Connection,
    listener: &dyn Listener,
) -> Result<(), ContextError> {
    let name = one.machine.name.as_str();
    let began = crate::clock::monotonic();
    for run in one.runs.iter().filter(|run| run.step == step) {
        let Run { name: recipe, .. } = run;
        let failed = |how: String, output: String| ContextError::Recipe { step, recipe: recipe.clone(), how, output };
        let left = left.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(failed(format!("was not begun: the {} s of the document are over", plan.limit), String::new()));
        }
        listener.begins(name, &format!("step {step}: {recipe}"));
        let mut last: Vec<String> = Vec::new();
        let hide =
            |line: &str| plan.secrets.iter().fold(line.to_owned(), |line, secret| line.replace(secret, "<secret>"));
        let text = script::play(run, name, one.vault.as_deref());
        let code = front_end
            .stream(&text, left, &mut |line| {
                let line = hide(line);
                listener.line(name, &line);
                if !line.trim().is_empty() {
                    last.push(line);
                }
                if last.len() > SHOWN {
                    last.remove(0);
                }
            })
            .await?;
        match code {
            0 => {}
            124 | 137 => return Err(failed(format!("did not end within {} s", plan.limit), last.join("\n"))),
            code => return Err(failed(format!("failed with exit code {code}"), last.join("\n"))),
        }
    }
    Ok(())
}
