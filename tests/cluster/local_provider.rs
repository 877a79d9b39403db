//! The local provider with real machines: booted, reached over SSH, switched off in every way, found again, removed.
//! Each test has a scope, a subnet and a state folder of its own, so that they meet neither each other nor a cluster.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use marea::model::machine::{Off, Power};
use marea::provider::local::{LocalError, LocalProvider, MachineSpec, Settings};
use marea::provider::{Provider as _, ProviderError};

/// A site for one test. What it made is removed even when the test fails.
struct Site {
    settings: Settings,
    local: LocalProvider,
}

/// Nothing without root, unless this is the run that must not skip anything.
fn site(scope: &str, third: u8) -> Option<Site> {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "the local machine tests need root, and CI=true forbids a skip");
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
        std::fs::remove_dir(&settings.state).or_else(|e| if settings.state.exists() { Err(e) } else { Ok(()) }).unwrap();
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
    fn spec(&self, name: &str, host: u8) -> MachineSpec {
        let address = self.settings.subnet.replace("0/24", &host.to_string()).parse().unwrap();
        MachineSpec { name: name.to_owned(), address, cpus: 1, memory: 1 << 30, bundle: None }
    }

    /// Runs a command in a machine, strictly checked, and waits until its SSH answers.
    fn ssh(&self, spec: &MachineSpec, command: &str) -> Output {
        let began = Instant::now();
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
            if output.status.code() != Some(255) || began.elapsed() > Duration::from_secs(60) {
                return output;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn says(&self, spec: &MachineSpec, command: &str) -> String {
        let output = self.ssh(spec, command);
        let console = || std::fs::read(self.local.console(&spec.name)).map(|b| String::from_utf8_lossy(&b).into_owned());
        assert!(output.status.success(), "`{command}` on {}: {output:?}\n{:?}", spec.name, console());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    async fn power(&self, name: &str) -> Power {
        self.local.power(name).await.unwrap()
    }

    /// What this site has on the computer, outside its state folder and inside.
    fn traces(&self) -> Vec<String> {
        let scope = &self.settings.scope;
        let mut traces = Vec::new();
        for line in std::fs::read_to_string("/proc/mounts").unwrap().lines().filter(|line| line.contains(scope.as_str())) {
            traces.push(format!("mount {line}"));
        }
        let names = |folder: &str| std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>();
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
            if line.contains(&format!("{}/local", self.settings.state.display())) || groups.contains(&format!("/{scope}-local/")) {
                traces.push(format!("process {pid} {line}"));
            }
        }
        if self.settings.state.exists() {
            traces.extend(names(self.settings.state.to_str().unwrap()).iter().map(|name| format!("file {name}")));
        }
        traces
    }
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn nspawn(processes: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let named = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd-nspawn");
    processes.into_iter().filter(named).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn four_machines_live_and_leave_nothing() {
    let Some(site) = site("mareata", 1) else { return };
    let bundle = tempfile::tempdir().unwrap();
    std::fs::write(bundle.path().join("piece"), "whole").unwrap();
    let small = |name, host| MachineSpec { bundle: Some(bundle.path().to_owned()), ..site.spec(name, host) };
    let mut specs = vec![small("fe", 10), small("w1", 11), small("w2", 12), small("w3", 13)];
    specs[1].memory = 3 << 30;
    site.local.create_all(specs.clone()).await.unwrap();
    site.local.create_all(specs.clone()).await.expect("made again, nothing happens");
    assert_eq!(site.local.list().await.unwrap(), ["fe", "w1", "w2", "w3"]);
    assert_eq!(site.power("w1").await, Power::Off);

    let on = specs.iter().map(|spec| site.local.power_on(&spec.name));
    futures::future::try_join_all(on).await.unwrap();
    for spec in &specs {
        assert_eq!(site.says(spec, "hostname"), spec.name);
        assert_eq!(site.power(&spec.name).await, Power::On);
        let kilobytes = (spec.memory >> 10).to_string();
        assert_eq!(site.says(spec, "awk '/^MemTotal/ { print $2 }' /proc/meminfo"), kilobytes);
        assert_eq!(site.says(spec, "nproc; grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online"), "1\n1\n0");
        assert_eq!(site.says(spec, "cat /var/lib/marea/bundle/piece"), "whole");
        assert_eq!(site.says(spec, "touch /var/lib/marea/bundle/x 2>/dev/null && echo writable || echo safe"), "safe");
        assert_eq!(site.says(spec, "systemctl is-active marea-local marea-pods"), "active\nactive");
        assert_eq!(site.says(spec, "findmnt -no FSTYPE -T /var/lib/containerd"), site.says(spec, "findmnt -no FSTYPE -T /var/lib/etcd"));
        assert_ne!(site.says(spec, "findmnt -no FSTYPE -T /var/lib/containerd"), "overlay");
        if Path::new("/sys/fs/cgroup/memory").exists() {
            assert_eq!(site.says(spec, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes"), spec.memory.to_string());
            site.says(spec, "for c in cpu memory cpuset pids; do mkdir /sys/fs/cgroup/$c/try && rmdir /sys/fs/cgroup/$c/try || exit 1; done");
        }
    }
    assert_eq!(site.says(&specs[1], "ping -c 1 -W 5 w3 >/dev/null && echo there"), "there");

    // On again is a success and starts nothing.
    let before = site.local.see("w1").await.unwrap();
    site.local.power_on("w1").await.unwrap();
    let after = site.local.see("w1").await.unwrap();
    assert_eq!(before.init, after.init);
    assert_eq!(nspawn(after.processes).len(), 1);

    site.local.power_off("w1", Off::Graceful).await.unwrap();
    assert_eq!(std::fs::read_to_string(site.local.console("w1").with_file_name("exit")).unwrap().trim(), "0", "it went down by itself");
    site.local.power_off("w2", Off::Hard).await.unwrap();
    for name in ["w1", "w2"] {
        assert_eq!(site.power(name).await, Power::Off);
        assert!(!site.traces().iter().any(|trace| trace.starts_with("cgroup") && trace.ends_with(name)));
        site.local.power_off(name, Off::Graceful).await.expect("off again is a success");
    }
    assert_eq!(site.power("w3").await, Power::On, "the others go on");

    // The data survives.
    site.says(&specs[3], "echo kept > /root/note; sync");
    site.local.power_off("w3", Off::Hard).await.unwrap();
    site.local.power_on("w3").await.unwrap();
    assert_eq!(site.says(&specs[3], "cat /root/note"), "kept");

    assert!(matches!(site.local.power_on("w9").await, Err(ProviderError::NoSuchMachine { .. })));
    // Some machines are on while everything is removed.
    site.local.destroy_all().await.unwrap();
    site.local.destroy_all().await.expect("nothing is left, and that is fine");
    assert_eq!(site.traces(), Vec::<String>::new());
    std::fs::remove_dir(&site.settings.state).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_its_cgroup_whatever_is_killed() {
    let Some(site) = site("mareatb", 2) else { return };
    let spec = site.spec("w1", 11);
    site.local.create(spec.clone()).await.unwrap();
    site.local.power_on("w1").await.unwrap();
    let boot = site.says(&spec, "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1");

    // systemd-nspawn dies; the machine does not, and is still seen, also by somebody who opens the folder anew.
    let seen = site.local.see("w1").await.unwrap();
    let keeper = nspawn(seen.processes.iter().copied());
    assert_eq!(keeper.len(), 1);
    kill(keeper[0]);
    while site.local.see("w1").await.unwrap().attended {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let other = LocalProvider::open(site.settings.clone()).unwrap();
    assert_eq!(other.power("w1").await.unwrap(), Power::On);
    other.power_on("w1").await.expect("on is on: it is adopted");
    assert_eq!(other.see("w1").await.unwrap().init, seen.init);
    assert_eq!(site.says(&spec, "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1"), boot);
    other.power_off("w1", Off::Graceful).await.unwrap();
    assert_eq!(other.power("w1").await.unwrap(), Power::Off);

    // Two at once start one.
    let (first, second) = tokio::join!(site.local.power_on("w1"), other.power_on("w1"));
    first.unwrap();
    second.unwrap();
    let seen = site.local.see("w1").await.unwrap();
    assert_eq!(nspawn(seen.processes.iter().copied()).len(), 1);

    // A reboot from inside comes back with another init and is on all the while.
    site.says(&spec, "systemctl is-system-running --wait >/dev/null; true");
    site.ssh(&spec, "systemctl reboot");
    let began = Instant::now();
    loop {
        let now = site.local.see("w1").await.unwrap();
        assert!(!now.processes.is_empty(), "a machine that reboots is on");
        if now.init.is_some() && now.init != seen.init {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it did not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    site.local.power_off("w1", Off::Graceful).await.expect("right after a reboot, too");
    assert_eq!(site.power("w1").await, Power::Off);

    // Something in the cgroup that is no machine: neither off nor to be started over.
    site.local.power_on("w1").await.unwrap();
    site.local.power_off("w1", Off::Hard).await.unwrap();
    let group = if Path::new("/sys/fs/cgroup/pids").exists() { "/sys/fs/cgroup/pids" } else { "/sys/fs/cgroup" };
    let group = Path::new(group).join("mareatb-local/w1");
    std::fs::create_dir_all(&group).unwrap();
    let mut stray = Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(group.join("cgroup.procs"), stray.id().to_string()).unwrap();
    assert_eq!(site.power("w1").await, Power::On);
    let error = site.local.power_on("w1").await.unwrap_err().to_string();
    assert!(error.contains("fenced") && error.contains(&stray.id().to_string()), "{error}");
    let gone = tokio::task::spawn_blocking(move || stray.wait());
    site.local.power_off("w1", Off::Hard).await.unwrap();
    assert!(!gone.await.unwrap().unwrap().success());
    assert_eq!(site.power("w1").await, Power::Off);
    site.local.destroy_all().await.unwrap();
    assert_eq!(site.traces(), Vec::<String>::new());
    std::fs::remove_dir(&site.settings.state).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_power_cycles_all_come_back_fit() {
    let Some(site) = site("mareatc", 3) else { return };
    let spec = site.spec("w1", 11);
    site.local.create(spec.clone()).await.unwrap();
    let mut boots = std::collections::BTreeSet::new();
    for cycle in 0..10 {
        site.local.power_on("w1").await.unwrap();
        // Every other time in the middle of the boot, when nobody inside may hear a word yet.
        if cycle % 2 == 0 {
            assert_eq!(site.says(&spec, "systemctl is-active marea-local"), "active");
            boots.insert(site.local.see("w1").await.unwrap().init);
        }
        let how = if cycle % 4 < 2 { Off::Graceful } else { Off::Hard };
        site.local.power_off("w1", how).await.unwrap();
        assert_eq!(site.power("w1").await, Power::Off, "cycle {cycle}");
    }
    assert_eq!(boots.len(), 5, "each boot was one");
    site.local.destroy_all().await.unwrap();
    assert_eq!(site.traces(), Vec::<String>::new());
    std::fs::remove_dir(&site.settings.state).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_is_refused_and_left_alone() {
    let Some(site) = site("mareatd", 4) else { return };
    let ip = |args: &[&str]| assert!(Command::new("ip").args(args).status().unwrap().success(), "{args:?}");
    let spec = site.spec("w1", 11);

    // A link of that name that somebody else made.
    ip(&["link", "add", "mareatd0", "type", "bridge"]);
    let refused = site.local.create(spec.clone()).await;
    site.local.destroy_all().await.unwrap();
    let theirs = Path::new("/sys/class/net/mareatd0").exists();
    ip(&["link", "del", "mareatd0"]);
    assert!(matches!(refused, Err(LocalError::AlreadyUsed { .. })), "{refused:?}");
    assert!(theirs, "it must not be removed");

    // A network that somebody else is in.
    ip(&["link", "add", "mareatdx", "type", "bridge"]);
    ip(&["addr", "add", "10.78.4.129/25", "dev", "mareatdx"]);
    ip(&["link", "set", "mareatdx", "up"]);
    let refused = site.local.create(spec.clone()).await.unwrap_err().to_string();
    ip(&["link", "del", "mareatdx"]);
    assert!(refused.contains("10.78.4.0/24 is already used by `mareatdx`"), "{refused}");

    // The same scope from another state folder.
    site.local.create(spec.clone()).await.unwrap();
    let other = Settings { state: "/var/lib/mareatd-other".into(), ..site.settings.clone() };
    let stranger = LocalProvider::open(other.clone()).unwrap();
    let refused = stranger.create(spec.clone()).await;
    stranger.destroy_all().await.unwrap();
    assert!(matches!(&refused, Err(LocalError::AlreadyUsed { by, .. }) if by.contains("mareatd-test")), "{refused:?}");
    assert!(Path::new("/sys/class/net/mareatd0").exists(), "the first one's bridge stays");
    assert!(!other.state.exists());

    // A file of somebody else in the folder outlives our removal.
    std::fs::write(site.settings.state.join("local/theirs"), "x").unwrap();
    site.local.destroy_all().await.unwrap();
    assert_eq!(std::fs::read_to_string(site.settings.state.join("local/theirs")).unwrap(), "x");
    std::fs::remove_dir_all(&site.settings.state).unwrap();
    assert_eq!(site.traces(), Vec::<String>::new());
}
