//! OSCAR's own manager: its image is in a registry that a test may not reach, so what is tested is that the real API
//! server takes each of its objects, and that its account may do what the manager does, and no more.

use marea::recipe::embedded;
use marea::recipe::template::render;
use serde_json::{Value, json};

use crate::check;
use crate::cluster::Cluster;

pub fn objects_and_rights(cluster: &Cluster) -> Result<(), String> {
    let result = look(cluster);
    for gone in ["namespace/oscar", "namespace/oscar-svc", "persistentvolume/marea-oscar-supervisor"] {
        cluster.kubectl(&["delete", gone, "--ignore-not-found", "--wait=false"])?;
    }
    for kind in ["clusterrole", "clusterrolebinding"] {
        cluster.kubectl(&["delete", kind, "oscar-controller-global", "--ignore-not-found"])?;
    }
    result
}

fn look(cluster: &Cluster) -> Result<(), String> {
    let sources = embedded::sources();
    let recipe = sources.read("oscar").map_err(|e| e.iter().map(ToString::to_string).collect::<String>())?;
    let mut parameters = serde_json::Map::new();
    for (name, parameter) in &recipe.parameters {
        parameters.insert(name.clone(), serde_json::to_value(&parameter.default).unwrap());
    }
    let text = render("oscar.yaml.j2", &sources.0["oscar.yaml.j2"], &json!({ "parameters": parameters }))
        .map_err(|e| e.to_string())?;
    for namespace in ["oscar", "oscar-svc"] {
        cluster.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"))?;
    }
    let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager=marea", "-f", "-"];
    let answer = cluster.feed(&apply, &text)?;
    let objects = text.lines().filter(|l| l.starts_with("kind: ")).count();
    check!(answer.lines().count() == objects, "{objects} objects were sent:\n{answer}");
    cluster.wait("the claim has its volume", 30, || {
        let phase = cluster.kubectl(&["-n", "oscar-svc", "get", "pvc", "oscar-pvc", "-o", "jsonpath={.status.phase}"]);
        phase.is_ok_and(|p| p == "Bound")
    })?;
    for (allowed, verb, group, resource, namespace) in [
        (true, "list", "", "configmaps", ""),
        (true, "list", "", "nodes", ""),
        (true, "create", "", "configmaps", "oscar-svc"),
        (true, "create", "", "podtemplates", "oscar-svc"),
        (true, "create", "", "secrets", "oscar-svc"),
        (true, "create", "batch", "jobs", "oscar-svc"),
        (true, "deletecollection", "batch", "jobs", "oscar-svc"),
        (true, "create", "apps", "daemonsets", "oscar-svc"),
        (true, "get", "apps", "deployments", "oscar"),
        (false, "get", "", "secrets", "kube-system"),
        (false, "create", "batch", "jobs", "default"),
        (false, "delete", "", "nodes", ""),
        (false, "create", "rbac.authorization.k8s.io", "clusterroles", ""),
    ] {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": "system:serviceaccount:oscar:oscar-sa",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:oscar", "system:authenticated"],
                "resourceAttributes": { "verb": verb, "group": group, "resource": resource, "namespace": namespace },
            },
        });
        let answer = cluster.feed(&["create", "-f", "-", "-o", "json"], &review.to_string())?;
        let answer: Value = serde_json::from_str(&answer).map_err(|e| e.to_string())?;
        check!(
            answer["status"]["allowed"] == allowed,
            "{verb} {resource} in `{namespace}` should be {allowed}: {}",
            answer["status"]
        );
    }
    Ok(())
}
