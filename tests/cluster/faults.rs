//! Faults: the daemon killed, the API server gone, the power cut, an eviction refused.

use std::fs;

use crate::check;
use crate::cluster::{Cluster, STATE, pause};
use crate::demand::{job, succeeded};

pub fn second_daemon(cluster: &Cluster) -> Result<(), String> {
    cluster.start_daemon(&[])?;
    let out = cluster.marea(&["run", "--config", &cluster.config()]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    check!(out.status.code() == Some(1), "a second daemon should end with 1, not {:?}: {text}", out.status);
    let pid = cluster.daemon_pid().to_string();
    check!(text.contains(&pid), "the message should name the process {pid} that holds the state: {text}");
    check!(cluster.daemon_runs(), "the first daemon should go on");
    Ok(())
}

/// Runs the daemon with a planted crash, waits for it, and starts a whole one in its place.
fn crash(cluster: &Cluster, point: &str) -> Result<(), String> {
    cluster.stop_daemon();
    cluster.start_daemon(&[("MAREA_CRASH_AT", point)])?;
    cluster.wait(&format!("the daemon crashes at {point}"), 60, || !cluster.daemon_runs())?;
    cluster.kill_daemon();
    pause(700);
    cluster.start_daemon(&[])
}

/// Power-on actions in the journal for the machines, and how often each machine really booted.
fn boots(worker: &str) -> usize {
    let text = fs::read_to_string(format!("{STATE}/local/machines/{worker}/boots")).unwrap_or_default();
    text.lines().count()
}

pub fn killed_while_powering_on(cluster: &Cluster) -> Result<(), String> {
    for (number, point) in ["journaled:power-on", "done:power-on", "during:powering-on"].into_iter().enumerate() {
        cluster.calm()?;
        let before: usize = cluster.workers().iter().map(|w| boots(w)).sum();
        let name = format!("up-{number}");
        cluster.stop_daemon();
        if point.starts_with("during") {
            cluster.start_daemon(&[])?;
            cluster.apply(&job(&name, "300m", "64Mi", 1))?;
            cluster.wait("a machine is powering on", 60, || {
                cluster.workers().iter().any(|w| cluster.state(w) == "powering-on")
            })?;
            cluster.kill_daemon();
            pause(700);
            cluster.start_daemon(&[])?;
        } else {
            cluster.apply(&job(&name, "300m", "64Mi", 1))?;
            crash(cluster, point)?;
        }
        cluster.wait(&format!("the job is done after {point}"), 90, || succeeded(cluster, &name))?;
        let after: usize = cluster.workers().iter().map(|w| boots(w)).sum();
        check!(after - before == 1, "{point}: one boot expected, {} seen", after - before);
    }
    Ok(())
}

pub fn killed_while_powering_off(cluster: &Cluster) -> Result<(), String> {
    let points = [
        "journaled:cordon",
        "done:cordon",
        "journaled:power-off",
        "done:power-off",
        "journaled:delete-node",
        "done:delete-node",
    ];
    for (number, point) in points.into_iter().enumerate() {
        cluster.calm()?;
        let name = format!("down-{number}");
        cluster.apply(&job(&name, "300m", "64Mi", 1))?;
        cluster.wait("the job is done", 90, || succeeded(cluster, &name))?;
        crash(cluster, point)?;
        cluster.wait(&format!("all is off after {point}"), 90, || cluster.powered_on().is_empty())?;
        cluster.wait(&format!("no Node stays after {point}"), 30, || {
            cluster.kubectl(&["get", "nodes", "-o", "name"]).is_ok_and(|n| n.trim() == "node/front")
        })?;
        let next = format!("after-{number}");
        cluster.apply(&job(&next, "300m", "64Mi", 1))?;
        cluster.wait(&format!("work still wakes a machine after {point}"), 90, || succeeded(cluster, &next))?;
    }
    Ok(())
}

pub fn api_server_gone(cluster: &Cluster) -> Result<(), String> {
    cluster.calm()?;
    cluster.apply(&job("before", "300m", "64Mi", 1))?;
    cluster.wait("the job is done", 90, || succeeded(cluster, "before"))?;
    let on = cluster.powered_on();
    check!(!on.is_empty(), "a machine should be on");
    let manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml";
    cluster.ssh("front", &format!("mv {manifest} /root/apiserver.yaml"))?;
    let gone = cluster.wait("the daemon sees that the API server is gone", 60, || {
        cluster.status().is_some_and(|s| !s["frozen"].is_null())
    });
    // Three times the idle time: every machine's timer has run out.
    pause(15_000);
    let still = cluster.powered_on();
    cluster.ssh("front", &format!("mv /root/apiserver.yaml {manifest}"))?;
    gone?;
    check!(still == on, "on before {on:?}, on while the API server was gone {still:?}");
    cluster.wait("the API server is back", 90, || cluster.kubectl(&["get", "--raw", "/readyz"]).is_ok())?;
    cluster.wait("then the idle machine goes off", 90, || cluster.powered_on().is_empty())
}

pub fn power_cut(cluster: &Cluster) -> Result<(), String> {
    cluster.calm()?;
    cluster.apply(&job("long", "300m", "64Mi", 25))?;
    let running = [
        "get",
        "pods",
        "-l",
        "job-name=long",
        "--field-selector=status.phase=Running",
        "-o",
        "jsonpath={.items[0].spec.nodeName}",
    ];
    cluster.wait("the pod runs", 90, || cluster.kubectl(&running).is_ok_and(|n| !n.is_empty()))?;
    let victim = cluster.kubectl(&running)?;
    cluster.cut_power(&victim);
    cluster.wait("the work is done elsewhere or again", 180, || succeeded(cluster, "long"))?;
    cluster.wait("and all goes off", 90, || cluster.powered_on().is_empty())
}

pub fn disruption_budget(cluster: &Cluster) -> Result<(), String> {
    cluster.calm()?;
    cluster.apply(
        "apiVersion: apps/v1
kind: Deployment
metadata: {name: guarded}
spec:
  replicas: 1
  selector: {matchLabels: {app: guarded}}
  template:
    metadata: {labels: {app: guarded}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: work
        image: marea.local/busybox:1
        imagePullPolicy: Never
        command: [sh, -c, 'trap exit TERM; while :; do sleep 1; done']
        resources: {requests: {cpu: 200m, memory: 64Mi}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: guarded}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: guarded}}
",
    )?;
    let node = [
        "get",
        "pods",
        "-l",
        "app=guarded",
        "--field-selector=status.phase=Running",
        "-o",
        "jsonpath={.items[0].spec.nodeName}",
    ];
    cluster.wait("the guarded pod runs", 90, || cluster.kubectl(&node).is_ok_and(|n| !n.is_empty()))?;
    let machine = cluster.kubectl(&node)?;
    let out = cluster.marea(&["power", "off", &machine]);
    check!(out.status.success(), "power off: {}", String::from_utf8_lossy(&out.stderr));
    cluster.wait("the machine is draining", 20, || cluster.state(&machine) == "draining")?;
    pause(6000);
    check!(cluster.powered_on().contains(&machine), "{machine} went off against a disruption budget");
    check!(cluster.kubectl(&node).is_ok_and(|n| n == machine), "the guarded pod was moved against its budget");
    cluster.kubectl(&["delete", "pdb", "guarded"])?;
    cluster.wait("without the budget the drain goes on", 60, || {
        let there = cluster.kubectl(&node).unwrap_or_default();
        there != machine
    })?;
    cluster.kubectl(&["delete", "deployment", "guarded"])?;
    cluster.wait("and all goes off", 90, || cluster.powered_on().is_empty())
}

pub fn journal_replays(cluster: &Cluster) -> Result<(), String> {
    cluster.stop_daemon();
    let out = cluster.marea(&["journal", "verify"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    check!(out.status.success(), "replay differs: {text}{}", String::from_utf8_lossy(&out.stderr));
    check!(!text.contains(" 0 events"), "an empty journal proves nothing: {text}");
    Ok(())
}
