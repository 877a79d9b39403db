//! A site for one test: its own scope, subnet and state folder, and all that it left on the computer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Duration;

use marea::clock;
use marea::model::machine::Power;
use marea::provider::Provider as _;
use marea::provider::local::{LocalError, LocalProvider, MachineSpec, Settings};

/// A site for one test. What it made is removed even when the test fails.
pub(super) struct Site {
    pub(super) settings: Settings,
    pub(super) local: LocalProvider,
}

/// The scopes of this run: tests run side by side, and two in one scope would remove each other's machines.
static TAKEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Nothing without root, unless this is the run that must not skip anything.
pub(super) fn site(scope: &str, third: u8) -> Option<Site> {
    let fresh = TAKEN.lock().unwrap().insert(scope.to_owned()) && TAKEN.lock().unwrap().insert(third.to_string());
    assert!(fresh, "another test has the scope {scope} or the subnet {third}");
    if !rustix::process::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "the local machine tests need root, and CI=true forbids a skip"
        );
        eprintln!("skipped {scope}: booting local machines needs root");
        return None;
    }
    // Not below /tmp, which systemd-nspawn treats as its own.
    let state = PathBuf::from(format!("/var/lib/{scope}-test"));
    let settings = Settings { scope: scope.to_owned(), subnet: format!("10.78.{third}.0/24"), ..Settings::new(&state) };
    remove(&settings);
    let local = LocalProvider::open(settings.clone()).unwrap();
    Some(Site { settings, local })
}

/// Removes what a test, or an earlier run of it that was killed, has made.
fn remove(settings: &Settings) {
    let settings = settings.clone();
    let removal = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { LocalProvider::open(settings.clone())?.destroy_all().await })?;
        std::fs::remove_dir(&settings.state)
            .or_else(|e| if settings.state.exists() { Err(e) } else { Ok(()) })
            .unwrap();
        Ok::<_, LocalError>(())
    };
    // A thread of its own: a runtime cannot be entered from another.
    std::thread::spawn(removal).join().unwrap().unwrap();
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            remove(&self.settings);
        }
    }
}

impl Site {
    pub(super) fn spec(&self, name: &str, host: u8) -> MachineSpec {
        let address = self.settings.subnet.replace("0/24", &host.to_string()).parse().unwrap();
        MachineSpec { name: name.to_owned(), address, cpus: 1, memory: 1 << 30, bundle: None }
    }

    /// Runs a command in a machine, strictly checked, and waits until its SSH answers.
    pub(super) fn ssh(&self, spec: &MachineSpec, command: &str) -> Output {
        let began = clock::monotonic();
        loop {
            let output = Command::new("ssh")
                .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=3", "-o", "StrictHostKeyChecking=yes"])
                .args(["-o", "GlobalKnownHostsFile=/dev/null", "-o"])
                .arg(format!("UserKnownHostsFile={}", self.local.known_hosts().display()))
                .arg("-i")
                .arg(self.local.ssh_key())
                .arg(format!("root@{}", spec.address))
                .arg(command)
                .output()
                .unwrap();
            if output.status.code() != Some(255) || began.elapsed() > Duration::from_mins(1) {
                return output;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(super) fn says(&self, spec: &MachineSpec, command: &str) -> String {
        let output = self.ssh(spec, command);
        let console =
            || std::fs::read(self.local.console(&spec.name)).map(|b| String::from_utf8_lossy(&b).into_owned());
        assert!(output.status.success(), "`{command}` on {}: {output:?}\n{:?}", spec.name, console());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(super) async fn power(&self, name: &str) -> Power {
        self.local.power(name).await.unwrap()
    }

    /// What this site has on the computer, outside its state folder and inside.
    pub(super) fn traces(&self) -> Vec<String> {
        let scope = &self.settings.scope;
        let mut traces = Vec::new();
        for line in
            std::fs::read_to_string("/proc/mounts").unwrap().lines().filter(|line| line.contains(scope.as_str()))
        {
            traces.push(format!("mount {line}"));
        }
        let names = |folder: &str| {
            std::fs::read_dir(folder)
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect::<Vec<_>>()
        };
        for link in names("/sys/class/net").iter().filter(|link| link.contains(scope.as_str())) {
            traces.push(format!("link {link}"));
        }
        for hierarchy in names("/sys/fs/cgroup") {
            let group = format!("/sys/fs/cgroup/{hierarchy}/{scope}-local");
            if Path::new(&group).exists() {
                traces.push(format!("cgroup {group}"));
            }
        }
        for pid in names("/proc").iter().filter(|name| name.parse::<u32>().is_ok()) {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            // A zombie lives no more; it waits for its new parent, who is none of ours.
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if stat.contains(") Z ") || stat.contains(") X ") {
                continue;
            }
            if line.contains(&format!("{}/local", self.settings.state.display()))
                || groups.contains(&format!("/{scope}-local/"))
            {
                traces.push(format!("process {pid} {line}"));
            }
        }
        if self.settings.state.exists() {
            traces.extend(names(self.settings.state.to_str().unwrap()).iter().map(|name| format!("file {name}")));
        }
        traces
    }
}

pub(super) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

pub(super) fn nspawn(processes: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let named = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd-nspawn")
    };
    processes.into_iter().filter(named).collect()
}
