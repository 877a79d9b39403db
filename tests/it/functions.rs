//! The function gateway: the real program, asked over HTTP, on a FAKE namespace of Kubernetes (for faults; the real
//! one is met in tests/cluster) and a real MinIO where buckets are meant. About 40 s in all.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::fake_namespace::{Namespace, Play};
use crate::minio::{self, Minio};

mod bad_input;
mod clients;
mod command;
mod events;
mod faults;
mod services;
mod udocker;

pub const USER: &str = "oscar";
pub const PASSWORD: &str = "low-tide";
pub const WEBHOOK: &str = "webhook-token";

/// A gateway of its own for one test.
pub struct Gateway {
    pub namespace: Namespace,
    pub folder: tempfile::TempDir,
    pub port: u16,
    child: Option<Child>,
    client: reqwest::Client,
}

/// Jobs that end well at once.
pub fn well(_: &Value) -> Play {
    Play::Ends(Duration::from_millis(20), 0, "said: $EVENT\n".to_owned())
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Gateway {
    /// Without a store; `more` is added to its settings.
    pub async fn start(director: impl Fn(&Value) -> Play + Send + Sync + 'static, more: &str) -> Self {
        Self::with(director, more, None, free_port()).await
    }

    /// With a store.
    pub async fn with(
        director: impl Fn(&Value) -> Play + Send + Sync + 'static,
        more: &str,
        minio: Option<&str>,
        port: u16,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let namespace = Namespace::start(director).await;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("secrets/minio")).unwrap();
        let mut files =
            vec![("username", USER), ("password", PASSWORD), ("webhook-token", WEBHOOK), ("daemon-token", "d")];
        if let Some(url) = minio {
            files.extend([
                ("minio/endpoint", url),
                ("minio/accessKey", minio::ACCESS),
                ("minio/secretKey", minio::SECRET),
            ]);
        }
        for (name, text) in files {
            std::fs::write(path("secrets").join(name), text).unwrap();
        }
        std::fs::write(path("kubeconfig"), namespace.kubeconfig()).unwrap();
        let kind = if minio.is_some() { "minio" } else { "none" };
        let settings = format!(
            "listen = \"127.0.0.1:{port}\"\nstate = \"{}\"\nsecrets = \"{}\"\nkubeconfig = \"{}\"\nnamespace = \"fn\"\n{more}\n\
             [storage]\nkind = \"{kind}\"\n",
            path("state").display(),
            path("secrets").display(),
            path("kubeconfig").display(),
        );
        std::fs::write(path("functions.toml"), settings).unwrap();
        let mut gateway = Self { namespace, folder, port, child: None, client: reqwest::Client::new() };
        gateway.again().await;
        gateway
    }

    /// Starts it, again if it ran.
    pub async fn again(&mut self) {
        self.kill();
        self.child = Some(spawn(self.folder.path()));
        self.until("the gateway is ready", || async {
            self.open(Method::GET, "/readyz").send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn open(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url()))
    }

    pub fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.open(method, path).basic_auth(USER, Some(PASSWORD))
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.ask(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// Makes a service; the answer's status and text.
    pub async fn make(&self, service: &Value) -> (StatusCode, String) {
        said(self.ask(Method::POST, "/system/services").json(service)).await
    }

    /// Makes the plain service `cow`.
    pub async fn cow(&self) {
        let answer = self.make(&cow("cow")).await;
        assert_eq!(answer, (StatusCode::CREATED, String::new()));
    }

    pub async fn token(&self, service: &str) -> String {
        self.get(&format!("/system/services/{service}")).await["token"].as_str().unwrap().to_owned()
    }

    /// Sends events to a service, and gives the name of the first's job.
    pub async fn job(&self, service: &str, body: impl Into<reqwest::Body>) -> String {
        let answer = self.ask(Method::POST, &format!("/job/{service}")).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        answer.json::<Value>().await.unwrap()["jobs"][0].as_str().unwrap().to_owned()
    }

    pub async fn totals(&self) -> Value {
        self.get("/marea/events?state=all").await["totals"].clone()
    }

    /// Waits until the totals of events are these.
    pub async fn until_totals(&self, wanted: Value) {
        let last = std::cell::RefCell::new(Value::Null);
        let is_so = async || {
            let totals = self.totals().await;
            *last.borrow_mut() = totals.clone();
            totals == wanted
        };
        for _ in 0..2400 {
            if is_so().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not {wanted} but {} within 120 s; the log:\n{}", last.borrow(), self.log());
    }

    pub async fn until<F: Future<Output = bool>>(&self, what: &str, is_so: impl Fn() -> F) {
        for _ in 0..2400 {
            if is_so().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not within 120 s: {what}; the log:\n{}", self.log());
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(folder: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_marea"))
        .args(["functions", "serve", "--config"])
        .arg(folder.join("functions.toml"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

pub async fn said(request: RequestBuilder) -> (StatusCode, String) {
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

pub fn cow(name: &str) -> Value {
    json!({ "name": name, "image": "marea.local/busybox:1", "script": "#!/bin/sh\ncat \"$INPUT_FILE_PATH\"\n" })
}

/// A service with buckets.
pub fn wired(name: &str) -> Value {
    let mut service = cow(name);
    service["input"] = json!([{ "storage_provider": "minio.default", "path": format!("{name}/in") }]);
    service["output"] = json!([{ "storage_provider": "minio.default", "path": format!("{name}/out") }]);
    service
}

/// A MinIO that tells a gateway on this port, and keeps what it cannot tell.
pub async fn minio_telling(port: u16) -> Minio {
    minio_telling_at("127.0.0.1", port).await
}

/// One that is reached on this address.
pub async fn minio_telling_at(host: &str, port: u16) -> Minio {
    let queue = std::env::temp_dir().join(format!("marea-test-webhook-{port}"));
    std::fs::create_dir_all(&queue).unwrap();
    let environment = [
        ("MINIO_NOTIFY_WEBHOOK_ENABLE_marea", "on"),
        ("MINIO_NOTIFY_WEBHOOK_ENDPOINT_marea", &format!("http://127.0.0.1:{port}/events")),
        ("MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_marea", &format!("Bearer {WEBHOOK}")),
        ("MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_marea", queue.to_str().unwrap()),
    ];
    Minio::at(host, &environment).await
}

/// A notification as MinIO writes it.
pub fn note(bucket: &str, key: &str, sequencer: &str) -> Value {
    json!({ "EventName": "s3:ObjectCreated:Put", "Key": format!("{bucket}/{key}"), "Records": [
        { "eventVersion": "2.0", "eventSource": "minio:s3", "eventName": "s3:ObjectCreated:Put",
          "s3": { "bucket": { "name": bucket }, "object": { "key": key, "eTag": "e", "sequencer": sequencer } } } ] })
}
