//! The client: one connection pool to one API server, with a time limit on every call that is not a watch.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};

use super::KubernetesError;

/// A connection that is not made within this is a server that is not there.
const CONNECT: Duration = Duration::from_secs(3);
/// An answer that takes longer than this is no answer.
pub(crate) const CALL: Duration = Duration::from_secs(10);

/// Reads a kubeconfig and makes the client. Nothing is sent yet.
pub async fn connect(kubeconfig: &Path) -> Result<kube::Client, KubernetesError> {
    let fault = |reason: String| KubernetesError::Kubeconfig { path: kubeconfig.display().to_string(), reason };
    let file = Kubeconfig::read_from(kubeconfig).map_err(|error| fault(chain(&error)))?;
    let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .map_err(|error| fault(chain(&error)))?;
    config.connect_timeout = Some(CONNECT);
    // Repeating is decided where the meaning of an answer is known: a 429 of an eviction is a budget that holds.
    config.default_retry = false;
    kube::Client::try_from(config).map_err(|error| fault(chain(&error)))
}

/// Asks the API server whether it is well. This is cheap: no object is read.
pub async fn probe(client: &kube::Client, limit: Duration) -> Result<(), KubernetesError> {
    let unavailable =
        |reason: String| KubernetesError::Unavailable { what: "probe of", object: "/readyz".to_owned(), reason };
    let request = http_request("/readyz").map_err(&unavailable)?;
    match tokio::time::timeout(limit, client.request_text(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(KubernetesError::of("probe of", "/readyz", &error)),
        Err(_) => Err(unavailable(format!("no answer within {limit:?}"))),
    }
}

fn http_request(path: &str) -> Result<axum::http::Request<Vec<u8>>, String> {
    axum::http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())
}

/// Runs one call under the usual limit and sorts its failure.
pub(crate) async fn call<T>(
    what: &'static str,
    object: &str,
    work: impl Future<Output = kube::Result<T>>,
) -> Result<T, KubernetesError> {
    match tokio::time::timeout(CALL, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(KubernetesError::of(what, object, &error)),
        Err(_) => Err(KubernetesError::Unavailable {
            what,
            object: object.to_owned(),
            reason: format!("no answer within {CALL:?}"),
        }),
    }
}

/// An error with all its causes in one line: the innermost one (`connection refused`) is what helps.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            let _ = write!(text, ": {inner_text}");
        }
        cause = inner.source();
    }
    text
}
