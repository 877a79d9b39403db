//! Drain: a node is closed to new pods (cordon), emptied through the Eviction API, which lets
//! PodDisruptionBudgets say no, and opened again (uncordon) if it was we who closed it. Its Node object is
//! deleted only with the UID that was decided about.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use kube::{Api, Client};
use serde_json::json;

use super::client::call;
use super::{CORDONED, KubernetesError, LEAVING};
use crate::model::pod::PodId;

/// How patient a drain is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// All of it: until the last pod is gone.
    pub limit: Duration,
    /// The first pause after a refusal; it doubles up to `most`.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { limit: Duration::from_mins(5), first: Duration::from_millis(250), most: Duration::from_secs(5) }
    }
}

/// How often a write that met another writer is tried again.
const CONFLICTS: u32 = 5;
/// Evictions under way at once.
const AT_ONCE: usize = 16;

/// Closes the node to new pods and marks that as ours. A node that somebody else closed stays theirs.
pub async fn cordon(client: &Client, name: &str) -> Result<(), KubernetesError> {
    let nodes = Api::<Node>::all(client.clone());
    retry_conflicts(|| async {
        let node = call("cordon of node", name, nodes.get(name)).await?;
        if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
            return Ok(());
        }
        // With the version that was read, so that a person's cordon in between is a conflict and not ours.
        let patch = json!({
            "metadata": {
                "resourceVersion": node.metadata.resource_version,
                "annotations": { CORDONED: "true" },
            },
            "spec": { "unschedulable": true },
        });
        call("cordon of node", name, nodes.patch(name, &PatchParams::default(), &Patch::Merge(&patch))).await.map(drop)
    })
    .await
}

/// Opens the node again if it carries our mark. A node that is gone, or closed by somebody else, is left alone.
pub async fn uncordon(client: &Client, name: &str) -> Result<(), KubernetesError> {
    let nodes = Api::<Node>::all(client.clone());
    retry_conflicts(|| async {
        let Some(node) = call("uncordon of node", name, nodes.get_opt(name)).await? else { return Ok(()) };
        if !node.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(CORDONED)) {
            return Ok(());
        }
        let patch = json!({
            "metadata": {
                "resourceVersion": node.metadata.resource_version,
                "annotations": { CORDONED: null },
            },
            "spec": { "unschedulable": null },
        });
        call("uncordon of node", name, nodes.patch(name, &PatchParams::default(), &Patch::Merge(&patch)))
            .await
            .map(drop)
    })
    .await
}

/// Asks the scheduler to put new pods elsewhere where it can, or no longer: our own taint `PreferNoSchedule`, beside
/// all others. A node that is gone is shunned by everybody.
pub async fn shun(client: &Client, name: &str, shun: bool) -> Result<(), KubernetesError> {
    let nodes = Api::<Node>::all(client.clone());
    retry_conflicts(|| async {
        let Some(node) = call("taint of node", name, nodes.get_opt(name)).await? else { return Ok(()) };
        let mut taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        let before = taints.len();
        taints.retain(|taint| taint.key != LEAVING);
        if (before > taints.len()) == shun {
            return Ok(());
        }
        if shun {
            let effect = "PreferNoSchedule".to_owned();
            taints.push(Taint { key: LEAVING.to_owned(), value: None, effect, time_added: None });
        }
        // With the version that was read: the list is one value, and others write it too.
        let patch = json!({
            "metadata": { "resourceVersion": node.metadata.resource_version },
            "spec": { "taints": taints },
        });
        call("taint of node", name, nodes.patch(name, &PatchParams::default(), &Patch::Merge(&patch))).await.map(drop)
    })
    .await
}

/// Evicts these pods of this node and waits until each is gone. All are tried, the first error is told.
pub async fn drain(client: &Client, node: &str, pods: &[PodId], patience: Patience) -> Result<(), KubernetesError> {
    let results: Vec<Result<(), KubernetesError>> = stream::iter(pods.to_vec())
        .map(|pod| async move { evict(client, node, &pod, patience).await })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    results.into_iter().collect()
}

/// Deletes the Node object that has this UID. One that is gone already is a success.
pub async fn delete_node(client: &Client, name: &str, uid: &str) -> Result<(), KubernetesError> {
    let nodes = Api::<Node>::all(client.clone());
    match call("delete of node", name, nodes.delete(name, &only(uid))).await {
        Ok(_) | Err(KubernetesError::Missing { .. }) => Ok(()),
        Err(error) => {
            // A conflict is either another UID or another writer: look which.
            let what = "delete of node";
            match call(what, name, nodes.get_opt(name)).await {
                Ok(None) => Ok(()),
                Ok(Some(now)) if now.metadata.uid.as_deref() != Some(uid) => {
                    Err(KubernetesError::Replaced { what, object: name.to_owned() })
                }
                Ok(Some(_)) | Err(_) => Err(error),
            }
        }
    }
}

fn only(uid: &str) -> DeleteParams {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }
}

async fn evict(client: &Client, node: &str, pod: &PodId, patience: Patience) -> Result<(), KubernetesError> {
    let what = "eviction of pod";
    let object = pod.to_string();
    let pods = Api::<Pod>::namespaced(client.clone(), &pod.namespace);
    let mut waited = Duration::ZERO;
    let mut pause = patience.first;
    let mut asked = None::<String>;
    loop {
        let last = match call(what, &object, pods.get_opt(&pod.name)).await {
            Ok(None) => return Ok(()),
            Ok(Some(found)) => {
                let uid = found.metadata.uid.clone().unwrap_or_default();
                let here = found.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node);
                let finished = found
                    .status
                    .as_ref()
                    .and_then(|status| status.phase.as_deref())
                    .is_some_and(|phase| phase == "Succeeded" || phase == "Failed");
                // Another pod has taken the name (a StatefulSet's does), or this one has ended: nothing is left here.
                if !here || finished || asked.as_ref().is_some_and(|asked| *asked != uid) {
                    return Ok(());
                }
                if found.metadata.deletion_timestamp.is_some() {
                    "it is stopping".to_owned()
                } else {
                    match call(what, &object, ask_to_go(&pods, &pod.name, &uid)).await {
                        Ok(_) => {
                            asked = Some(uid);
                            pause = patience.first;
                            "it was asked to stop".to_owned()
                        }
                        Err(KubernetesError::Missing { .. }) => return Ok(()),
                        Err(error) if error.is_retriable() => error.to_string(),
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) if error.is_retriable() => error.to_string(),
            Err(error) => return Err(error),
        };
        if waited >= patience.limit {
            return Err(KubernetesError::TimedOut { what, object, seconds: patience.limit.as_secs(), last });
        }
        tokio::time::sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(patience.most);
    }
}

/// Posts the Eviction. kube's own `evict` spells the options `delete_options`, which the API server does
/// not read: the UID would guard nothing.
async fn ask_to_go(pods: &Api<Pod>, name: &str, uid: &str) -> kube::Result<Status> {
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": { "name": name },
        "deleteOptions": { "preconditions": { "uid": uid } },
    });
    pods.create_subresource("eviction", name, &PostParams::default(), &eviction).await
}

async fn retry_conflicts<F: Future<Output = Result<(), KubernetesError>>>(
    mut work: impl FnMut() -> F,
) -> Result<(), KubernetesError> {
    let mut left = CONFLICTS;
    loop {
        match work().await {
            Err(error) if error.is_retriable() && left > 0 => left -= 1,
            result => return result,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
