//! OSCAR's own clients, unmodified, speak to the gateway and to a real MinIO; only Kubernetes is a fake here. On a real
//! cluster they are met again in tests/cluster/clients.rs.

use super::*;
use crate::oscar_clients::{Scar, oscar_python};

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
    let folder = tempfile::tempdir().unwrap();
    oscar_python(SCRIPT, &[&gateway.url()], folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scar_makes_lists_and_removes_a_service() {
    let port = free_port();
    let minio = minio_telling(port).await;
    let gateway = Gateway::with(echo, "", Some(&minio.url), port).await;
    let script = "#!/bin/sh\necho moo\n";
    let look = async || assert_eq!(gateway.get("/system/services/cow").await["script"], script);
    Scar::new(&gateway.url(), PASSWORD, script).await.story(look).await;
    assert_eq!(gateway.get("/system/services").await, json!([]));
}
