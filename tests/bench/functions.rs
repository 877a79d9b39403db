//! Functions: how fast events are taken in durably, how soon each has its Job, and what a hundred thousand that
//! wait cost. The gateway is the real program with its real queue on disk; Kubernetes is the fake namespace of
//! the tests, so that the figures are the gateway's own. The sender runs on the same cores.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Figure;
use crate::fake_namespace::{Namespace, Play};

/// Events that wait at once.
const EVENTS: usize = 100_000;
/// Connections that send.
const SENDERS: usize = 64;
/// Events sent one by one to an empty queue.
const SINGLES: usize = 300;

struct Gateway {
    child: Child,
    url: String,
    folder: tempfile::TempDir,
    namespace: Namespace,
    client: reqwest::Client,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn figures() -> Vec<Figure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut figures = soon().await;
        figures.extend(many().await);
        figures
    })
}

async fn start(play: Play, jobs: usize) -> Gateway {
    let namespace = Namespace::start(move |_| play.clone()).await;
    // Not in memory: a flush must reach what the machine's queue would be on.
    let folder =
        tempfile::tempdir_in(std::env::var("MAREA_BENCH_FOLDER").unwrap_or_else(|_| "target".to_owned())).unwrap();
    let path = |name: &str| folder.path().canonicalize().unwrap().join(name);
    std::fs::create_dir_all(path("secrets")).unwrap();
    for (name, text) in [("username", "oscar"), ("password", "p"), ("webhook-token", "w")] {
        std::fs::write(path("secrets").join(name), text).unwrap();
    }
    std::fs::write(path("kubeconfig"), namespace.kubeconfig()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = format!(
        "listen = \"127.0.0.1:{port}\"\nstate = \"{}\"\nsecrets = \"{}\"\nkubeconfig = \"{}\"\nnamespace = \"fn\"\n\
         [limits]\njobs = {jobs}\njobs_per_service = {jobs}\n[storage]\nkind = \"none\"\n",
        path("state").display(),
        path("secrets").display(),
        path("kubeconfig").display()
    );
    std::fs::write(path("functions.toml"), settings).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_marea"))
        .args(["functions", "serve", "--config"])
        .arg(path("functions.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let gateway =
        Gateway { child, url: format!("http://127.0.0.1:{port}"), folder, namespace, client: reqwest::Client::new() };
    for _ in 0..600 {
        let asked = gateway.client.get(format!("{}/readyz", gateway.url)).send().await;
        if asked.is_ok_and(|answer| answer.status().is_success()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let service = json!({ "name": "cow", "image": "i", "script": "s" });
    let making = gateway.client.post(format!("{}/system/services", gateway.url)).basic_auth("oscar", Some("p"));
    assert_eq!(making.json(&service).send().await.unwrap().status(), 201);
    gateway
}

fn note(number: usize) -> Value {
    json!({ "EventName": "s3:ObjectCreated:Put", "Key": format!("cow/in/{number}"), "Records": [
        { "eventVersion": "2.0", "eventSource": "minio:s3", "eventName": "s3:ObjectCreated:Put",
          "s3": { "bucket": { "name": "cow" }, "object": { "key": format!("in/{number}"), "size": 5, "eTag": "0123456789abcdef",
          "sequencer": format!("{number:016X}") } } } ] })
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
fn now() -> Instant {
    Instant::now()
}

async fn send(gateway: &Gateway, number: usize) {
    let post = gateway.client.post(format!("{}/job/cow", gateway.url)).bearer_auth("w").json(&note(number));
    assert_eq!(post.send().await.unwrap().status(), 201);
}

/// From sending one event to an empty queue until its Job is made.
async fn soon() -> Vec<Figure> {
    let gateway = start(Play::Ends(Duration::ZERO, 0, String::new()), 50).await;
    let mut times = Vec::new();
    for number in 0..SINGLES {
        let begun = now();
        send(&gateway, number).await;
        while gateway.namespace.world().made.len() <= number {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times[times.len() * part / 100];
    let how = "300 events, one by one, to an empty queue, until the (fake) API server has the Job";
    let figure = |name, value| Figure { name, value, unit: "ms", peer: None, how };
    vec![figure("functions/event-to-job-p50", at(50)), figure("functions/event-to-job-p99", at(99))]
}

/// A hundred thousand events to a service that may run few.
async fn many() -> Vec<Figure> {
    let gateway = Arc::new(start(Play::Waits, 20).await);
    let next = Arc::new(AtomicUsize::new(0));
    let begun = now();
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (gateway, next) = (gateway.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= EVENTS {
                        return;
                    }
                    send(&gateway, number).await;
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let asked = gateway.client.get(format!("{}/marea/events?state=waiting&most=1", gateway.url));
    let totals: Value = asked.basic_auth("oscar", Some("p")).send().await.unwrap().json().await.unwrap();
    let taken = ["waiting", "running"].map(|state| totals["totals"][state].as_u64().unwrap_or(0)).iter().sum::<u64>();
    assert_eq!(taken, EVENTS as u64, "every event is there once");
    let jobs = gateway.namespace.names("jobs").len();
    assert!(jobs <= 20, "{jobs} Jobs are more than the bound");
    let disk = std::fs::metadata(gateway.folder.path().join("state/queue.db")).map_or(0, |meta| meta.len());
    #[expect(clippy::cast_precision_loss, reason = "figures with two decimals")]
    let (rate, disk) = (EVENTS as f64 / seconds, disk as f64 / 1_048_576.0);
    vec![
        Figure {
            name: "functions/accepted",
            value: rate,
            unit: "events/s",
            peer: None,
            how: "100,000 notifications over 64 connections, each answered after its flush; sender on the same cores",
        },
        Figure {
            name: "functions/rss-100k",
            value: resident(gateway.child.id()),
            unit: "MiB",
            peer: None,
            how: "memory of the gateway with 100,000 events that wait",
        },
        Figure { name: "functions/disk-100k", value: disk, unit: "MiB", peer: None, how: "the queue's file then" },
    ]
}

fn resident(pid: u32) -> f64 {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|k| k.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
