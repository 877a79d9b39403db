//! The systemd unit, in a real systemd: the front-end machine runs the daemon with provider `command`.

use std::fs;
use std::process::{Command, Stdio};

use crate::check;
use crate::cluster::{Cluster, MAREA, STATE, ok, pause};

pub fn service(cluster: &Cluster) -> Result<(), String> {
    cluster.stop_daemon();
    push(cluster, MAREA, "/usr/local/bin/marea", "0755")?;
    push(cluster, "systemd/marea.service", "/etc/systemd/system/marea.service", "0644")?;
    let kubeconfig = format!("{STATE}/kubeconfig");
    push(cluster, &kubeconfig, "/var/lib/marea/kubeconfig", "0600")?;
    // The same cluster with machines that a script powers: the script says that they are off.
    let config = "provider = \"command\"\n".to_owned()
        + &cluster
            .workers()
            .iter()
            .map(|w| {
                let pool = w.rsplit_once('-').map_or(w.as_str(), |(pool, _)| pool);
                format!(
                    "\n[[machine]]\nname = \"{w}\"\npool = \"{pool}\"\naddress = \"192.0.2.1\"\non = [\"/bin/true\"]\noff = [\"/bin/true\"]\nstatus = [\"/bin/false\"]\n"
                )
            })
            .collect::<String>();
    fs::write(format!("{STATE}/unit.toml"), config).map_err(|e| e.to_string())?;
    push(cluster, &format!("{STATE}/unit.toml"), "/etc/marea/marea.toml", "0644")?;
    push(cluster, &format!("{STATE}/cluster.json"), "/var/lib/marea/cluster.json", "0644")?;

    cluster
        .ssh("front", "systemctl daemon-reload && timeout 40 systemctl start marea")
        .map_err(|e| format!("{e}\n{}", journal(cluster)))?;
    let active = cluster.ssh("front", "systemctl is-active marea")?;
    check!(active.trim() == "active", "after start it is {active}");
    let status = cluster.ssh("front", "marea status")?;
    check!(cluster.workers().iter().all(|w| status.contains(w.as_str())), "status lacks machines:\n{status}");

    // A daemon that hangs is killed by the watchdog and started again.
    let pid = cluster.ssh("front", "systemctl show -p MainPID --value marea")?;
    cluster.ssh("front", &format!("kill -STOP {}", pid.trim()))?;
    cluster
        .wait("the watchdog replaces the hung daemon", 90, || {
            let other = cluster.ssh("front", "systemctl show -p MainPID --value marea").unwrap_or_default();
            !other.trim().is_empty() && other.trim() != "0" && other != pid
        })
        .map_err(|e| format!("{e}\n{}", journal(cluster)))?;
    pause(500);
    cluster.wait("it is ready again", 40, || {
        cluster.ssh("front", "systemctl is-active marea").is_ok_and(|s| s.trim() == "active")
    })?;
    cluster.ssh("front", "timeout 30 systemctl stop marea")?;
    let result = cluster.ssh("front", "systemctl show -p Result --value marea")?;
    check!(result.trim() == "success", "stop ended as {result}\n{}", journal(cluster));
    cluster.ssh("front", "rm -rf /etc/systemd/system/marea.service /var/lib/marea/journal* /var/lib/marea/cluster.json; systemctl daemon-reload")?;
    Ok(())
}

fn journal(cluster: &Cluster) -> String {
    cluster.ssh("front", "journalctl -u marea -n 30 --no-pager").unwrap_or_default()
}

fn push(cluster: &Cluster, from: &str, to: &str, mode: &str) -> Result<(), String> {
    let address = cluster.address("front")?;
    let out = Command::new("ssh")
        .args(["-q", "-oBatchMode=yes", "-oStrictHostKeyChecking=yes"])
        .arg(format!("-oUserKnownHostsFile={STATE}/ssh/known_hosts"))
        .args(["-i", &format!("{STATE}/ssh/id"), &format!("root@{address}")])
        .arg(format!("mkdir -p $(dirname {to}) && cat > {to}.new && chmod {mode} {to}.new && mv {to}.new {to}"))
        .stdin(Stdio::from(fs::File::open(from).map_err(|e| format!("{from}: {e}"))?))
        .output()
        .map_err(|e| e.to_string())?;
    ok(&out).map(drop)
}
