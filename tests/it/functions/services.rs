//! Services: made, read, changed and removed, with their buckets in a real MinIO.

use super::*;

#[tokio::test]
async fn a_service_comes_and_goes_with_its_config_map_and_its_secret() {
    let gateway = Gateway::start(well, "").await;
    let mut service = cow("cow");
    // As SCAR sends it: with who may use the cluster, numbers for quantities and another case.
    service["Memory"] = json!("512Mi");
    service["cpu"] = json!(0.5);
    service["auth_password"] = json!("of-the-client");
    service["environment"] = json!({ "variables": { "A": 1 }, "secrets": { "KEY": "hidden" } });
    assert_eq!(gateway.make(&service).await, (StatusCode::CREATED, String::new()));
    let object = gateway.namespace.get("configmaps", "cow").unwrap();
    assert_eq!(object["metadata"]["labels"]["oscar_service"], "cow");
    assert_eq!(object["data"]["script.sh"], service["script"]);
    assert!(!object.to_string().contains("hidden") && !object.to_string().contains("of-the-client"), "{object}");
    assert_eq!(gateway.namespace.get("secrets", "cow").unwrap()["data"]["KEY"], "aGlkZGVu");

    let read = gateway.get("/system/services/cow").await;
    assert_eq!(
        (&read["memory"], &read["cpu"], &read["owner"]),
        (&json!("512Mi"), &json!("0.5"), &json!("cluster_admin"))
    );
    assert_eq!(read["token"].as_str().unwrap().len(), 64);
    assert_eq!(read["environment"]["secrets"]["KEY"], "");
    assert_eq!(gateway.get("/system/services").await.as_array().unwrap().len(), 1);

    // What was read is sent back with a change: the token and the secret's value stay.
    let mut changed = read.clone();
    changed["image"] = json!("marea.local/busybox:2");
    let answer = said(gateway.ask(Method::PUT, "/system/services").json(&changed)).await;
    assert_eq!(answer, (StatusCode::NO_CONTENT, String::new()));
    let again = gateway.get("/system/services/cow").await;
    assert_eq!((&again["image"], &again["token"]), (&json!("marea.local/busybox:2"), &read["token"]));
    assert_eq!(gateway.namespace.get("secrets", "cow").unwrap()["data"]["KEY"], "aGlkZGVu");

    // A restarted gateway knows it: it is in Kubernetes alone.
    let mut gateway = gateway;
    gateway.again().await;
    assert_eq!(gateway.get("/system/services/cow").await["image"], "marea.local/busybox:2");
    assert_eq!(said(gateway.ask(Method::DELETE, "/system/services/cow")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(said(gateway.ask(Method::GET, "/system/services/cow")).await.0, StatusCode::NOT_FOUND);
    assert!(gateway.namespace.names("configmaps").is_empty() && gateway.namespace.names("secrets").is_empty());
}

#[tokio::test]
async fn a_service_that_is_deleted_takes_its_jobs_and_buries_its_events() {
    let gateway = Gateway::start(|_| Play::Waits, "[limits]\njobs = 2").await;
    gateway.cow().await;
    for _ in 0..5 {
        gateway.job("cow", "moo").await;
    }
    gateway.until_totals(json!({ "running": 2, "waiting": 3 })).await;
    assert_eq!(said(gateway.ask(Method::DELETE, "/system/services/cow")).await.0, StatusCode::NO_CONTENT);
    gateway.until_totals(json!({ "dead": 5 })).await;
    assert!(gateway.namespace.names("jobs").is_empty());
    // The service comes back, and so may they.
    gateway.cow().await;
    let answer = gateway.ask(Method::POST, "/marea/events/replay").json(&json!({ "all": true })).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["replayed"], 5);
    gateway.until_totals(json!({ "running": 2, "waiting": 3 })).await;
}

#[tokio::test]
async fn an_upload_runs_the_function_once_and_buckets_go_with_the_service_unless_they_hold_something() {
    let port = free_port();
    let minio = minio_telling(port).await;
    let store = minio.store();
    let gateway = Gateway::with(well, "", Some(&minio.url), port).await;
    assert_eq!(gateway.make(&wired("cow")).await, (StatusCode::CREATED, String::new()));
    store.put_bytes("cow", "in/a b.txt", "moo").await.unwrap();
    store.put_bytes("cow", "elsewhere/c.txt", "moo").await.unwrap();
    gateway.until_totals(json!({ "done": 1 })).await;
    let event = gateway.get("/marea/events?state=done").await["events"][0].clone();
    assert_eq!((&event["service"], &event["kind"]), (&json!("cow"), &json!("object")));

    // A second service listens deeper in the same bucket: it is made, and the longest folder wins.
    let mut calf = cow("calf");
    calf["input"] = json!([{ "storage_provider": "minio", "path": "cow/in/deep", "suffix": [".txt"] }]);
    assert_eq!(gateway.make(&calf).await.0, StatusCode::CREATED);
    store.put_bytes("cow", "in/deep/d.txt", "moo").await.unwrap();
    store.put_bytes("cow", "in/deep/d.jpg", "moo").await.unwrap();
    gateway.until_totals(json!({ "done": 3 })).await;
    assert_eq!(gateway.get("/marea/events?state=done&service=calf").await["events"].as_array().unwrap().len(), 1);

    // Back to one, and then to none: the bucket has objects, so it stays and tells nobody.
    assert_eq!(said(gateway.ask(Method::DELETE, "/system/services/calf")).await.0, 204);
    assert_eq!(store.rules("cow").await.unwrap().len(), 1);
    assert_eq!(said(gateway.ask(Method::DELETE, "/system/services/cow")).await.0, 204);
    assert!(store.rules("cow").await.unwrap().is_empty() && store.bucket_exists("cow").await.unwrap());
    // Made again, it finds a bucket that no service has: refused, unless it is said to be meant.
    let (status, text) = gateway.make(&wired("cow")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(text.contains("the bucket cow already exists"), "{text}");
    assert!(gateway.namespace.names("configmaps").is_empty(), "nothing half-made");
    let mut meant = wired("cow");
    meant["annotations"] = json!({ "marea.dev/adopt-buckets": "true" });
    assert_eq!(gateway.make(&meant).await.0, StatusCode::CREATED);
    // One whose bucket is empty takes it along.
    assert_eq!(gateway.make(&wired("hen")).await.0, StatusCode::CREATED);
    assert_eq!(said(gateway.ask(Method::DELETE, "/system/services/hen")).await.0, 204);
    assert!(!store.bucket_exists("hen").await.unwrap());
}

#[tokio::test]
async fn uploads_while_the_gateway_is_down_are_run_when_it_is_back() {
    let port = free_port();
    let minio = minio_telling(port).await;
    let mut gateway = Gateway::with(well, "", Some(&minio.url), port).await;
    assert_eq!(gateway.make(&wired("cow")).await.0, StatusCode::CREATED);
    gateway.kill();
    for n in 0..20 {
        minio.store().put_bytes("cow", &format!("in/{n}"), "moo").await.unwrap();
    }
    gateway.again().await;
    gateway.until_totals(json!({ "done": 20 })).await;
    assert_eq!(gateway.namespace.world().made.len(), 20, "each once");
}

#[tokio::test]
async fn what_the_store_lost_is_made_again_at_the_next_start() {
    let port = free_port();
    let minio = minio_telling(port).await;
    let mut gateway = Gateway::with(well, "", Some(&minio.url), port).await;
    assert_eq!(gateway.make(&wired("cow")).await.0, StatusCode::CREATED);
    let (store, arn) = (minio.store(), "arn:minio:sqs:us-east-1:marea:webhook");
    store.set_rules("cow", arn, &[]).await.unwrap();
    gateway.again().await;
    gateway.until("the rule is back", || async { store.rules("cow").await.unwrap().len() == 1 }).await;
}
