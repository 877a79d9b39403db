//! The command provider: machines that exist, switched and seen by commands that the administrator wrote, given as
//! argument lists. No shell reads them, and each has a limit of time after which it and its children are killed.
//!
//! A status command answers by its exit code: 0 is on, 1 or 3 is off (3 is what `systemctl is-active` says), and all
//! else is an error, because a status that failed proves nothing.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::{Provider, ProviderError};
use crate::clock;
use crate::model::machine::{Off, Power};

const NAME: &str = "command";
/// Kept of a command's output; its end is what tells why it failed.
const KEPT: usize = 16 * 1024;
const LINES: usize = 20;
/// How long output may still come from something that a command left running.
const LAST_WORDS: Duration = Duration::from_millis(300);

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
        let ran = Run { what: "power off", machine, argv, timeout: commands.timeout }.with_success().await;
        if let Err(error) = ran {
            // `ssh host poweroff` often ends badly because it worked. What is seen decides.
            return if self.see(machine).await? == Power::Off { Ok(()) } else { Err(error) };
        }
        loop {
            if self.see(machine).await? == Power::Off {
                return Ok(());
            }
            if clock::monotonic().duration_since(began) >= Duration::from_secs(commands.timeout) {
                let (machine, seconds) = (machine.to_owned(), commands.timeout);
                return Err(ProviderError::TimedOut { what: "power off", machine, seconds });
            }
            tokio::time::sleep(self.glance).await;
        }
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

/// Kills a command's process group unless it is told that the command ended: at the limit of time, and also when
/// whoever waited gave up.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        // Gone already is what is wanted.
        let _ = self.0.map(|group| kill_process_group(group, Signal::KILL));
    }
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
        let (program, args) = self.argv.split_first().ok_or_else(|| self.failed("is empty"))?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| self.failed(&format!("could not be started: {e}")))?;
        let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
        let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
        let (mut kept_out, mut kept_err) = (Vec::new(), Vec::new());
        let limit = Duration::from_secs(self.timeout);
        let ended = {
            let mut reading = std::pin::pin!(async {
                tokio::join!(drain(out.as_mut(), &mut kept_out), drain(err.as_mut(), &mut kept_err))
            });
            let waiting = async {
                tokio::select! {
                    // The command ends, and something that it left behind may hold its output open for ever.
                    ended = child.wait() => {
                        let _ = tokio::time::timeout(LAST_WORDS, &mut reading).await;
                        ended
                    }
                    _ = &mut reading => child.wait().await,
                }
            };
            tokio::time::timeout(limit, waiting).await
        };
        match ended {
            Ok(Ok(status)) => {
                // What it left running on purpose, such as a virtual machine, stays.
                group.0 = None;
                kept_out.append(&mut kept_err);
                Ok((status, last_lines(&String::from_utf8_lossy(&kept_out))))
            }
            Ok(Err(e)) => Err(self.failed(&format!("could not be waited for: {e}"))),
            Err(_) => {
                drop(group);
                // Takes its end from the kernel, so that no zombie stays.
                let _ = tokio::time::timeout(LAST_WORDS, child.kill()).await;
                Err(ProviderError::TimedOut {
                    what: self.what,
                    machine: self.machine.to_owned(),
                    seconds: self.timeout,
                })
            }
        }
    }
}

/// Reads to the end and keeps the end. Reading goes on beyond what is kept: a full pipe would stop the command.
async fn drain(from: Option<&mut (impl AsyncRead + Unpin)>, kept: &mut Vec<u8>) {
    let Some(from) = from else { return };
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        kept.extend_from_slice(&piece[..count]);
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().flat_map(|line| ["\n    ", line]).collect()
}
