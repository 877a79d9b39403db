//! A launch: a script that boots one machine and stays with it, in a session, mount namespace and cgroups of its own. It
//! outlives whoever started it.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::{At as _, LocalError};
use super::files::DATA;
use super::lock::Lock;
use super::site::Site;
use super::spec::Record;
use super::{cgroup, tool};

const SCRIPT: &str = include_str!("../../../recipes/local/marea-launch");

/// Starts the machine. The caller has proven that nothing of it lives, and the script proves it once more. The script
/// inherits the lock and keeps it until it is in the machine's cgroups: should the caller be killed in between, the
/// next one waits, and then sees it there.
pub(super) fn start(site: &Site, record: &Record, host: u8, lock: &Lock) -> Result<(), LocalError> {
    let name = &record.spec.name;
    let folder = site.machine(name);
    let base = site.local().join(&record.base);
    if !base.is_dir() {
        let why = format!(
            "the root file system {} of `{name}` is gone; destroy the machine and make it again",
            base.display()
        );
        return Err(LocalError::Input(why));
    }
    let groups: Vec<String> = cgroup::folders(site, name)?.iter().map(|path| path.display().to_string()).collect();
    tool::write_whole(&folder.join("cgroups"), &(groups.join("\n") + "\n"), 0o644)?;
    for old in ["exit", "off"] {
        let path = folder.join(old);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).at("remove", &path);
            }
            _ => {}
        }
    }
    // Written anew and renamed: a script that runs keeps the text that it began with.
    let script = folder.join("launch");
    tool::write_whole(&script, SCRIPT, 0o755)?;
    let log = folder.join("console.log");
    // One boot back is kept: a machine that died is usually powered on again before anyone looks.
    let _ = std::fs::rename(&log, folder.join("console.old.log"));
    // A file, never a pipe: at the first line after the reader of a pipe died, the machine would die too.
    let console = File::create(&log).at("make", &log)?;
    let errors = console.try_clone().at("share", &log)?;
    let held: Stdio = lock.share().at("share the lock of", &folder)?.into();
    // setsid forks, so that nothing is left for us to wait for and nobody's signal reaches the machine. The script is
    // read by a shell, not executed: a child that another thread forks just now still holds it open for writing, and
    // the kernel executes no such file ("Text file busy").
    let ended = Command::new("setsid")
        .args(["--fork", "/bin/sh"])
        .args([script.as_path(), &folder, &base])
        .args(arguments(site, record, &folder, host))
        .current_dir("/")
        .stdin(held)
        .stdout(console)
        .stderr(errors)
        .status()
        .at("start", &script)?;
    if ended.success() {
        return Ok(());
    }
    Err(LocalError::Tool {
        command: format!("setsid {}", script.display()),
        status: ended.to_string(),
        output: String::new(),
    })
}

fn arguments(site: &Site, record: &Record, folder: &Path, host: u8) -> Vec<OsString> {
    let spec = &record.spec;
    let mut args: Vec<OsString> = [
        "--quiet",
        // No machined or systemd need be there, and our own cgroup is the one that counts.
        "--register=no",
        "--keep-unit",
        "--boot",
        "--console=read-only",
        // What kubelet, containerd and runc do. A machine is no security boundary.
        "--capability=all",
        "--system-call-filter=add_key keyctl bpf perf_event_open @mount",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--kill-signal=SIGRTMIN+3",
    ]
    .map(OsString::from)
    .to_vec();
    args.push(format!("--network-bridge={}", site.bridge()).into());
    args.push(format!("--machine={}", site.container(host)).into());
    args.push(format!("--hostname={}", spec.name).into());
    args.push(option("--directory=", &folder.join("root"), ""));
    for data in DATA {
        args.push(option("--bind=", &folder.join("data").join(data), &format!(":/var/lib/{data}")));
    }
    // A bundle that is gone does not keep a machine from booting: what it had is installed.
    if let Some(bundle) = spec.bundle.as_ref().filter(|path| path.is_dir()) {
        args.push(option("--bind-ro=", bundle, ":/var/lib/marea/bundle"));
    }
    args
}

fn option(name: &str, path: &Path, rest: &str) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option.push(rest);
    option
}
