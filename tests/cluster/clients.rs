//! OSCAR's own clients, unmodified, against the gateway of a real cluster whose workers are off: what they make, run,
//! upload and read is real to the last part. About a minute.

use crate::check;
use crate::cluster::Cluster;
use crate::functions::{password, store};
use crate::oscar_clients::{Scar, oscar_python};

const SCRIPT: &str = r##"
import json, os, sys, time
from oscar_python.client import Client
endpoint, password, folder = sys.argv[1:]
client = Client({"cluster_id": "lab", "endpoint": endpoint, "user": "oscar", "password": password, "ssl": False})
assert client.health_check().text == "Ok"
assert json.loads(client.get_cluster_info().text)["kubernetes_version"].startswith("v1.")
assert json.loads(client.get_cluster_status().text)["cluster"]["nodes_count"] >= 1
fdl = os.path.join(folder, "hen.yaml")
with open(os.path.join(folder, "hen.sh"), "w") as f:
    f.write("#!/bin/sh\necho a hen says\ntr a-z A-Z < $INPUT_FILE_PATH > $TMP_OUTPUT_DIR/$(basename $INPUT_FILE_PATH).out\n")
with open(fdl, "w") as f: f.write("""
functions:
  oscar:
  - lab:
      name: hen
      cpu: 0.1
      memory: 32Mi
      image: marea.local/busybox:1
      script: hen.sh
      input: [{storage_provider: minio.default, path: hen/in}]
      output: [{storage_provider: minio.default, path: hen/out}]
""")
assert client.create_service(fdl).status_code == 201
names = [s["name"] for s in json.loads(client.list_services().text)]
assert "hen" in names, names
# Synchronous, while every machine that could run it is off.
out = os.path.join(folder, "out.txt")
answer = client.run_service("hen", input="cluck", output=out)
assert answer.status_code == 200, (answer.status_code, answer.text)
assert open(out).read() == "CLUCK", open(out).read()
def jobs():
    return json.loads(client.list_jobs("hen").text)["jobs"]
def until(is_so):
    for _ in range(600):
        if is_so(): return
        time.sleep(0.2)
    raise SystemExit("not in time: %s" % jobs())
# A file into the bucket, and the result out of it.
storage = client.create_storage_client("hen")
path = os.path.join(folder, "egg.txt")
with open(path, "w") as f: f.write("tide")
storage.upload_file("minio.default", path, "hen/in")
def outputs():
    return [o["Key"] for o in storage.list_files_from_path("minio.default", "hen/out")["Contents"] if o["Size"]]
until(lambda: "out/egg.txt.out" in outputs())
down = os.path.join(folder, "down"); os.makedirs(down)
storage.download_file("minio.default", down, "hen/out/egg.txt.out")
assert open(os.path.join(down, "egg.txt.out")).read() == "TIDE"
until(lambda: [j["status"] for j in jobs().values()] == ["Succeeded"] * 2)
for name in jobs():
    assert "a hen says" in client.get_job_logs("hen", name).text
assert client.remove_job("hen", sorted(jobs())[0]).status_code == 204
assert len(jobs()) == 1
assert client.remove_all_jobs("hen").status_code == 204
assert jobs() == {}
assert client.remove_service("hen").status_code == 204
print("done")
"##;

pub fn oscars_own(cluster: &Cluster) -> Result<(), String> {
    cluster.start_daemon(&[])?;
    cluster.wait("all workers are off", 180, || cluster.powered_on().is_empty())?;
    let front = cluster.address("front")?;
    let (url, password) = (format!("http://{front}:30301"), password(cluster)?);
    let store = store(cluster, &front)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        oscar_python(SCRIPT, &[&url, &password], folder.path()).await;
        let script = "#!/bin/sh\ntr a-z A-Z < $INPUT_FILE_PATH > $TMP_OUTPUT_DIR/moo\n";
        let mut result = Vec::new();
        let upload = async || {
            store.put_bytes("cow", "in/file", "moo").await.unwrap();
            for _ in 0..600 {
                if let Ok(bytes) = store.get_bytes("cow", "out/moo").await {
                    result = bytes.to_vec();
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        };
        Scar::new(&url, &password, script).await.story(upload).await;
        check!(result == b"MOO", "the output is {result:?}");
        Ok(())
    })
}
