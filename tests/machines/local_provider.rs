//! The local provider with real machines: booted, reached over SSH, switched off in every way, found again, removed.
//! Each test has a scope, a subnet and a state folder of its own, so that they meet neither each other nor a cluster.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::too_many_lines, reason = "it is a test")]

mod contextualize;
mod kills;
mod metal;
mod site;

use std::path::Path;
use std::process::Command;

use marea::model::machine::{Off, Power};
use marea::provider::local::{LocalError, LocalProvider, MachineSpec, Settings};
use marea::provider::{Provider as _, ProviderError};

use self::site::{nspawn, site};

#[tokio::test(flavor = "multi_thread")]
async fn four_machines_live_and_leave_nothing() {
    let Some(site) = site("mareata", 1) else {
        return;
    };
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
        assert_eq!(site.says(spec, "nproc; grep -c ^processor /proc/cpuinfo"), "1\n1");
        // Which CPU is the machine's own matter; kubelet must be shown that one, or it pins pods to another.
        let online = site.says(spec, "cat /sys/devices/system/cpu/online");
        assert!(!online.contains(['-', ',']), "one CPU expected, online are {online}");
        assert_eq!(online, site.says(spec, "awk '/^Cpus_allowed_list/ { print $2 }' /proc/self/status"));
        assert_eq!(site.says(spec, "cat /var/lib/marea/bundle/piece"), "whole");
        assert_eq!(site.says(spec, "touch /var/lib/marea/bundle/x 2>/dev/null && echo writable || echo safe"), "safe");
        assert_eq!(site.says(spec, "systemctl is-active marea-local marea-pods"), "active\nactive");
        assert_eq!(
            site.says(spec, "findmnt -no FSTYPE -T /var/lib/containerd"),
            site.says(spec, "findmnt -no FSTYPE -T /var/lib/etcd")
        );
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
    assert_eq!(
        std::fs::read_to_string(site.local.console("w1").with_file_name("exit")).unwrap().trim(),
        "0",
        "it went down by itself"
    );
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

/// A `ctr` with one pod that ignores TERM, or obeys it; it writes down what it is told.
const CTR: &str = r#"#!/bin/sh
echo "$*" >> /root/calls
case "$*" in
    *"tasks ls") echo "TASK PID STATUS"; [ -e /run/ended ] || echo "pod1 99 RUNNING" ;;
    *SIGTERM*) [ -e /root/obeys ] && touch /run/ended ;;
    *SIGKILL*) touch /run/ended ;;
esac
exit 0
"#;

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_ended_at_power_off_and_nothing_starts_on_an_unfit_machine() {
    let Some(site) = site("mareatf", 6) else {
        return;
    };
    let spec = site.spec("w1", 11);
    site.local.create(spec.clone()).await.unwrap();
    site.local.power_on("w1").await.unwrap();
    // Units of those names are installed by recipes; what hangs on to them is there before.
    let unit = "[Service]\nExecStart=/bin/sleep infinity\n";
    let install = format!(
        "for u in containerd kubelet; do printf '{unit}' > /etc/systemd/system/$u.service; done; systemctl daemon-reload; \
         cat > /usr/local/bin/ctr <<'END'\n{CTR}END\nchmod +x /usr/local/bin/ctr; touch /root/obeys; sync"
    );
    site.says(&spec, &install);
    for unit in ["containerd", "kubelet"] {
        let shown = site.says(&spec, &format!("systemctl show -P Requires {unit}; systemctl show -P After {unit}"));
        assert!(
            shown.lines().all(|line| line.contains("marea-local.service")) && shown.lines().count() == 2,
            "{shown}"
        );
    }
    site.says(&spec, "systemctl start containerd kubelet");
    site.local.power_off("w1", Off::Graceful).await.unwrap();

    site.local.power_on("w1").await.unwrap();
    let calls = site.says(&spec, "cat /root/calls");
    assert!(calls.contains("-n k8s.io tasks kill -s SIGTERM pod1"), "{calls}");
    assert!(!calls.contains("SIGKILL"), "a pod that obeys is not killed: {calls}");
    site.says(&spec, "rm /root/obeys /root/calls; sync");
    site.local.power_off("w1", Off::Graceful).await.unwrap();

    site.local.power_on("w1").await.unwrap();
    let calls = site.says(&spec, "cat /root/calls");
    assert!(calls.contains("tasks kill -a -s SIGKILL pod1"), "one that does not is: {calls}");

    // An unfit machine says so and starts neither.
    site.says(&spec, "printf 'exit 1\n' > /usr/local/sbin/marea-local; sync");
    site.local.power_off("w1", Off::Hard).await.unwrap();
    site.local.power_on("w1").await.unwrap();
    let state = site.says(&spec, "systemctl start containerd; systemctl is-active marea-local containerd; true");
    assert_eq!(state, "failed\ninactive");
    site.local.destroy_all().await.unwrap();
    assert_eq!(site.traces(), Vec::<String>::new());
    std::fs::remove_dir(&site.settings.state).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_is_refused_and_left_alone() {
    let Some(site) = site("mareatd", 4) else {
        return;
    };
    let ip = |args: &[&str]| {
        assert!(Command::new("ip").args(args).status().unwrap().success(), "{args:?}");
    };
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
