//! Events: what `kubectl describe` shows of what Marea does about a pod or a node. Each is said once; the API
//! server itself refuses a second one of the same name, so that a restart of the daemon repeats nothing.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;

use super::{KubernetesError, client};
use crate::autoscaler::why::notice::{About, Notice};
use crate::clock;

/// Who says it.
const REPORTER: &str = "marea.dev/daemon";
/// The longest note that the API takes is 1024 bytes.
const LONGEST: usize = 1000;

/// Says what is new in each list of notices, until nobody makes any.
pub async fn announce(client: Client, mut notices: watch::Receiver<Arc<Vec<Notice>>>) {
    let mut said: BTreeSet<(About, String)> = BTreeSet::new();
    let mut complained = false;
    while notices.changed().await.is_ok() {
        let now = notices.borrow_and_update().clone();
        let current: BTreeSet<(About, String)> =
            now.iter().map(|notice| (notice.about.clone(), notice.key.clone())).collect();
        said.retain(|known| current.contains(known));
        for notice in now.iter() {
            let key = (notice.about.clone(), notice.key.clone());
            if said.contains(&key) {
                continue;
            }
            match say(&client, notice).await {
                Ok(()) => drop(said.insert(key)),
                Err(error) if error.is_retriable() => {
                    // The server is away: what is still so when it is back is said then.
                    tracing::debug!(%error, "an event was not said");
                    break;
                }
                Err(error) => {
                    if !complained {
                        tracing::warn!(%error, "events are not said; run `marea bootstrap` again for the rights");
                        complained = true;
                    }
                    said.insert(key);
                }
            }
        }
    }
}

async fn say(client: &Client, notice: &Notice) -> Result<(), KubernetesError> {
    let event = event(notice);
    let namespace = event.metadata.namespace.clone().unwrap_or_default();
    let name = event.metadata.name.clone().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let made = client::call("event", &name, async {
        match api.create(&PostParams::default(), &event).await {
            // Said already, by an earlier start.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => other.map(drop),
        }
    });
    made.await
}

/// The event that says it.
pub fn event(notice: &Notice) -> Event {
    let (kind, namespace, name, uid) = match &notice.about {
        About::Pod(id, uid) => ("Pod", Some(id.namespace.clone()), &id.name, uid),
        // Nodes live in no namespace; their events in this one.
        About::Node(name, uid) => ("Node", None, name, uid),
    };
    let mut hasher = DefaultHasher::new();
    (uid, &notice.key).hash(&mut hasher);
    let mut note = notice.text.clone();
    if note.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| note.is_char_boundary(*end)).unwrap_or_default();
        note.truncate(end);
        note.push('…');
    }
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:016x}", hasher.finish())),
            namespace: Some(namespace.clone().unwrap_or_else(|| "default".to_owned())),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(clock::now())),
        reporting_controller: Some(REPORTER.to_owned()),
        reporting_instance: Some("marea".to_owned()),
        action: Some(notice.reason.to_owned()),
        reason: Some(notice.reason.to_owned()),
        type_: Some(if notice.warning { "Warning" } else { "Normal" }.to_owned()),
        note: Some(note),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some(kind.to_owned()),
            name: Some(name.clone()),
            namespace,
            uid: Some(uid.clone()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}
