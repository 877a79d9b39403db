//! Queues against their real servers, started here on loopback ports and in folders of their own: a depth is seen,
//! its change is seen, the server is killed and the queue is lost, it comes back and the queue is back.
//! About half a minute in all; RabbitMQ takes most of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use marea::autoscaler::Event;
use marea::config::Loaded;
use marea::config::queues::Source;
use marea::model::queue::Backlog;
use marea::queue;
use tokio::sync::mpsc;

use crate::fake_api::FakeApi;

mod gateway;
mod kueue;

pub mod servers;

/// A server that is ended with the test, and with it all that it started.
struct Server {
    child: Child,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        use std::os::unix::process::CommandExt as _;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Self { child: command.spawn().unwrap() }
    }

    /// Kills it as a power cut would.
    fn kill(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody listens on now.
fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program of a Debian package that `make test` installs. Where it is missing the test is skipped by name; in CI
/// that is a failure.
fn program(paths: &[&str], package: &str) -> Option<PathBuf> {
    let found = paths.iter().map(Path::new).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{package} is not installed; `make setup-test` does it");
        eprintln!("skipped: {package} is not installed; `make setup-test` does it");
    }
    found.map(Path::to_owned)
}

/// Waits until it is so, and says what was waited for when it never is.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never came: {what}");
}

/// A queue of a config, watched.
struct Watched {
    events: mpsc::Receiver<Event>,
    task: tokio::task::JoinHandle<()>,
    /// Kubernetes, for those who ask it: a FAKE one with nothing in it.
    _api: FakeApi,
}

impl Watched {
    async fn start(config: &str) -> Self {
        let api = FakeApi::start().await;
        let client = api.client();
        Self::on(config, client, api, None)
    }

    fn on(config: &str, client: kube::Client, api: FakeApi, max_age: Option<Duration>) -> Self {
        let mut source = source(config);
        source.max_age = max_age.unwrap_or(source.max_age);
        let (sender, events) = mpsc::channel(64);
        let task = tokio::spawn(queue::watch(source, client, sender));
        Self { events, task, _api: api }
    }

    async fn next(&mut self) -> Event {
        tokio::time::timeout(Duration::from_secs(60), self.events.recv()).await.expect("nothing was told").unwrap()
    }

    /// Waits for a reading that is so. A server that has just begun may not know its queue yet.
    async fn sees(&mut self, what: &str, so: impl Fn(&Backlog) -> bool) -> Backlog {
        let (mut last, end) = (None, marea::clock::monotonic() + Duration::from_secs(60));
        loop {
            let left = end.saturating_duration_since(marea::clock::monotonic());
            match tokio::time::timeout(left, self.events.recv()).await {
                Ok(Some(Event::QueueSeen { services, .. })) => {
                    if let Some(backlog) = services.iter().find(|one| so(one)) {
                        return backlog.clone();
                    }
                    last = Some(format!("{services:?}"));
                }
                Ok(Some(Event::QueueLost { reason, .. })) => last = Some(reason),
                other => panic!("{what} was never seen; last was {last:?}, {other:?}"),
            }
        }
    }

    async fn waits(&mut self, count: u64) -> Backlog {
        self.sees(&format!("{count} waiting"), |backlog| backlog.waiting == count).await
    }

    /// Waits until it is lost; readings from before may still come.
    async fn is_lost(&mut self) -> String {
        loop {
            if let Event::QueueLost { reason, .. } = self.next().await {
                return reason;
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The queue of a config.
fn source(config: &str) -> Source {
    let loaded = Loaded::parse("marea.toml", config).unwrap();
    let spec = marea::model::cluster::ClusterSpec { name: "c".into(), front_end: pool(), pools: vec![] };
    loaded.queues(&spec, &[]).unwrap().remove(0)
}

fn pool() -> marea::model::cluster::Pool {
    marea::model::cluster::Pool {
        name: "front".into(),
        min: 1,
        max: 1,
        cpus: 1,
        memory: 1 << 30,
        extended: BTreeMap::default(),
        labels: BTreeMap::default(),
        taints: vec![],
        recipes: vec![],
    }
}

/// What every queue of these tests has beside its place.
const POD: &str =
    "every = \"200ms\"\nmax_age = \"1500ms\"\n[queue.pod]\nlabels = { app = \"x\" }\nrequests = { cpu = \"500m\" }\n";
