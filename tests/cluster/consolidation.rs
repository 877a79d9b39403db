//! Consolidation: two half-filled machines become one, and budgets are kept on the way.

use std::fs;

use crate::check;
use crate::cluster::{CONFIG, Cluster};

/// One pod that would be made again, with the budget that is about it.
fn service(name: &str, budget: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      nodeSelector: {{marea/size: small}}
      containers:
      - name: work
        image: marea.local/busybox:1
        imagePullPolicy: Never
        command: [sh, -c, 'trap exit TERM; while :; do sleep 1; done']
        resources: {{requests: {{cpu: 340m, memory: 64Mi}}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: {name}}}
spec:
  {budget}
  selector: {{matchLabels: {{app: {name}}}}}
---
"
    )
}

/// More than half of a machine: two of them never share one.
fn filler(name: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 1
  nodeSelector: {{marea/size: small}}
  containers:
  - name: work
    image: marea.local/busybox:1
    imagePullPolicy: Never
    command: [sh, -c, 'trap exit TERM; while :; do sleep 1; done']
    resources: {{requests: {{cpu: 520m, memory: 64Mi}}}}
---
"
    )
}

/// The node and the UID of the one running pod of a service.
fn running(cluster: &Cluster, name: &str) -> Option<(String, String)> {
    let jsonpath = "jsonpath={range .items[*]}{.spec.nodeName} {.metadata.uid}{end}";
    let (label, phase) = (format!("app={name}"), "--field-selector=status.phase=Running");
    let text = cluster.kubectl(&["get", "pods", "-l", &label, phase, "-o", jsonpath]).ok()?;
    let (node, uid) = text.split_once(' ').filter(|(_, uid)| !uid.contains(' '))?;
    Some((node.to_owned(), uid.to_owned()))
}

fn why(cluster: &Cluster, machine: &str) -> String {
    String::from_utf8_lossy(&cluster.marea(&["why", "node", machine]).stdout).into_owned()
}

fn restart(cluster: &Cluster, config: &str) -> Result<(), String> {
    cluster.stop_daemon();
    fs::write(cluster.config(), config).map_err(|error| error.to_string())?;
    cluster.start_daemon(&[])
}

pub fn two_become_one(cluster: &Cluster) -> Result<(), String> {
    cluster.calm()?;
    // Dear to keep on and quick to boot: a boot is soon worth it.
    let pool = "\n[[pool]]\nname = \"small\"\nconsolidate = true\nwatts = { idle = 100, full = 100, standby = 0 }\n";
    let asked = CONFIG.replace("[autoscaler]\n", "[autoscaler]\nconsolidate_after = \"5s\"\n") + pool;
    restart(cluster, &asked)?;
    let told = story(cluster);
    let reset = restart(cluster, CONFIG);
    cluster.kubectl(&["delete", "deployments,pods,poddisruptionbudgets", "--all", "--wait=true", "--timeout=60s"])?;
    told.and(reset)?;
    cluster.wait("and all goes off", 90, || cluster.powered_on().is_empty())
}

fn story(cluster: &Cluster) -> Result<(), String> {
    let pods = filler("filler-1") + &filler("filler-2");
    cluster.apply(&(pods + &service("moves", "maxUnavailable: 1") + &service("stays", "minAvailable: 1")))?;
    cluster.wait("the services run on a machine each", 120, || {
        let nodes = ["moves", "stays"].map(|name| running(cluster, name));
        matches!(&nodes, [Some((one, _)), Some((other, _))] if one != other)
    })?;
    let (Some((empties, _)), Some((fills, stays))) = (running(cluster, "moves"), running(cluster, "stays")) else {
        return Err("a service runs no more".to_owned());
    };
    cluster.kubectl(&["delete", "pods", "filler-1", "filler-2", "--wait=true"])?;
    let taints = ["get", "node", &empties, "-o", "jsonpath={.spec.taints[*].key}"];
    cluster.wait("the machine whose pod may move is shunned", 120, || {
        cluster.kubectl(&taints).is_ok_and(|keys| keys.contains("marea.dev/leaving"))
    })?;
    let text = why(cluster, &empties);
    check!(text.contains("its only pod fits on other machines"), "{text}");
    let text = why(cluster, &fills);
    check!(text.contains("PodDisruptionBudget default/stays lets none of its pods go now"), "{text}");
    cluster.wait("it is powered off", 120, || {
        !cluster.powered_on().contains(&empties) && cluster.state(&empties) == "off"
    })?;
    let text = why(cluster, &empties);
    check!(text.contains("it was powered off because its only pod fits on other machines"), "{text}");
    check!(cluster.powered_on() == [fills.clone()], "{:?}", cluster.powered_on());
    cluster
        .wait("its pod runs on the other", 30, || running(cluster, "moves").is_some_and(|(node, _)| node == fills))?;
    check!(running(cluster, "stays") == Some((fills, stays)), "a pod was moved against its budget");
    Ok(())
}
