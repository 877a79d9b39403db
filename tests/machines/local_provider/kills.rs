//! Local machines when something is killed: the machine's keeper, whoever switches it, or the machine over and over.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use marea::clock;
use marea::model::machine::{Off, Power};
use marea::provider::Provider as _;
use marea::provider::local::{LocalProvider, Settings};

use super::site::{kill, nspawn, site};

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_its_cgroup_whatever_is_killed() {
    let Some(site) = site("mareatb", 2) else {
        return;
    };
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
    // systemd-nspawn has helpers while it sets up, so its number is counted when SSH answers.
    site.says(&spec, "systemctl is-system-running --wait >/dev/null; true");
    let seen = site.local.see("w1").await.unwrap();
    assert_eq!(nspawn(seen.processes.iter().copied()).len(), 1);

    // A reboot from inside comes back with another init and is on all the while.
    site.ssh(&spec, "systemctl reboot");
    let began = clock::monotonic();
    loop {
        let now = site.local.see("w1").await.unwrap();
        assert!(!now.processes.is_empty(), "a machine that reboots is on");
        if now.init.is_some() && now.init != seen.init {
            break;
        }
        assert!(began.elapsed() < Duration::from_mins(1), "it did not come back");
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

/// Not a test of its own: what the next test starts, and kills while it switches.
#[tokio::test(flavor = "multi_thread")]
async fn switcher() {
    let Ok(verb) = std::env::var("MAREA_TEST_SWITCH") else {
        return;
    };
    let settings = Settings {
        scope: "mareate".to_owned(),
        subnet: "10.78.5.0/24".to_owned(),
        ..Settings::new("/var/lib/mareate-test")
    };
    let local = LocalProvider::open(settings).unwrap();
    match verb.as_str() {
        "on" => local.power_on("w1").await.unwrap(),
        _ => local.power_off("w1", Off::Graceful).await.unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_switches_may_be_killed_at_any_moment() {
    use std::os::unix::process::CommandExt as _;
    let Some(site) = site("mareate", 5) else {
        return;
    };
    let spec = site.spec("w1", 11);
    site.local.create(spec.clone()).await.unwrap();
    let switcher = |verb: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "local_provider::kills::switcher", "--nocapture"])
            .env("MAREA_TEST_SWITCH", verb)
            .stdout(std::process::Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap()
    };
    let killed_after = |verb: &str, delay: u64| {
        let mut child = switcher(verb);
        std::thread::sleep(Duration::from_millis(delay));
        let group = rustix::process::Pid::from_child(&child);
        // It may have ended by itself.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        child.wait().unwrap();
    };
    // Left alone, it does switch.
    assert!(switcher("on").wait().unwrap().success());
    assert_eq!(site.power("w1").await, Power::On);
    assert!(switcher("off").wait().unwrap().success());
    assert_eq!(site.power("w1").await, Power::Off);
    for delay in [10, 30, 50, 70, 100, 200, 600] {
        killed_after("on", delay);
        site.local.power_on("w1").await.unwrap_or_else(|e| panic!("on, killed after {delay} ms: {e}"));
        site.says(&spec, "systemctl is-active marea-local");
        let seen = site.local.see("w1").await.unwrap();
        assert_eq!(nspawn(seen.processes).len(), 1, "on, killed after {delay} ms: one machine");
        killed_after("off", delay);
        site.local.power_off("w1", Off::Graceful).await.unwrap_or_else(|e| panic!("off, killed after {delay} ms: {e}"));
        assert_eq!(site.power("w1").await, Power::Off, "off, killed after {delay} ms");
    }
    site.local.destroy_all().await.unwrap();
    assert_eq!(site.traces(), Vec::<String>::new());
    std::fs::remove_dir(&site.settings.state).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_power_cycles_all_come_back_fit() {
    let Some(site) = site("mareatc", 3) else {
        return;
    };
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
