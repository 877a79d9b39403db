//! The cluster under test: its own state folder, bridge and names, so that it stands beside any other of ours.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The program under test.
pub const MAREA: &str = env!("CARGO_BIN_EXE_marea");
/// Where the test's own cluster lives.
pub const STATE: &str = "/var/lib/marea-test";

/// Answers with `Err(text)` where a test is not satisfied.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($text:tt)+) => {
        if !$condition { return Err(format!($($text)+)); }
    };
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub struct Cluster {
    daemon: RefCell<Option<Child>>,
    site: Site,
}

/// What tells one cluster of the tests from another.
#[derive(Clone, Copy)]
pub struct Site {
    pub state: &'static str,
    pub scope: &'static str,
    pub config: &'static str,
    pub radl: &'static str,
    /// More words of its bootstrap.
    pub more: &'static [&'static str],
}

/// The cluster of most tests.
const MAIN: Site = Site { state: STATE, scope: "mareat", config: CONFIG, radl: "radl/elastic-local.radl", more: &[] };

impl Cluster {
    /// Makes the bundle and the cluster, or finds them made.
    pub fn open() -> Result<Self, String> {
        Self::at(MAIN)
    }

    /// The same at another site.
    pub fn at(site: Site) -> Result<Self, String> {
        let cluster = Self::found(site);
        fs::create_dir_all(site.state).map_err(|e| format!("{}: {e}", site.state))?;
        fs::write(cluster.config(), site.config).map_err(|e| e.to_string())?;
        ok(&cluster.marea(&["bundle", "build"]))?;
        cluster.bootstrap()?;
        Ok(cluster)
    }

    /// One that is not made here: the test writes its config.
    pub fn found(site: Site) -> Self {
        Self { daemon: RefCell::new(None), site }
    }

    pub fn bootstrap(&self) -> Result<String, String> {
        ok(&self.bootstrap_output())
    }

    pub fn bootstrap_output(&self) -> Output {
        let mut words = vec!["bootstrap", self.site.radl, "--config"];
        let config = self.config();
        words.push(&config);
        words.extend(self.site.more);
        self.marea(&words)
    }

    pub fn config(&self) -> String {
        format!("{}/marea.toml", self.site.state)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(MAREA);
        command.args(["--state", self.site.state]).args(args).stdin(Stdio::null());
        command
    }

    pub fn marea(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("marea runs")
    }

    pub fn kubectl(&self, args: &[&str]) -> Result<String, String> {
        ok(&self.kubectl_command(args).output().expect("kubectl runs"))
    }

    fn kubectl_command(&self, args: &[&str]) -> Command {
        let bundle = std::env::var("MAREA_BUNDLE").unwrap_or_else(|_| "/var/cache/marea/bundle".to_owned());
        let mut command = Command::new(format!("{bundle}/bin/kubectl"));
        command
            .args(["--kubeconfig", &format!("{}/admin.kubeconfig", self.site.state), "--request-timeout=10s"])
            .args(args);
        command.stdin(Stdio::null());
        command
    }

    pub fn apply(&self, yaml: &str) -> Result<(), String> {
        self.feed(&["apply", "-f", "-"], yaml).map(drop)
    }

    /// Gives kubectl a text to read.
    pub fn feed(&self, args: &[&str], text: &str) -> Result<String, String> {
        let mut child = self
            .kubectl_command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl runs");
        child.stdin.take().unwrap().write_all(text.as_bytes()).map_err(|e| e.to_string())?;
        ok(&child.wait_with_output().map_err(|e| e.to_string())?)
    }

    /// Runs a script as root on a machine, over the same SSH that Marea uses.
    pub fn ssh(&self, machine: &str, script: &str) -> Result<String, String> {
        let address = self.address(machine)?;
        let out = Command::new("ssh")
            .args(["-q", "-oBatchMode=yes", "-oConnectTimeout=5", "-oStrictHostKeyChecking=yes"])
            .arg(format!("-oUserKnownHostsFile={}/ssh/known_hosts", self.site.state))
            .args(["-i", &format!("{}/ssh/id", self.site.state), &format!("root@{address}"), script])
            .stdin(Stdio::null())
            .output()
            .expect("ssh runs");
        ok(&out)
    }

    pub fn address(&self, machine: &str) -> Result<String, String> {
        let text = fs::read_to_string(format!("{}/cluster.json", self.site.state)).map_err(|e| e.to_string())?;
        let file: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let machines = file["machines"].as_array().ok_or("no machines in cluster.json")?;
        let found = machines.iter().find(|m| m["name"] == machine);
        found.and_then(|m| m["address"].as_str()).map(str::to_owned).ok_or(format!("no machine {machine}"))
    }

    /// Starts the daemon unless it runs, and waits until it answers. `vars` go into its environment.
    pub fn start_daemon(&self, vars: &[(&str, &str)]) -> Result<(), String> {
        if self.daemon_runs() {
            return Ok(());
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path()).map_err(|e| e.to_string())?;
        let child = self
            .command(&["run", "--config", &self.config()])
            .envs(vars.iter().copied())
            .stdout(log.try_clone().map_err(|e| e.to_string())?)
            .stderr(log)
            .spawn()
            .map_err(|e| e.to_string())?;
        *self.daemon.borrow_mut() = Some(child);
        self.wait("the daemon answers", 30, || self.status().is_some())
    }

    pub fn daemon_pid(&self) -> u32 {
        self.daemon.borrow().as_ref().map_or(0, Child::id)
    }

    pub fn daemon_runs(&self) -> bool {
        self.daemon.borrow_mut().as_mut().is_some_and(|c| matches!(c.try_wait(), Ok(None)))
    }

    /// kill -9, as a crash.
    pub fn kill_daemon(&self) {
        if let Some(mut child) = self.daemon.borrow_mut().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn stop_daemon(&self) {
        if let Some(mut child) = self.daemon.borrow_mut().take() {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            for _ in 0..100 {
                if !matches!(child.try_wait(), Ok(None)) {
                    return;
                }
                pause(100);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn daemon_log_tail(&self) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        format!("daemon's last lines:\n{}", lines[lines.len().saturating_sub(25)..].join("\n"))
    }

    pub fn status(&self) -> Option<Value> {
        let out = self.marea(&["status", "--format", "json"]);
        out.status.success().then(|| serde_json::from_slice(&out.stdout).ok()).flatten()
    }

    /// A machine's state by the daemon, or an empty text.
    pub fn state(&self, machine: &str) -> String {
        let status = self.status().unwrap_or_default();
        let machines = status["machines"].as_array().cloned().unwrap_or_default();
        let found = machines.iter().find(|m| m["name"] == machine);
        found.and_then(|m| m["state"].as_str()).unwrap_or_default().to_owned()
    }

    pub fn workers(&self) -> Vec<String> {
        let text = fs::read_to_string(format!("{}/cluster.json", self.site.state)).unwrap_or_default();
        let file: Value = serde_json::from_str(&text).unwrap_or_default();
        let machines = file["machines"].as_array().cloned().unwrap_or_default();
        machines
            .iter()
            .filter(|m| m["role"] == "worker")
            .filter_map(|m| m["name"].as_str().map(str::to_owned))
            .collect()
    }

    /// Workers that are on by the proof that counts: processes in their cgroups.
    pub fn powered_on(&self) -> Vec<String> {
        self.workers().into_iter().filter(|w| has_processes(&self.cgroup_of(w))).collect()
    }

    pub fn wait(&self, what: &str, seconds: u64, mut done: impl FnMut() -> bool) -> Result<(), String> {
        let end = now() + Duration::from_secs(seconds);
        while now() < end {
            if done() {
                return Ok(());
            }
            pause(150);
        }
        let status = String::from_utf8_lossy(&self.marea(&["status"]).stdout).into_owned();
        Err(format!("waited {seconds} s in vain: {what}\n{status}"))
    }

    /// No pods of ours, all workers off: where each test begins.
    pub fn calm(&self) -> Result<(), String> {
        self.start_daemon(&[])?;
        self.kubectl(&[
            "delete",
            "jobs,deployments,pods,poddisruptionbudgets",
            "--all",
            "--wait=true",
            "--timeout=60s",
        ])?;
        self.wait("all workers are off", 150, || {
            self.powered_on().is_empty() && self.workers().iter().all(|w| self.state(w) == "off")
        })
    }

    pub fn destroy(&self) {
        self.stop_daemon();
        let out = self.marea(&["destroy", "--yes"]);
        if !out.status.success() {
            println!("destroy failed: {}", String::from_utf8_lossy(&out.stderr));
        }
        let _ = fs::remove_dir_all(self.site.state);
    }

    fn log_path(&self) -> String {
        format!("{}/daemon.log", self.site.state)
    }

    fn cgroup_of(&self, machine: &str) -> PathBuf {
        cgroups().join(format!("{}-local", self.site.scope)).join(machine)
    }

    /// Cuts a machine's power behind the daemon's back: every process of it is killed.
    pub fn cut_power(&self, machine: &str) {
        for _ in 0..100 {
            let mut folders = vec![self.cgroup_of(machine)];
            let mut left = false;
            while let Some(folder) = folders.pop() {
                for pid in fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines() {
                    left = true;
                    if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
                        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                    }
                }
                let inside = fs::read_dir(&folder).into_iter().flatten().flatten().map(|e| e.path());
                folders.extend(inside.filter(|p| p.is_dir()));
            }
            if !left {
                return;
            }
            pause(50);
        }
    }
}

pub const CONFIG: &str = r#"
provider = "local"

[local]
scope = "mareat"
subnet = "10.78.0.0/24"

[autoscaler]
idle_timeout = "5s"
boot_timeout = "90s"

[http]
listen = "127.0.0.1:9561"
"#;

fn has_processes(cgroup: &Path) -> bool {
    let mut folders = vec![cgroup.to_owned()];
    while let Some(folder) = folders.pop() {
        if fs::read_to_string(folder.join("cgroup.procs")).is_ok_and(|p| !p.trim().is_empty()) {
            return true;
        }
        let inside = fs::read_dir(&folder).into_iter().flatten().flatten().map(|e| e.path());
        folders.extend(inside.filter(|p| p.is_dir()));
    }
    false
}

pub fn cgroup_of(machine: &str) -> PathBuf {
    cgroups().join("mareat-local").join(machine)
}

fn cgroups() -> PathBuf {
    let v1 = Path::new("/sys/fs/cgroup/pids");
    if v1.is_dir() { v1.to_owned() } else { PathBuf::from("/sys/fs/cgroup") }
}

pub fn ok(out: &Output) -> Result<String, String> {
    let stdout = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        return Ok(stdout);
    }
    Err(format!("{}\n{stdout}\n{}", out.status, String::from_utf8_lossy(&out.stderr)))
}

pub fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

#[expect(clippy::disallowed_methods, reason = "a test waits by the clock")]
pub fn now() -> Instant {
    Instant::now()
}
