//! Import: the cluster of the other tests plays one that EC3 made. The real Infrastructure Manager knows its machines by
//! their addresses (its connector `DeployedNode`), and the daemon's account is made over SSH, with the document's key.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use marea::provider::im::client::{ImClient, ImError, Settings};
use tokio::runtime::Runtime;

use crate::check;
use crate::cluster::{Cluster, STATE, Site, ok};
use crate::first::least_rights;
use crate::im_server::ImServer;

/// The state folder of those who take over.
const TAKEN: &str = "/var/lib/marea-test-import";
const SITE: Site = Site { state: TAKEN, scope: "", config: "", radl: "", more: &[] };
/// The front-end's address in the infrastructure: one that its cloud gave it later, so that no certificate has it.
const ADDRESS: &str = "10.78.0.250";
/// The worker that EC3 had added.
const WORKER: &str = "small-1";

pub fn taken_over(cluster: &Cluster) -> Result<(), String> {
    let _ = fs::remove_dir_all(TAKEN);
    fs::create_dir_all(TAKEN).map_err(|e| e.to_string())?;
    let at = tempfile::tempdir().map_err(|e| e.to_string())?;
    let Some(server) = ImServer::start("import", at.path()) else { return Ok(()) };
    cluster.calm()?;
    cluster.stop_daemon();
    let taken = Cluster::found(SITE);
    let result = story(cluster, &taken, &server).map_err(|e| format!("{e}\n{}", taken.daemon_log_tail()));
    taken.stop_daemon();
    let _ = cluster.ssh("front", &format!("ip address del {ADDRESS}/24 dev host0"));
    // The cluster is the other tests' again: their daemon's account was taken away below.
    let back = machine(cluster, &["off", WORKER, "--hard"]).and_then(|()| cluster.bootstrap());
    let result = result.and(back.and_then(|_| cluster.calm()));
    if std::env::var("MAREA_KEEP").is_err() {
        let _ = fs::remove_dir_all(TAKEN);
    }
    result
}

fn story(cluster: &Cluster, taken: &Cluster, server: &ImServer) -> Result<(), String> {
    machine(cluster, &["on", WORKER])?;
    cluster.wait("the worker is Ready, and its first taint gone", 90, || {
        let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}{.spec.taints}";
        cluster.kubectl(&["get", "node", WORKER, "-o", ready]).is_ok_and(|text| text == "True")
    })?;
    cluster.ssh("front", &format!("ip address add {ADDRESS}/24 dev host0"))?;
    // A cluster of EC3 has no account for us.
    let account = ["namespace/marea", "clusterrole/marea-daemon", "clusterrolebinding/marea-daemon"];
    cluster.kubectl(&[&["delete", "--timeout=60s"], &account[..]].concat())?;
    let im = Im::with(cluster, taken, server)?;
    let before = (objects(cluster)?, im.machines()?);

    let config = taken.config();
    let import = || ok(&taken.marea(&["import", "--im", &im.id, "--config", &config]));
    import()?;
    let kubeconfig = format!("{TAKEN}/kubeconfig");
    least_rights(&kubeconfig)?;
    let there = objects(cluster)?;
    let gone: Vec<_> = before.0.difference(&there).collect();
    check!(gone.is_empty(), "these are not as they were: {gone:#?}");
    let is_account = |line: &&String| {
        let name = line.split(' ').nth(1).unwrap_or_default();
        name.starts_with("marea/") || ["/marea", "/marea-daemon"].contains(&name)
    };
    let (account, other): (Vec<_>, Vec<_>) = there.difference(&before.0).partition(is_account);
    check!(other.is_empty() && !account.is_empty(), "besides the account it made {other:#?}");
    check!(im.machines()? == before.1, "the infrastructure was changed");

    // Again: the account is the same, and whoever uses it is not locked out.
    let first = fs::read_to_string(&kubeconfig).map_err(|e| e.to_string())?;
    import()?;
    check!(fs::read_to_string(&kubeconfig).is_ok_and(|second| second == first), "the account was made anew");
    check!(objects(cluster)? == there && im.machines()? == before.1, "a second import changed something");

    // The daemon sees the nodes with the account, and the virtual machines by the Infrastructure Manager.
    taken.start_daemon(&[])?;
    let is = |states: [&str; 3]| ["front", WORKER, "small1"].map(|name| taken.state(name)) == states;
    taken.wait("both machines are seen on, and the one that may be added off", 30, || is(["on", "on", "off"]))?;
    // One that goes leaves the infrastructure, and the account suffices to delete its node. The connector cuts no power:
    // this does it in the place of a cloud.
    ok(&taken.marea(&["power", "off", WORKER]))?;
    let has_left = || im.machines().is_ok_and(|machines| machines.len() == 1);
    taken.wait("the worker leaves the infrastructure", 60, has_left)?;
    machine(cluster, &["off", WORKER, "--hard"])?;
    taken.wait("its node is gone", 120, || cluster.kubectl(&["get", "node", WORKER]).is_err())?;
    taken.wait("it is off", 30, || is(["on", "off", "off"]))
}

/// An infrastructure as EC3 and CLUES leave it: a class for workers, and a system of its own for the one that was added.
struct Im {
    client: ImClient,
    runtime: Runtime,
    id: String,
}

impl Im {
    fn with(cluster: &Cluster, taken: &Cluster, server: &ImServer) -> Result<Self, String> {
        let auth = format!("{TAKEN}/auth");
        fs::write(&auth, "type = InfrastructureManager; username = u; password = p\nid = d; type = DeployedNode\n")
            .map_err(|e| e.to_string())?;
        let url = server.url();
        let config = format!(
            "provider = \"im\"\n[im]\nurl = \"{url}\"\nauth = \"{auth}\"\n[autoscaler]\nidle_timeout = \"1h\"\n[http]\nlisten = \"127.0.0.1:9563\"\n"
        );
        fs::write(taken.config(), config).map_err(|e| e.to_string())?;
        let key = fs::read_to_string(format!("{STATE}/ssh/id")).map_err(|e| e.to_string())?;
        let system = |id: &str, more: &str| {
            format!(
                "system {id} (cpu.count >= 1 and memory.size >= 2048m and net_interface.0.connection = 'private' and {more} and \
                 disk.0.os.name = 'linux' and disk.0.image.url = 'mock0://x' and disk.0.os.credentials.username = 'root' and \
                 disk.0.os.credentials.private_key = '{}')\n",
                key.trim_end()
            )
        };
        let node = |name: &str, address: &str| {
            format!("net_interface.0.ip = '{address}' and net_interface.0.dns_name = '{name}'")
        };
        let network = "network private (outbound = 'no')\n";
        let front = system("front", &node("front", ADDRESS));
        let class = system("small", "ec3_max_instances = 2 and ec3_node_type = 'wn'");
        let added = system(WORKER, &format!("{} and ec3_class = 'small'", node(WORKER, &cluster.address(WORKER)?)));
        let runtime = Runtime::new().map_err(|e| e.to_string())?;
        let (client, id) = runtime.block_on(async {
            let timeout = Duration::from_secs(60);
            let client = ImClient::new(Settings { url, auth: auth.into(), ca: None, timeout })?;
            // Ansible is told to do nothing: the machines have what they need.
            let said = |e: ImError| e.text;
            let first = format!("{network}{front}{class}contextualize ()\ndeploy front 1\n");
            let id = client.create(&first).await.map_err(said)?;
            client.add(&id, &format!("{network}{added}deploy {WORKER} 1\n"), false).await.map_err(said)?;
            Ok::<_, String>((client, id))
        })?;
        Ok(Self { client, runtime, id })
    }

    /// The RADL of each virtual machine, but for its state: that passes from running to configured by itself.
    fn machines(&self) -> Result<Vec<String>, String> {
        self.runtime.block_on(async {
            let mut all = Vec::new();
            for vm in self.client.states(&self.id).await.map_err(|e| e.text)?.into_keys() {
                let radl = self.client.machine(&self.id, &vm).await.map_err(|e| e.text)?;
                all.push(radl.lines().filter(|line| !line.starts_with("state = ")).collect());
            }
            Ok(all)
        })
    }
}

/// All that somebody may have changed in the cluster, a line each. What is being deleted was so before: the pods of nodes
/// that just went.
fn objects(cluster: &Cluster) -> Result<BTreeSet<String>, String> {
    let kinds = "nodes,namespaces,pods,daemonsets,deployments,services,serviceaccounts,configmaps,secrets,roles,\
                 rolebindings,clusterroles,clusterrolebindings";
    let line = "{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid} deleted={.metadata.deletionTimestamp}, {.metadata.generation} \
                {.metadata.labels} {.spec.taints} {.spec.unschedulable}";
    let all = cluster.kubectl(&[
        "get",
        kinds,
        "-A",
        "-o",
        &format!("jsonpath={{range .items[*]}}{line}{{\"\\n\"}}{{end}}"),
    ])?;
    Ok(all.lines().filter(|line| line.contains(" deleted=, ")).map(str::to_owned).collect())
}

/// Switches a machine by hand.
fn machine(cluster: &Cluster, words: &[&str]) -> Result<(), String> {
    let first = ["machine", "--scope", "mareat", "--subnet", "10.78.0.0/24"];
    ok(&cluster.marea(&[&first, words].concat())).map(drop)
}
