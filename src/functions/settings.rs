//! Settings: how the gateway is run. One TOML file, whose every key has a default and whose unknown keys are
//! errors with their line; secrets are never in it but in files of a folder beside it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::queue::Patience;
use super::service::MinioProvider;

/// The file.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// The folder of the queue.
    pub state: PathBuf,
    /// The folder of secrets.
    pub secrets: PathBuf,
    /// Where services and Jobs live.
    pub namespace: String,
    /// How the API server is reached from outside the cluster; without it, as a pod is told.
    pub kubeconfig: Option<PathBuf>,
    /// The image that brings the supervisor into a pod.
    pub image: String,
    /// Bounds.
    pub limits: Limits,
    /// Failures.
    pub retry: Retry,
    /// The object store.
    pub storage: Storage,
    /// How machines that are no nodes are reached.
    pub ssh: Ssh,
    /// Machines that are no nodes, whose runs are run by udocker.
    #[serde(rename = "machine")]
    pub machines: Vec<MachineEntry>,
}

/// `[ssh]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ssh {
    /// The private key; none: the secret `ssh-key`.
    pub key: Option<PathBuf>,
    /// Their side of it, below the user's home.
    pub program: String,
    /// Seconds out of reach after which what runs on a machine counts as lost.
    pub lost_seconds: u32,
}

/// `[[machine]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineEntry {
    /// Its name.
    pub name: String,
    /// Where SSH reaches it.
    pub address: String,
    /// Its port.
    #[serde(default = "ssh_port")]
    pub port: u16,
    /// The ordinary user that runs are of.
    pub user: String,
    /// What its runs may ask for together, as Kubernetes writes it.
    pub cpu: String,
    /// Memory likewise.
    pub memory: String,
    /// What services choose it by; its pool is `marea/pool`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

fn ssh_port() -> u16 {
    22
}

impl Default for Ssh {
    fn default() -> Self {
        Self { key: None, program: super::machine::PROGRAM.to_owned(), lost_seconds: 300 }
    }
}

/// `[limits]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Jobs in flight in all.
    pub jobs: usize,
    /// Jobs in flight of one service.
    pub jobs_per_service: usize,
    /// Finished Jobs of a service that are kept for their logs.
    pub history: usize,
    /// Bytes of one event.
    pub event_bytes: usize,
    /// Bytes of one service.
    pub service_bytes: usize,
    /// Seconds that a synchronous call waits for its result.
    pub sync_seconds: u64,
    /// Days that finished events stay known, to tell a late duplicate.
    pub keep_days: u32,
}

/// `[retry]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all.
    pub attempts: u32,
    /// Seconds before the second attempt; doubled each time.
    pub first_seconds: u32,
    /// Seconds at most.
    pub most_seconds: u32,
    /// Seconds for which an image may fail to be pulled before the attempt counts as failed.
    pub pull_seconds: u32,
}

/// `[storage]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Which store.
    pub kind: StorageKind,
    /// Its address for clients outside the cluster.
    pub public_endpoint: Option<String>,
    /// The webhook target's name in its ARN.
    pub target: Option<String>,
}

/// Which store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageKind {
    /// MinIO, or what speaks S3 with its ARNs.
    #[default]
    Minio,
    /// None: services have no buckets, events come through the API alone.
    None,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080),
            state: PathBuf::from("/var/lib/marea-functions"),
            secrets: PathBuf::from("/etc/marea/secrets"),
            namespace: "marea-functions".to_owned(),
            kubeconfig: None,
            image: concat!("marea.local/marea:", env!("CARGO_PKG_VERSION")).to_owned(),
            limits: Limits::default(),
            retry: Retry::default(),
            storage: Storage::default(),
            ssh: Ssh::default(),
            machines: Vec::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            jobs: 200,
            jobs_per_service: 50,
            history: 50,
            // An event too long for a variable travels in a Secret, which holds 1 MiB at most.
            event_bytes: 1_000_000,
            // A service is one ConfigMap, which holds 1 MiB at most.
            service_bytes: 1_000_000,
            sync_seconds: 120,
            keep_days: 7,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 3, first_seconds: 5, most_seconds: 300, pull_seconds: 300 }
    }
}

impl Retry {
    /// As the queue takes it.
    pub fn patience(&self, attempts: u32) -> Patience {
        let seconds = |n: u32| jiff::SignedDuration::from_secs(i64::from(n));
        Patience { attempts, first: seconds(self.first_seconds), most: seconds(self.most_seconds) }
    }
}

impl Limits {
    /// How long a synchronous call waits.
    pub fn sync(&self) -> Duration {
        Duration::from_secs(self.sync_seconds)
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read or is wrong.
    #[error("{file}:{line}: {message}")]
    File {
        /// Which.
        file: String,
        /// Its line, or zero.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A secret is not there.
    #[error("the secret {path} cannot be read: {source}; write it there, or name another folder with `secrets`")]
    Secret {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Settings {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| SettingsError::File {
            file: file.clone(),
            line: 0,
            message: e.to_string(),
        })?;
        let settings: Self = toml::from_str(&text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(start).filter(|b| *b == b'\n').count();
            SettingsError::File { file: file.clone(), line, message: error.message().to_owned() }
        })?;
        match settings.wrong_machine() {
            Some(message) => Err(SettingsError::File { file, line: 0, message }),
            None => Ok(settings),
        }
    }
}

impl Settings {
    /// What is wrong with a machine.
    fn wrong_machine(&self) -> Option<String> {
        use crate::model::resources::{quantity, quantity_milli};
        let mut names = std::collections::BTreeSet::new();
        self.machines.iter().find_map(|one| {
            let name = &one.name;
            if !names.insert(name) {
                return Some(format!("[[machine]]: two are named {name:?}"));
            }
            let right = quantity_milli(&one.cpu).is_some() && quantity(&one.memory).is_some();
            (!right).then(|| format!("[[machine]] {name:?}: write cpu = \"4\" and memory = \"8Gi\""))
        })
    }
}

/// What is secret. Its `Debug` shows none of it.
#[derive(Clone)]
pub struct Secrets {
    /// The administrator's name.
    pub username: String,
    /// The administrator's password.
    pub password: String,
    /// What the store proves itself with at /events.
    pub webhook_token: Option<String>,
    /// What the daemon proves itself with at /marea/queue.
    pub daemon_token: Option<String>,
    /// The store.
    pub minio: Option<MinioProvider>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Secrets {
    /// Reads the folder.
    pub fn read(settings: &Settings) -> Result<Self, SettingsError> {
        let folder = &settings.secrets;
        let minio = match settings.storage.kind {
            StorageKind::None => None,
            StorageKind::Minio => Some(MinioProvider {
                endpoint: secret(&folder.join("minio/endpoint"))?,
                access_key: secret(&folder.join("minio/accessKey"))?,
                secret_key: secret(&folder.join("minio/secretKey"))?,
                region: optional(&folder.join("minio/region"))?.unwrap_or_else(|| "us-east-1".to_owned()),
                verify: optional(&folder.join("minio/verify"))?.is_none_or(|text| text != "false"),
            }),
        };
        Ok(Self {
            username: secret(&folder.join("username"))?,
            password: secret(&folder.join("password"))?,
            webhook_token: optional(&folder.join("webhook-token"))?,
            daemon_token: optional(&folder.join("daemon-token"))?,
            minio,
        })
    }
}

fn secret(path: &Path) -> Result<String, SettingsError> {
    let fault = |source| SettingsError::Secret { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(fault)?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(fault(std::io::Error::new(std::io::ErrorKind::InvalidData, "it is empty")));
    }
    Ok(text.to_owned())
}

fn optional(path: &Path) -> Result<Option<String>, SettingsError> {
    if path.exists() { secret(path).map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_secrets_are_not_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f.toml");
        std::fs::write(&file, "listen = \"127.0.0.1:1\"\n[limits]\njobz = 3\n").unwrap();
        let error = Settings::read(&file).unwrap_err().to_string();
        assert!(error.contains("f.toml:3: ") && error.contains("jobz"), "{error}");
        let mut settings = Settings { secrets: folder.path().to_owned(), ..Settings::default() };
        settings.storage.kind = StorageKind::None;
        std::fs::write(folder.path().join("username"), "tide\n").unwrap();
        let error = Secrets::read(&settings).unwrap_err().to_string();
        assert!(error.contains("password"), "{error}");
        std::fs::write(folder.path().join("password"), "moon\n").unwrap();
        let secrets = Secrets::read(&settings).unwrap();
        assert_eq!((secrets.password.as_str(), secrets.webhook_token.as_deref()), ("moon", None));
        assert!(!format!("{secrets:?}").contains("moon"));
    }
}
