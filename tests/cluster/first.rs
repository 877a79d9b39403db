//! First and last: the cluster is made, once, even after a kill; and nothing stays when it is destroyed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::check;
use crate::cluster::{Cluster, MAREA, STATE, cgroup_of, ok, pause};

pub fn bootstrap_is_done_once(cluster: &Cluster) -> Result<(), String> {
    let ready = cluster.kubectl(&["get", "nodes", "--no-headers"])?;
    check!(
        ready.lines().any(|l| l.starts_with("front ") && l.contains(" Ready ")),
        "the front-end is not Ready:\n{ready}"
    );
    let uid = cluster.kubectl(&["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"])?;
    cluster.bootstrap()?;
    let again = cluster.kubectl(&["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"])?;
    check!(uid == again, "a second bootstrap made another cluster");
    // One thing that is missing is mended, and nothing else is done again: least of all the cluster.
    cluster.ssh("front", "ctr -n k8s.io images rm marea.local/busybox:1")?;
    cluster.bootstrap()?;
    let images = cluster.ssh("front", "ctr -n k8s.io images ls -q")?;
    check!(images.contains("marea.local/busybox:1"), "the image was not brought back");
    let again = cluster.kubectl(&["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"])?;
    check!(uid == again, "bringing back an image made another cluster");
    Ok(())
}

/// Local machines take root: whoever is not is told so, and nothing is made.
pub fn without_root_nothing_is_made(_: &Cluster) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    // The program and the template, where an ordinary user finds them.
    let (program, template, state) =
        (folder.path().join("marea"), folder.path().join("t.radl"), folder.path().join("state"));
    fs::copy(MAREA, &program)
        .and_then(|_| fs::copy("radl/elastic-local.radl", &template))
        .map_err(|e| e.to_string())?;
    for path in [folder.path(), &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
    }
    let out = Command::new(&program)
        .uid(65534)
        .gid(65534)
        .current_dir("/")
        .arg("--state")
        .arg(&state)
        .args(["bootstrap", "--provider", "local"])
        .arg(&template)
        .output()
        .map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    check!(out.status.code() == Some(1) && said.contains("takes root"), "{:?}: {said}", out.status);
    check!(!state.exists(), "it made {}", state.display());
    Ok(())
}

/// Kills a bootstrap of a fresh cluster at several moments, then lets it finish.
pub fn bootstrap_finishes_after_kill(cluster: &Cluster) -> Result<(), String> {
    cluster.stop_daemon();
    ok(&cluster.marea(&["destroy", "--yes"]))?;
    fs::create_dir_all(STATE).map_err(|e| e.to_string())?;
    fs::write(cluster.config(), crate::cluster::CONFIG).map_err(|e| e.to_string())?;
    for milliseconds in [300, 3000, 9000, 16000] {
        let mut child = cluster
            .command(&["bootstrap", "radl/elastic-local.radl", "--config", &cluster.config()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())?;
        pause(milliseconds);
        let _ = child.kill();
        let _ = child.wait();
    }
    cluster.bootstrap()?;
    let ready = cluster.kubectl(&["get", "nodes", "--no-headers"])?;
    check!(ready.contains(" Ready "), "no Ready node after the kills:\n{ready}");
    check!(cluster.workers().len() == 3, "three workers expected in cluster.json");
    Ok(())
}

/// A join that was cut off at any point is finished when it is repeated: one that the cluster has seen is kept as it
/// is, any other is undone and done again, though its Node still seems Ready.
pub fn a_join_that_half_happened_is_finished(cluster: &Cluster) -> Result<(), String> {
    let worker = cluster.workers().into_iter().next().ok_or("no worker")?;
    let uid = || cluster.kubectl(&["get", "node", &worker, "-o", "jsonpath={.metadata.uid}"]).unwrap_or_default();
    let ready = || {
        let state = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        cluster.kubectl(&["get", "node", &worker, "-o", state]).is_ok_and(|text| text == "True")
    };
    let marker = "/var/lib/marea/kubeadm-join-complete";
    cluster.stop_daemon();
    ok(&cluster.marea(&["machine", "--scope", "mareat", "--subnet", "10.78.0.0/24", "on", &worker]))?;
    cluster.wait("the worker is Ready", 90, ready)?;
    let before = uid();
    cluster.ssh(&worker, &format!("rm {marker}"))?;
    cluster.bootstrap()?;
    check!(ready() && uid() == before, "a worker that had joined was joined again");
    cluster.ssh(&worker, &format!("systemctl stop kubelet; rm {marker} /etc/kubernetes/kubelet.conf"))?;
    check!(ready(), "its Node is to seem Ready, which is what makes it hard");
    cluster.bootstrap()?;
    check!(ready(), "the worker did not join again");
    cluster.ssh(&worker, &format!("test -e {marker} && systemctl is-active -q kubelet")).map(drop)
}

pub fn the_daemon_has_the_least_rights(_cluster: &Cluster) -> Result<(), String> {
    least_rights(&format!("{STATE}/kubeconfig"))
}

/// What the account of this kubeconfig may do is what the daemon needs, and no more.
pub fn least_rights(kubeconfig: &str) -> Result<(), String> {
    let may = |verb: &str, what: &str| {
        let bundle = std::env::var("MAREA_BUNDLE").unwrap_or_else(|_| "/var/cache/marea/bundle".to_owned());
        let out = Command::new(format!("{bundle}/bin/kubectl"))
            .args(["--kubeconfig", kubeconfig, "auth", "can-i", verb])
            .args(what.split(' '))
            .arg("-A")
            .output()
            .expect("kubectl runs");
        String::from_utf8_lossy(&out.stdout).trim() == "yes"
    };
    for (verb, what) in [
        ("watch", "pods"),
        ("watch", "nodes"),
        ("patch", "nodes"),
        ("delete", "nodes"),
        ("create", "pods --subresource=eviction"),
    ] {
        check!(may(verb, what), "the daemon may not {verb} {what}");
    }
    for (verb, what) in [("get", "secrets"), ("create", "pods"), ("delete", "pods"), ("create", "nodes"), ("*", "*")] {
        check!(!may(verb, what), "the daemon may {verb} {what}, which it does not need");
    }
    Ok(())
}

pub fn destroy_leaves_nothing(cluster: &Cluster) -> Result<(), String> {
    let workers = cluster.workers();
    cluster.stop_daemon();
    ok(&cluster.marea(&["destroy", "--yes"]))?;
    for worker in &workers {
        check!(!cgroup_of(worker).exists(), "the cgroup of {worker} is still there");
    }
    let links = Command::new("ip").args(["-brief", "link"]).output().map_err(|e| e.to_string())?;
    let links = String::from_utf8_lossy(&links.stdout).into_owned();
    check!(!links.contains("mareat"), "a link is still there:\n{links}");
    let mounts = fs::read_to_string("/proc/mounts").map_err(|e| e.to_string())?;
    check!(!mounts.contains(STATE), "a mount is still there:\n{mounts}");
    check!(!Path::new(&format!("{STATE}/local/machines")).exists(), "machine folders are still there");
    let left: Vec<_> = fs::read_dir(STATE)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|name| !["marea.toml", "unit.toml"].contains(&name.as_str()))
        .collect();
    check!(left.is_empty(), "the state folder still holds {left:?}");
    Ok(())
}
