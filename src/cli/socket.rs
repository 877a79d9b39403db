//! The socket: how the other commands talk to a running daemon. Whoever may open the socket may order.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::http::SOCKET;

/// An answer of the daemon takes milliseconds; one that takes this long will not come.
const LIMIT: Duration = Duration::from_secs(10);

/// A connection to the daemon of one state directory.
#[derive(Debug)]
pub struct Daemon {
    client: reqwest::Client,
    path: PathBuf,
}

impl Daemon {
    /// Finds the daemon's socket. It is an error when there is none: no daemon runs on this directory.
    pub fn find(state: &Path) -> anyhow::Result<Self> {
        let path = state.join(SOCKET);
        if !path.exists() {
            bail!(
                "no daemon runs on {}: there is no {}; start one with `marea run` (or `systemctl start marea`), \
                 or name its state directory with `--state`",
                state.display(),
                path.display()
            );
        }
        // reqwest wants a TLS provider even for a unix socket; a second installation is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .unix_socket(path.as_path())
            .timeout(LIMIT)
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self { client, path })
    }

    /// Reads a resource.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.send(self.client.get(url(path))).await
    }

    /// Gives an order.
    pub async fn post<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.send(self.client.post(url(path))).await
    }

    async fn send<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> anyhow::Result<T> {
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                return Err(anyhow::Error::new(error).context(format!(
                    "no daemon answers on {}; is it running, and may you open its socket?",
                    self.path.display()
                )));
            }
            Err(error) => return Err(anyhow::Error::new(error).context("the daemon did not answer")),
        };
        let status = response.status();
        let body = response.bytes().await.context("the daemon's answer was cut off")?;
        if !status.is_success() {
            let reason = serde_json::from_slice::<Value>(&body)
                .ok()
                .and_then(|value| value.get("error")?.as_str().map(str::to_owned))
                .unwrap_or_else(|| String::from_utf8_lossy(&body).trim().to_owned());
            bail!("{reason}");
        }
        serde_json::from_slice(&body).context("the daemon's answer is not what this version of marea reads")
    }
}

fn url(path: &str) -> String {
    format!("http://marea{path}")
}

/// One segment of a path: names are DNS labels, but what is typed may be anything.
pub fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}

/// How a command writes its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn what_is_typed_stays_one_segment() {
        assert_eq!(segment("wn-1.lab"), "wn-1.lab");
        assert_eq!(segment("../x?y"), "..%2Fx%3Fy");
    }
}
