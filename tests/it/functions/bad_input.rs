//! What bad input gets: each its own answer, nothing half-made, nothing lost.

use super::*;

/// Wrong services, and what is said of each.
#[tokio::test]
async fn a_wrong_service_is_refused_with_its_field() {
    let gateway = Gateway::start(well, "").await;
    let with = |change: Value| {
        let mut service = cow("cow");
        for (key, value) in change.as_object().unwrap() {
            service[key] = value.clone();
        }
        service
    };
    let prefix = "The service specification is not valid: ";
    let table = [
        (with(json!({ "name": "" })), "name: is required"),
        (with(json!({ "name": "Cow_1" })), "name: \"Cow_1\": only a-z, 0-9 and inner hyphens"),
        (with(json!({ "name": "c".repeat(40) })), "has 40 characters, 39 at most"),
        (with(json!({ "image": "" })), "image: is required: the container image that the script runs in"),
        (with(json!({ "script": null })), "script: is required: the text of the script, not a path"),
        (with(json!({ "memory": 256 })), "memory: 256 has no unit: write \"256Mi\" or \"256Gi\""),
        (with(json!({ "memory": "lots" })), "memory: \"lots\" is no quantity: write it like 256Mi or 2Gi"),
        (with(json!({ "enable_gpu": "yes" })), "enable_gpu: invalid type: string \"yes\", expected a boolean"),
        (with(json!({ "labels": ["a"] })), "labels: invalid type: sequence, expected a map"),
        (with(json!({ "input": [{ "path": 7 }] })), "input[0].path: invalid type: integer `7`, expected a string"),
        (
            with(json!({ "input": [{ "storage_provider": "webdav.dcache", "path": "a/b" }] })),
            "input[0].storage_provider: unrecognized input (valid inputs are MinIO)",
        ),
        (
            with(json!({ "output": [{ "storage_provider": "s3.far", "path": "far/out" }] })),
            "output[0].storage_provider: the StorageProvider \"s3.far\" is not defined: add it to storage_providers",
        ),
        (with(json!({ "output": [{ "storage_provider": "onedata.x", "path": "a" }] })), "onedata is not offered"),
        (
            with(json!({ "input": [{ "path": "cow/in" }], "output": [{ "path": "cow/in/done" }] })),
            "output[0].path: cow/in/done lies in an input of this service",
        ),
        (with(json!({ "input": [{ "path": "B!/in" }] })), "input[0].path: \"B!\" is no name of a bucket"),
        (with(json!({ "expose": { "port": 80 } })), "expose: exposed services are not offered here; leave it out"),
        (with(json!({ "kserve": { "type": "inference" } })), "kserve: KServe is not offered here"),
        (with(json!({ "mount": { "path": "a/b" } })), "mount: mounted buckets are not offered here"),
        (with(json!({ "environment": { "variables": { "1X": "a" } } })), "environment.variables: \"1X\" is no name"),
        (with(json!({ "annotations": { "marea.dev/attempts": "many" } })), "\"many\" is no number above zero"),
        (json!([1]), "the body: a service is a JSON object"),
    ];
    for (service, words) in table {
        let (status, text) = gateway.make(&service).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{service}: {text}");
        assert!(text.starts_with(prefix) && text.contains(words), "{service}:\n  {text}\n  has not: {words}");
    }
    let (status, text) = said(gateway.ask(Method::POST, "/system/services").body("{\"name\": ")).await;
    assert!(status == 400 && text.starts_with(prefix) && text.contains("EOF"), "{text}");
    // Right, but there is no store here.
    let (status, text) = gateway.make(&wired("cow")).await;
    assert!(status == 400 && text.contains("no object store"), "{status} {text}");
    assert!(gateway.namespace.names("configmaps").is_empty() && gateway.namespace.names("secrets").is_empty());
}

#[tokio::test]
async fn names_that_are_taken_tokens_that_are_wrong_and_bodies_that_are_too_long() {
    let gateway = Gateway::start(well, "[limits]\nevent_bytes = 1000\nservice_bytes = 4000").await;
    gateway.cow().await;
    let taken = (StatusCode::CONFLICT, "A service with the provided name already exists".to_owned());
    assert_eq!(gateway.make(&cow("cow")).await, taken);
    let mut long = cow("long");
    long["script"] = json!("x".repeat(5000));
    let (status, text) = gateway.make(&long).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(text, "a service with its script may have 4000 bytes at most; put what is larger into a bucket");
    let (status, text) = said(gateway.ask(Method::POST, "/job/cow").body("x".repeat(1001))).await;
    assert_eq!(
        (status, text.as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "an event may have 1000 bytes at most; put what is larger into a bucket")
    );

    for (method, path) in [
        (Method::GET, "/system/services"),
        (Method::POST, "/system/services"),
        (Method::DELETE, "/system/services/cow"),
        (Method::GET, "/system/config"),
        (Method::GET, "/system/logs/cow"),
        (Method::GET, "/marea/events"),
        (Method::GET, "/marea/queue"),
    ] {
        let none = said(gateway.open(method.clone(), path)).await;
        let wrong = said(gateway.open(method.clone(), path).basic_auth(USER, Some("high-tide"))).await;
        let bearer = said(gateway.open(method, path).bearer_auth(WEBHOOK)).await;
        assert_eq!([none.0, wrong.0, bearer.0], [StatusCode::UNAUTHORIZED; 3], "{path}");
    }
    for path in ["/job/cow", "/run/cow"] {
        let (status, text) = said(gateway.open(Method::POST, path).bearer_auth("0".repeat(64)).body("x")).await;
        assert_eq!((status, text.as_str()), (StatusCode::UNAUTHORIZED, "the token is not that of the service cow"));
        let (status, text) = said(gateway.ask(Method::POST, &path.replace("cow", "hen")).body("x")).await;
        assert_eq!((status, text.as_str()), (StatusCode::NOT_FOUND, "there is no service hen"));
    }
    assert_eq!(
        said(gateway.open(Method::POST, "/events").bearer_auth("no").body("x")).await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(gateway.totals().await, json!({}), "nothing was taken");
    let (status, text) = said(gateway.ask(Method::GET, "/system/volumes")).await;
    assert!(status == StatusCode::NOT_IMPLEMENTED && text.contains("docs/functions.md"), "{text}");
    assert_eq!(
        said(gateway.ask(Method::GET, "/nowhere")).await,
        (StatusCode::NOT_FOUND, "there is nothing at /nowhere".to_owned())
    );
}

#[tokio::test]
async fn a_notification_that_is_none_is_refused_and_one_for_nobody_is_kept() {
    let gateway = Gateway::start(well, "").await;
    let post = |body: String| said(gateway.open(Method::POST, "/events").bearer_auth(WEBHOOK).body(body));
    let (status, text) = post("hello".to_owned()).await;
    assert!(status == 400 && text.contains("no notification of an S3 store"), "{text}");
    let (status, text) = post(" ".repeat((16 << 20) + 1)).await;
    assert!(status == StatusCode::PAYLOAD_TOO_LARGE && text.contains("16777216 bytes at most"), "{status} {text}");
    assert_eq!(post(String::new()).await.0, 200, "MinIO asks whether anybody is there");
    assert_eq!(post(note("nobody", "in/x", "1").to_string()).await.0, 200);
    let dead = gateway.get("/marea/events?state=dead").await;
    assert_eq!(dead["events"][0]["reason"], "no service takes nobody/in/x");
    // It stays until there is one that takes it.
    let answer = gateway.ask(Method::POST, "/marea/events/replay").json(&json!({ "all": true })).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["replayed"], answer["without_service"].as_array().unwrap().len()), (&json!(0), 1));
    let answer = gateway.ask(Method::POST, "/marea/events/purge").json(&json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 400, "which is not said");
    let answer = gateway.ask(Method::POST, "/marea/events/purge").json(&json!({ "all": true })).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["purged"], 1);
    assert_eq!(gateway.totals().await, json!({}));
}

#[tokio::test]
async fn a_job_that_kubernetes_refuses_and_an_image_that_cannot_be_pulled_become_dead_letters() {
    let more = "[retry]\nattempts = 2\nfirst_seconds = 0\nmost_seconds = 0\npull_seconds = 0";
    let gateway = Gateway::start(|_| Play::Stuck, more).await;
    gateway.cow().await;
    gateway.namespace.world().faults.push(("jobs".to_owned(), 422, "Job is invalid: because".to_owned()));
    gateway.job("cow", "refused").await;
    gateway.until_totals(json!({ "dead": 1 })).await;
    let reason = gateway.get("/marea/events").await["events"][0]["reason"].as_str().unwrap().to_owned();
    assert_eq!(reason, "Kubernetes refused its Job: Job is invalid: because");
    assert_eq!(gateway.namespace.world().made.len(), 0, "no second attempt of what is hopeless");
    let job = gateway.job("cow", "stuck").await;
    gateway.until_totals(json!({ "dead": 2 })).await;
    let event = gateway.get("/marea/events").await["events"][0].clone();
    assert_eq!(event["attempt"], 2);
    assert_eq!(event["reason"], "the container cannot start (ImagePullBackOff): marea.local/busybox:1: no such image");
    gateway.until("its Jobs are gone", || async { gateway.namespace.names("jobs").is_empty() }).await;
    let (status, text) = said(gateway.ask(Method::GET, &format!("/system/logs/cow/{job}"))).await;
    assert!(status == 404 && text.contains("ImagePullBackOff"), "{text}");
}

#[tokio::test]
async fn settings_and_secrets_that_are_wrong_end_the_program_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f.toml");
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_marea"));
        let out = command.args(["functions", "serve", "--config"]).arg(&file).output().unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    let (code, text) = run();
    assert!(code == Some(2) && text.contains("f.toml"), "{text}");
    std::fs::write(&file, "listen = \"127.0.0.1:0\"\nsecret = 1\n").unwrap();
    let (code, text) = run();
    assert!(code == Some(2) && text.contains("f.toml:2: unknown field `secret`"), "{text}");
    std::fs::write(&file, "secrets = \"/nonexistent\"\n").unwrap();
    let (code, text) = run();
    assert!(code == Some(2) && text.contains("/nonexistent/minio/endpoint"), "{text}");
}
