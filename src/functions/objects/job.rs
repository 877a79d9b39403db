//! The Job: one attempt to run one event. The user's image is unmodified: an init container puts the
//! supervisor beside it. Requests are limits, so what the scheduler counts is what is used. A pod that is cut
//! off by a machine that goes away does not count as a failure: the Job makes it again. A script that fails
//! does, and whether there is another attempt is the queue's to say.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::MANAGED;
use crate::functions::event::{EventId, job_name};
use crate::functions::service::Service;

/// The container of the user's script.
pub const CONTAINER: &str = "oscar-container";
/// The label with the event's identity.
pub const EVENT: &str = "marea.dev/event";
/// The label with the attempt's number.
pub const ATTEMPT: &str = "marea.dev/attempt";
/// The annotation of a service that chooses nodes: `key=value,key=value`.
pub const NODES: &str = "marea.dev/node-selector";
/// The longest event that fits a variable: Linux takes 128 KiB in one, its name included.
const VARIABLE: usize = 100 * 1024;

/// What a Job is made of.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The function.
    pub service: &'a Service,
    /// The event.
    pub id: EventId,
    /// Its text.
    pub body: &'a [u8],
    /// Which attempt it is.
    pub attempt: u32,
    /// Somebody waits for the result.
    pub sync: bool,
    /// Where it runs.
    pub namespace: &'a str,
    /// The image with the supervisor.
    pub image: &'a str,
    /// There is an object store of the cluster's own.
    pub has_store: bool,
}

impl Run<'_> {
    /// The Job's name.
    pub fn name(&self) -> String {
        job_name(&self.service.name, self.id, self.attempt)
    }

    /// The event as a variable, when it fits one.
    fn variable(&self) -> Option<&str> {
        is_variable(self.body)
    }

    /// The Secret of an event that fits no variable.
    pub fn event_secret(&self) -> Option<Secret> {
        if self.variable().is_some() {
            return None;
        }
        let labels = [("oscar_service", self.service.name.clone()), (EVENT, self.id.to_string()), own(MANAGED)];
        Some(Secret {
            metadata: ObjectMeta {
                name: Some(event_secret_name(self.id)),
                namespace: Some(self.namespace.to_owned()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([("event".to_owned(), ByteString(self.body.to_vec()))])),
            ..Secret::default()
        })
    }

    /// The Job.
    pub fn job(&self) -> Result<Job, String> {
        let service = self.service;
        let mut labels = service.all_labels();
        labels.extend([(EVENT.to_owned(), self.id.to_string()), (ATTEMPT.to_owned(), self.attempt.to_string())]);
        let meta = json!({ "labels": labels, "annotations": service.annotations });
        let resources = service.requests();
        let mut own_meta = meta.clone();
        own_meta["name"] = json!(self.name());
        own_meta["namespace"] = json!(self.namespace);
        let bin = json!({ "name": "marea-bin", "mountPath": "/marea/bin" });
        let pull: Vec<Value> = service.image_pull_secrets.iter().map(|name| json!({ "name": name })).collect();
        let (mut volumes, mut mounts) = self.volumes();
        volumes.push(json!({ "name": "marea-bin", "emptyDir": {} }));
        mounts.push(bin.clone());
        let value = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": own_meta,
            "spec": {
                "backoffLimit": 0,
                "podReplacementPolicy": "Failed",
                "podFailurePolicy": { "rules": [
                    { "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] },
                ] },
                "template": {
                    "metadata": meta,
                    "spec": {
                        "restartPolicy": "Never",
                        "automountServiceAccountToken": false,
                        "enableServiceLinks": false,
                        "imagePullSecrets": pull,
                        "nodeSelector": node_selector(service),
                        "initContainers": [{
                            "name": "marea-supervisor",
                            "image": self.image,
                            "imagePullPolicy": "IfNotPresent",
                            "command": ["marea-supervisor", "install", "/marea/bin"],
                            "resources": { "requests": resources, "limits": resources },
                            "volumeMounts": [bin],
                        }],
                        "containers": [{
                            "name": CONTAINER,
                            "image": service.image,
                            "imagePullPolicy": "IfNotPresent",
                            "command": ["/marea/bin/marea-supervisor", "run"],
                            "env": self.variables(),
                            "envFrom": self.secrets(),
                            "resources": { "requests": resources, "limits": resources },
                            "volumeMounts": mounts,
                        }],
                        "volumes": volumes,
                    },
                },
            },
        });
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    fn variables(&self) -> Vec<Value> {
        let mut variables: Vec<Value> = vec![
            json!({ "name": "JOB_UUID", "value": self.id.to_string() }),
            json!({ "name": "RESOURCE_ID", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }),
            json!({ "name": "OSCAR_SERVICE_NAME", "value": self.service.name }),
        ];
        if self.sync {
            variables.push(json!({ "name": "MAREA_SYNC", "value": "1" }));
        }
        if let Some(text) = self.variable() {
            // Kubernetes would read `$(NAME)` as a reference: `$$` is its word for a dollar.
            variables.push(json!({ "name": "EVENT", "value": text.replace('$', "$$") }));
        }
        let taken: Vec<&str> = vec!["JOB_UUID", "RESOURCE_ID", "OSCAR_SERVICE_NAME", "EVENT", "MAREA_SYNC"];
        let own = self.service.environment.variables.iter().filter(|(name, _)| !taken.contains(&name.as_str()));
        variables.extend(own.map(|(name, value)| json!({ "name": name, "value": value })));
        variables
    }

    fn secrets(&self) -> Vec<Value> {
        let there = !self.service.environment.secrets.is_empty();
        there.then(|| json!({ "secretRef": { "name": self.service.name } })).into_iter().collect()
    }

    fn volumes(&self) -> (Vec<Value>, Vec<Value>) {
        let mut volumes = vec![json!({ "name": "oscar-config", "configMap": { "name": self.service.name } })];
        let mut mounts = vec![json!({ "name": "oscar-config", "readOnly": true, "mountPath": "/oscar/config" })];
        if self.has_store {
            volumes.push(json!({ "name": "minio-user", "secret": { "secretName": "minio" } }));
            let path = "/var/run/secrets/providers/minio.default";
            mounts.push(json!({ "name": "minio-user", "readOnly": true, "mountPath": path }));
        }
        if self.variable().is_none() {
            volumes.push(json!({ "name": "event", "secret": { "secretName": event_secret_name(self.id) } }));
            mounts.push(json!({ "name": "event", "readOnly": true, "mountPath": "/marea/event" }));
        }
        (volumes, mounts)
    }
}

/// The text of an event that fits a variable.
pub fn is_variable(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    (text.len() < VARIABLE && !text.contains('\0')).then_some(text)
}

/// The name of the Secret of a long event.
pub fn event_secret_name(id: EventId) -> String {
    format!("event-{id}")
}

/// The nodes that a service asks for.
pub fn node_selector(service: &Service) -> BTreeMap<String, String> {
    let text = service.annotations.get(NODES).map(String::as_str).unwrap_or_default();
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

fn own((key, value): (&'static str, &str)) -> (&'static str, String) {
    (key, value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<'a>(service: &'a Service, body: &'a [u8]) -> Run<'a> {
        let id = EventId([1; 16]);
        Run { service, id, body, attempt: 1, sync: false, namespace: "fn", image: "marea:1", has_store: true }
    }

    #[test]
    fn a_short_event_is_a_variable_and_a_long_or_binary_one_a_file() {
        let service = crate::functions::service::read(json!({ "name": "cow", "image": "i", "script": "s" })).unwrap();
        let short = run(&service, b"pay $(HOME) $5");
        let job = serde_json::to_value(short.job().unwrap()).unwrap();
        let container = &job["spec"]["template"]["spec"]["containers"][0];
        let event = container["env"].as_array().unwrap().iter().find(|v| v["name"] == "EVENT").unwrap();
        assert_eq!(event["value"], "pay $$(HOME) $$5");
        assert!(short.event_secret().is_none());
        assert_eq!(container["resources"]["requests"], container["resources"]["limits"]);
        assert_eq!(job["spec"]["backoffLimit"], 0);
        let long = vec![b'x'; VARIABLE];
        for body in [long.as_slice(), &[0xff, 0xfe], b"a\0b"] {
            let run = run(&service, body);
            let job = serde_json::to_value(run.job().unwrap()).unwrap();
            assert!(!job.to_string().contains("\"EVENT\""));
            assert!(job.to_string().contains("/marea/event"));
            let secret = run.event_secret().unwrap();
            assert_eq!(secret.data.unwrap()["event"].0, body);
        }
    }
}
