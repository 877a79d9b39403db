//! Buckets: what services need in the cluster's own store. Buckets and folders are made for a service, and each
//! bucket that events come from is told which folders to tell of. One target takes the events of all services,
//! so the store is never restarted for one; which function an object is for is decided here.

use crate::functions::event::Routes;
use crate::functions::service::{ADOPT, MinioProvider, Service};
use crate::functions::settings::StorageKind;
use crate::s3::{Endpoint, Keys, Rule, S3Error, Store};

/// The cluster's own store.
#[derive(Debug, Clone)]
pub struct Buckets {
    store: Option<Store>,
    arn: String,
}

/// Why a service's buckets are not as it needs them.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// Another's.
    #[error(
        "the bucket {0} already exists and no service of this cluster made it: name another, or set the annotation \
         {ADOPT} to \"true\" to use it as it is"
    )]
    Exists(String),
    /// There is no store.
    #[error("this gateway has no object store (storage kind \"none\"): a service may have no input or output here")]
    NoStore,
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] S3Error),
}

impl Buckets {
    /// The store of the settings.
    pub fn open(kind: StorageKind, provider: Option<&MinioProvider>, target: &str) -> Result<Self, S3Error> {
        let Some(provider) = provider.filter(|_| kind == StorageKind::Minio) else {
            return Ok(Self { store: None, arn: String::new() });
        };
        let endpoint =
            Endpoint { url: provider.endpoint.clone(), region: provider.region.clone(), verify: provider.verify };
        let keys = Keys { access: provider.access_key.clone(), secret: provider.secret_key.clone() };
        let arn = format!("arn:minio:sqs:{}:{target}:webhook", provider.region);
        Ok(Self { store: Some(Store::new(&endpoint, Some(keys))?), arn })
    }

    /// The buckets that must be made for a service, when that is allowed. `ours` are those of other services.
    pub async fn wanted(&self, service: &Service, ours: &[String]) -> Result<Vec<String>, BucketError> {
        let mut names: Vec<&str> = service.own_places().map(|(place, _)| place.bucket_and_folder().0).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let store = self.store.as_ref().ok_or(BucketError::NoStore)?;
        let adopts = service.annotations.get(ADOPT).is_some_and(|text| text == "true");
        let mut wanted = Vec::new();
        for name in names {
            if ours.iter().any(|bucket| bucket == name) {
                continue;
            }
            if !store.bucket_exists(name).await? {
                wanted.push(name.to_owned());
            } else if !adopts {
                return Err(BucketError::Exists(name.to_owned()));
            }
        }
        Ok(wanted)
    }

    /// Makes buckets, and the folders of a service, whether they are there or not.
    pub async fn make(&self, service: &Service, buckets: &[String]) -> Result<(), BucketError> {
        let Some(store) = &self.store else { return Ok(()) };
        for bucket in buckets {
            match store.create_bucket(bucket).await {
                Ok(()) | Err(S3Error::Exists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for (place, _) in service.own_places() {
            let (bucket, folder) = place.bucket_and_folder();
            if !folder.is_empty() {
                store.put_bytes(bucket, &folder, Vec::new()).await?;
            }
        }
        Ok(())
    }

    /// Tells a bucket which folders to tell of: those of the routes, none when there are none.
    pub async fn tell(&self, bucket: &str, routes: &Routes) -> Result<(), S3Error> {
        let Some(store) = &self.store else { return Ok(()) };
        let rule = |prefix: String| Rule {
            id: format!("marea-{}", prefix.trim_end_matches('/').replace('/', "-")),
            arn: self.arn.clone(),
            prefix,
            suffix: String::new(),
        };
        let rules: Vec<Rule> = routes.folders(bucket).into_iter().map(rule).collect();
        match store.set_rules(bucket, &self.arn, &rules).await {
            Err(error) if error.is_missing() && rules.is_empty() => Ok(()),
            other => other,
        }
    }

    /// Removes buckets as far as they are empty, folders' markers aside. One with objects stays: they are the
    /// user's.
    pub async fn remove_empty(&self, buckets: &[String]) -> Result<Vec<String>, S3Error> {
        let Some(store) = &self.store else { return Ok(Vec::new()) };
        let mut stay = Vec::new();
        for bucket in buckets {
            let entries = match store.list(bucket, "").await {
                Ok(entries) => entries,
                Err(error) if error.is_missing() => continue,
                Err(error) => return Err(error),
            };
            if entries.iter().any(|entry| !(entry.key.ends_with('/') && entry.size == 0)) {
                stay.push(bucket.clone());
                continue;
            }
            for entry in &entries {
                store.delete(bucket, &entry.key).await?;
            }
            match store.delete_bucket(bucket).await {
                Ok(()) => {}
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(stay)
    }
}
