//! Objects: what a service and its runs are in Kubernetes, under OSCAR's labels and keys. A service is one
//! ConfigMap (and a Secret, where it has secret variables); nothing else is kept of it.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::ObjectMeta;

use super::service::{MinioProvider, Service};

pub mod facts;
pub mod job;

/// Marks what the gateway made.
pub const MANAGED: (&str, &str) = ("app.kubernetes.io/managed-by", "marea");
/// The selector of services' ConfigMaps.
pub const SERVICES: &str = "oscar_service,app.kubernetes.io/managed-by=marea";
/// The selector of Jobs and their pods.
pub const RUNS: &str = "oscar.grycap/user-service=true,marea.dev/event";
/// The annotation with the buckets that a service made.
pub const BUCKETS: &str = "marea.dev/made-buckets";
/// The key of the service in its ConfigMap.
pub const CONFIG_KEY: &str = "function_config.yaml";
/// The key of its script.
pub const SCRIPT_KEY: &str = "script.sh";

/// A service as the API server has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The service, with its script; its secret variables have no values.
    pub service: Service,
    /// The object's version.
    pub version: String,
    /// The buckets that were made for it.
    pub made: Vec<String>,
}

/// The ConfigMap of a service. `made` are the buckets that were made for it.
pub fn config_map(service: &Service, namespace: &str, made: &[String]) -> Result<ConfigMap, String> {
    let yaml = serde_saphyr::to_string(&service.without_secrets()).map_err(|error| error.to_string())?;
    let annotations = BTreeMap::from([(BUCKETS.to_owned(), made.join(","))]);
    Ok(ConfigMap {
        metadata: meta(service, namespace, annotations),
        data: Some(BTreeMap::from([(CONFIG_KEY.to_owned(), yaml), (SCRIPT_KEY.to_owned(), service.script.clone())])),
        ..ConfigMap::default()
    })
}

/// The Secret of a service's secret variables.
pub fn secret(service: &Service, namespace: &str) -> Option<Secret> {
    let secrets = &service.environment.secrets;
    if secrets.is_empty() {
        return None;
    }
    let data = secrets.iter().map(|(key, value)| (key.clone(), ByteString(value.clone().into_bytes())));
    Some(Secret {
        metadata: meta(service, namespace, BTreeMap::new()),
        data: Some(data.collect()),
        ..Secret::default()
    })
}

fn meta(service: &Service, namespace: &str, annotations: BTreeMap<String, String>) -> ObjectMeta {
    let labels = [("oscar_service", service.name.as_str()), MANAGED];
    ObjectMeta {
        name: Some(service.name.clone()),
        namespace: Some(namespace.to_owned()),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..ObjectMeta::default()
    }
}

/// Reads a service back. An object that a person has damaged is told by name.
pub fn entry(object: &ConfigMap) -> Result<Entry, String> {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let data = object.data.as_ref();
    let text = data.and_then(|data| data.get(CONFIG_KEY)).ok_or(format!("ConfigMap {name}: no {CONFIG_KEY}"))?;
    let mut service: Service =
        serde_saphyr::from_str(text).map_err(|error| format!("ConfigMap {name}, {CONFIG_KEY}: {error}"))?;
    service.script = data.and_then(|data| data.get(SCRIPT_KEY)).cloned().unwrap_or_default();
    if service.name != name {
        return Err(format!("ConfigMap {name} holds a service of the name {:?}", service.name));
    }
    let made = object.metadata.annotations.as_ref().and_then(|a| a.get(BUCKETS)).map(String::as_str);
    let made = made.unwrap_or_default().split(',').filter(|bucket| !bucket.is_empty());
    Ok(Entry {
        made: made.map(str::to_owned).collect(),
        version: object.metadata.resource_version.clone().unwrap_or_default(),
        service,
    })
}

/// The service as a client gets it: with the cluster's own store among its providers, as OSCAR has it.
pub fn shown(service: &Service, own: Option<&MinioProvider>) -> Service {
    let mut shown = service.clone();
    if let Some(own) = own {
        shown.storage_providers.minio.insert("default".to_owned(), own.clone());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::service;

    #[test]
    fn a_service_comes_back_as_it_went_in_except_for_its_secrets() {
        let value = serde_json::json!({
            "name": "cow", "image": "img:1", "script": "#!/bin/sh\necho \"moo: $X\"\n", "cpu": 1.0,
            "input": [{ "storage_provider": "minio", "path": "cow/in" }],
            "output": [{ "storage_provider": "s3.far", "path": "out/x", "suffix": ["txt"] }],
            "environment": { "variables": { "Y": "yes", "N": "0123", "T": "a: b # c" }, "secrets": { "KEY": "hidden" } },
            "storage_providers": { "s3": { "far": { "access_key": "a", "secret_key": "b", "region": "r" } },
                "minio": { "default": { "endpoint": "http://m", "access_key": "root", "secret_key": "deep" } } },
        });
        let mut service = service::read(value).unwrap();
        service.token = "t0".to_owned();
        let object = config_map(&service, "fn", &["cow".to_owned()]).unwrap();
        let text = serde_json::to_string(&object).unwrap();
        assert!(!text.contains("hidden") && !text.contains("deep"), "{text}");
        let back = entry(&object).unwrap();
        assert_eq!(back.made, ["cow"]);
        service.environment.secrets.insert("KEY".to_owned(), String::new());
        service.storage_providers.minio.clear();
        assert_eq!(back.service, service);
        assert_eq!(secret(&service, "fn").unwrap().metadata.name.as_deref(), Some("cow"));
    }
}
