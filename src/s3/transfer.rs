//! A transfer: an object of any size, up or down, in the memory of one part. A download that breaks off is taken
//! up where it stopped, as long as the object is the same one; of an upload, only the broken part is sent again.

use bytes::Bytes;
use futures::StreamExt as _;
use reqwest::Method;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::request::{NAMESPACE, Request};
use super::{S3Error, Store};

/// The least length of a part; S3 wants 5 MiB.
const PART: u64 = 8 << 20;
/// S3's limit is 10,000 parts.
const PARTS: u64 = 9_000;
/// How often a download is taken up again without a byte of progress.
const TRIES: u32 = 4;

/// What was downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Download {
    /// Bytes.
    pub size: u64,
}

impl Store {
    /// Reads an object into `to`.
    pub async fn download(
        &self,
        bucket: &str,
        key: &str,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<Download, S3Error> {
        let mut request = Request::new(Method::GET, bucket, Some(key));
        let local = |source| S3Error::Local { what: format!("object {key} of bucket {bucket}"), source };
        let (mut size, mut failed) = (0_u64, 0);
        loop {
            let response = self.send(&request).await?;
            if let Some(tag) = response.headers().get("etag").and_then(|t| t.to_str().ok()) {
                // What follows must be of the same version.
                request.headers.insert("if-match", tag.to_owned());
            }
            let before = size;
            let mut stream = response.bytes_stream();
            let broken = loop {
                match stream.next().await {
                    None => break None,
                    Some(Err(error)) => break Some(self.silent(&request, error)),
                    Some(Ok(bytes)) => {
                        to.write_all(&bytes).await.map_err(local)?;
                        size += bytes.len() as u64;
                    }
                }
            };
            let Some(error) = broken else {
                to.flush().await.map_err(local)?;
                return Ok(Download { size });
            };
            failed = if size > before { 1 } else { failed + 1 };
            if failed >= TRIES {
                return Err(error);
            }
            if size > 0 {
                request.headers.insert("range", format!("bytes={size}-"));
            }
        }
    }

    /// Writes an object of `size` bytes that are read from `from`: at once when it is small, else in parts.
    pub async fn upload(
        &self,
        bucket: &str,
        key: &str,
        from: &mut (impl AsyncRead + Unpin),
        size: u64,
    ) -> Result<(), S3Error> {
        if size <= PART {
            let bytes = self.part(bucket, key, from, size).await?;
            return self.put_bytes(bucket, key, bytes).await;
        }
        let mut begin = Request::new(Method::POST, bucket, Some(key));
        begin.query.insert("uploads", String::new());
        let text = self.text(&begin).await?;
        let upload = rusty_s3::actions::CreateMultipartUpload::parse_response(&text)
            .map_err(|e| S3Error::Strange { what: begin.what(), reason: e.to_string() })?;
        let id = upload.upload_id();
        let result = self.parts(bucket, key, id, from, size).await;
        if result.is_err() {
            // What was sent must not lie in the store for ever.
            let mut abort = Request::new(Method::DELETE, bucket, Some(key));
            abort.query.insert("uploadId", id.to_owned());
            if let Err(error) = self.send(&abort).await {
                tracing::debug!(%error, "a broken upload could not be removed");
            }
        }
        result
    }

    async fn parts(
        &self,
        bucket: &str,
        key: &str,
        id: &str,
        from: &mut (impl AsyncRead + Unpin),
        size: u64,
    ) -> Result<(), S3Error> {
        let length = PART.max(size.div_ceil(PARTS));
        let (mut left, mut number) = (size, 1_u32);
        let mut list = String::new();
        while left > 0 {
            let mut put = Request::new(Method::PUT, bucket, Some(key));
            put.body = self.part(bucket, key, from, length.min(left)).await?;
            put.query.insert("partNumber", number.to_string());
            put.query.insert("uploadId", id.to_owned());
            let response = self.send(&put).await?;
            let tag = response.headers().get("etag").and_then(|t| t.to_str().ok());
            let tag =
                tag.ok_or_else(|| S3Error::Strange { what: put.what(), reason: "a part without an ETag".into() })?;
            let tag = tag.replace('&', "&amp;").replace('<', "&lt;");
            list.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"));
            left -= put.body.len() as u64;
            number += 1;
        }
        let mut end = Request::new(Method::POST, bucket, Some(key));
        end.query.insert("uploadId", id.to_owned());
        end.body = format!("<CompleteMultipartUpload xmlns=\"{NAMESPACE}\">{list}</CompleteMultipartUpload>").into();
        let text = self.text(&end).await?;
        // S3 may answer 200 and then fail.
        if text.contains("<Error>") {
            return Err(S3Error::Strange { what: end.what(), reason: "the upload could not be completed".into() });
        }
        Ok(())
    }

    /// Exactly `length` bytes of `from`: a file that shrank is an error, not a short object.
    async fn part(
        &self,
        bucket: &str,
        key: &str,
        from: &mut (impl AsyncRead + Unpin),
        length: u64,
    ) -> Result<Bytes, S3Error> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        let read = from.read_exact(&mut bytes).await;
        read.map_err(|source| S3Error::Local { what: format!("object {key} of bucket {bucket}"), source })?;
        Ok(bytes.into())
    }
}
