//! The generator: random clusters and pods over all constraints, as the API's own JSON. They are small and
//! draw from few values, so that constraints meet and clash.

use serde_json::{Value, json};

use crate::rng::Rng;
use crate::storage;

pub(crate) const NAMESPACES: [&str; 3] = ["red", "green", "blue"];
const APPS: [&str; 3] = ["web", "db", "cache"];
const KEYS: [&str; 4] =
    ["kubernetes.io/hostname", "topology.kubernetes.io/zone", "topology.kubernetes.io/region", "rack"];
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// A scenario, as one object with lists.
pub(crate) fn scenario(seed: u64) -> Value {
    let mut rng = Rng::new(seed);
    let rng = &mut rng;
    // In most scenarios there is room: else no pod would get as far as the filters that come after resources.
    let roomy = rng.percent(70);
    let nodes: Vec<Value> = (0..rng.range(1, 7)).map(|number| node(rng, number, roomy)).collect();
    let names: Vec<String> = nodes.iter().map(|node| node["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    // Some scenarios are about volumes: in all of them these would drown the rest.
    let volumes = rng.percent(35);
    let mut all = json!({ "nodes": nodes, "namespaces": namespaces(rng) });
    if volumes {
        storage::fill(rng, &mut all, &names);
    }
    let mut placed = Vec::new();
    for number in 0..rng.range(0, 14) {
        let mut pod = pod(rng, &format!("placed-{number}"), volumes, &names);
        pod["spec"]["nodeName"] = json!(rng.pick(&names));
        if rng.percent(10) {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        }
        if rng.percent(25) {
            resize(rng, &mut pod);
        }
        placed.push(pod);
    }
    let mut nominated = Vec::new();
    for number in 0..rng.range(0, 2) * rng.range(0, 1) {
        let mut pod = pod(rng, &format!("nominated-{number}"), false, &names);
        pod["status"] = json!({ "nominatedNodeName": rng.pick(&names) });
        nominated.push(pod);
    }
    let mut asks: Vec<Value> =
        (0..rng.range(1, 5)).map(|number| pod(rng, &format!("ask-{number}"), volumes, &names)).collect();
    for pod in &mut asks {
        // One that names its node and selects others by name fails two filters at once.
        if rng.percent(3) && pod["spec"]["affinity"]["nodeAffinity"].is_null() {
            pod["spec"]["nodeName"] = json!(rng.pick(&names));
        }
    }
    if volumes {
        for pod in placed.iter().chain(&asks) {
            storage::own_claims(rng, pod, &mut all);
        }
    }
    all["placed"] = json!(placed);
    all["nominated"] = json!(nominated);
    all["asks"] = json!(asks);
    all
}

fn namespaces(rng: &mut Rng) -> Vec<Value> {
    let mut list = Vec::new();
    for name in NAMESPACES {
        // One that is not there is seen now and then, just after its deletion.
        if rng.percent(95) {
            let mut labels = json!({ "kubernetes.io/metadata.name": name });
            if rng.percent(60) {
                labels["team"] = json!(rng.pick(&["a", "b"]));
            }
            list.push(json!({ "metadata": { "name": name, "labels": labels } }));
        }
    }
    list
}

fn node(rng: &mut Rng, number: i64, roomy: bool) -> Value {
    let name = format!("n{number}");
    let mut labels = json!({});
    if rng.percent(93) {
        labels["kubernetes.io/hostname"] = json!(name);
    }
    if rng.percent(85) {
        labels["topology.kubernetes.io/zone"] = json!(rng.pick(&["z1", "z2", "z3"]));
    }
    if rng.percent(40) {
        labels["topology.kubernetes.io/region"] = json!(rng.pick(&["r1", "r2"]));
    }
    if rng.percent(6) {
        labels["failure-domain.beta.kubernetes.io/zone"] = json!(rng.pick(&["z1", "z2"]));
    }
    if rng.percent(50) {
        labels["rack"] = json!(rng.pick(&["1", "2", "10"]));
    }
    if rng.percent(50) {
        labels["disk"] = json!(rng.pick(&["ssd", "hdd"]));
    }
    let mut spec = json!({});
    let mut taints = Vec::new();
    if rng.percent(6) {
        spec["unschedulable"] = json!(true);
        taints.push(json!({ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" }));
    }
    if rng.percent(6) {
        let key = rng.pick(&["node.kubernetes.io/not-ready", "node.kubernetes.io/memory-pressure"]);
        taints.push(json!({ "key": key, "effect": "NoSchedule" }));
    }
    for key in ["gpu", "team"] {
        if rng.percent(12) {
            let value = *rng.pick(&["", "a", "b"]);
            taints.push(json!({ "key": key, "value": value, "effect": rng.pick(&EFFECTS) }));
        }
    }
    if !taints.is_empty() {
        spec["taints"] = json!(taints);
    }
    let mut allocatable = json!({
        "cpu": rng.pick(&["1", "2", "3500m", "8"]),
        "memory": rng.pick(&["1Gi", "2Gi", "3000M", "8Gi"]),
        "ephemeral-storage": rng.pick(&["1Gi", "10Gi"]),
        "pods": rng.pick(&["2", "5", "10", "110"]),
    });
    if roomy {
        allocatable = json!({ "cpu": "64", "memory": "128Gi", "ephemeral-storage": "100Gi", "pods": "110" });
    }
    if roomy || rng.percent(30) {
        allocatable["example.com/gpu"] = json!(rng.pick(&["1", "2", "8"]));
    }
    if rng.percent(20) {
        allocatable["hugepages-2Mi"] = json!("64Mi");
    }
    json!({ "metadata": { "name": name, "uid": name, "labels": labels }, "spec": spec,
            "status": { "allocatable": allocatable, "capacity": allocatable } })
}

fn pod(rng: &mut Rng, name: &str, volumes: bool, nodes: &[String]) -> Value {
    let mut labels = json!({});
    if rng.percent(90) {
        labels["app"] = json!(rng.pick(&APPS));
    }
    if rng.percent(50) {
        labels["version"] = json!(rng.pick(&["1", "2"]));
    }
    let mut spec = json!({ "containers": [], "priority": rng.pick(&[0, 0, 100, -5]) });
    spec["containers"] = (0..rng.range(1, 2)).map(|number| container(rng, &format!("c{number}"), false)).collect();
    if rng.percent(20) {
        spec["initContainers"] =
            (0..rng.range(1, 2)).map(|number| container(rng, &format!("i{number}"), true)).collect();
    }
    if rng.percent(5) {
        spec["overhead"] = json!({ "cpu": "100m", "memory": "64Mi" });
        spec["runtimeClassName"] = json!("sandbox");
    }
    if rng.percent(6) {
        // What a pod asks for as a whole must cover its containers.
        spec["resources"] = json!({ "requests": { "cpu": "16", "memory": "16Gi" } });
    }
    if rng.percent(6) {
        spec["hostNetwork"] = json!(true);
    }
    if rng.percent(20) {
        spec["nodeSelector"] = match rng.range(0, 2) {
            0 => json!({ "disk": rng.pick(&["ssd", "hdd"]) }),
            1 => json!({ "topology.kubernetes.io/zone": rng.pick(&["z1", "z2"]) }),
            _ => json!({ "kubernetes.io/hostname": rng.pick(nodes) }),
        };
    }
    if rng.percent(35) {
        spec["tolerations"] = (0..rng.range(1, 2)).map(|_| toleration(rng)).collect();
    }
    let mut affinity = json!({});
    if rng.percent(20) {
        let terms: Vec<Value> = (0..rng.range(1, 2)).map(|_| node_term(rng, nodes)).collect();
        affinity["nodeAffinity"] =
            json!({ "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } });
    }
    for (kind, percent) in [("podAffinity", 15), ("podAntiAffinity", 22)] {
        if rng.percent(percent) {
            let terms: Vec<Value> = (0..rng.range(1, 2)).map(|_| pod_term(rng, &labels)).collect();
            affinity[kind] = json!({ "requiredDuringSchedulingIgnoredDuringExecution": terms });
        }
    }
    if affinity.as_object().is_some_and(|parts| !parts.is_empty()) {
        spec["affinity"] = affinity;
    }
    if rng.percent(30) {
        let mut constraints: Vec<Value> = Vec::new();
        for _ in 0..rng.range(1, 2) {
            let one = spread(rng, &labels);
            // Two for the same key and consequence are refused by the API.
            if !constraints.iter().any(|other| other["topologyKey"] == one["topologyKey"]) {
                constraints.push(one);
            }
        }
        spec["topologySpreadConstraints"] = json!(constraints);
    }
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "uid": name, "namespace": rng.pick(&NAMESPACES), "labels": labels },
        "spec": spec,
    });
    if volumes && rng.percent(75) {
        storage::mount(rng, &mut pod);
    }
    pod
}

fn container(rng: &mut Rng, name: &str, init: bool) -> Value {
    let mut requests = json!({});
    if rng.percent(75) {
        requests["cpu"] = json!(rng.pick(&["100m", "250m", "500m", "1", "1500m", "3"]));
    }
    if rng.percent(75) {
        requests["memory"] = json!(rng.pick(&["64Mi", "200M", "512Mi", "1Gi", "2Gi"]));
    }
    if rng.percent(10) {
        requests["ephemeral-storage"] = json!(rng.pick(&["100Mi", "2Gi"]));
    }
    let mut limits = json!({});
    if rng.percent(8) {
        let count = *rng.pick(&["0", "1", "2"]);
        requests["example.com/gpu"] = json!(count);
        limits["example.com/gpu"] = json!(count);
    }
    if rng.percent(3) {
        requests["hugepages-2Mi"] = json!("32Mi");
        limits["hugepages-2Mi"] = json!("32Mi");
        limits["memory"] = json!("2Gi");
    }
    let mut container = json!({ "name": name, "image": "i", "resources": { "requests": requests, "limits": limits } });
    if rng.percent(16) && name != "i1" {
        // The API refuses the same host port twice in one pod.
        let port = match name {
            "c0" => 80,
            "c1" => 443,
            _ => 8080,
        };
        let mut one = json!({ "containerPort": port, "protocol": rng.pick(&["TCP", "TCP", "UDP"]) });
        if rng.percent(80) {
            one["hostPort"] = json!(port);
            if rng.percent(40) {
                one["hostIP"] = json!(rng.pick(&["0.0.0.0", "10.0.0.1", "10.0.0.2", "::"]));
            }
        }
        container["ports"] = json!([one]);
    }
    if init && rng.percent(50) {
        container["restartPolicy"] = json!("Always");
    }
    container
}

fn toleration(rng: &mut Rng) -> Value {
    let mut one = match rng.range(0, 4) {
        0 => json!({ "operator": "Exists" }),
        1 => json!({ "key": "node.kubernetes.io/unschedulable", "operator": "Exists" }),
        2 => json!({ "key": rng.pick(&["gpu", "team"]), "operator": "Exists" }),
        _ => json!({ "key": rng.pick(&["gpu", "team"]), "operator": "Equal", "value": rng.pick(&["", "a", "b"]) }),
    };
    if rng.percent(50) {
        one["effect"] = json!(rng.pick(&EFFECTS));
    }
    one
}

fn node_term(rng: &mut Rng, nodes: &[String]) -> Value {
    let mut term = json!({});
    if rng.percent(80) {
        let key = *rng.pick(&["disk", "rack", "topology.kubernetes.io/zone"]);
        let expression = match rng.range(0, 5) {
            0 => json!({ "key": key, "operator": "In", "values": ["ssd", "z1", "1"] }),
            1 => json!({ "key": key, "operator": "NotIn", "values": ["hdd", "z2", "2"] }),
            2 => json!({ "key": key, "operator": "Exists" }),
            3 => json!({ "key": key, "operator": "DoesNotExist" }),
            4 => json!({ "key": "rack", "operator": "Gt", "values": ["1"] }),
            _ => json!({ "key": "rack", "operator": "Lt", "values": ["10"] }),
        };
        term["matchExpressions"] = json!([expression]);
    }
    if rng.percent(30) || term.as_object().is_some_and(serde_json::Map::is_empty) {
        let operator = *rng.pick(&["In", "In", "NotIn"]);
        term["matchFields"] = json!([{ "key": "metadata.name", "operator": operator, "values": [rng.pick(nodes)] }]);
    }
    term
}

fn selector(rng: &mut Rng) -> Value {
    match rng.range(0, 6) {
        0 => json!({}),
        1 => {
            json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": [rng.pick(&APPS), rng.pick(&APPS)] }] })
        }
        2 => json!({ "matchExpressions": [{ "key": "app", "operator": "NotIn", "values": [rng.pick(&APPS)] }] }),
        3 => json!({ "matchExpressions": [{ "key": "canary", "operator": "DoesNotExist" }] }),
        _ => json!({ "matchLabels": { "app": rng.pick(&APPS) } }),
    }
}

fn pod_term(rng: &mut Rng, labels: &Value) -> Value {
    let mut term = json!({ "topologyKey": rng.pick(&KEYS) });
    if rng.percent(92) {
        term["labelSelector"] = selector(rng);
        if rng.percent(10) && !labels["version"].is_null() {
            term[*rng.pick(&["matchLabelKeys", "mismatchLabelKeys"])] = json!(["version"]);
        }
    }
    if rng.percent(25) {
        term["namespaces"] = json!([rng.pick(&NAMESPACES)]);
    }
    if rng.percent(25) {
        term["namespaceSelector"] = match rng.range(0, 2) {
            0 => json!({}),
            1 => json!({ "matchLabels": { "team": rng.pick(&["a", "b"]) } }),
            _ => json!({ "matchExpressions": [{ "key": "team", "operator": "DoesNotExist" }] }),
        };
    }
    term
}

fn spread(rng: &mut Rng, labels: &Value) -> Value {
    let hard = rng.percent(90);
    let mut one = json!({
        "maxSkew": rng.range(1, 2), "topologyKey": rng.pick(&KEYS),
        "whenUnsatisfiable": if hard { "DoNotSchedule" } else { "ScheduleAnyway" },
    });
    if rng.percent(93) {
        one["labelSelector"] = selector(rng);
        if rng.percent(15) && !labels["version"].is_null() {
            one["matchLabelKeys"] = json!(["version"]);
        }
    }
    if hard && rng.percent(25) {
        one["minDomains"] = json!(rng.range(1, 4));
    }
    if rng.percent(25) {
        one["nodeAffinityPolicy"] = json!(rng.pick(&["Honor", "Ignore"]));
    }
    if rng.percent(25) {
        one["nodeTaintsPolicy"] = json!(rng.pick(&["Honor", "Ignore"]));
    }
    one
}

/// The pod's containers are being resized in place.
fn resize(rng: &mut Rng, pod: &mut Value) {
    let mut status = |list: &str| -> Vec<Value> {
        let mut all = Vec::new();
        for container in pod["spec"][list].as_array().unwrap_or(&Vec::new()) {
            let mut one =
                json!({ "name": container["name"], "image": "i", "imageID": "", "ready": true, "restartCount": 0 });
            if rng.percent(80) {
                one["allocatedResources"] = json!({ "cpu": rng.pick(&["200m", "2"]), "memory": "300Mi" });
            }
            if rng.percent(80) {
                one["resources"] = json!({ "requests": { "cpu": rng.pick(&["100m", "1"]), "memory": "400Mi" } });
            }
            all.push(one);
        }
        all
    };
    let (containers, init) = (status("containers"), status("initContainers"));
    let mut conditions = Vec::new();
    if rng.percent(40) {
        let reason = rng.pick(&["Infeasible", "Deferred"]);
        conditions.push(json!({ "type": "PodResizePending", "status": "True", "reason": reason }));
    }
    pod["status"] = json!({ "containerStatuses": containers, "initContainerStatuses": init, "conditions": conditions });
}
