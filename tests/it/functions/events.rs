//! Events: taken once, run once, retried, buried and replayed; logs; results that are waited for; the depth.

use super::*;
use crate::fake_namespace::event;

#[tokio::test]
async fn an_event_becomes_one_job_with_oscars_labels_and_its_log_can_be_read() {
    let gateway = Gateway::start(well, "").await;
    gateway.cow().await;
    let token = gateway.token("cow").await;
    let answer =
        gateway.open(Method::POST, "/job/cow").bearer_auth(&token).body("pay $5 $(X) $$").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let place = answer.headers()["location"].to_str().unwrap().to_owned();
    gateway.until_totals(json!({ "done": 1 })).await;
    let name = place.rsplit('/').next().unwrap().to_owned();
    let job = gateway.namespace.get("jobs", &name).unwrap();
    let labels = &job["spec"]["template"]["metadata"]["labels"];
    assert_eq!((&labels["oscar_service"], &labels["oscar.grycap/user-service"]), (&json!("cow"), &json!("true")));
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["resources"]["requests"], json!({ "cpu": "0.2", "memory": "256Mi" }));
    assert_eq!(event(&job), "pay $5 $(X) $$", "what Kubernetes would expand is kept from it");
    assert_eq!(said(gateway.ask(Method::GET, &place)).await, (StatusCode::OK, "said: pay $5 $(X) $$\n".to_owned()));
    let runs = gateway.get("/system/logs/cow").await;
    let run = &runs["jobs"][&name];
    assert_eq!(run["status"], "Succeeded");
    assert!(run["start_time"].is_string() && run["finish_time"].is_string() && runs["next_page"].is_null(), "{runs}");

    // Deleted, it is seen no more.
    assert_eq!(said(gateway.ask(Method::DELETE, &place)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(gateway.get("/system/logs/cow").await["jobs"], json!({}));
    assert!(gateway.namespace.names("jobs").is_empty());
    let (status, text) = said(gateway.ask(Method::GET, "/system/logs/cow/cow-nothing")).await;
    assert_eq!((status, text.as_str()), (StatusCode::NOT_FOUND, "the service cow has no job cow-nothing"));
}

#[tokio::test]
async fn a_long_event_travels_in_a_secret_that_goes_with_its_job() {
    let gateway = Gateway::start(well, "[limits]\nhistory = 0").await;
    gateway.cow().await;
    gateway.job("cow", "x".repeat(300_000)).await;
    gateway.until_totals(json!({ "done": 1 })).await;
    gateway
        .until("Job and Secret are gone", || async {
            gateway.namespace.names("jobs").is_empty() && gateway.namespace.names("secrets").is_empty()
        })
        .await;
    assert_eq!(gateway.namespace.world().made.len(), 1);
}

#[tokio::test]
async fn a_notification_that_comes_twice_runs_once() {
    let gateway = Gateway::start(well, "").await;
    gateway.cow().await;
    let token = gateway.token("cow").await;
    for (key, sequencer) in [("a", "1"), ("a", "1"), ("a", "2"), ("b", "1"), ("b", "1")] {
        let post = gateway.open(Method::POST, "/job/cow").bearer_auth(&token).json(&note("cow", key, sequencer));
        assert_eq!(said(post).await.0, StatusCode::CREATED);
    }
    gateway.until_totals(json!({ "done": 3 })).await;
    assert_eq!(gateway.namespace.world().made.len(), 3);
    let figures = gateway.open(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "marea_events_accepted_total 3",
        "marea_events_duplicate_total 2",
        "marea_events_dead_total 0",
        "marea_event_seconds_count{stage=\"made\"} 3",
        "marea_event_seconds_count{stage=\"running\"} 3",
    ] {
        assert!(figures.contains(line), "{line} is not in\n{figures}");
    }
}

#[tokio::test]
async fn a_failure_is_tried_again_then_buried_with_its_exit_code_and_can_be_replayed() {
    let more = "[retry]\nattempts = 3\nfirst_seconds = 0\nmost_seconds = 0";
    let ends = |job: &Value| {
        let name = job["metadata"]["name"].as_str().unwrap().to_owned();
        let code = if name.ends_with("-r4") { 0 } else { 3 };
        Play::Ends(Duration::from_millis(10), code, format!("attempt {name}\n"))
    };
    let gateway = Gateway::start(ends, more).await;
    gateway.cow().await;
    let job = gateway.job("cow", "moo").await;
    gateway.until_totals(json!({ "dead": 1 })).await;
    let event = gateway.get("/marea/events").await["events"][0].clone();
    assert_eq!((&event["attempt"], &event["exit"], &event["job"]), (&json!(3), &json!(3), &json!(job)));
    assert_eq!(event["reason"], "the container ended with exit code 3");
    assert_eq!(gateway.get(&format!("/marea/events/{job}")).await["body"], "moo");
    assert_eq!(gateway.get("/system/logs/cow").await["jobs"][&job]["status"], "Failed");
    // The log is the last attempt's; an earlier one has its own name.
    let log = said(gateway.ask(Method::GET, &format!("/system/logs/cow/{job}"))).await.1;
    assert_eq!(log, format!("attempt {job}-r3\n"));
    let log = said(gateway.ask(Method::GET, &format!("/system/logs/cow/{job}-r2"))).await.1;
    assert_eq!(log, format!("attempt {job}-r2\n"));
    let id = event["id"].as_str().unwrap();
    let replay = gateway.ask(Method::POST, "/marea/events/replay").json(&json!({ "ids": [id] }));
    assert_eq!(replay.send().await.unwrap().json::<Value>().await.unwrap()["replayed"], 1);
    gateway.until_totals(json!({ "done": 1 })).await;
    let again = said(gateway.ask(Method::POST, "/marea/events/replay").json(&json!({ "ids": [id] }))).await;
    assert_eq!(again.0, StatusCode::CONFLICT, "it is no dead letter any more");
    let made = gateway.namespace.world().made.clone();
    assert_eq!(made.len(), 4, "{made:?}");
}

#[tokio::test]
async fn what_no_attempt_can_mend_is_not_tried_again() {
    for code in [66, 78] {
        let gateway = Gateway::start(move |_| Play::Ends(Duration::ZERO, code, String::new()), "").await;
        gateway.cow().await;
        gateway.job("cow", "moo").await;
        gateway.until_totals(json!({ "dead": 1 })).await;
        assert_eq!(gateway.namespace.world().made.len(), 1);
    }
}

#[tokio::test]
async fn a_result_that_is_waited_for_comes_back_or_says_where_it_will_be() {
    let play = |job: &Value| match event(job).as_str() {
        "file" => Play::Ends(Duration::ZERO, 0, "noise\nmarea-result-file:bW9v\n".to_owned()),
        "text" => Play::Ends(Duration::ZERO, 0, "noise\nmarea-result-text:bW9v\n".to_owned()),
        "fail" => Play::Ends(Duration::ZERO, 4, "the reason\n".to_owned()),
        _ => Play::Waits,
    };
    let gateway = Gateway::start(play, "[limits]\nsync_seconds = 2").await;
    gateway.cow().await;
    let run = |body: &'static str| said(gateway.ask(Method::POST, "/run/cow").body(body));
    assert_eq!(run("file").await, (StatusCode::OK, "bW9v".to_owned()));
    assert_eq!(run("text").await, (StatusCode::OK, "moo".to_owned()));
    let (status, text) = run("fail").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("exit code 4") && text.ends_with("the reason"), "{text}");
    let (status, text) = run("slow").await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status, StatusCode::ACCEPTED);
    let place = answer["location"].as_str().unwrap();
    assert!(answer["message"].as_str().unwrap().contains("not over within 2 s"), "{text}");
    let (status, text) = said(gateway.ask(Method::GET, place)).await;
    assert!(status == 404 && text.contains("its pod is not made"), "{text}");
    assert_eq!(said(gateway.ask(Method::DELETE, place)).await.0, StatusCode::NO_CONTENT);
    gateway.until_totals(json!({ "done": 2, "dead": 2 })).await;
}

#[tokio::test]
async fn bounds_hold_and_pages_show_all_runs() {
    let gateway = Gateway::start(well, "[limits]\njobs = 7\njobs_per_service = 5\nhistory = 3").await;
    gateway.cow().await;
    assert_eq!(gateway.make(&cow("hen")).await.0, StatusCode::CREATED);
    for service in ["cow", "hen"] {
        futures::future::join_all((0..80).map(|_| gateway.job(service, "moo"))).await;
    }
    gateway.until_totals(json!({ "done": 160 })).await;
    assert!(gateway.namespace.world().most <= 7, "{} at once", gateway.namespace.world().most);
    gateway.until("old Jobs are gone", || async { gateway.namespace.names("jobs").len() == 6 }).await;
    let first = gateway.get("/system/logs/cow").await;
    assert_eq!((first["jobs"].as_object().unwrap().len(), &first["remaining_jobs"]), (70, &json!(10)));
    let page = first["next_page"].as_str().unwrap();
    let second = gateway.get(&format!("/system/logs/cow?page={page}")).await;
    assert_eq!(second["jobs"].as_object().unwrap().len(), 10);
    assert!(second["next_page"].is_null());
    assert_eq!(said(gateway.ask(Method::DELETE, "/system/logs/cow?all=true")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(gateway.get("/system/logs/cow").await["jobs"], json!({}));
}

#[tokio::test]
async fn the_depth_is_told_at_once_and_when_it_changes() {
    use futures::StreamExt as _;
    let gateway = Gateway::start(|_| Play::Waits, "[limits]\njobs = 2").await;
    let mut service = cow("cow");
    service["total_cpu"] = json!("0.2");
    service["annotations"] = json!({ "marea.dev/node-selector": "disk=fast" });
    assert_eq!(gateway.make(&service).await.0, StatusCode::CREATED);
    let answer = gateway.open(Method::GET, "/marea/queue").bearer_auth("d").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut lines = answer.bytes_stream();
    let mut next = async || -> Value {
        let bytes = tokio::time::timeout(Duration::from_secs(20), lines.next()).await.unwrap().unwrap().unwrap();
        serde_json::from_slice(bytes.trim_ascii().split(|b| *b == b'\n').next_back().unwrap()).unwrap()
    };
    let first = next().await;
    assert_eq!(first["services"]["cow"]["waiting"], 0);
    assert_eq!(first["services"]["cow"]["limit"], 1, "what the total holds");
    assert_eq!(first["services"]["cow"]["requests"], json!({ "cpu": "0.2", "memory": "256Mi" }));
    assert_eq!(first["services"]["cow"]["node_selector"], json!({ "disk": "fast" }));
    for _ in 0..3 {
        gateway.job("cow", "moo").await;
    }
    loop {
        let line = next().await;
        if line["services"]["cow"]["waiting"] == 2 && line["services"]["cow"]["in_flight"] == 1 {
            break;
        }
    }
}
