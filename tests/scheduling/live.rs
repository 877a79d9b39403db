//! Fit, against the API server and the kube-scheduler themselves: that the oracle tells the truth. Each pod goes through
//! both, and is placed where we say that it fits, or nowhere when we say so. About a minute.

use serde_json::{Value, json};

use crate::generator;
use crate::server::{Control, until};

const SCENARIOS: usize = 40;
const PODS: &str = "/api/v1/namespaces";

/// What these servers need not be told, or would act upon: nobody is evicted here, and nothing runs.
fn plain(mut pod: Value) -> Value {
    let spec = pod["spec"].as_object_mut().unwrap();
    for key in ["priority", "runtimeClassName", "overhead"] {
        spec.remove(key);
    }
    let meta = pod["metadata"].as_object_mut().unwrap();
    for key in ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        meta.remove(key);
    }
    pod.as_object_mut().unwrap().remove("status");
    pod
}

fn path(pod: &Value) -> (String, String) {
    let folder = format!("{PODS}/{}/pods", pod["metadata"]["namespace"].as_str().unwrap());
    let own = format!("{folder}/{}", pod["metadata"]["name"].as_str().unwrap());
    (folder, own)
}

/// Makes the scenario's nodes and placed pods. Answers when the scheduler has seen all of it: it sees nodes in their
/// order and pods in theirs, and a pod that comes last was put on the node that came last.
async fn lay_out(control: &Control, scenario: &Value) {
    let last = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "zz-last" },
        "spec": { "taints": [{ "key": "last", "effect": "NoSchedule" }] },
        "status": { "allocatable": { "cpu": "1", "memory": "1Gi", "pods": "10" }, "capacity": { "cpu": "1", "memory": "1Gi", "pods": "10" } } });
    for mut node in scenario["nodes"].as_array().unwrap().iter().cloned().chain([last]) {
        node["metadata"].as_object_mut().unwrap().remove("uid");
        control.call("POST", "/api/v1/nodes", Some(&node)).await.unwrap();
    }
    for pod in scenario["placed"].as_array().unwrap() {
        let pod = plain(pod.clone());
        control.call("POST", &path(&pod).0, Some(&pod)).await.unwrap();
    }
    let at_last = json!([{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["zz-last"] }] }]);
    let sentinel = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "sentinel", "namespace": "default" },
        "spec": { "containers": [{ "name": "c", "image": "i" }], "tolerations": [{ "operator": "Exists" }],
            "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": at_last } } } } });
    let (folder, own) = path(&sentinel);
    control.call("POST", &folder, Some(&sentinel)).await.unwrap();
    until("the last pod is on the last node", async || {
        !control.call("GET", &own, None).await.unwrap()["spec"]["nodeName"].is_null()
    })
    .await;
    control.delete(&own).await;
}

/// What we say of a pod: the nodes that it fits, from the same objects.
async fn ours(control: &Control, ask: &Value) -> Vec<String> {
    let id = (&ask["metadata"]["name"], &ask["metadata"]["namespace"]);
    let pods = control.list("/api/v1/pods").await;
    let placed =
        pods.as_array().unwrap().iter().filter(|pod| (&pod["metadata"]["name"], &pod["metadata"]["namespace"]) != id);
    let scenario = json!({ "nodes": control.list("/api/v1/nodes").await, "namespaces": control.list(PODS).await });
    let mut asked = ask.clone();
    asked["spec"].as_object_mut().unwrap().remove("nodeName");
    let answer = json!({ "placed": placed.collect::<Vec<_>>(), "nominated": [], "asks": [asked] });
    let verdicts = crate::ours::verdicts(&scenario, &answer).remove(0);
    verdicts.into_iter().filter(|(_, misfit)| misfit.is_none()).map(|(node, _)| node).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_scheduler_says_the_same() {
    let Some(control) = Control::start().await else { return };
    for (name, labels) in [("red", json!({ "team": "a" })), ("green", json!({ "team": "b" })), ("blue", json!({}))] {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
        control.call("POST", PODS, Some(&namespace)).await.unwrap();
    }
    let (mut placed, mut homeless, mut wrong) = (0, 0, Vec::new());
    let scenarios = (0..).map(|seed| (seed, generator::scenario(seed))).filter(|(_, one)| one["claims"].is_null());
    for (seed, scenario) in scenarios.take(SCENARIOS) {
        lay_out(&control, &scenario).await;
        let asks = scenario["asks"].as_array().unwrap().iter().filter(|pod| pod["spec"]["nodeName"].is_null());
        for ask in asks.map(|pod| plain(pod.clone())) {
            let (folder, own) = path(&ask);
            let kept = control.call("POST", &folder, Some(&ask)).await.unwrap();
            let theirs = control.verdict(&own).await;
            let ours = ours(&control, &kept).await;
            if let Some(node) = &theirs {
                placed += 1;
                if !ours.contains(node) {
                    wrong.push(format!("seed {seed}: it is on {node}, and we say that it fits {ours:?}: {kept}"));
                }
            } else {
                homeless += 1;
                if !ours.is_empty() {
                    wrong.push(format!("seed {seed}: it is nowhere, and we say that it fits {ours:?}: {kept}"));
                }
            }
            control.delete(&own).await;
        }
        for namespace in generator::NAMESPACES {
            control.delete(&format!("{PODS}/{namespace}/pods")).await;
        }
        control.delete("/api/v1/nodes").await;
    }
    println!("{SCENARIOS} scenarios through the API server and kube-scheduler: {placed} pods placed, {homeless} not");
    assert!(wrong.is_empty(), "{} disagree; the first: {}", wrong.len(), wrong[0]);
    assert!(placed > 20 && homeless > 20);
}
