//! The cluster: the calls that the gateway makes to the API server, all in one namespace. Making what is there
//! already is no failure when it is the same by construction, and removing what is gone is none either.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures::AsyncReadExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};

use crate::functions::objects::facts::{self, PodFact};
use crate::functions::objects::job::CONTAINER;
use crate::kubernetes::KubernetesError;
use crate::kubernetes::client::call;

/// One namespace of the cluster.
#[derive(Clone)]
pub struct Cluster {
    /// The connection.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
}

/// Why an object could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Making {
    /// The name is taken.
    #[error("it is there already")]
    Exists,
    /// The object is wrong: another attempt ends the same.
    #[error("{0}")]
    Wrong(String),
    /// Anything else, which may pass.
    #[error(transparent)]
    Other(#[from] KubernetesError),
}

/// Connects: by a kubeconfig, or as a pod of the cluster.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, KubernetesError> {
    let place = kubeconfig.map_or("(the pod's service account)".to_owned(), |path| path.display().to_string());
    let fault = |reason: String| KubernetesError::Kubeconfig { path: place.clone(), reason };
    let mut config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| fault(error.to_string()))?;
            let options = KubeConfigOptions::default();
            kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|error| fault(error.to_string()))?
        }
        None => kube::Config::incluster().map_err(|error| fault(error.to_string()))?,
    };
    config.connect_timeout = Some(Duration::from_secs(3));
    // A watch ends by itself before that: silence for so long is a connection that is dead.
    config.read_timeout = Some(Duration::from_secs(40));
    config.default_retry = false;
    Client::try_from(config).map_err(|error| fault(error.to_string()))
}

impl Cluster {
    /// The namespace's objects of a kind.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn make<K>(&self, what: &'static str, name: &str, object: &K) -> Result<K, Making>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        let parameters = PostParams::default();
        let api = self.api::<K>();
        let sent = tokio::time::timeout(crate::kubernetes::client::CALL, api.create(&parameters, object)).await;
        match sent {
            Ok(Ok(made)) => Ok(made),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 && status.reason == "AlreadyExists" => {
                Err(Making::Exists)
            }
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 400 | 413 | 422) => {
                Err(Making::Wrong(status.message.clone()))
            }
            Ok(Err(error)) => Err(KubernetesError::of(what, name, &error).into()),
            Err(_) => {
                let reason = "no answer in time".to_owned();
                Err(KubernetesError::Unavailable { what, object: name.to_owned(), reason }.into())
            }
        }
    }

    /// Makes a Job. `Exists` means that an earlier attempt of ours made it: its name says so.
    pub async fn make_job(&self, job: &Job) -> Result<(), Making> {
        let name = job.metadata.name.clone().unwrap_or_default();
        self.make("create Job", &name, job).await.map(drop)
    }

    /// Makes a Secret, or finds it made.
    pub async fn make_secret(&self, secret: &Secret) -> Result<(), Making> {
        let name = secret.metadata.name.clone().unwrap_or_default();
        self.make("create Secret", &name, secret).await.map(drop)
    }

    /// Writes a Secret whether it is there or not.
    pub async fn put_secret(&self, secret: &Secret) -> Result<(), Making> {
        let name = secret.metadata.name.clone().unwrap_or_default();
        match self.make_secret(secret).await {
            Err(Making::Exists) => {
                let api = self.api::<Secret>();
                let old = call("read Secret", &name, api.get(&name)).await?;
                let label =
                    |secret: &Secret| secret.metadata.labels.as_ref().and_then(|l| l.get("oscar_service")).cloned();
                if label(&old) != label(secret) {
                    return Err(Making::Exists);
                }
                call("replace Secret", &name, api.replace(&name, &PostParams::default(), secret)).await?;
                Ok(())
            }
            other => other,
        }
    }

    /// Makes a service's ConfigMap; gives its version.
    pub async fn make_config(&self, config: &ConfigMap) -> Result<String, Making> {
        let name = config.metadata.name.clone().unwrap_or_default();
        let made = self.make("create ConfigMap", &name, config).await?;
        Ok(made.metadata.resource_version.unwrap_or_default())
    }

    /// Replaces a service's ConfigMap; gives its version.
    pub async fn replace_config(&self, config: &ConfigMap) -> Result<String, KubernetesError> {
        let name = config.metadata.name.clone().unwrap_or_default();
        let api = self.api::<ConfigMap>();
        let made = call("replace ConfigMap", &name, api.replace(&name, &PostParams::default(), config)).await?;
        Ok(made.metadata.resource_version.unwrap_or_default())
    }

    /// Removes a service's ConfigMap. False when there is none.
    pub async fn delete_config(&self, name: &str) -> Result<bool, KubernetesError> {
        let api = self.api::<ConfigMap>();
        gone(call("delete ConfigMap", name, api.delete(name, &DeleteParams::default())).await.map(drop))
    }

    /// Removes a Secret.
    pub async fn delete_secret(&self, name: &str) -> Result<bool, KubernetesError> {
        let api = self.api::<Secret>();
        gone(call("delete Secret", name, api.delete(name, &DeleteParams::default())).await.map(drop))
    }

    /// The values of a Secret; none when there is no such Secret.
    pub async fn secret(&self, name: &str) -> Result<BTreeMap<String, String>, KubernetesError> {
        let secret = match call("read Secret", name, self.api::<Secret>().get(name)).await {
            Err(KubernetesError::Missing { .. }) => return Ok(BTreeMap::new()),
            other => other?,
        };
        let values = secret.data.unwrap_or_default().into_iter();
        Ok(values.map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned())).collect())
    }

    /// Removes a Job and its pods.
    pub async fn delete_job(&self, name: &str) -> Result<bool, KubernetesError> {
        let api = self.api::<Job>();
        gone(call("delete Job", name, api.delete(name, &DeleteParams::background())).await.map(drop))
    }

    /// The pods that a selector names.
    pub async fn pods(&self, selector: &str) -> Result<Vec<PodFact>, KubernetesError> {
        let parameters = ListParams::default().labels(selector);
        let list = call("list pods", selector, self.api::<Pod>().list(&parameters)).await?;
        Ok(list.items.iter().map(facts::pod).collect())
    }

    /// What the script's container of a pod has written. A script may write anything: what is no text is shown so.
    pub async fn log(&self, pod: &str, timestamps: bool) -> Result<String, KubernetesError> {
        let parameters = LogParams { container: Some(CONTAINER.to_owned()), timestamps, ..LogParams::default() };
        let api = self.api::<Pod>();
        let whole = async {
            let mut bytes = Vec::new();
            let mut stream = std::pin::pin!(api.log_stream(pod, &parameters).await?);
            stream.read_to_end(&mut bytes).await.map_err(kube::Error::ReadEvents)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        call("read the log of pod", pod, whole).await
    }

    /// All nodes.
    pub async fn nodes(&self) -> Result<Vec<Node>, KubernetesError> {
        let api = Api::<Node>::all(self.client.clone());
        Ok(call("list nodes", "", api.list(&ListParams::default())).await?.items)
    }

    /// The API server's version.
    pub async fn version(&self) -> Result<String, KubernetesError> {
        Ok(call("read the version of", "/version", self.client.apiserver_version()).await?.git_version)
    }
}

fn gone(result: Result<(), KubernetesError>) -> Result<bool, KubernetesError> {
    match result {
        Ok(()) => Ok(true),
        Err(KubernetesError::Missing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
