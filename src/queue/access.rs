//! Access: how a source proves who it is, and the one HTTP client that those which speak HTTP share. Secrets are
//! read anew at each use and go into headers only.

use k8s_openapi::api::core::v1 as api;
use reqwest::{Client, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::{CALL, QueueError};
use crate::config::queues::{Access, Secret};

/// Reads the secret, when there is one.
pub(super) async fn secret(access: &Access, kube: &kube::Client) -> Result<Option<String>, QueueError> {
    let fail = |reason: String| QueueError::Secret { reason };
    let text = match &access.secret {
        None => return Ok(None),
        Some(Secret::File(path)) => {
            tokio::fs::read_to_string(path).await.map_err(|error| fail(format!("{}: {error}", path.display())))?
        }
        Some(Secret::Env(name)) => std::env::var(name).map_err(|error| fail(format!("${name}: {error}")))?,
        Some(Secret::Kubernetes { namespace, name, key }) => {
            let what = format!("Secret {namespace}/{name}");
            let secrets: kube::Api<api::Secret> = kube::Api::namespaced(kube.clone(), namespace);
            let object = match tokio::time::timeout(CALL, secrets.get(name)).await {
                Ok(Ok(object)) => object,
                Ok(Err(error)) => return Err(fail(format!("{what}: {error}"))),
                Err(_) => return Err(fail(format!("{what}: no answer within {CALL:?}"))),
            };
            let value = object.data.unwrap_or_default().remove(key);
            let value = value.ok_or_else(|| fail(format!("{what} has no key `{key}`")))?;
            String::from_utf8(value.0).map_err(|_| fail(format!("{what}: `{key}` is no text")))?
        }
    };
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// An HTTP server and how we prove who we are to it.
pub(super) struct Http {
    pub(super) url: String,
    access: Access,
    kube: kube::Client,
    client: Option<Client>,
}

impl Http {
    pub(super) fn new(url: String, access: Access, kube: kube::Client) -> Self {
        Self { url, access, kube, client: None }
    }

    fn unreachable(&self, error: &reqwest::Error) -> QueueError {
        // The address is named by ourselves; an error's own address would show a query.
        let mut reason = String::new();
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(inner) = cause {
            reason = inner.to_string();
            cause = inner.source();
        }
        QueueError::Unreachable { place: self.url.clone(), reason }
    }

    /// Asks; the answer's head must come in time, its body may go on for ever.
    pub(super) async fn get(&mut self, path: &str, query: &[(&str, &str)]) -> Result<Response, QueueError> {
        let secret = secret(&self.access, &self.kube).await?;
        let client = if let Some(client) = &self.client {
            client.clone()
        } else {
            // A second installation is refused and harmless.
            let _ = rustls::crypto::ring::default_provider().install_default();
            // Credentials do not follow a redirection, so none is followed.
            let builder = Client::builder().connect_timeout(CALL).redirect(reqwest::redirect::Policy::none());
            let client = builder.build().map_err(|error| self.unreachable(&error))?;
            self.client.insert(client).clone()
        };
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.url))
            .map_err(|error| QueueError::Unreachable { place: self.url.clone(), reason: error.to_string() })?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = client.get(url);
        request = match (&self.access.username, secret) {
            (Some(user), Some(password)) => request.basic_auth(user, Some(password)),
            (None, Some(token)) => request.bearer_auth(token),
            (_, None) => request,
        };
        let response = match tokio::time::timeout(CALL, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.unreachable(&error)),
            Err(_) => {
                let reason = format!("no answer within {} s", CALL.as_secs());
                return Err(QueueError::Unreachable { place: self.url.clone(), reason });
            }
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let place = format!("{}{path}", self.url);
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(QueueError::Unreachable { place, reason: status.to_string() });
        }
        let body = tokio::time::timeout(CALL, response.text()).await.ok().and_then(Result::ok).unwrap_or_default();
        let body: String = body.trim().chars().take(200).collect();
        Err(QueueError::Refused { place, reason: format!("{status} {body}").trim_end().to_owned() })
    }

    /// Asks for JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &mut self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, QueueError> {
        let body = self.get(path, query).await?.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.nonsense(path, &error.to_string()))
    }

    /// It answered, and not what was asked for.
    pub(super) fn nonsense(&self, path: &str, reason: &str) -> QueueError {
        QueueError::Nonsense { place: format!("{}{path}", self.url), reason: reason.to_owned() }
    }

    /// There is no such thing there.
    pub(super) fn missing(&self, what: String) -> QueueError {
        QueueError::Refused { place: self.url.clone(), reason: what }
    }
}
