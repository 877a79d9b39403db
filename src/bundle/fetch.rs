//! Fetching: an official download, resumed where it broke off, and kept only when its checksum is right.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;

use super::digest;
use super::{BundleError, at};

/// How often a download that breaks off is taken up again.
const TRIES: u32 = 4;

/// A client that honours the proxy settings of the environment.
pub fn client() -> Result<reqwest::Client, BundleError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(Duration::from_secs(30))
        .build()
        .map_err(|e| BundleError::Download { url: String::new(), reason: e.to_string() })
}

/// Fetches `url` to `to`. What came before stays in `TO.part`; what is wrong is thrown away.
pub async fn fetch(client: &reqwest::Client, url: &str, sha256: &str, to: &Path) -> Result<(), BundleError> {
    let part = to.with_extension("part");
    let mut last = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(200 << attempt)).await;
        }
        match piece(client, url, &part).await {
            Ok(()) => {
                let (got, _) = digest::of_file(&part)?;
                if got == sha256.to_ascii_lowercase() {
                    return std::fs::rename(&part, to).map_err(at(to));
                }
                std::fs::remove_file(&part).map_err(at(&part))?;
                return Err(BundleError::Checksum { what: url.to_owned(), pinned: sha256.to_owned(), got });
            }
            Err(Stop::Final(error)) => return Err(error),
            Err(Stop::Again(reason)) => last = reason,
        }
    }
    Err(BundleError::Download { url: url.to_owned(), reason: last })
}

enum Stop {
    Again(String),
    Final(BundleError),
}

/// Takes up the download where `part` ends.
async fn piece(client: &reqwest::Client, url: &str, part: &Path) -> Result<(), Stop> {
    let file_error = |e| Stop::Final(at(part)(e));
    let have = std::fs::metadata(part).map_or(0, |m| m.len());
    let mut request = client.get(url);
    if have > 0 {
        request = request.header("range", format!("bytes={have}-"));
    }
    let response = request.send().await.map_err(|e| {
        let reason = with_causes(&e);
        if e.is_connect() {
            Stop::Final(BundleError::Download { url: url.to_owned(), reason })
        } else {
            Stop::Again(reason)
        }
    })?;
    let status = response.status();
    if have > 0 && status == reqwest::StatusCode::RANGE_NOT_SATISFIABLE {
        // All of it is here already, or what is here is not a beginning of it: the checksum tells.
        return Ok(());
    }
    if status.is_server_error() {
        return Err(Stop::Again(format!("the server answered {status}")));
    }
    if !status.is_success() {
        return Err(Stop::Final(BundleError::Download {
            url: url.to_owned(),
            reason: format!("the server answered {status}"),
        }));
    }
    let resumed = status == reqwest::StatusCode::PARTIAL_CONTENT;
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .append(resumed)
        .truncate(!resumed)
        .open(part)
        .map_err(file_error)?;
    let mut stream = response.bytes_stream();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(|e| Stop::Again(with_causes(&e)))?;
        file.write_all(&bytes).map_err(file_error)?;
    }
    file.sync_all().map_err(file_error)
}

fn with_causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
