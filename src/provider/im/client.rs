//! The client: the REST API 2.0 of the Infrastructure Manager, request by request. Every way in which it can fail says
//! what to do about it: try again, give up, or have a person mend something.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Certificate, Client, Method, StatusCode};
use serde_json::Value;

use super::auth;
use super::vm::{self, Vm};

/// How often a question is asked before it is given up; an order is given once.
const TRIES: u32 = 3;

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// It may work later. Whether an order was carried out is not known.
    Retry,
    /// It will never work: this is not the server that it should be.
    GiveUp,
    /// A person must mend something: credentials, the RADL, rights.
    Tell,
    /// What was asked for is not there (any more).
    Gone,
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ImError {
    /// What to do.
    pub advice: Advice,
    /// What was seen.
    pub text: String,
}

/// How the server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Such as `https://im.example.org/im`.
    pub url: String,
    /// The auth file.
    pub auth: PathBuf,
    /// Certificates to trust beside the usual ones (PEM).
    pub ca: Option<PathBuf>,
    /// The longest that an answer may take: an order to a cloud takes its time.
    pub timeout: Duration,
}

/// Talks to one server.
#[derive(Debug)]
pub struct ImClient {
    settings: Settings,
    http: Client,
}

impl ImClient {
    /// Prepares to talk; nothing is asked yet. The error says what is wrong with the settings.
    pub fn new(settings: Settings) -> Result<Self, String> {
        // A second installation is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder =
            Client::builder().timeout(settings.timeout).connect_timeout(Duration::from_secs(5)).no_proxy();
        if let Some(path) = &settings.ca {
            let pem = std::fs::read(path).map_err(|e| format!("ca {}: {e}", path.display()))?;
            for certificate in Certificate::from_pem_bundle(&pem).map_err(|e| format!("ca {}: {e}", path.display()))? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let http = builder.build().map_err(|e| format!("{}: {e}", settings.url))?;
        Ok(Self { settings, http })
    }

    /// The server's version.
    pub async fn version(&self) -> Result<String, ImError> {
        self.question("/version", "text/plain").await
    }

    /// Creates an infrastructure and returns its ID at once; what is in it comes up by and by.
    pub async fn create(&self, radl: &str) -> Result<String, ImError> {
        let answer = self.send(Method::POST, "/infrastructures?async=true", "text/uri-list", Some(radl)).await?;
        last_part(&answer).ok_or_else(|| self.strange("/infrastructures", &answer))
    }

    /// The IDs of the user's infrastructures.
    pub async fn infrastructures(&self) -> Result<Vec<String>, ImError> {
        Ok(self.question("/infrastructures", "text/uri-list").await?.lines().filter_map(last_part).collect())
    }

    /// The states of the virtual machines, by their number in the infrastructure.
    pub async fn states(&self, id: &str) -> Result<BTreeMap<String, String>, ImError> {
        let path = format!("/infrastructures/{id}/state");
        let text = self.question(&path, "application/json").await?;
        let value: Value = serde_json::from_str(&text).map_err(|_| self.strange(&path, &text))?;
        let states = value.pointer("/state/vm_states").and_then(Value::as_object);
        let states = states.ok_or_else(|| self.strange(&path, &text))?;
        Ok(states.iter().map(|(id, state)| (id.clone(), state.as_str().unwrap_or("unknown").to_owned())).collect())
    }

    /// The state of the infrastructure as a whole.
    pub async fn state(&self, id: &str) -> Result<String, ImError> {
        let path = format!("/infrastructures/{id}/state");
        let text = self.question(&path, "application/json").await?;
        let value: Value = serde_json::from_str(&text).map_err(|_| self.strange(&path, &text))?;
        let state = value.pointer("/state/state").and_then(Value::as_str);
        state.map(str::to_owned).ok_or_else(|| self.strange(&path, &text))
    }

    /// What configuring said so far.
    pub async fn messages(&self, id: &str) -> Result<String, ImError> {
        self.question(&format!("/infrastructures/{id}/contmsg"), "text/plain").await
    }

    /// The infrastructure's RADL.
    pub async fn radl(&self, id: &str) -> Result<String, ImError> {
        self.question(&format!("/infrastructures/{id}/radl"), "text/plain").await
    }

    /// All that another Infrastructure Manager needs to take the infrastructure over.
    pub async fn data(&self, id: &str) -> Result<String, ImError> {
        self.question(&format!("/infrastructures/{id}/data"), "application/json").await
    }

    /// All virtual machines by one question, and how far each is made. What it answers grows with all that ever were.
    pub async fn whole(&self, id: &str) -> Result<Vec<Vm>, ImError> {
        let text = self.data(id).await?;
        vm::exported(&text).ok_or_else(|| self.strange(&format!("/infrastructures/{id}/data"), &text))
    }

    /// One virtual machine as RADL.
    pub async fn machine(&self, id: &str, vm: &str) -> Result<String, ImError> {
        self.question(&format!("/infrastructures/{id}/vms/{vm}"), "text/plain").await
    }

    /// Adds what the RADL deploys; answers with the numbers of the new virtual machines.
    pub async fn add(&self, id: &str, radl: &str, configure: bool) -> Result<Vec<String>, ImError> {
        let path = format!("/infrastructures/{id}?context={configure}");
        let answer = self.send(Method::POST, &path, "text/uri-list", Some(radl)).await?;
        Ok(answer.lines().filter_map(last_part).collect())
    }

    /// Removes virtual machines, all or none: where one of them is not there, none is removed.
    pub async fn remove(&self, id: &str, vms: &[String], configure: bool) -> Result<(), ImError> {
        let path = format!("/infrastructures/{id}/vms/{}?context={configure}", vms.join(","));
        self.send(Method::DELETE, &path, "text/plain", None).await.map(drop)
    }

    /// `stop`, `start` or `reboot` of a virtual machine.
    pub async fn order(&self, id: &str, vm: &str, order: &str) -> Result<(), ImError> {
        self.send(Method::PUT, &format!("/infrastructures/{id}/vms/{vm}/{order}"), "text/plain", None).await.map(drop)
    }

    /// Makes an image of a virtual machine's first disk, which goes with the infrastructure; answers with its URL.
    pub async fn snapshot(&self, id: &str, vm: &str, name: &str) -> Result<String, ImError> {
        let path = format!("/infrastructures/{id}/vms/{vm}/disks/0/snapshot?image_name={name}&auto_delete=yes");
        let answer = self.send(Method::PUT, &path, "text/plain", None).await?;
        if answer.contains("://") { Ok(answer.trim().to_owned()) } else { Err(self.strange(&path, &answer)) }
    }

    /// Destroys an infrastructure and all that is in it.
    pub async fn destroy(&self, id: &str) -> Result<(), ImError> {
        self.send(Method::DELETE, &format!("/infrastructures/{id}"), "text/plain", None).await.map(drop)
    }

    /// Asks; what may pass is waited out for a moment.
    async fn question(&self, path: &str, accept: &str) -> Result<String, ImError> {
        let mut pause = Duration::from_millis(200);
        for _ in 1..TRIES {
            match self.send(Method::GET, path, accept, None).await {
                Err(error) if error.advice == Advice::Retry => tokio::time::sleep(pause).await,
                other => return other,
            }
            pause *= 3;
        }
        self.send(Method::GET, path, accept, None).await
    }

    async fn send(&self, method: Method, path: &str, accept: &str, body: Option<&str>) -> Result<String, ImError> {
        let tell = |text: String| ImError { advice: Advice::Tell, text };
        // Read anew each time: changed credentials are taken up without a new start.
        let auth = auth::header(&self.settings.auth).map_err(tell)?;
        let url = format!("{}{path}", self.settings.url.trim_end_matches('/'));
        let mut request =
            self.http.request(method, url).header("Authorization", auth.reveal()).header("Accept", accept);
        if let Some(radl) = body {
            request = request.header("Content-Type", "text/plain").body(radl.to_owned());
        }
        let response = request.send().await.map_err(|e| self.unheard(e))?;
        let status = response.status();
        let text = response.text().await.map_err(|e| self.unheard(e))?;
        if status.is_success() { Ok(text) } else { Err(self.judge(status, path, &text)) }
    }

    fn judge(&self, status: StatusCode, path: &str, body: &str) -> ImError {
        let said = serde_json::from_str::<Value>(body)
            .ok()
            .and_then(|value| ["message", "detail"].iter().find_map(|key| Some(value.get(*key)?.as_str()?.to_owned())));
        let said = said.unwrap_or_else(|| body.chars().take(400).collect());
        let (advice, hint) = match status.as_u16() {
            401 => (Advice::Tell, "; see the line `type = InfrastructureManager` of the auth file"),
            403 => (
                Advice::Tell,
                "; the user or password of the auth file is another than the infrastructure was made with",
            ),
            404 if said.contains("Invalid VM ID") || said.contains("Deleted VM") => (Advice::Gone, ""),
            404 if said.contains("Invalid infrastructure ID") => {
                (Advice::Gone, "; it was destroyed, or belongs to somebody else")
            }
            400 => (Advice::Tell, ""),
            // Asked to wait, in conflict with another order, or broken inside: all pass.
            408 | 409 | 429 | 500..=599 => (Advice::Retry, ""),
            _ => (Advice::GiveUp, "; is this an Infrastructure Manager of version 2?"),
        };
        ImError { advice, text: format!("{}{path} answered {status}: {said}{hint}", self.settings.url) }
    }

    fn strange(&self, path: &str, answer: &str) -> ImError {
        let answer: String = answer.chars().take(100).collect();
        ImError {
            advice: Advice::Retry,
            text: format!("{}{path} answered what is not known: `{answer}`", self.settings.url),
        }
    }

    fn unheard(&self, error: reqwest::Error) -> ImError {
        let late = error.is_timeout();
        let error = error.without_url();
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
        let cause = causes.last().map(ToString::to_string).unwrap_or_default();
        let text = if late {
            format!("{} did not answer within {} s", self.settings.url, self.settings.timeout.as_secs())
        } else {
            format!("{}: {cause}", self.settings.url)
        };
        // A certificate that is not trusted does not become so by waiting.
        let advice = if text.contains("certificate") { Advice::Tell } else { Advice::Retry };
        ImError { advice, text }
    }
}

fn last_part(line: &str) -> Option<String> {
    let part = line.trim().rsplit('/').next()?;
    (!part.is_empty() && line.contains('/')).then(|| part.to_owned())
}
