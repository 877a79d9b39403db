//! The command provider: machines that exist, switched and seen by commands that the administrator wrote, given as
//! argument lists. No shell reads them, and each has a limit of time after which it and its children are killed.
//!
//! A status command answers by its exit code: 0 is on, 1 or 3 is off (3 is what `systemctl is-active` says), and all
//! else is an error, because a status that failed proves nothing.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::off::Waiting;
use super::process::{self, ProcessError};
use super::{Provider, ProviderError};
use crate::clock;
use crate::model::machine::{Off, Power};

const NAME: &str = "command";

fn sixty() -> u64 {
    60
}

/// The commands of one machine, as they stand in the configuration. Each is a program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commands {
    /// Powers the machine on, and returns once that is under way.
    pub on: Vec<String>,
    /// Asks the machine to shut down.
    pub off: Vec<String>,
    /// Cuts its power; without it, `off` has to do for that as well.
    #[serde(default)]
    pub off_hard: Option<Vec<String>>,
    /// Says by its exit code whether the machine is on.
    pub status: Vec<String>,
    /// Seconds that a command may take, and that a machine may take to be seen off.
    #[serde(default = "sixty")]
    pub timeout: u64,
}

/// Powers machines by commands.
#[derive(Debug)]
pub struct CommandProvider {
    machines: BTreeMap<String, Commands>,
    glance: Duration,
}

impl CommandProvider {
    /// A provider for these machines. The first thing that is wrong with a command is told as a sentence.
    pub fn new(machines: BTreeMap<String, Commands>) -> Result<Self, String> {
        for (name, commands) in &machines {
            let lists = [Some(&commands.on), Some(&commands.off), commands.off_hard.as_ref(), Some(&commands.status)];
            for (what, argv) in ["on", "off", "off_hard", "status"].into_iter().zip(lists) {
                if argv.is_some_and(|argv| argv.first().is_none_or(String::is_empty)) {
                    return Err(format!(
                        "`{what}` of machine `{name}` needs a program: write [\"program\", \"argument\", ...]"
                    ));
                }
            }
            if commands.timeout == 0 {
                return Err(format!("`timeout` of machine `{name}` must be at least 1 second"));
            }
        }
        Ok(Self { machines, glance: Duration::from_millis(500) })
    }

    /// Looks at the power this often while a machine goes off, in place of twice a second.
    #[must_use]
    pub fn with_glance(self, glance: Duration) -> Self {
        Self { glance, ..self }
    }

    fn commands(&self, machine: &str) -> Result<&Commands, ProviderError> {
        let missing = || ProviderError::NoSuchMachine { provider: NAME, machine: machine.to_owned() };
        self.machines.get(machine).ok_or_else(missing)
    }

    async fn see(&self, machine: &str) -> Result<Power, ProviderError> {
        let commands = self.commands(machine)?;
        let run = Run { what: "status", machine, argv: &commands.status, timeout: commands.timeout };
        let (status, output) = run.to_its_end().await?;
        match status.code() {
            Some(0) => Ok(Power::On),
            Some(1 | 3) => Ok(Power::Off),
            _ => Err(run.failed(&format!("ended with {status}; 0 is on, 1 or 3 is off{output}"))),
        }
    }

    async fn switch_on(&self, machine: &str) -> Result<(), ProviderError> {
        let commands = self.commands(machine)?;
        if self.see(machine).await? == Power::On {
            return Ok(());
        }
        Run { what: "power on", machine, argv: &commands.on, timeout: commands.timeout }.with_success().await
    }

    async fn switch_off(&self, machine: &str, how: Off) -> Result<(), ProviderError> {
        let commands = self.commands(machine)?;
        if self.see(machine).await? == Power::Off {
            return Ok(());
        }
        let argv = match how {
            Off::Graceful => &commands.off,
            Off::Hard => commands.off_hard.as_ref().unwrap_or(&commands.off),
        };
        let began = clock::monotonic();
        // `ssh host poweroff` often ends badly because it worked.
        let ran = Run { what: "power off", machine, argv, timeout: commands.timeout }.with_success().await;
        let patience = Duration::from_secs(commands.timeout);
        let waiting = Waiting { machine, began, patience, glance: self.glance };
        waiting.seen_off(ran, || self.see(machine)).await
    }
}

impl Provider for CommandProvider {
    fn name(&self) -> &'static str {
        NAME
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async move { Ok(self.machines.keys().cloned().collect()) })
    }

    fn power<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<Power, ProviderError>> {
        Box::pin(self.see(machine))
    }

    fn power_on<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.switch_on(machine))
    }

    fn power_off<'a>(&'a self, machine: &'a str, how: Off) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.switch_off(machine, how))
    }
}

/// One run of one command.
struct Run<'a> {
    what: &'static str,
    machine: &'a str,
    argv: &'a [String],
    timeout: u64,
}

impl Run<'_> {
    fn failed(&self, reason: &str) -> ProviderError {
        let command = self.argv.first().map(String::as_str).unwrap_or_default();
        ProviderError::Failed {
            what: self.what,
            machine: self.machine.to_owned(),
            reason: format!("`{command}` {reason}"),
        }
    }

    async fn with_success(&self) -> Result<(), ProviderError> {
        let (status, output) = self.to_its_end().await?;
        if status.success() { Ok(()) } else { Err(self.failed(&format!("ended with {status}{output}"))) }
    }

    /// Runs the command; returns how it ended and its last lines.
    async fn to_its_end(&self) -> Result<(ExitStatus, String), ProviderError> {
        process::run(self.argv, &[], Duration::from_secs(self.timeout)).await.map_err(|error| match error {
            ProcessError::Late => {
                ProviderError::TimedOut { what: self.what, machine: self.machine.to_owned(), seconds: self.timeout }
            }
            ProcessError::Failed(reason) => self.failed(&reason),
        })
    }
}
