//! A real API server and a real kube-scheduler: the bundle's etcd, kube-apiserver and kube-scheduler as processes on
//! loopback, without any kubelet. Pods are placed and never run.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// A process that ends with its handle.
struct Server(Child);

impl Server {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// What the test puts out of the way: it has no kubelets, and makes objects as it likes.
const WITHOUT: &str = "ServiceAccount,TaintNodesByCondition,Priority,RuntimeClass,LimitRanger";

fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The bundle's programs; none where a skip is allowed.
fn bundle() -> Option<PathBuf> {
    let bundle = std::env::var("MAREA_BUNDLE").unwrap_or_else(|_| "/var/cache/marea/bundle".to_owned());
    let bundle = PathBuf::from(bundle).join("bin");
    let there = ["etcd", "kube-apiserver", "kube-scheduler"].iter().all(|name| bundle.join(name).exists());
    let build = || Command::new(env!("CARGO_BIN_EXE_marea")).args(["bundle", "build"]).status();
    if there || build().is_ok_and(|status| status.success()) {
        return Some(bundle);
    }
    assert!(std::env::var_os("CI").is_none(), "there is no bundle and none could be built");
    eprintln!("SKIPPED: there is no bundle; `make bundle` makes it");
    None
}

/// The servers.
pub(crate) struct Control {
    client: kube::Client,
    /// They end with it.
    servers: Vec<Server>,
    _folder: tempfile::TempDir,
}

impl Control {
    pub(crate) async fn start() -> Option<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let bundle = bundle()?;
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let (store, peer, api) = (port(), port(), port());
        let [store, peer] = [store, peer].map(|port| format!("http://127.0.0.1:{port}"));
        let mut etcd = Command::new(bundle.join("etcd"));
        etcd.args(["--unsafe-no-fsync", "--data-dir", &file("etcd"), "--listen-client-urls", &store]);
        etcd.args(["--advertise-client-urls", &store, "--listen-peer-urls", &peer]);
        etcd.args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("default={peer}")]);
        key(Path::new(&file("sa.key")));
        std::fs::write(file("tokens.csv"), "admin-token,admin,1,system:masters\n").unwrap();
        let mut apiserver = Command::new(bundle.join("kube-apiserver"));
        apiserver.args([
            "--bind-address",
            "127.0.0.1",
            "--secure-port",
            &api.to_string(),
            "--cert-dir",
            &file("certs"),
        ]);
        apiserver.args(["--etcd-servers", &store, "--authorization-mode", "RBAC"]);
        apiserver.args(["--token-auth-file", &file("tokens.csv"), "--service-account-issuer", "https://marea.test"]);
        apiserver.args(["--service-account-key-file", &file("sa.key")]);
        apiserver.args(["--service-account-signing-key-file", &file("sa.key")]);
        apiserver.args(["--service-cluster-ip-range", "10.0.0.0/24", "--disable-admission-plugins", WITHOUT]);
        let url = format!("https://127.0.0.1:{api}");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": url, "insecure-skip-tls-verify": true } }],
            "users": [{ "name": "u", "user": { "token": "admin-token" } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        });
        std::fs::write(file("kubeconfig"), kubeconfig.to_string()).unwrap();
        let mut scheduler = Command::new(bundle.join("kube-scheduler"));
        scheduler.args(["--kubeconfig", &file("kubeconfig"), "--leader-elect=false", "--secure-port", "0"]);
        let mut config = kube::Config::new(url.parse().unwrap());
        config.accept_invalid_certs = true;
        config.auth_info.token = Some("admin-token".to_owned().into());
        let mut servers = vec![Server::start(&mut etcd), Server::start(&mut apiserver)];
        let client = kube::Client::try_from(config).unwrap();
        let mut control = Self { client, servers: Vec::new(), _folder: folder };
        until("the API server is ready", async || control.call("GET", "/readyz", None).await.is_ok()).await;
        servers.push(Server::start(&mut scheduler));
        control.servers = servers;
        Some(control)
    }

    /// One request; the error is the API server's word.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let request = http::Request::builder().method(method).uri(path).header("content-type", "application/json");
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let text = self.client.request_text(request.body(body).unwrap()).await.map_err(|error| error.to_string())?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// All objects of a list.
    pub(crate) async fn list(&self, path: &str) -> Value {
        self.call("GET", path, None).await.unwrap()["items"].take()
    }

    /// Deletes at once.
    pub(crate) async fn delete(&self, path: &str) {
        let now = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0 });
        self.call("DELETE", path, Some(&now)).await.unwrap();
    }

    /// The node that the scheduler puts this pod on, or none when it finds none.
    pub(crate) async fn verdict(&self, path: &str) -> Option<String> {
        let mut answer = None;
        until("the scheduler's word", async || {
            let pod = self.call("GET", path, None).await.unwrap();
            let none = json!([]);
            let conditions = pod["status"]["conditions"].as_array().or(none.as_array()).unwrap();
            let unschedulable = conditions.iter().any(|one| one["reason"] == "Unschedulable");
            answer = pod["spec"]["nodeName"].as_str().map(str::to_owned);
            answer.is_some() || unschedulable
        })
        .await;
        answer
    }
}

fn key(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}

/// Waits until it is so, and says what was waited for when it never is.
pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..6000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}
