//! Functions on a real cluster of their own: 500 files are put into a bucket whose workers are all off, while the
//! gateway is killed with -9, MinIO is killed, the daemon is killed and a worker's power is cut. In the end there
//! are 500 results, and none came twice unless its pod was cut. Some five minutes on two cores.

use std::collections::{BTreeMap, BTreeSet};

use marea::s3::{Endpoint, Keys, Store};

use crate::check;
use crate::cluster::{Cluster, MAREA, Site, pause};

const SITE: Site = Site {
    state: "/var/lib/marea-test-functions",
    scope: "mareau",
    config: r#"
provider = "local"

[local]
scope = "mareau"
subnet = "10.84.0.0/24"

[autoscaler]
idle_timeout = "5s"
boot_timeout = "120s"

[http]
listen = "127.0.0.1:9562"
"#,
    radl: "radl/functions-local.radl",
    more: &["--functions", "/var/lib/marea-test-functions/shout.yaml"],
};

const FDL: &str = "\
functions:
  oscar:
  - lab:
      name: shout
      image: marea.local/busybox:1
      script: shout.sh
      cpu: 50m
      memory: 32Mi
      input: [{storage_provider: minio.default, path: shout/in}]
      output: [{storage_provider: minio.default, path: shout/out}]
";

/// Takes one event after the other.
const SLOW: &str = "\
functions:
  oscar:
  - lab:
      name: slow
      image: marea.local/busybox:1
      script: slow.sh
      cpu: 50m
      memory: 32Mi
      annotations: {marea.dev/jobs-in-flight: '1'}
";

/// Tries once.
const PICKY: &str = "\
functions:
  oscar:
  - lab:
      name: picky
      image: marea.local/busybox:1
      script: picky.sh
      cpu: 50m
      memory: 32Mi
      annotations: {marea.dev/attempts: '1'}
";

/// The result's name tells which pod made it, so that a second run of the same file is seen.
const SCRIPT: &str =
    "#!/bin/sh\ntr a-z A-Z < \"$INPUT_FILE_PATH\" > \"$TMP_OUTPUT_DIR/$(basename \"$INPUT_FILE_PATH\")@$(hostname)\"\n";

/// How many files; fewer in the hands of whoever works on this test.
fn uploads() -> usize {
    std::env::var("MAREA_UPLOADS").ok().and_then(|text| text.parse().ok()).unwrap_or(500)
}

/// The cluster of these tests: its bootstrap brings the function `shout`.
pub fn open() -> Result<Cluster, String> {
    std::fs::create_dir_all(SITE.state).map_err(|e| e.to_string())?;
    for (name, text) in [("shout.sh", SCRIPT), ("shout.yaml", FDL)] {
        std::fs::write(format!("{}/{name}", SITE.state), text).map_err(|e| e.to_string())?;
    }
    Cluster::at(SITE)
}

/// What a bootstrap does with `--functions`: the first makes them, the next finds them as the file says.
pub fn brought_by_the_bootstrap(cluster: &Cluster) -> Result<(), String> {
    let out = cluster.bootstrap_output();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    check!(out.status.success() && said.contains("nothing to do"), "{said}");
    check!(said.contains("function shout: is as the file says"), "{said}");
    let file = format!("{}/shout.yaml", SITE.state);
    std::fs::write(&file, FDL.replace("50m", "60m")).map_err(|e| e.to_string())?;
    let out = cluster.bootstrap_output();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    std::fs::write(&file, FDL).map_err(|e| e.to_string())?;
    check!(said.contains("function shout: changed"), "{said}");
    let config = cluster.kubectl(&["-n", "marea-functions", "get", "configmap", "shout", "-o", "yaml"])?;
    check!(config.contains("60m"), "{config}");
    cluster.bootstrap().map(drop)
}

/// `marea functions` with these words, where `files` are.
fn functions(cluster: &Cluster, files: &[(&str, &str)], args: &[&str]) -> Result<String, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).map_err(|e| e.to_string())?;
    }
    let out = std::process::Command::new(MAREA)
        .arg("functions")
        .args(args)
        .current_dir(folder.path())
        .env("MAREA_FUNCTIONS_ENDPOINT", format!("http://{}:30301", cluster.address("front")?))
        .env("MAREA_FUNCTIONS_PASSWORD", password(cluster)?)
        .output()
        .map_err(|e| e.to_string())?;
    crate::cluster::ok(&out)
}

/// Events that wait are seen by the daemon, with no more than its own rights.
pub fn depth_is_seen(cluster: &Cluster) -> Result<(), String> {
    cluster.start_daemon(&[])?;
    let files = [("slow.sh", "#!/bin/sh\nsleep 1\n"), ("slow.yaml", SLOW), ("input", "tide")];
    let functions = |args: &[&str]| functions(cluster, &files, args);
    functions(&["apply", "slow.yaml"])?;
    for _ in 0..6 {
        functions(&["run", "slow", "--input", "input"])?;
    }
    let slow = || -> Option<serde_json::Value> {
        let status = cluster.status()?;
        let queues = status["queues"].as_array()?.clone();
        let gateway = queues.into_iter().find(|queue| queue["name"] == "gateway")?;
        gateway["services"].as_array()?.iter().find(|service| service["service"] == "slow").cloned()
    };
    cluster
        .wait("the daemon sees that events wait", 60, || slow().is_some_and(|one| one["waiting"].as_u64() > Some(2)))?;
    let why = crate::cluster::ok(&cluster.marea(&["why", "queue", "gateway"]))?;
    check!(why.contains("slow"), "{why}");
    let metrics = runtime()?.block_on(async { reqwest::get("http://127.0.0.1:9562/metrics").await?.text().await });
    let metrics = metrics.map_err(|e| e.to_string())?;
    check!(metrics.lines().any(|l| l.starts_with("marea_queue_depth{") && l.contains("slow")), "{metrics}");
    cluster.wait("and that none waits any more", 120, || {
        slow().is_none_or(|one| one["waiting"] == 0 && one["in_flight"] == 0)
    })?;
    functions(&["delete", "slow"])?;
    let gone = functions(&["run", "slow", "--input", "input"]);
    check!(gone.is_err_and(|error| error.contains("there is no service slow")), "a deleted function took an event");
    Ok(())
}

/// What fails says why, from a real pod: the script's own exit code, and an object that was gone.
pub fn failures_are_told(cluster: &Cluster) -> Result<(), String> {
    cluster.start_daemon(&[])?;
    // Another event each time, also on a cluster that was kept.
    let gone = r#"{"Records":[{"eventName":"s3:ObjectCreated:Put","eventSource":"minio:s3","s3":{"bucket":{"name":"shout"},
        "object":{"key":"none/such","sequencer":"NUMBER"}}}]}"#;
    let gone = gone.replace("NUMBER", &std::process::id().to_string());
    let script = "#!/bin/sh\nprintf '\\377\\n'\necho it reads $(cat \"$INPUT_FILE_PATH\")\ngrep -q good \"$INPUT_FILE_PATH\" || exit 7\n";
    // With a sign: what could be base64 is taken for it, as in OSCAR.
    let files = [
        ("picky.sh", script),
        ("picky.yaml", PICKY),
        ("good", "a good tide!\n"),
        ("bad", "a bad tide!\n"),
        ("gone", &gone),
    ];
    let functions = |args: &[&str]| functions(cluster, &files, args);
    functions(&["apply", "picky.yaml"])?;
    let mut jobs = Vec::new();
    for input in ["good", "bad", "gone"] {
        jobs.push(functions(&["run", "picky", "--input", input])?.trim().to_owned());
    }
    let ends = [" done ", "exit code 7", "exit code 66: "];
    let mut seen = String::new();
    let waited = cluster.wait("two events are dead letters, and one is done", 180, || {
        pause(500);
        seen = functions(&["events", "list", "--stage", "all", "--service", "picky"]).unwrap_or_default();
        let of = |job: &String| seen.lines().find(|line| line.starts_with(job.trim_start_matches("picky-")));
        jobs.iter().zip(ends).all(|(job, end)| of(job).is_some_and(|line| line.contains(end)))
    });
    waited.map_err(|error| format!("{error}\n{seen}"))?;
    for (job, word) in jobs.iter().zip(["it reads a good", "it reads a bad"]) {
        let log = functions(&["logs", "picky", job])?;
        check!(log.contains(word) && log.contains('\u{fffd}'), "{job}: {log:?}");
    }
    functions(&["events", "purge", "--service", "picky"])?;
    functions(&["delete", "picky"]).map(drop)
}

pub fn uploads_outlive_every_death(cluster: &Cluster) -> Result<(), String> {
    let result = story(cluster);
    if result.is_err() {
        let state = ["-n", "marea-functions", "get", "pods,jobs", "-o", "wide"];
        println!("{}", cluster.kubectl(&state).unwrap_or_default());
    }
    result
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Runtime::new().map_err(|e| e.to_string())
}

fn story(cluster: &Cluster) -> Result<(), String> {
    let runtime = runtime()?;
    cluster.start_daemon(&[])?;
    cluster.wait("all workers are off", 180, || cluster.powered_on().is_empty())?;
    let front = cluster.address("front")?;
    let store = store(cluster, &front)?;
    let count = uploads();
    let mut deaths = BTreeMap::new();
    for number in 0..count {
        let key = format!("in/{number:03}");
        // Whoever uploads tries again while MinIO is dead: what it did not take was never there.
        let mut last = String::new();
        let taken = (0..600).any(|_| {
            let put = runtime.block_on(store.put_bytes("shout", &key, format!("file {number}")));
            last = put.as_ref().err().map_or(String::new(), ToString::to_string);
            if put.is_err() {
                pause(200);
            }
            put.is_ok()
        });
        check!(taken, "{key} cannot be put: {last}");
        let part = |tenths: usize| count * tenths / 10;
        if number == part(2) || number == part(6) {
            kill(cluster, "marea functions serve")?;
            *deaths.entry("gateway").or_insert(0) += 1;
        } else if number == part(4) {
            kill(cluster, "minio server")?;
            *deaths.entry("minio").or_insert(0) += 1;
        } else if number == part(8) {
            cluster.kill_daemon();
            pause(700);
            cluster.start_daemon(&[])?;
            *deaths.entry("daemon").or_insert(0) += 1;
        }
    }
    cluster.wait("a function runs on a worker", 300, || !running(cluster).is_empty())?;
    let victim = running(cluster).into_iter().next().map(|(_, node)| node).ok_or("nothing runs any more")?;
    cluster.cut_power(&victim);
    *deaths.entry("worker").or_insert(0) += 1;
    // Whatever the API server has not seen end on it was cut, also what ended there in the last moment.
    let cut: BTreeSet<String> = pods(cluster, "status.phase!=Succeeded,status.phase!=Failed")
        .into_iter()
        .filter(|(_, node)| *node == victim)
        .map(|(pod, _)| pod)
        .collect();
    check!(!cut.is_empty(), "the power of {victim} was cut, and nothing ran there");
    let outputs = || runtime.block_on(store.list("shout", "out/")).unwrap_or_default();
    let names = || -> Vec<String> {
        outputs()
            .into_iter()
            .map(|entry| entry.key)
            .filter_map(|key| key.strip_prefix("out/").map(str::to_owned))
            .collect()
    };
    let inputs = |names: &[String]| -> BTreeSet<String> {
        names.iter().filter_map(|name| name.split_once('@')).map(|(input, _)| input.to_owned()).collect()
    };
    cluster.wait(&format!("{count} results are there"), 1500, || {
        pause(1000);
        inputs(&names()).len() == count
    })?;
    let names: Vec<String> = names().into_iter().filter(|name| name.contains('@')).collect();
    let mut made: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (input, pod) in names.iter().filter_map(|name| name.split_once('@')) {
        made.entry(input).or_default().push(pod);
    }
    let twice: Vec<_> = made.iter().filter(|(_, pods)| pods.len() > 1).collect();
    println!(
        "  {count} uploads, {} results, {} of them twice; {} pods cut; deaths: {deaths:?}",
        names.len(),
        twice.len(),
        cut.len()
    );
    for (input, pods) in twice {
        let whole = pods.iter().filter(|pod| !cut.contains(**pod)).count();
        check!(whole <= 1, "{input} ran in {pods:?}, of which {whole} were not cut");
    }
    for name in names.iter().take(20) {
        let bytes = runtime.block_on(store.get_bytes("shout", &format!("out/{name}"))).map_err(|e| e.to_string())?;
        let number: usize = name.split('@').next().and_then(|n| n.parse().ok()).ok_or("a result's name")?;
        check!(bytes == format!("FILE {number}").as_bytes(), "out/{name} holds {bytes:?}");
    }
    cluster.wait("and all goes off", 300, || cluster.powered_on().is_empty())
}

/// Pods of the function in these phases, with their machines.
fn pods(cluster: &Cluster, phase: &str) -> Vec<(String, String)> {
    let path = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{\"\\n\"}{end}";
    let of_shout = ["-n", "marea-functions", "get", "pods", "-l", "oscar_service=shout", "-o", path];
    let text = cluster.kubectl(&[&of_shout[..], &["--field-selector", phase]].concat()).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once(' ')).map(|(pod, node)| (pod.to_owned(), node.to_owned())).collect()
}

/// Those whose container runs.
fn running(cluster: &Cluster) -> Vec<(String, String)> {
    pods(cluster, "status.phase=Running")
}

/// kill -9 of a program on the front-end, by its command line.
fn kill(cluster: &Cluster, what: &str) -> Result<(), String> {
    let front = "front";
    let script = format!(
        "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q '^[^ ]*{what}' && kill -9 ${{p#/proc/}} && echo killed; done; true"
    );
    let out = cluster.ssh(front, &script)?;
    check!(out.contains("killed"), "no `{what}` was found on {front}");
    Ok(())
}

fn secret(cluster: &Cluster, name: &str, key: &str) -> Result<String, String> {
    let path = format!("go-template={{{{index .data \"{key}\" | base64decode}}}}");
    cluster.kubectl(&["-n", "marea-functions", "get", "secret", name, "-o", &path])
}

pub fn password(cluster: &Cluster) -> Result<String, String> {
    secret(cluster, "gateway", "password")
}

pub fn store(cluster: &Cluster, front: &str) -> Result<Store, String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let endpoint = Endpoint { url: format!("http://{front}:30300"), region: "us-east-1".to_owned(), verify: true };
    let keys = Keys { access: secret(cluster, "minio", "accessKey")?, secret: secret(cluster, "minio", "secretKey")? };
    Store::new(&endpoint, Some(keys)).map_err(|e| e.to_string())
}
