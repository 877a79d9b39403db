//! The daemon as a whole: the real loop, core, journal, executor, watch and HTTP, against a FAKE provider
//! (machines in memory, which join the fake API server as nodes) and the FAKE API server.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use marea::autoscaler::{self, Core, Policy};
use marea::cli::socket::Daemon;
use marea::daemon::{self, Settings};
use marea::executor::Limits;
use marea::kubernetes::watch::Timing;
use marea::model::machine::{Machine, Off, Power, Role};
use marea::model::node::Shape;
use marea::model::resources::Resources;
use marea::provider::{Provider, ProviderError};
use marea::store::journal::Journal;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fake_api::{FakeApi, World, node, pod};

/// FAKE: a machine is a word in a map, and its node appears at once when it is switched on.
struct FakeProvider {
    machines: Mutex<BTreeMap<String, Power>>,
    world: Arc<Mutex<World>>,
    /// What was ordered, with the time that it came.
    orders: Mutex<Vec<(String, std::time::Instant)>>,
    panics: Mutex<u32>,
}

impl FakeProvider {
    fn ordered(&self, what: &str) -> usize {
        self.orders.lock().unwrap().iter().filter(|(order, _)| order.starts_with(what)).count()
    }

    fn order(&self, text: String) {
        self.orders.lock().unwrap().push((text, marea::clock::monotonic()));
    }
}

impl Provider for FakeProvider {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async { Ok(self.machines.lock().unwrap().keys().cloned().collect()) })
    }

    fn power<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<Power, ProviderError>> {
        Box::pin(async move { Ok(self.machines.lock().unwrap()[machine]) })
    }

    fn power_on<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            self.order(format!("on {machine}"));
            let panics = {
                let mut left = self.panics.lock().unwrap();
                let now = *left > 0;
                *left = left.saturating_sub(1);
                now
            };
            assert!(!panics, "a planted panic");
            self.machines.lock().unwrap().insert(machine.to_owned(), Power::On);
            // A machine boots whatever becomes of the daemon that switched it on.
            let (world, name) = (self.world.clone(), machine.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let uid = format!("uid-{}", marea::clock::now().as_millisecond());
                world.lock().unwrap().put("nodes", node(&name, &uid));
            });
            Ok(())
        })
    }

    fn power_off<'a>(&'a self, machine: &'a str, how: Off) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            self.order(format!("off {machine} {how:?}"));
            self.machines.lock().unwrap().insert(machine.to_owned(), Power::Off);
            Ok(())
        })
    }
}

struct Bench {
    queues: Vec<marea::config::queues::Source>,
    api: FakeApi,
    provider: Arc<FakeProvider>,
    directory: tempfile::TempDir,
    running: Option<(JoinHandle<anyhow::Result<()>>, oneshot::Sender<()>)>,
}

fn machine(name: &str, role: Role) -> Machine {
    Machine {
        name: name.to_owned(),
        pool: if role == Role::Worker { "wn" } else { "front" }.to_owned(),
        role,
        address: "192.0.2.1".to_owned(),
        port: 22,
        user: "root".to_owned(),
        pod_cidr: "10.244.0.0/24".to_owned(),
        shape: Shape {
            allocatable: Resources { cpu_milli: 4000, memory: 4 << 30, pods: 110, ..Resources::default() },
            ..Shape::default()
        },
    }
}

impl Bench {
    async fn new() -> Self {
        let api = FakeApi::start().await;
        // The front-end is on and full, so that only workers can serve.
        let mut front = node("front", "uid-front");
        front["spec"]["taints"] = json!([{ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" }]);
        api.put_node(front);
        let machines = [("front", Power::On), ("wn-1", Power::Off), ("wn-2", Power::Off)];
        let provider = FakeProvider {
            machines: Mutex::new(machines.map(|(name, power)| (name.to_owned(), power)).into()),
            world: api.world.clone(),
            orders: Mutex::default(),
            panics: Mutex::default(),
        };
        let directory = tempfile::tempdir().unwrap();
        Self { api, provider: Arc::new(provider), directory, running: None, queues: Vec::new() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn settings(&self) -> Settings {
        Settings {
            queues: self.queues.clone(),
            stand_ins: Vec::new(),
            state: self.path().to_owned(),
            cluster: "lab".to_owned(),
            listen: None,
            machines: vec![
                machine("front", Role::FrontEnd),
                machine("wn-1", Role::Worker),
                machine("wn-2", Role::Worker),
            ],
            policy: Policy {
                batch_idle_ms: 20,
                batch_max_ms: 200,
                idle_timeout_ms: 300,
                settle_ms: 50,
                retry_ms: 50,
                ..Policy::default()
            },
            limits: Limits::default(),
            timing: Timing {
                probe_every: Duration::from_millis(50),
                probe_limit: Duration::from_millis(200),
                list_limit: Duration::from_millis(500),
                retry_first: Duration::from_millis(20),
                retry_most: Duration::from_millis(100),
            },
            observe_every: Duration::from_millis(500),
        }
    }

    fn start(&mut self) {
        let (stop, stopped) = oneshot::channel::<()>();
        let run = daemon::run(self.settings(), self.provider.clone(), self.api.client(), async {
            drop(stopped.await);
        });
        self.running = Some((tokio::spawn(run), stop));
    }

    async fn stop(&mut self) {
        let (task, stop) = self.running.take().unwrap();
        drop(stop);
        task.await.unwrap().unwrap();
    }

    /// As `kill -9`: no snapshot, no last word.
    async fn kill(&mut self) {
        let (task, _stop) = self.running.take().unwrap();
        task.abort();
        let _ = task.await;
    }

    async fn status(&self) -> Option<Value> {
        Daemon::find(self.path()).ok()?.get("/status").await.ok()
    }

    async fn state_of(&self, machine: &str) -> String {
        let status = self.status().await.unwrap_or_default();
        let machines = status["machines"].as_array().cloned().unwrap_or_default();
        machines
            .iter()
            .find(|found| found["name"] == machine)
            .and_then(|found| found["state"].as_str())
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until it holds; the limit is only there so that a hung test ends.
    async fn until(&self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        for _ in 0..3000 {
            if holds(self).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("in vain: {what}\n{:#?}\n{:?}", self.status().await, self.provider.orders.lock().unwrap());
    }

    async fn fresh(&self) {
        self.until("pods and nodes are known and machines seen", async |bench| {
            bench.status().await.is_some_and(|status| status["fresh"] == true) && bench.state_of("wn-1").await == "off"
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_pod_powers_a_machine_on_and_idling_powers_it_off_and_removes_its_node() {
    let mut bench = Bench::new().await;
    bench.start();
    bench.fresh().await;
    let asked = marea::clock::monotonic();
    bench.api.put_pod(pod("default", "work", None, "1"));
    bench.until("a machine is ordered on", async |bench| bench.provider.ordered("on") == 1).await;
    let took = bench.provider.orders.lock().unwrap()[0].1 - asked;
    println!("event to power on: {} ms, of which 20 ms are the batch window", took.as_millis());
    bench.until("it is on", async |bench| bench.state_of("wn-1").await == "on").await;
    bench.api.put_pod(pod("default", "work", Some("wn-1"), "1"));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(bench.provider.ordered("off"), 0, "a machine with work stays on, however long");

    bench.api.remove_pod("default/work");
    bench.until("it goes off", async |bench| bench.provider.ordered("off wn-1") == 1).await;
    bench.until("its node goes", async |bench| !bench.api.world().nodes.contains_key("wn-1")).await;
    bench.until("and it is off", async |bench| bench.state_of("wn-1").await == "off").await;
    assert_eq!(bench.provider.ordered("on"), 1);
    // First the cordon, and the node only when the machine is off.
    let orders = bench.api.world().orders();
    assert!(orders[0].starts_with("PATCH") && orders.last().unwrap().starts_with("DELETE"), "{orders:?}");
    bench.stop().await;
    let checked = Journal::open(bench.path()).unwrap().verify::<Core>(autoscaler::step).unwrap();
    assert!(checked.lines > 10 && checked.parted.is_none(), "{} {:?}", checked.lines, checked.parted);
    assert!(!bench.path().join("marea.sock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_again_it_neither_boots_twice_nor_forgets() {
    let mut bench = Bench::new().await;
    bench.start();
    bench.fresh().await;
    bench.api.put_pod(pod("default", "work", None, "1"));
    bench.until("a machine is ordered on", async |bench| bench.provider.ordered("on") == 1).await;
    bench.kill().await;
    bench.start();
    bench.until("the machine is taken over", async |bench| bench.state_of("wn-1").await == "on").await;
    bench.api.put_pod(pod("default", "work", Some("wn-1"), "1"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.provider.ordered("on"), 1);
    bench.stop().await;
    assert_eq!(bench.provider.ordered("off"), 0, "stopping leaves machines as they are");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_off_while_the_api_server_is_silent() {
    let mut bench = Bench::new().await;
    bench.start();
    bench.fresh().await;
    bench.api.put_pod(pod("default", "work", None, "1"));
    bench.until("it is on", async |bench| bench.state_of("wn-1").await == "on").await;
    bench.api.put_pod(pod("default", "work", Some("wn-1"), "1"));
    bench.api.world().silent = true;
    bench
        .until("the silence is noticed", async |bench| {
            bench.status().await.is_some_and(|status| status["fresh"] == false)
        })
        .await;
    bench.api.remove_pod("default/work");
    // Three times the idle timeout.
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(bench.provider.ordered("off"), 0);
    bench.api.world().silent = false;
    bench.until("then the idle machine goes", async |bench| bench.provider.ordered("off wn-1") == 1).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_a_provider_is_an_error_of_one_action() {
    let mut bench = Bench::new().await;
    *bench.provider.panics.lock().unwrap() = 1;
    bench.start();
    bench.fresh().await;
    bench.api.put_pod(pod("default", "work", None, "1"));
    bench
        .until("another try or another machine serves", async |bench| {
            bench.provider.machines.lock().unwrap().iter().any(|(name, power)| name != "front" && *power == Power::On)
        })
        .await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_come_through_the_socket_and_the_front_end_is_safe() {
    let mut bench = Bench::new().await;
    bench.start();
    bench.fresh().await;
    let client = Daemon::find(bench.path()).unwrap();
    for path in ["/v1/machines/front/off", "/v1/machines/front/disable", "/v1/machines/nobody/on"] {
        client.post::<Value>(path).await.unwrap_err();
    }
    let error = client.post::<Value>("/v1/machines/nobody/on").await.unwrap_err().to_string();
    assert!(error.contains("wn-1"), "it names the machines there are: {error}");
    client.post::<Value>("/v1/machines/wn-2/on").await.unwrap();
    bench.until("wn-2 is ordered on", async |bench| bench.provider.ordered("on wn-2") == 1).await;
    let why: Value = client.get("/v1/why/node/wn-2").await.unwrap();
    assert!(why["text"].as_str().is_some_and(|text| text.contains("wn-2")), "{why}");

    let second = daemon::run(bench.settings(), bench.provider.clone(), bench.api.client(), async {}).await;
    let error = second.unwrap_err().to_string();
    assert!(error.contains(&std::process::id().to_string()), "the holder is named: {error}");
    bench.stop().await;
}

/// A file system of 4 MiB that is really full, under the daemon's state; needs root.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_is_done_and_with_room_again_it_goes_on() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "a full disk needs root, and CI=true forbids a skip");
        eprintln!("skipped: to mount a small file system needs root");
        return;
    }
    let mut bench = Bench::new().await;
    let mount = Mount::small(bench.path());
    bench.start();
    bench.fresh().await;
    let filler = bench.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    let full = loop {
        if let Err(error) = std::io::Write::write_all(&mut file, &[1; 512]) {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    bench.api.put_pod(pod("default", "work", None, "1"));
    bench
        .until("it says that the disk is full", async |bench| {
            bench.status().await.is_some_and(|status| status["journal"].as_str().is_some_and(|j| j.contains("full")))
        })
        .await;
    assert_eq!(bench.provider.ordered("on"), 0, "nothing is done that is not written down");
    // An open file keeps its room.
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    bench.until("what waited is done", async |bench| bench.provider.ordered("on wn-1") == 1).await;
    bench.stop().await;
    let checked = Journal::open(bench.path()).unwrap().verify::<Core>(autoscaler::step).unwrap();
    assert_eq!(checked.parted, None);
    drop(mount);
}

/// A small file system, until it is dropped.
struct Mount(std::path::PathBuf);

impl Mount {
    fn small(path: &Path) -> Self {
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "marea-full"])
            .arg(path)
            .status()
            .unwrap();
        assert!(done.success(), "cannot mount a tmpfs at {}", path.display());
        Self(path.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _done = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The journal is kept from being written by another writer's open transaction, which fails as a full disk
/// does.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_journal_nothing_is_done_and_afterwards_it_goes_on() {
    let mut bench = Bench::new().await;
    bench.start();
    bench.fresh().await;
    let other = rusqlite::Connection::open(bench.path().join("journal.db")).unwrap();
    other.busy_timeout(Duration::from_secs(10)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    bench.api.put_pod(pod("default", "work", None, "1"));
    bench
        .until("it says that the journal is out of order", async |bench| {
            bench.status().await.is_some_and(|status| !status["journal"].is_null())
        })
        .await;
    let client = Daemon::find(bench.path()).unwrap();
    let error = client.post::<Value>("/v1/machines/wn-2/on").await.unwrap_err().to_string();
    assert!(error.contains("nothing is done"), "{error}");
    assert!(client.get::<Value>("/healthz").await.is_err());
    assert_eq!(bench.provider.ordered("on"), 0, "nothing is done that is not written down");

    other.execute_batch("ROLLBACK").unwrap();
    bench.until("what waited is done", async |bench| bench.provider.ordered("on wn-1") == 1).await;
    assert_eq!(bench.provider.ordered("on wn-2"), 0, "an order that was refused is not carried out later");
    bench.stop().await;
    let checked = Journal::open(bench.path()).unwrap().verify::<Core>(autoscaler::step).unwrap();
    assert_eq!(checked.parted, None);
}

/// A real Redis holds three messages, and no pod exists: machines wake for them, stay while they wait, also when
/// Redis is gone and the daemon is started anew, and sleep when the list is empty.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_wakes_machines_before_pods_exist_and_holds_them_while_it_is_lost() {
    let Some(mut redis) = crate::queues::servers::Redis::start().await else { return };
    redis.say(&["RPUSH", "jobs", "a", "b", "c"]);
    let mut bench = Bench::new().await;
    bench.queues = vec![redis.source(r#"{ cpu = "2" }"#)];
    bench.start();
    // Three pods of two CPUs: two machines of four.
    bench
        .until("both are on", async |bench| {
            bench.state_of("wn-1").await == "on" && bench.state_of("wn-2").await == "on"
        })
        .await;
    let asked: Value = Daemon::find(bench.path()).unwrap().get("/v1/why/queue/jobs").await.unwrap();
    assert!(asked["because"][0]["text"].as_str().unwrap().contains("3 pods to come"), "{asked}");
    redis.say(&["LPOP", "jobs"]);
    bench.until("one is enough", async |bench| bench.provider.ordered("off") == 1).await;

    redis.kill();
    let lost = async |bench: &Bench| bench.status().await.is_some_and(|status| status["queues"][0]["lost"].is_string());
    bench.until("it is lost", lost).await;
    bench.kill().await;
    bench.start();
    bench.until("it is still lost", lost).await;
    // Five idle times long nothing goes off and nothing is woken.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!((bench.provider.ordered("on"), bench.provider.ordered("off")), (2, 1));

    redis.restart().await;
    redis.say(&["DEL", "jobs"]);
    bench.until("all sleep", async |bench| bench.provider.ordered("off") == 2).await;
    bench.stop().await;
}
