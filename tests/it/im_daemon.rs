//! The daemon's own program on virtual machines: `marea run` with the real Infrastructure Manager, whose Dummy clouds make
//! machines that are none, and the FAKE API server, on which the test plays kubelets, scheduler and controllers.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use marea::bootstrap::folder::{Cluster, Folder};
use marea::bootstrap::infrastructure;
use marea::cli::socket::Daemon;
use marea::config::Loaded;
use marea::provider::im::client::{ImClient, Settings};
use marea::provider::im::fragment::{fragments, name, terms};
use marea::provider::im::infrastructure::Infrastructure;
use marea::radl;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::bmc::Server;
use crate::fake_api::{FakeApi, World, node, pod};
use crate::im_server::{ImServer, Relay};

/// Each pool is in a cloud of its own, and so is the front-end; each cloud has a network of its own. By name, and by all
/// but the chain, `burst` would come first.
const DOCUMENT: &str = "network at_home () network at_cheap () network at_dear ()\n\
    system front (cpu.count = 4 and memory.size = 4096m and net_interface.0.connection = 'at_home' and IMAGE)\n\
    system wn (cpu.count = 4 and memory.size = 4096m and net_interface.0.connection = 'at_cheap' and IMAGE and \
        ec3_max_instances = 2 and ec3_if_fail = 'burst')\n\
    system burst (cpu.count = 4 and memory.size = 4096m and net_interface.0.connection = 'at_dear' and IMAGE and \
        ec3_max_instances = 2)\n\
    deploy front 1 home\ndeploy wn 0 cheap\ndeploy burst 0 dear\n";
const IMAGE: &str = "disk.0.os.name = 'linux' and disk.0.image.url = 'one://127.0.0.1/1' and \
    disk.0.os.credentials.username = 'u' and disk.0.os.credentials.password = 'p'";

/// A cloud that makes all it is asked for.
const WORKS: &str = "type = Dummy";
/// A cloud at whose address nothing listens.
const REFUSES: &str = "type = OpenNebula; host = http://127.0.0.1:1; username = u; password = p";

/// A cluster without work: its front-end is there, and the daemon runs.
struct Site {
    api: FakeApi,
    im: Arc<ImClient>,
    id: String,
    /// Between the daemon and the Infrastructure Manager; the test itself goes past it.
    relay: Relay,
    at: tempfile::TempDir,
    kubelets: JoinHandle<()>,
    _daemon: Server,
    _server: ImServer,
}

impl Site {
    /// None where there can be no Infrastructure Manager.
    async fn start(cheap: &str) -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let server = ImServer::start("im", at.path())?;
        let auth = at.path().join("auth.dat");
        // Who names no cloud gets the first that takes the image: `home`.
        let clouds = format!("id = home; {WORKS}\nid = cheap; {cheap}\nid = dear; {WORKS}\n");
        std::fs::write(&auth, format!("type = InfrastructureManager; username = u; password = p\n{clouds}")).unwrap();
        let relay = Relay::before(server.port).await;
        let timeout = Duration::from_secs(60);
        let im = ImClient::new(Settings { url: server.url(), auth: auth.clone(), ca: None, timeout }).unwrap();
        let text = format!(
            "provider = \"im\"\n[im]\nurl = \"{}\"\nauth = \"{}\"\n[power]\nobserve_every = \"1s\"\n\
             [http]\nlisten = \"127.0.0.1:0\"\n[autoscaler]\nidle_timeout = \"1h\"\nbackoff = \"10m\"\n",
            relay.url,
            auth.display()
        );
        let config = at.path().join("marea.toml");
        std::fs::write(&config, &text).unwrap();
        let api = FakeApi::start().await;
        let id = made(&at.path().join("state"), &Loaded::parse("marea.toml", &text).unwrap(), &im, &api).await;
        let daemon = Command::new(env!("CARGO_BIN_EXE_marea"))
            .args(["run", "--config", &config.display().to_string()])
            .env("MAREA_STATE", at.path().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(at.path().join("daemon.log")).unwrap())
            .spawn()
            .unwrap();
        let im = Arc::new(im);
        let kubelets = tokio::spawn(kubelets(Arc::clone(&im), id.clone(), Arc::clone(&api.world)));
        let site = Self { api, im, id, relay, at, kubelets, _daemon: Server(daemon), _server: server };
        site.until("all is known", async |site| site.state_of("burst-2").await == "off").await;
        Some(site)
    }

    async fn listed(&self) -> BTreeMap<String, Listed> {
        listed(&self.im, &self.id).await
    }

    /// The cloud of each virtual machine that was made, but the front-end's.
    async fn clouds(&self) -> Vec<(String, String)> {
        let made = |(name, vm): &(String, Listed)| name != "front" && vm.state != "failed";
        self.listed().await.into_iter().filter(made).map(|(name, vm)| (name, vm.cloud)).collect()
    }

    async fn machine(&self, name: &str) -> Value {
        let status = match Daemon::find(&self.at.path().join("state")) {
            Ok(daemon) => daemon.get::<Value>("/status").await.unwrap_or_default(),
            Err(_) => Value::Null,
        };
        let mut machines = status["machines"].as_array().into_iter().flatten();
        machines.find(|machine| machine["name"] == name).cloned().unwrap_or_default()
    }

    async fn state_of(&self, name: &str) -> String {
        self.machine(name).await["state"].as_str().unwrap_or_default().to_owned()
    }

    /// A pod that fills a machine waits; answers once the scheduler, played here, has put it on this one.
    async fn place(&self, name: &str, on: &str) {
        self.api.put_pod(pod("default", name, None, "3"));
        self.until(on, async |site| site.state_of(on).await == "on").await;
        self.api.put_pod(pod("default", name, Some(on), "3"));
    }

    /// Waits until it holds; the limit is only there so that a hung test ends.
    async fn until(&self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        for _ in 0..1200 {
            if holds(self).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = std::fs::read_to_string(self.at.path().join("daemon.log")).unwrap();
        panic!("in vain: {what}\n{log}\n{:?}", self.listed().await);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kubelets.abort();
    }
}

/// The infrastructure with its front-end, and the state folder as `marea bootstrap` leaves it.
async fn made(state: &Path, config: &Loaded, im: &ImClient, api: &FakeApi) -> String {
    let files = [("site.radl".to_owned(), DOCUMENT.replace("IMAGE", IMAGE))];
    let loaded = radl::load_as(&radl::Input { files: &files, ..radl::Input::default() }, &|_| true);
    assert!(!loaded.has_errors(), "{}", loaded.human(false));
    let text = loaded.im_text();
    let (document, _) = radl::parse(&text);
    let spec = loaded.spec.clone().unwrap();
    let machines = config.machines(&spec).unwrap();
    let mut known = Infrastructure {
        fragments: fragments(&document),
        terms: terms(&document),
        machines: machines.iter().map(|machine| (machine.name.clone(), machine.pool.clone())).collect(),
        ..Infrastructure::default()
    };
    let id = im.create(&known.first("front").unwrap()).await.unwrap();
    known.id = Some(id.clone());
    let folder = Folder::open(state).unwrap();
    infrastructure::write(&known, &folder).unwrap();
    let mut record = folder.remembered();
    record.cluster = Cluster { spec: Some(spec), machines };
    folder.remember(&record).unwrap();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "fake",
        "clusters": [{ "name": "fake", "cluster": { "server": format!("http://{}", api.address) } }],
        "users": [{ "name": "marea", "user": {} }],
        "contexts": [{ "name": "fake", "context": { "cluster": "fake", "user": "marea" } }],
    });
    folder.write("kubeconfig", &kubeconfig.to_string(), 0o600).unwrap();
    id
}

/// A virtual machine as the Infrastructure Manager itself lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    number: String,
    cloud: String,
    state: String,
}

/// All virtual machines, whole or not, by the names that they bear: one for each name.
async fn listed(im: &ImClient, id: &str) -> BTreeMap<String, Listed> {
    let outer: Value = serde_json::from_str(&im.data(id).await.unwrap()).unwrap();
    let inner: Value = serde_json::from_str(outer["data"].as_str().unwrap()).unwrap();
    let mut all = BTreeMap::new();
    for vm in inner["vm_list"].as_array().unwrap().iter().filter(|vm| vm["destroy"] == false && vm["creating"] == false)
    {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = vm["im_id"].to_string();
        let name = name(&text(&vm["info"]), &number).unwrap_or_default();
        let listed = Listed { number, cloud: text(&vm["cloud"]["id"]), state: text(&vm["state"]) };
        assert_eq!(all.insert(name.clone(), listed), None, "two virtual machines are named `{name}`");
    }
    all
}

/// FAKE, in place of kubelets and of the controller of nodes: a machine that is made becomes a Ready node, and one that
/// is gone leaves its node behind, not Ready.
async fn kubelets(im: Arc<ImClient>, id: String, world: Arc<Mutex<World>>) {
    let mut before: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let mut now = listed(&im, &id).await;
        now.retain(|_, vm| vm.state != "failed");
        {
            let mut world = world.lock().unwrap();
            for (name, vm) in now.iter().filter(|(name, vm)| before.get(*name) != Some(&vm.number)) {
                let mut node = node(name, &format!("uid-{name}-{}", vm.number));
                if name == "front" {
                    node["spec"]["taints"] =
                        json!([{ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" }]);
                }
                world.put("nodes", node);
            }
            for name in before.keys().filter(|name| !now.contains_key(*name)) {
                if let Some(mut node) = world.nodes.get(name).cloned() {
                    node["status"]["conditions"][0]["status"] = json!("Unknown");
                    world.put("nodes", node);
                }
            }
        }
        before = now.into_iter().map(|(name, vm)| (name, vm.number)).collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, cloud)| ((*name).to_owned(), (*cloud).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn when_its_cloud_refuses_a_pool_is_passed_over_for_the_one_that_stands_in() {
    let Some(site) = Site::start(REFUSES).await else { return };
    site.place("work", "burst-1").await;
    assert_eq!(site.clouds().await, pairs(&[("burst-1", "dear")]));
    let machine = site.machine("wn-1").await;
    assert_eq!(machine["state"], "failed", "{machine}");
    assert!(machine.to_string().contains("Connection refused"), "the cloud's own words: {machine}");
    assert_eq!(site.state_of("wn-2").await, "off", "what was refused for one is not tried for the other");
    assert_eq!(site.relay.orders(), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_a_cloud_has_room_for_one_of_the_other_is_made_where_the_chain_leads() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power/one.py");
    let words = [program.display().to_string(), port.to_string(), "1".to_owned()];
    let _cloud = Server(Command::new("python3").args(words).stdin(Stdio::null()).spawn().unwrap());
    let Some(site) = Site::start(&REFUSES.replace(":1;", &format!(":{port};"))).await else { return };
    for name in ["a", "b"] {
        site.api.put_pod(pod("default", name, None, "3"));
    }
    site.place("a", "wn-1").await;
    site.place("b", "burst-1").await;
    assert_eq!(site.clouds().await, pairs(&[("burst-1", "dear"), ("wn-1", "cheap")]));
    assert_eq!(site.state_of("wn-2").await, "failed");
    assert!(!site.listed().await.contains_key("wn-2"), "what the cloud did not make is not kept in the list");
    assert_eq!(site.relay.orders(), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_is_helped_by_the_one_that_stands_in_and_what_a_person_removes_is_made_anew_once() {
    let Some(site) = Site::start(WORKS).await else { return };
    for (pod, on) in [("a", "wn-1"), ("b", "wn-2"), ("c", "burst-1")] {
        site.place(pod, on).await;
    }
    let all = pairs(&[("burst-1", "dear"), ("wn-1", "cheap"), ("wn-2", "cheap")]);
    assert_eq!(site.clouds().await, all, "the one that stands in comes last");
    let mut before = site.listed().await;
    assert_eq!(site.relay.orders(), (3, 0));

    // A person removes one in use. Kubernetes keeps its pod for as long as there is its node.
    let theirs = before.remove("wn-2").unwrap();
    site.im.remove(&site.id, std::slice::from_ref(&theirs.number), false).await.unwrap();
    site.until("its node goes", async |site| !site.api.world().nodes.contains_key("wn-2")).await;
    site.api.remove_pod("default/b");
    site.until("it is off", async |site| site.state_of("wn-2").await == "off").await;
    // Three looks long.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(site.relay.orders(), (3, 0), "what a person did is not undone");

    site.place("b", "wn-2").await;
    assert_eq!(site.clouds().await, all, "each once");
    let mut after = site.listed().await;
    assert_ne!(after.remove("wn-2").unwrap().number, theirs.number);
    let numbers = |all: BTreeMap<String, Listed>| all.into_values().map(|vm| vm.number).collect::<Vec<_>>();
    assert_eq!(numbers(after), numbers(before), "no other was touched");
    assert_eq!(site.relay.orders(), (4, 0));
}
