//! Kueue's objects in a real API server: etcd and kube-apiserver of the bundle on loopback, and the real definition
//! of a Workload from Kueue's own Go module. Kueue itself does not run here: what it writes is written by hand.
//! About twenty seconds, most of them the API server's start.

use serde_json::json;

use super::*;

const MODULE: &str = "sigs.k8s.io/kueue@v0.17.0";

struct Cluster {
    bundle: PathBuf,
    folder: tempfile::TempDir,
    etcd: u16,
    port: u16,
    _store: Server,
}

impl Cluster {
    /// Starts the store and prepares the rest; none without a bundle.
    fn new() -> Option<Self> {
        let bundle = std::env::var("MAREA_BUNDLE").unwrap_or_else(|_| "/var/cache/marea/bundle".to_owned());
        let bundle = PathBuf::from(bundle).join("bin");
        let (etcd, apiserver) = (bundle.join("etcd"), bundle.join("kube-apiserver"));
        if !etcd.exists() || !apiserver.exists() {
            let cargo = env!("CARGO_BIN_EXE_marea");
            let built = Command::new(cargo).args(["bundle", "build"]).status().is_ok_and(|status| status.success());
            if !built {
                assert!(std::env::var_os("CI").is_none(), "there is no bundle and none could be built");
                eprintln!("skipped: there is no bundle; `make bundle` makes it");
                return None;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let (client, peer) = (port(), port());
        let [client_url, peer_url] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
        let store = Server::start(
            Command::new(etcd)
                .arg("--data-dir")
                .arg(folder.path().join("etcd"))
                .args([
                    "--unsafe-no-fsync",
                    "--listen-client-urls",
                    &client_url,
                    "--advertise-client-urls",
                    &client_url,
                ])
                .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
                .args(["--initial-cluster", &format!("default={peer_url}")]),
        );
        let key = folder.path().join("sa.key");
        let made = Command::new("ssh-keygen").args(["-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
        let tokens = "admin-token,admin,1,system:masters\ndaemon-token,system:serviceaccount:marea:marea-daemon,2\n";
        std::fs::write(folder.path().join("tokens.csv"), tokens).unwrap();
        Some(Self { bundle, folder, etcd: client, port: port(), _store: store })
    }

    async fn api_server(&self) -> Server {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let server = Server::start(
            Command::new(self.bundle.join("kube-apiserver"))
                .args([
                    "--bind-address",
                    "127.0.0.1",
                    "--secure-port",
                    &self.port.to_string(),
                    "--cert-dir",
                    &file("certs"),
                ])
                .args(["--etcd-servers", &format!("http://127.0.0.1:{}", self.etcd), "--authorization-mode", "RBAC"])
                .args(["--token-auth-file", &file("tokens.csv"), "--service-account-issuer", "https://marea.test"])
                .args([
                    "--service-account-key-file",
                    &file("sa.key"),
                    "--service-account-signing-key-file",
                    &file("sa.key"),
                ])
                .args(["--service-cluster-ip-range", "10.0.0.0/24", "--disable-admission-plugins", "ServiceAccount"]),
        );
        until("kube-apiserver", async || self.kubectl(&["get", "--raw", "/readyz"]).is_ok()).await;
        server
    }

    fn kubectl(&self, args: &[&str]) -> Result<String, String> {
        let out = Command::new(self.bundle.join("kubectl"))
            .env("HOME", self.folder.path())
            .args(["--server", &format!("https://127.0.0.1:{}", self.port), "--insecure-skip-tls-verify=true"])
            .args(["--token", "admin-token"])
            .args(args)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
    }

    fn apply(&self, text: &str) {
        let file = self.folder.path().join("object.yaml");
        std::fs::write(&file, text).unwrap();
        self.kubectl(&["apply", "--server-side", "-f", &file.display().to_string()]).unwrap();
    }

    /// As the daemon, with the rights that docs/queues.md gives it.
    fn client(&self) -> kube::Client {
        let mut config = kube::Config::new(format!("https://127.0.0.1:{}", self.port).parse().unwrap());
        config.accept_invalid_certs = true;
        config.default_retry = false;
        config.auth_info.token = Some("daemon-token".to_owned().into());
        kube::Client::try_from(config).unwrap()
    }

    fn conditions(&self, conditions: &[&str]) {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|name| {
                json!({"type": name, "status": "True", "reason": name, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .collect();
        let patch = json!({"status": {"conditions": conditions}}).to_string();
        let args = ["-n", "team-a", "patch", "workload", "train", "--subresource=status", "--type=merge", "-p", &patch];
        self.kubectl(&args).unwrap();
    }
}

/// The fenced YAML of docs/queues.md that gives the rights.
fn rights() -> String {
    let docs = std::fs::read_to_string("docs/queues.md").unwrap();
    let text = docs.split("```yaml").nth(1).unwrap().split("```").next().unwrap();
    assert!(text.contains("marea-kueue"));
    text.to_owned()
}

fn definition() -> String {
    let out = Command::new("go").args(["mod", "download", "-json", MODULE]).output().unwrap();
    let module: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let folder = PathBuf::from(module["Dir"].as_str().expect("Kueue's module could not be had"));
    std::fs::read_to_string(folder.join("config/components/crd/bases/kueue.x-k8s.io_workloads.yaml")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kueue_holds_back_is_seen_and_wakes_nothing_until_its_quota_is_reserved() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(cluster) = Cluster::new() else { return };
    let mut server = cluster.api_server().await;
    cluster.kubectl(&["create", "namespace", "team-a"]).unwrap();
    cluster.apply(&rights());
    let template = json!({"spec": {"restartPolicy": "Never", "nodeSelector": {"disk": "ssd"}, "containers": [
        {"name": "c", "image": "x", "resources": {"requests": {"cpu": "500m", "memory": "64Mi"}}}]}});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train", "namespace": "team-a",
        "labels": {"kueue.x-k8s.io/queue-name": "lq"}}, "spec": {"suspend": true, "parallelism": 3, "template": template}});
    cluster.apply(&job.to_string());
    let entry = "[[queue]]\nname = \"k\"\nkind = \"kueue\"\nmax_age = \"10s\"\n";
    let mut queue = Watched::on(entry, cluster.client(), FakeApi::start().await, None);
    let backlog = queue.waits(3).await;
    assert_eq!((backlog.service.as_str(), backlog.unit.requests.cpu_milli), ("team-a/lq", 500));
    assert_eq!(backlog.unit.node_selector["disk"], "ssd");
    assert!(backlog.held.unwrap().contains("not installed"));
    let ahead = format!("{entry}ahead_of_quota = true\n");
    let mut ahead = Watched::on(&ahead, cluster.client(), FakeApi::start().await, None);
    assert_eq!(ahead.waits(3).await.held, None);

    // Kueue comes: its own objects count now.
    cluster.apply(&definition());
    let version = ["v1beta2", "v1beta1"].into_iter().find(|version| definition().contains(&format!("name: {version}")));
    let workload = json!({"apiVersion": format!("kueue.x-k8s.io/{}", version.unwrap()), "kind": "Workload",
        "metadata": {"name": "train", "namespace": "team-a"},
        "spec": {"queueName": "lq", "podSets": [{"name": "main", "count": 2, "template": template}]}});
    until("Workloads are served", async || cluster.kubectl(&["get", "workloads", "-A"]).is_ok()).await;
    cluster.apply(&workload.to_string());
    let backlog = queue.waits(2).await;
    assert!(backlog.held.unwrap().contains("quota"));
    cluster.conditions(&["QuotaReserved"]);
    let backlog = queue.sees("its quota is reserved", |one| one.held.is_none()).await;
    assert_eq!((backlog.waiting, backlog.unit.requests.memory), (2, 64 << 20));

    // The API server is killed: lost, and back with it.
    server.kill();
    queue.is_lost().await;
    let _server = cluster.api_server().await;
    queue.waits(2).await;
    // Admitted: its pods are Kubernetes' own now.
    cluster.conditions(&["QuotaReserved", "Admitted"]);
    loop {
        if let Event::QueueSeen { services, .. } = queue.next().await
            && services.is_empty()
        {
            break;
        }
    }
}
