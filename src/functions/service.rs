//! The service: one function as OSCAR's API and FDL files write it, field by field, so that what a client sent
//! is what it gets back. Reading is as lenient as Go's JSON (any case of a key, `null` for nothing) and takes
//! the shapes of OSCAR's version 3 where clients still send them; what cannot be run here is refused by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub mod check;
pub mod shape;

/// The provider that every service has: this cluster's own store.
pub const DEFAULT_PROVIDER: &str = "minio.default";
/// Who owns a service that was made with the administrator's name and password.
pub const ADMIN: &str = "cluster_admin";
/// The annotation that bounds a service's Jobs in flight.
pub const LIMIT: &str = "marea.dev/jobs-in-flight";
/// The annotation that bounds how often an event is tried.
pub const ATTEMPTS: &str = "marea.dev/attempts";
/// The annotation that allows a service to use buckets which are there already.
pub const ADOPT: &str = "marea.dev/adopt-buckets";

/// A function.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "the fields are OSCAR's")]
pub struct Service {
    /// Its name: a DNS label of at most 39 characters.
    pub name: String,
    /// The cluster's name in the client's file.
    pub cluster_id: String,
    /// Memory of one run; also its limit.
    pub memory: String,
    /// CPU of one run; also its limit.
    pub cpu: String,
    /// Memory of all runs at once; empty: no bound.
    pub total_memory: String,
    /// CPU of all runs at once; empty: no bound.
    pub total_cpu: String,
    /// Disk of one run.
    pub ephemeral_storage_request: String,
    /// One GPU per run.
    pub enable_gpu: bool,
    /// One SGX enclave per run.
    pub enable_sgx: bool,
    /// Kept; images are pulled when a run needs them.
    pub image_prefetch: bool,
    /// Kept; there is no Knative here.
    pub synchronous: Synchronous,
    /// Kept; nothing is delegated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub federation: Option<Value>,
    /// The supervisor's log level.
    pub log_level: String,
    /// The container image.
    pub image: String,
    /// Kept; the supervisor runs in any image.
    pub alpine: bool,
    /// What a caller of this one service proves itself with. Made by the gateway.
    pub token: String,
    /// OSCAR's name for: do not fetch the input.
    pub file_stage_in: bool,
    /// Where events come from.
    pub input: Vec<Place>,
    /// Where results go.
    pub output: Vec<Place>,
    /// The script.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub script: String,
    /// Secrets of a registry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<String>,
    /// OSCAR's exposed services: refused when it asks for a port.
    pub expose: Expose,
    /// Variables of the script.
    pub environment: Environment,
    /// Annotations of the Jobs.
    pub annotations: BTreeMap<String, String>,
    /// Kept.
    pub vo: String,
    /// Labels of the Jobs.
    pub labels: BTreeMap<String, String>,
    /// The stores that the service names.
    pub storage_providers: Providers,
    /// Kept.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub clusters: BTreeMap<String, Value>,
    /// Who made it.
    pub owner: String,
    /// Where its Jobs run.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Refused unless empty.
    pub interlink_node_name: String,
    /// Kept.
    pub visibility: String,
    /// Kept.
    pub allowed_users: Vec<String>,
    /// Kept.
    pub isolation_level: String,
    /// Kept.
    pub bucket_list: Vec<String>,
    /// Refused unless empty.
    pub mount: Place,
    /// Refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<Value>,
    /// Refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kserve: Option<Value>,
}

/// A path of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// `minio.default`, `s3.NAME` and the like.
    pub storage_provider: String,
    /// `BUCKET/FOLDER`.
    pub path: String,
    /// Only names that end so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suffix: Vec<String>,
    /// Only names that begin so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefix: Vec<String>,
    /// Options of a mount.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub options: String,
}

/// Bounds of Knative's replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Synchronous {
    /// At least.
    pub min_scale: i64,
    /// At most.
    pub max_scale: i64,
}

/// Variables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// In plain sight.
    pub variables: BTreeMap<String, String>,
    /// In a Secret; their values are never given back.
    pub secrets: BTreeMap<String, String>,
}

/// OSCAR's exposed services.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Expose {
    /// Replicas at least.
    pub min_scale: i64,
    /// Replicas at most.
    pub max_scale: i64,
    /// Ports of the container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_port: Vec<i64>,
    /// When to add a replica.
    pub cpu_threshold: i64,
    /// Of the ingress.
    pub rewrite_target: bool,
    /// Ports of the nodes.
    #[serde(rename = "nodePort", alias = "nodeport", skip_serializing_if = "Vec::is_empty")]
    pub node_port: Vec<i64>,
    /// Run the image's own command.
    pub default_command: bool,
    /// Ask for a password.
    pub set_auth: bool,
    /// How.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth_type: String,
    /// Of the probe.
    pub health_path: String,
    /// Of the probe.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub probe_mode: String,
}

/// The stores of a service, by kind and name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Providers {
    /// S3 of Amazon.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub s3: BTreeMap<String, S3Provider>,
    /// MinIO and whatever speaks S3 at an address of its own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub minio: BTreeMap<String, MinioProvider>,
    /// Kept: no function here reads or writes it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub onedata: BTreeMap<String, Value>,
    /// Kept: no function here reads or writes it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub webdav: BTreeMap<String, Value>,
    /// Kept: no function here reads or writes it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rucio: BTreeMap<String, Value>,
}

/// S3 of Amazon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct S3Provider {
    /// Key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Region.
    pub region: String,
}

/// An S3 store with an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MinioProvider {
    /// Where it is.
    pub endpoint: String,
    /// Whether its certificate is checked.
    pub verify: bool,
    /// Key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Region.
    pub region: String,
}

impl Default for MinioProvider {
    fn default() -> Self {
        let empty = String::new();
        Self {
            endpoint: empty.clone(),
            verify: true,
            access_key: empty.clone(),
            secret_key: empty,
            region: "us-east-1".to_owned(),
        }
    }
}

impl Place {
    /// The provider's kind and name: `minio` alone means `minio.default`.
    pub fn provider(&self) -> (&str, &str) {
        let text = self.storage_provider.trim();
        match text.split_once('.') {
            Some((kind, name)) => (kind, name),
            None if text.is_empty() => ("minio", "default"),
            None => (text, "default"),
        }
    }

    /// The bucket and the folder in it, which ends with `/` unless it is empty.
    pub fn bucket_and_folder(&self) -> (&str, String) {
        let path = self.path.trim_matches([' ', '/']);
        match path.split_once('/') {
            Some((bucket, folder)) if !folder.trim_matches('/').is_empty() => {
                (bucket, format!("{}/", folder.trim_matches('/')))
            }
            Some((bucket, _)) => (bucket, String::new()),
            None => (path, String::new()),
        }
    }

    /// True when an object of this key is one that the place is for.
    pub fn takes(&self, key: &str) -> bool {
        let (_, folder) = self.bucket_and_folder();
        let Some(rest) = key.strip_prefix(&folder) else { return false };
        let name = rest.rsplit('/').next().unwrap_or(rest);
        (self.prefix.is_empty() || self.prefix.iter().any(|p| name.starts_with(p.as_str())))
            && (self.suffix.is_empty() || self.suffix.iter().any(|s| name.ends_with(s.as_str())))
    }
}

impl Service {
    /// What one run needs, as Kubernetes names it.
    pub fn requests(&self) -> BTreeMap<String, String> {
        let mut requests =
            BTreeMap::from([("cpu".to_owned(), self.cpu.clone()), ("memory".to_owned(), self.memory.clone())]);
        if !self.ephemeral_storage_request.is_empty() {
            requests.insert("ephemeral-storage".to_owned(), self.ephemeral_storage_request.clone());
        }
        if self.enable_gpu {
            requests.insert("nvidia.com/gpu".to_owned(), "1".to_owned());
        }
        if self.enable_sgx {
            requests.insert("sgx.intel.com/enclave".to_owned(), "1".to_owned());
        }
        requests
    }

    /// The labels of the service's objects: the client's own, and OSCAR's over them.
    pub fn all_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        let name = &self.name;
        let ours = [
            ("oscar.grycap/user-service", "true".to_owned()),
            ("oscar_service", name.clone()),
            ("applicationId", name.clone()),
            ("queue", format!("root.oscar-queue.{name}")),
            ("owner_name", self.owner.clone()),
        ];
        labels.extend(ours.map(|(key, value)| (key.to_owned(), value)));
        labels
    }

    /// Most Jobs in flight: `most`, the annotation, and what the totals hold, whichever is least; at least one.
    pub fn limit(&self, most: usize) -> usize {
        use crate::model::resources::quantity_milli;
        let of = |total: &str, one: &str| {
            let (total, one) = (quantity_milli(total)?, quantity_milli(one)?);
            usize::try_from(total.checked_div(one)?).ok()
        };
        let annotated = self.annotations.get(LIMIT).and_then(|text| text.parse().ok());
        let totals = [of(&self.total_cpu, &self.cpu), of(&self.total_memory, &self.memory)];
        totals.into_iter().chain([annotated]).flatten().fold(most, usize::min).max(1)
    }

    /// How often an event is tried in all.
    pub fn attempts(&self, usual: u32) -> u32 {
        self.annotations.get(ATTEMPTS).and_then(|text| text.parse().ok()).unwrap_or(usual).clamp(1, 99)
    }

    /// The buckets of this cluster's own store that the service needs, inputs first.
    pub fn own_places(&self) -> impl Iterator<Item = (&Place, bool)> {
        let inputs = self.input.iter().map(|place| (place, true));
        let outputs = self.output.iter().map(|place| (place, false));
        inputs.chain(outputs).filter(|(place, _)| place.provider() == ("minio", "default"))
    }

    /// The service as its ConfigMap holds it: no script (it has a key of its own), no values of secrets, and no
    /// credentials of the cluster's own store, which every Job finds in files.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut bare = Self { script: String::new(), ..self.clone() };
        bare.environment.secrets.values_mut().for_each(String::clear);
        bare.storage_providers.minio.remove("default");
        bare
    }
}

/// Why a service is not taken: the field, what is wrong with it, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Refused {
    /// The field, with its place in a list.
    pub field: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl Refused {
    /// Names a field and the reason.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

/// Reads a service from JSON, fills in what is usual, and refuses what cannot be run.
pub fn read(value: Value) -> Result<Service, Refused> {
    let mut service = shape::service(value)?;
    check::complete(&mut service);
    check::check(&service)?;
    Ok(service)
}

#[cfg(test)]
mod tests;
