//! Answers as OSCAR's clients expect them: a status and a line of text, and who may ask at all.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use super::Core;
use crate::functions::store::StoreFault;
use crate::kubernetes::KubernetesError;

/// An answer that is not the usual one.
#[derive(Debug)]
pub(super) struct Answer(pub(super) StatusCode, pub(super) String);

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.0, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], self.1).into_response();
        match self.0 {
            StatusCode::UNAUTHORIZED => {
                let value = header::HeaderValue::from_static("Basic realm=\"Authorization Required\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response
    }
}

impl Answer {
    /// With this status and text.
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self(status, text.into())
    }

    /// What was sent is wrong.
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// There is none.
    pub(super) fn missing(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// Not now.
    pub(super) fn not_now(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

impl From<StoreFault> for Answer {
    fn from(fault: StoreFault) -> Self {
        Self::not_now(format!("nothing was taken: {fault}"))
    }
}

impl From<KubernetesError> for Answer {
    fn from(error: KubernetesError) -> Self {
        let status =
            if error.is_retriable() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR };
        Self::new(status, error.to_string())
    }
}

/// The administrator, by name and password.
pub(super) fn admin(core: &Core, headers: &HeaderMap) -> Result<(), Answer> {
    if is_admin(core, headers) {
        return Ok(());
    }
    Err(Answer::new(StatusCode::UNAUTHORIZED, "the name or the password is wrong"))
}

/// True when the administrator asks.
pub(super) fn is_admin(core: &Core, headers: &HeaderMap) -> bool {
    let given =
        credentials(headers, "Basic").and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    given.is_some_and(|given| same(&given, format!("{}:{}", core.secrets.username, core.secrets.password).as_bytes()))
}

/// True when the caller has one of these tokens.
pub(super) fn has_token<'a>(headers: &HeaderMap, tokens: impl IntoIterator<Item = &'a str>) -> bool {
    let Some(given) = credentials(headers, "Bearer") else { return false };
    // Every one is compared, so that the time tells nothing.
    tokens
        .into_iter()
        .filter(|token| !token.is_empty())
        .fold(false, |found, token| same(given.as_bytes(), token.as_bytes()) | found)
}

fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (given, rest) = text.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// Compares digests: how long it takes tells nothing about how much was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    Sha256::digest(a) == Sha256::digest(b)
}

/// Reads a body, no longer than `most`.
pub(super) async fn body(body: Body, most: usize, what: &str) -> Result<Vec<u8>, Answer> {
    match axum::body::to_bytes(body, most).await {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(inner) = cause {
                if inner.is::<http_body_util::LengthLimitError>() {
                    let text = format!("{what} may have {most} bytes at most; put what is larger into a bucket");
                    return Err(Answer::new(StatusCode::PAYLOAD_TOO_LARGE, text));
                }
                cause = inner.source();
            }
            Err(Answer::bad(format!("the body of the request was cut off: {error}")))
        }
    }
}
