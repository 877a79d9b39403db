//! The supervisor as a container runs it, against a real MinIO.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marea::s3::Store;

use crate::minio::{ACCESS, Minio, REGION, SECRET};

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_marea-supervisor");

/// What a container would have below `/`, in a folder.
struct Container(tempfile::TempDir);

impl Container {
    fn new(minio: &str, config: &str, script: &str) -> Self {
        let container = Self(tempfile::tempdir().unwrap());
        container.write("oscar/config/function_config.yaml", config);
        container.write("oscar/config/script.sh", script);
        for (name, text) in [
            ("endpoint", minio),
            ("region", REGION),
            ("accessKey", ACCESS),
            ("secretKey", SECRET),
            ("verify", "true\n"),
        ] {
            container.write(&format!("var/run/secrets/providers/minio.default/{name}"), text);
        }
        container
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, event: &str) -> Command {
        let mut command = Command::new(SUPERVISOR);
        command.arg("run").env("MAREA_ROOT", self.path()).env("EVENT", event).env("TMPDIR", self.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, event: &str) -> Output {
        self.command(event).output().unwrap()
    }
}

fn told(bucket: &str, key: &str) -> String {
    format!(
        r#"{{"Records":[{{"eventSource":"minio:s3","eventTime":"2026-11-25T10:00:00.000Z","s3":{{"bucket":{{"name":"{bucket}"}},"object":{{"key":"{key}"}}}}}}]}}"#
    )
}

async fn buckets(minio: &Minio, names: &[&str]) -> Store {
    let store = minio.store();
    for name in names {
        store.create_bucket(name).await.unwrap();
    }
    store
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

const TWO_OUTPUTS: &str = "
name: tide
input: [{storage_provider: minio.default, path: photos/in}]
output:
- {storage_provider: minio.default, path: photos/out, suffix: [.txt]}
- {storage_provider: minio, path: other, prefix: [deep/, x]}
";

/// Writes what OSCAR promises into a file, and some more files.
const TELLS: &str = r#"
cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/copy.txt"
mkdir "$TMP_OUTPUT_DIR/deep"
echo "$STORAGE_OBJECT_KEY|$EVENT_TIME|${INPUT_FILE_PATH#"$TMP_INPUT_DIR"/}" > "$TMP_OUTPUT_DIR/deep/told.txt"
printf '%s' "$EVENT" > "$TMP_OUTPUT_DIR/x.json"
: > "$TMP_OUTPUT_DIR/unwanted.bin"
"#;

#[tokio::test]
async fn a_file_goes_in_and_results_go_where_they_belong() {
    let minio = Minio::start().await;
    let store = buckets(&minio, &["photos", "other"]).await;
    store.put_bytes("photos", "in/a bñ.jpg", "tide").await.unwrap();
    let container = Container::new(&minio.url, TWO_OUTPUTS, TELLS);
    let event = told("photos", "in%2Fa+b%C3%B1.jpg");
    let out = container.run(&event);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    assert_eq!(store.get_bytes("photos", "out/copy.txt").await.unwrap(), "tide");
    let told = store.get_bytes("photos", "out/deep/told.txt").await.unwrap();
    assert_eq!(told, "in/a bñ.jpg|2026-11-25T10:00:00.000Z|a bñ.jpg\n");
    let keys: Vec<_> = store.list("other", "").await.unwrap().into_iter().map(|e| e.key).collect();
    assert_eq!(keys, ["deep/told.txt", "x.json"]);
    let passed: serde_json::Value = serde_json::from_slice(&store.get_bytes("other", "x.json").await.unwrap()).unwrap();
    assert_eq!(passed, serde_json::from_str::<serde_json::Value>(&event).unwrap());
    let left: Vec<_> = fs::read_dir(container.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|n| n.to_string_lossy().starts_with("marea-run")), "{left:?}");
}

#[tokio::test]
async fn an_image_of_a_shell_alone_is_enough() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "chroot takes root, and in CI nothing is skipped");
        println!("skipped without root: an_image_of_a_shell_alone_is_enough");
        return;
    }
    let minio = Minio::start().await;
    let store = buckets(&minio, &["photos"]).await;
    store.put_bytes("photos", "in/a", "sea").await.unwrap();
    let config = "output: [{storage_provider: minio.default, path: photos/out}]\n";
    // No /tmp, no libraries, no other program: `read` and `echo` are the shell's own.
    let script = "read -r word < $INPUT_FILE_PATH; echo \"$word and $word\" > $TMP_OUTPUT_DIR/b\n";
    let url = format!("http://minio.minio:{}", minio.port);
    let container = Container::new(&url, config, script);
    container.write("etc/hosts", "127.0.0.1 minio.minio\n");
    for folder in ["bin", "dev"] {
        fs::create_dir(container.path().join(folder)).unwrap();
    }
    // A container runtime always makes these.
    for (name, minor) in [("null", "3"), ("random", "8"), ("urandom", "9")] {
        let device = container.path().join("dev").join(name);
        assert!(Command::new("mknod").arg(device).args(["c", "1", minor]).status().unwrap().success());
    }
    let busybox = fs::canonicalize("/bin/busybox").expect("busybox-static is among the Makefile's TEST_PACKAGES");
    fs::copy(busybox, container.path().join("bin/sh")).unwrap();
    let installed = Command::new(SUPERVISOR).arg("install").arg(container.path().join("marea/bin")).status().unwrap();
    assert!(installed.success());
    let out = Command::new("/usr/sbin/chroot")
        .arg(container.path())
        .args(["/marea/bin/marea-supervisor", "run"])
        .env_clear()
        .env("EVENT", told("photos", "in/a"))
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    assert_eq!(store.get_bytes("photos", "out/b").await.unwrap(), "sea and sea\n");
}

#[tokio::test]
async fn the_exit_code_is_the_scripts_and_half_a_result_is_none() {
    let minio = Minio::start().await;
    let store = buckets(&minio, &["photos"]).await;
    store.put_bytes("photos", "in/a", "x").await.unwrap();
    let config = "output: [{storage_provider: minio.default, path: photos/out}]\n";
    for (script, code) in [("exit 9", 9), ("kill -9 $$", 137), ("no-such-program", 127)] {
        let script = format!("echo half > $TMP_OUTPUT_DIR/half\n{script}\n");
        let out = Container::new(&minio.url, config, &script).run(&told("photos", "in/a"));
        assert_eq!(out.status.code(), Some(code), "{}", stderr(&out));
    }
    assert_eq!(store.list("photos", "out/").await.unwrap(), []);
}

#[tokio::test]
async fn each_failure_has_its_exit_code_and_one_line() {
    let minio = Minio::start().await;
    let store = buckets(&minio, &["photos"]).await;
    store.put_bytes("photos", "in/a", "x").await.unwrap();
    let to = |path: &str| format!("output: [{{storage_provider: minio.default, path: {path}}}]\n");
    let writes = "echo x > $TMP_OUTPUT_DIR/x\n";
    let good = told("photos", "in/a");
    let nobody = "http://127.0.0.1:9";
    for (url, config, event, code, part) in [
        (
            minio.url.as_str(),
            to("photos/out"),
            told("photos", "in/gone"),
            66,
            "object in/gone of bucket photos: there is none",
        ),
        (minio.url.as_str(), to("nowhere/out"), good.clone(), 74, "bucket nowhere: there is none"),
        (nobody, to("photos/out"), good.clone(), 74, "no answer from http://127.0.0.1:9"),
        (minio.url.as_str(), "output: 3\n".to_owned(), good.clone(), 78, "function_config.yaml"),
        (minio.url.as_str(), "output: [{storage_provider: rucio.x, path: a}]".to_owned(), good.clone(), 78, "rucio.x"),
        ("ftp://x", to("photos/out"), good.clone(), 78, "http://"),
    ] {
        let out = Container::new(url, &config, writes).run(&event);
        let text = stderr(&out);
        assert_eq!(out.status.code(), Some(code), "{text}");
        assert!(text.contains(part) && text.lines().count() == 1 && !text.contains(SECRET), "{text}");
    }
    let wrong = Container::new(&minio.url, &to("photos/out"), writes);
    wrong.write("var/run/secrets/providers/minio.default/secretKey", "wrong");
    let out = wrong.run(&good);
    assert!(out.status.code() == Some(74) && stderr(&out).contains("SignatureDoesNotMatch"), "{}", stderr(&out));
    let bare = Container::new(&minio.url, "", writes);
    fs::remove_file(bare.path().join("oscar/config/script.sh")).unwrap();
    assert_eq!(bare.run(&good).status.code(), Some(78));
    let silent = bare.command("").env_remove("EVENT").output().unwrap();
    assert!(silent.status.code() == Some(78) && stderr(&silent).contains("no event"), "{}", stderr(&silent));
}

#[test]
fn input_that_is_no_notification_is_answered_with_its_result() {
    let run = |script: &str, event: &str, sync: bool| {
        let container = Container::new("http://127.0.0.1:9", "", script);
        let mut command = container.command(event);
        if sync {
            command.env("MAREA_SYNC", "1");
        }
        command.output().unwrap()
    };
    let last = |out: &Output| String::from_utf8_lossy(&out.stdout).lines().last().unwrap_or_default().to_owned();
    let upper = "echo working; tr a-z A-Z < $INPUT_FILE_PATH > $TMP_OUTPUT_DIR/r\n";
    let event = STANDARD.encode("tide");
    assert_eq!(STANDARD.decode(last(&run(upper, &event, false))).unwrap(), b"TIDE");
    let marked = last(&run(upper, &event, true));
    assert_eq!(STANDARD.decode(marked.strip_prefix("marea-result-file:").unwrap()).unwrap(), b"TIDE");
    let said = run("cat $INPUT_FILE_PATH; echo aside >&2", &event, true);
    let marked = last(&said);
    assert_eq!(STANDARD.decode(marked.strip_prefix("marea-result-text:").unwrap()).unwrap(), b"tide");
    assert!(String::from_utf8_lossy(&said.stdout).starts_with("tide"), "the log has it, too");
    // The file has room for more than a variable.
    let container = Container::new("http://127.0.0.1:9", "", "wc -c < $INPUT_FILE_PATH");
    container.write("marea/event/event", &format!("[\"{}\"]", "x".repeat(300_000)));
    assert_eq!(String::from_utf8_lossy(&container.run("short").stdout).trim(), "300004");
    let out = run("echo a > $TMP_OUTPUT_DIR/a; mkdir $TMP_OUTPUT_DIR/d; echo b > $TMP_OUTPUT_DIR/d/b", "{}", true);
    let packed = STANDARD.decode(last(&out).strip_prefix("marea-result-file:").unwrap()).unwrap();
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(packed)).unwrap();
    let mut text = String::new();
    zip.by_name("d/b").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((zip.len(), text.as_str()), (2, "b\n"));
    let long = run("head -c 6000000 /dev/zero > $TMP_OUTPUT_DIR/long", "{}", true);
    assert!(long.status.code() == Some(74) && stderr(&long).contains("6000000 bytes"), "{}", stderr(&long));
}

#[test]
fn a_signal_reaches_the_script_and_all_that_it_started() {
    let container = Container::new("http://127.0.0.1:9", "", "trap 'echo heard; exit 5' TERM\necho ready\nsleep 60\n");
    let mut child = container.command("{}").spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut said = [0; 6];
    out.read_exact(&mut said).unwrap();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(5), "the shell waits for sleep, which is told as well");
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "heard\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_the_file() {
    let minio = Minio::start().await;
    let store = buckets(&minio, &["big"]).await;
    let file = minio.folder.path().join("file");
    fs::File::create(&file).unwrap().set_len(200 << 20).unwrap();
    store.upload("big", "in/x", &mut tokio::fs::File::open(&file).await.unwrap(), 200 << 20).await.unwrap();
    let config = "output: [{storage_provider: minio.default, path: big/out}]\n";
    let container = Container::new(&minio.url, config, "mv $INPUT_FILE_PATH $TMP_OUTPUT_DIR/y\n");
    let mut child = container.command(&told("big", "in/x")).spawn().unwrap();
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        peak = peak.max(line.unwrap_or(0));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(store.head("big", "out/y").await.unwrap().size, 200 << 20);
    println!("peak {peak} KiB for 204800 KiB");
    assert!((1000..64 << 10).contains(&peak), "{peak} KiB");
}

#[test]
fn installing_copies_a_program_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("marea/bin");
    assert!(Command::new(SUPERVISOR).arg("install").arg(&to).status().unwrap().success());
    let copy = to.join("marea-supervisor");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o755);
    let out = Command::new(&copy).arg("--version").output().unwrap();
    assert!(String::from_utf8_lossy(&out.stdout).starts_with("marea-supervisor "));
    for wrong in [&["run", "x"][..], &["install"], &[], &["stop"]] {
        assert_eq!(Command::new(SUPERVISOR).args(wrong).output().unwrap().status.code(), Some(2), "{wrong:?}");
    }
}
