//! Running: one machine goes through its steps. Machines run side by side and meet only at the board, where
//! the front-end says which steps it has done and others wait for those they need.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Bootstrap;
use super::plan::{BUNDLE_AT_HOME, BUNDLE_ON_MACHINE, HostPlan, PlannedStep, script};
use super::progress::Progress;
use crate::contextualize::ContextError;
use crate::model::machine::{Machine, Role};
use crate::provider::ProviderError;
use crate::remote::push::Push;
use crate::remote::{Connection, Host, RemoteError};

/// How one machine went.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostRun {
    /// Steps that were run.
    pub ran: usize,
    /// Steps that were done before.
    pub skipped: usize,
}

/// Why one machine did not get through.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its power.
    #[error(transparent)]
    Power(#[from] ProviderError),
    /// Its connection.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A step.
    #[error("step `{step}` {how}\n{output}")]
    Step {
        /// `RECIPE/STEP`.
        step: String,
        /// `failed with exit code 3`, `did not end within 60 s`.
        how: String,
        /// The last lines that it printed.
        output: String,
    },
    /// Ansible.
    #[error(transparent)]
    Ansible(#[from] ContextError),
    /// Something else is on it.
    #[error("it is used already, and nothing on it was changed: {}", .0.join("; "))]
    Used(Vec<String>),
    /// All its steps are done, and its node is not Ready.
    #[error("its node did not become Ready: {reason}")]
    NotReady {
        /// What kubelet says.
        reason: String,
    },
    /// It waited for the front-end, which failed.
    #[error("step `{step}` waits for the front-end, which failed")]
    FrontEnd {
        /// `RECIPE/STEP`.
        step: String,
    },
}

/// What the front-end has done so far.
#[derive(Debug, Clone, Default)]
struct Done {
    keys: BTreeSet<String>,
    /// Some(true): through. Some(false): failed.
    ended: Option<bool>,
}

/// Where machines wait for the front-end.
pub struct Board {
    /// The cluster's mark on its machines.
    owner: String,
    done: watch::Sender<Done>,
    /// The front-end's connection, once there is one.
    pub(super) front_end: watch::Sender<Option<Arc<Connection>>>,
}

impl Board {
    pub(super) fn new(owner: String) -> Self {
        Self { owner, done: watch::Sender::default(), front_end: watch::Sender::new(None) }
    }

    fn mark(&self, key: &str) {
        self.done.send_modify(|d| {
            d.keys.insert(key.to_owned());
        });
    }

    /// The front-end will do no more.
    pub(super) fn front_end_ended(&self, whole: bool) {
        self.done.send_modify(|d| d.ended = Some(whole));
    }

    /// The front-end went through all its steps.
    pub(super) fn front_end_is_whole(&self) -> bool {
        self.done.borrow().ended == Some(true)
    }

    async fn wait(&self, step: &PlannedStep) -> Result<(), RunError> {
        let mut receiver = self.done.subscribe();
        let there = |d: &Done| step.after.iter().all(|k| d.keys.contains(k));
        let state = receiver.wait_for(|d| there(d) || d.ended.is_some()).await;
        match state {
            Ok(d) if there(&d) => Ok(()),
            _ => Err(RunError::FrontEnd { step: step.key.clone() }),
        }
    }
}

/// How a machine is reached.
pub(super) fn host_of(machine: &Machine) -> Host {
    let (name, address, user) = (machine.name.clone(), machine.address.clone(), machine.user.clone());
    Host { name, address, port: machine.port, user }
}

/// Takes one machine from whatever state it is in to the end of its plan.
pub(super) async fn host(
    all: &Bootstrap,
    plan: &HostPlan,
    board: &Board,
    progress: &Progress,
) -> Result<HostRun, RunError> {
    let machine = &plan.machine;
    let name = machine.name.as_str();
    progress.say(name, "powering on");
    all.provider.power_on(name).await?;
    let host = host_of(machine);
    progress.say(name, "waiting for SSH");
    let connection = Connection::wait(&host, &all.access, Duration::from_secs(all.boot_timeout)).await?;
    let connection = Arc::new(if plan.is_at_home() { connection.as_ordinary_user() } else { connection });
    let front_end = machine.role == Role::FrontEnd;
    if front_end {
        board.front_end.send_replace(Some(Arc::clone(&connection)));
    }
    claim(&connection, plan, &board.owner).await?;
    let todo = survey(&connection, plan).await?;
    let mut run = HostRun::default();
    if !todo.is_empty() {
        progress.say(name, "bringing the bundle");
        bring(all, plan, &connection).await?;
    }
    let count = todo.len();
    for step in &plan.steps {
        if todo.contains(&step.key) {
            if !step.after.is_empty() {
                progress.say(name, &format!("{}: waiting for the front-end", step.key));
                board.wait(step).await?;
            }
            progress.step(name, run.ran, count, &step.key);
            one(all, plan, step, &connection, board).await?;
            run.ran += 1;
        } else {
            run.skipped += 1;
        }
        if front_end {
            board.mark(&step.key);
        }
    }
    Ok(run)
}

/// Makes sure that the machine is free, or ours.
async fn claim(connection: &Connection, plan: &HostPlan, owner: &str) -> Result<(), RunError> {
    let text = plan.placed(&script::claim(owner, !plan.machine.is_no_node()));
    let outcome = connection.run(&text, Duration::from_secs(60)).await?;
    if outcome.code != 0 {
        return Err(RunError::Step {
            step: "is it free".to_owned(),
            how: format!("failed with exit code {}", outcome.code),
            output: outcome.last_lines(12).join("\n"),
        });
    }
    let reasons: Vec<String> =
        outcome.stdout.lines().filter_map(|l| l.strip_prefix("used ")).map(str::to_owned).collect();
    if reasons.is_empty() { Ok(()) } else { Err(RunError::Used(reasons)) }
}

/// Asks the machine, in one go, which steps are to do.
async fn survey(connection: &Connection, plan: &HostPlan) -> Result<BTreeSet<String>, RunError> {
    let outcome = connection.run(&plan.placed(&script::survey(&plan.steps)), Duration::from_secs(660)).await?;
    // Half an answer is none: what is done must never be done again because nobody said that it is.
    if outcome.stdout.lines().last() != Some("end") {
        return Err(RunError::Step {
            step: "what is done".to_owned(),
            how: format!("gave no whole answer (exit code {})", outcome.code),
            output: outcome.last_lines(12).join("\n"),
        });
    }
    Ok(outcome.stdout.lines().filter_map(|l| l.strip_prefix("todo ")).map(str::to_owned).collect())
}

/// A machine of this computer sees the bundle; any other is sent what it lacks.
async fn bring(all: &Bootstrap, plan: &HostPlan, connection: &Connection) -> Result<(), RunError> {
    let sees = connection.run(&format!("mountpoint -q {BUNDLE_ON_MACHINE}\n"), Duration::from_secs(20)).await?;
    if sees.code != 0 {
        let files: Vec<Push> =
            plan.pieces.iter().map(|p| Push { path: p.path.clone(), sha256: p.sha256.clone() }).collect();
        let to = if plan.is_at_home() { BUNDLE_AT_HOME } else { BUNDLE_ON_MACHINE };
        connection.push(&all.bundle, to, &files).await?;
    }
    Ok(())
}

async fn one(
    all: &Bootstrap,
    plan: &HostPlan,
    step: &PlannedStep,
    connection: &Connection,
    board: &Board,
) -> Result<(), RunError> {
    let name = plan.machine.name.as_str();
    let began = crate::clock::monotonic();
    let limit = Duration::from_secs(step.timeout);
    let failed = |how: String, output: String| RunError::Step { step: step.key.clone(), how, output };
    let mut secrets = Vec::new();
    if let Some(fetch) = &step.fetch {
        let source = board.front_end.subscribe().wait_for(Option::is_some).await.ok().and_then(|c| c.clone());
        let source = source.ok_or_else(|| RunError::FrontEnd { step: step.key.clone() })?;
        let text = format!("{{\n{}\n}} </dev/null\n", all.plan.secrets.reveal(fetch));
        let outcome = source.run(&text, limit).await?;
        if outcome.code != 0 {
            // What it printed may be half a secret: only its complaints are shown.
            return Err(failed(
                format!("could not get its input from the front-end (exit code {})", outcome.code),
                outcome.stderr,
            ));
        }
        secrets.push(outcome.stdout.trim().to_owned());
    }
    let text = script::whole(step, &all.plan.secrets.reveal(&step.script), secrets.first().map(String::as_str));
    let outcome = connection.run(&plan.placed(&text), limit).await?;
    let hide = |text: &str| {
        let text = all.plan.secrets.hide(text);
        secrets.iter().flat_map(|s| s.split_whitespace()).fold(text, |text, s| text.replace(s, "<secret>"))
    };
    let output = hide(&format!("{}{}", outcome.stdout, outcome.stderr));
    let spent = began.elapsed().as_secs_f64();
    all.folder.log(
        name,
        &format!("== {} {}: exit code {} after {spent:.1} s\n{output}\n", crate::clock::now(), step.key, outcome.code),
    );
    match outcome.code {
        0 => Ok(()),
        124 | 137 => {
            Err(failed(format!("did not end within {} s", step.timeout), hide(&outcome.last_lines(12).join("\n"))))
        }
        code => Err(failed(format!("failed with exit code {code}"), hide(&outcome.last_lines(12).join("\n")))),
    }
}
