//! Power: 200 BMCs looked at by the daemon's own observer, and 1,000 machines by the Infrastructure Manager. Both are the
//! real servers, so what they take themselves is in the figures.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use marea::autoscaler::Event;
use marea::cli::providers;
use marea::config::Loaded;
use marea::daemon::observer::{Rounds, observe};
use marea::model::machine::Off;
use marea::provider::Provider;
use marea::provider::im::ImProvider;
use marea::provider::im::client::{ImClient, Settings};
use marea::provider::im::fragment::fragments;

use super::Figure;
use crate::bmc::{IpmiSim, script};
use crate::im_server::ImServer;

const BMCS: usize = 200;
const MACHINES: usize = 1000;
/// Machines in one order, as the config has it unless it says otherwise.
const AT_ONCE: usize = 16;
const WATCHED: Duration = Duration::from_secs(25);

pub(super) fn figures() -> Vec<Figure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut all = bmcs(&runtime);
    all.extend(machines(&runtime));
    all
}

fn figure(name: &'static str, value: f64, unit: &'static str, how: &'static str) -> Figure {
    Figure { name, value, unit, peer: None, how }
}

/// Seconds between two looks at the same BMC, and what the daemon's memory grows by meanwhile.
fn bmcs(runtime: &tokio::runtime::Runtime) -> Vec<Figure> {
    let at = tempfile::tempdir().unwrap();
    let is_on = script(at.path(), "m", "true", "true", "true", "true");
    let (mut sims, mut text) = (Vec::new(), String::new());
    std::fs::write(at.path().join("password"), "secret\n").unwrap();
    for number in 0..BMCS {
        let Some(sim) = IpmiSim::start("bench", at.path(), &format!("b{number}"), "secret", &is_on) else {
            return Vec::new();
        };
        text += &format!(
            "[[machine]]\nname = \"m{number:03}\"\npool = \"wn\"\naddress = \"192.0.2.7\"\nipmi = {{ address = \"127.0.0.1\", port = {} }}\n",
            sim.port
        );
        sims.push(sim);
    }
    let head = format!(
        "provider = \"ipmi\"\n[ipmi]\nuser = \"admin\"\ncipher = 3\npassword_file = \"{}\"\n",
        at.path().join("password").display()
    );
    let config = Loaded::parse("bench.toml", &(head + &text)).unwrap();
    let provider = providers::declared(&config, at.path()).unwrap();
    let names: Vec<String> = config.config.machines.iter().map(|m| m.name.get_ref().clone()).collect();
    let before = resident();
    let ages = Arc::new(Mutex::new(BTreeMap::<String, Vec<Instant>>::new()));
    let spied: Arc<dyn Provider> = Arc::new(Spy { inner: provider, seen: Arc::clone(&ages) });
    runtime.block_on(async {
        let (events, mut inbox) = tokio::sync::mpsc::channel::<Event>(4096);
        tokio::spawn(async move { while inbox.recv().await.is_some() {} });
        let rounds =
            Rounds { machines: names, every: Duration::from_millis(500), limit: Duration::from_secs(10), at_once: 16 };
        let _ = tokio::time::timeout(WATCHED, observe(spied, rounds, events)).await;
    });
    let grown = resident() - before;
    let mut gaps: Vec<f64> = Vec::new();
    for looks in ages.lock().unwrap().values() {
        gaps.extend(looks.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()));
    }
    gaps.sort_by(f64::total_cmp);
    assert!(gaps.len() > BMCS, "each was seen more than twice: {}", gaps.len());
    let p99 = gaps[gaps.len() * 99 / 100];
    vec![
        figure(
            "power/bmc-age-p99",
            p99,
            "s",
            "200 BMCs (ipmi_sim, on the same cores) by ipmitool, 16 at a time: from one answer of a BMC to its next",
        ),
        figure("power/bmc-memory", grown, "MiB", "what this process grew by meanwhile"),
    ]
}

/// Notes when each machine's power was seen.
struct Spy {
    inner: Arc<dyn Provider>,
    seen: Arc<Mutex<BTreeMap<String, Vec<Instant>>>>,
}

impl Provider for Spy {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn list(&self) -> futures::future::BoxFuture<'_, Result<Vec<String>, marea::provider::ProviderError>> {
        self.inner.list()
    }

    fn power<'a>(
        &'a self,
        machine: &'a str,
    ) -> futures::future::BoxFuture<'a, Result<marea::model::machine::Power, marea::provider::ProviderError>> {
        Box::pin(async move {
            let seen = self.inner.power(machine).await;
            if seen.is_ok() {
                self.seen.lock().unwrap().entry(machine.to_owned()).or_default().push(now());
            }
            seen
        })
    }

    fn power_on<'a>(
        &'a self,
        machine: &'a str,
    ) -> futures::future::BoxFuture<'a, Result<(), marea::provider::ProviderError>> {
        self.inner.power_on(machine)
    }

    fn power_off<'a>(
        &'a self,
        machine: &'a str,
        how: Off,
    ) -> futures::future::BoxFuture<'a, Result<(), marea::provider::ProviderError>> {
        self.inner.power_off(machine, how)
    }

    fn watts<'a>(&'a self, machine: &'a str) -> futures::future::BoxFuture<'a, Option<u32>> {
        self.inner.watts(machine)
    }
}

const DOCUMENT: &str = "network n ()\nsystem wn (cpu.count>=1 and memory.size>=512m and net_interface.0.connection='n' and disk.0.os.name='linux' and \
    disk.0.image.url='mock0://x' and disk.0.os.credentials.username='u' and disk.0.os.credentials.password='p')\n";

fn machines(runtime: &tokio::runtime::Runtime) -> Vec<Figure> {
    let at = tempfile::tempdir().unwrap();
    let Some(server) = ImServer::start("bench", at.path()) else { return Vec::new() };
    let auth = at.path().join("auth");
    std::fs::write(&auth, "type = InfrastructureManager; username = u; password = p\nid = d; type = Dummy\n").unwrap();
    runtime.block_on(async {
        let client = |auth: &Path| {
            let timeout = Duration::from_secs(300);
            ImClient::new(Settings { url: server.url(), auth: auth.to_owned(), ca: None, timeout }).unwrap()
        };
        let fragment = fragments(&marea::radl::parse(DOCUMENT).0)["wn"].clone();
        let plain = client(&auth);
        let infrastructure = || async { plain.create(&(fragment.of("front") + "contextualize ()\n")).await.unwrap() };
        // What the server needs itself: the same number by one order, and all of them destroyed.
        let id = infrastructure().await;
        let began = now();
        let many = fragment.of("alike").replace("deploy wn 1", &format!("deploy wn {MACHINES}"));
        assert_eq!(plain.add(&id, &many, false).await.unwrap().len(), MACHINES);
        let own_up = began.elapsed().as_secs_f64();
        let began = now();
        plain.destroy(&id).await.unwrap();
        let own_down = began.elapsed().as_secs_f64();

        let id = infrastructure().await;
        let fleet: BTreeMap<_, _> = (0..MACHINES).map(|n| (format!("wn-{n:04}"), fragment.clone())).collect();
        let names: Vec<String> = fleet.keys().cloned().collect();
        let provider = ImProvider::new(client(&auth), id.clone(), fleet, AT_ONCE, Duration::from_secs(120));
        let began = now();
        let ups = stream::iter(&names).map(|name| provider.power_on(name)).buffer_unordered(64);
        ups.for_each(|up| async { up.unwrap() }).await;
        let up = began.elapsed().as_secs_f64();
        assert_eq!(plain.states(&id).await.unwrap().len(), MACHINES + 1, "each once");
        let began = now();
        let downs = stream::iter(&names).map(|name| provider.power_off(name, Off::Graceful)).buffer_unordered(64);
        downs.for_each(|down| async { down.unwrap() }).await;
        let down = began.elapsed().as_secs_f64();
        assert_eq!(plain.states(&id).await.unwrap().len(), 1, "all but the first");
        let how = "1,000 machines by the real Infrastructure Manager 2.0.0 on the same cores, Dummy cloud, each by a name of ours and 64 asked for at a time; its peer is the server itself, told by one order to make (or destroy) as many without names";
        let beside = |name, value, own| Figure { peer: Some(own), ..figure(name, value, "s", how) };
        vec![beside("power/im-1000-up", up, own_up), beside("power/im-1000-down", down, own_down)]
    })
}

/// What this process holds in memory, in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

#[expect(clippy::disallowed_methods, reason = "a figure is a time")]
fn now() -> Instant {
    Instant::now()
}
