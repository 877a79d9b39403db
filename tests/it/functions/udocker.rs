//! udocker: functions on a real machine of the local provider that is no node, as an ordinary user who may not be
//! root, in real containers, with a real MinIO; and the daemon that powers it. The machine is made by its recipe from the
//! bundle. About a minute and a half.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use marea::autoscaler::Policy;
use marea::bootstrap::plan::{self, BUNDLE_AT_HOME, BundleIndex, HostPlan, Piece, script};
use marea::bundle::build::read_index;
use marea::config::Loaded;
use marea::daemon;
use marea::executor::Limits;
use marea::functions::machine::{Machine as Door, PROGRAM, Side};
use marea::kubernetes::watch::Timing;
use marea::model::cluster::{ClusterSpec, Pool, RecipeUse};
use marea::model::machine::{Off, Power, Role};
use marea::provider::Provider as _;
use marea::provider::local::{LocalProvider, MachineSpec};
use marea::recipe::embedded;
use marea::remote::push::Push;
use marea::remote::{Access, Connection, Host};
use marea::s3::Store;
use marea::standin::StandIn;
use tokio::sync::oneshot;

use self::site::{Site, site};
use super::*;
use crate::fake_api::FakeApi;

#[path = "../../machines/local_provider/site.rs"]
#[allow(dead_code, reason = "it is shared with another test program")]
mod site;

/// The ordinary user.
const TIDE: &str = "tide";
/// Every run leaves an object of a name of its own: what ran twice would show.
const SCRIPT: &str = r#"#!/bin/sh
ls /etc >/dev/null || exit 40
[ "$KEY" = hidden ] && [ "$PLAIN" = "it's plain" ] || exit 41
name=$(basename "$INPUT_FILE_PATH")
case $name in
bad*) echo "no good" >&2; exit 9 ;;
slow*) sleep 5 ;;
esac
cat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/$name.$(cat /proc/sys/kernel/random/uuid)"
"#;

struct World {
    site: Site,
    spec: MachineSpec,
    minio: Minio,
    gateway: Gateway,
    store: Store,
}

/// What the recipe needs of the bundle, made once and kept.
fn bundle() -> (PathBuf, BundleIndex) {
    let folder = minio::bundle("udocker", &["runc", "marea-supervisor", "busybox", "udocker"]);
    let mut index = BundleIndex::default();
    for line in read_index(&folder).unwrap() {
        let (path, sha256, size) = (line.path.clone(), line.sha256, line.size);
        let piece = Piece { path, sha256, size, reference: line.reference, version: line.version };
        let name = line.path.rsplit('/').next().unwrap();
        if line.path.starts_with("images/") {
            index.images.insert(name.trim_end_matches(".tar").to_owned(), piece);
        } else {
            index.programs.insert(name.to_owned(), piece);
        }
    }
    (folder, index)
}

/// The plan of a machine of a pool that has the recipe.
fn planned(address: &str, index: &BundleIndex) -> HostPlan {
    let pool = |name: &str, recipes: &[&str]| Pool {
        name: name.to_owned(),
        min: 0,
        max: 1,
        cpus: 1,
        memory: 1 << 30,
        extended: BTreeMap::new(),
        labels: BTreeMap::new(),
        taints: Vec::new(),
        recipes: recipes
            .iter()
            .map(|name| RecipeUse { name: (*name).to_owned(), version: None, parameters: BTreeMap::new() })
            .collect(),
    };
    let spec = ClusterSpec {
        name: "test".to_owned(),
        front_end: Pool { min: 1, ..pool("front", &[]) },
        pools: vec![pool("desk", &["udocker"])],
    };
    let mut machines = Loaded::default().machines(&spec).unwrap();
    let desk = machines.iter_mut().find(|machine| machine.role == Role::Worker).unwrap();
    assert!(desk.is_no_node() && desk.shape.taints.len() == 1, "its pool has the recipe");
    (desk.address, desk.user) = (address.to_owned(), TIDE.to_owned());
    plan::plan(&spec, &machines, &embedded::sources(), index).unwrap().hosts.remove(1)
}

/// How the ordinary user is reached.
fn reached(site: &Site, spec: &MachineSpec) -> (Host, Access) {
    let access = Access {
        key: Some(site.local.ssh_key()),
        known_hosts: site.local.known_hosts(),
        control: PathBuf::from("/run/mareaud"),
        accept_new: false,
    };
    let (name, address) = (spec.name.clone(), spec.address.to_string());
    (Host { name, address, port: 22, user: TIDE.to_owned() }, access)
}

async fn install(site: &Site, spec: &MachineSpec) {
    let (folder, index) = bundle();
    let host_plan = planned(&spec.address.to_string(), &index);
    let (host, access) = reached(site, spec);
    let connection = Connection::open(&host, &access).await.unwrap().as_ordinary_user();
    let files: Vec<Push> =
        host_plan.pieces.iter().map(|p| Push { path: p.path.clone(), sha256: p.sha256.clone() }).collect();
    connection.push(&folder, BUNDLE_AT_HOME, &files).await.unwrap();
    for again in [false, true] {
        let survey =
            connection.run(&host_plan.placed(&script::survey(&host_plan.steps)), Duration::from_secs(60)).await;
        let survey = survey.unwrap().stdout;
        for step in &host_plan.steps {
            // A cluster's front-end would have the gateway's key; here the machine's own does.
            if step.fetch.is_some() {
                continue;
            }
            let todo = survey.lines().any(|line| line == format!("todo {}", step.key));
            assert_ne!(todo, again, "{}: {survey}", step.key);
            if todo {
                let text = host_plan.placed(&script::whole(step, &step.script, None));
                let outcome = connection.run(&text, Duration::from_secs(120)).await.unwrap();
                assert_eq!(outcome.code, 0, "{}: {outcome:?}", step.key);
            }
        }
    }
    connection.close().await;
}

async fn world() -> Option<World> {
    let site = site("mareaud", 12)?;
    let spec = MachineSpec { memory: 2 << 30, ..site.spec("desk-1", 11) };
    site.local.create(spec.clone()).await.unwrap();
    site.local.power_on("desk-1").await.unwrap();
    let user = format!(
        "useradd --create-home --shell /bin/bash {TIDE} && install -d -m 0700 -o {TIDE} /home/{TIDE}/.ssh && \
         install -m 0600 -o {TIDE} /root/.ssh/authorized_keys /home/{TIDE}/.ssh/ && id -u {TIDE} && \
         ! runuser -u {TIDE} -- sudo -n true 2>/dev/null && sync"
    );
    site.says(&spec, &user);
    install(&site, &spec).await;
    let port = free_port();
    let minio = minio_telling_at("10.78.12.1", port).await;
    let settings = format!(
        "[retry]\nattempts = 2\nfirst_seconds = 0\n[ssh]\nkey = \"{}\"\n[[machine]]\nname = \"desk-1\"\n\
         address = \"{}\"\nuser = \"{TIDE}\"\ncpu = \"1\"\nmemory = \"1Gi\"\nlabels = {{ \"marea/pool\" = \"desk\" }}\n",
        site.local.ssh_key().display(),
        spec.address
    );
    let gateway = Gateway::with(|_| Play::Waits, &settings, Some(&minio.url), port).await;
    let store = minio.store();
    Some(World { site, spec, minio, gateway, store })
}

impl World {
    /// The names of results without what is their own, and their bytes.
    async fn results(&self) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in self.store.list("cow", "out/").await.unwrap().into_iter().filter(|entry| entry.size > 0) {
            let name = entry.key.trim_start_matches("out/").rsplit_once('.').unwrap().0.to_owned();
            found.push((name, self.store.get_bytes("cow", &entry.key).await.unwrap().to_vec()));
        }
        found
    }

    async fn put(&self, names: &[&str]) {
        for name in names {
            self.store.put_bytes("cow", &format!("in/{name}"), bytes(name)).await.unwrap();
        }
    }

    /// What runs on the machine, asked there.
    fn runs(&self) -> usize {
        let count = "cd ~tide/.marea/runs 2>/dev/null && for r in *; do [ -e $r/started ] && [ ! -e $r/exit ] && echo $r; done | wc -l";
        self.site.says(&self.spec, count).parse().unwrap()
    }

    /// Each run with the process that began it: one that was begun again would have another.
    fn begun(&self) -> BTreeSet<String> {
        let said = self.site.says(&self.spec, "cd ~tide/.marea/runs && grep -H . */session");
        said.lines().map(str::to_owned).collect()
    }

    async fn until_runs(&self, wanted: usize) {
        for _ in 0..100 {
            if self.runs() == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("not {wanted} runs but {}; the log:\n{}", self.runs(), self.gateway.log());
    }

    /// The real daemon with the real provider, on a FAKE API server that knows of nothing.
    async fn daemon(&self) -> (tokio::task::JoinHandle<anyhow::Result<()>>, FakeApi, oneshot::Sender<()>) {
        let api = FakeApi::start().await;
        let token = self.gateway.folder.path().join("secrets/daemon-token");
        let queue = format!(
            "[[queue]]\nname = \"functions\"\nkind = \"gateway\"\nurl = \"{}\"\ntoken_file = \"{}\"\n",
            self.gateway.url(),
            token.display()
        );
        let (_, index) = bundle();
        let machine = planned(&self.spec.address.to_string(), &index).machine;
        let (host, access) = reached(&self.site, &self.spec);
        let door = Arc::new(Door::new(host, Side::Own(PROGRAM.to_owned()), access));
        let settings = daemon::Settings {
            state: self.gateway.folder.path().join("daemon"),
            cluster: "lab".to_owned(),
            listen: None,
            machines: vec![machine.clone()],
            policy: Policy { idle_timeout_ms: 2000, settle_ms: 500, ..Policy::default() },
            limits: Limits::default(),
            timing: Timing::default(),
            stand_ins: vec![StandIn { machine, door }],
            queues: Loaded::parse("queue.toml", &queue).unwrap().declared_queues().unwrap(),
            observe_every: Duration::from_secs(5),
        };
        let provider = Arc::new(LocalProvider::open(self.site.settings.clone()).unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let client = api.client();
        let task = tokio::spawn(daemon::run(settings, provider, client, async move { drop(stopped.await) }));
        (task, api, stop)
    }

    async fn until_power(&self, wanted: Power) {
        for _ in 0..300 {
            if self.site.power("desk-1").await == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("not {wanted:?} within a minute; the gateway's log:\n{}", self.gateway.log());
    }

    /// Every name has one result, byte for byte what went in.
    async fn each_once(&self, names: &[&str]) {
        let mut wanted: Vec<(String, Vec<u8>)> = names.iter().map(|name| ((*name).to_owned(), bytes(name))).collect();
        let mut results = self.results().await;
        wanted.sort();
        results.sort();
        let shown = |list: &[(String, Vec<u8>)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(shown(&results), shown(&wanted), "the log:\n{}", self.gateway.log());
        assert!(results == wanted, "the bytes differ");
    }
}

/// Bytes of every value, more than a buffer holds.
fn bytes(name: &str) -> Vec<u8> {
    (0..300_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).chain(name.bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_run_on_a_machine_without_root_and_none_twice_whatever_breaks() {
    let Some(mut world) = world().await else { return };
    let mut service = wired("cow");
    service["script"] = json!(SCRIPT);
    service["cpu"] = json!("0.5");
    service["memory"] = json!("128Mi");
    service["annotations"] = json!({ "marea.dev/runtime": "udocker", "marea.dev/node-selector": "marea/pool=desk" });
    service["environment"] = json!({ "variables": { "PLAIN": "it's plain" }, "secrets": { "KEY": "hidden" } });
    assert_eq!(world.gateway.make(&service).await, (StatusCode::CREATED, String::new()));

    // An object comes, a container runs on it, the result is there.
    world.put(&["a"]).await;
    world.gateway.until_totals(json!({ "done": 1 })).await;
    world.each_once(&["a"]).await;

    // The script's own exit code, after all its attempts, and what it said.
    world.put(&["bad"]).await;
    world.gateway.until_totals(json!({ "done": 1, "dead": 1 })).await;
    let dead = world.gateway.get("/marea/events?state=dead").await["events"][0].clone();
    assert_eq!((&dead["exit"], &dead["attempt"], &dead["machine"]), (&json!(9), &json!(2), &json!("desk-1")), "{dead}");
    let log = format!("/system/logs/cow/{}", dead["job"].as_str().unwrap());
    assert_eq!(said(world.gateway.ask(Method::GET, &log)).await, (StatusCode::OK, "no good\n".to_owned()));

    // The machine holds two: the third waits, and is what the daemon is told of. The gateway is killed meanwhile.
    world.put(&["slow-1", "slow-2", "slow-3"]).await;
    world.until_runs(2).await;
    world.gateway.until_totals(json!({ "done": 1, "dead": 1, "running": 2, "waiting": 1 })).await;
    let queue = world.gateway.open(Method::GET, "/marea/queue").bearer_auth("d").send().await.unwrap();
    let line = futures::StreamExt::next(&mut queue.bytes_stream()).await.unwrap().unwrap();
    let cow = serde_json::from_slice::<Value>(line.trim_ascii()).unwrap()["services"]["cow"].clone();
    assert_eq!((&cow["waiting"], &cow["in_flight"], &cow["held"]), (&json!(1), &json!(2), &Value::Null), "{cow}");
    assert_eq!(cow["node_selector"], json!({ "marea.dev/runtime": "udocker", "marea/pool": "desk" }));
    let begun = world.begun();
    world.gateway.kill();
    assert_eq!(world.runs(), 2, "what runs needs no gateway");
    world.gateway.again().await;
    world.gateway.until_totals(json!({ "done": 4, "dead": 1 })).await;
    world.each_once(&["a", "slow-1", "slow-2", "slow-3"]).await;
    assert!(world.begun().is_superset(&begun), "what ran was begun again: {begun:?} {:?}", world.begun());

    // The connection is cut in mid-run.
    world.put(&["slow-4"]).await;
    world.until_runs(1).await;
    let begun = world.begun();
    world.site.says(&world.spec, &format!("kill -9 $(pgrep -u {TIDE} -x sshd)"));
    world.gateway.until_totals(json!({ "done": 5, "dead": 1 })).await;
    world.each_once(&["a", "slow-1", "slow-2", "slow-3", "slow-4"]).await;
    assert!(world.begun().is_superset(&begun), "what ran was begun again: {begun:?} {:?}", world.begun());
    assert!(world.gateway.log().contains("a machine cannot be reached"), "it was not cut: {}", world.gateway.log());

    // Somebody waits for a result.
    let answer = said(world.gateway.ask(Method::POST, "/run/cow").body("moo")).await;
    assert_eq!(answer, (StatusCode::OK, "bW9v".to_owned()), "{}", world.gateway.log());

    // The machine's power is cut in mid-run: nobody can know what became of it, so it is another attempt.
    world.put(&["slow-5"]).await;
    world.until_runs(1).await;
    world.site.local.power_off("desk-1", Off::Hard).await.unwrap();
    world.site.local.power_on("desk-1").await.unwrap();
    world.gateway.until_totals(json!({ "done": 7, "dead": 1 })).await;
    let last = world.gateway.get("/marea/events?state=done&most=1").await["events"][0].clone();
    assert_eq!(last["attempt"], 2, "{last}");

    // A run that a client deletes ends, and nothing of it stays.
    world.put(&["slow-6"]).await;
    world.until_runs(1).await;
    let events = world.gateway.get("/marea/events?state=running").await;
    let job = events["events"][0]["job"].as_str().unwrap().to_owned();
    let gone = world.gateway.ask(Method::DELETE, &format!("/system/logs/cow/{job}")).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    let left = "ls ~tide/.marea/udocker/containers; pgrep -u tide -f marea-supervisor; ls ~tide/.marea/runs";
    let left = || String::from_utf8(world.site.ssh(&world.spec, left).stdout).unwrap();
    world
        .gateway
        .until("nothing of it is left", || async { !left().contains("marea-") && !left().contains(&job) })
        .await;

    // The daemon powers it as it powers every other: off when nothing runs, on when an event waits, and not off under
    // a run that takes longer than it may idle.
    let (daemon, api, stop) = world.daemon().await;
    world.until_power(Power::Off).await;
    world.put(&["slow-cold"]).await;
    world.gateway.until_totals(json!({ "done": 8, "dead": 2 })).await;
    let last = world.gateway.get("/marea/events?state=done&most=1").await["events"][0].clone();
    assert_eq!(last["attempt"], 1, "{last}");
    world.until_power(Power::Off).await;
    stop.send(()).unwrap();
    daemon.await.unwrap().unwrap();
    let requests = api.world.lock().unwrap().requests.clone();
    assert!(!requests.iter().any(|request| request.contains("nodes/desk-1")), "Kubernetes knows no such node");
    assert!(world.gateway.namespace.world().made.is_empty(), "no Job of Kubernetes was made");

    let World { site, minio, gateway, .. } = world;
    drop((minio, gateway));
    site.local.destroy_all().await.unwrap();
    std::fs::remove_dir(&site.settings.state).unwrap();
}
