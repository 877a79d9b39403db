//! The supervisor: how small it is, what it adds to a run, and what memory a gigabyte takes on its way through.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Figure;
use crate::minio::{ACCESS, Minio, REGION, SECRET};

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_marea-supervisor");
const GIB: u64 = 1 << 30;

pub(super) fn figures() -> Vec<Figure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let minio = runtime.block_on(Minio::start());
    let store = minio.store();
    let file = minio.folder.path().join("file");
    fs::File::create(&file).unwrap().set_len(GIB).unwrap();
    runtime.block_on(async {
        store.create_bucket("bench").await.unwrap();
        store.put_bytes("bench", "in/small", "tide").await.unwrap();
        store.upload("bench", "in/big", &mut tokio::fs::File::open(&file).await.unwrap(), GIB).await.unwrap();
    });
    fs::remove_file(&file).unwrap();
    let script = "mv $INPUT_FILE_PATH $TMP_OUTPUT_DIR/\n";
    let root = container(&minio.url, script);
    let mut added: Vec<f64> = (0..21).map(|_| run(root.path(), "small").0.as_secs_f64() * 1e3).collect();
    added.sort_by(f64::total_cmp);
    let alone = root.path().join("alone.sh");
    fs::write(&alone, "touch $1/x; mv $1/x $1/y\n").unwrap();
    let mut shell: Vec<f64> = (0..21)
        .map(|_| {
            let began = now();
            assert!(Command::new("/bin/sh").arg(&alone).arg(root.path()).status().unwrap().success());
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    shell.sort_by(f64::total_cmp);
    let (took, peak) = run(root.path(), "big");
    let figure = |name, value, unit, how| Figure { name, value, unit, peer: None, how };
    #[expect(clippy::cast_precision_loss, reason = "megabytes with two decimals")]
    let (size, peak) = (fs::metadata(SUPERVISOR).unwrap().len() as f64 / 1e6, peak as f64 / 1024.0);
    vec![
        figure("supervisor/size", size, "MB", "the static program"),
        figure(
            "supervisor/added",
            added[10] - shell[10],
            "ms",
            "a run with an object of 4 bytes in and out of MinIO, less /bin/sh with the same script; median of 21",
        ),
        figure("supervisor/peak", peak, "MiB", "resident memory at most, an object of 1 GiB in and out"),
        figure("supervisor/throughput", 2.0 * 1024.0 / took.as_secs_f64(), "MiB/s", "the same, in and out together"),
    ]
}

fn container(minio: &str, script: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let output = "output: [{storage_provider: minio.default, path: bench/out}]\n";
    write("oscar/config/function_config.yaml", output);
    write("oscar/config/script.sh", script);
    for (name, text) in [("endpoint", minio), ("region", REGION), ("accessKey", ACCESS), ("secretKey", SECRET)] {
        write(&format!("var/run/secrets/providers/minio.default/{name}"), text);
    }
    root
}

/// One run: how long it took, and the most memory in KiB.
fn run(root: &Path, object: &str) -> (Duration, u64) {
    let event = format!(
        r#"{{"Records":[{{"eventSource":"minio:s3","s3":{{"bucket":{{"name":"bench"}},"object":{{"key":"in/{object}"}}}}}}]}}"#
    );
    let began = now();
    let mut child = Command::new(SUPERVISOR)
        .arg("run")
        .env("MAREA_ROOT", root)
        .env("TMPDIR", root)
        .env("EVENT", event)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let peak = watch(&mut child);
    assert!(child.wait().unwrap().success());
    (began.elapsed(), peak)
}

fn watch(child: &mut Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let most = text.lines().find_map(|l| l.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        peak = peak.max(most.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(1));
    }
    peak
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
fn now() -> Instant {
    Instant::now()
}
