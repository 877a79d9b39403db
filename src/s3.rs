//! S3: an object store spoken to over HTTP, as MinIO and Amazon have it. Buckets, objects of any size in constant
//! memory, and the rules by which a bucket tells of new objects. Requests are signed by `rusty-s3`.

use std::fmt;

use reqwest::{Method, StatusCode, Url};

pub mod notification;
mod request;
mod transfer;

pub use notification::Rule;
pub use transfer::Download;

use request::Request;

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://minio.minio:9000`.
    pub url: String,
    /// Its region.
    pub region: String,
    /// Are its certificates checked?
    pub verify: bool,
}

/// Who asks. Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The name.
    pub access: String,
    /// The secret.
    pub secret: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("access", &self.access).finish_non_exhaustive()
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// What the store is called by is wrong.
    #[error("the S3 endpoint `{endpoint}` is wrong: {reason}")]
    Endpoint {
        /// As it was given.
        endpoint: String,
        /// Why it cannot be one.
        reason: String,
    },
    /// No such bucket or object.
    #[error("{what}: there is none")]
    Missing {
        /// `object in/a.txt of bucket photos`.
        what: String,
    },
    /// It is there already.
    #[error("{what} exists already")]
    Exists {
        /// `bucket photos`.
        what: String,
    },
    /// The store said no.
    #[error("{what}: the store refused ({status} {code}): {message}")]
    Refused {
        /// What was asked.
        what: String,
        /// HTTP's number.
        status: u16,
        /// S3's word, such as `AccessDenied`.
        code: String,
        /// Its explanation.
        message: String,
    },
    /// It gave no answer, or broke off.
    #[error("{what}: no answer from {endpoint}: {reason}")]
    Silent {
        /// What was asked.
        what: String,
        /// Whom.
        endpoint: String,
        /// What was seen.
        reason: String,
    },
    /// Its answer is not what S3 says.
    #[error("{what}: an answer that is not S3's: {reason}")]
    Strange {
        /// What was asked.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The local side of a transfer failed.
    #[error("{what}: {source}")]
    Local {
        /// What was moved.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl S3Error {
    /// May the same request succeed later?
    pub fn passes(&self) -> bool {
        match self {
            Self::Silent { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 429,
            Self::Endpoint { .. }
            | Self::Missing { .. }
            | Self::Exists { .. }
            | Self::Strange { .. }
            | Self::Local { .. } => false,
        }
    }

    /// Is what was asked for not there?
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its length.
    pub size: u64,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its length.
    pub size: u64,
    /// Its version's tag.
    pub etag: String,
}

/// A store, ready to be asked.
#[derive(Clone)]
pub struct Store {
    client: reqwest::Client,
    url: Url,
    region: String,
    keys: Option<Keys>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("url", &self.url.as_str()).field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Store {
    /// A store with a client of its own. Without keys, requests are not signed.
    pub fn new(endpoint: &Endpoint, keys: Option<Keys>) -> Result<Self, S3Error> {
        Self::with(endpoint, keys, reqwest::Client::builder())
    }

    /// The same with a client that resolves names or trusts in its own way.
    pub fn with(endpoint: &Endpoint, keys: Option<Keys>, client: reqwest::ClientBuilder) -> Result<Self, S3Error> {
        let wrong = |reason: String| S3Error::Endpoint { endpoint: endpoint.url.clone(), reason };
        let url: Url = endpoint.url.parse().map_err(|e| wrong(format!("{e}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong("it must begin with http:// or https:// and name a host".into()));
        }
        let client = request::client(client, endpoint.verify).map_err(|e| wrong(e.to_string()))?;
        Ok(Self { client, url, region: endpoint.region.clone(), keys })
    }

    /// Makes a bucket. One that is there already, whoever owns it, is an error.
    pub async fn create_bucket(&self, bucket: &str) -> Result<(), S3Error> {
        // Amazon's oldest region says yes to a bucket that is there.
        if self.bucket_exists(bucket).await? {
            return Err(S3Error::Exists { what: format!("bucket {bucket}") });
        }
        let mut request = Request::new(Method::PUT, bucket, None);
        if self.region != "us-east-1" && !self.region.is_empty() {
            request.body = format!(
                "<CreateBucketConfiguration xmlns=\"{}\"><LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
                request::NAMESPACE,
                self.region
            )
            .into();
        }
        match self.send(&request).await {
            Err(S3Error::Refused { code, .. }) if code.starts_with("BucketAlready") => {
                Err(S3Error::Exists { what: format!("bucket {bucket}") })
            }
            other => other.map(drop),
        }
    }

    /// Is there such a bucket? One that may not be looked into counts as there.
    pub async fn bucket_exists(&self, bucket: &str) -> Result<bool, S3Error> {
        match self.send(&Request::new(Method::HEAD, bucket, None)).await {
            Ok(_) | Err(S3Error::Refused { status: 403, .. }) => Ok(true),
            Err(S3Error::Missing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes an empty bucket.
    pub async fn delete_bucket(&self, bucket: &str) -> Result<(), S3Error> {
        self.send(&Request::new(Method::DELETE, bucket, None)).await.map(drop)
    }

    /// Writes a small object.
    pub async fn put_bytes(&self, bucket: &str, key: &str, bytes: impl Into<bytes::Bytes>) -> Result<(), S3Error> {
        let mut request = Request::new(Method::PUT, bucket, Some(key));
        request.body = bytes.into();
        self.send(&request).await.map(drop)
    }

    /// Reads a small object whole.
    pub async fn get_bytes(&self, bucket: &str, key: &str) -> Result<bytes::Bytes, S3Error> {
        let request = Request::new(Method::GET, bucket, Some(key));
        let response = self.send(&request).await?;
        response.bytes().await.map_err(|e| self.silent(&request, e))
    }

    /// What an object is, without its bytes.
    pub async fn head(&self, bucket: &str, key: &str) -> Result<Head, S3Error> {
        let response = self.send(&Request::new(Method::HEAD, bucket, Some(key))).await?;
        let text = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        Ok(Head { size: text("content-length").parse().unwrap_or(0), etag: text("etag").to_owned() })
    }

    /// Removes an object; one that is not there is no error.
    pub async fn delete(&self, bucket: &str, key: &str) -> Result<(), S3Error> {
        match self.send(&Request::new(Method::DELETE, bucket, Some(key))).await {
            Err(S3Error::Refused { status, .. }) if status == StatusCode::NOT_FOUND.as_u16() => Ok(()),
            other => other.map(drop),
        }
    }

    /// All objects whose key begins with `prefix`, in order of key.
    pub async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<Entry>, S3Error> {
        let mut found = Vec::new();
        let mut next = String::new();
        loop {
            let mut request = Request::new(Method::GET, bucket, None);
            request.query.insert("encoding-type", "url".into());
            request.query.insert("list-type", "2".into());
            request.query.insert("prefix", prefix.to_owned());
            if !next.is_empty() {
                request.query.insert("continuation-token", next);
            }
            let text = self.text(&request).await?;
            let page = rusty_s3::actions::ListObjectsV2::parse_response(&text)
                .map_err(|e| S3Error::Strange { what: request.what(), reason: e.to_string() })?;
            found.extend(page.contents.into_iter().map(|c| Entry { key: c.key, size: c.size.unwrap_or(0) }));
            match page.next_continuation_token {
                Some(token) => next = token,
                None => return Ok(found),
            }
        }
    }
}
