//! Telling: an event on a Node object, for whoever watches the cluster by its own means (`kubectl get events`).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::PostParams;
use kube::{Api, Client};

use super::KubernetesError;
use super::client::call;

/// Events of objects that have no namespace stand in this one.
const NAMESPACE: &str = "default";

/// Writes an event about a node. `reason` is one word, such as `PowerCycle`.
pub async fn tell(
    client: &Client,
    node: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Result<(), KubernetesError> {
    let event = Event {
        metadata: ObjectMeta { generate_name: Some(format!("{node}.")), ..ObjectMeta::default() },
        involved_object: ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            // Kubelet's own events name a node by its name in place of its UID, and `kubectl describe` looks for that.
            uid: Some(node.to_owned()),
            ..ObjectReference::default()
        },
        reason: Some(reason.to_owned()),
        message: Some(message.chars().take(1000).collect()),
        type_: Some("Warning".to_owned()),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        source: Some(EventSource { component: Some("marea".to_owned()), host: None }),
        ..Event::default()
    };
    let events = Api::<Event>::namespaced(client.clone(), NAMESPACE);
    call("event about node", node, events.create(&PostParams::default(), &event)).await.map(drop)
}
