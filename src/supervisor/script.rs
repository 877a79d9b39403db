//! The script: the user's own, run by the image's `/bin/sh` in a process group of its own, so that a signal reaches all
//! that it started.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use futures::future::{Either, select};
use rustix::process::{Pid, Signal, kill_process_group};

use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStdout;

use super::outcome::Failure;
use super::signals::Signals;

/// The longest variable that Linux takes.
const LONGEST: usize = 128 * 1024 - 64;

/// So many bytes of what a script says are kept: the longest result that is printed.
pub(super) const KEPT: u64 = 5 << 20;

/// What a script said on its standard output.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Its beginning, as far as a result may be long.
    pub(super) text: Vec<u8>,
    /// How much it was in all.
    pub(super) length: u64,
    /// Its last line has no end.
    pub(super) open: bool,
}

/// Runs it to its end; its exit code, or 128 and the signal that ended it. What it says is kept in `said` when that is
/// asked for.
pub(super) async fn run(
    script: &Path,
    variables: &[(&str, OsString)],
    signals: &mut Signals,
    said: Option<&mut Said>,
) -> Result<u8, Failure> {
    if !script.is_file() {
        return Err(Failure::config(format!("there is no script {}", script.display())));
    }
    let mut command = tokio::process::Command::new("/bin/sh");
    command.arg(script).stdin(Stdio::null()).process_group(0);
    if said.is_some() {
        command.stdout(Stdio::piped());
    }
    for (name, value) in variables {
        if value.len() + name.len() < LONGEST {
            command.env(name, value);
        } else {
            // Whatever EVENT was in our own environment is not it.
            command.env_remove(name);
        }
    }
    let mut child = command.spawn().map_err(|e| Failure::config(format!("the image's /bin/sh cannot be run: {e}")))?;
    let listening = child.stdout.take().map(|out| tokio::spawn(listen(out)));
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let status = loop {
        let next = match select(pin!(child.wait()), pin!(signals.next())).await {
            Either::Left((status, _)) => break status,
            Either::Right((number, _)) => number,
        };
        if let (Some(group), Some(signal)) = (group, Signal::from_named_raw(i32::from(next))) {
            let _gone = kill_process_group(group, signal);
        }
    };
    let status = status.map_err(|e| Failure::internal(format!("the script's end was not seen: {e}")))?;
    if let (Some(said), Some(listening)) = (said, listening) {
        // What it left running in the background may hold its output open for ever.
        if let Ok(Ok(heard)) = tokio::time::timeout(Duration::from_secs(2), listening).await {
            *said = heard;
        }
    }
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Passes on what the script says, and keeps it.
async fn listen(mut from: ChildStdout) -> Said {
    let mut said = Said::default();
    let mut out = std::io::stdout();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let heard = buffer.get(..read).unwrap_or_default();
        let _closed = out.write_all(heard);
        said.length += read as u64;
        said.open = heard.last() != Some(&b'\n');
        if said.length <= KEPT {
            said.text.extend_from_slice(heard);
        }
    }
    let _closed = out.flush();
    said
}
