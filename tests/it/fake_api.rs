//! A FAKE API server: not Kubernetes, but the few paths of it that Marea uses, on a real socket. It keeps
//! pods and nodes as JSON, streams watches, evicts as it is told to, and can fall silent or go away.

use std::collections::{BTreeMap, VecDeque};
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

/// What the fake knows.
#[derive(Default)]
pub struct World {
    pub pods: BTreeMap<String, Value>,
    pub nodes: BTreeMap<String, Value>,
    /// What scheduling asks for besides, by kind.
    pub facts: BTreeMap<&'static str, BTreeMap<String, Value>>,
    pub version: u64,
    /// The events that were said.
    pub events: Vec<Value>,
    /// `METHOD /path?query` of each request, watches and probes included.
    pub requests: Vec<String>,
    /// Answers to the next evictions; when there are none, the pod is deleted.
    pub evictions: VecDeque<(u16, &'static str)>,
    /// Answers to the next changes of nodes, before they are carried out as usual.
    pub node_faults: VecDeque<(u16, &'static str)>,
    /// Requests get no answer at all.
    pub silent: bool,
    watchers: Vec<(&'static str, mpsc::UnboundedSender<String>)>,
}

/// The kinds that it lists and watches, the group of each, and its list.
const KINDS: [(&str, &str, &str); 11] = [
    ("pods", "v1", "PodList"),
    ("nodes", "v1", "NodeList"),
    ("namespaces", "v1", "NamespaceList"),
    ("persistentvolumeclaims", "v1", "PersistentVolumeClaimList"),
    ("persistentvolumes", "v1", "PersistentVolumeList"),
    ("storageclasses", "storage.k8s.io/v1", "StorageClassList"),
    ("csidrivers", "storage.k8s.io/v1", "CSIDriverList"),
    ("csinodes", "storage.k8s.io/v1", "CSINodeList"),
    ("csistoragecapacities", "storage.k8s.io/v1", "CSIStorageCapacityList"),
    ("volumeattachments", "storage.k8s.io/v1", "VolumeAttachmentList"),
    ("poddisruptionbudgets", "policy/v1", "PodDisruptionBudgetList"),
];

/// The fake, serving until dropped.
pub struct FakeApi {
    pub world: Arc<Mutex<World>>,
    pub address: std::net::SocketAddr,
    server: Option<(JoinHandle<()>, tokio::sync::oneshot::Sender<()>)>,
}

impl FakeApi {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut fake = Self { world: Arc::default(), address, server: None };
        fake.serve(listener);
        fake
    }

    fn serve(&mut self, listener: tokio::net::TcpListener) {
        let app = Router::new().fallback(answer).with_state(self.world.clone());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            axum::serve(listener, app).with_graceful_shutdown(async { drop(stopped.await) }).await.unwrap();
        });
        self.server = Some((task, stop));
    }

    /// Goes away: the port is closed and every watch is cut.
    pub async fn go_away(&mut self) {
        let (task, stop) = self.server.take().unwrap();
        drop(stop);
        self.world().watchers.clear();
        // Kept-alive connections hold the server up: they are cut with it.
        let _ = tokio::time::timeout(Duration::from_millis(300), task).await;
        self.world().silent = true;
    }

    /// Comes back on the same port.
    pub async fn come_back(&mut self) {
        self.world().silent = false;
        let listener = tokio::net::TcpListener::bind(self.address).await.unwrap();
        self.serve(listener);
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn client(&self) -> kube::Client {
        let mut config = kube::Config::new(format!("http://{}", self.address).parse().unwrap());
        config.connect_timeout = Some(Duration::from_secs(1));
        config.default_retry = false;
        kube::Client::try_from(config).unwrap()
    }

    pub fn put_pod(&self, pod: Value) {
        self.world().put("pods", pod);
    }

    pub fn put_node(&self, node: Value) {
        self.world().put("nodes", node);
    }

    pub fn put_fact(&self, kind: &'static str, fact: Value) {
        self.world().put(kind, fact);
    }

    pub fn remove_pod(&self, key: &str) {
        self.world().remove("pods", key);
    }

    pub fn remove_node(&self, key: &str) {
        self.world().remove("nodes", key);
    }
}

impl World {
    fn table(&mut self, kind: &'static str) -> &mut BTreeMap<String, Value> {
        match kind {
            "pods" => &mut self.pods,
            "nodes" => &mut self.nodes,
            other => self.facts.entry(other).or_default(),
        }
    }

    pub fn put(&mut self, kind: &'static str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let key = key_of(&object);
        let is_new = self.table(kind).insert(key, object.clone()).is_none();
        self.tell(kind, if is_new { "ADDED" } else { "MODIFIED" }, object);
    }

    pub fn remove(&mut self, kind: &'static str, key: &str) {
        if let Some(mut object) = self.table(kind).remove(key) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.tell(kind, "DELETED", object);
        }
    }

    fn tell(&mut self, kind: &'static str, what: &str, object: Value) {
        let line = format!("{}\n", json!({ "type": what, "object": object }));
        self.watchers.retain(|(of, watcher)| *of != kind || watcher.send(line.clone()).is_ok());
    }

    /// Requests that are not probes, lists or watches.
    pub fn orders(&self) -> Vec<String> {
        let quiet = |request: &&String| !request.starts_with("GET") && !request.contains("/events?");
        self.requests.iter().filter(quiet).cloned().collect()
    }
}

fn key_of(object: &Value) -> String {
    let meta = &object["metadata"];
    let name = meta["name"].as_str().unwrap();
    meta["namespace"].as_str().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

async fn answer(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let silent = {
        let mut world = world.lock().unwrap();
        world.requests.push(format!("{} {path}?{query}", parts.method));
        world.silent
    };
    if silent {
        std::future::pending::<()>().await;
    }
    let mut world = world.lock().unwrap();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (parts.method, segments.as_slice()) {
        (Method::GET, ["readyz"]) => "ok".into_response(),
        (Method::GET, ["api", "v1", kind] | ["apis", "storage.k8s.io" | "policy", "v1", kind]) => {
            match KINDS.iter().find(|(name, ..)| name == kind) {
                Some((kind, group, list)) => collection(&mut world, kind, group, list, &query),
                None => status(404, "the fake has no such kind"),
            }
        }
        (Method::GET, ["api", "v1", "namespaces", namespace, "pods", name]) => {
            found(world.pods.get(&format!("{namespace}/{name}")))
        }
        (Method::POST, ["api", "v1", "namespaces", namespace, "pods", name, "eviction"]) => {
            if let Some((code, message)) = world.evictions.pop_front() {
                return status(code, message);
            }
            let key = format!("{namespace}/{name}");
            let Some(pod) = world.pods.get(&key) else { return status(404, "no such pod") };
            if pod["metadata"]["uid"] != body["deleteOptions"]["preconditions"]["uid"] {
                return status(409, "the UID in the precondition is not the pod's");
            }
            world.remove("pods", &key);
            status(201, "")
        }
        (Method::POST, ["apis", "events.k8s.io", "v1", "namespaces", _, "events"]) => {
            let (name, text) = (body["metadata"]["name"].clone(), body.to_string());
            if world.events.iter().any(|event| event["metadata"]["name"] == name) {
                return status(409, "there is such an event");
            }
            world.events.push(body);
            (StatusCode::CREATED, [("content-type", "application/json")], text).into_response()
        }
        (Method::GET, ["api", "v1", "nodes", name]) => found(world.nodes.get(*name)),
        (method, ["api", "v1", "nodes", name]) => change_node(&mut world, &method, name, &body),
        _ => status(404, "the fake has no such path"),
    }
}

fn change_node(world: &mut World, method: &Method, name: &str, body: &Value) -> Response {
    if let Some((code, message)) = world.node_faults.pop_front() {
        return status(code, message);
    }
    let Some(mut node) = world.nodes.get(name).cloned() else { return status(404, "no such node") };
    if *method == Method::DELETE {
        if body["preconditions"]["uid"] != node["metadata"]["uid"] {
            return status(409, "the UID in the precondition is not the node's");
        }
        world.remove("nodes", name);
        return status(200, "");
    }
    let version = &body["metadata"]["resourceVersion"];
    if !version.is_null() && *version != node["metadata"]["resourceVersion"] {
        return status(409, "the object has been modified");
    }
    merge(&mut node, body);
    world.put("nodes", node);
    found(world.nodes.get(name))
}

/// A JSON merge patch (RFC 7386).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

fn collection(world: &mut World, kind: &'static str, group: &str, list: &str, query: &str) -> Response {
    if query.contains("watch=true") {
        let (sender, receiver) = mpsc::unbounded_channel::<String>();
        world.watchers.push((kind, sender));
        let lines = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|line| (Ok::<_, std::convert::Infallible>(line), receiver))
        });
        return Response::new(Body::from_stream(lines));
    }
    let version = world.version.to_string();
    let items: Vec<Value> = world.table(kind).values().cloned().collect();
    axum::Json(json!({
        "apiVersion": group, "kind": list, "metadata": { "resourceVersion": version }, "items": items,
    }))
    .into_response()
}

fn found(object: Option<&Value>) -> Response {
    object.map_or_else(|| status(404, "not found"), |object| axum::Json(object.clone()).into_response())
}

fn status(code: u16, message: &str) -> Response {
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "code": code, "message": message,
        "status": if code < 300 { "Success" } else { "Failure" }, "reason": if code == 404 { "NotFound" } else { "" }, "metadata": {},
    });
    (StatusCode::from_u16(code).unwrap(), axum::Json(body)).into_response()
}

/// A pod with one container.
pub fn pod(namespace: &str, name: &str, node: Option<&str>, cpu: &str) -> Value {
    let waiting = json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("uid-{name}"),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "u", "controller": true }],
        },
        "spec": {
            "nodeName": node,
            "containers": [{ "name": "main", "resources": { "requests": { "cpu": cpu, "memory": "64Mi" } } }],
        },
        "status": if node.is_some() { json!({ "phase": "Running" }) } else { json!({ "phase": "Pending", "conditions": waiting }) },
    })
}

/// A Ready node of 4 cores and 4 GiB, made and heard of now.
pub fn node(name: &str, uid: &str) -> Value {
    let now = marea::clock::now().to_string();
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "uid": uid, "creationTimestamp": now, "labels": { "kubernetes.io/hostname": name } },
        "spec": {},
        "status": {
            "allocatable": { "cpu": "4", "memory": "4Gi", "pods": "110" },
            "conditions": [{ "type": "Ready", "status": "True", "lastHeartbeatTime": now }],
        },
    })
}
