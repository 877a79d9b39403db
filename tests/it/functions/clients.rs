//! OSCAR's own clients, unmodified, from PyPI: `oscar-python` 2.2.0 and `scar` 4.3.1 in an environment that is made
//! once and kept. They speak to the gateway and to a real MinIO; only Kubernetes is a fake here.

use std::path::PathBuf;

use super::*;

const PINS: [&str; 2] = ["oscar-python==2.2.0", "scar==4.3.1"];

/// The environment with the clients: a minute of downloads the first time, then found.
fn environment() -> PathBuf {
    let base = std::env::var("MAREA_TEST_CACHE").unwrap_or_else(|_| "/var/cache/marea/test".to_owned());
    let folder = PathBuf::from(base).join(format!("python-{}", PINS.join("-").replace("==", "-")));
    let made = folder.join("made");
    if !made.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let run = |command: &mut Command| {
            let out = command.output().unwrap();
            assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
        };
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        run(Command::new(folder.join("bin/pip")).args(["install", "-q"]).args(PINS));
        std::fs::write(made, "").unwrap();
    }
    folder
}

const SCRIPT: &str = r##"
import base64, json, os, sys, time
from oscar_python.client import Client
endpoint, folder = sys.argv[1:]
client = Client({"cluster_id": "lab", "endpoint": endpoint, "user": "oscar", "password": "low-tide", "ssl": False})
assert client.health_check().text == "Ok"
assert json.loads(client.get_cluster_info().text)["kubernetes_version"].startswith("v1.")
assert json.loads(client.get_cluster_status().text)["cluster"]["nodes_count"] == 1
fdl = os.path.join(folder, "cow.yaml")
with open(os.path.join(folder, "cow.sh"), "w") as f: f.write("#!/bin/sh\ncat $INPUT_FILE_PATH\n")
with open(fdl, "w") as f: f.write("""
functions:
  oscar:
  - lab:
      name: cow
      cpu: 0.5
      memory: 256Mi
      image: marea.local/busybox:1
      script: cow.sh
      input: [{storage_provider: minio.default, path: cow/in}]
      output: [{storage_provider: minio.default, path: cow/out}]
""")
assert client.create_service(fdl).status_code == 201
try:
    client.create_service(fdl)
    raise SystemExit("a second one was made")
except ValueError as error:
    assert "already present" in str(error)
assert [s["name"] for s in json.loads(client.list_services().text)] == ["cow"]
service = json.loads(client.get_service("cow").text)
service["image"] = "marea.local/busybox:2"
assert client.update_service("cow", service).status_code == 204
assert json.loads(client.get_service("cow").text)["image"] == "marea.local/busybox:2"
# Synchronous: what comes back is decoded to a file.
out = os.path.join(folder, "out.txt")
assert client.run_service("cow", input="moo", output=out).status_code == 200
assert open(out).read() == "moo", open(out).read()
# Asynchronous.
assert client.run_service("cow", input="moo", async_call=True).status_code == 201
def jobs():
    return json.loads(client.list_jobs("cow").text)["jobs"]
def until(is_so):
    for _ in range(200):
        if is_so(): return
        time.sleep(0.1)
    raise SystemExit("not in time: %s" % jobs())
until(lambda: [j["status"] for j in jobs().values()] == ["Succeeded"] * 2)
name = sorted(jobs())[0]
assert "marea-result-file:" in client.get_job_logs("cow", name).text
# Storage, by the service's own providers.
storage = client.create_storage_client("cow")
path = os.path.join(folder, "up.txt")
with open(path, "w") as f: f.write("tide")
storage.upload_file("minio.default", path, "cow/in")
assert [o["Key"] for o in storage.list_files_from_path("minio.default", "cow/in")["Contents"] if o["Size"]] == ["in/up.txt"]
down = os.path.join(folder, "down"); os.makedirs(down)
storage.download_file("minio.default", down, "cow/in/up.txt")
assert open(os.path.join(down, "up.txt")).read() == "tide"
# The upload was an event.
until(lambda: [j["status"] for j in jobs().values()] == ["Succeeded"] * 3)
assert client.remove_job("cow", name).status_code == 204
assert name not in jobs()
assert client.remove_all_jobs("cow").status_code == 204
assert jobs() == {}
assert client.remove_service("cow").status_code == 204
print("done")
"##;

/// The result of a synchronous run is what was sent, as the supervisor writes it.
fn echo(job: &Value) -> Play {
    Play::Ends(Duration::from_millis(20), 0, format!("marea-result-file:{}\n", crate::fake_namespace::event(job)))
}

#[tokio::test(flavor = "multi_thread")]
async fn oscar_python_makes_runs_and_removes_a_service_and_moves_files() {
    let port = free_port();
    let minio = minio_telling(port).await;
    let gateway = Gateway::with(echo, "", Some(&minio.url), port).await;
    let python = tokio::task::spawn_blocking(environment).await.unwrap().join("bin/python");
    let folder = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(python);
    let out = command.args(["-c", SCRIPT, &gateway.url()]).arg(folder.path()).output().await.unwrap();
    let (text, wrong) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && text.ends_with("done\n"), "{text}\n{wrong}\n{}", gateway.log());
}

/// A FAKE AWS, for `scar ls`, which asks AWS for functions of its own before it asks the cluster: there are none.
async fn aws() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().fallback(async |headers: axum::http::HeaderMap| {
        if headers.contains_key("x-amz-target") {
            return "{\"ResourceTagMappingList\": []}";
        }
        "<GetUserResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><GetUserResult><User><UserId>u</UserId>\
         </User></GetUserResult></GetUserResponse>"
    });
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn scar_makes_lists_and_removes_a_service() {
    let port = free_port();
    let minio = minio_telling(port).await;
    let gateway = Gateway::with(echo, "", Some(&minio.url), port).await;
    let scar = tokio::task::spawn_blocking(environment).await.unwrap().join("bin/scar");
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("cow.sh", "#!/bin/sh\necho moo\n".to_owned());
    write(".aws/credentials", "[default]\naws_access_key_id = a\naws_secret_access_key = b\n".to_owned());
    let aws = aws().await;
    write(
        "cow.yaml",
        format!(
            "functions:\n  oscar:\n  - lab:\n      name: cow\n      memory: 256Mi\n      cpu: '0.5'\n      image: marea.local/busybox:1\n      \
             script: cow.sh\n      endpoint: {url}\n      auth_user: oscar\n      auth_password: {PASSWORD}\n      ssl_verify: false\n      \
             input: [{{storage_provider: minio, path: cow/in}}]\n      output: [{{storage_provider: minio, path: cow/out}}]\n",
            url = gateway.url()
        ),
    );
    let run = async |args: &[&str]| {
        let mut command = tokio::process::Command::new(&scar);
        command
            .args(args)
            .current_dir(home.path())
            .env("HOME", home.path())
            .envs([("AWS_ENDPOINT_URL", aws.as_str()), ("AWS_DEFAULT_REGION", "us-east-1")]);
        let out = command.output().await.unwrap();
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    };
    let text = run(&["ls"]).await;
    assert!(text.contains("scar.cfg' created"), "the first run writes its config and no more: {text}");
    let text = run(&["init", "-f", "cow.yaml"]).await;
    assert!(text.contains("successfully created"), "{text}\n{}", gateway.log());
    assert_eq!(gateway.get("/system/services/cow").await["script"], "#!/bin/sh\necho moo\n");
    let text = run(&["init", "-f", "cow.yaml"]).await;
    assert!(text.contains("A service with the provided name already exists"), "{text}");
    // `ls` knows clusters from its own config alone.
    let config = home.path().join(".scar/scar.cfg");
    let mut settings: Value = serde_json::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
    settings["oscar"] = json!({ "lab": { "endpoint": gateway.url(), "auth_user": USER, "auth_password": PASSWORD, "ssl_verify": false } });
    std::fs::write(&config, settings.to_string()).unwrap();
    let text = run(&["ls"]).await;
    assert!(text.contains("cow") && text.contains("marea.local/busybox:1"), "{text}");
    let text = run(&["rm", "-f", "cow.yaml"]).await;
    assert!(text.contains("successfully deleted"), "{text}");
    assert_eq!(gateway.get("/system/services").await, json!([]));
}
