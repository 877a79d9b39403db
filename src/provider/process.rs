//! A process: one program that is run to its end under a limit of time, after which it and its children are killed.
//! Secrets go to it by the environment, never by arguments.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

/// Kept of a program's output; its end is what tells why it failed.
const KEPT: usize = 16 * 1024;
const LINES: usize = 20;
/// How long output may still come from something that a program left running.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Why a program did not come to its end.
#[derive(Debug)]
pub(super) enum ProcessError {
    /// It could not be started or waited for.
    Failed(String),
    /// Its time was over; it was killed.
    Late,
}

/// Kills a program's process group unless it is told that the program ended: at the limit of time, and also when
/// whoever waited gave up.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        // Gone already is what is wanted.
        let _ = self.0.map(|group| kill_process_group(group, Signal::KILL));
    }
}

/// Runs a program; returns how it ended and its last lines.
pub(super) async fn run(
    words: &[String],
    environment: &[(&str, &str)],
    limit: Duration,
) -> Result<(ExitStatus, String), ProcessError> {
    let (program, arguments) = words.split_first().ok_or_else(|| ProcessError::Failed("is empty".to_owned()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| ProcessError::Failed(format!("could not be started: {e}")))?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (mut kept_out, mut kept_err) = (Vec::new(), Vec::new());
    let ended = {
        let mut reading = std::pin::pin!(async {
            tokio::join!(drain(out.as_mut(), &mut kept_out), drain(err.as_mut(), &mut kept_err))
        });
        let waiting = async {
            tokio::select! {
                // The program ends, and something that it left behind may hold its output open for ever.
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
        Ok(Err(e)) => Err(ProcessError::Failed(format!("could not be waited for: {e}"))),
        Err(_) => {
            drop(group);
            // Takes its end from the kernel, so that no zombie stays.
            let _ = tokio::time::timeout(LAST_WORDS, child.kill()).await;
            Err(ProcessError::Late)
        }
    }
}

/// Reads to the end and keeps the end. Reading goes on beyond what is kept: a full pipe would stop the program.
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
