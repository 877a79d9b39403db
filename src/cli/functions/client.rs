//! The client: how the other commands talk to a gateway, or to any OSCAR of the same API.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use super::Access;
use crate::cli::socket::segment;
use crate::functions::fdl::Cluster;

/// A run that is waited for ends within the gateway's own limit; anything else is quick.
const LIMIT: Duration = Duration::from_secs(600);

/// A gateway, and who asks it.
#[derive(Debug, Clone)]
pub struct Gateway {
    client: reqwest::Client,
    endpoint: String,
    user: String,
    password: String,
}

impl Gateway {
    /// The gateway of the arguments, or of the file that names one.
    pub fn of(access: &Access, named: Option<&Cluster>) -> anyhow::Result<Self> {
        let named = named.filter(|cluster| access.endpoint.is_none() && !cluster.endpoint.is_empty());
        let endpoint = match named {
            Some(cluster) => cluster.endpoint.clone(),
            None => access.endpoint.clone().unwrap_or_else(|| "http://127.0.0.1:30301".to_owned()),
        };
        let given = named.filter(|cluster| !cluster.auth_password.is_empty());
        let (user, password) = match given {
            Some(cluster) => (cluster.auth_user.clone(), cluster.auth_password.clone()),
            None => (access.user.clone(), password(access.password_file.as_deref())?),
        };
        let insecure = access.insecure || named.is_some_and(|cluster| cluster.ssl_verify == Some(false));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(LIMIT)
            .tls_danger_accept_invalid_certs(insecure)
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self { client, endpoint: endpoint.trim_end_matches('/').to_owned(), user, password })
    }

    /// The gateway behind a socket.
    pub fn behind(socket: &Path, user: &str, password: &str) -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().unix_socket(socket).timeout(LIMIT).build();
        let (user, password) = (user.to_owned(), password.to_owned());
        let client = client.context("cannot make an HTTP client")?;
        Ok(Self { client, endpoint: "http://gateway".to_owned(), user, password })
    }

    /// Waits until it answers that it is ready.
    pub async fn ready(&self, limit: Duration) -> anyhow::Result<()> {
        let began = crate::clock::monotonic();
        loop {
            match self.send(self.request(Method::GET, &["readyz"]), &[]).await {
                Ok(_) => return Ok(()),
                Err(error) if began.elapsed() >= limit => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
            }
        }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A request by the administrator. `path` are segments.
    pub fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let path: Vec<String> = path.iter().map(|part| segment(part)).collect();
        let url = format!("{}/{}", self.endpoint, path.join("/"));
        self.client.request(method, url).basic_auth(&self.user, Some(&self.password))
    }

    /// Sends it; the status and the text of the answer. What is not a success is an error, except those of `but`.
    pub async fn send(&self, request: RequestBuilder, but: &[StatusCode]) -> anyhow::Result<(StatusCode, String)> {
        let response = request
            .send()
            .await
            .with_context(|| format!("the gateway {} does not answer; name another with --endpoint", self.endpoint))?;
        let status = response.status();
        let text = response.text().await.context("the gateway's answer was cut off")?;
        if status == StatusCode::UNAUTHORIZED {
            bail!(
                "{} does not take the name {:?} with this password; see --user and --password-file",
                self.endpoint,
                self.user
            );
        }
        if !status.is_success() && !but.contains(&status) {
            let text = text.trim();
            bail!("{}", if text.is_empty() { format!("{} answers {status}", self.endpoint) } else { text.to_owned() });
        }
        Ok((status, text))
    }

    /// Reads JSON.
    pub async fn get(&self, path: &[&str]) -> anyhow::Result<Value> {
        let (_, text) = self.send(self.request(Method::GET, path), &[]).await?;
        serde_json::from_str(&text).context("the gateway's answer is no JSON")
    }
}

fn password(file: Option<&Path>) -> anyhow::Result<String> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the password from {}", file.display()))?;
        return Ok(text.trim_end().to_owned());
    }
    match std::env::var("MAREA_FUNCTIONS_PASSWORD") {
        Ok(password) => Ok(password),
        Err(_) => bail!("no password: set MAREA_FUNCTIONS_PASSWORD, or name a file with --password-file"),
    }
}
