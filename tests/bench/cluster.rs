//! A real local cluster of one front-end and three workers, measured from powered-off machines on.

use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use super::Figure;

const STATE: &str = "/var/lib/marea-bench";
const MAREA: &str = env!("CARGO_BIN_EXE_marea");
const ROUNDS: usize = 5;
const CONFIG: &str = "provider = \"local\"\n[local]\nscope = \"mareab\"\nsubnet = \"10.79.0.0/24\"\n[autoscaler]\nidle_timeout = \"3s\"\nbatch_idle = \"1s\"\n[http]\nlisten = \"127.0.0.1:9562\"\n";

#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
pub(super) fn figures() -> Vec<Figure> {
    fs::create_dir_all(STATE).unwrap();
    let config = format!("{STATE}/marea.toml");
    fs::write(&config, CONFIG).unwrap();
    must(&["bundle", "build"]);
    let template = ["bootstrap", "radl/elastic-local.radl", "--config", config.as_str()];
    let start = Instant::now();
    must(&template);
    let first = start.elapsed().as_secs_f64();
    let start = Instant::now();
    must(&template);
    let again = start.elapsed().as_secs_f64();

    let mut daemon = Command::new(MAREA)
        .args(["--state", STATE, "run", "--config", &config])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let measured = elasticity(&daemon);
    let _ = Command::new("kill").arg(daemon.id().to_string()).status();
    let _ = daemon.wait();
    must(&["destroy", "--yes"]);
    let _ = fs::remove_dir_all(STATE);

    let (mut decided, mut ready, memory) = measured;
    vec![
        Figure {
            name: "bootstrap/first",
            value: first,
            unit: "s",
            peer: None,
            how: "1 front-end + 3 workers from powered-off to Ready, workers off again; bundle and root file system warm",
        },
        Figure {
            name: "bootstrap/again",
            value: again,
            unit: "s",
            peer: None,
            how: "the same command once more: nothing to do",
        },
        Figure {
            name: "elastic/pending-to-power-on",
            value: median(&mut decided),
            unit: "ms",
            peer: None,
            how: "Unschedulable seen to power-on written, less the batch window of 1 s; median of 5",
        },
        Figure {
            name: "elastic/power-on-to-ready",
            value: median(&mut ready),
            unit: "s",
            peer: None,
            how: "power-on written to Ready seen; median of 5",
        },
        Figure {
            name: "daemon/idle-memory",
            value: memory,
            unit: "MiB",
            peer: None,
            how: "resident, after the rounds above",
        },
    ]
}

fn elasticity(daemon: &Child) -> (Vec<f64>, Vec<f64>, f64) {
    let (mut decided, mut ready) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        until(120, || state("off"));
        let journal = Connection::open(format!("{STATE}/journal.db")).unwrap();
        let before: i64 = journal.query_row("SELECT max(seq) FROM line", [], |r| r.get(0)).unwrap();
        apply(&format!("round-{round}"));
        until(60, || kubectl(&["get", "job", &format!("round-{round}"), "-o", "jsonpath={.status.succeeded}"]) == "1");
        let mut query = journal.prepare("SELECT at, event, actions FROM line WHERE seq > ?1 ORDER BY seq").unwrap();
        let rows = query
            .query_map([before], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get::<_, String>(2)?)))
            .unwrap();
        let (mut waits, mut on, mut up) = (None, None, None);
        for (at, event, actions) in rows.map(Result::unwrap) {
            let at: jiff::Timestamp = at.parse().unwrap();
            let event: Value = serde_json::from_str(&event).unwrap();
            if event["pod"]["unschedulable"] == true {
                waits.get_or_insert(at);
            }
            if actions.contains("power-on") {
                on.get_or_insert(at);
            }
            if on.is_some() && event["node"]["ready"] == true && event["node"]["name"] != "front" {
                up.get_or_insert(at);
            }
        }
        let seconds = |from: Option<jiff::Timestamp>, to: Option<jiff::Timestamp>| {
            to.unwrap().duration_since(from.unwrap()).as_secs_f64()
        };
        decided.push(seconds(waits, on) * 1000.0 - 1000.0);
        ready.push(seconds(on, up));
    }
    until(60, || state("off"));
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let kib: f64 = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .and_then(|l| l.split_whitespace().next())
        .unwrap()
        .parse()
        .unwrap();
    (decided, ready, kib / 1024.0)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn must(args: &[&str]) {
    let out = Command::new(MAREA).args(["--state", STATE]).args(args).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

fn state(wanted: &str) -> bool {
    let out = Command::new(MAREA).args(["--state", STATE, "status", "--format", "json"]).output().unwrap();
    let view: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
    view["machines"]
        .as_array()
        .is_some_and(|m| m.iter().filter(|m| m["role"] == "worker").all(|m| m["state"] == wanted))
}

fn kubectl_command() -> Command {
    let bundle = std::env::var("MAREA_BUNDLE").unwrap_or_else(|_| "/var/cache/marea/bundle".to_owned());
    let mut command = Command::new(format!("{bundle}/bin/kubectl"));
    command.args(["--kubeconfig", &format!("{STATE}/admin.kubeconfig")]);
    command
}

fn kubectl(args: &[&str]) -> String {
    String::from_utf8_lossy(&kubectl_command().args(args).output().unwrap().stdout).into_owned()
}

fn apply(name: &str) {
    let yaml = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - {{name: work, image: \"marea.local/busybox:1\", imagePullPolicy: Never, command: [\"true\"], resources: {{requests: {{cpu: 200m, memory: 64Mi}}}}}}\n"
    );
    let mut child =
        kubectl_command().args(["apply", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[expect(clippy::disallowed_methods, reason = "a benchmark waits by the clock")]
fn until(seconds: u64, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(seconds), "waited {seconds} s in vain");
        std::thread::sleep(Duration::from_millis(200));
    }
}
