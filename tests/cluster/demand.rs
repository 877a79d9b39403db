//! Demand: what pods that wait do to machines.

use crate::check;
use crate::cluster::Cluster;

/// A Job of one pod with these requests; it sleeps for `seconds`.
pub fn job(name: &str, cpu: &str, memory: &str, seconds: u32) -> String {
    format!(
        "apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  backoffLimit: 3
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers:
      - name: work
        image: marea.local/busybox:1
        imagePullPolicy: Never
        command: [sh, -c, \"sleep {seconds}\"]
        resources: {{requests: {{cpu: {cpu}, memory: {memory}}}}}
"
    )
}

pub fn succeeded(cluster: &Cluster, job: &str) -> bool {
    cluster.kubectl(&["get", "job", job, "-o", "jsonpath={.status.succeeded}"]).is_ok_and(|s| s == "1")
}

pub fn up_and_down(cluster: &Cluster) -> Result<(), String> {
    cluster.calm()?;
    cluster.apply(&job("one", "300m", "128Mi", 2))?;
    cluster.wait("the job is done", 90, || succeeded(cluster, "one"))?;
    let on = cluster.powered_on();
    check!(on.len() == 1, "one small pod should wake one machine, not {on:?}");
    let out = cluster.marea(&["why", "node", &on[0]]);
    check!(out.status.success(), "why node: {}", String::from_utf8_lossy(&out.stderr));
    cluster.wait("the machine is off again", 60, || cluster.powered_on().is_empty())?;
    cluster.wait("its Node is gone", 30, || cluster.kubectl(&["get", "node", &on[0]]).is_err())
}

pub fn impossible_pod(cluster: &Cluster) -> Result<(), String> {
    cluster.calm()?;
    cluster.apply(&job("giant", "64", "64Gi", 1))?;
    cluster.apply(&job("dwarf", "200m", "64Mi", 1))?;
    cluster.wait("the small job is done beside the impossible one", 90, || succeeded(cluster, "dwarf"))?;
    let pod = cluster.kubectl(&["get", "pods", "-l", "job-name=giant", "-o", "jsonpath={.items[0].metadata.name}"])?;
    let out = cluster.marea(&["why", "pod", &format!("default/{pod}")]);
    let text = String::from_utf8_lossy(&out.stdout).to_lowercase();
    check!(text.contains("cpu") || text.contains("memory"), "why does not name the resource:\n{text}");
    cluster.wait("nothing stays on for the impossible pod", 60, || cluster.powered_on().is_empty())
}
