//! The generator's part for volumes: claims, volumes, classes, drivers and what they can do where.

use serde_json::{Value, json};

use crate::generator::NAMESPACES;
use crate::rng::Rng;

const CLASSES: [&str; 6] = ["wait", "wait-zone", "local", "now", "capacity", "missing"];
const CLAIMS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Adds all facts about volumes to a scenario.
pub(crate) fn fill(rng: &mut Rng, all: &mut Value, nodes: &[String]) {
    let class = |name: &str, provisioner: &str, mode: &str| json!({ "metadata": { "name": name }, "provisioner": provisioner, "volumeBindingMode": mode });
    let mut zone = class("wait-zone", "csi.one", "WaitForFirstConsumer");
    zone["allowedTopologies"] =
        json!([{ "matchLabelExpressions": [{ "key": "topology.kubernetes.io/zone", "values": ["z1", "z2"] }] }]);
    all["classes"] = json!([
        class("wait", "csi.one", "WaitForFirstConsumer"),
        zone,
        class("local", "kubernetes.io/no-provisioner", "WaitForFirstConsumer"),
        class("now", "csi.two", "Immediate"),
        class("capacity", "csi.two", "WaitForFirstConsumer"),
    ]);
    all["drivers"] = json!([
        { "metadata": { "name": "csi.one" }, "spec": {} },
        { "metadata": { "name": "csi.two" }, "spec": { "storageCapacity": true } },
    ]);
    all["nodeDrivers"] = nodes.iter().filter_map(|node| node_drivers(rng, node)).collect();
    let mut volumes = Vec::new();
    let mut claims = Vec::new();
    let mut attachments = Vec::new();
    for namespace in NAMESPACES {
        for name in CLAIMS {
            claim(rng, namespace, name, nodes, &mut claims, &mut volumes);
        }
    }
    for number in 0..rng.range(0, 4) {
        let name = format!("free-{number}");
        let class = *rng.pick(&CLASSES);
        let mut free = volume(rng, &name, class, nodes);
        free["status"] = json!({ "phase": rng.pick(&["Available", "Available", "Released"]) });
        volumes.push(free);
    }
    for number in 0..rng.range(0, 3) {
        let Some(volume) = volumes.get(usize::try_from(number * 2).unwrap()) else { continue };
        attachments.push(json!({ "metadata": { "name": format!("va-{number}") }, "spec": {
            "attacher": rng.pick(&["csi.one", "csi.two"]), "nodeName": rng.pick(nodes),
            "source": { "persistentVolumeName": volume["metadata"]["name"] },
        } }));
    }
    let capacities: Vec<Value> = (0..rng.range(0, 3))
        .map(|number| {
            let mut one = json!({
                "metadata": { "name": format!("cap-{number}"), "namespace": "red" }, "storageClassName": "capacity",
                "capacity": rng.pick(&["500Mi", "5Gi"]),
                "nodeTopology": { "matchLabels": { "topology.kubernetes.io/zone": rng.pick(&["z1", "z2", "z3"]) } },
            });
            if rng.percent(30) {
                one["maximumVolumeSize"] = json!(rng.pick(&["500Mi", "5Gi"]));
            }
            if rng.percent(10) {
                one["nodeTopology"] = Value::Null;
            }
            one
        })
        .collect();
    all["claims"] = json!(claims);
    all["volumes"] = json!(volumes);
    all["attachments"] = json!(attachments);
    all["capacities"] = json!(capacities);
}

fn node_drivers(rng: &mut Rng, node: &str) -> Option<Value> {
    if rng.percent(10) {
        return None;
    }
    let mut drivers = Vec::new();
    for name in ["csi.one", "csi.two"] {
        if rng.percent(80) {
            let mut one = json!({ "name": name, "nodeID": node, "topologyKeys": null });
            if rng.percent(60) {
                one["allocatable"] = json!({ "count": rng.range(0, 3) });
            }
            drivers.push(one);
        }
    }
    Some(json!({ "metadata": { "name": node }, "spec": { "drivers": drivers } }))
}

fn volume(rng: &mut Rng, name: &str, class: &str, nodes: &[String]) -> Value {
    let mut labels = json!({});
    if rng.percent(25) {
        let key = rng.pick(&[
            "topology.kubernetes.io/zone",
            "failure-domain.beta.kubernetes.io/zone",
            "topology.kubernetes.io/region",
        ]);
        labels[*key] = json!(rng.pick(&["z1", "z1__z2", "z3", "r1"]));
    }
    if rng.percent(30) {
        labels["tier"] = json!(rng.pick(&["gold", "tin"]));
    }
    let mut spec = json!({
        "capacity": { "storage": rng.pick(&["1Gi", "2Gi", "10Gi"]) }, "storageClassName": class,
        "accessModes": rng.pick(&[["ReadWriteOnce", "ReadOnlyMany"], ["ReadWriteOnce", "ReadWriteOncePod"]]),
        "csi": { "driver": rng.pick(&["csi.one", "csi.two"]), "volumeHandle": format!("h-{name}") },
    });
    if rng.percent(15) {
        spec["csi"] = Value::Null;
        spec["local"] = json!({ "path": "/disk" });
    }
    if rng.percent(6) {
        spec["volumeMode"] = json!("Block");
    }
    if rng.percent(50) {
        let expression = match rng.range(0, 2) {
            0 => {
                json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": [rng.pick(nodes), rng.pick(nodes)] })
            }
            1 => json!({ "key": "topology.kubernetes.io/zone", "operator": "In", "values": ["z1"] }),
            _ => json!({ "key": "topology.kubernetes.io/zone", "operator": "NotIn", "values": ["z2"] }),
        };
        spec["nodeAffinity"] = json!({ "required": { "nodeSelectorTerms": [{ "matchExpressions": [expression] }] } });
    }
    json!({ "metadata": { "name": name, "labels": labels }, "spec": spec, "status": { "phase": "Bound" } })
}

fn claim(
    rng: &mut Rng,
    namespace: &str,
    name: &str,
    nodes: &[String],
    claims: &mut Vec<Value>,
    volumes: &mut Vec<Value>,
) {
    if rng.percent(4) {
        return;
    }
    let class = *rng.pick(&["wait", "wait", "wait-zone", "local", "local", "now", "capacity", "capacity"]);
    let uid = format!("{namespace}-{name}");
    let mut one = json!({
        "metadata": { "name": name, "namespace": namespace, "uid": uid, "annotations": {} },
        "spec": {
            "storageClassName": class, "resources": { "requests": { "storage": rng.pick(&["500Mi", "1Gi", "3Gi"]) } },
            "accessModes": [rng.pick(&["ReadWriteOnce", "ReadWriteOnce", "ReadWriteOnce", "ReadWriteOncePod"])],
        },
        "status": { "phase": "Pending" },
    });
    if rng.percent(6) {
        one["spec"]["volumeMode"] = json!("Block");
    }
    if rng.percent(10) {
        one["spec"]["selector"] = json!({ "matchLabels": { "tier": "gold" } });
    }
    if rng.percent(3) {
        one["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    if rng.percent(50) || class == "now" {
        let volume_name = format!("pv-{uid}");
        if rng.percent(95) {
            one["spec"]["volumeName"] = json!(volume_name);
            if rng.percent(95) {
                one["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = json!("yes");
                one["status"]["phase"] = json!(if rng.percent(97) { "Bound" } else { "Lost" });
            }
        }
        if rng.percent(97) {
            let mut made = volume(rng, &volume_name, class, nodes);
            made["spec"]["claimRef"] = json!({ "namespace": namespace, "name": name, "uid": uid });
            volumes.push(made);
        }
    } else if rng.percent(12) {
        one["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] = json!(rng.pick(nodes));
    } else if rng.percent(10) {
        // A volume that a person keeps for this claim.
        let mut kept = volume(rng, &format!("kept-{uid}"), class, nodes);
        kept["spec"]["claimRef"] = json!({ "namespace": namespace, "name": name });
        kept["status"]["phase"] = json!("Available");
        volumes.push(kept);
    }
    claims.push(one);
}

/// Gives a pod volumes.
pub(crate) fn mount(rng: &mut Rng, pod: &mut Value) {
    let mut volumes = Vec::new();
    for number in 0..rng.range(1, 3) {
        let name = format!("v{number}");
        volumes.push(match rng.range(0, 11) {
            0 => json!({ "name": name, "iscsi": { "targetPortal": "t", "iqn": "iqn.2001-04.com.example:disk", "lun": 0, "readOnly": rng.percent(50) } }),
            1 => json!({ "name": name, "rbd": {
                "monitors": [rng.pick(&["m1", "m2"]), "m3"], "pool": "p", "image": rng.pick(&["i", "j"]), "readOnly": rng.percent(50) } }),
            2 => json!({ "name": name, "emptyDir": {} }),
            3 => json!({ "name": name, "ephemeral": { "volumeClaimTemplate": { "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "wait", "resources": { "requests": { "storage": "1Gi" } } } } } }),
            _ => json!({ "name": name, "persistentVolumeClaim": { "claimName": rng.pick(&CLAIMS) } }),
        });
    }
    pod["spec"]["volumes"] = json!(volumes);
}

/// The claims that the cluster makes for a pod's ephemeral volumes, where it has got round to it.
pub(crate) fn own_claims(rng: &mut Rng, pod: &Value, all: &mut Value) {
    let meta = &pod["metadata"];
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten().filter(|one| one["ephemeral"].is_object()) {
        if rng.percent(85) {
            let owner = if rng.percent(95) { meta["uid"].clone() } else { json!("another") };
            let name = format!("{}-{}", meta["name"].as_str().unwrap(), volume["name"].as_str().unwrap());
            let claim = json!({
                "metadata": {
                    "name": name, "namespace": meta["namespace"], "uid": name,
                    "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": owner, "controller": true }],
                },
                "spec": volume["ephemeral"]["volumeClaimTemplate"]["spec"], "status": { "phase": "Pending" },
            });
            all["claims"].as_array_mut().unwrap().push(claim);
        }
    }
}
