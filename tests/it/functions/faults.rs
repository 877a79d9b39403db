//! Faults: the gateway is killed, the API server is gone, the disk is full. Nothing is lost and nothing runs twice.

use std::collections::BTreeSet;

use super::*;

/// Hundreds of notifications arrive while the gateway is killed again and again. The sender does as MinIO does:
/// what was not acknowledged is sent again. In the end each has run, and each once.
#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_while_events_arrive_the_count_is_exact() {
    const EVENTS: usize = 400;
    let play = |_: &Value| Play::Ends(Duration::from_millis(30), 0, String::new());
    let mut gateway = Gateway::start(play, "[limits]\njobs = 40\njobs_per_service = 40\nhistory = 5").await;
    gateway.cow().await;
    let token = gateway.token("cow").await;
    let url = format!("{}/job/cow", gateway.url());
    let senders: Vec<_> = (0..8)
        .map(|sender| {
            let (url, token, client) = (url.clone(), token.clone(), reqwest::Client::new());
            tokio::spawn(async move {
                for number in (sender..EVENTS).step_by(8) {
                    let note = note("cow", &format!("in/{number}"), &number.to_string());
                    loop {
                        let post = client.post(&url).bearer_auth(&token).json(&note).timeout(Duration::from_secs(5));
                        if post.send().await.is_ok_and(|answer| answer.status() == 201) {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    // Slow enough that every kill meets some.
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
            })
        })
        .collect();
    let mut kills = 0;
    while !senders.iter().all(tokio::task::JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(300)).await;
        gateway.again().await;
        kills += 1;
    }
    gateway.until_totals(json!({ "done": EVENTS })).await;
    let made = gateway.namespace.world().made.clone();
    let once: BTreeSet<&String> = made.iter().collect();
    println!("{EVENTS} events, {kills} kills: {} Jobs made, {} different", made.len(), once.len());
    assert!(kills >= 2, "the kills came too late to prove anything");
    assert_eq!((made.len(), once.len()), (EVENTS, EVENTS));
    assert!(!made.iter().any(|name| name.contains("-r")), "no second attempt");
}

#[tokio::test]
async fn killed_between_a_jobs_making_and_its_end_it_is_found_and_not_made_again() {
    let mut gateway = Gateway::start(|_| Play::Ends(Duration::from_millis(1500), 0, String::new()), "").await;
    gateway.cow().await;
    for _ in 0..10 {
        gateway.job("cow", "moo").await;
    }
    gateway.until("Jobs are made", || async { gateway.namespace.world().made.len() == 10 }).await;
    gateway.kill();
    // They end while nobody looks.
    tokio::time::sleep(Duration::from_secs(2)).await;
    gateway.again().await;
    gateway.until_totals(json!({ "done": 10 })).await;
    assert_eq!(gateway.namespace.world().made.len(), 10);
}

#[tokio::test]
async fn a_job_that_somebody_deletes_is_tried_again_whether_the_gateway_looks_or_not() {
    let play = |job: &Value| {
        let again = job["metadata"]["name"].as_str().unwrap().ends_with("-r2");
        if again { Play::Ends(Duration::ZERO, 0, String::new()) } else { Play::Waits }
    };
    let mut gateway = Gateway::start(play, "[retry]\nfirst_seconds = 0").await;
    gateway.cow().await;
    let seen = gateway.job("cow", "moo").await;
    let unseen = gateway.job("cow", "moo").await;
    gateway.until_totals(json!({ "running": 2 })).await;
    gateway.namespace.remove("jobs", &seen);
    gateway.until_totals(json!({ "done": 1, "running": 1 })).await;
    gateway.kill();
    gateway.namespace.remove("jobs", &unseen);
    gateway.again().await;
    gateway.until_totals(json!({ "done": 2 })).await;
    assert_eq!(gateway.namespace.world().made.len(), 4);
}

#[tokio::test]
async fn while_the_api_server_is_gone_events_are_taken_and_run_when_it_is_back() {
    let gateway = Gateway::start(well, "").await;
    gateway.cow().await;
    gateway.namespace.world().broken = true;
    for _ in 0..20 {
        gateway.job("cow", "moo").await;
    }
    gateway
        .until("it says why nothing starts", || async {
            let answer = gateway.open(Method::GET, "/marea/queue").bearer_auth("d").send().await.unwrap();
            let mut lines = answer.bytes_stream();
            let line = futures::StreamExt::next(&mut lines).await.unwrap().unwrap();
            let line: Value = serde_json::from_slice(line.trim_ascii()).unwrap();
            line["services"]["cow"]["held"].as_str().is_some_and(|held| held.contains("the fake is broken"))
        })
        .await;
    assert_eq!(gateway.totals().await, json!({ "waiting": 20 }));
    gateway.namespace.world().broken = false;
    gateway.until_totals(json!({ "done": 20 })).await;
    assert_eq!(gateway.namespace.world().made.len(), 20);
}

#[tokio::test]
async fn a_quota_holds_its_events_and_loses_none() {
    let gateway = Gateway::start(well, "").await;
    gateway.cow().await;
    let words = "jobs.batch is forbidden: exceeded quota: small";
    gateway.namespace.world().faults.push(("jobs".to_owned(), 403, words.to_owned()));
    gateway.job("cow", "moo").await;
    gateway.until("it was refused", || async { gateway.namespace.world().faults.is_empty() }).await;
    gateway.until_totals(json!({ "done": 1 })).await;
    assert_eq!(gateway.namespace.world().made.len(), 1);
}

#[tokio::test]
async fn a_second_gateway_on_the_same_queue_is_refused() {
    let gateway = Gateway::start(well, "").await;
    let out = Command::new(env!("CARGO_BIN_EXE_marea"))
        .args(["functions", "serve", "--config"])
        .arg(gateway.folder.path().join("functions.toml"))
        .output()
        .unwrap();
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.code() == Some(1) && text.contains("is in use by process"), "{text}");
}

/// The service's ConfigMap cannot be made after its Secret was: the Secret goes again.
#[tokio::test]
async fn a_service_that_cannot_be_made_leaves_nothing() {
    let gateway = Gateway::start(well, "").await;
    let mut service = cow("cow");
    service["environment"] = json!({ "secrets": { "KEY": "hidden" } });
    gateway.namespace.world().faults.push(("configmaps".to_owned(), 500, "etcd is full".to_owned()));
    let (status, text) = gateway.make(&service).await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && text.contains("etcd is full"), "{status} {text}");
    assert!(gateway.namespace.names("secrets").is_empty());
    assert_eq!(gateway.make(&service).await.0, StatusCode::CREATED);
}
