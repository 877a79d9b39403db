//! A tool: a program of this computer that the local provider runs, with its last words kept for the error.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::LocalError;
use super::lock::Lock;

/// Every program that local machines need, and the Debian package that has it.
const NEEDED: [(&str, &str); 10] = [
    ("systemd-nspawn", "systemd-container"),
    ("mmdebstrap", "mmdebstrap"),
    ("tar", "tar"),
    ("ssh-keygen", "openssh-client"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("setsid", "util-linux"),
    ("mount", "mount"),
    ("find", "findutils"),
    ("kill", "procps"),
];

/// Runs a program to its end and returns what it printed.
pub(super) fn run<A: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> Result<String, LocalError> {
    run_with(Stdio::null(), program, args)
}

/// The same for a program that writes for long: it inherits the lock, so that whoever comes after a caller that was
/// killed waits for the program's end and does not write beside it.
pub(super) fn run_holding<A: AsRef<OsStr>>(
    lock: &Lock,
    program: &str,
    args: impl IntoIterator<Item = A>,
) -> Result<String, LocalError> {
    let held =
        lock.share().map_err(|e| LocalError::Broken(format!("the lock for `{program}` cannot be shared: {e}")))?;
    run_with(held.into(), program, args)
}

fn run_with<A: AsRef<OsStr>>(
    input: Stdio,
    program: &str,
    args: impl IntoIterator<Item = A>,
) -> Result<String, LocalError> {
    let args: Vec<OsString> = args.into_iter().map(|a| a.as_ref().to_owned()).collect();
    let command = || {
        let words = args.iter().map(|a| a.to_string_lossy());
        std::iter::once(program.into()).chain(words).collect::<Vec<_>>().join(" ")
    };
    let ended = Command::new(program).args(&args).env("LC_ALL", "C").stdin(input).output().map_err(|e| {
        LocalError::Tool { command: command(), status: format!("it did not start: {e}"), output: String::new() }
    })?;
    let printed = String::from_utf8_lossy(&ended.stdout).into_owned();
    if ended.status.success() {
        return Ok(printed);
    }
    let all = printed + &String::from_utf8_lossy(&ended.stderr);
    Err(LocalError::Tool { command: command(), status: ended.status.to_string(), output: tail(&all) })
}

/// The last twenty lines, indented, each begun by a line feed, for the end of a message.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(20)..];
    last.iter().flat_map(|line| ["\n    ", line]).collect()
}

/// Refuses, before anything is changed, a computer that cannot boot local machines.
pub(super) fn check() -> Result<(), LocalError> {
    if !rustix::process::geteuid().is_root() {
        return Err(LocalError::NotRoot);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let lacking = |program: &str| !folders.iter().any(|folder: &std::path::PathBuf| folder.join(program).is_file());
    let missing: Vec<_> = NEEDED.into_iter().filter(|(program, _)| lacking(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    Err(LocalError::ToolsMissing {
        programs: missing.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", "),
        packages: packages.join(" "),
    })
}

/// Writes a file so that a reader sees the old text or the new, never a part.
pub(super) fn write_whole(path: &Path, text: &str, mode: u32) -> Result<(), LocalError> {
    use std::io::Write as _;
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

    use super::error::At as _;

    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new).at("write", &new)?;
    file.write_all(text.as_bytes()).at("write", &new)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode)).at("set the mode of", &new)?;
    file.sync_all().at("sync", &new)?;
    std::fs::rename(&new, path).at("replace", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_its_last_lines() {
        let error = run("sh", ["-c", "seq 30; echo wrong >&2; exit 3"]).unwrap_err().to_string();
        assert!(error.contains("sh -c") && error.contains("exit status: 3"), "{error}");
        assert!(error.ends_with("\n    30\n    wrong"), "{error}");
        assert_eq!(error.lines().count(), 21, "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run("marea-no-such-program", ["x"]).unwrap_err().to_string();
        assert!(error.contains("marea-no-such-program x"), "{error}");
    }
}
