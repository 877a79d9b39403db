//! A request: one signed call of S3, tried again where the network or the server failed, its refusal read.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use reqwest::tls::Certificate;
use reqwest::{Method, Response, StatusCode, Url};

use super::{Keys, S3Error, Store};

/// The name space of S3's documents.
pub(super) const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
/// How often a request is tried.
const TRIES: u32 = 4;
/// How long a signature holds.
const VALID: u64 = 900;

/// One call.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) bucket: String,
    pub(super) key: Option<String>,
    pub(super) query: BTreeMap<&'static str, String>,
    pub(super) headers: BTreeMap<&'static str, String>,
    pub(super) body: Bytes,
}

impl Request {
    pub(super) fn new(method: Method, bucket: &str, key: Option<&str>) -> Self {
        Self {
            method,
            bucket: bucket.to_owned(),
            key: key.map(str::to_owned),
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            body: Bytes::new(),
        }
    }

    /// What it is about, for messages.
    pub(super) fn what(&self) -> String {
        match &self.key {
            Some(key) => format!("object {key} of bucket {}", self.bucket),
            None => format!("bucket {}", self.bucket),
        }
    }
}

/// A client as S3 needs it: no redirects (a signature holds for one address), no answer waited for for ever, and trust in
/// the known authorities also where the image has no list of them.
pub(super) fn client(builder: reqwest::ClientBuilder, verify: bool) -> reqwest::Result<reqwest::Client> {
    let own = rustls_native_certs::load_native_certs().certs;
    let all = own.iter().chain(webpki_root_certs::TLS_SERVER_ROOT_CERTS);
    let certificates = all.filter_map(|c| Certificate::from_der(c.as_ref()).ok());
    builder
        .tls_certs_only(certificates)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(60))
        .tls_danger_accept_invalid_certs(!verify)
        .build()
}

impl Store {
    /// Sends a request and answers with what came back when that is a success.
    pub(super) async fn send(&self, request: &Request) -> Result<Response, S3Error> {
        let mut tried = 1;
        loop {
            match self.once(request).await {
                Err(error) if error.passes() && tried < TRIES => {
                    tracing::debug!(%error, tried, "an S3 request is tried again");
                    tokio::time::sleep(Duration::from_millis(100 << (2 * tried))).await;
                    tried += 1;
                }
                other => return other,
            }
        }
    }

    /// The same, with the answer's text.
    pub(super) async fn text(&self, request: &Request) -> Result<String, S3Error> {
        self.send(request).await?.text().await.map_err(|e| self.silent(request, e))
    }

    /// Sends a request a single time.
    pub(super) async fn once(&self, request: &Request) -> Result<Response, S3Error> {
        let mut call = self.client.request(request.method.clone(), self.signed(request));
        for (name, value) in &request.headers {
            call = call.header(*name, value);
        }
        if !matches!(request.method, Method::GET | Method::HEAD | Method::DELETE) {
            call = call.header("content-length", request.body.len()).body(request.body.clone());
        }
        let response = call.send().await.map_err(|e| self.silent(request, e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        let (code, message) = refusal(&text);
        if status == StatusCode::NOT_FOUND && matches!(code.as_str(), "" | "NoSuchKey" | "NoSuchBucket") {
            let what = if code == "NoSuchBucket" { format!("bucket {}", request.bucket) } else { request.what() };
            return Err(S3Error::Missing { what });
        }
        let code = if code.is_empty() { status.canonical_reason().unwrap_or_default().to_owned() } else { code };
        Err(S3Error::Refused { what: request.what(), status: status.as_u16(), code, message })
    }

    /// The address with its signature. It is a credential: it goes into no message.
    fn signed(&self, request: &Request) -> Url {
        let mut url = self.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        let key = request.key.as_deref().unwrap_or_default();
        url.set_path(&format!("{base}/{}/{}", encode(&request.bucket), encode(key)));
        let query = request.query.iter().map(|(k, v)| (*k, v.as_str()));
        let headers = request.headers.iter().filter(|(k, _)| k.starts_with("x-amz-")).map(|(k, v)| (*k, v.as_str()));
        let Some(Keys { access, secret }) = &self.keys else {
            for (name, value) in query {
                url.query_pairs_mut().append_pair(name, value);
            }
            return url;
        };
        let method = match request.method {
            Method::HEAD => rusty_s3::Method::Head,
            Method::PUT => rusty_s3::Method::Put,
            Method::POST => rusty_s3::Method::Post,
            Method::DELETE => rusty_s3::Method::Delete,
            _ => rusty_s3::Method::Get,
        };
        let now = crate::clock::now();
        rusty_s3::signing::sign(&now, method, url, access, secret, None, &self.region, VALID, query, headers)
    }

    /// The network's failure, told without the signed address.
    pub(super) fn silent(&self, request: &Request, error: reqwest::Error) -> S3Error {
        let error = error.without_url();
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            reason = format!("{reason}: {inner}");
            cause = inner.source();
        }
        S3Error::Silent { what: request.what(), endpoint: self.url.to_string(), reason }
    }
}

/// A key as part of a path: `/` stays, all else that is not plain becomes `%XX`.
fn encode(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// S3's word for what went wrong, and its explanation.
fn refusal(text: &str) -> (String, String) {
    let Ok(document) = roxmltree::Document::parse(text) else { return Default::default() };
    let child = |name: &str| {
        let found = document.root_element().children().find(|n| n.tag_name().name() == name);
        found.and_then(|n| n.text()).unwrap_or_default().to_owned()
    };
    (child("Code"), child("Message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::Endpoint;

    fn store(keys: Option<Keys>) -> Store {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let endpoint = Endpoint { url: "http://127.0.0.1:9/s3/".into(), region: "us-east-1".into(), verify: true };
        Store::new(&endpoint, keys).unwrap()
    }

    #[test]
    fn a_key_is_encoded_once_and_the_endpoints_path_stays() {
        let request = Request::new(Method::GET, "b", Some("in/a b+ñ%41.txt"));
        let url = store(None).signed(&request);
        assert_eq!(url.as_str(), "http://127.0.0.1:9/s3/b/in/a%20b%2B%C3%B1%2541.txt");
    }

    #[tokio::test]
    async fn no_message_holds_a_signature_or_a_secret() {
        let keys = Keys { access: "who".into(), secret: "very-secret".into() };
        let store = store(Some(keys));
        let request = Request::new(Method::GET, "b", Some("k"));
        assert!(store.signed(&request).as_str().contains("X-Amz-Signature"));
        let error = store.once(&request).await.unwrap_err();
        assert!(error.passes(), "{error}");
        let text = format!("{error} {error:?} {store:?}");
        assert!(!text.contains("Signature") && !text.contains("very-secret"), "{text}");
    }

    #[test]
    fn a_refusal_is_read() {
        let text = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>gone</Message></Error>";
        assert_eq!(refusal(text), ("NoSuchKey".to_owned(), "gone".to_owned()));
        assert_eq!(refusal("<html>"), (String::new(), String::new()));
    }
}
