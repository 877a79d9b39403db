//! The S3 client against a real MinIO.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use marea::s3::{Rule, S3Error};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::minio::Minio;

#[tokio::test]
async fn buckets_and_objects_come_and_go() {
    let minio = Minio::start().await;
    let store = minio.store();
    store.create_bucket("tide").await.unwrap();
    let twice = store.create_bucket("tide").await.unwrap_err();
    assert_eq!(twice.to_string(), "bucket tide exists already");
    let name = "in/ä b+c&d=%41~'(1).txt";
    store.put_bytes("tide", name, "sea").await.unwrap();
    store.put_bytes("tide", "out/", "").await.unwrap();
    assert_eq!(store.get_bytes("tide", name).await.unwrap(), "sea");
    assert_eq!(store.head("tide", name).await.unwrap().size, 3);
    let listed = store.list("tide", "in/").await.unwrap();
    assert_eq!(listed.iter().map(|e| (e.key.as_str(), e.size)).collect::<Vec<_>>(), [(name, 3)]);
    let full = store.delete_bucket("tide").await.unwrap_err();
    assert!(matches!(&full, S3Error::Refused { code, .. } if code == "BucketNotEmpty"), "{full}");
    for key in [name, "out/", "never-there"] {
        store.delete("tide", key).await.unwrap();
    }
    for error in [
        store.get_bytes("tide", name).await.unwrap_err(),
        store.head("tide", name).await.unwrap_err(),
        store.list("nowhere", "").await.unwrap_err(),
    ] {
        assert!(error.is_missing() && !error.passes(), "{error}");
    }
    store.delete_bucket("tide").await.unwrap();
    assert!(!store.bucket_exists("tide").await.unwrap());
}

#[tokio::test]
async fn a_list_of_more_than_a_page_is_whole() {
    let minio = Minio::start().await;
    let store = minio.store();
    store.create_bucket("many").await.unwrap();
    let puts = (0..1100).map(|n| {
        let store = store.clone();
        async move { store.put_bytes("many", &format!("in/{n:04}"), "x").await.unwrap() }
    });
    let mut puts = puts.collect::<Vec<_>>();
    while !puts.is_empty() {
        futures::future::join_all(puts.drain(..puts.len().min(50))).await;
    }
    let listed = store.list("many", "in/").await.unwrap();
    assert_eq!(listed.len(), 1100);
    assert!(listed.is_sorted_by_key(|e| e.key.clone()));
}

#[tokio::test]
async fn a_big_object_goes_up_in_parts_and_comes_down_the_same() {
    let minio = Minio::start().await;
    let store = minio.store();
    store.create_bucket("big").await.unwrap();
    let bytes: Vec<u8> = (0..20_000_001_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    store.upload("big", "in/x", &mut bytes.as_slice(), bytes.len() as u64).await.unwrap();
    assert!(store.head("big", "in/x").await.unwrap().etag.ends_with("-3\""), "three parts");
    let mut back = Vec::new();
    assert_eq!(store.download("big", "in/x", &mut back).await.unwrap().size, bytes.len() as u64);
    assert!(back == bytes);
    // A file that is shorter than was said makes no object, and leaves no parts.
    let short = store.upload("big", "in/short", &mut &bytes[..9_000_000], 10_000_000).await.unwrap_err();
    assert!(matches!(short, S3Error::Local { .. }), "{short}");
    assert!(store.head("big", "in/short").await.unwrap_err().is_missing());
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_was() {
    let minio = Minio::start().await;
    let store = minio.store();
    store.create_bucket("cut").await.unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    store.put_bytes("cut", "x", bytes.clone()).await.unwrap();
    // Signed for the proxy's address, which the Host header carries through it.
    let (proxy, cuts) = cutting_proxy(minio.port, 1_000_000).await;
    let through = crate::minio::store(&format!("http://127.0.0.1:{proxy}"));
    let mut back = Vec::new();
    through.download("cut", "x", &mut back).await.unwrap();
    assert!(back == bytes, "{} of {} bytes", back.len(), bytes.len());
    assert!(cuts.load(Ordering::SeqCst) >= 3, "it was cut");
}

/// A FAKE network: passes each connection on and cuts it after so many bytes of answer.
async fn cutting_proxy(to: u16, after: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let cuts = Arc::new(AtomicUsize::new(0));
    let counter = cuts.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let server = tokio::net::TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let mut left = after;
                let mut buffer = vec![0; 16 << 10];
                while left > 0 {
                    let Ok(read @ 1..) = from_server.read(&mut buffer).await else { break };
                    let _ = to_client.write_all(&buffer[..read.min(left)]).await;
                    left = left.saturating_sub(read);
                }
                up.abort();
            });
        }
    });
    (port, cuts)
}

#[tokio::test]
async fn a_bucket_tells_its_target_and_others_rules_stay() {
    const ARN: &str = "arn:minio:sqs:us-east-1:marea:webhook";
    let mut minio = Minio::with(&[
        ("MINIO_NOTIFY_WEBHOOK_ENABLE_marea", "on"),
        ("MINIO_NOTIFY_WEBHOOK_ENDPOINT_marea", "http://127.0.0.1:9/events"),
        ("MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_marea", "/tmp/marea-never"),
        ("MINIO_NOTIFY_WEBHOOK_ENABLE_other", "on"),
        ("MINIO_NOTIFY_WEBHOOK_ENDPOINT_other", "http://127.0.0.1:9/other"),
    ])
    .await;
    let store = minio.store();
    store.create_bucket("told").await.unwrap();
    let rule = |id: &str, arn: &str, prefix: &str, suffix: &str| Rule {
        id: id.into(),
        arn: arn.into(),
        prefix: prefix.into(),
        suffix: suffix.into(),
    };
    let other = ARN.replace("marea", "other");
    let theirs = rule("theirs", &other, "x/", "");
    store.set_rules("told", &other, std::slice::from_ref(&theirs)).await.unwrap();
    let ours = [rule("one", ARN, "in/", ".jpg"), rule("two", ARN, "more/", "")];
    store.set_rules("told", ARN, &ours).await.unwrap();
    let mut rules = store.rules("told").await.unwrap();
    rules.sort();
    let mut all = ours.to_vec();
    all.push(theirs.clone());
    all.sort();
    assert_eq!(rules, all);
    // Setting what is set asks for nothing; a killed server knows its rules again.
    store.set_rules("told", ARN, &ours).await.unwrap();
    minio.again().await;
    assert_eq!(store.rules("told").await.unwrap().len(), 3);
    store.set_rules("told", ARN, &[]).await.unwrap();
    assert_eq!(store.rules("told").await.unwrap(), [theirs]);
    let nobody = ARN.replace("marea", "nobody");
    let refused = store.set_rules("told", &nobody, &[rule("z", &nobody, "", "")]).await.unwrap_err();
    assert!(refused.to_string().contains("ARN"), "{refused}");
}
