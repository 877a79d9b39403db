//! Requests: what a pod asks of a node, counted as kube-scheduler counts it. Containers and sidecars run
//! together and add up; an init container runs alone, but beside the sidecars that were started before it,
//! so the peak of those raises the sum. A pod-level request replaces the sum; overhead comes on top.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::model::resources::{Resources, quantity, quantity_milli};

type List = BTreeMap<String, Quantity>;

/// Turns a Kubernetes resource list into amounts. What cannot be read counts as nothing and is left out;
/// the API server validates quantities, so this does not happen with a real one.
pub fn amounts(list: &List) -> Resources {
    let mut sum = Resources::default();
    for (name, Quantity(text)) in list {
        match name.as_str() {
            "cpu" => sum.cpu_milli = quantity_milli(text).unwrap_or_default(),
            "memory" => sum.memory = quantity(text).unwrap_or_default(),
            "ephemeral-storage" => sum.ephemeral = quantity(text).unwrap_or_default(),
            "pods" => sum.pods = quantity(text).unwrap_or_default(),
            other => {
                // The scheduler does not look at a request of zero devices, so neither does the fit.
                if let Some(amount) = quantity(text).filter(|amount| *amount > 0) {
                    sum.extended.insert(other.to_owned(), amount);
                }
            }
        }
    }
    sum
}

/// What the pod asks for in all, with `pods` = 1.
pub fn of_pod(pod: &Pod) -> Resources {
    let Some(spec) = &pod.spec else { return Resources { pods: 1, ..Resources::default() } };
    // While containers are resized in place, the node holds the largest of what is wanted, what was granted and
    // what runs, each summed up by itself; a resize that the node can never grant does not count as wanted.
    let infeasible = resize_infeasible(pod);
    let mut sum = if infeasible { Resources::default() } else { sum_of(spec, &wanted) };
    let statuses = statuses(pod);
    if !statuses.is_empty() {
        let status = |container: &Container| statuses.iter().find(|status| status.name == container.name);
        let unless = |container: &Container| if infeasible { Resources::default() } else { wanted(container) };
        let granted = |container: &Container| {
            let allocated = status(container).and_then(|status| status.allocated_resources.as_ref());
            allocated.map_or_else(|| unless(container), amounts)
        };
        let runs = |container: &Container| {
            let actual = status(container).and_then(|status| status.resources.as_ref()?.requests.as_ref());
            actual.map_or_else(|| granted(container), amounts)
        };
        sum.raise_to(&sum_of(spec, &granted));
        sum.raise_to(&sum_of(spec, &runs));
    }
    if let Some(list) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
        let whole = amounts(list);
        if list.contains_key("cpu") {
            sum.cpu_milli = whole.cpu_milli;
        }
        if list.contains_key("memory") {
            sum.memory = whole.memory;
        }
        for (name, amount) in whole.extended {
            if name.starts_with("hugepages-") {
                sum.extended.insert(name, amount);
            }
        }
    }
    if let Some(overhead) = &spec.overhead {
        sum.add(&amounts(overhead));
    }
    sum.pods = 1;
    sum
}

/// Containers and sidecars add up; the peak of the init containers only raises.
fn sum_of(spec: &PodSpec, of: &dyn Fn(&Container) -> Resources) -> Resources {
    let mut sum = Resources::default();
    for container in &spec.containers {
        sum.add(&of(container));
    }
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in spec.init_containers.as_deref().unwrap_or_default() {
        if is_sidecar(container) {
            let mine = of(container);
            sum.add(&mine);
            sidecars.add(&mine);
            peak.raise_to(&sidecars);
        } else {
            let mut here = of(container);
            here.add(&sidecars);
            peak.raise_to(&here);
        }
    }
    sum.raise_to(&peak);
    sum
}

/// An init container that is started before the others and stays.
pub(super) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn wanted(container: &Container) -> Resources {
    container.resources.as_ref().and_then(|resources| resources.requests.as_ref()).map(amounts).unwrap_or_default()
}

fn statuses(pod: &Pod) -> Vec<&ContainerStatus> {
    let Some(status) = &pod.status else { return Vec::new() };
    status.container_statuses.iter().chain(&status.init_container_statuses).flatten().collect()
}

fn resize_infeasible(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let pending = conditions.iter().find(|condition| condition.type_ == "PodResizePending");
    pending.is_some_and(|condition| condition.reason.as_deref() == Some("Infeasible"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn container(name: &str, cpu: &str) -> Value {
        json!({ "name": name, "resources": { "requests": { "cpu": cpu } } })
    }

    fn sidecar(name: &str, cpu: &str) -> Value {
        json!({ "name": name, "restartPolicy": "Always", "resources": { "requests": { "cpu": cpu } } })
    }

    fn cpu_of(spec: &Value, status: &Value) -> u64 {
        let pod: Pod = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" }, "spec": spec, "status": status,
        }))
        .unwrap();
        of_pod(&pod).cpu_milli
    }

    /// The answers are those of kube-scheduler's own counting (component-helpers, `PodRequests`).
    #[test]
    fn cpu_is_counted_as_the_scheduler_does() {
        let one = || vec![container("a", "100m")];
        let status = |wanted: &str, allocated: &str| {
            json!({ "name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                    "resources": { "requests": { "cpu": wanted } }, "allocatedResources": { "cpu": allocated } })
        };
        for (case, spec, state, expected) in [
            ("nothing asked", json!({ "containers": [{ "name": "a" }] }), json!({}), 0),
            (
                "containers add up",
                json!({ "containers": [container("a", "100m"), container("b", "1")] }),
                json!({}),
                1100,
            ),
            (
                "an init container only raises",
                json!({ "containers": one(), "initContainers": [container("i", "300m"), container("j", "200m")] }),
                json!({}),
                300,
            ),
            (
                "a small init container changes nothing",
                json!({ "containers": one(), "initContainers": [container("i", "50m")] }),
                json!({}),
                100,
            ),
            ("a sidecar adds", json!({ "containers": one(), "initContainers": [sidecar("s", "40m")] }), json!({}), 140),
            (
                "an init container runs beside the sidecars before it",
                json!({ "containers": one(), "initContainers": [sidecar("s", "40m"), container("i", "300m")] }),
                json!({}),
                340,
            ),
            (
                "and not beside those after it",
                json!({ "containers": one(), "initContainers": [container("i", "300m"), sidecar("s", "40m")] }),
                json!({}),
                300,
            ),
            ("overhead comes on top", json!({ "containers": one(), "overhead": { "cpu": "25m" } }), json!({}), 125),
            (
                "pod-level requests replace the sum, and overhead still comes on top",
                json!({ "containers": one(), "resources": { "requests": { "cpu": "2" } }, "overhead": { "cpu": "25m" } }),
                json!({}),
                2025,
            ),
            (
                "resized down, not yet granted",
                json!({ "containers": one() }),
                json!({ "containerStatuses": [status("400m", "500m")] }),
                500,
            ),
            (
                "a resize that is infeasible does not count",
                json!({ "containers": [container("a", "9")] }),
                json!({ "containerStatuses": [status("400m", "500m")],
                        "conditions": [{ "type": "PodResizePending", "status": "True", "reason": "Infeasible" }] }),
                500,
            ),
        ] {
            assert_eq!(cpu_of(&spec, &state), expected, "{case}");
        }
    }

    #[test]
    fn every_kind_of_resource_is_kept_apart() {
        let list: List = serde_json::from_value(json!({
            "cpu": "1", "memory": "1Ki", "ephemeral-storage": "1k", "nvidia.com/gpu": "2", "example.com/zero": "0",
        }))
        .unwrap();
        let sum = amounts(&list);
        assert_eq!((sum.cpu_milli, sum.memory, sum.ephemeral), (1000, 1024, 1000));
        assert_eq!(sum.extended, BTreeMap::from([("nvidia.com/gpu".to_owned(), 2)]));
    }
}
