//! A FAKE namespace of Kubernetes, for faults that cannot be had otherwise: the ConfigMaps, Secrets, Jobs and
//! pods that the gateway uses, with selectors and watches, on a real socket. It plays Jobs itself: each becomes
//! a pod that runs and ends as the test says. Like the real one it makes no name twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How a Job is played.
#[derive(Clone, Debug, PartialEq)]
pub enum Play {
    /// Its pod runs so long and ends with this code, having written this.
    Ends(Duration, i32, String),
    /// Its pod waits for ever: the image cannot be pulled.
    Stuck,
    /// Nothing happens to it.
    Waits,
}

type Director = Arc<dyn Fn(&Value) -> Play + Send + Sync>;

#[derive(Default)]
pub struct World {
    objects: BTreeMap<(String, String), Value>,
    version: u64,
    watchers: Vec<(String, String, mpsc::UnboundedSender<String>)>,
    /// The names of all Jobs that were ever made, in order.
    pub made: Vec<String>,
    /// The most Jobs that were there unfinished at once.
    pub most: usize,
    /// Answers to creations of a kind, before any is carried out as usual.
    pub faults: Vec<(String, u16, String)>,
    /// Every request gets 503.
    pub broken: bool,
}

/// The fake, serving until dropped.
pub struct Namespace {
    world: Arc<Mutex<World>>,
    pub address: std::net::SocketAddr,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Stage(Arc<Mutex<World>>, Director);

impl Namespace {
    pub async fn start(director: impl Fn(&Value) -> Play + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let world: Arc<Mutex<World>> = Arc::default();
        let app = Router::new().fallback(answer).with_state(Stage(world.clone(), Arc::new(director)));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { world, address, server }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// A kubeconfig that names it.
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: fake\nclusters: [{{name: fake, cluster: {{server: 'http://{}'}}}}]\n\
             contexts: [{{name: fake, context: {{cluster: fake, user: fake}}}}]\nusers: [{{name: fake, user: {{}}}}]\n",
            self.address
        )
    }

    pub fn names(&self, kind: &str) -> Vec<String> {
        self.world().objects.keys().filter(|(k, _)| k == kind).map(|(_, name)| name.clone()).collect()
    }

    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.world().objects.get(&(kind.to_owned(), name.to_owned())).cloned()
    }

    /// Somebody else removes an object.
    pub fn remove(&self, kind: &str, name: &str) {
        self.world().remove(kind, name);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl World {
    fn put(&mut self, kind: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let is_new = self.objects.insert((kind.to_owned(), name), object.clone()).is_none();
        self.tell(kind, if is_new { "ADDED" } else { "MODIFIED" }, &object);
        object
    }

    fn remove(&mut self, kind: &str, name: &str) -> Option<Value> {
        let mut object = self.objects.remove(&(kind.to_owned(), name.to_owned()))?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.tell(kind, "DELETED", &object);
        if kind == "jobs" {
            self.remove("pods", &format!("{name}-pod"));
        }
        Some(object)
    }

    fn tell(&mut self, kind: &str, what: &str, object: &Value) {
        let line = format!("{}\n", json!({ "type": what, "object": object }));
        self.watchers.retain(|(of, selector, watcher)| {
            of != kind || !selected(object, selector) || watcher.send(line.clone()).is_ok()
        });
    }

    fn unfinished(&self) -> usize {
        let jobs = self.objects.iter().filter(|((kind, _), _)| kind == "jobs");
        jobs.filter(|(_, job)| job["status"]["conditions"].as_array().is_none_or(Vec::is_empty)).count()
    }

    fn pod(&mut self, job: &Value, change: impl FnOnce(&mut Value)) {
        let name = format!("{}-pod", job["metadata"]["name"].as_str().unwrap());
        if !self.objects.contains_key(&("jobs".to_owned(), job["metadata"]["name"].as_str().unwrap().to_owned())) {
            return;
        }
        let mut labels = job["spec"]["template"]["metadata"]["labels"].clone();
        labels["batch.kubernetes.io/job-name"] = job["metadata"]["name"].clone();
        let known = self.objects.get(&("pods".to_owned(), name.clone())).cloned();
        let mut pod = known.unwrap_or_else(|| {
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": name, "namespace": "fn", "labels": labels },
                "spec": job["spec"]["template"]["spec"],
                "status": { "phase": "Pending" },
            })
        });
        change(&mut pod);
        self.put("pods", pod);
    }
}

fn selected(object: &Value, selector: &str) -> bool {
    selector.split(',').filter(|term| !term.is_empty()).all(|term| {
        let labels = &object["metadata"]["labels"];
        match term.split_once('=') {
            Some((key, value)) => labels[key] == json!(value),
            None => !labels[term].is_null(),
        }
    })
}

async fn play(Stage(world, director): Stage, job: Value) {
    let play = director(&job);
    let image = job["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let status = |state: Value| json!([{ "name": "oscar-container", "image": image, "imageID": "", "ready": false, "restartCount": 0, "state": state }]);
    match play {
        Play::Waits => {}
        Play::Stuck => {
            let state = status(json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } }));
            world.lock().unwrap().pod(&job, |pod| pod["status"]["containerStatuses"] = state);
        }
        Play::Ends(pause, code, log) => {
            let begun = marea::clock::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let running = status(json!({ "running": { "startedAt": begun } }));
            world.lock().unwrap().pod(&job, |pod| {
                pod["status"] = json!({ "phase": "Running", "containerStatuses": running });
            });
            tokio::time::sleep(pause).await;
            let end = json!({ "exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" }, "startedAt": begun, "finishedAt": begun });
            let ended = status(json!({ "terminated": end }));
            let mut world = world.lock().unwrap();
            let log = log.replace("$EVENT", &event(&job));
            world.pod(&job, |pod| {
                let phase = if code == 0 { "Succeeded" } else { "Failed" };
                pod["status"] = json!({ "phase": phase, "containerStatuses": ended });
                pod["log"] = json!(log);
            });
            let name = job["metadata"]["name"].as_str().unwrap().to_owned();
            let Some(mut job) = world.objects.get(&("jobs".to_owned(), name)).cloned() else { return };
            let kind = if code == 0 { "Complete" } else { "Failed" };
            let reason = if code == 0 { "CompletionsReached" } else { "BackoffLimitExceeded" };
            job["status"]["conditions"] =
                json!([{ "type": kind, "status": "True", "reason": reason, "lastTransitionTime": begun }]);
            world.put("jobs", job);
        }
    }
}

/// The event that a Job was given in a variable.
pub fn event(job: &Value) -> String {
    let variables = job["spec"]["template"]["spec"]["containers"][0]["env"].as_array();
    let event = variables.into_iter().flatten().find(|variable| variable["name"] == "EVENT");
    event.and_then(|event| event["value"].as_str()).unwrap_or_default().replace("$$", "$")
}

async fn answer(State(stage): State<Stage>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let query: BTreeMap<String, String> = parts
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.replace("%3D", "=").replace("%2C", ",").replace("%2F", "/")))
        .collect();
    let bytes = axum::body::to_bytes(body, 4 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let mut world = stage.0.lock().unwrap();
    if world.broken {
        return status(503, "Unavailable", "the fake is broken");
    }
    let rest = match segments.as_slice() {
        ["version"] => {
            let v = json!({ "major": "1", "minor": "37", "gitVersion": "v1.37.2-fake", "gitCommit": "", "gitTreeState": "",
                "buildDate": "", "goVersion": "", "compiler": "", "platform": "" });
            return axum::Json(v).into_response();
        }
        ["api", "v1", "nodes"] => return axum::Json(nodes()).into_response(),
        ["api", "v1", "namespaces", "fn", rest @ ..] | ["apis", "batch", "v1", "namespaces", "fn", rest @ ..] => rest,
        _ => return status(404, "NotFound", "the fake has no such path"),
    };
    match (parts.method, rest) {
        (Method::GET, [kind]) => list(&mut world, kind, &query),
        (Method::GET, ["pods", name, "log"]) => match world.objects.get(&("pods".to_owned(), (*name).to_owned())) {
            Some(pod) => pod["log"].as_str().unwrap_or_default().to_owned().into_response(),
            None => status(404, "NotFound", "no such pod"),
        },
        (Method::GET, [kind, name]) => found(world.objects.get(&((*kind).to_owned(), (*name).to_owned()))),
        (Method::POST, [kind]) => {
            if let Some(at) = world.faults.iter().position(|(of, _, _)| of == kind) {
                let (_, code, message) = world.faults.remove(at);
                return status(code, "", &message);
            }
            let name = body["metadata"]["name"].as_str().unwrap().to_owned();
            if world.objects.contains_key(&((*kind).to_owned(), name.clone())) {
                return status(409, "AlreadyExists", &format!("{kind} \"{name}\" already exists"));
            }
            let mut object = body;
            object["metadata"]["creationTimestamp"] = json!(marea::clock::now().to_string());
            let object = world.put(kind, object);
            if *kind == "jobs" {
                world.made.push(name);
                world.most = world.most.max(world.unfinished());
                tokio::spawn(play(stage.clone(), object.clone()));
            }
            (StatusCode::CREATED, axum::Json(object)).into_response()
        }
        (Method::PUT, [kind, _]) => axum::Json(world.put(kind, body)).into_response(),
        (Method::DELETE, [kind, name]) => match world.remove(kind, name) {
            Some(object) => axum::Json(object).into_response(),
            None => status(404, "NotFound", "no such object"),
        },
        _ => status(405, "MethodNotAllowed", "the fake does not do that"),
    }
}

fn nodes() -> Value {
    let node = json!({ "metadata": { "name": "wn-1" }, "spec": {}, "status": {
        "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "110" },
        "conditions": [{ "type": "Ready", "status": "True" }] } });
    json!({ "apiVersion": "v1", "kind": "NodeList", "metadata": {}, "items": [node] })
}

fn list(world: &mut World, kind: &str, query: &BTreeMap<String, String>) -> Response {
    let selector = query.get("labelSelector").cloned().unwrap_or_default();
    if query.get("watch").is_some_and(|text| text == "true") {
        let (sender, receiver) = mpsc::unbounded_channel::<String>();
        // What changed since the list was made is told first: here, all that is there and newer.
        let since: u64 = query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
        for ((of, _), object) in &world.objects {
            let version: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            if of == kind && version > since && selected(object, &selector) {
                let _ = sender.send(format!("{}\n", json!({ "type": "MODIFIED", "object": object })));
            }
        }
        world.watchers.push((kind.to_owned(), selector, sender));
        let lines = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|line| (Ok::<_, std::convert::Infallible>(line), receiver))
        });
        return Response::new(Body::from_stream(lines));
    }
    let name = match kind {
        "configmaps" => "ConfigMapList",
        "secrets" => "SecretList",
        "jobs" => "JobList",
        _ => "PodList",
    };
    let group = if kind == "jobs" { "batch/v1" } else { "v1" };
    let mine = world.objects.iter().filter(|((of, _), object)| of == kind && selected(object, &selector));
    let items: Vec<Value> = mine.map(|(_, object)| object.clone()).collect();
    let meta = json!({ "resourceVersion": world.version.to_string() });
    axum::Json(json!({ "apiVersion": group, "kind": name, "metadata": meta, "items": items })).into_response()
}

fn found(object: Option<&Value>) -> Response {
    object.map_or_else(|| status(404, "NotFound", "not found"), |object| axum::Json(object.clone()).into_response())
}

fn status(code: u16, reason: &str, message: &str) -> Response {
    let body = json!({ "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
        "message": message, "metadata": {} });
    (StatusCode::from_u16(code).unwrap(), axum::Json(body)).into_response()
}
